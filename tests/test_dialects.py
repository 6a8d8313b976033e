"""Every dialect that a client speaks, over HTTP and in both colours: the same program for all."""

import json
import threading
from typing import get_args

import pytest
from answers import CALLS, PARIS, ROME, TEXT, events, lines

from llm_kit import (
    APIStatusError,
    Deadlines,
    LLMClient,
    Recovery,
    RetryPolicy,
    StreamAPIError,
    StreamInterrupter,
    StreamTimeoutError,
    StreamTruncatedError,
)
from llm_kit.dialects import ChatDialectName, DialectName, find_dialect
from llm_kit.testing import FakeServer, Reply, check_dialect

MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "How warm is it in Paris and Rome?"},
]
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOLS = [
    {
        "type": "function",
        "function": {"name": "weather", "description": "Tells it.", "parameters": PARAMETERS},
    }
]
NAMES = get_args(ChatDialectName)
PATHS = {
    "openai": "/v1/chat/completions",
    "responses": "/v1/responses",
    "anthropic": "/v1/messages",
    "gemini": "/v1/models/test-model:streamGenerateContent?alt=sse",
    "ollama": "/v1/chat",
}
KEYS = {"anthropic": "x-api-key", "gemini": "x-goog-api-key"}
each_dialect = pytest.mark.parametrize("dialect", NAMES)


def ask(colour, server, dialect, messages=MESSAGES, **options):
    params = {name: options.pop(name) for name in ("tools", "recovery") if name in options}
    client = colour.client(server, dialect=dialect, **options)
    return colour.stream(server, messages, client, **params)


@pytest.mark.parametrize("name", get_args(DialectName))
def test_is_found_by_its_name(name):
    assert find_dialect(name).name == name


@pytest.mark.parametrize("answer", [TEXT, CALLS], ids=["text", "calls"])
@each_dialect
def test_keeps_to_what_every_dialect_must(dialect, answer):
    check_dialect(find_dialect(dialect), b"".join(answer[dialect]))


@each_dialect
def test_a_text(colour, dialect):
    with FakeServer(Reply(TEXT[dialect])) as server:
        stream = ask(colour, server, dialect)
        text = "".join(chunk.delta for chunk in colour.each(stream))
    assert (text, stream.result.finish_reason, stream.result.status) == (
        "Hello",
        "stop",
        "complete",
    )
    (request,) = server.requests
    assert request.path == PATHS[dialect]
    assert "sk-test-key-123" in request.headers[KEYS.get(dialect, "authorization")]
    assert "Be brief." in request.body.decode()


@each_dialect
def test_a_turn_with_tools(colour, dialect):
    with FakeServer(Reply(CALLS[dialect]), Reply(TEXT[dialect])) as server:
        first = ask(colour, server, dialect, tools=TOOLS)
        colour.read(first)
        result = first.result
        assert result.finish_reason == "tool_calls"
        asked = [json.loads(call["function"]["arguments"]) for call in result.tool_calls]
        assert asked == [PARIS, ROME]
        assert result.incomplete_tool_calls == []
        messages = [*MESSAGES, result.to_message()]
        for call, degrees in zip(result.tool_calls, ("21 C", "27 C"), strict=True):
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": degrees})
        if dialect in ("gemini", "ollama"):  # their calls have no ids: results go by the name
            for message in messages[-2:]:
                message["name"] = "weather"
        second = ask(colour, server, dialect, messages, tools=TOOLS)
        colour.read(second)
        assert second.result.content == "Hello"
    body = server.requests[1].body.decode()
    for words in ("Paris", "Rome", "21 C", "27 C", "weather", "Tells it."):
        assert words in body


@each_dialect
def test_a_stream_that_is_cut_is_no_whole_one(colour, dialect):
    for count in range(1, 4):
        with FakeServer(Reply(TEXT[dialect][:count])) as server:
            error, _ = colour.fail(ask(colour, server, dialect), StreamTruncatedError)
        assert "Hello".startswith(error.partial.content)
        assert error.partial.status == "truncated"


@each_dialect
def test_a_blocked_read_is_interrupted(colour, dialect):
    with FakeServer(Reply(TEXT[dialect]).stall(after=3)) as server:
        interrupter, chunks = StreamInterrupter(), []
        for chunk in colour.each(interrupter.wrap(ask(colour, server, dialect))):
            if chunk.delta:
                threading.Timer(0.02, interrupter.interrupt).start()
            chunks.append(chunk)
        assert interrupter.result.status == "interrupted"
        assert interrupter.content in ("Hel", "Hello")
        assert server.requests[0].closed.wait(5)


@each_dialect
def test_a_silent_server_is_given_up(colour, dialect):
    with FakeServer(Reply(TEXT[dialect]).stall(after=3)) as server:
        stream = ask(colour, server, dialect, deadlines=Deadlines(idle=0.1))
        error, _ = colour.fail(stream, StreamTimeoutError)
    assert error.kind == "idle"


@each_dialect
def test_a_refusal_is_a_status_error(colour, dialect):
    with FakeServer(Reply.error(401, "bad key sk-test-key-123")) as server:
        error, _ = colour.fail(ask(colour, server, dialect), APIStatusError)
    assert error.status_code == 401
    assert "bad key" in str(error)
    assert "sk-test-key-123" not in str(error) + error.body


ERRORS = {
    "openai": {"error": {"message": "overloaded", "code": 503}},
    "responses": {"type": "error", "message": "overloaded", "code": "server_error"},
    "anthropic": {"type": "error", "error": {"type": "overloaded_error", "message": "overloaded"}},
    "gemini": {"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}},
    "ollama": {"error": "overloaded"},
}


@each_dialect
def test_an_error_in_mid_stream(colour, dialect):
    form = lines if dialect == "ollama" else events
    body = TEXT[dialect][:3] + form(ERRORS[dialect])
    with FakeServer(Reply(body)) as server:
        error, _ = colour.fail(ask(colour, server, dialect), StreamAPIError)
    assert error.message == "overloaded"
    assert error.partial.content


@each_dialect
def test_an_answer_that_was_lost_goes_on(colour, dialect):
    rest = TEXT[dialect][:1] + TEXT[dialect][3:]
    with FakeServer(Reply(TEXT[dialect][:3]), Reply(rest)) as server:
        stream = ask(
            colour,
            server,
            dialect,
            retry=RetryPolicy(attempts=2, pause=0),
            recovery=Recovery("continue", instruction="Go on from there."),
        )
        colour.read(stream)
    assert stream.result.attempts == 2
    first, second = (request.body.decode() for request in server.requests)
    assert "Go on from there." in second
    assert "Go on from there." not in first


@pytest.mark.parametrize("dialect", ["completions", "cohere"])
def test_what_can_only_be_read_is_not_asked_in(dialect):
    with pytest.raises(
        ValueError, match=f"'{dialect}' can be read, but not asked in: use 'openai'"
    ):
        LLMClient("http://127.0.0.1:1", dialect=dialect)


def test_gemini_needs_a_model(colour):
    with FakeServer(Reply()) as server, pytest.raises(ValueError, match="model"):
        ask(colour, server, "gemini", model=None)
