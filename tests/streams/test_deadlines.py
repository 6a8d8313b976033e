"""Deadlines hold wherever a reader can be blocked: every kind, every stage, both colours."""

import asyncio
import contextlib
import gc
import json
import os
import random
import socket
import threading
import time

import httpx
import httpx2
import openai
import pytest
from loopback import (
    PATIENCE,
    DeafServer,
    H2Server,
    Loopback,
    Proxy,
    Reader,
    full_backlog,
    read_head,
    wait_until,
)

from llm_kit import (
    APIStatusError,
    AsyncLLMClient,
    Deadlines,
    LLMClient,
    LLMKitError,
    RetryPolicy,
    StreamCollector,
    StreamInterrupter,
    StreamProcessor,
    StreamTimeoutError,
)
from llm_kit.testing import FakeServer, Reply, Stall

MESSAGES = [{"role": "user", "content": "Hello"}]
TEXT = Reply.text("one two three four")
SEEN = 3  # chunks of a TEXT that stalls after three pieces: the role, "one", " two"
SHORT = 0.04
HUNG = 4.5  # seconds: nothing that works takes so long, nothing that hangs takes less
FOR_EVER = 3.0  # seconds: longer than that, but a reader that hangs is free before the next test


def only(**seconds):
    """Make deadlines of which none holds but these."""
    return Deadlines(
        **{"connect": None, "first_chunk": None, "idle": None, "total": None} | seconds
    )


def test_a_deadline_that_could_never_pass_is_refused():
    with pytest.raises(ValueError, match=r"Deadlines\.idle \(5\) could never pass"):
        Deadlines(idle=5, total=4)
    assert Deadlines(idle=4, total=5).total == 5


class OneTask:
    """
    Reads a stream of either colour as a program does: the whole loop in one task.

    (The fixture's own `each` gives the event loop a turn between any two chunks.)
    """

    def __init__(self, colour):
        self._colour = colour
        self.is_async = colour.is_async
        self.run = colour.run

    def each(self, stream):
        chunks, error = self._colour.run(_aread(stream)) if self.is_async else _read(stream)
        yield from chunks
        if error is not None:
            raise error


def _read(stream, pause=0.0):
    chunks = []
    try:
        for chunk in stream:
            chunks.append(chunk)
            time.sleep(pause)
    except LLMKitError as error:
        return chunks, error
    return chunks, None


async def _aread(stream, pause=0.0):
    chunks = []
    try:
        async for chunk in stream:
            chunks.append(chunk)
            if pause:
                await asyncio.sleep(pause)
    except LLMKitError as error:
        return chunks, error
    return chunks, None


def read_slowly(colour, stream, pause):
    """Read a stream with a loop whose body takes its time; gives the chunks and the error."""
    return colour.run(_aread(stream, pause)) if colour.is_async else _read(stream, pause)


def expire(colour, stream, kind, *, one_task=False):
    """Read a stream that must end by this deadline, soon; gives the reader."""
    began = time.monotonic()
    reader = Reader(OneTask(colour) if one_task else colour, stream).wait()
    assert reader.freed_at - began < HUNG
    error = reader.error
    assert type(error) is StreamTimeoutError, repr(error)
    assert error.kind == kind
    assert f"Deadlines.{kind}" in str(error)
    assert error.partial == stream.result
    assert stream.result.status == "timeout"
    assert stream.result.content == reader.text
    return reader


def frame(delta, finish_reason=None):
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"


COMMENT = b": keep-alive\n\n"
NOTHING = frame({})
ROLE = frame({"role": "assistant"})
WORDS = frame({"role": "assistant"}) + frame({"content": "one"}) + frame({"content": " two"})
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"


class Endless(Loopback):
    """
    Answers with a beginning, and then with the same piece for ever.

    Args:
        beginning: what comes first, the head included.
        piece: what comes again and again.
        pace: seconds between two of them; 0 sends as fast as the reader reads.
    """

    def __init__(self, beginning, piece, pace=0.0):
        self._beginning, self._pace = beginning, pace
        self._piece = piece if pace else piece * (65536 // len(piece))
        self.closed = threading.Event()
        super().__init__()

    def serve(self, peer):
        try:
            read_head(peer)
            until = time.monotonic() + FOR_EVER
            peer.sendall(self._beginning)
            while time.monotonic() < until:
                peer.sendall(self._piece)
                time.sleep(self._pace)
        finally:
            self.closed.set()


class Wires:
    """Makes httpx clients of the test's colour, each closed after the test."""

    def __init__(self, colour):
        self._colour = colour
        self._stack = contextlib.ExitStack()

    def http(self, package=httpx, **options):
        made = package.AsyncClient if self._colour.is_async else package.Client
        client = made(**{"trust_env": False, "timeout": 30} | options)
        self._stack.callback(self._colour.close, client)
        return client

    def close(self):
        self._stack.close()


@pytest.fixture
def wires(colour):
    made = Wires(colour)
    yield made
    made.close()


# Every stage of a request, on a new connection and on a pooled one

STAGES = {
    "before the headers": (TEXT.hang(), "first_chunk", 0),
    "before the first event": (TEXT.stall(after=0), "first_chunk", 0),
    "behind a lone role": (TEXT.stall(after=1), "first_chunk", 1),
    "in comments before the first event": (TEXT.comments(0, 0.002), "first_chunk", 0),
    "in mid-stream": (TEXT.stall(after=3), "idle", SEEN),
    "in slow comments": (TEXT.comments(3, 0.02), "idle", SEEN),
    "in comments without a pause": (TEXT.comments(3, 0), "idle", SEEN),
    "in a body without a length": (TEXT.with_framing("close").stall(after=3), "idle", SEEN),
}
ENOUGH = ("before the headers", "before the first event", "in mid-stream", "in slow comments")


@pytest.mark.parametrize(
    ("stage", "wire"),
    [
        *((stage, wire) for stage in STAGES for wire in ("plain", "reused")),
        *((stage, wire) for stage in ENOUGH for wire in ("tls", "plain, by total")),
    ],
)
def test_wakes_the_reader_and_tells_the_server(colour, wires, tls, stage, wire):
    reused, secure, by_total = wire == "reused", wire == "tls", wire.endswith("total")
    reply, kind, chunks = STAGES[stage]
    limits = only(total=4 * SHORT) if by_total else only(**{kind: SHORT})
    first = [TEXT] if reused else []
    with FakeServer(*first, reply, TEXT, ssl_context=tls.server() if secure else None) as server:
        http = wires.http(verify=tls.client())
        client = colour.client(server, http_client=http)
        if reused:
            colour.read(client.chat_stream(MESSAGES))
        stream = client.chat_stream(MESSAGES, deadlines=limits)
        reader = expire(colour, stream, "total" if by_total else kind)
        assert len(reader.chunks) == chunks
        assert stream.result.attempts == 1
        received = server.wait_for_request(len(first) + 1)
        assert received.closed.wait(PATIENCE), "the server has not seen the connection closed"
        # The pool works on, and the connection of the deadline is not in it.
        whole = client.chat_stream(MESSAGES)
        colour.read(whole)
        assert whole.result.content == "one two three four"
        assert server.connections == 2


FLOODS = {
    "comments": (HEAD + WORDS, COMMENT, 0, "idle"),
    "comments before the first event": (HEAD, COMMENT, 0, "first_chunk"),
    "empty chunks": (HEAD + WORDS, NOTHING, 0, "idle"),
    "empty chunks, slowly": (HEAD + WORDS, NOTHING, 0.01, "idle"),
    "empty chunks before the first text": (HEAD, NOTHING, 0.01, "first_chunk"),
    "roles": (HEAD + WORDS, ROLE, 0, "idle"),
    "roles, slowly": (HEAD + WORDS, ROLE, 0.01, "idle"),
    "roles before the first text": (HEAD, ROLE, 0.01, "first_chunk"),
    "usage": (HEAD + WORDS, b'data: {"choices":[],"usage":{"prompt_tokens":1}}\n\n', 0.01, "idle"),
    "an event that never ends": (HEAD + WORDS + b"data: ", b"x", 0.005, "idle"),
    "lines of an event that never ends": (HEAD + WORDS, b"data: x\n", 0.005, "idle"),
    "a line break a moment": (HEAD + WORDS, b"\n", 0.005, "idle"),
    "headers, byte by byte": (HEAD[:-2] + b"x: ", b"y", 0.005, "first_chunk"),
    "a status line, byte by byte": (b"HTTP/1.1 200 ", b"O", 0.005, "first_chunk"),
}


@pytest.mark.parametrize("flood", FLOODS)
def test_a_flood_of_what_says_nothing(colour, flood):
    beginning, piece, pace, kind = FLOODS[flood]
    with Endless(beginning, piece, pace) as server:
        limits = only(**{kind: SHORT})
        stream = colour.client(server.base_url).chat_stream(MESSAGES, deadlines=limits)
        expire(colour, stream, kind, one_task=True)
        assert server.closed.wait(PATIENCE)
        assert stream.result.content == ("one two" if beginning.startswith(HEAD + WORDS) else "")


@pytest.mark.parametrize("flood", ["comments", "empty chunks", "an event that never ends"])
def test_the_total_holds_in_a_flood(colour, flood):
    beginning, piece, pace, _ = FLOODS[flood]
    with Endless(beginning, piece, pace) as server:
        client = colour.client(server.base_url, deadlines=only(total=SHORT))
        expire(colour, client.chat_stream(MESSAGES), "total", one_task=True)


def test_the_total_holds_in_a_flood_of_text(colour):
    with Endless(HEAD, frame({"content": "x"})) as server:
        client = colour.client(server.base_url, deadlines=only(idle=SHORT, total=2 * SHORT))
        reader = expire(colour, client.chat_stream(MESSAGES), "total", one_task=True)
        assert reader.text


# The connection


def test_while_the_tcp_connection_is_made(colour):
    with full_backlog() as base_url:
        client = colour.client(base_url, deadlines=only(connect=SHORT))
        expire(colour, client.chat_stream(MESSAGES), "connect")


@pytest.mark.parametrize("proxied", [False, True], ids=["direct", "proxied"])
def test_while_tls_shakes_hands(colour, wires, tls, proxied):
    with FakeServer(mute=True, ssl_context=tls.server()) as server, Proxy() as proxy:
        options = {"proxy": proxy.url} if proxied else {}
        http = wires.http(verify=tls.client(), **options)
        client = colour.client(server, http_client=http, deadlines=only(connect=SHORT))
        expire(colour, client.chat_stream(MESSAGES), "connect")
        assert server.wait_for_request().closed.wait(PATIENCE)


def test_while_a_proxy_makes_the_tunnel(colour, wires, tls):
    with FakeServer(ssl_context=tls.server()) as server, Proxy(connects=False) as proxy:
        http = wires.http(verify=tls.client(), proxy=proxy.url)
        client = colour.client(server, http_client=http, deadlines=only(connect=SHORT))
        expire(colour, client.chat_stream(MESSAGES), "connect")
        assert proxy.closed.wait(PATIENCE)
        assert server.connections == 0


def test_while_a_name_is_resolved(colour, monkeypatch):
    go_on = threading.Event()

    def resolve(*args, **kwargs):
        go_on.wait(PATIENCE)
        raise socket.gaierror("no such name")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    client = colour.client("http://slow.invalid/v1", deadlines=only(connect=SHORT))
    try:
        expire(colour, client.chat_stream(MESSAGES), "connect")
    finally:
        go_on.set()


def test_a_connection_that_is_made_has_no_connect_deadline_any_more(colour):
    with FakeServer(TEXT.hang(0.4)) as server:
        client = colour.client(server, deadlines=only(connect=0.15))
        stream = client.chat_stream(MESSAGES)
        colour.read(stream)
        assert stream.result.status == "complete"


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_while_a_big_request_is_written_to_a_server_that_does_not_read(colour, wires, tls, secure):
    with DeafServer(tls.server() if secure else None) as server:
        client = colour.client(server.base_url, http_client=wires.http(verify=tls.client()))
        big = [{"role": "user", "content": "x" * 16_000_000}]
        stream = client.chat_stream(big, deadlines=only(first_chunk=3 * SHORT))
        expire(colour, stream, "first_chunk")
        server.listen.set()
        assert server.closed.wait(PATIENCE)


def test_while_waiting_for_the_pool_sends_no_request(colour, wires):
    with FakeServer(TEXT.stall(after=3), TEXT) as server:
        client = colour.client(
            server, http_client=wires.http(limits=httpx.Limits(max_connections=1))
        )
        holder = client.chat_stream(MESSAGES)
        next(iter(colour.each(holder)))
        expire(
            colour, client.chat_stream(MESSAGES, deadlines=only(first_chunk=SHORT)), "first_chunk"
        )
        assert len(server.requests) == 1
        colour.close(holder)
        whole = client.chat_stream(MESSAGES)
        colour.read(whole)
        assert whole.result.content == "one two three four"
        assert len(server.requests) == 2


# What is no error, and what is no retry


@pytest.mark.parametrize("kind", ["idle", "total"])
@pytest.mark.parametrize("flood", [False, True], ids=["silence", "comments"])
def test_behind_the_finish_reason_nothing_is_missing(colour, kind, flood):
    reply = Reply.text("one two", done=False, usage=False)
    reply = reply.comments(after=4, interval=0.005) if flood else reply.stall(after=4)
    with FakeServer(reply, TEXT) as server:
        client = colour.client(server, deadlines=only(**{kind: SHORT}))
        stream = client.chat_stream(MESSAGES)
        reader = Reader(colour, stream).wait()
        assert reader.error is None
        assert stream.result.status == "complete"
        assert stream.result.content == "one two"
        assert server.wait_for_request().closed.wait(PATIENCE)


def test_of_two_choices_both_must_be_finished(colour):
    one = [{"choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": "stop"}]}]
    with FakeServer(Reply.events(one).stall(after=1)) as server:
        client = colour.client(server, deadlines=only(idle=SHORT))
        expire(colour, client.chat_stream(MESSAGES, n=2), "idle")


@pytest.mark.parametrize("kind", ["first_chunk", "idle", "total"])
def test_a_deadline_is_not_retried(colour, kind):
    reply = TEXT.stall(after=3) if kind == "idle" else TEXT.hang()
    with FakeServer(reply, TEXT) as server:
        client = colour.client(server, retry=RetryPolicy(pause=0.001))
        expire(colour, client.chat_stream(MESSAGES, deadlines=only(**{kind: SHORT})), kind)
        assert len(server.requests) == 1


def test_a_connect_deadline_is_not_retried(colour, tls):
    with FakeServer(mute=True, ssl_context=tls.server()) as server:
        client = colour.client(server, retry=RetryPolicy(pause=0.001))
        stream = client.chat_stream(MESSAGES, deadlines=only(connect=SHORT))
        expire(colour, stream, "connect")
        assert server.connections == 1


@pytest.mark.parametrize("kind", ["first_chunk", "total"])
def test_in_the_body_of_an_error_answer(colour, kind):
    with FakeServer(Reply.error(400, "told too late").stall(after=0)) as server:
        client = colour.client(server, deadlines=only(**{kind: SHORT}))
        began = time.monotonic()
        error, _ = colour.fail(client.chat_stream(MESSAGES), LLMKitError)
        # The status has been told, so it may be raised as well as the deadline.
        assert isinstance(error, APIStatusError | StreamTimeoutError)
        assert time.monotonic() - began < HUNG
        assert server.requests[0].closed.wait(PATIENCE)


def test_a_pause_that_the_total_does_not_allow_is_not_begun(colour):
    with FakeServer(Reply.error(503, headers={"retry-after": "30"}), TEXT) as server:
        client = colour.client(server, retry=RetryPolicy(), deadlines=only(total=20))
        began = time.monotonic()
        error, _ = colour.fail(client.chat_stream(MESSAGES), APIStatusError)
        assert time.monotonic() - began < 15
        assert error.retry_after == 30
        assert len(server.requests) == 1


@pytest.mark.parametrize("kind", ["first_chunk", "total"])
def test_the_pause_and_the_attempts_before_are_counted(colour, kind):
    refused = Reply.error(503, headers={"retry-after-ms": "800"})
    with FakeServer(refused, TEXT.hang()) as server:
        client = colour.client(server, retry=RetryPolicy(), deadlines=only(**{kind: 1.0}))
        began = time.monotonic()
        stream = client.chat_stream(MESSAGES)
        reader = expire(colour, stream, kind)
        assert reader.freed_at - began < 1.7, "it has begun anew"
        assert stream.result.attempts == len(server.requests) == 2
        assert type(reader.error.__cause__) is APIStatusError


def test_the_total_ends_an_endless_retry(colour):
    with FakeServer(Reply.error(503)) as server:
        policy = RetryPolicy(attempts=100_000, pause=0.01, max_pause=0.01)
        client = colour.client(server, retry=policy, deadlines=only(total=2 * SHORT))
        began = time.monotonic()
        error, _ = colour.fail(client.chat_stream(MESSAGES), LLMKitError)
        assert isinstance(error, APIStatusError | StreamTimeoutError)
        assert time.monotonic() - began < HUNG
        assert len(server.requests) > 1


# What the reader's own loop does


def test_a_slow_loop_is_no_silence_of_the_servers(colour):
    with FakeServer(Reply.text("one two", pace=0.02)) as server:
        client = colour.client(server, deadlines=only(first_chunk=0.12, idle=0.12))
        stream = client.chat_stream(MESSAGES)
        _, error = read_slowly(colour, stream, 0.14)
        assert error is None
        assert stream.result.content == "one two"


def test_a_slow_loop_behind_an_empty_chunk_is_no_silence_of_the_servers(colour):
    """The server sends each event when the loop has been waiting for it only for a moment."""
    events = [frame({"role": "assistant"}), frame({"content": "one"}), frame({})]
    reply = Reply.raw(b"".join([*events, frame({}, "stop")]), sizes=map(len, events), pace=0.2)
    with FakeServer(reply) as server:
        client = colour.client(server, deadlines=only(first_chunk=0.14, idle=0.14))
        stream = client.chat_stream(MESSAGES)
        _, error = read_slowly(colour, stream, 0.16)
        assert error is None, error
        assert stream.result.status == "complete"


def test_a_slow_loop_over_a_foreign_stream_is_no_silence(colour):
    stream = only(first_chunk=SHORT, idle=SHORT).wrap(colour.source(["", "one ", "", "two"]))
    _, error = read_slowly(colour, stream, 2 * SHORT)
    assert error is None, error
    assert stream.result.content == "one two"


def test_a_slow_callback_is_no_silence(colour):
    with FakeServer(Reply.text("one", pace=0.02)) as server:
        client = colour.client(server, deadlines=only(first_chunk=0.12, idle=0.12))
        stream = StreamCollector.collect(
            client.chat_stream(MESSAGES), on_chunk=lambda chunk: time.sleep(0.14)
        )
        colour.read(stream)
        assert stream.result.status == "complete"


def test_the_total_counts_the_loop(colour):
    with FakeServer(TEXT.stall(after=3)) as server:
        client = colour.client(server, deadlines=only(total=2 * SHORT))
        chunks, error = read_slowly(colour, client.chat_stream(MESSAGES), 3 * SHORT)
        assert type(error) is StreamTimeoutError
        assert error.kind == "total"
        assert error.partial.chunk_count == len(chunks) > 0


def test_a_long_pause_between_with_and_the_loop(colour):
    with FakeServer(Reply.text("one two", pace=0.02)) as server:
        client = colour.client(server, deadlines=only(first_chunk=2 * SHORT, idle=2 * SHORT))
        stream = client.chat_stream(MESSAGES)
        if colour.is_async:

            async def reading():
                async with stream:
                    await asyncio.sleep(4 * SHORT)
                    return [chunk async for chunk in stream]

            colour.run(reading())
        else:
            with stream:
                time.sleep(4 * SHORT)
                colour.read(stream)
        assert stream.result.content == "one two"


def test_a_silence_goes_on_behind_with(colour):
    with FakeServer(TEXT.stall(after=0)) as server:
        client = colour.client(server, deadlines=only(first_chunk=SHORT))
        stream = client.chat_stream(MESSAGES)
        colour.open(stream)
        expire(colour, stream, "first_chunk")


def test_an_unread_stream_sends_nothing_and_has_no_time(colour):
    with FakeServer(TEXT) as server:
        client = colour.client(server, deadlines=only(first_chunk=SHORT, total=SHORT))
        stream = client.chat_stream(MESSAGES)
        time.sleep(2 * SHORT)
        colour.read(stream)
        assert stream.result.status == "complete"


def test_pieces_of_content_keep_a_stream_alive(colour):
    text = "one two three four"
    with FakeServer(Reply.text(text, reasoning="let me think", pace=0.05)) as server:
        client = colour.client(server, deadlines=only(first_chunk=0.25, idle=0.25))
        stream = client.chat_stream(MESSAGES)
        colour.read(stream)
        assert stream.result.status == "complete"


def test_pieces_of_a_tool_call_keep_a_stream_alive(colour):
    call = {"name": "f", "arguments": {"x": "long enough to take a while"}}
    with FakeServer(Reply.tool_calls([call], fragment=8, pace=0.06)) as server:
        client = colour.client(server, deadlines=only(first_chunk=0.25, idle=0.25))
        stream = client.chat_stream(MESSAGES)
        colour.read(stream)
        assert len(stream.result.tool_calls) == 1


# Foreign streams


class Blocking:
    """A generator of either colour that gives some items and then blocks."""

    def __init__(self, colour, items):
        self.go_on = threading.Event()
        self.closed = threading.Event()
        self.threads = set()
        self._items = items
        self.stream = self._async() if colour.is_async else self._sync()

    def _sync(self):
        try:
            self.threads.add(threading.current_thread())
            yield from self._items
            self.go_on.wait(PATIENCE)
            yield "late"
        finally:
            self.threads.add(threading.current_thread())
            self.closed.set()

    async def _async(self):
        try:
            for item in self._items:
                yield item
            await asyncio.sleep(PATIENCE)
            yield "late"
        finally:
            self.closed.set()


@pytest.mark.parametrize("by_total", [False, True], ids=["own", "total"])
@pytest.mark.parametrize("items", [[], ["one ", "two"]], ids=["first", "mid"])
def test_a_generator_that_blocks(colour, items, by_total):
    source = Blocking(colour, items)
    kind = "idle" if items else "first_chunk"
    limits = only(total=3 * SHORT) if by_total else only(**{kind: SHORT})
    reader = expire(colour, limits.wrap(source.stream), "total" if by_total else kind)
    assert reader.text == "".join(items)
    assert source.closed.is_set() == colour.is_async  # a thread can't be woken: it closes later
    source.go_on.set()
    assert source.closed.wait(PATIENCE)
    if not colour.is_async:
        assert len(source.threads) == 1  # closed where it was read
        assert wait_until(lambda: not any(thread.is_alive() for thread in source.threads))


@pytest.mark.parametrize("item", ["", {"choices": [{"index": 0, "delta": {"role": "assistant"}}]}])
def test_a_generator_that_never_stops_to_say_nothing(colour, item):
    """It doesn't block for a moment, and never gives an event loop a turn."""
    until = time.monotonic() + FOR_EVER

    def sync():
        yield "one"
        while time.monotonic() < until:
            yield item

    async def asynchronous():
        for each in sync():
            yield each

    stream = only(idle=SHORT).wrap(asynchronous() if colour.is_async else sync())
    reader = expire(colour, stream, "idle", one_task=True)
    assert reader.text == "one"


def test_a_generator_that_never_stops_to_talk_has_a_total(colour):
    until = time.monotonic() + FOR_EVER

    def sync():
        while time.monotonic() < until:
            yield "x"

    async def asynchronous():
        for each in sync():
            yield each

    stream = only(total=SHORT).wrap(asynchronous() if colour.is_async else sync())
    assert expire(colour, stream, "total", one_task=True).text


def test_background_false_takes_effect_at_the_next_item():
    threads = set()

    def source():
        for item in ("one", " two", " three", " four"):
            threads.add(threading.current_thread())
            yield item
            if item == " two":
                time.sleep(0.3)

    stream = only(idle=SHORT).wrap(source(), background=False)
    chunks, error = _read(stream)
    assert error.kind == "idle"
    # The item that came too late may be given, as it is here; but nothing behind it is read.
    assert [chunk.delta for chunk in chunks][:2] == ["one", " two"]
    assert len(chunks) <= 3
    assert threads == {threading.current_thread()}


def test_an_error_of_the_source_comes_out_of_the_loop(colour):
    stream = Deadlines().wrap(colour.source(["a", ValueError("mine")]))
    error, chunks = colour.fail(stream, ValueError)
    assert error.partial.content == "a"
    assert len(chunks) == 1


@pytest.mark.parametrize("stage", ENOUGH[1:])
def test_the_openai_sdk(colour, stage):
    reply, kind, chunks = STAGES[stage]
    with FakeServer(reply) as server:
        sdk_class = openai.AsyncOpenAI if colour.is_async else openai.OpenAI
        sdk = sdk_class(base_url=server.base_url, api_key="x", max_retries=0)
        source = colour.run(sdk.chat.completions.create(model="m", messages=MESSAGES, stream=True))
        reader = expire(colour, only(**{kind: SHORT}).wrap(source), kind)
        assert len(reader.chunks) == chunks
        assert server.requests[0].closed.wait(PATIENCE)
        # None but the alarm's: there is a socket.
        assert not threads_of_ours("background reader"), threading.enumerate()
        colour.run(sdk.close())


@pytest.mark.parametrize("package", [httpx, httpx2], ids=["httpx", "httpx2"])
@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("stage", ["before the first event", "in mid-stream"])
def test_a_response_of_the_users(colour, wires, tls, package, secure, stage):
    reply, kind, _ = STAGES[stage]
    with FakeServer(reply, TEXT, ssl_context=tls.server() if secure else None) as server:
        http = wires.http(package, verify=tls.client())
        url = server.base_url + "/chat/completions"
        opening = http.stream("POST", url, json={})
        response = colour.run(opening.__aenter__()) if colour.is_async else opening.__enter__()
        expire(colour, only(**{kind: SHORT}).wrap(response), kind)
        assert server.requests[0].closed.wait(PATIENCE)
        none = (None, None, None)
        colour.run(opening.__aexit__(*none) if colour.is_async else opening.__exit__(*none))
        assert colour.run(http.post(url, json={})).status_code == 200


@pytest.fixture
def h2(tls):
    with H2Server(tls.certificate) as server:
        yield server


@pytest.mark.parametrize(("model", "kind"), [("hang", "first_chunk"), ("stall", "idle")])
def test_an_http2_client_of_the_users(h2, colour, wires, tls, model, kind):
    http = wires.http(http2=True, verify=tls.client())
    client = colour.client(h2.base_url, http_client=http)
    whole = client.chat_stream(MESSAGES, model="at once:3")
    colour.read(whole)
    stream = client.chat_stream(MESSAGES, model=model, deadlines=only(**{kind: SHORT}))
    expire(colour, stream, kind)
    if colour.is_async:
        again = client.chat_stream(MESSAGES, model="at once:3")
        colour.read(again)
        assert again.result.content == "0 1 2 "
        assert len(h2.connections) == 1


def test_an_http2_sibling_goes_on(h2, tls):
    """Async alone: in httpcore's sync HTTP/2 one stalled stream can hold all others up anyway."""

    async def main():
        async with (
            httpx.AsyncClient(http2=True, verify=tls.client(), trust_env=False) as http,
            AsyncLLMClient(base_url=h2.base_url, http_client=http) as client,
        ):
            sibling = client.chat_stream(MESSAGES, model="words:4")
            reading = asyncio.create_task(_aread(sibling))
            limits = only(idle=SHORT)
            _, error = await _aread(client.chat_stream(MESSAGES, model="stall", deadlines=limits))
            assert error.kind == "idle"
            async with asyncio.timeout(PATIENCE):
                while not reading.done():
                    h2.step()
                    await asyncio.sleep(0.002)
            assert (await reading)[1] is None
            assert sibling.result.content == "0 1 2 3 "
            assert len(h2.connections) == 1

    asyncio.run(main())


def test_a_clients_own_timeouts_are_not_used(colour, wires):
    with FakeServer(TEXT.hang(0.3)) as server:
        client = colour.client(
            server, http_client=wires.http(timeout=0.05), deadlines=only(first_chunk=3)
        )
        stream = client.chat_stream(MESSAGES)
        colour.read(stream)
        assert stream.result.status == "complete"


def test_a_clients_own_timeouts_are_not_used_without_deadlines_either(colour, wires):
    with FakeServer(TEXT.hang(0.3)) as server:
        http = wires.http(timeout=0.05)
        stream = colour.client(server, http_client=http, deadlines=only()).chat_stream(MESSAGES)
        colour.read(stream)
        assert stream.result.status == "complete"


@pytest.mark.parametrize("package", [httpx, httpx2], ids=["httpx", "httpx2"])
def test_a_mock_transport(colour, wires, package):
    go_on = threading.Event()

    class Body(package.SyncByteStream, package.AsyncByteStream):
        def __iter__(self):
            yield WORDS
            go_on.wait(PATIENCE)
            yield frame({"content": "late"})

        async def __aiter__(self):
            yield WORDS
            await asyncio.sleep(PATIENCE)

    def answer(request):
        return package.Response(200, stream=Body())

    http = wires.http(package, transport=package.MockTransport(answer))
    client = colour.client("http://mock/v1", http_client=http)
    try:
        reader = expire(colour, client.chat_stream(MESSAGES, deadlines=only(idle=SHORT)), "idle")
    finally:
        go_on.set()
    assert reader.text == "one two"


def test_an_app_in_the_same_process(colour, wires):
    """ASGI: httpx gives the answer when the app has returned. WSGI: as the app gives it."""
    go_on = threading.Event()

    async def asgi(scope, receive, send):
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": WORDS, "more_body": True})
        await asyncio.sleep(PATIENCE)

    def wsgi(environ, start_response):
        start_response("200 OK", [("content-type", "text/event-stream")])
        yield WORDS
        go_on.wait(PATIENCE)

    made = httpx.ASGITransport(asgi) if colour.is_async else httpx.WSGITransport(wsgi)
    client = colour.client("http://app/v1", http_client=wires.http(transport=made))
    limits = only(first_chunk=SHORT, idle=SHORT)
    try:
        stream = client.chat_stream(MESSAGES, deadlines=limits)
        expire(colour, stream, "first_chunk" if colour.is_async else "idle")
    finally:
        go_on.set()


# Nesting


@pytest.mark.parametrize(
    ("inner", "outer", "kind"),
    [
        ({"idle": 5}, {"idle": SHORT}, "idle"),
        ({"idle": SHORT}, {"idle": 5}, "idle"),
        ({"idle": SHORT}, {}, "idle"),
        ({"total": SHORT}, {"idle": 5}, "total"),
        ({"idle": 5}, {"total": SHORT}, "total"),
        ({"idle": SHORT}, {"total": 5}, "idle"),
        ({"total": 5}, {"idle": SHORT}, "idle"),
        ({"idle": 3 * SHORT, "total": 4 * SHORT}, {"total": SHORT}, "total"),
    ],
)
def test_the_shorter_one_holds(colour, inner, outer, kind):
    with FakeServer(TEXT.stall(after=3)) as server:
        own = colour.client(server).chat_stream(MESSAGES, deadlines=only(**inner))
        expire(colour, only(**outer).wrap(own), kind)
        source = Blocking(colour, ["one"])
        expire(colour, only(**outer).wrap(only(**inner).wrap(source.stream)), kind)
        source.go_on.set()
        assert source.closed.wait(PATIENCE)


def test_a_deadline_that_is_set_within_the_loop(colour):
    source = Blocking(colour, ["one"])
    stream = only().wrap(source.stream)
    next(iter(colour.each(stream)))
    only(idle=SHORT).wrap(stream)
    expire_after_the_first(colour, stream, "idle")
    source.go_on.set()
    assert source.closed.wait(PATIENCE)


def expire_after_the_first(colour, stream, kind):
    reader = Reader(colour, stream).wait()
    assert type(reader.error) is StreamTimeoutError
    assert reader.error.kind == kind


def test_a_total_that_is_set_within_the_loop_counts_from_the_beginning(colour):
    source = Blocking(colour, ["one"])
    stream = only().wrap(source.stream)
    next(iter(colour.each(stream)))
    time.sleep(0.2)
    began = time.monotonic()
    only(total=0.3).wrap(stream)
    expire_after_the_first(colour, stream, "total")
    assert time.monotonic() - began < 0.28
    source.go_on.set()
    assert source.closed.wait(PATIENCE)


@pytest.mark.parametrize(
    "outside", ["deadlines", "interrupter", "processor", "collector"], ids=lambda name: name
)
def test_wrapped_in_any_order(colour, outside):
    interrupter, processor, done = StreamInterrupter(), StreamProcessor(), []
    wraps = {
        "deadlines": only(idle=SHORT).wrap,
        "interrupter": interrupter.wrap,
        "processor": processor.wrap,
        "collector": lambda stream: StreamCollector.collect(stream, on_done=done.append),
    }
    wraps[outside] = wraps.pop(outside)
    with FakeServer(TEXT.stall(after=3)) as server:
        stream = colour.client(server).chat_stream(MESSAGES)
        for wrap in wraps.values():
            stream = wrap(stream)
        expire(colour, stream, "idle")
    assert interrupter.content == processor.content == "one two"
    assert processor.get_result().status == interrupter.result.status == "timeout"
    assert [result.status for result in done] == ["timeout"]
    assert not interrupter.interrupted


def test_to_string_raises_with_the_partial(colour):
    with FakeServer(TEXT.stall(after=3)) as server:
        stream = colour.client(server).chat_stream(MESSAGES, deadlines=only(idle=SHORT))
        with pytest.raises(StreamTimeoutError) as caught:
            colour.run(StreamCollector.to_string(stream))
    assert caught.value.partial.content == "one two"


def test_an_interrupt_before_the_deadline(colour):
    with FakeServer(TEXT.stall(after=3)) as server:
        interrupter = StreamInterrupter()
        client = colour.client(server, deadlines=only(idle=0.5))
        stream = interrupter.wrap(client.chat_stream(MESSAGES))
        reader = Reader(colour, stream)
        reader.wait_for_chunks(SEEN)
        interrupter.interrupt("mine")
        assert reader.wait().error is None
        assert stream.result.status == "interrupted"


def test_an_interrupt_behind_the_deadline(colour):
    with FakeServer(TEXT.stall(after=3)) as server:
        interrupter = StreamInterrupter(raise_on_interrupt=True)
        client = colour.client(server, deadlines=only(idle=SHORT))
        stream = interrupter.wrap(client.chat_stream(MESSAGES))
        expire(colour, stream, "idle")
        interrupter.interrupt("too late")
        assert stream.result.status == "timeout"
        assert stream.reason == ""


def test_an_interrupt_and_a_deadline_at_the_same_time(colour):
    seen = set()
    with FakeServer(TEXT.stall(after=3)) as server:
        client = colour.client(server, deadlines=only(idle=0.03))
        for turn in range(10):
            interrupter = StreamInterrupter()
            stream = interrupter.wrap(client.chat_stream(MESSAGES))
            reader = Reader(colour, stream)
            reader.wait_for_chunks(SEEN)
            threading.Timer(0.026 + 0.0008 * turn, interrupter.interrupt).start()
            reader.wait()
            seen.add(stream.result.status)
            assert stream.result.content == "one two"
            assert (reader.error is None) == (stream.result.status == "interrupted")
    assert seen <= {"interrupted", "timeout"}


@pytest.mark.parametrize("later", [0.0, 0.02], ids=["at once", "later"])
def test_a_cancel_of_the_task_at_the_deadline_is_never_swallowed(later):
    async def main():
        client = AsyncLLMClient(base_url=server.base_url, model="m", deadlines=only(idle=0.05))
        async with client:
            for turn in range(7):
                reading = asyncio.create_task(_aread(client.chat_stream(MESSAGES)))
                await asyncio.sleep(0.045 + turn * 0.002 + later)
                cancelled = reading.cancel()
                await asyncio.wait({reading}, timeout=PATIENCE)
                assert reading.done()
                # Who was told that the cancel is on its way must see it arrive.
                assert reading.cancelled() == cancelled
                if not cancelled:
                    assert reading.result()[1].kind == "idle"

    with FakeServer(TEXT.stall(after=3)) as server:
        asyncio.run(main())


def test_a_deadline_leaves_the_tasks_cancel_count_as_it_was():
    async def main():
        client = AsyncLLMClient(base_url=server.base_url, model="m", deadlines=only(idle=0.05))
        async with client:
            _, error = await _aread(client.chat_stream(MESSAGES))
            assert error.kind == "idle"
            assert asyncio.current_task().cancelling() == 0
            async with asyncio.timeout(PATIENCE):  # and the task can go on waiting
                await asyncio.sleep(0.01)

    with FakeServer(TEXT.stall(after=3)) as server:
        asyncio.run(main())


def test_a_timeout_of_asyncios_around_the_loop_still_raises():
    async def main():
        client = AsyncLLMClient(base_url=server.base_url, model="m", deadlines=only(idle=5))
        async with client:
            stream = client.chat_stream(MESSAGES)
            with pytest.raises(TimeoutError) as caught:
                async with asyncio.timeout(SHORT):
                    await _aread(stream)
            assert not isinstance(caught.value, StreamTimeoutError)
            assert stream.result.status == "interrupted"

    with FakeServer(TEXT.stall(after=3)) as server:
        asyncio.run(main())


# Many streams


def threads_of_ours(name):
    return [thread for thread in threading.enumerate() if thread.name == f"llm_kit {name}"]


class Crowd:
    """Says a word to each of many connections and then nothing: one thread for all of them."""

    def __init__(self):
        self.came = self.left = 0
        self._up = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), daemon=True)

    def __enter__(self):
        self._thread.start()
        assert self._up.wait(PATIENCE)
        return self

    def __exit__(self, *exc_info):
        self._loop.call_soon_threadsafe(self._ending.set)
        self._thread.join(PATIENCE)

    async def _main(self):
        self._loop, self._ending = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=1024)
        self.base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        self._up.set()
        await self._ending.wait()
        server.close()

    async def _serve(self, reader, writer):
        self.came += 1
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(HEAD + frame({"content": "one"}))
            while await reader.read(65536):  # the request's body, then the end
                pass
        self.left += 1
        writer.close()


def test_a_thousand_async_streams_share_the_loops_timers():
    count = 1000

    async def main():
        limits = only(first_chunk=20, idle=0.3)
        client = AsyncLLMClient(base_url=crowd.base_url, model="m", deadlines=limits)
        async with client:
            streams = [client.chat_stream(MESSAGES) for _ in range(count)]
            reading = asyncio.gather(*map(_aread, streams))
            async with asyncio.timeout(30):
                most = 0
                while not reading.done():
                    most = max(most, threading.active_count())
                    await asyncio.sleep(0.05)
            return await reading, most

    with Crowd() as crowd:
        before = threading.active_count()
        outcomes, most = asyncio.run(main())
        assert [error.kind for _, error in outcomes] == ["idle"] * count
        assert {len(chunks) for chunks, _ in outcomes} == {1}
        assert most <= before
        assert wait_until(lambda: crowd.left == crowd.came == count)


def test_a_hundred_sync_streams_share_one_alarm():
    count = 100
    with (
        Crowd() as crowd,
        LLMClient(base_url=crowd.base_url, model="m", deadlines=only(idle=1.0)) as client,
    ):
        alarms = len(threads_of_ours("alarm"))  # other tests make some of their own
        before = threading.active_count() - alarms
        streams = [client.chat_stream(MESSAGES) for _ in range(count)]
        outcomes = []
        readers = [
            threading.Thread(target=lambda stream=stream: outcomes.append(_read(stream)))
            for stream in streams
        ]
        for reader in readers:
            reader.start()
        assert wait_until(lambda: all(stream.result.chunk_count for stream in streams))
        # In mid-stream each reader is the only thread of its stream.
        assert wait_until(lambda: not threads_of_ours("background reader"))
        assert len(threads_of_ours("alarm")) <= max(1, alarms)
        assert threading.active_count() <= before + count + max(1, alarms)
        for reader in readers:
            reader.join(PATIENCE)
        assert [error.kind for _, error in outcomes] == ["idle"] * count
        assert wait_until(lambda: crowd.left == count)


def test_a_deadline_does_not_keep_its_stream_alive(colour):
    with FakeServer(TEXT.stall(after=3)) as server:
        client = colour.client(server, deadlines=only(idle=30, total=30))
        stream = client.chat_stream(MESSAGES)
        next(iter(colour.each(stream)))
        del stream
        gc.collect()
        colour.run(asyncio.sleep(0.01) if colour.is_async else None)
        assert server.requests[0].closed.wait(PATIENCE)


# Many deadlines leave nothing behind


def open_files():
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


def flood_of_deadlines(colour, wires, tls, count, secure):
    """Let streams expire at random stages; then nothing may be left in the process."""
    stages = [(reply, kind) for reply, kind, _ in STAGES.values()]
    rng = random.Random(7)
    plan = [rng.choice(stages) for _ in range(count)]
    context = tls.server() if secure else None

    def answer(request):  # by number: a request may expire before it is sent
        nth = request.json.get("nth")
        return TEXT if nth is None else plan[nth][0]

    with FakeServer(answer, ssl_context=context) as server:
        client = colour.client(server, http_client=wires.http(verify=tls.client()))
        expire_first(colour)
        colour.read(client.chat_stream(MESSAGES))
        threads, files = threading.active_count(), open_files()
        for nth, (_, kind) in enumerate(plan):
            limits = only(**{rng.choice([kind, "total"]): 0.006})
            stream = client.chat_stream(MESSAGES, deadlines=limits, nth=nth)
            colour.fail(stream, StreamTimeoutError)
            assert stream.result.status == "timeout"
        whole = client.chat_stream(MESSAGES)
        colour.read(whole)
        assert whole.result.content == "one two three four"
        assert wait_until(lambda: colour.breathe() and server.open_connections <= 1)
        if colour.is_async:
            assert not asyncio.all_tasks(colour.runner.get_loop())
        assert wait_until(lambda: threading.active_count() <= threads), threading.enumerate()
        assert wait_until(lambda: open_files() <= files)


def expire_first(colour):
    """The alarm's thread starts with the first deadline of the process, and stays."""
    source = Blocking(colour, [])
    expire(colour, only(first_chunk=0.01).wrap(source.stream), "first_chunk")
    source.go_on.set()
    assert source.closed.wait(PATIENCE)


def test_two_hundred_deadlines_leave_nothing_behind(colour, wires, tls):
    flood_of_deadlines(colour, wires, tls, 200, secure=False)


# CPython leaves an SSLSocket to the garbage collector whose connection is reset just before its
# handshake (SSLSocket._create); nothing of ours can close it.
@pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")
@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_a_thousand_deadlines_leave_nothing_behind(colour, wires, tls, secure):
    flood_of_deadlines(colour, wires, tls, 1000, secure)


def test_deadlines_over_generators_leave_no_thread_behind(colour):
    expire_first(colour)
    threads = threading.active_count()
    sources = [Blocking(colour, ["one"]) for _ in range(50)]
    for source in sources:
        error, _ = colour.fail(only(idle=0.01).wrap(source.stream), StreamTimeoutError)
        assert error.kind == "idle"
    for source in sources:
        source.go_on.set()
        assert source.closed.wait(PATIENCE)
    assert wait_until(lambda: threading.active_count() <= threads)


def test_what_is_no_number_of_seconds_is_refused():
    for wrong in (0, -1, "5", True, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=r"Deadlines\.idle"):
            Deadlines(idle=wrong)


def test_a_stall_in_the_body_of_an_error_leaves_its_words(colour):
    """What had come of an error's body before the silence is still told."""
    body = b'{"error": {"message": "the words"}}'
    reply = Reply((body, Stall()), 400, {"content-type": "application/json"})
    with FakeServer(reply) as server:
        client = colour.client(server, deadlines=only(total=2 * SHORT))
        began = time.monotonic()
        error, _ = colour.fail(client.chat_stream(MESSAGES), APIStatusError)
        assert "the words" in str(error)
        assert time.monotonic() - began < HUNG
