"""
Our streams over httpx's aiohttp transport, which holds more of them: nothing changes but the speed.

Async only, because aiohttp is.
"""

import asyncio

import httpx
import pytest
from loopback import PATIENCE, Reader, full_backlog

from llm_kit import (
    APIConnectionError,
    APIStatusError,
    Deadlines,
    RetryPolicy,
    StreamInterrupter,
    StreamTimeoutError,
    StreamTruncatedError,
)
from llm_kit.testing import Cut, FakeServer, Pause, Reply, Reset

httpx_aiohttp = pytest.importorskip("httpx_aiohttp")

pytestmark = pytest.mark.parametrize("colour", ["async"], indirect=True)

MESSAGES = [{"role": "user", "content": "Hello"}]
TEXT = Reply.text("one two three")
HALF = TEXT.steps_for({})[:3]  # the role, "one" and " two"
SILENT = TEXT.stall(after=3)
SOON = RetryPolicy(attempts=3, pause=0.001)
MANY = 100_000


def bare(*steps):
    return Reply(steps, framing="bare")


@pytest.fixture
def ask(colour):
    """Ask a server over aiohttp; gives the stream, unread. All streams share one transport."""
    made = []

    def asked(server, max_connections=MANY, **options):
        if not made:
            limits = httpx.Limits(max_connections=max_connections)
            transport = httpx_aiohttp.AiohttpTransport(limits=limits)
            made.append(httpx.AsyncClient(transport=transport))
        return colour.client(server, http_client=made[0]).chat_stream(MESSAGES, **options)

    yield asked
    for http in made:
        colour.close(http)


def assert_told(colour, server):
    """The server sees the close while the loop goes on, as a program's does."""
    closed = server.requests[0].closed
    assert colour.run(asyncio.to_thread(closed.wait, PATIENCE))
    assert len(server.requests) == 1


def test_whole_answers_share_a_connection(colour, ask):
    with FakeServer(TEXT) as server:
        for _ in range(3):
            stream = ask(server)
            colour.read(stream)
            assert (stream.result.status, stream.result.content) == ("complete", "one two three")
        assert (len(server.requests), server.connections) == (3, 1)


@pytest.mark.parametrize("presser", ["thread", "loop"])
@pytest.mark.parametrize(
    ("reply", "words"), [(SILENT, "one two"), (TEXT.hang(), "")], ids=["text", "no headers"]
)
def test_an_interrupt_frees_the_reader_and_tells_the_server(colour, ask, reply, words, presser):
    interrupter = StreamInterrupter()
    with FakeServer(reply) as server:
        reader = Reader(colour, interrupter.wrap(ask(server)))
        server.wait_for_request()
        reader.wait_for_chunks(3 if words else 0)
        if presser == "loop":
            colour.runner.get_loop().call_soon_threadsafe(interrupter.interrupt)
        else:
            interrupter.interrupt()
        assert reader.wait().error is None
        assert_told(colour, server)
    assert (interrupter.result.status, interrupter.content) == ("interrupted", words)


@pytest.mark.parametrize(
    ("reply", "kind", "words"),
    [(SILENT, "idle", "one two"), (TEXT.hang(), "first_chunk", "")],
    ids=["text", "no headers"],
)
def test_a_deadline_keeps_what_came_and_tells_the_server(colour, ask, reply, kind, words):
    with FakeServer(reply) as server:
        stream = ask(server, deadlines=Deadlines(**{kind: 0.05}))
        error, _ = colour.fail(stream, StreamTimeoutError)
        assert_told(colour, server)
    assert (error.kind, error.partial.content) == (kind, words)


def test_the_deadline_of_connecting_is_the_transports_own(colour, ask):
    with full_backlog() as base_url:
        stream = ask(base_url, deadlines=Deadlines(connect=0.05))
        error, _ = colour.fail(stream, StreamTimeoutError)
    assert error.kind == "connect"


@pytest.mark.parametrize("loss", [Cut(), Reset()], ids=["cut", "reset"])
def test_a_loss_keeps_what_came(colour, ask, loss):
    # The pause: what is unread when a connection is lost, aiohttp drops.
    with FakeServer(Reply((*HALF, Pause(0.05), loss))) as server:
        error, _ = colour.fail(ask(server), StreamTruncatedError)
    assert error.partial.content == "one two"


def test_a_refusal(colour, ask):
    with FakeServer(Reply.error(429, "slow down", headers={"retry-after": "7"})) as server:
        error, _ = colour.fail(ask(server), APIStatusError)
    assert (error.status_code, error.retry_after) == (429, 7.0)


def test_a_refused_connection_is_tried_again(colour, ask):
    with FakeServer(TEXT) as server:
        base_url = server.base_url
    error, _ = colour.fail(ask(base_url, retry=SOON), APIConnectionError)
    assert "base_url" in str(error)
    assert error.partial.attempts == 3


@pytest.mark.parametrize(
    "reply",
    [bare(Cut()), bare(Reset()), bare(b"SSH-2.0-OpenSSH\r\n\r\n", Cut())],
    ids=["closed", "reset", "garbage"],
)
def test_no_answer_is_tried_again(colour, ask, reply):
    with FakeServer(reply, reply, TEXT) as server:
        colour.fail(ask(server), APIConnectionError)
        stream = ask(server, retry=SOON)
        colour.read(stream)
    assert (stream.result.status, stream.result.attempts) == ("complete", 2)


@pytest.mark.parametrize(("allowed", "streams"), [(MANY, 101), (2, 3)])
def test_there_are_as_many_streams_as_connections_are_allowed(colour, ask, allowed, streams):
    """By itself the transport allows 100, and the next one waits for a connection."""

    async def open_all(server):
        soon = Deadlines(first_chunk=PATIENCE if allowed > streams else 0.05)
        asked = [ask(server, allowed) for _ in range(streams - 1)]
        await asyncio.gather(*map(anext, asked))
        asked.append(ask(server, allowed, deadlines=soon))
        last = await asyncio.gather(anext(asked[-1]), return_exceptions=True)
        for stream in asked:
            await stream.aclose()
        return last[0]

    with FakeServer(SILENT) as server:
        last = colour.run(open_all(server))
        assert server.connections == min(allowed, streams)
    assert isinstance(last, StreamTimeoutError) == (streams > allowed)
