"""ChatStream and AsyncChatStream: every way out releases the connection."""

import asyncio
import gc

import pytest
from loopback import PATIENCE

from llm_kit import AsyncLLMClient, LLMClient, normalize
from llm_kit.testing import FakeServer, Pause, Reply

MESSAGES = [{"role": "user", "content": "Hello"}]
TEXT = Reply.text("one two three")
STALLED = TEXT.stall(after=3)


@pytest.fixture
def stalled():
    with FakeServer(STALLED) as server:
        yield server
        assert server.requests[0].closed.wait(PATIENCE)


def test_a_stream_that_has_ended_takes_no_further_stage(colour):
    stream = normalize(colour.source(["a"]))
    colour.read(stream)
    with pytest.raises(ValueError, match="this stream has ended"):
        stream._add_stage(None)


async def _await(stream):
    await stream


def test_a_context_manager_leaves_nothing_open(colour, stalled):
    if colour.is_async:

        async def main():
            async with colour.stream(stalled) as stream:
                async for chunk in stream:
                    if chunk.delta == "one":
                        break
            return stream

        stream = colour.run(main())
    else:
        with colour.stream(stalled) as stream:
            for chunk in stream:
                if chunk.delta == "one":
                    break
    assert (stream.result.content, stream.result.status) == ("one", "interrupted")


def test_break_without_a_context_manager(stalled):
    with LLMClient(base_url=stalled.base_url, model="m") as client:
        for chunk in client.chat_stream(MESSAGES):
            if chunk.delta == "one":
                break
        del chunk
        assert stalled.requests[0].closed.wait(PATIENCE)


def test_break_without_a_context_manager_async(stalled):
    async def main():
        async with AsyncLLMClient(base_url=stalled.base_url, model="m") as client:
            async for chunk in client.chat_stream(MESSAGES):
                if chunk.delta == "one":
                    break
            assert await asyncio.to_thread(stalled.requests[0].closed.wait, PATIENCE)

    asyncio.run(main())


def test_an_exception_in_the_loop(colour, stalled):
    def read():
        stream = colour.stream(stalled)
        for chunk in colour.each(stream):
            if chunk.delta == "one":
                raise ValueError("in the loop")

    with pytest.raises(ValueError, match="in the loop"):
        read()
    gc.collect()  # the traceback held the stream
    colour.run(asyncio.sleep(0.01) if colour.is_async else None)
    assert stalled.requests[0].closed.wait(PATIENCE)


def test_an_exception_inside_a_context_manager(colour, stalled):
    async def amain():
        async with colour.stream(stalled) as stream:
            streams.append(stream)
            async for _ in stream:
                raise ValueError("in the loop")

    def main():
        with colour.stream(stalled) as stream:
            streams.append(stream)
            for _ in stream:
                raise ValueError("in the loop")

    streams = []
    with pytest.raises(ValueError, match="in the loop"):
        colour.run((amain if colour.is_async else main)())
    assert streams[0].result.status == "interrupted"


def test_close(colour, stalled):
    stream = colour.stream(stalled)
    chunks = colour.each(stream)
    assert next(chunks).role == "assistant"
    colour.close(stream)
    colour.close(stream)
    assert list(chunks) == []
    assert stream.result.status == "interrupted"


def test_a_whole_stream_gives_its_connection_back(colour):
    pauses = [TEXT, Reply((*TEXT.steps_for({}), Pause(0.02))), TEXT.with_framing("length")]
    with FakeServer(*pauses, TEXT) as server:
        client = colour.client(server)
        for _ in range(4):
            stream = client.chat_stream(MESSAGES)
            colour.read(stream)
            assert stream.result.status == "complete"
        assert server.connections == 1


def test_many_streams_at_once_wait_for_no_pool(colour):
    with FakeServer(TEXT.stall(after=1)) as server:
        client = colour.client(server)
        streams = [client.chat_stream(MESSAGES) for _ in range(130)]
        if colour.is_async:

            async def main():
                await asyncio.gather(*(anext(stream) for stream in streams))
                assert server.open_connections == 130
                await asyncio.gather(*(stream.aclose() for stream in streams))

            colour.run(main())
        else:
            for stream in streams:
                next(stream)
            assert server.open_connections == 130
            for stream in streams:
                stream.close()
        assert len(server.requests) == 130


def test_what_a_stream_shows(colour):
    with FakeServer(STALLED.with_headers({"x-request-id": "r-1"})) as server:
        stream = colour.stream(server)
        name = "AsyncChatStream" if colour.is_async else "ChatStream"
        assert repr(stream) == f"<{name} streaming, 0 chunks>"
        assert (stream.response, stream.reason) == (None, "")
        chunks = colour.each(stream)
        next(chunks)
        assert stream.response.request_id == "r-1"
        stream.interrupt("enough")
        assert list(chunks) == []
        assert repr(stream) == f"<{name} interrupted, 1 chunks>"
        assert stream.reason == "enough"


def test_an_added_stage_sees_what_comes_from_then_on(colour):
    class Shouting:
        def feed(self, chunk, now):
            chunk.delta = chunk.delta.upper()

        def flush(self, status):
            return None

    stream = normalize(colour.source(["a", "b"]))
    chunks = colour.each(stream)
    assert next(chunks).delta == "a"
    stream._add_stage(Shouting())
    assert [chunk.delta for chunk in chunks] == ["B"]


def test_iterating_is_the_stream_itself(colour):
    stream = normalize(colour.source(["a"]))
    assert (aiter if colour.is_async else iter)(stream) is stream


def test_the_wrong_colour_is_explained():
    stream = normalize(aiter_of())
    with pytest.raises(TypeError, match="async for"):
        iter(stream)
    with pytest.raises(TypeError, match="this is not awaited"):
        asyncio.run(_await(stream))
    with pytest.raises(TypeError, match="async with"), stream:
        pass


async def aiter_of():
    yield "a"
