"""StreamProcessor: fed by hand and wrapped around a stream."""

import json

import pytest

from llm_kit import (
    Chunk,
    StreamAPIError,
    StreamProcessor,
    StreamProtocolError,
    StreamTruncatedError,
    ToolCallDelta,
    normalize,
)
from llm_kit.testing import FakeServer, Reply

TOOLS = [{"type": "function", "function": {"name": "get_weather"}}]
CALLS = Reply.tool_calls(
    [
        {"id": "call_1", "name": "get_weather", "arguments": {"city": "Paris", "days": [1, 2]}},
        {"id": "call_2", "name": "get_time", "arguments": {}},
    ],
    text="Let me see.",
)


def test_fed_by_hand_in_the_middle_of_the_stream(colour):
    processor = StreamProcessor()
    with FakeServer(Reply.text("one two three", reasoning="hm")) as server:
        for chunk in colour.each(colour.stream(server)):
            before = processor.chunk_count
            processor.process(chunk)
            assert processor.chunk_count == before + 1
            assert processor.content.endswith(chunk.delta)
    result = processor.get_result()
    assert result.content == processor.content == "one two three"
    assert result.reasoning == processor.reasoning == "hm"
    assert result.usage is processor.usage
    assert result.chunk_count == processor.chunk_count
    assert result.finish_reason == "stop"
    assert result.status == "complete"  # the chunks themselves say so


def test_wrapped_around_a_stream(colour):
    processor = StreamProcessor()
    with FakeServer(Reply.text("one two three")) as server:
        stream = colour.stream(server)
        wrapped = processor.wrap(stream)
        assert wrapped is stream
        seen = ""
        for chunk in colour.each(wrapped):
            seen += chunk.delta
            assert processor.content == seen
    assert processor.get_result().status == "complete"
    assert processor.get_result() == wrapped.result


def test_tool_calls(colour):
    processor = StreamProcessor()
    values = []
    with FakeServer(CALLS) as server:
        for chunk in colour.each(processor.wrap(colour.stream(server, tools=TOOLS))):
            values.append(processor.partial_arguments())
            if not chunk.is_done:
                assert processor.tool_calls == [] or chunk.usage
    result = processor.get_result()
    first, second = result.tool_calls
    assert first["id"] == "call_1"
    assert first["type"] == "function"
    assert first["function"]["name"] == "get_weather"
    assert json.loads(first["function"]["arguments"]) == {"city": "Paris", "days": [1, 2]}
    assert second["function"] == {"name": "get_time", "arguments": "{}"}
    assert result.incomplete_tool_calls == []
    assert values[0] is None
    assert values[-1] == {"city": "Paris", "days": [1, 2]}
    assert {"city": "Par"}.keys() <= set().union(*(value or {} for value in values))
    assert processor.partial_arguments(1) == {}
    assert processor.partial_arguments(2) is None
    message = result.to_message()
    assert message == {"role": "assistant", "content": "Let me see.", "tool_calls": [first, second]}


def test_a_cut_tool_call_is_not_finished_even_if_it_parses(colour):
    processor = StreamProcessor()
    call = {"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}
    events = [{"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]}]
    error, _ = colour.fail(processor.wrap(colour.source(events)), StreamTruncatedError)
    assert error.partial.tool_calls == []
    assert error.partial.incomplete_tool_calls[0]["function"]["name"] == "f"
    assert "tool_calls" not in error.partial.to_message()


@pytest.mark.parametrize("reason", ["length", "content_filter"])
def test_a_call_that_was_cut_by_a_limit_is_not_finished(reason):
    processor = StreamProcessor()
    processor.process(Chunk(tool_calls=(ToolCallDelta(0, "c", "f", '{"a": 1}'),)))
    processor.process(Chunk(finish_reason=reason))
    result = processor.get_result()
    assert result.tool_calls == []
    assert len(result.incomplete_tool_calls) == 1


@pytest.mark.parametrize(
    "items",
    [
        ["Hel", "lo"],
        [Chunk("Hel"), Chunk("lo")],
        [{"choices": [{"delta": {"content": "Hel"}}]}, {"choices": [{"delta": {"content": "lo"}}]}],
        [b'data: {"choices": [{"delta": {"con', b'tent": "Hello"}}]}\n\n'],
    ],
    ids=["str", "Chunk", "dict", "bytes"],
)
def test_anything_may_be_fed(items):
    processor = StreamProcessor()
    for item in items:
        processor.process(item)
    assert processor.content == "Hello"


def test_what_stood_before_a_broken_item_is_kept():
    processor = StreamProcessor()
    good = b'data: {"choices": [{"delta": {"content": "Hi"}}]}\n\n'
    with pytest.raises(StreamAPIError, match="boom") as caught:
        processor.process(good + b'data: {"error": {"message": "boom"}}\n\n')
    assert processor.content == "Hi"
    assert caught.value.partial.content == "Hi"
    with pytest.raises(StreamProtocolError, match="can't read an int"):
        processor.process(5)


@pytest.mark.parametrize(
    ("chunks", "status"),
    [
        ([Chunk("a")], "streaming"),
        ([Chunk("a", finish_reason="stop")], "complete"),
        ([Chunk("a", finish_reason="stop"), Chunk("b", 1)], "streaming"),
        ([Chunk("a", finish_reason="error")], "error"),
    ],
)
def test_the_status_of_one_that_is_fed_by_hand(chunks, status):
    processor = StreamProcessor()
    for chunk in chunks:
        processor.process(chunk)
    assert processor.get_result().status == status


def test_a_stream_that_has_ended_is_not_wrapped(colour):
    stream = normalize(colour.source(["a"]))
    colour.read(stream)
    with pytest.raises(ValueError, match="this stream has ended"):
        StreamProcessor().wrap(stream)


def test_several_choices():
    processor = StreamProcessor()
    for index, text in [(1, "b"), (0, "a"), (1, "B")]:
        processor.process(Chunk(text, index))
    assert processor.content == "a"
    assert processor.get_result(1).content == "bB"
    assert [choice.content for choice in processor.get_result().choices] == ["a", "bB"]
    with pytest.raises(LookupError, match="choice 2 has not begun; begun so far: 0, 1"):
        processor.get_result(2)


def test_an_empty_processor():
    result = StreamProcessor().get_result()
    assert (result.content, result.tool_calls, result.finish_reason) == ("", [], None)
    assert (result.usage, result.role, result.choices) == (None, None, ())
    assert result.status == "streaming"
    with pytest.raises(LookupError, match="none"):
        StreamProcessor().get_result(1)
