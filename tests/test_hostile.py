"""Streams that are known to break clients: for each the right outcome, over a real connection."""

import json

import pytest

from llm_kit import StreamAPIError, StreamProtocolError, StreamTruncatedError
from llm_kit.testing import FakeServer, Reply

USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


def event(delta=None, index=0, finish_reason=None, **more):
    """One chunk object with one choice."""
    choice = {"index": index, "delta": {} if delta is None else delta}
    return {"choices": [choice | {"finish_reason": finish_reason}], **more}


def text(content, **more):
    return event({"content": content}, **more)


def call(arguments="", **fields):
    """A delta with one piece of a tool call."""
    name = {"name": fields.pop("name")} if "name" in fields else {}
    return event({"tool_calls": [{**fields, "function": {**name, "arguments": arguments}}]})


STOP = event(finish_reason="stop")
CALLED = event(finish_reason="tool_calls")
DONE = "[DONE]"


def body(*events):
    frames = (each if isinstance(each, str) else json.dumps(each) for each in events)
    return "".join(f"data: {frame}\n\n" for frame in frames).encode()


GOOD = body(text("Hel"), text("lo"), STOP, DONE)
TWO_CALLS = [("a", "f", '{"x":1}'), ("b", "g", '{"y":2}')]

# name: (body, kind of error or None, what the result or the partial says)
CASES = {
    "end of file without finish_reason and without [DONE]": (
        body(text("Hel"), text("lo")),
        StreamTruncatedError,
        {"content": "Hello", "status": "truncated", "finish_reason": None},
    ),
    "[DONE] without finish_reason": (
        body(text("Hel"), text("lo"), DONE),
        StreamTruncatedError,
        {"content": "Hello", "status": "truncated"},
    ),
    "finish_reason without [DONE]": (
        body(text("Hel"), text("lo"), STOP),
        None,
        {"content": "Hello", "status": "complete"},
    ),
    "one malformed chunk, then good ones": (
        body(text("Hel"), '{"choices": [', text("lo"), STOP, DONE),
        StreamProtocolError,
        {"content": "Hel", "status": "error"},
    ),
    "an error object": (
        body(text("Hel"), {"error": {"message": "boom", "code": 502}}, text("lo"), STOP),
        StreamAPIError,
        {"content": "Hello", "status": "error"},  # what stands behind the error is kept
    ),
    "an error as text": (
        body(text("Hel"), {"error": "boom"}),
        StreamAPIError,
        {"content": "Hel", "status": "error"},
    ),
    "two calls without index": (
        body(
            call(id="a", name="f"),
            call('{"x":'),
            call("1}"),
            call(id="b", name="g"),
            call('{"y":2}'),
            CALLED,
        ),
        None,
        {"calls": TWO_CALLS},
    ),
    "two calls, both with index 0": (
        body(
            call('{"x":1}', index=0, id="a", name="f"),
            call("", index=0, id="b", name="g"),
            call('{"y":2}', index=0),
            CALLED,
        ),
        None,
        {"calls": TWO_CALLS},
    ),
    "id and name in every piece": (
        body(
            call('{"x"', index=0, id="a", name="f", type="function"),
            call(":1}", index=0, id="a", name="f", type="function"),
            call('{"y":2}', index=1, id="b", name="g", type="function"),
            CALLED,
        ),
        None,
        {"calls": TWO_CALLS},
    ),
    "the first index is 1": (
        body(call('{"x":1}', index=1, id="a", name="f"), CALLED),
        None,
        {"calls": TWO_CALLS[:1]},
    ),
    "a preamble with empty choices": (
        body(
            {
                "id": "",
                "model": "",
                "object": "",
                "created": 0,
                "choices": [],
                "prompt_filter_results": [{"prompt_index": 0}],
            },
            text("Hello", id="i", model="m"),
            STOP,
        ),
        None,
        {"content": "Hello", "id": "i", "model": "m", "chunk_count": 2},
    ),
    "an empty object on every chunk": (
        body(text("Hel", object=""), text("lo", object=""), STOP | {"object": ""}),
        None,
        {"content": "Hello"},
    ),
    "usage on an early chunk only": (
        body(text("Hel", usage=USAGE), text("lo"), STOP),
        None,
        {"content": "Hello", "tokens": (3, 2, 5)},
    ),
    "cumulative usage": (
        body(
            text("Hel", usage=USAGE | {"completion_tokens": 1, "total_tokens": 4}),
            text("lo", usage=USAGE),
            STOP | {"usage": None},
        ),
        None,
        {"content": "Hello", "tokens": (3, 2, 5)},
    ),
    "choices that are null": (
        body(text("Hel"), {"choices": None}, text("lo"), STOP),
        None,
        {"content": "Hello", "chunk_count": 3},
    ),
    "a delta that is null": (
        body(text("Hel"), {"choices": [{"index": 0, "delta": None}]}, text("lo"), STOP),
        None,
        {"content": "Hello"},
    ),
    "two choices, the second first": (
        body(
            text("B", index=1),
            text("A"),
            text("b", index=1),
            text("a"),
            event(index=1, finish_reason="length"),
            STOP,
        ),
        None,
        {"content": "Aa", "texts": ["Aa", "Bb"], "finish_reason": "stop"},
    ),
    "content as a list with thinking": (
        body(
            text([{"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]}]),
            text([{"type": "text", "text": "Hel"}]),
            text("lo"),
            STOP,
        ),
        None,
        {"content": "Hello", "reasoning": "Hm"},
    ),
    "reasoning_content, then reasoning": (
        body(
            event({"reasoning_content": "H"}),
            event({"reasoning": "m"}),
            event({"reasoning": ".", "reasoning_content": "."}),
            text("Hello"),
            STOP,
        ),
        None,
        {"content": "Hello", "reasoning": "Hm."},
    ),
    "reasoning_details": (
        body(
            event({"reasoning_details": [{"type": "reasoning.text", "text": "H", "index": 0}]}),
            event({"reasoning_details": [{"type": "reasoning.text", "text": "m", "index": 0}]}),
            event({"reasoning_details": [{"type": "reasoning.encrypted", "data": "x"}]}),
            text("Hello"),
            STOP,
        ),
        None,
        {"content": "Hello", "reasoning": "Hm"},
    ),
    # Framing
    "id with comments between": (b"id: 1\n: ping\n\n" + GOOD + b": pong\n\n", None, {}),
    "nothing but retry": (b"retry: 1000\n\n" + GOOD, None, {}),
    "empty data": (b"data:\n\ndata: \n\ndata\n\n" + GOOD, None, {}),
    "a comment as data": (b"data: : keepalive\n\n" + GOOD, None, {}),
    "ping events": (b"event: ping\ndata: {}\n\n" + GOOD, None, {}),
    "an error event without the key": (
        body(text("Hel")) + b'event: error\ndata: {"message": "boom", "code": 502}\n\n',
        StreamAPIError,
        {"content": "Hel"},
    ),
    "no space": (GOOD.replace(b"data: ", b"data:"), None, {}),
    "no space and CRLF": (
        GOOD.replace(b"data: ", b"data:").replace(b"\n", b"\r\n"),
        None,
        {},
    ),
    "line separators within text": (
        "data: {}\n\n".format('{"choices":[{"delta":{"content":"a\u2028b\u2029c\x85"}}]}').encode()
        + body(STOP),
        None,
        {"content": "a\u2028b\u2029c\x85"},
    ),
    "an error without frame": (
        b'{"error": {"message": "boom", "code": 502}}',
        StreamAPIError,
        {"content": "", "chunk_count": 0},
    ),
    "an error without frame behind text": (
        body(text("Hel")) + b'{"error": {"message": "boom", "code": 502}}\n\n',
        StreamAPIError,
        {"content": "Hel"},
    ),
    "a JSON body": (
        json.dumps(
            {
                "choices": [
                    {
                        "index": 0,
                        "message": {"role": "assistant", "content": "Hello"},
                        "finish_reason": "stop",
                    }
                ],
                "usage": USAGE,
            }
        ).encode(),
        None,
        {"tokens": (3, 2, 5)},
    ),
    "HTML": (
        b"<!DOCTYPE html><title>Log in</title>",
        StreamProtocolError,
        {"content": "", "chunk_count": 0},
    ),
    "no blank line at the end": (GOOD[: GOOD.index(b"data: [DONE]")].rstrip(b"\n"), None, {}),
    "no line end behind [DONE]": (GOOD.rstrip(b"\n"), None, {}),
    "a byte order mark": (b"\xef\xbb\xbf" + GOOD, None, {}),
}
DEFAULTS = {"content": "Hello", "status": "complete", "finish_reason": "stop"}


def said(result):
    """A result in the words of the table."""
    usage = result.usage
    calls = [
        (call["id"], call["function"]["name"], call["function"]["arguments"])
        for call in result.tool_calls
    ]
    return {
        "content": result.content,
        "reasoning": result.reasoning,
        "status": result.status,
        "finish_reason": result.finish_reason,
        "id": result.id,
        "model": result.model,
        "chunk_count": result.chunk_count,
        "calls": calls,
        "texts": [choice.content for choice in result.choices],
        "tokens": usage and (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens),
    }


def expected_of(wanted, error_kind):
    if error_kind is not None:
        return wanted
    if "calls" in wanted:
        return {"content": "", "status": "complete", "finish_reason": "tool_calls"} | wanted
    return DEFAULTS | wanted


@pytest.mark.parametrize(("stream", "kind", "wanted"), CASES.values(), ids=CASES)
def test_the_right_outcome(colour, stream, kind, wanted):
    """Whole in one write, and byte by byte: it must be the same."""
    singles = Reply.raw(stream, sizes=[1] * len(stream))
    with FakeServer(Reply.raw(stream), singles) as server:
        client = colour.client(server)
        for requests in (1, 2):
            check(colour, colour.stream(server, client=client), stream, kind, wanted)
            assert len(server.requests) == requests


def check(colour, answer, stream, kind, wanted):
    if kind is None:
        chunks = colour.read(answer)
        result = answer.result
    else:
        error, chunks = colour.fail(answer, kind)
        result = error.partial
        assert result == answer.result
        if kind is StreamAPIError:
            assert error.message == "boom"
            assert error.status_code == error.code == (502 if b"502" in stream else None)
    wanted = expected_of(wanted, kind)
    given = said(result)
    assert {name: given[name] for name in wanted} == wanted
    assert "".join(chunk.delta for chunk in chunks if chunk.index == 0) == result.content
    assert len(chunks) == result.chunk_count


def test_a_malformed_chunk_can_be_skipped(colour):
    stream = CASES["one malformed chunk, then good ones"][0]
    with FakeServer(Reply.raw(stream)) as server:
        answer = colour.stream(server, on_malformed="skip")
        colour.read(answer)
    assert answer.result.content == "Hello"
    assert answer.result.status == "complete"
    assert answer.result.quirks == ("malformed_event_skipped",)
