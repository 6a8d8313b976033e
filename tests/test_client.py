"""The client: what it sends, what it gives back, what it refuses."""

import threading

import httpx
import httpx2
import pytest

from llm_kit import (
    APIStatusError,
    AsyncLLMClient,
    Deadlines,
    Limits,
    LLMClient,
    Recovery,
    RetryPolicy,
    StreamProtocolError,
    StreamTimeoutError,
)
from llm_kit.testing import FakeServer, Reply

MESSAGES = [{"role": "user", "content": "Hello"}]


def test_streams_an_answer(colour):
    with FakeServer(Reply.text("Hello, world!")) as server:
        stream = colour.stream(server)
        chunks = colour.read(stream)
    assert "".join(chunk.delta for chunk in chunks) == "Hello, world!"
    assert [chunk.finish_reason for chunk in chunks if chunk.is_done] == ["stop"]
    assert stream.result.status == "complete"
    assert stream.result.usage.completion_tokens == 2
    assert stream.result.chunk_count == len(chunks)
    assert stream.response.status_code == 200


def test_nothing_is_sent_before_the_first_chunk_is_asked_for(colour):
    with FakeServer(Reply.text("Hi")) as server:
        stream = colour.stream(server)
        assert stream.response is None
        assert server.requests == []
        opened = colour.open(stream)
        assert opened is stream
        assert len(server.requests) == 1
        assert stream.response.headers["content-type"] == "text/event-stream"
        assert stream.result.chunk_count == 0
        assert "".join(chunk.delta for chunk in colour.read(stream)) == "Hi"


def test_the_request(colour):
    with FakeServer(Reply.text("Hi")) as server:
        client = colour.client(server, model="m1", headers={"x-team": "a", "x-both": "client"})
        tools = [{"type": "function", "function": {"name": "f"}}]
        colour.read(
            client.chat_stream(
                MESSAGES,
                model="m2",
                tools=tools,
                stop=["END"],
                n=1,
                extra_headers={"x-both": "request"},
                temperature=0.5,
                logit_bias=None,
            )
        )
        request = server.requests[0]
    assert request.path == "/v1/chat/completions"
    assert request.json == {
        "messages": MESSAGES,
        "model": "m2",
        "stream": True,
        "stream_options": {"include_usage": True},
        "tools": tools,
        "stop": ["END"],
        "n": 1,
        "temperature": 0.5,
        "logit_bias": None,  # further parameters go untouched: null says something
    }
    sent = request.headers
    assert sent["authorization"] == "Bearer sk-test-key-123"
    assert (sent["x-team"], sent["x-both"]) == ("a", "request")
    assert sent["accept"] == "text/event-stream"
    assert sent["accept-encoding"] == "identity"


def test_usage_is_not_asked_for_on_demand(colour):
    with FakeServer(Reply.text("Hi")) as server:
        stream = colour.stream(server, include_usage=False)
        colour.read(stream)
        assert "stream_options" not in server.requests[0].json
    assert stream.result.usage is None


@pytest.mark.parametrize("status", [400, 422])
def test_a_server_that_refuses_stream_options_is_asked_once_without(colour, status):
    refusal = Reply.error(status, "Unknown parameter: 'stream_options'")
    with FakeServer(refusal, Reply.text("Hi")) as server:
        stream = colour.stream(server)
        assert "".join(chunk.delta for chunk in colour.read(stream)) == "Hi"
        first, second = (request.json for request in server.requests)
    assert "stream_options" not in second
    assert stream.result.attempts == 2
    assert stream.result.quirks == ("stream_options_refused",)
    assert second == {name: value for name, value in first.items() if name != "stream_options"}


def test_a_server_that_refuses_it_for_another_reason_is_not_asked_again(colour):
    with FakeServer(Reply.error(400, "stream_options is fine, but the model is not")) as server:
        error, _ = colour.fail(colour.stream(server, include_usage=False), APIStatusError)
        assert len(server.requests) == 1
        error, _ = colour.fail(colour.stream(server), APIStatusError)
        assert len(server.requests) == 3
    assert error.status_code == 400


def test_settings_come_from_the_environment(colour, monkeypatch):
    with FakeServer(Reply.text("Hi")) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/never")
        monkeypatch.setenv("OPENAI_API_KEY", "sk-openai-key")
        monkeypatch.setenv("LLM_KIT_BASE_URL", server.base_url)
        monkeypatch.setenv("LLM_KIT_MODEL", "from-environment")
        client = colour.client(None, api_key=None, model=None)
        colour.read(client.chat_stream(MESSAGES))
        monkeypatch.setenv("LLM_KIT_API_KEY", "sk-own-key")
        client = colour.client(None, api_key=None)
        colour.read(client.chat_stream(MESSAGES))
        first, second = server.requests
    assert first.headers["authorization"] == "Bearer sk-openai-key"
    assert first.json["model"] == "from-environment"
    assert second.headers["authorization"] == "Bearer sk-own-key"


@pytest.mark.parametrize("dialect", ["anthropic", "gemini", "ollama"])
def test_openai_s_key_is_sent_to_nobody_else(colour, monkeypatch, dialect):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-openai-key")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/never")
    with FakeServer(Reply.error(401)) as server:
        client = colour.client(server, api_key=None, dialect=dialect)
        colour.fail(client.chat_stream(MESSAGES), APIStatusError)
        assert "sk-openai-key" not in str(server.requests[0].headers)
    with pytest.raises(ValueError, match="no base_url"):
        colour.client(None, dialect=dialect)


@pytest.mark.parametrize("dialect", ["anthropic", "gemini", "responses"])
def test_a_way_to_go_on_that_an_api_has_not_is_told_at_the_call(colour, dialect):
    client = colour.client("http://127.0.0.1:9", dialect=dialect, retry=RetryPolicy(attempts=2))
    with pytest.raises(ValueError, match="prefix"):
        client.chat_stream(MESSAGES, recovery=Recovery("continue", mode="prefix"))


def test_no_key_is_no_header(colour):
    with FakeServer(Reply.text("Hi")) as server:
        colour.read(colour.stream(server, client=colour.client(server, api_key=None)))
        assert "authorization" not in server.requests[0].headers


def test_a_callable_key_is_asked_before_each_request(colour):
    keys = iter(["sk-first-1", "sk-second-2"])
    with FakeServer(Reply.text("Hi")) as server:
        client = colour.client(server, api_key=colour.wrap_function(lambda: next(keys)))
        for _ in range(2):
            colour.read(client.chat_stream(MESSAGES))
        sent = [request.headers["authorization"] for request in server.requests]
    assert sent == ["Bearer sk-first-1", "Bearer sk-second-2"]


def test_a_plain_callable_key_serves_both_colours(colour):
    with FakeServer(Reply.text("Hi")) as server:
        colour.read(colour.stream(server, client=colour.client(server, api_key=lambda: "sk-one")))
        assert server.requests[0].headers["authorization"] == "Bearer sk-one"


def test_a_failing_key_callable_is_the_callers_own_error(colour):
    def key():
        raise LookupError("vault is shut")

    with FakeServer(Reply.text("Hi")) as server:
        error, _ = colour.fail(colour.stream(server, client=colour.client(server, api_key=key)))
        assert server.requests == []
    assert isinstance(error, LookupError)
    assert error.partial.status == "error"


@pytest.mark.parametrize("key", ["sk-with-newline\n", "ключ", " sk-space"])
def test_a_key_that_fits_no_header(colour, key):
    with FakeServer(Reply.text("Hi")) as server:
        with pytest.raises(ValueError, match="can't stand in a header") as caught:
            colour.client(server, api_key=key)
        client = colour.client(server, api_key=lambda: key)
        error, _ = colour.fail(client.chat_stream(MESSAGES), ValueError)
        assert server.requests == []
    assert key.strip() not in str(caught.value) + str(error)


def test_a_callable_key_that_gives_no_text(colour):
    client = colour.client("http://127.0.0.1:9/v1", api_key=lambda: 5)
    error, _ = colour.fail(client.chat_stream(MESSAGES), TypeError)
    assert "must return a string, not int" in str(error)


async def key_coroutine():
    return "sk-never-asked"


class KeyAwaitable:
    def __await__(self):
        return iter(())


@pytest.mark.parametrize("key", [key_coroutine, KeyAwaitable])
def test_an_async_key_needs_the_async_client(key):
    with (
        FakeServer(Reply.text("Hi")) as server,
        LLMClient(server.base_url, key) as client,
        pytest.raises(TypeError, match="needs AsyncLLMClient"),
    ):
        next(client.chat_stream(MESSAGES))


class Token(httpx.Auth):
    def auth_flow(self, request):
        request.headers["Authorization"] = "Bearer tok-secret-123"
        yield request


def echo(received):
    said = received.headers.get("authorization", "") + " " + received.path
    return Reply.error(401, f"bad {said}")


def test_what_only_an_auth_or_the_url_knows_is_not_shown_either(colour):
    with FakeServer(echo) as server:
        client = colour.client(server, auth=Token(), api_key=None)
        error, _ = colour.fail(client.chat_stream(MESSAGES), APIStatusError)
        assert "tok-secret" not in str(error) + error.body
        client = colour.client(f"{server.base_url}?api-key=url-secret-1", api_key=None)
        error, _ = colour.fail(client.chat_stream(MESSAGES), APIStatusError)
        assert "url-secret" not in str(error) + error.body
        user = server.base_url.replace("//", "//user:pass-secret@")
        error, _ = colour.fail(colour.client(user, api_key=None).chat_stream(MESSAGES))
        assert "dXNlcjpwYXNzLXNlY3JldA" not in str(error) + error.body


def test_a_header_of_ones_own_takes_the_place_of_ours(colour):
    mine = {"Authorization": "Custom abcdefgh", "ACCEPT": "text/plain"}
    with FakeServer(Reply.text("Hi")) as server:
        colour.read(colour.stream(server, client=colour.client(server, headers=mine)))
        sent = server.requests[0].headers
    assert (sent["authorization"], sent["accept"]) == ("Custom abcdefgh", "text/plain")


def test_a_hook_that_raises_for_the_status(colour):
    def check(response):
        response.raise_for_status()

    hooks = {"response": [colour.wrap_function(check)]}
    http_client = (httpx.AsyncClient if colour.is_async else httpx.Client)(event_hooks=hooks)
    with FakeServer(Reply.error(429, headers={"retry-after": "3"})) as server:
        client = colour.client(server, http_client=http_client)
        error, _ = colour.fail(client.chat_stream(MESSAGES), APIStatusError)
    assert (error.status_code, error.retry_after) == (429, 3.0)
    assert error.__cause__.__dict__["_request"] is None
    colour.close(http_client)


def test_an_error_whose_body_is_cut_keeps_its_status(colour):
    with FakeServer(Reply.error(401, "no such key").cut(at=5)) as server:
        error, _ = colour.fail(colour.stream(server), APIStatusError)
    assert error.status_code == 401


def test_own_auth(colour):
    with FakeServer(Reply.text("Hi")) as server:
        client = colour.client(server, auth=httpx.BasicAuth("user", "pass"))
        colour.read(client.chat_stream(MESSAGES))
        assert server.requests[0].headers["authorization"].startswith("Basic ")


@pytest.mark.parametrize("library", [httpx, httpx2])
def test_own_http_client_is_used_and_left_open(colour, library):
    http_client = (library.AsyncClient if colour.is_async else library.Client)()
    with FakeServer(Reply.text("Hi")) as server:
        client = colour.client(server, http_client=http_client)
        for _ in range(2):
            assert (
                "".join(chunk.delta for chunk in colour.read(client.chat_stream(MESSAGES))) == "Hi"
            )
        assert server.connections == 1
    colour.close(client)
    assert not http_client.is_closed
    colour.close(http_client)


def test_the_connection_is_reused_after_a_whole_stream(colour):
    with FakeServer(Reply.text("one two three")) as server:
        client = colour.client(server)
        for _ in range(5):
            colour.read(client.chat_stream(MESSAGES))
        assert server.connections == 1


def test_many_streams_at_once_wait_for_no_pool(colour):
    count = 150
    arrived = threading.Semaphore(0)

    def answer(request):
        arrived.release()
        return Reply.text("Hi")

    with FakeServer(answer) as server:
        client = colour.client(server)
        streams = [colour.open(client.chat_stream(MESSAGES)) for _ in range(count)]
        assert all(arrived.acquire(timeout=5) for _ in range(count))
        for stream in streams:
            assert "".join(chunk.delta for chunk in colour.read(stream)) == "Hi"


def test_limits_are_the_clients(colour):
    with FakeServer(Reply.text("word " * 100)) as server:
        client = colour.client(server, limits=Limits(response=1000))
        error, _ = colour.fail(client.chat_stream(MESSAGES), StreamProtocolError)
    assert "1000 bytes" in str(error)
    assert error.partial.content.startswith("word ")


@pytest.mark.parametrize(
    ("base_url", "path"),
    [
        ("{}/v1", "/v1/chat/completions"),
        ("{}/v1/", "/v1/chat/completions"),
        ("{}", "/chat/completions"),
        ("{}/v1/chat/completions", "/v1/chat/completions"),
        ("{}/of/x?api-version=1", "/of/x/chat/completions?api-version=1"),
    ],
)
def test_base_url_and_path(colour, base_url, path):
    with FakeServer(Reply.text("Hi")) as server:
        root = server.base_url.removesuffix("/v1")
        colour.read(colour.stream(base_url.format(root)))
        assert server.requests[0].path == path


@pytest.mark.parametrize("client_class", [LLMClient, AsyncLLMClient])
@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({}, ValueError, 'write LLMClient(base_url="http'),
        ({"base_url": "localhost:8000"}, ValueError, "must begin with http"),
        ({"base_url": "http://"}, ValueError, "name a host"),
        ({"base_url": "http://h:abc/v1"}, ValueError, "name a host"),
        ({"base_url": "http://h:99999/v1"}, ValueError, "name a host"),
        ({"base_url": "http://a b/v1"}, ValueError, "name a host"),
        ({"base_url": "http://[::1/v1"}, ValueError, "name a host"),
        ({"base_url": "http://h/v1", "http_client": "x"}, TypeError, "must be an httpx."),
        ({"base_url": 8000}, TypeError, "must be a string"),
        ({"base_url": "http://h/v1", "api_key": 5}, TypeError, "api_key must be a string"),
        ({"base_url": "http://h/v1", "dialect": "klingon"}, ValueError, "speaks 'openai'"),
        ({"base_url": "http://h/v1", "deadlines": 30}, TypeError, "must be a Deadlines(...), not"),
        ({"base_url": "http://h/v1", "retry": 3}, TypeError, "must be a RetryPolicy(...), not 3"),
        ({"base_url": "http://h/v1", "limits": 3}, TypeError, "must be a Limits(...), not 3"),
    ],
)
def test_settings_that_make_no_client(client_class, arguments, error, says):
    with pytest.raises(error) as caught:
        client_class(**arguments)
    assert says in str(caught.value)


def test_an_http_client_of_the_other_colour():
    with httpx.Client() as http_client, pytest.raises(TypeError, match="use LLMClient with it"):
        AsyncLLMClient("http://h/v1", http_client=http_client)
    with pytest.raises(TypeError, match="use AsyncLLMClient with it"):
        LLMClient("http://h/v1", http_client=httpx.AsyncClient())


@pytest.mark.parametrize(
    ("messages", "params", "error", "says"),
    [
        ("Hello", {}, TypeError, 'write [{"role": "user"'),
        ({"role": "user"}, {}, TypeError, "must be a list of messages, not dict"),
        (5, {}, TypeError, "must be a list of messages, not int"),
        (["Hello"], {}, TypeError, "messages[0] must be a dict, not str"),
        ([], {}, ValueError, "messages is empty"),
        (MESSAGES, {"stream": False}, TypeError, "leave `stream` out"),
        (MESSAGES, {"n": "2"}, ValueError, "n must be a whole number"),
        (MESSAGES, {"n": 0}, ValueError, "n must be a whole number"),
        (MESSAGES, {"deadlines": 30}, TypeError, "deadlines must be a Deadlines(...), not 30"),
        (MESSAGES, {"retry": 3}, TypeError, "retry must be a RetryPolicy(...), not 3"),
        (MESSAGES, {"timeout": 5}, TypeError, "write deadlines=Deadlines(...)"),
        (MESSAGES, {"max_retries": 2}, TypeError, "write retry=RetryPolicy(attempts=...)"),
        (MESSAGES, {"retry": RetryPolicy}, TypeError, "retry must be a RetryPolicy(...), not <cl"),
        (MESSAGES, {"recovery": True}, TypeError, 'must be "raise", "restart", "continue" or a R'),
        (MESSAGES, {"recovery": "again"}, ValueError, 'Recovery.action must be "raise" or "rest'),
        (MESSAGES, {"recovery": ""}, ValueError, 'Recovery.action must be "raise" or "restart"'),
        (
            MESSAGES,
            {"recovery": "restart", "retry": RetryPolicy(attempts=1)},
            ValueError,
            'recovery="restart" needs a second request, and the retry policy allows one: give'
            " retry=RetryPolicy(attempts=2) or more",
        ),
        (
            MESSAGES,
            {"recovery": Recovery("continue"), "retry": RetryPolicy(attempts=1)},
            ValueError,
            'recovery="continue" needs a second request',
        ),
        (
            MESSAGES,
            {"recovery": "continue", "retry": RetryPolicy(), "n": 2},
            ValueError,
            'recovery="continue" goes on from one text, and n asks for several',
        ),
        (MESSAGES, {"on_malformed": "ignore"}, ValueError, 'must be "raise" or "skip"'),
    ],
)
def test_arguments_that_make_no_request(colour, messages, params, error, says):
    client = colour.client("http://127.0.0.1:9/v1")
    with pytest.raises(error) as caught:
        client.chat_stream(messages, **params)
    assert says in str(caught.value)


def test_recovery_that_is_refused_to_the_clients_own_policy_is_granted_to_the_streams(colour):
    client = colour.client("http://127.0.0.1:9/v1", retry=RetryPolicy(attempts=1))
    with pytest.raises(ValueError, match="needs a second request"):
        client.chat_stream(MESSAGES, recovery="restart")
    client.chat_stream(MESSAGES, recovery="restart", retry=RetryPolicy(attempts=2))
    client.chat_stream(MESSAGES, recovery="raise")
    client.chat_stream(MESSAGES, recovery=None)
    client.chat_stream(MESSAGES, recovery="restart", retry=RetryPolicy(attempts=2), n=2)


def test_deadlines_are_the_clients_if_the_stream_has_none(colour):
    with FakeServer(Reply.text("Hi").hang()) as server:
        client = colour.client(server, deadlines=Deadlines(first_chunk=0.05))
        error, _ = colour.fail(client.chat_stream(MESSAGES), StreamTimeoutError)
        assert error.kind == "first_chunk"
        own = client.chat_stream(MESSAGES, deadlines=Deadlines(total=0.05))
        error, _ = colour.fail(own, StreamTimeoutError)
        assert error.kind == "total"


def test_retries_are_the_clients_if_the_stream_has_none(colour):
    quick = RetryPolicy(attempts=3, pause=0.001)
    with FakeServer(Reply.error(503, "later")) as server:
        client = colour.client(server, retry=quick)
        colour.fail(client.chat_stream(MESSAGES), APIStatusError)
        assert len(server.requests) == 3
        own = client.chat_stream(MESSAGES, retry=RetryPolicy(attempts=1))
        colour.fail(own, APIStatusError)
        assert len(server.requests) == 4


def test_by_default_a_request_is_sent_again(colour):
    reply = Reply.error(429, "slow down").with_headers({"retry-after": "0"})
    with FakeServer(reply, Reply.text("Hi")) as server:
        client = colour.client(server, retry=None)
        stream = client.chat_stream(MESSAGES)
        colour.read(stream)
    assert (stream.result.content, stream.result.attempts) == ("Hi", 2)


def test_a_callable_key_is_asked_before_each_further_attempt(colour):
    keys = iter(["sk-the-first-key", "sk-the-second-key"])
    with FakeServer(Reply.error(503, "later"), Reply.text("Hi")) as server:
        client = colour.client(
            server, api_key=colour.wrap_function(lambda: next(keys)), retry=RetryPolicy(2, 0, 0)
        )
        colour.read(client.chat_stream(MESSAGES))
        sent = [received.headers["authorization"] for received in server.requests]
    assert sent == ["Bearer sk-the-first-key", "Bearer sk-the-second-key"]


def test_a_continued_answer(colour):
    with FakeServer(Reply.text("one two three").cut(at=700), Reply.text(" and four")) as server:
        stream = colour.stream(server, recovery="continue", retry=RetryPolicy(2, 0, 0))
        colour.read(stream)
        first, second = (received.json["messages"] for received in server.requests)
    before = second[len(first)]["content"]
    assert first == MESSAGES
    assert before
    assert stream.result.content == before + " and four"


def test_messages_that_are_no_json(colour):
    with FakeServer(Reply.text("Hi")) as server:
        error, _ = colour.fail(colour.stream(server, [{"role": "user", "content": {1, 2}}]))
        assert server.requests == []
    assert type(error) is TypeError
    assert "can't be written as JSON" in str(error)


def test_a_closed_client_says_so(colour):
    with FakeServer(Reply.text("Hi")) as server:
        client = colour.client(server)
        colour.close(client)
        error, _ = colour.fail(client.chat_stream(MESSAGES))
    assert "client has been closed" in str(error)


def test_clients_are_context_managers(colour):
    with FakeServer(Reply.text("Hi")) as server:
        client = colour.client(server)
        assert colour.open(client) is client
        colour.read(client.chat_stream(MESSAGES))
        colour.run(
            client.__aexit__(None, None, None)
            if colour.is_async
            else client.__exit__(None, None, None)
        )
        assert "closed" in str(colour.fail(client.chat_stream(MESSAGES))[0])
