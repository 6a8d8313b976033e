"""The interrupt that always works: every stage of a request, every wire, both colours."""

import asyncio
import contextlib
import gc
import os
import random
import signal
import socket
import sys
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
    Proxy,
    Reader,
    ScriptedSocket,
    full_backlog,
    wait_until,
)

from llm_kit import (
    AsyncLLMClient,
    LLMClient,
    LLMKitError,
    StreamCollector,
    StreamInterrupted,
    StreamInterrupter,
    StreamProcessor,
)
from llm_kit.testing import FakeServer, Reply

MESSAGES = [{"role": "user", "content": "Hello"}]
TEXT = Reply.text("one two three four")
SEEN = 3  # chunks of a TEXT that has been stopped after three pieces: the role, "one", " two"

STAGES = {
    "before the headers": (TEXT.hang(), 0),
    "before the first token": (TEXT.stall(after=0), 0),
    "in mid-stream": (TEXT.stall(after=3), SEEN),
    "in a flood of comments": (TEXT.comments(after=3, interval=0.001), SEEN),
    "in a body without a length": (TEXT.with_framing("close").stall(after=3), SEEN),
    "in a body with a length": (TEXT.with_framing("length").stall(after=3), SEEN),
}


class Wires:
    """Makes httpx clients of the test's colour, each closed after the test."""

    def __init__(self, colour, tls):
        self._colour, self._tls = colour, tls
        self._stack = contextlib.ExitStack()

    def http(self, package=httpx, **options):
        made = package.AsyncClient if self._colour.is_async else package.Client
        client = made(trust_env=False, timeout=30, **options)
        self._stack.callback(self._colour.close, client)
        return client

    def open(self, kind, *replies):
        """Give a server, and a client that reaches it over a wire of this kind."""
        secure = kind in ("tls", "tunnel")
        server = FakeServer(*replies, ssl_context=self._tls.server() if secure else None)
        self._stack.enter_context(server)
        options = {"verify": self._tls.client()} if secure else {}
        if kind in ("forward", "tunnel"):
            options["proxy"] = self._stack.enter_context(Proxy()).url
        package = httpx2 if kind == "httpx2" else httpx
        client = self._colour.client(server, http_client=self.http(package, **options))
        return server, client

    def close(self):
        self._stack.close()


@pytest.fixture
def wires(colour, tls):
    made = Wires(colour, tls)
    yield made
    made.close()


def assert_told(received):
    assert received.closed.wait(PATIENCE), "the server has not seen the connection closed"


# Every stage over every wire


@pytest.mark.parametrize("kind", ["plain", "tls", "forward", "tunnel", "httpx2"])
@pytest.mark.parametrize(
    ("stage", "reused"),
    [
        *((stage, False) for stage in STAGES),
        ("before the headers", True),
        ("in mid-stream", True),
    ],
)
def test_wakes_the_reader_and_tells_the_server(colour, wires, kind, stage, reused):
    reply, chunks = STAGES[stage]
    first = [TEXT] if reused else []
    server, client = wires.open(kind, *first, reply, TEXT)
    if reused:
        colour.read(client.chat_stream(MESSAGES))
    interrupter = StreamInterrupter()
    reader = Reader(colour, interrupter.wrap(client.chat_stream(MESSAGES)))
    received = server.wait_for_request(len(first) + 1)
    reader.wait_for_chunks(chunks)
    interrupter.interrupt("stop")
    assert reader.wait().error is None
    assert_told(received)
    assert server.connections == 1
    assert reader.text == interrupter.content == ("one two" if chunks else "")
    assert interrupter.result.status == "interrupted"
    assert (interrupter.interrupted, interrupter.reason) == (True, "stop")
    whole = client.chat_stream(MESSAGES)
    assert len(colour.read(whole)) == whole.result.chunk_count
    assert whole.result.content == "one two three four"


def test_while_the_tcp_connection_is_made(colour):
    with full_backlog() as base_url:
        interrupter = StreamInterrupter()
        stream = interrupter.wrap(colour.stream(base_url))
        reader = Reader(colour, stream)
        assert wait_until(lambda: stream._started)
        interrupter.interrupt()
        assert reader.wait().error is None
    assert stream.result.status == "interrupted"


def test_a_stopped_handshake_is_not_tried_again(wires_sync, tls):
    with FakeServer(mute=True, ssl_context=tls.server()) as server:
        http = wires_sync.http(transport=httpx.HTTPTransport(verify=tls.client(), retries=3))
        client = LLMClient(base_url=server.base_url, model="m", http_client=http)
        interrupter = StreamInterrupter()
        before = threading.active_count()
        reader = Reader(SyncReading, interrupter.wrap(client.chat_stream(MESSAGES)))
        received = server.wait_for_request()
        interrupter.interrupt()
        reader.wait()
        assert_told(received)
        assert wait_until(lambda: threading.active_count() <= before)
        assert server.connections == 1


@pytest.mark.parametrize("proxied", [False, True], ids=["direct", "proxied"])
def test_while_tls_shakes_hands(colour, wires, tls, proxied):
    with FakeServer(mute=True, ssl_context=tls.server()) as server, Proxy() as proxy:
        options = {"proxy": proxy.url} if proxied else {}
        http = wires.http(verify=tls.client(), **options)
        interrupter = StreamInterrupter()
        stream = interrupter.wrap(colour.client(server, http_client=http).chat_stream(MESSAGES))
        reader = Reader(colour, stream)
        received = server.wait_for_request()
        interrupter.interrupt()
        assert reader.wait().error is None
        assert_told(received)
    assert stream.result.status == "interrupted"


def test_while_a_proxy_makes_the_tunnel(colour, wires, tls):
    with FakeServer(ssl_context=tls.server()) as server, Proxy(connects=False) as proxy:
        http = wires.http(verify=tls.client(), proxy=proxy.url)
        interrupter = StreamInterrupter()
        stream = interrupter.wrap(colour.client(server, http_client=http).chat_stream(MESSAGES))
        reader = Reader(colour, stream)
        assert proxy.asked.wait(PATIENCE)
        interrupter.interrupt()
        assert reader.wait().error is None
        assert proxy.closed.wait(PATIENCE)
        assert server.connections == 0


@pytest.mark.parametrize("stage", ["before the headers", "in mid-stream"])
def test_tls_inside_the_tls_of_a_proxy(colour, wires, tls, stage):
    reply, chunks = STAGES[stage]
    with (
        FakeServer(reply, ssl_context=tls.server()) as server,
        Proxy(context=tls.server()) as proxy,
    ):
        through = httpx.Proxy(proxy.url, ssl_context=tls.client())
        http = wires.http(verify=tls.client(), proxy=through)
        interrupter = StreamInterrupter()
        stream = interrupter.wrap(colour.client(server, http_client=http).chat_stream(MESSAGES))
        reader = Reader(colour, stream)
        received = server.wait_for_request()
        reader.wait_for_chunks(chunks)
        interrupter.interrupt()
        assert reader.wait().error is None
        assert_told(received)


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_while_a_big_request_is_written_to_a_server_that_does_not_read(colour, wires, tls, secure):
    with DeafServer(tls.server() if secure else None) as server:
        http = wires.http(verify=tls.client())
        interrupter = StreamInterrupter()
        client = colour.client(server.base_url, http_client=http)
        big = [{"role": "user", "content": "x" * 16_000_000}]
        stream = interrupter.wrap(client.chat_stream(big))
        reader = Reader(colour, stream)
        assert server.asked.wait(PATIENCE)
        interrupter.interrupt()
        assert reader.wait().error is None
        server.listen.set()
        assert server.closed.wait(PATIENCE)
    assert stream.result.status == "interrupted"


def test_over_a_unix_socket_before_the_headers(colour, wires, tmp_path):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "s"))
    listener.listen()
    with ScriptedSocket(b"", listener=listener) as server:
        transport = httpx.AsyncHTTPTransport if colour.is_async else httpx.HTTPTransport
        http = wires.http(transport=transport(uds=str(tmp_path / "s")))
        interrupter = StreamInterrupter()
        client = colour.client("http://any.invalid/v1", http_client=http)
        reader = Reader(colour, interrupter.wrap(client.chat_stream(MESSAGES)))
        assert server.asked.wait(PATIENCE)
        interrupter.interrupt()
        assert reader.wait().error is None
        assert server.closed.wait(PATIENCE)


def test_before_the_headers_on_a_connection_that_the_user_had_made(colour, wires, request):
    if not colour.is_async:
        request.applymarker(
            pytest.mark.xfail(
                reason="httpcore shows the socket of a reused connection only with the headers:"
                " the reader is free, but the server is told when the read times out"
            )
        )
    with FakeServer(TEXT, TEXT.hang()) as server:
        http = wires.http()
        colour.run(http.post(server.base_url + "/chat/completions", json={}))
        interrupter = StreamInterrupter()
        client = colour.client(server, http_client=http)
        reader = Reader(colour, interrupter.wrap(client.chat_stream(MESSAGES)))
        received = server.wait_for_request(2)
        interrupter.interrupt()
        assert reader.wait().error is None
        assert server.connections == 1
        assert received.closed.wait(1)


def test_what_was_wrapped_after_the_stop_can_be_read_here_too(colour):
    interrupter = StreamInterrupter()
    interrupter.interrupt("at once")
    stream = interrupter.wrap(colour.source(["one"]))
    assert colour.read(stream) == []
    assert interrupter.result == stream.result
    assert interrupter.result.status == "interrupted"


def test_while_waiting_for_the_pool_sends_no_request(colour, wires):
    with FakeServer(TEXT.stall(after=3), TEXT) as server:
        http = wires.http(limits=httpx.Limits(max_connections=1))
        client = colour.client(server, http_client=http)
        holder = client.chat_stream(MESSAGES)
        chunks = colour.each(holder)
        next(chunks)
        interrupter = StreamInterrupter()
        waiting = interrupter.wrap(client.chat_stream(MESSAGES))
        if colour.is_async:  # the holder's loop can't run in two threads
            colour.run(_interrupt_soon(waiting, interrupter))
        else:
            reader = Reader(colour, waiting)
            assert wait_until(lambda: waiting._started)
            interrupter.interrupt()
            reader.wait()
        colour.close(holder)
        assert colour.read(client.chat_stream(MESSAGES))
        assert len(server.requests) == 2
        assert waiting.result.status == "interrupted"


async def _interrupt_soon(stream, interrupter):
    asyncio.get_running_loop().call_soon(interrupter.interrupt)
    async for _ in stream:
        pass


def test_a_stopped_wait_for_the_pool_does_not_send_later_on_a_connection_of_the_users(wires_sync):
    # The worker that was left behind gets the connection when the holder gives it up.
    with FakeServer(TEXT, TEXT.hang()) as server:
        http = wires_sync.http(limits=httpx.Limits(max_connections=1))
        client = LLMClient(base_url=server.base_url, model="m", http_client=http)
        with http.stream("POST", server.base_url + "/chat/completions", json={}) as response:
            before = set(threading.enumerate())
            stream = client.chat_stream(MESSAGES)
            interrupter = StreamInterrupter()
            reader = Reader(SyncReading, interrupter.wrap(stream))
            assert wait_until(lambda: http._transport._pool._requests[1:])
            interrupter.interrupt()
            reader.wait()
            response.read()
        assert wait_until(lambda: set(threading.enumerate()) <= before)
        assert len(server.requests) == 1


class SyncReading:
    """What a Reader asks of a colour."""

    is_async = False

    @staticmethod
    def run(value):
        return value

    @staticmethod
    def each(stream):
        return iter(stream)


@pytest.fixture
def wires_sync(tls):
    class Colour:
        is_async = False

        @staticmethod
        def close(client):
            client.close()

    made = Wires(Colour, tls)
    yield made
    made.close()


# Who interrupts, and when


def test_from_a_task(colour):
    async def main():
        client = AsyncLLMClient(base_url=server.base_url, model="m")
        interrupter = StreamInterrupter()
        reading = asyncio.create_task(_texts(interrupter.wrap(client.chat_stream(MESSAGES))))
        await asyncio.to_thread(server.wait_for_request)
        interrupter.interrupt()
        assert await asyncio.wait_for(reading, PATIENCE) == []
        assert await asyncio.to_thread(server.requests[0].closed.wait, PATIENCE)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        await client.aclose()

    with FakeServer(TEXT.hang()) as server:
        asyncio.run(main())


async def _texts(stream):
    return [chunk.delta async for chunk in stream]


def test_from_inside_the_loop(colour):
    with FakeServer(TEXT.stall(after=3)) as server:
        interrupter = StreamInterrupter()
        seen = []
        for chunk in colour.each(interrupter.wrap(colour.stream(server))):
            seen.append(chunk.delta)
            if chunk.delta == "one":
                interrupter.interrupt("enough")
        assert seen == ["", "one"]
        assert_told(server.requests[0])
    assert interrupter.content == "one"


def test_chunks_that_came_in_the_same_packet_are_not_given_after_the_interrupt(colour):
    with FakeServer(Reply.text("one two three", per_write=99)) as server:
        interrupter = StreamInterrupter()
        stream = interrupter.wrap(colour.stream(server))
        for chunk in colour.each(stream):
            if chunk.delta == "one":
                interrupter.interrupt()
        assert interrupter.content == stream.result.content == "one"


def test_from_a_callback(colour):
    with FakeServer(TEXT.stall(after=3)) as server:
        interrupter = StreamInterrupter()

        def on_delta(text):
            if text == " two":
                interrupter.interrupt()

        stream = interrupter.wrap(colour.stream(server))
        colour.read(StreamCollector.collect(stream, on_delta=on_delta))
        assert_told(server.requests[0])
    assert stream.result.content == "one two"


def test_after_the_finish_reason_the_answer_is_complete(colour):
    with FakeServer(TEXT.stall(after=6)) as server:
        interrupter = StreamInterrupter()
        reader = Reader(colour, interrupter.wrap(colour.stream(server)))
        reader.wait_for_chunks(6)
        interrupter.interrupt()
        assert reader.wait().error is None
        assert_told(server.requests[0])
    assert interrupter.result.status == "complete"


def test_before_the_start_no_request_is_sent(colour):
    with FakeServer(TEXT) as server:
        interrupter = StreamInterrupter()
        wrapped = interrupter.wrap(colour.stream(server))
        interrupter.interrupt("too late")
        later = interrupter.wrap(colour.stream(server))
        assert colour.read(wrapped) == colour.read(later) == []
        assert server.connections == 0
    assert wrapped.result.status == later.result.status == "interrupted"
    assert wrapped.reason == later.reason == "too late"


def test_before_the_start_a_foreign_stream_is_not_touched(colour):
    interrupter = StreamInterrupter()
    interrupter.interrupt()
    assert colour.read(interrupter.wrap(colour.source([ValueError("touched")]))) == []


def test_after_the_end_does_nothing(colour):
    with FakeServer(TEXT) as server:
        client = colour.client(server)
        interrupter = StreamInterrupter()
        stream = interrupter.wrap(client.chat_stream(MESSAGES))
        colour.read(stream)
        other = client.chat_stream(MESSAGES)  # gets the connection that the first one had
        chunks = colour.each(other)
        next(chunks)
        interrupter.interrupt()
        assert "".join(chunk.delta for chunk in chunks) == "one two three four"
        assert server.connections == 1
    assert stream.result.status == other.result.status == "complete"
    assert stream.reason == ""
    assert colour.read(stream) == []


def test_twice_keeps_the_first_reason(colour):
    with FakeServer(TEXT.stall(after=3)) as server:
        interrupter = StreamInterrupter()
        stream = interrupter.wrap(colour.stream(server))
        reader = Reader(colour, stream)
        reader.wait_for_chunks(SEEN)
        interrupter.interrupt("first")
        interrupter.interrupt("second")
        stream.interrupt("third")
        reader.wait()
    assert (interrupter.reason, stream.reason) == ("first", "first")


@pytest.mark.parametrize("stage", ["before the headers", "in mid-stream"])
def test_raises_if_asked_to(colour, stage):
    reply, chunks = STAGES[stage]
    with FakeServer(reply) as server:
        interrupter = StreamInterrupter(raise_on_interrupt=True)
        reader = Reader(colour, interrupter.wrap(colour.stream(server)))
        server.wait_for_request()
        reader.wait_for_chunks(chunks)
        interrupter.interrupt("the user left")
        error = reader.wait().error
        assert_told(server.requests[0])
    assert isinstance(error, StreamInterrupted)
    assert error.reason == "the user left"
    assert "the user left" in str(error)
    assert error.partial.content == ("one two" if chunks else "")
    assert error.partial.status == "interrupted"


def test_raises_without_a_reason(colour):
    interrupter = StreamInterrupter(raise_on_interrupt=True)
    interrupter.interrupt()
    error, _ = colour.fail(interrupter.wrap(colour.source(["a"])), StreamInterrupted)
    assert (error.reason, error.partial.content) == ("", "")
    assert str(error) == "the stream was interrupted; .partial has what came"


def test_one_button_for_many_streams(colour):
    # Each reader has a loop and a client of its own: the button knows nothing of loops.
    colours = [type(colour)() for _ in range(5)]
    with FakeServer(TEXT.stall(after=3)) as server:
        interrupter = StreamInterrupter()
        streams = [interrupter.wrap(own.stream(server)) for own in colours]
        readers = [Reader(*pair) for pair in zip(colours, streams, strict=True)]
        for reader in readers:
            reader.wait_for_chunks(SEEN)
        interrupter.interrupt("all")
        for reader in readers:
            assert reader.wait().error is None
        for received in server.requests:
            assert_told(received)
    assert {stream.result.status for stream in streams} == {"interrupted"}
    for own in colours:
        own.finish()


def test_a_button_does_not_keep_its_streams_alive(colour):
    interrupter = StreamInterrupter()
    for _ in range(30):
        colour.read(interrupter.wrap(colour.source(["a"])))
        gc.collect()
    assert len(interrupter._stops) <= 8
    assert not any(stop() for stop in interrupter._stops)
    assert interrupter.content == "a"


def test_one_button_for_more_streams_than_it_had_room_for():
    interrupter = StreamInterrupter()
    kept = [interrupter.wrap(["a", "b"]) for _ in range(30)]
    interrupter.interrupt()
    assert [stream.result.status for stream in kept if not list(stream)] == ["interrupted"] * 30


@pytest.mark.parametrize("outer", ["interrupter", "processor", "collector"])
def test_wrapped_in_any_order(colour, outer):
    with FakeServer(TEXT.stall(after=3)) as server:
        interrupter, processor, seen = StreamInterrupter(), StreamProcessor(), []
        wraps = {
            "processor": processor.wrap,
            "collector": lambda stream: StreamCollector.collect(stream, on_delta=seen.append),
            "interrupter": interrupter.wrap,
        }
        stream = colour.stream(server)
        last = wraps.pop(outer)
        for wrap in wraps.values():
            stream = wrap(stream)
        reader = Reader(colour, last(stream))
        reader.wait_for_chunks(SEEN)
        interrupter.interrupt()
        reader.wait()
        assert_told(server.requests[0])
    assert "".join(seen) == processor.content == interrupter.content == "one two"
    assert processor.get_result().status == "interrupted"


def test_a_generator_over_our_own_stream_tells_the_server_at_once(colour):
    def shout(stream):
        for chunk in stream:
            yield chunk.delta.upper()

    async def ashout(stream):
        async for chunk in stream:
            yield chunk.delta.upper()

    with FakeServer(TEXT.stall(after=3)) as server:
        interrupter = StreamInterrupter()
        inner = colour.stream(server)
        reader = Reader(colour, interrupter.wrap((ashout if colour.is_async else shout)(inner)))
        reader.wait_for_chunks(SEEN)
        assert wait_until(inner._turning.locked)  # it waits for the next one
        interrupter.interrupt()
        assert reader.wait().error is None
        assert_told(server.requests[0])
        assert wait_until(lambda: inner.result.status == "interrupted")
    assert interrupter.content == "ONE TWO"


# The ways out of a stream: the connection is released on each, and reused after a whole one


def test_interrupt_of_the_stream_itself(colour):
    with FakeServer(TEXT.stall(after=3)) as server:
        stream = colour.stream(server)
        reader = Reader(colour, stream)
        reader.wait_for_chunks(SEEN)
        stream.interrupt("why")
        assert reader.wait().error is None
        assert_told(server.requests[0])
    assert (stream.result.status, stream.reason) == ("interrupted", "why")


def test_close_from_another_thread_or_task_acts_as_an_interrupt(colour):
    with FakeServer(TEXT.stall(after=3)) as server:
        stream = colour.stream(server)
        if colour.is_async:

            async def main():
                reading = asyncio.create_task(_texts(stream))
                received = await asyncio.to_thread(server.wait_for_request)
                await asyncio.to_thread(wait_until, lambda: stream.result.chunk_count == SEEN)
                await stream.aclose()
                assert await asyncio.wait_for(reading, PATIENCE) == ["", "one", " two"]
                assert await asyncio.to_thread(received.closed.wait, PATIENCE)

            colour.run(main())
        else:
            reader = Reader(colour, stream)
            reader.wait_for_chunks(SEEN)
            stream.close()
            assert reader.wait().error is None
            assert_told(server.requests[0])
    assert stream.result.status == "interrupted"


# Signals


@contextlib.contextmanager
def main_thread_timer(handler, seconds=0.05):
    """Run a handler in the main thread, in the middle of whatever blocks there."""
    previous = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


@pytest.mark.parametrize("stage", STAGES)
def test_from_a_signal_handler_in_the_thread_that_is_blocked(colour, stage):
    reply, chunks = STAGES[stage]
    interrupter = StreamInterrupter()
    previous = signal.signal(signal.SIGALRM, lambda *_: interrupter.interrupt("alarm"))
    try:
        with FakeServer(reply) as server:
            stream = interrupter.wrap(colour.stream(server))

            def ring():
                server.wait_for_request()
                assert wait_until(lambda: stage == "before the headers" or stream.response)
                assert wait_until(lambda: stream.result.chunk_count == chunks)
                signal.pthread_kill(threading.main_thread().ident, signal.SIGALRM)

            ringing = threading.Thread(target=ring, daemon=True)
            ringing.start()
            seen = colour.read(stream)
            ringing.join(PATIENCE)
            assert_told(server.requests[0])
    finally:
        signal.signal(signal.SIGALRM, previous)
    assert len(seen) == chunks
    assert stream.reason == "alarm"


def press_ctrl_c(server, chunks=0, stream=None, times=1, between=None):
    """Send SIGINT to this process as soon as the server is asked, from another thread."""

    def press():
        server.wait_for_request()
        assert wait_until(lambda: chunks == 0 or stream.result.chunk_count == chunks)
        for press in range(times):
            if press:
                between()
            os.kill(os.getpid(), signal.SIGINT)

    pressing = threading.Thread(target=press, daemon=True)
    pressing.start()
    return pressing


@pytest.mark.parametrize("stage", ["before the headers", "in mid-stream"])
def test_the_first_ctrl_c_is_an_interrupt(colour, stage):
    reply, chunks = STAGES[stage]
    previous = signal.getsignal(signal.SIGINT)
    with FakeServer(reply) as server:
        interrupter = StreamInterrupter()
        with interrupter.on_sigint() as given:
            assert given is interrupter
            stream = interrupter.wrap(colour.stream(server))
            pressing = press_ctrl_c(server, chunks, stream)
            assert len(colour.read(stream)) == chunks
        pressing.join(PATIENCE)
        assert_told(server.requests[0])
    assert interrupter.reason == "Ctrl-C"
    assert signal.getsignal(signal.SIGINT) is previous


def test_the_second_ctrl_c_is_a_keyboard_interrupt():
    interrupter = StreamInterrupter()
    previous = signal.getsignal(signal.SIGINT)
    with interrupter.on_sigint():
        os.kill(os.getpid(), signal.SIGINT)
        assert wait_until(lambda: interrupter.interrupted)
        with pytest.raises(KeyboardInterrupt):  # noqa: PT012  a signal comes when it comes
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(PATIENCE)
    assert signal.getsignal(signal.SIGINT) is previous


def test_on_sigint_needs_the_main_thread():
    caught = []

    def elsewhere():
        try:
            with StreamInterrupter().on_sigint():
                pass
        except RuntimeError as error:
            caught.append(str(error))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join(PATIENCE)
    assert "main thread" in caught[0]


@pytest.mark.parametrize("stage", ["before the headers", "in mid-stream"])
def test_a_keyboard_interrupt_goes_through_and_the_partial_survives(stage, colour):
    if colour.is_async:
        pytest.skip("asyncio turns SIGINT into a cancellation: see below")
    reply, chunks = STAGES[stage]
    with FakeServer(reply) as server:
        stream = StreamInterrupter().wrap(colour.stream(server))
        pressing = press_ctrl_c(server, chunks, stream)
        with pytest.raises(KeyboardInterrupt):
            colour.read(stream)
        pressing.join(PATIENCE)
        assert_told(server.requests[0])
    assert stream.result.status == "interrupted"
    assert stream.result.content == ("one two" if chunks else "")


def test_a_keyboard_interrupt_in_asyncio_goes_through_and_the_partial_survives():
    with FakeServer(TEXT.stall(after=3)) as server:
        streams = []

        async def main():
            async with AsyncLLMClient(base_url=server.base_url, model="m") as client:
                streams.append(StreamInterrupter().wrap(client.chat_stream(MESSAGES)))
                press_ctrl_c(server, SEEN, streams[0])
                await _texts(streams[0])

        with pytest.raises(KeyboardInterrupt):
            asyncio.run(main())
        assert_told(server.requests[0])
    assert streams[0].result.status == "interrupted"
    assert streams[0].result.content == "one two"


# Locks: a handler runs in the middle of anything that its thread does


def test_a_signal_handler_and_another_thread_at_once_do_not_deadlock():
    interrupter = StreamInterrupter()
    stream = interrupter.wrap(iter(["a"]))
    stop = stream._stop
    with stop._lock:  # the main thread is entering a wait,
        other = threading.Thread(target=interrupter.interrupt, args=("thread",), daemon=True)
        other.start()  # another one interrupts,
        assert wait_until(lambda: interrupter.interrupted)
        done = threading.Event()

        def handler(*_):
            interrupter.interrupt("signal")  # and the user presses Ctrl-C in the main one
            done.set()

        with main_thread_timer(handler, 0.001):
            assert done.wait(PATIENCE)
    other.join(PATIENCE)
    assert not other.is_alive()
    assert stream.reason == "thread"


# Foreign streams


class Blocking:
    """A source that gives some items and then blocks; knows what was asked of it, and where."""

    def __init__(self, items, colour):
        self.pulled = 0
        self.blocked = threading.Event()
        self.go_on = threading.Event()
        self.closed = threading.Event()
        self.threads = set()
        self._items = items
        self.stream = self._async() if colour.is_async else self._sync()

    def _sync(self):
        try:
            for item in self._items:
                self._note()
                yield item
            self.blocked.set()
            self.go_on.wait(PATIENCE)
            yield "late"
        finally:
            self.threads.add(threading.current_thread())
            self.closed.set()

    async def _async(self):
        try:
            for item in self._items:
                self._note()
                yield item
            self.blocked.set()
            await asyncio.sleep(PATIENCE)
            yield "late"
        finally:
            self.closed.set()

    def _note(self):
        self.pulled += 1
        self.threads.add(threading.current_thread())


def test_frees_the_reader_of_a_blocked_generator(colour):
    source = Blocking(["one ", "two "], colour)
    interrupter = StreamInterrupter()
    stream = interrupter.wrap(source.stream)
    reader = Reader(colour, stream)
    assert source.blocked.wait(PATIENCE)
    interrupter.interrupt()
    assert reader.wait().error is None
    assert reader.text == interrupter.content == "one two "
    assert stream.result.status == "interrupted"
    assert source.closed.is_set() == colour.is_async  # a thread can't be woken: it closes later
    source.go_on.set()
    assert source.closed.wait(PATIENCE)
    if not colour.is_async:
        assert len(source.threads) == 1  # closed where it was read
        assert reader not in source.threads
        assert wait_until(lambda: not any(thread.is_alive() for thread in source.threads))


def test_never_reads_ahead(colour):
    source = Blocking(["a", "b", "c"], colour)
    stream = StreamInterrupter().wrap(source.stream)
    chunks = colour.each(stream)
    assert source.pulled == 0
    for count in (1, 2, 3):
        next(chunks)
        assert source.pulled == count
    colour.close(stream)
    assert source.closed.wait(PATIENCE)


class Items:
    """A class-based iterator of either colour, without close()."""

    def __init__(self, items):
        self._items = iter(items)

    def __iter__(self):
        return self

    def __next__(self):
        return next(self._items)


class AsyncItems:
    def __init__(self, items):
        self._items = iter(items)

    def __aiter__(self):
        return self

    async def __anext__(self):
        for item in self._items:
            return item
        raise StopAsyncIteration


def dicts(*texts):
    return [{"choices": [{"index": 0, "delta": {"content": text}}]} for text in texts]


SSE = b'data: {"choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n'
FOREIGN = {
    "list": lambda: ["one ", "two ", "three"],
    "tuple": lambda: ("one ", "two ", "three"),
    "generator": lambda: (text for text in ("one ", "two ", "three")),
    "class": lambda: Items(["one ", "two ", "three"]),
    "dicts": lambda: iter(dicts("one ", "two ", "three")),
    "sse": lambda: iter([SSE % b"one ", SSE % b"two ", SSE % b"three"]),
    "async class": lambda: AsyncItems(["one ", "two ", "three"]),
    "async dicts": lambda: AsyncItems(dicts("one ", "two ", "three")),
    "async sse": lambda: AsyncItems([SSE % b"one ", SSE % b"two ", SSE % b"three"]),
}


@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize("background", [None, False])
def test_interrupted_from_the_loop_over_any_iterable(kind, background):
    interrupter = StreamInterrupter()
    stream = interrupter.wrap(FOREIGN[kind](), background=background)

    def see(chunk):
        if chunk.delta == "two ":
            interrupter.interrupt()

    if kind.startswith("async"):

        async def main():
            async for chunk in stream:
                see(chunk)

        asyncio.run(main())
    else:
        for chunk in stream:
            see(chunk)
    assert interrupter.content == "one two "
    assert stream.result.status == "interrupted"


def test_background_false_reads_in_the_loops_own_thread():
    threads = []

    def source():
        for text in ("one ", "two "):
            threads.append(threading.current_thread())
            yield text

    interrupter = StreamInterrupter()
    stream = interrupter.wrap(source(), background=False)
    next(stream)
    interrupter.interrupt()
    assert list(stream) == []
    assert threads == [threading.current_thread()]
    assert interrupter.content == "one "


def test_an_error_of_the_source_comes_out_of_the_loop(colour):
    error, chunks = colour.fail(
        StreamInterrupter().wrap(colour.source(["a", ValueError("mine")])), ValueError
    )
    assert str(error) == "mine"
    assert error.partial.content == "a"
    assert len(chunks) == 1


@pytest.mark.parametrize("package", [httpx, httpx2], ids=["httpx", "httpx2"])
@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_a_response_of_the_users(colour, wires, tls, package, secure):
    context = tls.server() if secure else None
    with FakeServer(TEXT.stall(after=3), ssl_context=context) as server:
        http = wires.http(package, verify=tls.client())
        opening = http.stream("POST", server.base_url + "/chat/completions", json={})
        response = colour.run(opening.__aenter__()) if colour.is_async else opening.__enter__()
        interrupter = StreamInterrupter()
        reader = Reader(colour, interrupter.wrap(response))
        reader.wait_for_chunks(SEEN)
        interrupter.interrupt()
        assert reader.wait().error is None
        assert_told(server.requests[0])
        none = (None, None, None)
        colour.run(opening.__aexit__(*none) if colour.is_async else opening.__exit__(*none))
    assert interrupter.content == "one two"
    assert interrupter.result.status == "interrupted"


@pytest.mark.parametrize("chunks", [0, SEEN], ids=["first token", "mid-stream"])
def test_the_openai_sdk(colour, chunks):
    with FakeServer(TEXT.stall(after=chunks)) as server:
        sdk_class = openai.AsyncOpenAI if colour.is_async else openai.OpenAI
        sdk = sdk_class(base_url=server.base_url, api_key="x", max_retries=0)
        source = colour.run(sdk.chat.completions.create(model="m", messages=MESSAGES, stream=True))
        interrupter = StreamInterrupter()
        before = threading.active_count()
        reader = Reader(colour, interrupter.wrap(source))
        server.wait_for_request()
        reader.wait_for_chunks(chunks)
        assert threading.active_count() == before + 1, "no thread is needed: it has a socket"
        interrupter.interrupt()
        assert reader.wait().error is None
        assert_told(server.requests[0])
        colour.run(sdk.close())
    assert interrupter.content == ("one two" if chunks else "")
    assert interrupter.result.status == "interrupted"


def test_a_mock_transport(colour, wires):
    answered = threading.Event()
    go_on = threading.Event()

    class Body(httpx.SyncByteStream, httpx.AsyncByteStream):
        def __iter__(self):
            yield SSE % b"one"
            answered.set()
            go_on.wait(PATIENCE)
            yield SSE % b"late"

        async def __aiter__(self):
            yield SSE % b"one"
            answered.set()
            await asyncio.sleep(PATIENCE)

    transport = httpx.MockTransport(lambda request: httpx.Response(200, stream=Body()))
    client = colour.client("http://mock/v1", http_client=wires.http(transport=transport))
    interrupter = StreamInterrupter()
    reader = Reader(colour, interrupter.wrap(client.chat_stream(MESSAGES)))
    reader.wait_for_chunks(1)
    assert answered.wait(PATIENCE)
    interrupter.interrupt()
    assert reader.wait().error is None
    go_on.set()
    assert interrupter.content == "one"


# A user's HTTP/2 client


@pytest.fixture
def h2(tls):
    with H2Server(tls.certificate) as server:
        yield server


@pytest.mark.parametrize("stage", ["hang", "stall"])
def test_http2_frees_the_reader_and_leaves_the_siblings_alone(h2, colour, wires, tls, stage):
    # The ticker keeps the connection busy: in httpcore's sync HTTP/2, with interrupts or without,
    # a stream whose thread is not the one that reads learns of its last event with the next one.
    client = colour.client(h2.base_url, http_client=wires.http(http2=True, verify=tls.client()))
    interrupter = StreamInterrupter()
    ticker = client.chat_stream(MESSAGES, model="words:1000000")
    stopped = interrupter.wrap(client.chat_stream(MESSAGES, model=stage))
    siblings = [client.chat_stream(MESSAGES, model="words:4") for _ in range(2)]
    if colour.is_async:
        colour.run(_read_beside(h2, ticker, stopped, siblings, interrupter))
    else:
        ticking = Reader(colour, ticker)
        ticking.wait_for_chunks(1)  # makes the connection that the others share
        reader = Reader(colour, stopped)
        readers = [Reader(colour, sibling) for sibling in siblings]
        for _ in range(4):
            assert wait_until(lambda: h2.step() or h2.started.acquire(timeout=0.01))
        interrupter.interrupt()
        assert reader.wait().error is None
        assert wait_until(lambda: h2.step() or not any(each.is_alive() for each in readers))
        ticker.interrupt()
        assert wait_until(lambda: h2.step() or not ticking.is_alive())
        assert all(each.error is None for each in readers)
    assert [sibling.result.content for sibling in siblings] == ["0 1 2 3 "] * 2
    assert {sibling.result.status for sibling in siblings} == {"complete"}
    assert stopped.result.status == "interrupted"
    assert len(h2.connections) == 1


def test_http2_new_requests_are_answered_after_interrupts(h2, colour, wires, tls, request):
    if not colour.is_async:
        request.applymarker(
            pytest.mark.xfail(
                reason="the read that was left behind goes on holding the read lock of httpcore's"
                " sync HTTP/2 connection, and a new request waits until some other frame comes"
            )
        )
    client = colour.client(h2.base_url, http_client=wires.http(http2=True, verify=tls.client()))
    for _ in range(10):
        interrupter = StreamInterrupter()
        reader = Reader(colour, interrupter.wrap(client.chat_stream(MESSAGES, model="stall")))
        assert wait_until(lambda reader=reader: len(reader.chunks) == 2, PATIENCE / 5)
        interrupter.interrupt()
        reader.wait()
    reader = Reader(colour, client.chat_stream(MESSAGES, model="at once:5"))
    reader.join(PATIENCE / 5)
    assert reader.text == "0 1 2 3 4 "


async def _read_beside(h2, ticker, stopped, siblings, interrupter):
    async def stepping(done):
        async with asyncio.timeout(PATIENCE):
            while not done():
                h2.step()
                await asyncio.sleep(0.002)

    ticking = asyncio.create_task(_texts(ticker))
    await stepping(lambda: ticker.result.chunk_count)
    reading = [asyncio.create_task(_texts(stream)) for stream in (stopped, *siblings)]
    for _ in range(4):
        await stepping(lambda: h2.started.acquire(blocking=False))
    interrupter.interrupt()
    await stepping(lambda: all(task.done() for task in reading))
    ticker.interrupt()
    await stepping(ticking.done)
    await asyncio.gather(ticking, *reading)


# Structured concurrency: nobody else's cancellation is swallowed


def cancel_case(body, *, stall=SEEN, told=True):
    """Run an async body that is given a client, a server and an interrupter."""

    async def main():
        async with AsyncLLMClient(base_url=server.base_url, model="m") as client:
            interrupter = StreamInterrupter()
            stream = interrupter.wrap(client.chat_stream(MESSAGES))
            await asyncio.wait_for(body(interrupter, stream), 10)
            assert stream.result.status == "interrupted"
            assert stream.result.content == ("one two" if stall else "")
            if told:
                assert await asyncio.to_thread(server.requests[0].closed.wait, PATIENCE)

    with FakeServer(TEXT.stall(after=stall) if stall else TEXT.hang()) as server:
        body.server = server
        asyncio.run(main())


async def blocked(stream, count=SEEN, server=None):
    """Wait until a stream's reader has had so much and waits for more."""
    if server is not None:
        await asyncio.to_thread(server.wait_for_request)
    async with asyncio.timeout(PATIENCE):
        while stream.result.chunk_count < count:  # noqa: ASYNC110  a stream has no event for it
            await asyncio.sleep(0.001)
    await asyncio.sleep(0)


@pytest.mark.parametrize("stall", [0, SEEN], ids=["headers", "mid-stream"])
@pytest.mark.parametrize("order", ["cancel", "cancel interrupt", "interrupt cancel"])
def test_a_genuine_cancel_is_never_swallowed(stall, order):
    async def body(interrupter, stream):
        counts = []

        async def read():
            try:
                await _texts(stream)
            finally:
                counts.append(asyncio.current_task().cancelling())

        task = asyncio.create_task(read())
        await blocked(stream, stall, body.server)
        for act in order.split():
            {"cancel": task.cancel, "interrupt": interrupter.interrupt}[act]()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()
        assert counts == [1]

    cancel_case(body, stall=stall)


@pytest.mark.parametrize("later", [0, 1, 2, 3, 5])
def test_a_cancel_some_ticks_after_the_interrupt_is_never_swallowed(later):
    # It may break into httpcore's cleanup, which then leaves the connection to the garbage
    # collector: so here nothing is asked of the server.
    async def body(interrupter, stream):
        async def read():
            await _texts(stream)
            await asyncio.sleep(PATIENCE)

        task = asyncio.create_task(read())
        await blocked(stream)
        interrupter.interrupt()
        for _ in range(later):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    cancel_case(body, told=False)


def test_an_interrupt_leaves_the_tasks_cancel_count_as_it_was():
    async def body(interrupter, stream):
        async def read():
            await _texts(stream)
            assert asyncio.current_task().cancelling() == 0
            await asyncio.sleep(0)
            return "went on"

        task = asyncio.create_task(read())
        await blocked(stream)
        interrupter.interrupt()
        assert await task == "went on"

    cancel_case(body)


def test_an_interrupt_in_the_cleanup_of_a_cancelled_task():
    async def body(interrupter, stream):
        async def read():
            try:
                await asyncio.sleep(PATIENCE)
            finally:  # the task is being cancelled: its count is 1 all the way
                await _texts(stream)
                assert asyncio.current_task().cancelling() == 1

        task = asyncio.create_task(read())
        await asyncio.sleep(0)
        task.cancel()
        await blocked(stream)
        interrupter.interrupt()
        with pytest.raises(asyncio.CancelledError):
            await task

    cancel_case(body)


@pytest.mark.parametrize("both", [False, True], ids=["alone", "with an interrupt"])
def test_a_timeout_around_the_loop_still_raises(both):
    async def body(interrupter, stream):
        async def read():
            with pytest.raises(TimeoutError):  # noqa: PT012
                async with asyncio.timeout(PATIENCE) as scope:
                    scopes.append(scope)
                    await _texts(stream)
            assert asyncio.current_task().cancelling() == 0

        scopes = []
        task = asyncio.create_task(read())
        await blocked(stream)
        scopes[0].reschedule(0)  # fires in the loop's next turn, as the interrupt does
        if both:
            interrupter.interrupt()
        await task

    cancel_case(body)


@pytest.mark.parametrize("order", ["alone", "before", "after"])
def test_a_siblings_failure_in_a_task_group_cancels_the_reader(order):
    async def body(interrupter, stream):
        async def fail():
            await blocked(stream)
            if order == "before":
                interrupter.interrupt()
            elif order == "after":
                asyncio.get_running_loop().call_soon(interrupter.interrupt)
            raise ValueError("the sibling")

        async def read():
            try:
                await _texts(stream)
                await asyncio.sleep(0)  # where the cancellation arrives if the loop ended first
            except asyncio.CancelledError:
                ends.append("cancelled")
                raise

        ends = []
        with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012
            async with asyncio.TaskGroup() as group:
                group.create_task(read())
                group.create_task(fail())
        assert [str(error) for error in caught.value.exceptions] == ["the sibling"]
        assert ends == ["cancelled"]

    cancel_case(body)


def test_an_interrupt_does_not_cancel_the_task_group_around_it():
    async def body(interrupter, stream):
        async def sibling():
            await blocked(stream)
            interrupter.interrupt()
            await asyncio.wait_for(reading, PATIENCE)
            return "unharmed"

        async with asyncio.TaskGroup() as group:
            reading = group.create_task(_texts(stream))
            other = group.create_task(sibling())
        assert reading.result() == ["", "one", " two"]
        assert other.result() == "unharmed"

    cancel_case(body)


def test_an_item_and_an_interrupt_in_the_same_turn():
    # Whichever wins, the loop ends, no cancellation is left over, and no text is lost or doubled.
    async def main():
        for turn in range(100):
            arrivals = asyncio.Queue()

            async def items(arrivals=arrivals):
                while True:
                    yield await arrivals.get()

            interrupter = StreamInterrupter()
            stream = interrupter.wrap(items())
            reading = asyncio.create_task(_texts(stream))
            arrivals.put_nowait("a")
            async with asyncio.timeout(PATIENCE):
                while stream.result.chunk_count < 1:  # noqa: ASYNC110
                    await asyncio.sleep(0)
            acts = [lambda arrivals=arrivals: arrivals.put_nowait("b"), interrupter.interrupt]
            for act in acts if turn % 2 else reversed(acts):
                act()
            texts = await asyncio.wait_for(reading, PATIENCE)
            assert "".join(texts) == interrupter.content == "a"

    asyncio.run(main())


# Many interrupts leave nothing behind


def open_files():
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


def flood_of_interrupts(colour, wires, tls, count, kind):
    """Interrupt streams at random stages; gives what is left in the process afterwards."""
    stages = [reply for reply, _ in STAGES.values()]
    rng = random.Random(7)
    plan = [TEXT, *(rng.choice([*stages, TEXT]) for _ in range(count)), TEXT]
    server, client = wires.open(kind, *plan)
    colour.read(client.chat_stream(MESSAGES, model="warm"))
    # From here on there is one idle connection in the pool, and so it shall be afterwards.
    threads, files = threading.active_count(), open_files()

    def one(number):
        interrupter = StreamInterrupter()
        stream = interrupter.wrap(client.chat_stream(MESSAGES))
        reader = Reader(colour, stream)
        server.wait_for_request(number)
        if rng.random() < 0.5:
            wait_until(lambda: stream.result.chunk_count or not reader.is_alive(), 0.01)
        interrupter.interrupt()
        assert reader.wait().error is None
        assert stream.result.status in ("interrupted", "complete")

    for number in range(2, count + 2):
        one(number)
    whole = client.chat_stream(MESSAGES)
    colour.read(whole)
    assert whole.result.content == "one two three four"
    assert wait_until(lambda: colour.breathe() and server.open_connections <= 1)
    if colour.is_async:
        assert not asyncio.all_tasks(colour.runner.get_loop())
    assert wait_until(lambda: threading.active_count() <= threads), threading.enumerate()
    assert wait_until(lambda: open_files() <= files)


@pytest.mark.parametrize("kind", ["plain", "tls"])
def test_a_hundred_interrupts_leave_nothing_behind(colour, wires, tls, kind):
    flood_of_interrupts(colour, wires, tls, 100, kind)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", ["plain", "tls", "forward", "tunnel"])
def test_a_thousand_interrupts_leave_nothing_behind(colour, wires, tls, kind):
    flood_of_interrupts(colour, wires, tls, 1000, kind)


def soak(server, http, seconds, interrupting):
    """Read whole streams beside others that are interrupted late; gives counts and failures."""
    counts = {"whole": 0, "interrupts": 0}
    failures = []
    until = time.monotonic() + seconds
    lock = threading.Lock()

    def innocent():
        client = LLMClient(base_url=server.base_url, model="m", http_client=http)
        while time.monotonic() < until:
            try:
                text = StreamCollector.to_string(client.chat_stream(MESSAGES))
                assert text == "one two three four"
            except Exception as error:  # noqa: BLE001  each is counted
                failures.append(error)
            with lock:
                counts["whole"] += 1

    def guilty(seed):
        client = LLMClient(base_url=server.base_url, model="m", http_client=http)
        rng = random.Random(seed)
        usual = 0.005
        while time.monotonic() < until:
            interrupter = StreamInterrupter()
            stream = interrupter.wrap(client.chat_stream(MESSAGES))
            began = time.monotonic()
            delay = usual * rng.uniform(0.7, 1.3)

            def press(interrupter=interrupter, due=began + delay):
                while time.monotonic() < due:
                    time.sleep(0)
                interrupter.interrupt()

            presser = threading.Thread(target=press) if interrupting else None
            if presser:
                presser.start()
            try:
                for _ in stream:
                    pass
            except LLMKitError as error:
                failures.append(error)
            if stream.result.status == "complete":
                usual += 0.2 * (time.monotonic() - began - usual)
            if presser:
                presser.join()
            with lock:
                counts["interrupts"] += stream.result.status == "interrupted"

    threads = [threading.Thread(target=innocent) for _ in range(4)]
    threads += [threading.Thread(target=guilty, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds + 30)
    return counts, failures


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("package", [httpx, httpx2], ids=["httpx", "httpx2"])
def test_innocent_bystanders(package, record_property):
    # httpcore itself may lose a request under contention: so the same is run without interrupts.
    switch = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        lost = {}
        for interrupting in (False, True):
            limits = package.Limits(max_connections=3)
            with (
                FakeServer(TEXT) as server,
                package.Client(limits=limits, timeout=30, trust_env=False) as http,
            ):
                counts, failures = soak(server, http, 10, interrupting)
            lost[interrupting] = failures
            record_property(f"interrupting={interrupting}", f"{counts}, lost {failures}")
            print(f"{package.__name__} interrupting={interrupting}: {counts}, lost {failures}")  # noqa: T201
            assert counts["whole"] > 100
        # httpcore 1.0.9 loses a few of thousands by itself under such contention, with and
        # without interrupts; httpcore2 none: there an interrupt must not cost a single one.
        assert len(lost[True]) <= (10 if package is httpx else len(lost[False]))
    finally:
        sys.setswitchinterval(switch)
