"""Cohere's chat, version 2: what its events say."""

import pytest

from llm_kit import Chunk, StreamAPIError, StreamProtocolError, ToolCallDelta, Usage
from llm_kit._core.accumulator import Accumulator
from llm_kit.dialects.cohere import CohereDialect


def message_event(kind, index=None, **message):
    payload = {"type": kind, "delta": {"message": message}}
    return payload if index is None else {**payload, "index": index}


START = {
    "id": "c-1",
    **message_event(
        "message-start", role="assistant", content=[], tool_plan="", tool_calls=[], citations=[]
    ),
}
USAGE = {
    "billed_units": {"input_tokens": 11, "output_tokens": 2},
    "tokens": {"input_tokens": 506, "output_tokens": 5},
    "cached_tokens": 464,
}
CITATION = {"start": 0, "end": 4, "text": "Ruby", "sources": [{"type": "tool", "id": "t:0"}]}


def text(value, index=0):
    return message_event("content-delta", index, content={"text": value})


def end(**delta):
    return {"type": "message-end", "delta": delta}


def read(*payloads):
    """The chunks of these events, in one stream."""
    dialect, chunks = CohereDialect(set()), []
    for payload in payloads:
        dialect.read(payload, chunks, payload)
    return chunks


def total_of(*payloads):
    """What these events add up to."""
    total = Accumulator()
    for chunk in read(*payloads):
        total.feed(chunk, 0.0)
    return total.result()


def test_a_whole_stream():
    result = total_of(
        START,
        message_event("content-start", 0, content={"type": "text", "text": ""}),
        text("Hel"),
        text("lo"),
        {"type": "content-end", "index": 0},
        end(finish_reason="COMPLETE", usage=USAGE),
    )
    assert (result.id, result.role, result.content) == ("c-1", "assistant", "Hello")
    assert (result.finish_reason, result.chunk_count) == ("stop", 4)
    assert result.usage == Usage(506, 5, cached_tokens=464, raw=USAGE)
    assert result.extra == {}


def test_the_start_announces_the_role():
    assert read(START) == [Chunk(role="assistant", id="c-1", raw=START)]


@pytest.mark.parametrize("kind", ["content-start", "content-delta", "of-tomorrow"])
def test_text_is_read_wherever_it_comes(kind):
    assert read(message_event(kind, 0, content={"type": "text", "text": "a"}))[0].delta == "a"


def test_thinking_is_reasoning():
    result = total_of(
        message_event("content-start", 0, content={"type": "thinking", "thinking": ""}),
        message_event("content-delta", 0, content={"thinking": "Hm"}),
        message_event("content-delta", 0, content={"thinking": "m."}),
        message_event("content-start", 1, content={"type": "text", "text": ""}),
        text("Yes", 1),
    )
    assert (result.reasoning, result.content) == ("Hmm.", "Yes")


def test_a_plan_and_parallel_tool_calls():
    def call(kind, index, **fields):
        return message_event(kind, index, tool_calls=fields)

    result = total_of(
        message_event("tool-plan-delta", tool_plan="I will"),
        message_event("tool-plan-delta", tool_plan=" look."),
        call(
            "tool-call-start", 0, id="a_1", type="function", function={"name": "a", "arguments": ""}
        ),
        call("tool-call-delta", 0, function={"arguments": '{"x":'}),
        call("tool-call-delta", 0, function={"arguments": " 1}"}),
        {"type": "tool-call-end", "index": 0},
        call(
            "tool-call-start", 1, id="a_2", type="function", function={"name": "a", "arguments": ""}
        ),
        call("tool-call-delta", 1, function={"arguments": "{}"}),
        {"type": "tool-call-end", "index": 1},
        end(finish_reason="TOOL_CALL"),
    )
    assert result.extra == {"tool_plan": "I will look."}
    assert [(call["id"], call["function"]) for call in result.tool_calls] == [
        ("a_1", {"name": "a", "arguments": '{"x": 1}'}),
        ("a_2", {"name": "a", "arguments": "{}"}),
    ]
    assert (result.content, result.finish_reason) == ("", "tool_calls")


def test_a_call_without_an_index_has_none():
    (chunk,) = read(message_event("tool-call-start", tool_calls={"id": "a_1", "function": None}))
    assert chunk.tool_calls == (ToolCallDelta(None, "a_1"),)


def test_citations_are_annotations():
    result = total_of(
        text("Ruby"),
        message_event("citation-start", 0, citations=CITATION),
        {"type": "citation-end", "index": 0},
        message_event("citation-start", 1, citations={**CITATION, "start": 5}),
    )
    assert result.extra == {"annotations": [CITATION, {**CITATION, "start": 5}]}


def test_fields_without_a_home_are_in_extra():
    result = total_of(
        {"type": "debug", "prompt": "<s>"},
        {"type": "message-end", "delta": {"message": {"mood": "good"}, "cost": 3}, "trace": "t"},
    )
    assert result.extra == {"prompt": "<s>", "mood": "good", "cost": 3, "trace": "t"}


def test_content_of_another_kind_is_in_extra():
    image = {"type": "image", "image": "iVBORw0K"}
    (chunk,) = read(message_event("content-start", 1, content=image))
    assert (chunk.delta, chunk.extra) == ("", {"content": [image]})


def test_log_probabilities_are_kept_as_sent():
    result = total_of(
        {**text("a"), "logprobs": {"text": "a", "token_ids": [1], "logprobs": [-0.5]}},
        {**text("b"), "logprobs": {"text": "b", "token_ids": [2], "logprobs": [-0.1]}},
    )
    assert result.logprobs == {"text": "ab", "token_ids": [1, 2], "logprobs": [-0.5, -0.1]}


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("COMPLETE", "stop"),
        ("STOP_SEQUENCE", "stop"),
        ("MAX_TOKENS", "length"),
        ("TOOL_CALL", "tool_calls"),
        ("ERROR", "ERROR"),
        ("TIMEOUT", "TIMEOUT"),
        ("", None),
    ],
)
def test_endings_are_told_in_common_words(word, meant):
    (chunk,) = read(end(finish_reason=word, usage=USAGE))
    assert chunk.finish_reason == meant


@pytest.mark.parametrize(
    ("usage", "counts"),
    [
        ({"tokens": {"input_tokens": 5.0, "output_tokens": 2.0}}, (5, 2, None)),  # the SDK's
        ({"tokens": {"input_tokens": 0.5, "output_tokens": True}}, (None, None, None)),
        ({"billed_units": {"input_tokens": 1}, "tokens": None}, (1, None, None)),
        ({"cached_tokens": 7.0}, (None, None, 7)),
        ({"tokens": {}}, (None, None, None)),
    ],
)
def test_usage_has_the_numbers_that_are_there(usage, counts):
    (chunk,) = read(end(usage=usage))
    told = chunk.usage
    assert (told.prompt_tokens, told.completion_tokens, told.cached_tokens) == counts
    assert (told.total_tokens, told.reasoning_tokens, told.raw) == (None, None, usage)


def test_empty_usage_is_none():
    assert read(end(usage={})) == []


def test_fields_that_a_typed_model_leaves_empty_say_nothing():
    dump = {"type": "content-delta", "index": 0, "logprobs": None}
    assert (
        read(
            {**dump, "delta": {"message": {"content": {"thinking": None, "text": None}}}},
            {**dump, "delta": {"message": {"content": None}}},
            {**dump, "delta": {"message": None}},
            {**dump, "delta": None},
            {"type": "message-end", "id": None, "delta": {"error": None, "usage": None}},
        )
        == []
    )


@pytest.mark.parametrize(
    "payload",
    [
        {"type": "content-end", "index": 0},
        {"type": "ping"},
        {"type": None},
        {"type": ["message-start"]},
        {"id": "c-1", "text": "no event"},
        {},
    ],
)
def test_what_says_nothing_gives_no_chunk(payload):
    assert read(payload) == []


def test_the_end_of_the_message_ends_the_stream():
    dialect = CohereDialect(set())
    dialect.read(text("a"), [], None)
    assert not dialect.done
    dialect.read(end(finish_reason="COMPLETE"), [], None)
    assert dialect.done


@pytest.mark.parametrize(
    ("payload", "where"),
    [
        ({"type": "content-delta", "delta": "a"}, "delta"),
        ({"type": "content-delta", "delta": {"message": ["a"]}}, r"delta\.message"),
        (message_event("content-delta", content="a"), "content"),
        (message_event("content-delta", content=["a"]), r"content\[0\]"),
        (message_event("content-delta", content={"text": 1}), r"content\.text"),
        (message_event("content-delta", content={"thinking": {"a": 1}}), r"content\.thinking"),
        (message_event("tool-call-start", tool_calls="a"), "tool_calls"),
        (message_event("tool-call-start", tool_calls={"id": 7}), r"tool_calls\[\]\.id"),
        (message_event("citation-start", citations=3), "citations"),
        (end(finish_reason=3), "finish_reason"),
        (end(usage=3), "usage"),
        (end(usage={"tokens": 3}), r"usage\.tokens"),
    ],
)
def test_a_field_that_carries_the_answer_must_have_its_type(payload, where):
    with pytest.raises(StreamProtocolError, match=rf"`{where}` is a"):
        read(payload)


@pytest.mark.parametrize(
    ("payload", "message", "code", "kind"),
    [
        (end(finish_reason="ERROR", error="out of memory"), "out of memory", None, None),
        ({"type": "message-end", "error": {"message": "no", "code": 500}}, "no", 500, None),
        ({"message": "invalid api token", "id": "e-1"}, "invalid api token", None, None),
        ({"error": {"message": "boom", "type": "internal"}}, "boom", None, "internal"),
        ({"detail": "Not Found"}, "Not Found", None, None),
    ],
)
def test_an_error_is_raised(payload, message, code, kind):
    with pytest.raises(StreamAPIError) as caught:
        read(payload)
    error = caught.value
    assert (error.message, error.code, error.type) == (message, code, kind)


@pytest.mark.parametrize("word", ["ERROR", "TIMEOUT"])
def test_an_ending_that_is_a_failure_is_told_as_it_is_and_ends_no_call(word):
    asked = {"id": "c", "function": {"name": "f", "arguments": "{}"}}
    result = total_of(
        message_event("tool-call-start", 0, tool_calls=asked), end(finish_reason=word)
    )
    assert (result.finish_reason, result.tool_calls) == (word, [])
    assert len(result.incomplete_tool_calls) == 1


def test_the_ending_beside_an_error_is_not_lost():
    dialect, chunks = CohereDialect(set()), []
    with pytest.raises(StreamAPIError):
        dialect.read(end(finish_reason="ERROR", usage=USAGE, error="boom"), chunks, None)
    assert [(chunk.finish_reason, chunk.usage.prompt_tokens) for chunk in chunks] == [
        ("ERROR", 506)
    ]
    assert dialect.done


@pytest.mark.parametrize(
    ("payload", "answer"),
    [
        (START, True),
        (text("a"), True),
        ({"type": "message-end"}, True),
        ({"type": "message_start", "message": {}}, False),
        ({"type": "response.created"}, False),
        ({"type": "text-delta", "delta": "a"}, False),
        ({"type": ["message-start"]}, False),
        ({"choices": [{"delta": {}}]}, False),
        ({"error": {"type": "x"}}, False),
        ({}, False),
    ],
)
def test_recognises_its_own_only(payload, answer):
    assert CohereDialect.recognises(payload) is answer
