"""StreamCollector: to a string, to a result, past callbacks."""

import pytest

from llm_kit import (
    Chunk,
    StreamCollector,
    StreamInterrupter,
    StreamTruncatedError,
    ToolCallDelta,
    normalize,
)
from llm_kit.testing import FakeServer, Reply

CALLS = Reply.tool_calls([{"id": "c", "name": "f", "arguments": {"a": 1}}], text="See:")


def test_to_string(colour):
    with FakeServer(Reply.text("Hello, world!")) as server:
        assert colour.run(StreamCollector.to_string(colour.stream(server))) == "Hello, world!"
    assert colour.run(StreamCollector.to_string(colour.source(["a", "b"]))) == "ab"


def test_to_result(colour):
    with FakeServer(CALLS) as server:
        result = colour.run(StreamCollector.to_result(colour.stream(server)))
    assert result.status == "complete"
    assert result.content == "See:"
    assert result.tool_calls[0]["function"]["name"] == "f"


def test_a_failure_carries_the_partial(colour):
    with (
        FakeServer(Reply.text("one two three").cut(at=700)) as server,
        pytest.raises(StreamTruncatedError) as caught,
    ):
        colour.run(StreamCollector.to_string(colour.stream(server)))
    assert "one two three".startswith(caught.value.partial.content)
    assert caught.value.partial.content
    assert caught.value.partial.status == "truncated"


def test_an_interrupted_stream_gives_what_came(colour):
    interrupter = StreamInterrupter()

    def stop_at_b(text):
        if text == "b":
            interrupter.interrupt()

    stream = StreamCollector.collect(
        interrupter.wrap(colour.source(["a", "b", "c"])), on_delta=stop_at_b
    )
    assert colour.run(StreamCollector.to_string(stream)) == "ab"


def collect(colour, stream, as_async=False, **extra):
    told = []

    def note(kind):
        def callback(value):
            told.append((kind, value))

        return colour.wrap_function(callback) if as_async else callback

    names = ("on_delta", "on_reasoning", "on_tool_call", "on_chunk", "on_done")
    callbacks = {name: note(name) for name in names} | extra
    return StreamCollector.collect(stream, **callbacks), told


@pytest.mark.parametrize("as_async", [False, True])
def test_callbacks(colour, as_async):
    reply = Reply.text("one two", reasoning="hm")
    with FakeServer(reply) as server:
        stream, told = collect(colour, colour.stream(server), as_async)
        chunks = colour.read(stream)
    assert [value for kind, value in told if kind == "on_delta"] == ["one", " two"]
    assert "".join(value for kind, value in told if kind == "on_reasoning") == "hm"
    assert [value for kind, value in told if kind == "on_chunk"] == chunks
    assert [kind for kind, _ in told].count("on_done") == 1
    assert told[-1] == ("on_done", stream.result)
    assert stream.result.status == "complete"


def test_a_tool_call_is_told_once_when_it_is_finished(colour):
    with FakeServer(CALLS) as server:
        stream, told = collect(colour, colour.stream(server))
        colour.read(stream)
    assert [value for kind, value in told if kind == "on_tool_call"] == stream.result.tool_calls
    kinds = [kind for kind, _ in told]
    assert kinds.index("on_tool_call") > kinds.index("on_delta")


def test_calls_behind_the_finish_reason_are_told_too(colour):
    def event(call, finish=None):
        fields = {"index": call, "id": f"c{call}", "function": {"name": "f", "arguments": "{}"}}
        return {"choices": [{"delta": {"tool_calls": [fields]}, "finish_reason": finish}]}

    stream, told = collect(colour, colour.source([event(0, "tool_calls"), event(1)]))
    colour.read(stream)
    assert [value["id"] for kind, value in told if kind == "on_tool_call"] == ["c0", "c1"]


def test_only_what_was_asked_for_is_called(colour):
    stream = StreamCollector.collect(colour.source(["a", "b"]))
    assert [chunk.delta for chunk in colour.read(stream)] == ["a", "b"]


def test_collecting_nests(colour):
    stream = normalize(colour.source(["a", "b"]))
    first, second = [], []
    wrapped = StreamCollector.collect(stream, on_delta=first.append)
    assert StreamCollector.collect(wrapped, on_delta=second.append) is stream
    colour.read(stream)
    assert first == second == ["a", "b"]


def test_done_is_told_however_the_stream_ends(colour):
    with FakeServer(Reply.text("one two three").cut(at=700)) as server:
        stream, told = collect(colour, colour.stream(server))
        error, _ = colour.fail(stream, StreamTruncatedError)
    assert told[-1] == ("on_done", error.partial)
    assert error.partial.status == "truncated"


def test_an_error_of_a_callback_ends_the_stream(colour):
    def refuse(text):
        raise LookupError(text)

    with FakeServer(Reply.text("one two three").stall(after=3)) as server:
        stream, told = collect(colour, colour.stream(server), on_delta=refuse)
        error, _ = colour.fail(stream, LookupError)
        assert server.requests[0].closed.wait(5)
    assert str(error) == "one"
    assert error.partial.content == "one"
    assert stream.result.status == "interrupted"
    assert told[-1][0] == "on_done"


def test_an_error_of_on_done_comes_out(colour):
    def refuse(result):
        raise LookupError(result.content)

    stream, _ = collect(colour, colour.source(["a"]), on_done=refuse)
    error, chunks = colour.fail(stream, LookupError)
    assert [chunk.delta for chunk in chunks] == ["a"]
    assert str(error) == "a"


def test_a_broken_stream_is_not_whole_the_second_time(colour):
    with FakeServer(Reply.text("one two three").cut(at=700)) as server:
        stream = colour.stream(server)
        first, _ = colour.fail(stream, StreamTruncatedError)
        with pytest.raises(StreamTruncatedError) as caught:
            colour.run(StreamCollector.to_string(stream))
    assert caught.value is first


def test_the_streams_own_error_comes_before_a_callbacks(colour):
    def refuse(result):
        raise LookupError

    with FakeServer(Reply.text("one two three").cut(at=700)) as server:
        stream = StreamCollector.collect(colour.stream(server), on_done=refuse)
        error, _ = colour.fail(stream, StreamTruncatedError)
    assert isinstance(error.__context__, LookupError)


async def ignore(value):
    return


def test_an_async_callback_needs_an_async_stream():
    stream = StreamCollector.collect(["a", "b"], on_delta=ignore)
    with pytest.raises(TypeError, match="needs an async stream"):
        list(stream)


def test_a_new_beginning_tells_its_tool_calls_anew(colour):
    call = ToolCallDelta(0, "a", "f", "{}")
    items = [
        Chunk(tool_calls=(call,), finish_reason="tool_calls"),
        Chunk(restarted=True),
        Chunk(tool_calls=(call,), finish_reason="tool_calls"),
    ]
    told = []
    colour.read(StreamCollector.collect(colour.source(items), on_tool_call=told.append))
    assert [each["id"] for each in told] == ["a", "a"]
