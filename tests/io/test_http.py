"""Requests and answers over real sockets: heads, bodies, errors, drains, reuse."""

import asyncio
import gzip
import threading
import time
from functools import partial
from math import inf
from time import monotonic

import httpx
import httpx2
import pytest
from loopback import PATIENCE, ScriptedSocket, wait_until

from llm_kit import (
    APIConnectionError,
    APIStatusError,
    Deadlines,
    LLMClient,
    StreamInterrupter,
    StreamProtocolError,
    StreamTimeoutError,
    StreamTruncatedError,
    normalize,
)
from llm_kit._core import session as session_module
from llm_kit._core.budget import Budget
from llm_kit._core.request import Request
from llm_kit._core.secrets import Secrets
from llm_kit._io import http as http_module
from llm_kit._io.http import (
    HttpSource,
    _AsyncOpeningTrace,
    _Connecting,
    new_async_client,
    new_client,
)
from llm_kit._io.stop import Expired, StopSignal, run
from llm_kit.dialects.openai import OpenAIDialect
from llm_kit.testing import Comments, FakeServer, Pause, Reply, Stall

MESSAGES = [{"role": "user", "content": "Hello"}]
TEXT = Reply.text("one two three")


def http_of(colour, package=httpx, **options):
    made = package.AsyncClient if colour.is_async else package.Client
    return made(trust_env=False, timeout=30, **options)


def test_new_clients_have_as_many_connections_as_streams_and_few_idle_ones(colour):
    client = new_async_client() if colour.is_async else new_client()
    pool = client._transport._pool
    assert pool._max_connections > 10_000
    assert pool._max_keepalive_connections == 100
    colour.close(client)


def test_the_request(colour):
    with FakeServer(TEXT) as server:
        stream = colour.stream(server, extra_headers={"X-Mine": "1"})
        colour.read(stream)
        received = server.requests[0]
    assert received.method == "POST"
    assert received.path == "/v1/chat/completions"
    assert received.headers["accept"] == "text/event-stream"
    assert received.headers["accept-encoding"] == "identity"
    assert received.headers["content-type"] == "application/json"
    assert received.headers["authorization"] == "Bearer sk-test-key-123"
    assert received.headers["x-mine"] == "1"


@pytest.mark.parametrize("name", ["x-request-id", "request-id", "x-generation-id"])
def test_the_head(colour, name):
    with FakeServer(TEXT.with_headers({name: "r-1"})) as server:
        stream = colour.stream(server)
        assert stream.response is None
        colour.open(stream)
        assert stream.response.status_code == 200
        assert stream.response.request_id == "r-1"
        assert stream.response.headers["content-type"] == "text/event-stream"
        colour.close(stream)


def test_auth(colour):
    with FakeServer(TEXT) as server:
        client = colour.client(server, api_key="", auth=httpx.BasicAuth("user", "password"))
        colour.read(client.chat_stream(MESSAGES))
        assert server.requests[0].headers["authorization"].startswith("Basic ")


def test_an_error_comes_with_its_body(colour):
    with FakeServer(Reply.error(400, "bad model"), TEXT) as server:
        client = colour.client(server)
        error, _ = colour.fail(client.chat_stream(MESSAGES), APIStatusError)
        assert "bad model" in str(error)
        colour.read(client.chat_stream(MESSAGES))
        assert server.connections == 1


def test_an_errors_body_is_read_to_a_limit(colour):
    page = Reply.raw(b"x" * 1_000_000, sizes=[65536] * 15, content_type="text/plain")
    reply = Reply((*page.steps, Stall()), status=500)
    with FakeServer(reply) as server:
        error, _ = colour.fail(colour.stream(server), APIStatusError)
        assert error.status_code == 500
        assert server.requests[0].closed.wait(PATIENCE)


def test_an_interrupt_while_an_error_is_read(colour):
    reply = Reply((b"sorry", Stall()), status=500)
    with FakeServer(reply) as server:
        interrupter = StreamInterrupter()
        stream = interrupter.wrap(colour.stream(server))

        def press():
            received = server.wait_for_request()
            assert wait_until(lambda: received.events_sent)
            interrupter.interrupt()

        presser = threading.Thread(target=press)
        presser.start()
        assert colour.read(stream) == []
        presser.join()
        assert server.requests[0].closed.wait(PATIENCE)
    assert stream.result.status == "interrupted"


def test_a_server_that_refuses_stream_options_is_asked_again(colour):
    with FakeServer(Reply.error(400, "unknown field stream_options"), TEXT) as server:
        stream = colour.stream(server)
        colour.read(stream)
        assert stream.result.status == "complete"
        assert ["stream_options" in received.json for received in server.requests] == [True, False]
        assert server.connections == 1


def test_an_encoded_body_is_decoded(colour):
    with FakeServer(TEXT) as server:
        plain = b"".join(TEXT.steps_for({}))
    packed = Reply.raw(gzip.compress(plain)).with_headers({"content-encoding": "gzip"})
    with FakeServer(packed) as server:
        stream = colour.stream(server)
        colour.read(stream)
    assert stream.result.content == "one two three"
    broken = Reply.raw(b"no gzip").with_headers({"content-encoding": "gzip"})
    with FakeServer(broken) as server:
        colour.fail(colour.stream(server), StreamProtocolError)


@pytest.mark.parametrize("package", [httpx, httpx2], ids=["httpx", "httpx2"])
def test_an_opened_response(colour, package):
    with FakeServer(TEXT, Reply.error(404, "no such model")) as server:
        http = http_of(colour, package)
        url = server.base_url + "/chat/completions"

        def opened():
            request = http.build_request("POST", url, json={})
            return colour.run(http.send(request, stream=True))

        stream = normalize(opened())
        colour.read(StreamInterrupter().wrap(stream))
        assert stream.result.content == "one two three"
        assert stream.response.status_code == 200
        error, _ = colour.fail(normalize(opened()), APIStatusError)
        assert error.status_code == 404
        colour.close(http)
        assert server.connections == 1


def test_a_connection_that_is_refused(colour):
    with FakeServer(TEXT) as server:
        base_url = server.base_url
    error, _ = colour.fail(colour.stream(base_url), APIConnectionError)
    assert "base_url" in str(error)


@pytest.mark.parametrize("kind", ["cut", "reset"])
def test_a_connection_that_is_lost(colour, kind):
    with FakeServer(getattr(TEXT, kind)(at=300)) as server:
        error, chunks = colour.fail(colour.stream(server), StreamTruncatedError)
    assert error.partial.chunk_count == len(chunks)


# Draining: what stands behind [DONE]

DONE = TEXT.steps_for({})


def test_a_whole_answer_gives_its_connection_back(colour):
    with FakeServer(TEXT) as server:
        client = colour.client(server)
        for _ in range(5):
            colour.read(client.chat_stream(MESSAGES))
        assert server.connections == 1


def test_the_end_of_the_body_may_come_in_a_write_of_its_own(colour):
    # After [DONE] a pause, then the last chunk of the chunked body.
    with FakeServer(Reply((*DONE, Pause(0.02)))) as server:
        client = colour.client(server)
        for _ in range(3):
            colour.read(client.chat_stream(MESSAGES))
        assert server.connections == 1


@pytest.mark.parametrize(
    "rest",
    [[Stall()], [Comments(0.001)], [Comments(0.03)], [b"x" * 65536] * 400],
    ids=["silence", "flood", "trickle", "bulk"],
)
def test_what_follows_the_end_marker_does_not_hold_the_stream_up(colour, rest):
    with FakeServer(Reply((*DONE, *rest)), TEXT) as server:
        client = colour.client(server)
        stream = client.chat_stream(MESSAGES)
        began = time.monotonic()
        colour.read(stream)
        assert time.monotonic() - began < PATIENCE / 5
        assert stream.result.status == "complete"
        assert server.requests[0].finished.wait(PATIENCE)
        colour.read(client.chat_stream(MESSAGES))
        assert server.connections == 2


@pytest.mark.parametrize("loss", ["cut", "reset"])
def test_a_loss_behind_the_end_marker_is_no_error(colour, loss):
    with FakeServer(getattr(TEXT, loss)(at=10**6)) as server:
        stream = colour.stream(server)
        colour.read(stream)
    assert stream.result.status == "complete"


def test_an_interrupt_during_the_drain_changes_nothing(colour, monkeypatch):
    monkeypatch.setattr(session_module, "_BEHIND_END", (1000, 60.0))
    with FakeServer(Reply((*DONE, Stall()))) as server:
        interrupter = StreamInterrupter()
        stream = interrupter.wrap(colour.stream(server))

        def press():
            assert wait_until(lambda: stream.result.finish_reason)
            interrupter.interrupt()

        presser = threading.Thread(target=press)
        presser.start()
        colour.read(stream)
        presser.join()
        assert server.requests[0].closed.wait(PATIENCE)
    assert stream.result.status == "complete"


def test_a_mocks_answer_is_not_drained(colour):
    body = b"".join(DONE)
    transport = httpx.MockTransport(lambda request: httpx.Response(200, content=body))
    http = http_of(colour, transport=transport)
    stream = colour.stream(
        "http://mock/v1", client=colour.client("http://mock/v1", http_client=http)
    )
    colour.read(stream)
    assert stream.result.status == "complete"
    colour.close(http)


def test_a_mocks_response_is_read_like_any_other(colour):
    transport = httpx.MockTransport(lambda request: httpx.Response(200, content=b"".join(DONE)))
    http = http_of(colour, transport=transport)
    request = http.build_request("POST", "http://mock/")
    stream = StreamInterrupter().wrap(colour.run(http.send(request, stream=True)))
    colour.read(stream)
    assert stream.result.content == "one two three"
    colour.close(http)


# TLS


def test_a_handshake_that_is_cancelled_leaves_no_socket(tls):
    async def main():
        with FakeServer(mute=True, ssl_context=tls.server()) as server:
            colour_http = httpx.AsyncClient(verify=tls.client(), trust_env=False)
            request = colour_http.build_request(
                "POST",
                server.base_url,
                extensions={"trace": _AsyncOpeningTrace(lambda name, info: None)},
            )
            task = asyncio.create_task(colour_http.send(request))
            received = await asyncio.to_thread(server.wait_for_request)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await asyncio.to_thread(received.closed.wait, PATIENCE)
            await colour_http.aclose()

    asyncio.run(main())


@pytest.mark.parametrize("colour", ["sync"], indirect=True)
def test_a_timeout_of_the_clients_own(colour, monkeypatch):
    # It waits behind our deadlines, and is only met if it doesn't; an await is given none.
    monkeypatch.setattr(http_module, "_BEHIND", 0.05 - 50)
    with FakeServer(TEXT.hang(), TEXT.stall(after=2)) as server:
        client = colour.client(server, deadlines=Deadlines(connect=55, first_chunk=50, idle=50))
        error, _ = colour.fail(client.chat_stream(MESSAGES), StreamTimeoutError)
        assert error.kind == "first_chunk"
        assert error.__cause__ is not None
        error, _ = colour.fail(client.chat_stream(MESSAGES), StreamTimeoutError)
        assert (error.kind, error.partial.content) == ("idle", "one")


def budget(connect=None, first_chunk=None, idle=None, total=None):
    made = Budget()
    made.restrict(connect=connect, first_chunk=first_chunk, idle=idle, total=total)
    made.begin(monotonic())
    made.attempt()
    return made


NONE = dict.fromkeys(("connect", "read", "write", "pool"))


@pytest.mark.parametrize(
    ("deadlines", "sync", "awaited"),
    [
        ({}, {}, {}),
        ({"total": 5}, {}, {}),
        ({"first_chunk": 60, "idle": 300}, {"read": 301, "write": 301}, {}),
        ({"first_chunk": 300, "idle": 60}, {"read": 301, "write": 301}, {}),
        ({"connect": 10, "idle": 60}, {"connect": 11}, {"connect": 10.05}),
    ],
)
def test_the_clients_timeouts_wait_behind_the_deadlines(colour, deadlines, sync, awaited):
    """Those of reads and writes only where a thread would be left behind without them."""
    seen = []

    def answer(request):
        seen.append(request.extensions["timeout"])
        return httpx.Response(200, content=b"".join(DONE))

    http = http_of(colour, transport=httpx.MockTransport(answer))
    client = colour.client("http://mock/v1", http_client=http)
    none = dict.fromkeys(("connect", "first_chunk", "idle", "total"))
    colour.read(client.chat_stream(MESSAGES, deadlines=Deadlines(**none | deadlines)))
    assert seen == [NONE | (awaited if colour.is_async else sync)]
    colour.close(http)


# The deadline of the connection


class Follower:
    """Tells a `_Connecting` what httpcore's trace says, and shows when the wait must end."""

    def __init__(self):
        self.stop = StopSignal()
        self.began = monotonic()
        budget_ = budget(connect=1000, first_chunk=5000)
        self.stop.due = budget_.wait(self.began)
        self._connecting = _Connecting(self.stop, self.stop.waits, budget_)

    def tell(self, name, **info):
        self._connecting.follow(name, info)
        return self

    @property
    def ends_with(self):
        return "connect" if self.stop.due < self.began + 2000 else "first chunk"


@pytest.mark.parametrize("kind", ["tcp", "unix_socket"])
def test_while_a_connection_is_made_its_own_deadline_holds(kind):
    follower = Follower().tell("http11.something")
    assert follower.ends_with == "first chunk"
    follower.tell(f"connection.connect_{kind}.started")
    assert follower.ends_with == "connect"
    follower.tell(f"connection.connect_{kind}.complete", return_value=None)
    follower.tell("connection.start_tls.started")
    assert follower.ends_with == "connect"
    follower.tell("http11.send_request_headers.started", request=httpx.Request("POST", "http://h"))
    assert follower.ends_with == "first chunk"


def test_asking_a_proxy_for_a_tunnel_is_part_of_the_connecting():
    class Connect:
        method = b"CONNECT"

    follower = Follower().tell("connection.connect_tcp.started")
    follower.tell("http11.send_request_headers.started", request=Connect())
    assert follower.ends_with == "connect"


@pytest.mark.parametrize(
    "name", ["connection.connect_tcp.started", "http11.send_request_headers.started"]
)
def test_a_helper_that_was_left_behind_moves_no_deadline(name):
    follower = Follower()
    follower.stop.due = due = inf
    follower.stop.waits.end()
    follower.tell(name)
    assert follower.stop.due == due


@pytest.mark.parametrize("pooled", [False, True])
def test_a_helper_that_was_left_behind_sends_nothing_after_the_deadline(pooled):
    helpers, late, go_on = [], threading.Event(), threading.Event()

    def key():
        if late.is_set():
            helpers.append(threading.current_thread())
            assert go_on.wait(PATIENCE)
        return "sk-key"

    with FakeServer(TEXT) as server, LLMClient(server.base_url, key, "m") as client:
        if pooled:
            list(client.chat_stream(MESSAGES))
        late.set()
        with pytest.raises(StreamTimeoutError):
            list(client.chat_stream(MESSAGES, deadlines=Deadlines(first_chunk=0.05)))
        go_on.set()
        helpers[0].join(PATIENCE)
        assert not helpers[0].is_alive()
        late.clear()
        list(client.chat_stream(MESSAGES))  # behind whatever the helper might have sent
        assert len(server.requests) == server.connections == pooled + 1


class Answer:
    """As much of a response as a source needs, without a socket."""

    def __init__(self):
        self.status_code, self.headers, self.extensions = 200, {}, {}
        self.request = httpx.Request("POST", "http://h")
        self.stream = iter([b"x"])
        self.closed = threading.Event()

    def close(self):
        self.closed.set()


class Client:
    """A client whose first send ends late."""

    def __init__(self):
        self.answers = [Answer(), Answer()]
        self.sends = iter(self.answers)
        self.go_on = threading.Event()

    def build_request(self, **options):
        return None

    def send(self, request, **options):
        answer = next(self.sends)
        if answer is self.answers[0]:
            assert self.go_on.wait(PATIENCE)
        return answer


def test_the_answer_to_a_request_that_was_given_up_does_not_become_the_next_ones():
    stop, client = StopSignal(), Client()
    request = Request("http://h", {}, {}, OpenAIDialect)
    source = HttpSource(stop, budget(), client, dict, None, Secrets())
    with pytest.raises(Expired):
        run(stop, partial(source.open, request), -inf)
    run(stop, partial(source.open, request))
    client.go_on.set()
    first, second = client.answers
    assert first.closed.wait(PATIENCE)  # by the helper, as its last act
    assert not second.closed.is_set()
    assert run(stop, source.read) == b"x"
    source.close()
    assert second.closed.wait(PATIENCE)


def test_a_body_in_one_packet_with_its_head(colour):
    body = b"".join(DONE)
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: %d\r\n\r\n"
    with ScriptedSocket(head % len(body) + body) as server:
        stream = colour.stream(server.base_url)
        colour.read(stream)
        assert stream.result.content == "one two three"
