"""Servers that send for ever, or far too much: typed errors, in bounded time and memory."""

import gc
import threading
import time
import tracemalloc
import zlib

import pytest
from loopback import PATIENCE, Loopback, read_head

from llm_kit import (
    APIConnectionError,
    Deadlines,
    Limits,
    LLMKitError,
    RetryPolicy,
    StreamProtocolError,
    StreamTimeoutError,
)
from llm_kit.policies import MIB
from llm_kit.testing import FakeServer, Reply

MESSAGES = [{"role": "user", "content": "Hello"}]
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
CHUNKED = HEAD[:-2] + b"transfer-encoding: chunked\r\n\r\n"
WORD = b'data: {"choices":[{"index":0,"delta":{"content":"word "}}]}\n\n'
HELLO = WORD.replace(b"word ", b"Hello")
SHORTLY = Deadlines(connect=None, first_chunk=None, idle=None, total=0.15)
SOON = RetryPolicy(pause=0.001)
HUNG = 20.0


class Endless(Loopback):
    """
    Answers with a beginning, and then with the same piece until the peer has had enough.

    Args:
        pace: seconds between two of them; 0 sends as fast as the peer reads.
    """

    def __init__(self, beginning, piece, pace=0.0):
        self._beginning, self._piece, self._pace = beginning, piece, pace
        self.requests = 0
        self.closed = threading.Event()
        super().__init__()

    def serve(self, peer):
        try:
            read_head(peer)
            self.requests += 1
            peer.sendall(self._beginning)
            while True:
                peer.sendall(self._piece)
                if self._pace:
                    time.sleep(self._pace)
        finally:
            self.closed.set()


def fail(colour, server, kind=LLMKitError, **options):
    """Read an answer that must fail in a bounded time; gives the error."""
    base_url = server if isinstance(server, FakeServer) else server.base_url
    client = colour.client(base_url, **options)
    began = time.monotonic()
    error, _ = colour.fail(client.chat_stream(MESSAGES), kind)
    assert time.monotonic() - began < HUNG
    assert type(error) is kind
    return error


# A body without end, each limit

MUCH = b"x" * 65536
ENDLESS = {
    "words": (HEAD, WORD * 1000, Limits(response=300_000), "Limits(response="),
    "comments": (HEAD + HELLO, b": ping\n\n" * 8000, Limits(response=3 * MIB), "Limits(response="),
    "a comment": (HEAD + HELLO + b": ", MUCH, Limits(event=MIB), "Limits("),
    "blank lines": (HEAD + HELLO, b"\n" * 65536, Limits(response=3 * MIB), "Limits(response="),
    "blank lines from the start": (HEAD, b"\n" * 65536, Limits(response=MIB), "Limits(response="),
    "one line of an event": (HEAD + HELLO + b"data: ", MUCH, Limits(event=MIB), "Limits(event="),
    "an event's lines": (HEAD + HELLO, b"data: x\n" * 8000, Limits(event=MIB), "Limits(event="),
    "a field's name": (HEAD + HELLO, MUCH, Limits(event=MIB), "Limits("),
    "a JSON body": (HEAD + b'{"choices": "', MUCH, Limits(response=MIB), "Limits(response="),
    "[DONE] and more": (HEAD + HELLO, b"data: 1\n\n" * 8000, Limits(), ""),
}


@pytest.mark.parametrize(("beginning", "piece", "limits", "advice"), ENDLESS.values(), ids=ENDLESS)
def test_a_body_without_end(colour, beginning, piece, limits, advice):
    with Endless(beginning, piece) as server:
        error = fail(colour, server, StreamProtocolError, limits=limits, retry=SOON)
        assert advice in str(error)
        assert error.partial.content.startswith("Hello" if HELLO in beginning else "")
        assert server.closed.wait(PATIENCE), "the server is being listened to still"
        assert server.requests == 1


def test_an_http_chunk_without_end(colour):
    with Endless(CHUNKED + b"fffffffffff\r\n" + HELLO, WORD * 1000) as server:
        error = fail(colour, server, StreamProtocolError, limits=Limits(response=300_000))
        assert "Limits(response=" in str(error)
        assert server.closed.wait(PATIENCE)


def test_the_size_of_an_http_chunk_without_end(colour):
    with Endless(CHUNKED, b"0" * 4096) as server:
        limits = Limits(response=2 * MIB)
        client = colour.client(server.base_url, limits=limits, deadlines=SHORTLY)
        began = time.monotonic()
        colour.fail(client.chat_stream(MESSAGES), LLMKitError)
        assert time.monotonic() - began < HUNG
        assert server.closed.wait(PATIENCE)


@pytest.mark.parametrize("status", [400, 500])
def test_the_body_of_an_error_without_end(colour, status):
    head = HEAD.replace(b"200 OK", b"%d No" % status)
    with Endless(head, MUCH) as server:
        client = colour.client(server.base_url)
        began = time.monotonic()
        error, _ = colour.fail(client.chat_stream(MESSAGES), LLMKitError)
        assert time.monotonic() - began < HUNG
        assert error.status_code == status
        assert len(error.body) < 10_000
        assert len(str(error)) < 1_000
        assert server.closed.wait(PATIENCE)


def test_a_flood_behind_the_end_marker(colour):
    finish = (
        b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    )
    with Endless(HEAD + HELLO + finish, WORD * 1000) as server:
        stream = colour.client(server.base_url).chat_stream(MESSAGES)
        began = time.monotonic()
        colour.read(stream)
        assert time.monotonic() - began < HUNG
        assert (stream.result.status, stream.result.content) == ("complete", "Hello")
        assert server.closed.wait(PATIENCE)


# A head without end


@pytest.mark.parametrize(
    ("beginning", "piece"),
    [
        (b"HTTP/1.1 200 ", b"O" * 4096),
        (HEAD[:-2] + b"x-long: ", b"y" * 4096),
        (HEAD[:-2], b"x-many: y\r\n" * 400),
        (b"", b"\r\n" * 2048),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
    ],
    ids=["status line", "one header", "many headers", "blank lines", "100 Continue"],
)
def test_a_head_without_end(colour, beginning, piece):
    with Endless(beginning, piece) as server:
        client = colour.client(server.base_url, deadlines=SHORTLY)
        began = time.monotonic()
        error, _ = colour.fail(client.chat_stream(MESSAGES), LLMKitError)
        assert time.monotonic() - began < HUNG
        assert type(error) in (APIConnectionError, StreamTimeoutError)
        assert server.closed.wait(PATIENCE)


# A byte a moment: what a server that sends one a second is to a deadline of half a minute

SLOW = {
    "a status line": b"",
    "headers": HEAD[:-2],
    "an event": HEAD + HELLO,
    "a chunk's size": CHUNKED,
}


@pytest.mark.parametrize("beginning", SLOW.values(), ids=SLOW)
def test_a_byte_a_moment(colour, beginning):
    with Endless(beginning, b"d", pace=0.02) as server:
        error = fail(colour, server, StreamTimeoutError, deadlines=SHORTLY)
        assert error.kind == "total"
        assert error.partial.content == ("Hello" if HELLO in beginning else "")
        assert server.closed.wait(PATIENCE)


# Little that inflates to much


def bomb(megabytes, beginning=b"", block=b"x" * MIB):
    packing = zlib.compressobj(9, wbits=31)
    parts = [packing.compress(each) for each in (beginning, *(block for _ in range(megabytes)))]
    return b"".join(parts) + packing.flush()


@pytest.fixture(scope="module")
def words_bomb():
    """A body of words that inflates to 400 MB."""
    packed = bomb(400, block=WORD * (MIB // len(WORD)))
    assert len(packed) < 4 * MIB
    return packed


def test_a_bomb(colour, words_bomb):
    packed = words_bomb
    headers = {"content-type": "text/event-stream", "content-encoding": "gzip"}
    # At once, so that nothing but the limit keeps it from being read whole.
    with FakeServer(Reply((packed,), headers=headers, framing="length")) as server:
        gc.collect()
        tracemalloc.start()
        try:
            error = fail(colour, server, StreamProtocolError, limits=Limits(response=2 * MIB))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert "Limits(response=" in str(error)
        assert peak < 150 * MIB, f"{peak / MIB:.0f} MB at most"


@pytest.mark.slow
def test_a_bomb_in_one_byte_pattern(colour):
    """The best that deflate can do: a thousand times, in one event that never ends."""
    packed = bomb(400, b"data: ")
    headers = {"content-type": "text/event-stream", "content-encoding": "gzip"}
    with FakeServer(Reply((packed,), headers=headers, framing="length")) as server:
        gc.collect()
        tracemalloc.start()
        try:
            error = fail(colour, server, StreamProtocolError, limits=Limits(event=MIB))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert "Limits(" in str(error)
        assert peak < 200 * MIB, f"{peak / MIB:.0f} MB at most"


@pytest.fixture(scope="module")
def error_bomb():
    return bomb(400, b'{"error": {"message": "')


def test_a_bomb_as_the_body_of_an_error(colour, error_bomb):
    packed = error_bomb
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    with FakeServer(Reply((packed,), 500, headers, "length")) as server:
        gc.collect()
        tracemalloc.start()
        try:
            error, _ = colour.fail(colour.client(server).chat_stream(MESSAGES), LLMKitError)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert error.status_code == 500
        assert len(error.body) < 10_000
        assert peak < 200 * MIB, f"{peak / MIB:.0f} MB at most"


def test_a_limit_counts_each_attempt_by_itself(colour):
    """A restart begins to count anew: the limit is for one answer."""
    half = Reply((WORD * 600, WORD[:10]))
    good = Reply.text("one two")
    with FakeServer(half, good) as server:
        limits = Limits(response=len(WORD) * 700)
        client = colour.client(server, limits=limits, retry=SOON)
        stream = client.chat_stream(MESSAGES, recovery="restart")
        colour.read(stream)
        assert stream.result.content == "one two"
