"""Responses of requests, urllib3 and aiohttp are read as those of httpx are."""

import asyncio
import gzip
import threading
import zlib

import attrs
import pytest
from loopback import PATIENCE, Reader, wait_until

from llm_kit import (
    APIStatusError,
    StreamInterrupter,
    StreamProtocolError,
    StreamTimeoutError,
    StreamTruncatedError,
    normalize,
)
from llm_kit._io.responses import as_response
from llm_kit.testing import FakeServer, Reply

TEXT = Reply.text("one two three")
SEEN = 3  # the role and two words


class Requests:
    """A session of requests."""

    def __init__(self, colour):
        self._library = pytest.importorskip("requests")
        self._session = self._library.Session()

    def post(self, url, tls=None, timeout=None):
        if tls is not None:
            adapter = self._library.adapters.HTTPAdapter()
            adapter.init_poolmanager(1, 1, ssl_context=tls.client())
            self._session.mount("https://", adapter)
        return self._session.post(url + "/chat", json={}, stream=True, timeout=timeout)

    def close(self):
        self._session.close()


class Aiohttp:
    """A session of aiohttp."""

    def __init__(self, colour):
        self._library = pytest.importorskip("aiohttp")
        self._colour = colour
        self._session = None

    def post(self, url, tls=None, timeout=None):
        limits = self._library.ClientTimeout(sock_read=timeout)
        return self._colour.run(self._post(url, limits, tls.client() if tls else True))

    async def _post(self, url, limits, context):
        if self._session is None:
            self._session = self._library.ClientSession(timeout=limits)
        return await self._session.post(url + "/chat", json={}, ssl=context)

    def close(self):
        if self._session is not None:
            self._colour.run(self._session.close())


@pytest.fixture
def session(colour):
    """A session of the library that speaks in the test's colour."""
    made = (Aiohttp if colour.is_async else Requests)(colour)
    yield made
    made.close()


@pytest.mark.parametrize("framing", ["chunked", "close", "length"])
def test_a_response_is_read_as_it_comes(colour, session, framing):
    with FakeServer(attrs.evolve(TEXT, framing=framing)) as server:
        stream = normalize(session.post(server.base_url))
        chunks = colour.read(stream)
        assert "".join(chunk.delta for chunk in chunks) == "one two three"
        assert stream.result.status == "complete"
        assert stream.response.status_code == 200
        assert stream.response.headers["content-type"] == "text/event-stream"


def test_the_connection_serves_again_after_a_whole_answer(colour, session):
    with FakeServer(TEXT) as server:
        for _ in range(3):
            colour.read(normalize(session.post(server.base_url)))
        assert server.connections == 1


@pytest.mark.parametrize("framing", ["chunked", "close", "length"])
@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_an_interrupt_wakes_the_read(colour, session, tls, framing, secure):
    silent = attrs.evolve(TEXT.stall(after=SEEN), framing=framing)
    context = tls.server() if secure else None
    with FakeServer(silent, TEXT, ssl_context=context) as server:
        interrupter = StreamInterrupter()
        stream = interrupter.wrap(session.post(server.base_url, tls if secure else None))
        reader = Reader(colour, stream)
        reader.wait_for_chunks(SEEN)
        interrupter.interrupt()
        assert reader.wait().error is None
        assert server.requests[0].closed.wait(PATIENCE)
        assert stream.result.status == "interrupted"
        assert stream.result.content == "one two"
        again = normalize(session.post(server.base_url, tls if secure else None))
        assert "".join(chunk.delta for chunk in colour.read(again)) == "one two three"


def test_leaving_early_closes_the_connection(colour, session):
    with FakeServer(TEXT.stall(after=SEEN), TEXT) as server:
        stream = normalize(session.post(server.base_url))
        next(colour.each(stream))
        colour.close(stream)
        assert server.requests[0].closed.wait(PATIENCE)
        colour.read(normalize(session.post(server.base_url)))
        assert server.connections == 2


def test_a_status_that_is_an_error(colour, session):
    with FakeServer(Reply.error(429, "slow down", headers={"retry-after": "2"})) as server:
        error, _ = colour.fail(normalize(session.post(server.base_url)), APIStatusError)
    assert (error.status_code, error.retry_after) == (429, 2.0)
    assert "slow down" in str(error)
    assert "slow down" in error.body


@pytest.mark.parametrize("framing", ["chunked", "length"])
@pytest.mark.parametrize("end", ["cut", "reset"])
def test_a_lost_connection(colour, session, framing, end):
    # Paced, because aiohttp drops what came with the end.
    paced = Reply.text("one two three", pace=0.01)
    reply = attrs.evolve(getattr(paced, end)(at=700), framing=framing)
    with FakeServer(reply) as server:
        stream = normalize(session.post(server.base_url))
        error, chunks = colour.fail(stream, StreamTruncatedError)
    assert "the connection was lost in the middle of the answer" in str(error)
    assert error.partial.content == "".join(chunk.delta for chunk in chunks)
    assert error.partial.content.startswith("one")


def test_a_timeout_of_the_sessions_own(colour, session):
    with FakeServer(TEXT.stall(after=SEEN)) as server:
        stream = normalize(session.post(server.base_url, timeout=0.05))
        error, _ = colour.fail(stream, StreamTimeoutError)
    assert error.kind == "idle"
    assert error.partial.content == "one two"


PACKED = {"gzip": gzip.compress, "deflate": zlib.compress}


@pytest.mark.parametrize("encoding", PACKED)
def test_a_compressed_body_is_read_as_it_comes(colour, session, encoding):
    body = PACKED[encoding](b"".join(TEXT.steps_for({})))
    reply = Reply.raw(body, sizes=[20, 30]).with_headers({"content-encoding": encoding})
    with FakeServer(reply) as server:
        chunks = colour.read(normalize(session.post(server.base_url)))
    assert "".join(chunk.delta for chunk in chunks) == "one two three"


def test_a_body_that_is_not_encoded_as_it_says(colour, session):
    reply = Reply.raw(b"no gzip at all").with_headers({"content-encoding": "gzip"})
    with FakeServer(reply) as server:
        stream = normalize(session.post(server.base_url))
        error, _ = colour.fail(stream, StreamProtocolError)
    assert "not encoded as its content-encoding says" in str(error)


@pytest.mark.parametrize("framing", ["chunked", "close", "length"])
def test_a_response_of_urllib3(framing):
    urllib3 = pytest.importorskip("urllib3")
    silent = attrs.evolve(TEXT.stall(after=SEEN), framing=framing)
    with FakeServer(silent, TEXT) as server, urllib3.PoolManager(1, block=True) as pool:
        stream = normalize(_ask(pool, server))
        for chunk in stream:
            if chunk.delta == " two":
                threading.Thread(target=_press_when_waiting, args=(stream,)).start()
        assert stream.result.status == "interrupted"
        assert server.requests[0].closed.wait(PATIENCE)
        for _ in range(2):
            assert [chunk.delta for chunk in normalize(_ask(pool, server))][1:4] == [
                "one",
                " two",
                " three",
            ]
        assert server.connections == 2


def _press_when_waiting(stream):
    assert wait_until(lambda: stream._stop.waits._wakes)
    stream.interrupt()


def _ask(pool, server):
    return pool.request("POST", server.base_url + "/chat", preload_content=False)


def test_a_response_of_requests_that_was_loaded_or_read_before():
    requests = pytest.importorskip("requests")
    with FakeServer(TEXT) as server:
        loaded = requests.post(server.base_url, json={})
        assert "".join(chunk.delta for chunk in normalize(loaded)) == "one two three"
        consumed = requests.post(server.base_url, json={}, stream=True)
        list(consumed.iter_content(1000))
        with pytest.raises(StreamProtocolError, match="hand it over unread"):
            list(normalize(consumed))


# What these libraries' responses look like, for where they are not installed


class Raw:
    status, headers = 200, {"a": "b"}

    def __init__(self, *pieces):
        self.calls = []
        self._pieces = [*pieces, b""]

    def read1(self, amount, decode_content=None):
        assert decode_content
        return self._pieces.pop(0)

    def close(self):
        self.calls.append("close")

    def release_conn(self):
        self.calls.append("release_conn")


class Loaded:
    _content_consumed = True

    def __init__(self, raw):
        self.raw = raw

    def iter_content(self, size):
        return iter([b"loaded"])


def test_the_shape_of_urllib3_and_requests():
    raw = Raw(b"x", b"y")
    response = as_response(raw)
    assert (response.status_code, response.headers) == (200, {"a": "b"})
    assert list(response.iter_bytes()) == [b"x", b"y"]
    response.close()
    assert raw.calls == ["close", "release_conn"]
    assert list(as_response(Loaded(Raw())).iter_bytes()) == [b"loaded"]


class Content:
    async def iter_any(self):
        yield b"x"


class Response:
    status, headers, content, closed = 200, {"a": "b"}, Content(), False

    def close(self):
        self.closed = True


def test_the_shape_of_aiohttp():
    theirs = Response()
    response = as_response(theirs)
    assert (response.status_code, response.headers) == (200, {"a": "b"})

    async def read():
        pieces = [piece async for piece in response.aiter_bytes()]
        await response.aclose()
        return pieces

    assert asyncio.run(read()) == [b"x"]
    assert theirs.closed


def test_what_is_no_response():
    for thing in (None, [], {}, "text", iter([]), object()):
        assert as_response(thing) is None
