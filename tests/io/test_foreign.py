"""Foreign iterables: read lazily, closed where they were left, woken by what they have."""

import asyncio
import socket
import threading

import httpx
import pytest
from loopback import PATIENCE, wait_until

from llm_kit._core.session import END
from llm_kit._io.foreign import AsyncIterableSource, IterableSource
from llm_kit._io.stop import Stopped, StopSignal, run
from llm_kit.errors import StreamTruncatedError
from llm_kit.testing import FakeServer, Reply


class Source:
    """An iterable of either colour that knows whether it was closed, and in which thread."""

    def __init__(self, items, response=None):
        self.items = iter(items)
        self.response = response
        self.closed_in = None
        self.read_in = []

    def __iter__(self):
        return self

    def __next__(self):
        self.read_in.append(threading.current_thread())
        item = next(self.items)
        if isinstance(item, Exception):
            raise item
        return item

    def close(self):
        self.closed_in = threading.current_thread()


class AsyncSource(Source):
    __iter__ = None

    def __aiter__(self):
        return self

    async def __anext__(self):
        try:
            return Source.__next__(self)
        except StopIteration:
            raise StopAsyncIteration from None

    async def aclose(self):
        Source.close(self)


class AsyncSourceOfAnSDK(AsyncSource):
    """Its close() is awaitable, as in the openai SDK."""

    aclose = None
    close = AsyncSource.aclose


class AsyncSourceWithAPlainClose(AsyncSource):
    aclose = None


class AsyncSourceWithoutClose(AsyncSource):
    aclose = close = None


def made(colour, items, kind=None):
    if colour.is_async:
        source = (kind or AsyncSource)(items)
        return source, AsyncIterableSource(source)
    source = Source(items)
    return source, IterableSource(StopSignal(), source)


def test_gives_items_and_then_the_end(colour):
    source, reading = made(colour, ["a", "b"])
    assert [colour.run(reading.read()) for _ in range(3)] == ["a", "b", END]
    colour.run(reading.drain())
    colour.close(reading)
    assert source.closed_in is None  # it is exhausted: what there is to close it has closed


def test_closes_what_it_leaves_early(colour):
    source, reading = made(colour, ["a", "b"])
    colour.run(reading.read())
    colour.close(reading)
    assert source.closed_in is threading.current_thread()


def test_closes_what_it_has_not_begun(colour):
    source, reading = made(colour, ["a"])
    colour.close(reading)
    assert source.closed_in is threading.current_thread()
    assert source.read_in == []


@pytest.mark.parametrize(
    "kind", [AsyncSourceOfAnSDK, AsyncSourceWithAPlainClose, AsyncSourceWithoutClose]
)
def test_ways_to_close_an_async_iterable(kind):
    class Colour:
        is_async = True

    source, reading = made(Colour, ["a"], kind)
    asyncio.run(reading.aclose())
    assert (source.closed_in is None) == (kind is AsyncSourceWithoutClose)


def test_an_error_ends_it(colour):
    source, reading = made(colour, [ValueError("mine")])
    with pytest.raises(ValueError, match="mine"):
        colour.run(reading.read())
    colour.close(reading)
    assert source.closed_in is threading.current_thread()  # it may hold more than it reads from


class MadeOf:
    """An iterable whose iterator is another object, as a generator method makes it."""

    def __init__(self, iterator):
        self.iterator = iterator

    def __iter__(self):
        return self.iterator

    __aiter__ = __iter__


def test_the_iterator_is_closed_too(colour):
    ended = []

    def generate():
        try:
            yield 1
            yield 2
        finally:
            ended.append(1)

    async def agenerate():
        try:
            yield 1
            yield 2
        finally:
            ended.append(1)

    if colour.is_async:
        reading = AsyncIterableSource(MadeOf(agenerate()))
    else:
        reading = IterableSource(StopSignal(), MadeOf(generate()))
    assert colour.run(reading.read()) == 1
    colour.close(reading)
    assert ended == [1]


def test_an_error_of_the_network_is_translated(colour):
    lost = type("TransportError", (Exception,), {})
    _, reading = made(colour, [lost("gone")])
    with pytest.raises(StreamTruncatedError, match="gone"):
        colour.run(reading.read())


def test_what_has_no_close_is_left_alone(colour):
    items = ["a", "b"]
    stop = StopSignal()
    reading = IterableSource(stop, items)
    reading.read_in_background()
    assert reading.read() == "a"
    assert reading._background is None  # a list never blocks
    reading.close()


def test_an_async_source_needs_no_background(colour):
    source, reading = made(colour, ["a"])
    reading.read_in_background()
    reading.read_in_background()
    assert colour.run(reading.read()) == "a"
    colour.close(reading)
    assert (source.read_in[0] is threading.current_thread()) == colour.is_async
    assert source.closed_in is source.read_in[0]


def test_is_read_in_the_background_only_if_asked():
    source = Source(["a", "b", "c"])
    reading = IterableSource(StopSignal(), source)
    reading.read()
    reading.read_in_background()  # in mid-stream too
    reading.read()
    reading.read()
    assert source.read_in[0] is threading.current_thread()
    assert source.read_in[1] is source.read_in[2] is not source.read_in[0]
    reading.close()
    assert source.closed_in is source.read_in[1]
    assert not source.closed_in.is_alive()


@pytest.mark.parametrize("name", ["response", "_response", "http_response"])
def test_a_response_behind_the_iterable_makes_a_thread_needless(name):
    ours, theirs = socket.socketpair()
    with ours, theirs:

        class Stream:
            def get_extra_info(self, kind):
                return ours

            def read(self, size, timeout=None):
                return ours.recv(size)

            def write(self, data, timeout=None):
                raise NotImplementedError

        class Response:
            extensions = {"http_version": b"HTTP/1.1", "network_stream": Stream()}  # noqa: RUF012

        response = Response()
        source = Source([])
        source.items = iter(lambda: response.extensions["network_stream"].read(1), b"")
        del source.response
        setattr(source, name, response)
        stop = StopSignal()
        reading = IterableSource(stop, source)
        reading.read_in_background()
        theirs.sendall(b"x")
        assert run(stop, reading.read) == b"x"
        assert source.read_in == [threading.current_thread()]
        reading.close()


def press_when_waiting(stop):
    assert wait_until(lambda: stop.waits._wakes)
    stop.fire()


def test_a_generator_left_behind_in_the_read_of_a_connection_is_hung_up():
    def ask(url):
        with httpx.stream("POST", url, json={}) as response:
            yield from response.iter_lines()

    stop = StopSignal()
    with FakeServer(Reply.text("one two").stall(after=1)) as server:
        reading = IterableSource(stop, ask(server.base_url))
        reading.read_in_background()
        assert reading.read().startswith("data: ")
        assert reading.read() == ""
        threading.Thread(target=press_when_waiting, args=(stop,), daemon=True).start()
        with pytest.raises(Stopped):
            run(stop, reading.read)
        reading.close()
        assert server.requests[0].closed.wait(PATIENCE)


class AsLiteLLM:
    """It can be read in both ways, and closed in one; what it reads can be closed."""

    def __init__(self, source):
        self.completion_stream = source

    def __iter__(self):
        return iter(self.completion_stream)

    def __aiter__(self):
        return aiter(self.completion_stream)


def test_what_is_behind_is_closed_where_the_stream_has_no_way(colour):
    source = AsyncSource("ab") if colour.is_async else Source("ab")
    both = AsLiteLLM(source)
    reading = AsyncIterableSource(both) if colour.is_async else IterableSource(StopSignal(), both)
    colour.close(reading)
    assert source.closed_in is threading.current_thread()


def test_the_end_of_a_generator_left_behind_is_its_own_threads_affair():
    blocked, go_on, closed = (threading.Event() for _ in range(3))

    def generate():
        try:
            yield "a"
            blocked.set()
            go_on.wait(PATIENCE)
            yield "b"
        finally:
            closed.set()

    stop = StopSignal()
    reading = IterableSource(stop, generate())
    reading.read_in_background()
    assert reading.read() == "a"

    def press():
        blocked.wait(PATIENCE)
        stop.fire()

    presser = threading.Thread(target=press)
    presser.start()
    with pytest.raises(Stopped):
        run(stop, reading.read)
    presser.join()
    reading.close()
    assert not closed.is_set()
    go_on.set()
    assert closed.wait(PATIENCE)
