"""Whatever a server or a caller does wrong: a right result, or an error that says what to do."""

import copy
import gzip
import json
import logging
import pickle
import socket
import traceback

import httpx
import httpx2
import pytest

from llm_kit import (
    APIConnectionError,
    APIStatusError,
    AsyncLLMClient,
    Limits,
    LLMClient,
    LLMKitError,
    RetryPolicy,
    StreamAPIError,
    StreamCollector,
    StreamInterrupted,
    StreamInterrupter,
    StreamProtocolError,
    StreamTimeoutError,
    StreamTruncatedError,
    normalize,
)
from llm_kit.testing import FakeServer, Pause, Reply, Reset

KEY = "sk-test-key-123"  # what `colour.client` uses
MESSAGES = [{"role": "user", "content": "Hello"}]


def event(delta=None, **choice):
    payload = {"choices": [{"index": 0, "delta": delta or {}, **choice}]}
    return b"data: " + json.dumps(payload).encode() + b"\n\n"


HELLO = event({"role": "assistant", "content": "Hello"})
STOP = event(finish_reason="stop")
DONE = b"data: [DONE]\n\n"


def outcome(colour, *replies, limits=None, **params):
    """What a request ends in: the result, and the error or None."""
    with FakeServer(*replies) as server:
        client = colour.client(server, limits=limits)
        return outcome_of(colour, colour.stream(server, client=client, **params))


def outcome_of(colour, stream):
    """What a stream ends in; no error but ours may come out of it, and it has the partial."""
    chunks, error = [], None
    try:
        chunks.extend(colour.each(stream))  # extend keeps what came before the error
    except LLMKitError as raised:
        error = raised
    result = stream.result
    assert result.chunk_count == len(chunks)
    assert (result.status == "complete") is (error is None)
    assert error is None or (error.partial == result and str(error))
    return result, error


def failure(colour, kind, *replies, **settings):
    result, error = outcome(colour, *replies, **settings)
    assert type(error) is kind
    return result, error


# Bodies that are no stream

ERROR = {"error": {"message": "the model is loading", "type": "unavailable", "code": 503}}


@pytest.mark.parametrize("stalls", [False, True], ids=["", "never closes"])
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("content_type", ["application/json", "text/event-stream"])
def test_a_bare_error_with_status_200(colour, content_type, indent, stalls):
    reply = Reply.raw(json.dumps(ERROR, indent=indent).encode(), content_type=content_type)
    result, error = failure(colour, StreamAPIError, reply.stall(after=1) if stalls else reply)
    assert error.message == "the model is loading"
    assert (error.code, error.type, error.status_code) == (503, "unavailable", 503)
    assert result.status == "error"


@pytest.mark.parametrize("stalls", [False, True], ids=["", "never closes"])
@pytest.mark.parametrize("indent", [None, 2])
def test_a_bare_error_behind_text(colour, indent, stalls):
    body = HELLO + json.dumps(ERROR, indent=indent).encode() + b"\n\n"
    reply = Reply.raw(body)
    result, error = failure(colour, StreamAPIError, reply.stall(after=1) if stalls else reply)
    assert (result.content, error.code) == ("Hello", 503)


@pytest.mark.parametrize("framing", ["chunked", "close", "length", "http/1.0"])
@pytest.mark.parametrize("body", [b"", b"\n\n", b": comment\n\n", DONE])
def test_a_200_without_any_event_is_truncated(colour, framing, body):
    result, error = failure(colour, StreamTruncatedError, Reply.raw(body).with_framing(framing))
    assert "without a single event" in str(error)
    assert (result.status, result.chunk_count) == ("truncated", 0)


@pytest.mark.parametrize(
    "body",
    [
        b"<!DOCTYPE html><html>Please log in</html>",
        b"\r\n<html>Please log in</html>",
        b"Please log in",
        b'{"login": "Please log in"}',
        b'["Please log in"]',
        b'"Please log in"',
        b"\x00\x01\x02Please log in\xff\xfe",
    ],
)
@pytest.mark.parametrize("content_type", ["text/html", "text/event-stream"])
def test_what_is_no_stream_is_quoted(colour, body, content_type):
    _, error = failure(colour, StreamProtocolError, Reply.raw(body, content_type=content_type))
    assert "Please log in" in str(error)


@pytest.mark.parametrize(
    "garbage",
    [
        b"data: garbage\n\n",
        b'data: {"choices": [}\n\n',
        b"data: {\n\n",
        b"data: \xff\xfe\n\n",
        b'data: {"choices": "x"}\n\n',
        b"data: " + b"[" * 50_000 + b"\n\n",
        b'data: {"choices": ' + b"[" * 50_000 + b"]" * 50_000 + b"}\n\n",
        b'data: {"created": ' + b"9" * 5_000 + b"}\n\n",
    ],
    ids=lambda body: body[:24].decode("latin-1"),
)
def test_a_garbled_event(colour, garbage):
    reply = Reply.raw(HELLO + garbage + STOP + DONE)
    result, error = failure(colour, StreamProtocolError, reply)
    assert (result.content, result.status) == ("Hello", "error")
    assert len(str(error)) < 1000
    result, error = outcome(colour, reply, on_malformed="skip")
    assert (result.content, result.status, error) == ("Hello", "complete", None)


@pytest.mark.parametrize(
    "number", ["123456789012345678901234567890", "NaN", "-Infinity", "1e999", "-1", "0.1e-500"]
)
def test_odd_numbers_do_no_harm(colour, number):
    fields = {"index": number, "created": number, "usage": f'{{"total_tokens": {number}}}'}
    fields |= {"logprobs": number}
    choice = f'{{"delta": {{"content": "x"}}, "logprobs": {number}}}'
    body = f'data: {{"choices": [{choice}], "created": {number}, "usage": {fields["usage"]}}}\n\n'
    result, error = outcome(colour, Reply.raw(body.encode() + STOP))
    assert (result.content, error) == ("x", None)


def test_invalid_utf8_is_replaced(colour):
    body = HELLO.replace(b"Hello", b"H\xff\xfello") + STOP
    result, error = outcome(colour, Reply.raw(body, sizes=[1] * len(body)))
    assert (result.content, error) == ("H\ufffd\ufffdllo", None)


def test_an_event_of_5_mb(colour):
    text = "ab\u2028" * 1_700_000
    result, error = outcome(colour, Reply.raw(event({"content": text}) + STOP))
    assert error is None
    assert result.content == text


@pytest.mark.parametrize(
    ("limits", "body", "advice"),
    [
        (Limits(event=10_000), HELLO + event({"content": "x" * 200_000}), "Limits(event="),
        (Limits(event=10_000), HELLO + b"data: x\n" * 100_000, "Limits(event="),
        (Limits(response=10_000), HELLO * 1_000 + STOP, "Limits(response="),
        (Limits(response=10_000), HELLO + b": ping\n\n" * 100_000, "Limits(response="),
    ],
)
def test_over_a_limit(colour, limits, body, advice):
    sizes = [len(HELLO)] + [4096] * (len(body) // 4096)
    # Behind the limit nothing is read any more: a server that never ends does no harm.
    reply = Reply.raw(body, sizes=sizes).stall(after=len(sizes) + 1)
    result, error = failure(colour, StreamProtocolError, reply, limits=limits)
    assert advice in str(error)
    assert result.content.startswith("Hello")


# Every field, with every type

FULL = {
    "id": "i",
    "object": "chat.completion.chunk",
    "created": 1,
    "model": "m",
    "system_fingerprint": "f",
    "choices": [
        {
            "index": 0,
            "delta": {
                "role": "assistant",
                "content": "x",
                "refusal": "x",
                "reasoning": "x",
                "reasoning_content": "x",
                "reasoning_details": [{"type": "reasoning.text", "text": "x", "index": 0}],
                "tool_calls": [
                    {
                        "index": 0,
                        "id": "c",
                        "type": "function",
                        "function": {"name": "f", "arguments": "{}"},
                        "extra_content": {"google": {"thought_signature": "s"}},
                    }
                ],
                "function_call": {"name": "f", "arguments": "{}"},
                "audio": {"id": "a"},
                "annotations": [{"type": "url_citation", "index": 0}],
            },
            "logprobs": {"content": [{"token": "x", "index": 0}], "refusal": None},
            "finish_reason": "stop",
            "usage": {"prompt_tokens": 1},
            "error": {"message": "m", "code": 500, "type": "t"},
            "message": {"content": [{"type": "text", "text": "x"}, {"thinking": [{"text": "x"}]}]},
        }
    ],
    "usage": {
        "prompt_tokens": 1,
        "completion_tokens": 1,
        "total_tokens": 2,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0},
    },
    "x_groq": {"usage": {"prompt_tokens": 1}},
    "error": {"message": "m", "code": 500, "type": "t", "detail": "d"},
    "detail": "d",
    "message": "m",
    "code": 500,
    "type": "t",
}
VALUES = [
    *(None, True, False, 0, -1, 10**30, 1.5, float("nan"), "", "x", "9" * 40),
    *([], [None], ["x"], [[]], [{}], [0], {}, {"x": 1}, {"index": []}),
]
LEFT_OUT = object()


def paths(value, path=()):
    """Where in a value something can be put in place of what is there."""
    if path:
        yield path
    if isinstance(value, dict | list):
        for name in value if isinstance(value, dict) else range(len(value)):
            yield from paths(value[name], (*path, name))


def with_value(path, value):
    """The full object with one field changed; errors only where they are what is changed."""
    payload = copy.deepcopy(FULL)
    if path[0] not in ("error", "detail", "message", "code", "type"):
        for name in ("error", "detail", "message", "code", "type"):
            del payload[name]
    if path[:3] != ("choices", 0, "error"):
        del payload["choices"][0]["error"]
    if path[0] == "detail":
        del payload["choices"], payload["error"]
    if path[:3] == ("choices", 0, "message"):
        del payload["choices"][0]["delta"]
    place = payload
    for name in path[:-1]:
        place = place[name]
    if value is LEFT_OUT:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return payload


WRONG = [(path, value) for path in paths(FULL) for value in (*VALUES, LEFT_OUT)]


def checked(result, error):
    """Whether all that a result offers can be had, and what was right is there."""
    assert result.content.startswith("Hello")
    assert isinstance(result.reasoning + result.refusal, str)
    assert error is None or type(error) in (StreamAPIError, StreamProtocolError)
    message = json.dumps(result.to_message())
    assert repr(result)
    assert all(choice.to_message() for choice in result.choices)
    assert pickle.loads(pickle.dumps(error)) is not None or error is None
    return message


def test_every_field_with_every_type_by_hand():
    for path, value in WRONG:
        stream = normalize([json.loads(HELLO[6:]), with_value(path, value)])
        try:
            list(stream)
        except StreamTruncatedError:
            assert stream.result.status == "truncated"
        except LLMKitError as error:
            checked(error.partial, error)
        checked(stream.result, None)


def test_every_field_with_every_type(colour):
    """One client for all: none of them may harm the next request either."""

    def reply(received):
        path, value = WRONG[received.json["seed"]]
        body = b"data: " + json.dumps(with_value(path, value)).encode() + b"\n\n"
        return Reply.raw(HELLO + body + STOP)

    with FakeServer(reply) as server:
        client = colour.client(server)
        # Each colour takes every second one; `by hand` they are all taken.
        for number in range(colour.is_async, len(WRONG), 2):
            stream = colour.stream(server, client=client, seed=number)
            checked(*outcome_of(colour, stream))


@pytest.mark.parametrize(
    "payload",
    [
        {"choices": None},
        {"choices": []},
        {"choices": [{"index": 0, "delta": None, "finish_reason": None}]},
        {"choices": [{"index": 0}]},
        {"choices": [{}]},
        {},
        {"choices": None, "usage": None, "error": None},
    ],
)
def test_nulls_say_nothing(colour, payload):
    body = b"data: " + json.dumps(payload).encode() + b"\n\n"
    result, error = outcome(colour, Reply.raw(body + HELLO + body + STOP + body + DONE))
    assert (result.content, result.status, error) == ("Hello", "complete", None)


@pytest.mark.parametrize("code", ["9" * 5_000, "\u00b2", "x", "", " 500", "1e2", "99", "600"])
def test_odd_codes_of_errors(colour, code):
    body = b"data: " + json.dumps({"error": {"message": "m", "code": code}}).encode() + b"\n\n"
    _, error = failure(colour, StreamAPIError, Reply.raw(body))
    assert (error.code, error.status_code) == (code, None)


# No answer, or one that is an error


def test_connection_refused(colour):
    with FakeServer() as server:
        base_url = server.base_url
    result, error = outcome_of(colour, colour.stream(base_url))
    assert type(error) is APIConnectionError
    assert "check base_url" in str(error)
    assert (result.status, result.chunk_count) == ("error", 0)


@pytest.mark.parametrize(
    "steps",
    [
        (),
        (Reset(),),
        (b"HTTP/1.1 200 OK\r\ncontent-ty", Reset()),
        (b"HTTP/1.1 200 OK\r\ncontent-ty",),
        (b"garbage\r\n\r\n",),
        (b"HTTP/9.9 abc\r\n\r\n",),
        (b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked, chunked\r\n\r\n",),
        (b"\x16\x03\x01\x00\x00\x00\x00", Pause(0.001), b"\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 300_000,),
    ],
    ids=range(10),
)
def test_no_answer_begins(colour, steps):
    _, error = failure(colour, APIConnectionError, Reply(steps, framing="bare"))
    assert "the server gave no answer" in str(error)


@pytest.mark.parametrize(
    "rest", [b"zz\r\n", b"5\r\nabc", b"5\r\nabcdefgh", b"fffffffffffffffffff\r\n", b"\r\n\r\n"]
)
def test_chunks_that_are_none(colour, rest):
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n" % (
        len(HELLO),
        HELLO,
    )
    result, error = failure(colour, StreamTruncatedError, Reply((head, rest), framing="bare"))
    assert result.content == "Hello"
    assert "may be sent again" in str(error)


BODIES = {
    "openai": ('{"error": {"message": "the words", "code": "c", "param": null}}', "the words"),
    "number": ('{"error": {"code": 500, "message": "the words", "type": "t"}}', "the words"),
    "detail": ('{"detail": "the words"}', "the words"),
    "fastapi": ('{"detail": [{"loc": ["body"], "msg": "the words"}]}', "the words"),
    "string": ('{"error": "the words"}', "the words"),
    "plain": ("the words", "the words"),
    "html": ("<html><h1>the words</h1></html>", "the words"),
    "null": ("null", "no message"),
    "empty": ("", "no message"),
    "list": ('["the words"]', "the words"),
    "cut": ('{"error": {"message": "the wor', "the wor"),
    "event": ('data: {"error": {"message": "the words"}}\n\n', "the words"),
    "binary": (b"\xff\xfe\x00".decode("latin-1"), ""),
    "deep": ("[" * 50_000, "[[["),
    "huge": ("the words " * 100_000, "the words"),
}


@pytest.mark.parametrize(("body", "words"), BODIES.values(), ids=BODIES)
def test_an_answer_that_is_an_error(colour, body, words):
    statuses, headers = [400, 401, 429, 500, 503, 599], {"x-request-id": "r", "retry-after": "7"}
    replies = [Reply((body.encode("latin-1"),), status, headers) for status in statuses]
    with FakeServer(*replies) as server:
        client = colour.client(server)
        for status in statuses:
            result, error = outcome_of(colour, colour.stream(server, client=client))
            assert type(error) is APIStatusError
            assert words in str(error)
            assert str(status) in str(error)
            assert (error.status_code, error.request_id, error.retry_after) == (status, "r", 7.0)
            assert len(error.body) <= 4000
            assert len(str(error)) < 1000
            assert result.status == "error"


@pytest.mark.parametrize("change", ["cut", "reset"])
def test_an_error_whose_body_is_cut(colour, change):
    reply = getattr(Reply.error(500, "the words"), change)(at=5)
    _, error = outcome(colour, reply)
    assert isinstance(error, LLMKitError)


@pytest.mark.parametrize(
    ("status", "location", "kind"),
    [
        (307, None, APIStatusError),
        (304, "/v1", APIStatusError),
        (300, None, APIStatusError),
        (307, "/v1/chat/completions", APIStatusError),
        (308, "http://[bad", APIStatusError),
        (307, "ftp://127.0.0.1/", APIStatusError),
        (307, "http://127.0.0.1:1/", APIStatusError),
        (302, "/nowhere", APIStatusError),
    ],
)
def test_redirects_that_lead_nowhere(colour, status, location, kind):
    headers = {} if location is None else {"location": location}
    _, error = failure(colour, kind, Reply((), status, headers, framing="length"))
    assert len(str(error)) > 20


def test_a_redirect_is_not_followed(colour):
    """The key would go along: httpx takes only `Authorization` off for another host."""
    with FakeServer(Reply.text("Hello")) as goal:
        location = {"location": goal.base_url + "/chat/completions"}
        _, error = failure(colour, APIStatusError, Reply((), 307, location, framing="length"))
        assert goal.requests == []
    assert goal.base_url in str(error)


@pytest.mark.parametrize("library", [httpx, httpx2])
def test_a_client_that_follows_no_redirects(colour, library):
    http_client = (library.AsyncClient if colour.is_async else library.Client)()
    reply = Reply((), 307, {"location": "http://127.0.0.1:1/v1"}, framing="length")
    with FakeServer(reply) as server:
        client = colour.client(server, http_client=http_client)
        _, error = outcome_of(colour, colour.stream(server, client=client))
    assert type(error) is APIStatusError
    assert "http://127.0.0.1:1/v1" in str(error)
    colour.close(http_client)


# Encodings

PLAIN = HELLO + STOP + DONE


def encoded(body, encoding="gzip"):
    return Reply.raw(body, sizes=[10, 10]).with_headers({"content-encoding": encoding})


def test_gzip(colour):
    result, error = outcome(colour, encoded(gzip.compress(PLAIN)))
    assert (result.content, result.status, error) == ("Hello", "complete", None)


def test_a_gzip_that_is_cut(colour):
    _, error = outcome(colour, encoded(gzip.compress(PLAIN)[:30]))
    assert type(error) is StreamTruncatedError


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_an_encoding_that_is_not_what_it_says(colour, encoding):
    _, error = failure(colour, StreamProtocolError, encoded(PLAIN, encoding))
    assert "content-encoding" in str(error)


@pytest.mark.parametrize("encoding", ["identity", "x-unknown"])
def test_an_encoding_that_changes_nothing(colour, encoding):
    result, error = outcome(colour, encoded(PLAIN, encoding))
    assert (result.content, error) == ("Hello", None)


# Streams that are cut

CUT_BODY = (
    b": hello\n\n"
    + HELLO
    + event({"content": ", w\u00f6rld"})
    + event({"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": "{"}}]})
    + event({"tool_calls": [{"index": 0, "function": {"arguments": "}"}}]})
    + event(finish_reason="tool_calls")
    + b'data: {"choices": [], "usage": {"completion_tokens": 4}}\n\n'
    + DONE
)


def prefix_says(body):
    """The text, the arguments and whether it is finished, by what stands in a cut body."""
    texts, arguments, finished, usage = [], [], False, False
    for frame in body.decode("utf-8", "ignore").split("\n\n"):
        try:
            payload = json.loads(frame.removeprefix("data: "))
        except ValueError:  # a comment, the end marker, or the cut event at the end
            continue
        usage = usage or "usage" in payload
        for choice in payload["choices"]:
            texts.append(choice["delta"].get("content", ""))
            calls = choice["delta"].get("tool_calls", ())
            arguments.extend(call["function"]["arguments"] for call in calls)
            finished = finished or "finish_reason" in choice
    return "".join(texts), "".join(arguments), finished, usage


@pytest.mark.parametrize(
    ("change", "framing"),
    [
        ("cut", "chunked"),
        ("cut", "length"),
        ("cut", "close"),
        ("cut", "http/1.0"),
        ("reset", "chunked"),
        ("reset", "close"),
    ],
)
def test_a_cut_at_any_byte(colour, change, framing):
    places = range(0, len(CUT_BODY) + 1, 9 if framing == "chunked" else 17)
    whole = Reply.raw(CUT_BODY, sizes=[50] * 40).with_framing(framing)
    with FakeServer(*(getattr(whole, change)(at=at) for at in places)) as server:
        client = colour.client(server)
        for at in places:
            result, error = outcome_of(colour, colour.stream(server, client=client))
            text, arguments, finished, usage = prefix_says(CUT_BODY[:at])
            assert result.content == text, at
            assert (result.usage is not None) == usage, at
            calls = result.tool_calls + result.incomplete_tool_calls
            assert "".join(call["function"]["arguments"] for call in calls) == arguments, at
            if finished:
                assert (error, result.status) == (None, "complete"), at
                assert result.incomplete_tool_calls == []
            else:
                assert type(error) is StreamTruncatedError, at
                assert result.status == "truncated"
                assert result.tool_calls == []


@pytest.mark.parametrize("change", ["cut", "reset"])
def test_a_loss_behind_the_finish_reason_is_none(colour, change):
    body = HELLO + STOP
    reply = getattr(Reply.raw(body + DONE), change)(at=len(body))
    result, error = outcome(colour, reply)
    assert (result.content, result.status, error) == ("Hello", "complete", None)


@pytest.mark.parametrize("change", ["cut", "reset"])
def test_of_two_choices_both_must_be_finished(colour, change):
    body = HELLO + STOP
    reply = getattr(Reply.raw(body + DONE), change)(at=len(body))
    result, _ = failure(colour, StreamTruncatedError, reply, n=2)
    assert (result.content, result.finish_reason) == ("Hello", "stop")


def test_the_end_marker_alone_is_no_whole_answer(colour):
    result, _ = failure(colour, StreamTruncatedError, Reply.raw(HELLO + DONE))
    assert (result.content, result.status) == ("Hello", "truncated")


@pytest.mark.parametrize("body", [HELLO + STOP + DONE, HELLO + DONE])
def test_a_body_that_stalls_behind_the_end_marker(colour, body):
    with FakeServer(Reply.raw(body).stall(after=1)) as server:
        result, error = outcome_of(colour, colour.stream(server))
        assert server.requests[0].closed.wait(5)
    assert result.content == "Hello"
    assert (error is None) == (STOP in body)


def test_a_flood_behind_the_end_marker(colour):
    reply = Reply.raw(HELLO + STOP + DONE).comments(after=1, interval=0)
    with FakeServer(reply) as server:
        result, error = outcome_of(colour, colour.stream(server))
        assert server.requests[0].closed.wait(5)
    assert (result.content, error) == ("Hello", None)


# What a caller does wrong


class Caller:
    """Both colours of everything, called by name."""

    def __init__(self, colour):
        self.colour = colour

    def new(self, **options):
        return self.colour.client_class(**{"base_url": "http://127.0.0.1:1/v1", **options})

    def ask(self, messages=MESSAGES, client=None, **params):
        stream = self.colour.client(client or "http://127.0.0.1:1/v1").chat_stream(
            messages, **params
        )
        return self.colour.read(stream)


WRONG_CALLS = {
    "no base_url": (lambda c: c.new(base_url=None), ValueError, "no base_url: write LLMClient"),
    "empty base_url": (lambda c: c.new(base_url=""), ValueError, "no base_url"),
    "no scheme": (lambda c: c.new(base_url="localhost:8000/v1"), ValueError, "http://"),
    "other scheme": (lambda c: c.new(base_url="ftp://x/v1"), ValueError, "http://"),
    "no host": (lambda c: c.new(base_url="http:///v1"), ValueError, "name a host"),
    "base_url is no text": (lambda c: c.new(base_url=5), TypeError, "base_url must be a string"),
    "key is no text": (lambda c: c.new(api_key=5), TypeError, "api_key must be a string"),
    "unknown dialect": (lambda c: c.new(dialect="x"), ValueError, "unknown dialect 'x'"),
    "messages are text": (lambda c: c.ask("Hi"), TypeError, 'write \\[\\{"role": "user"'),
    "messages are one": (lambda c: c.ask(MESSAGES[0]), TypeError, "write \\["),
    "messages are none": (lambda c: c.ask(None), TypeError, "not NoneType"),
    "messages are empty": (lambda c: c.ask([]), ValueError, "messages is empty"),
    "a message is text": (lambda c: c.ask(["Hi"]), TypeError, r"messages\[0\] must be a dict"),
    "content is no JSON": (
        lambda c: c.ask([{"role": "user", "content": b"x"}]),
        TypeError,
        "can't be written as JSON",
    ),
    "a parameter is no JSON": (lambda c: c.ask(seed=object()), TypeError, "written as JSON"),
    "a parameter is NaN": (lambda c: c.ask(temperature=float("nan")), TypeError, "as JSON"),
    "stream": (lambda c: c.ask(stream=False), TypeError, "always streams"),
    "on_malformed": (lambda c: c.ask(on_malformed="ignore"), ValueError, '"raise" or "skip"'),
}


@pytest.mark.parametrize(("mistake", "kind", "words"), WRONG_CALLS.values(), ids=WRONG_CALLS)
def test_a_callers_mistake_says_what_to_write(colour, mistake, kind, words):
    with pytest.raises(kind, match=words) as caught:
        mistake(Caller(colour))
    assert type(caught.value) is kind


@pytest.mark.parametrize(
    "key", ["sk-line\nbreak", "sk-line\r\nx: y", "sk-\u00e9\u00e8-secret", " sk-space", "sk-\x00x"]
)
def test_a_key_that_cannot_stand_in_a_header(colour, key):
    with pytest.raises(ValueError, match="the api_key has a character") as caught:
        colour.read(colour.stream("x", client=colour.client("http://127.0.0.1:1/v1", api_key=key)))
    assert key.strip() not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("where", ["headers", "extra_headers"])
@pytest.mark.parametrize(
    "header",
    [
        {"x-api-key": KEY + "\nbreak"},
        {"x-api-key": KEY + "\r\nx: y"},
        {"x-api-key": KEY + "\0"},
        {"x-api-key": "caf\u00e9"},
        {"x-api-key": None},
        {"x-api-key": 5},
        {"x\ny": "1"},
        {5: "1"},
    ],
)
def test_a_header_that_cannot_be_sent(colour, header, where):
    of_client, of_request = (header, None) if where == "headers" else (None, header)
    client = colour.client("http://127.0.0.1:1/v1", headers=of_client)
    with pytest.raises(ValueError, match="strings of printable ASCII") as caught:
        client.chat_stream(MESSAGES, extra_headers=of_request)
    assert KEY not in "".join(traceback.format_exception(caught.value))


class BadHeader(httpx.Auth):
    def auth_flow(self, request):
        request.headers["x-api-key"] = KEY + "\nbreak"
        yield request


def test_a_header_of_an_auth_that_cannot_be_sent(colour):
    with FakeServer(Reply.text("Hi")) as server:
        client = colour.client(server, auth=BadHeader(), retry=RetryPolicy(3, 0, 0))
        error, _ = colour.fail(client.chat_stream(MESSAGES))
        assert server.requests == []
    assert type(error) is ValueError
    assert "a header of the request can't be sent; check headers" in str(error)
    assert KEY not in "".join(traceback.format_exception(error))


def test_a_callable_key_must_give_text(colour):
    client = colour.client("http://127.0.0.1:1/v1", api_key=lambda: 5)
    with pytest.raises(TypeError, match="must return a string, not int"):
        colour.read(colour.stream("x", client=client))


def test_an_async_key_needs_the_async_client():
    async def key():
        return "x"

    with (
        LLMClient(base_url="http://127.0.0.1:1/v1", api_key=key) as client,
        pytest.raises(TypeError, match="needs AsyncLLMClient"),
    ):
        list(client.chat_stream(MESSAGES))


@pytest.mark.parametrize("library", [httpx, httpx2])
def test_an_http_client_of_the_other_colour(library):
    with library.Client() as http_client, pytest.raises(TypeError, match="use LLMClient"):
        AsyncLLMClient(base_url="http://x/v1", http_client=http_client)
    with pytest.raises(TypeError, match="use AsyncLLMClient"):
        LLMClient(base_url="http://x/v1", http_client=library.AsyncClient())


@pytest.mark.parametrize(
    "wrap",
    [
        lambda stream: stream,
        normalize,
        StreamCollector.collect,
        StreamInterrupter().wrap,
    ],
)
def test_the_wrong_loop_over_an_async_stream(wrap):
    stream = wrap(AsyncLLMClient(base_url="http://127.0.0.1:1/v1").chat_stream(MESSAGES))
    with pytest.raises(TypeError, match="async for chunk in stream"):
        list(stream)
    with pytest.raises(TypeError, match="async with stream"), stream:
        pass


@pytest.mark.parametrize("thing", ["text", b"bytes", {"choices": []}, 5, None])
def test_what_is_no_stream_of_items(thing):
    with pytest.raises(TypeError, match=r"a stream .*is expected, not"):
        normalize(thing)


# The key is seen nowhere


def echoing(make):
    """A reply that says what the request's header was, as some gateways do."""
    return lambda received: make(received.headers["authorization"])


def refused(colour):
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return colour.stream(f"http://127.0.0.1:{bound.getsockname()[1]}/v1")


FAILURES = {
    "status": echoing(lambda key: Reply.error(401, f"bad key {key}")),
    "status with a code": echoing(
        lambda key: Reply.error(400, key, key, {"x-request-id": key, "location": key})
    ),
    "redirect": echoing(lambda key: Reply((), 304, {"location": key}, framing="length")),
    "error in the stream": echoing(
        lambda key: Reply.events([{"error": {"message": key, "code": key, "type": key}}])
    ),
    "error as text": echoing(lambda key: Reply.events([{"error": key}])),
    "bare error": echoing(lambda key: Reply.json({"error": {"message": key}})),
    "detail": echoing(lambda key: Reply.json({"detail": key})),
    "garbled event": echoing(lambda key: Reply.events([f"bad {key}"])),
    "no object": echoing(lambda key: Reply.events([json.dumps(key)])),
    "html": echoing(lambda key: Reply.raw(f"<html>{key}</html>".encode())),
    "text": echoing(lambda key: Reply.raw(f"your key: {key}".encode())),
    "finish_reason": echoing(
        lambda key: Reply.events([{"choices": [{"finish_reason": "error", "delta": {}}]}, key])
    ),
    "no answer": Reply((Reset(),), framing="bare"),
    "garbage": echoing(lambda key: Reply((f"{key}\r\n\r\n".encode(),), framing="bare")),
    "lost": Reply.text("Hello, world").cut(at=300),
    "reset": Reply.text("Hello, world").reset(at=300),
    "truncated": Reply.text("Hello, world", finish_reason=None),
    "bad encoding": Reply.raw(b"x").with_headers({"content-encoding": "gzip"}),
    "redirect loop": echoing(
        lambda key: Reply((), 307, {"location": f"/v1?key={key[7:]}"}, framing="length")
    ),
}


def chain(error):
    """An error and all that Python would print behind it."""
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def assert_clean(error, records):
    for each in chain(error):
        request = vars(each).get("_request") or vars(each).get("request")
        assert request is None
        assert vars(each).get("response") is None
        assert KEY not in str(each)
        assert KEY not in repr(each)
        assert KEY not in repr(each.args)
        assert KEY not in repr(vars(each))
        assert KEY not in repr(getattr(each, "__notes__", ""))
    assert KEY not in "".join(traceback.format_exception(error))
    assert KEY.encode() not in pickle.dumps(error)
    for record in records:
        assert KEY not in record.getMessage()
        assert KEY not in repr(record.args)


@pytest.mark.parametrize("own", [False, True], ids=["", "http_client"])
@pytest.mark.parametrize("reply", FAILURES.values(), ids=FAILURES)
def test_the_key_is_seen_nowhere(colour, reply, own, caplog):
    caplog.set_level(logging.DEBUG, "llm_kit")
    options = {}
    if own:
        options["http_client"] = (httpx.AsyncClient if colour.is_async else httpx.Client)()
    with FakeServer(reply) as server:
        client = colour.client(server, **options)
        assert KEY not in repr(client)
        stream = colour.stream(server, client=client)
        error, _ = colour.fail(stream, LLMKitError)
        assert KEY in server.requests[0].headers["authorization"]
        assert KEY not in repr(stream) + repr(stream.result)
    assert_clean(error, caplog.records)
    if own:
        colour.close(options["http_client"])


@pytest.mark.parametrize(
    "headers",
    [
        {"x-api-key": KEY},
        {"authorization": f"Bearer {KEY}"},
        {"authorization": f"Token {KEY}"},
        {"authorization": f"bearer {KEY}"},
        {"Cookie": f"session={KEY}"},
    ],
)
def test_a_key_in_headers_of_ones_own(colour, headers, caplog):
    caplog.set_level(logging.DEBUG, "llm_kit")
    (name,) = headers

    def reply(received):
        said = received.headers[name.lower()]
        return Reply.error(401, f"bad {said} {said.split()[-1]}")

    with FakeServer(reply) as server:
        client = colour.client(server, api_key="", headers=headers)
        error, _ = colour.fail(colour.stream(server, client=client), APIStatusError)
    assert_clean(error, caplog.records)


def test_what_is_secret_in_a_url(colour, caplog):
    caplog.set_level(logging.DEBUG, "llm_kit")
    with FakeServer(Reply.text("Hello"), Reply.error(401)) as server:
        base_url = server.base_url.replace("://", f"://user:{KEY}@") + f"?key={KEY}"
        client = colour.client(base_url, api_key="")
        assert KEY not in repr(client)
        colour.read(colour.stream(server, client=client))
        error, _ = colour.fail(colour.stream(server, client=client), APIStatusError)
    assert_clean(error, caplog.records)


# Errors travel between processes


def example(kind):
    return {
        APIStatusError: lambda: APIStatusError(
            "m", status_code=429, body="b", request_id="r", retry_after=1.5
        ),
        StreamAPIError: lambda: StreamAPIError("m", code="429", type="t"),
        StreamTimeoutError: lambda: StreamTimeoutError("m", kind="total"),
        StreamInterrupted: lambda: StreamInterrupted("m", reason="r"),
    }.get(kind, lambda: kind("m"))()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "kind",
    [
        LLMKitError,
        APIConnectionError,
        APIStatusError,
        StreamTruncatedError,
        StreamTimeoutError,
        StreamAPIError,
        StreamProtocolError,
        StreamInterrupted,
    ],
)
def test_errors_pickle(kind, protocol):
    error = example(kind)
    error.partial = StreamCollector.to_result(["Hel", "lo"])
    again = pickle.loads(pickle.dumps(error, protocol))
    assert type(again) is kind
    assert str(again) == str(error)
    assert vars(again) == vars(error)
    assert again.partial.content == "Hello"


@pytest.mark.parametrize("reply", FAILURES.values(), ids=FAILURES)
def test_errors_of_streams_pickle(colour, reply):
    _, error = outcome(colour, reply)
    again = pickle.loads(pickle.dumps(error))
    assert vars(again) == vars(error)
    assert str(again) == str(error)


def test_a_partial_with_everything_pickles(colour):
    payload = with_value(("choices", 0, "finish_reason"), None)
    body = b"data: " + json.dumps(payload).encode() + b"\n\n"
    result, error = failure(colour, StreamTruncatedError, Reply.raw(HELLO + body))
    assert pickle.loads(pickle.dumps(error)).partial == result
    assert result.incomplete_tool_calls
    assert result.extra
