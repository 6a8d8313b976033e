"""The drivers: turns, ends, callbacks and errors, in both colours alike."""

import asyncio
import gc
import logging
import threading
from math import inf
from time import monotonic

import httpx
import pytest
from loopback import PATIENCE, Reader, wait_until

from llm_kit import (
    APIStatusError,
    AsyncLLMClient,
    Deadlines,
    RetryPolicy,
    StreamCollector,
    StreamInterrupter,
    StreamTimeoutError,
    StreamTruncatedError,
    normalize,
)
from llm_kit._core import session
from llm_kit._core.budget import Budget
from llm_kit._core.secrets import Secrets
from llm_kit._core.session import Sleep
from llm_kit._io import drive
from llm_kit._io.stop import StopSignal
from llm_kit.testing import FakeServer, Reply, Stall

TEXT = Reply.text("one two three")
STALLED = TEXT.stall(after=3)
QUICK = RetryPolicy(attempts=2, pause=0.001, max_pause=0.001)


class Stage:
    """A stage that notes its ends and may fail."""

    def __init__(self, error=None):
        self.ends = []
        self.error = error

    def feed(self, chunk, now):
        return None

    def flush(self, status):
        self.ends.append(status)
        if self.error is not None:
            raise self.error


def staged(colour, source, error=None):
    stream, stage = normalize(source), Stage(error)
    stream._add_stage(stage)
    return stream, stage


def test_flush_comes_once_at_the_end(colour):
    stream, stage = staged(colour, colour.source(["a", "b"]))
    colour.read(stream)
    assert stage.ends == ["complete"]
    colour.close(stream)
    colour.read(stream)
    assert stage.ends == ["complete"]


@pytest.mark.parametrize("started", [False, True])
def test_flush_comes_once_on_close(colour, started):
    stream, stage = staged(colour, colour.source(["a", "b"]))
    if started:
        next(colour.each(stream))
    colour.close(stream)
    colour.close(stream)
    assert stage.ends == ["interrupted"]
    assert colour.read(stream) == []


def test_a_stages_error_comes_out_and_the_source_is_closed(colour):
    with FakeServer(STALLED) as server:
        stream = colour.stream(server)
        stage = Stage(ValueError("stage"))
        stream._add_stage(stage)
        next(colour.each(stream))
        with pytest.raises(ValueError, match="stage"):
            colour.close(stream)
        assert server.requests[0].closed.wait(PATIENCE)


def test_the_streams_own_error_comes_before_a_stages(colour):
    failure = KeyError("stage")
    stream, _ = staged(colour, colour.source(["a", ValueError("mine")]), failure)
    error, _ = colour.fail(stream, ValueError)
    assert error.__context__ is failure
    assert error.partial.content == "a"


def test_an_error_is_raised_once_with_its_partial(colour):
    stream, stage = staged(colour, colour.source(["a", ValueError("mine")]))
    error, _ = colour.fail(stream, ValueError)
    assert error.partial.content == "a"
    assert stage.ends == ["error"]
    assert colour.read(stream) == []


def test_an_error_with_slots_is_raised_without_a_partial(colour):
    class Slotted(Exception):
        __slots__ = ()

        def __setattr__(self, name, value):
            if name == "partial":
                raise AttributeError(name)
            super().__setattr__(name, value)

    stream, _ = staged(colour, colour.source(["a", Slotted()]))
    colour.fail(stream, Slotted)
    assert stream.result.content == "a"


def test_two_readers_at_once_are_refused(colour):
    release = threading.Event()

    def source():
        release.wait(PATIENCE)
        yield "a"

    async def asource():
        await asyncio.to_thread(release.wait, PATIENCE)
        yield "a"

    if colour.is_async:

        async def main():
            stream = normalize(asource())
            first = asyncio.create_task(anext(stream))
            await asyncio.sleep(0)
            with pytest.raises(RuntimeError, match="read by another"):
                await anext(stream)
            release.set()
            assert (await first).delta == "a"
            await stream.aclose()

        colour.run(main())
        return
    stream = normalize(source())
    first = threading.Thread(target=lambda: next(stream))
    first.start()
    assert wait_until(stream._turning.locked)
    with pytest.raises(RuntimeError, match="read by another"):
        next(stream)
    release.set()
    first.join(PATIENCE)
    assert [chunk.delta for chunk in stream] == []
    assert stream.result.content == "a"


def test_close_while_another_reads_ends_that_ones_loop(colour):
    with FakeServer(STALLED) as server:
        stream = colour.stream(server)
        if colour.is_async:

            async def main():
                reading = asyncio.create_task(_read(stream))
                await asyncio.to_thread(wait_until, lambda: stream.result.chunk_count == 3)
                await stream.aclose()
                return await asyncio.wait_for(reading, PATIENCE)

            chunks = colour.run(main())
        else:
            reader = Reader(colour, stream)
            reader.wait_for_chunks(3)
            assert wait_until(stream._turning.locked)
            stream.close()
            chunks = reader.wait().chunks
        assert server.requests[0].closed.wait(PATIENCE)
    assert len(chunks) == 3
    assert stream.result.status == "interrupted"


def test_a_reader_that_comes_while_another_closes_ends_its_loop(colour):
    with FakeServer(STALLED) as server:
        stream = colour.stream(server)
        chunks = colour.each(stream)
        next(chunks)
        stream._stop.fire()  # what a close does first
        assert stream._turning.acquire(False)
        assert list(chunks) == []
        assert colour.open(stream) in (stream, None)
        stream._turning.release()
        colour.close(stream)
        assert server.requests[0].closed.wait(PATIENCE)


async def _read(stream):
    return [chunk async for chunk in stream]


@pytest.mark.parametrize(("count", "status"), [(2, "interrupted"), (5, "complete")])
def test_an_interrupt_between_two_reads(colour, count, status):
    with FakeServer(Reply.text("one two three", per_write=99)) as server:
        stream = colour.stream(server)
        chunks = colour.each(stream)
        for _ in range(count):
            next(chunks)
        stream.interrupt()
        assert list(chunks) == []  # although more had arrived
    assert stream.result.status == status


# Callbacks


def test_async_callbacks_are_awaited_in_order(colour):
    seen = []
    collected = StreamCollector.collect(
        colour.source(["a", "b"]),
        on_delta=colour.wrap_function(seen.append),
        on_done=colour.wrap_function(lambda result: seen.append(result.status)),
    )
    for chunk in colour.each(collected):
        assert seen[-1] == chunk.delta
    assert seen == ["a", "b", "complete"]


def test_an_async_callback_over_a_sync_stream_is_refused():
    async def callback(_):
        raise AssertionError

    stream = StreamCollector.collect(["a"], on_delta=callback)
    with pytest.raises(TypeError, match="async stream"):
        list(stream)
    done = StreamCollector.collect(["a"], on_done=callback)
    with pytest.raises(TypeError, match="async stream"):
        list(done)


def test_a_callbacks_error_ends_the_stream(colour):
    with FakeServer(STALLED) as server:

        def fail(text):
            raise ValueError("callback")

        stream = StreamCollector.collect(colour.stream(server), on_delta=colour.wrap_function(fail))
        error, _ = colour.fail(stream, ValueError)
        assert str(error) == "callback"
        assert server.requests[0].closed.wait(PATIENCE)
    assert stream.result.status == "interrupted"


# Opening


def test_open_goes_as_far_as_the_head(colour):
    with FakeServer(TEXT.stall(after=0)) as server:
        stream = colour.stream(server)
        assert colour.open(stream) is stream
        assert stream.response.status_code == 200
        colour.close(stream)
        assert server.requests[0].closed.wait(PATIENCE)


def test_open_of_a_plain_iterable_reads_nothing(colour):
    stream = normalize(colour.source([ValueError("read")]))
    colour.open(stream)
    colour.close(stream)


def test_open_raises_what_the_head_says(colour):
    with FakeServer(Reply.error(401, "bad key")) as server:
        stream = colour.stream(server)
        with pytest.raises(Exception, match="bad key"):
            colour.open(stream)
        assert stream.result.status == "error"


def test_open_of_an_interrupted_stream_gives_an_empty_one(colour):
    with FakeServer(TEXT) as server:
        stream = colour.stream(server)
        stream.interrupt()
        colour.open(stream)
        assert colour.read(stream) == []
        assert server.connections == 0


def test_open_is_interrupted_before_the_head(colour):
    with FakeServer(TEXT.hang()) as server:
        stream = colour.stream(server)

        def press():
            server.wait_for_request()
            stream.interrupt()

        presser = threading.Thread(target=press)
        presser.start()
        colour.open(stream)
        presser.join()
        assert server.requests[0].closed.wait(PATIENCE)
        assert colour.read(stream) == []


# Waits that are too long


def test_a_deadline_ends_the_stream_with_what_came(colour):
    with FakeServer(STALLED) as server:
        stream = colour.stream(server, deadlines=Deadlines(idle=0.05))
        stage = Stage()
        stream._add_stage(stage)
        error, chunks = colour.fail(stream, StreamTimeoutError)
        assert server.requests[0].closed.wait(PATIENCE)
    assert (error.kind, len(chunks)) == ("idle", 3)
    assert error.partial.content == stream.result.content == "one two"
    assert error.__cause__ is error.__context__ is None  # how the read was woken is no cause
    assert stage.ends == ["timeout"]


def test_a_wait_whose_time_is_up_does_not_begin(colour):
    reads = []
    stream = normalize(colour.source(["a"]))
    stream._source.read = lambda: reads.append(1)
    stream._budget.restrict(connect=None, first_chunk=None, idle=None, total=1e-9)
    error, _ = colour.fail(stream, StreamTimeoutError)
    assert (error.kind, reads) == ("total", [])


def test_a_deadline_passes_before_the_head(colour):
    with FakeServer(TEXT.hang()) as server:
        stream = colour.stream(server, deadlines=Deadlines(first_chunk=0.05))
        with pytest.raises(StreamTimeoutError) as caught:
            colour.open(stream)
        assert caught.value.kind == "first_chunk"
        assert server.requests[0].closed.wait(PATIENCE)


def test_a_deadline_frees_a_stream_inside_another(colour):
    with FakeServer(STALLED) as server:
        inner = colour.stream(server)

        def read_inner():
            yield from inner

        async def aread_inner():
            async for chunk in inner:
                yield chunk

        outer = Deadlines(idle=0.05).wrap(aread_inner() if colour.is_async else read_inner())
        error, chunks = colour.fail(outer, StreamTimeoutError)
        assert server.requests[0].closed.wait(PATIENCE)
        # In a thread of its own, which may take a moment longer.
        assert wait_until(lambda: inner.result.status == "interrupted")
    assert (error.kind, len(chunks)) == ("idle", 3)


def test_a_stop_in_the_same_moment_as_a_deadline_wins(colour):
    with FakeServer(STALLED) as server:
        stream = colour.stream(server, deadlines=Deadlines(idle=0.05))
        look = stream._stop.look

        def look_and_stop(planned):
            with stream._stop._lock:  # no moment between the two
                look(planned)
                stream.interrupt("why")

        stream._stop.look = look_and_stop
        colour.read(stream)
    assert (stream.result.status, stream.reason) == ("interrupted", "why")


@pytest.mark.parametrize("deadline", ["first_chunk", "total"])
def test_an_errors_body_that_stalls_is_not_awaited_longer_than_a_deadline(
    colour, monkeypatch, deadline
):
    monkeypatch.setattr(session, "_ERROR_BODY", (1000, 1000.0))
    with FakeServer(Reply((b"sorry", Stall()), status=500)) as server:
        stream = colour.stream(server, deadlines=Deadlines(**{deadline: 0.1}))
        error, _ = colour.fail(stream, APIStatusError)
    assert error.status_code == 500


def test_what_the_user_does_between_the_head_and_the_first_chunk_is_not_counted(
    colour, monkeypatch
):
    behind = 1000
    monkeypatch.setattr(drive, "monotonic", lambda: monotonic() - behind)
    with FakeServer(TEXT) as server:
        stream = colour.stream(server, deadlines=Deadlines(connect=None, first_chunk=1100))
        colour.open(stream)
        behind = 0  # so many seconds passed while the stream was open and nobody read
        stream._lend()
        assert stream._budget.wait(monotonic()) > monotonic() + 1000
        colour.close(stream)


def test_a_response_of_the_users_is_held_to_deadlines_too(colour):
    with FakeServer(TEXT.stall(after=2)) as server:
        client = httpx.AsyncClient() if colour.is_async else httpx.Client()
        request = client.build_request("POST", server.base_url)
        response = colour.run(client.send(request, stream=True))
        stream = Deadlines(idle=0.05).wrap(response)
        error, chunks = colour.fail(stream, StreamTimeoutError)
        assert (error.kind, len(chunks)) == ("idle", 2)
        assert server.requests[0].closed.wait(PATIENCE)
        colour.close(client)


# Further attempts


def test_a_request_is_sent_again_after_a_pause(colour):
    with FakeServer(Reply.error(503, "later"), TEXT) as server:
        stream = colour.stream(server, retry=QUICK)
        colour.read(stream)
        assert len(server.requests) == 2
    assert (stream.result.status, stream.result.attempts) == ("complete", 2)


def test_open_goes_on_to_the_head_of_the_answer_that_counts(colour):
    with FakeServer(Reply.error(503, "later"), TEXT) as server:
        stream = colour.stream(server, retry=QUICK)
        colour.open(stream)
        assert (len(server.requests), stream.response.status_code) == (2, 200)
        colour.close(stream)


def test_a_lost_answer_begins_anew_in_the_same_stream(colour):
    with FakeServer(TEXT.cut(at=700), TEXT) as server:
        stream = colour.stream(server, retry=QUICK, recovery="restart")
        chunks = colour.read(stream)
    assert stream.result.content == "one two three"
    assert sum(chunk.restarted for chunk in chunks) == 1
    assert stream.result.attempts == 2


def test_a_pause_is_interrupted(colour):
    patient = RetryPolicy(attempts=2, max_retry_after=1000)
    with FakeServer(Reply.error(503, "later").with_headers({"retry-after": "900"})) as server:
        stream = colour.stream(server, retry=patient, deadlines=Deadlines(first_chunk=None))

        def press():
            assert wait_until(lambda: isinstance(stream._ask, Sleep) and stream._stop.due < inf)
            stream.interrupt("enough")

        presser = threading.Thread(target=press)
        presser.start()
        assert colour.read(stream) == []
        presser.join()
        assert len(server.requests) == 1
    assert (stream.result.status, stream.reason) == ("interrupted", "enough")


# Garbage collection


def test_a_dropped_stream_gives_its_connection_up(colour):
    with FakeServer(STALLED) as server:
        stage = Stage()
        stream = colour.stream(server)
        stream._add_stage(stage)
        next(colour.each(stream))
        del stream
        gc.collect()
        colour.run(asyncio.sleep(0.01) if colour.is_async else None)
        assert server.requests[0].closed.wait(PATIENCE)
    assert stage.ends == ["interrupted"]


def test_a_stream_that_was_never_started_is_dropped_silently(colour):
    with FakeServer(TEXT) as server:
        stage = Stage()
        colour.stream(server)._add_stage(stage)
        gc.collect()
        assert server.connections == 0
    assert stage.ends == []


def test_a_dropped_streams_callbacks_are_given_up(colour):
    seen = []

    async def done(result):
        seen.append(result)

    callback = done if colour.is_async else seen.append
    with FakeServer(STALLED) as server:
        stream = StreamCollector.collect(colour.stream(server), on_done=callback)
        next(colour.each(stream))
        del stream
        gc.collect()  # without a warning of a coroutine that was never awaited
        colour.run(asyncio.sleep(0.01) if colour.is_async else None)
        assert server.requests[0].closed.wait(PATIENCE)
    assert len(seen) == (0 if colour.is_async else 1)


def test_awaitables_that_are_no_coroutines_are_given_up_too():
    class Later:
        def __await__(self):
            raise AssertionError

    with pytest.raises(TypeError, match="async stream"):
        list(StreamCollector.collect(["a"], on_delta=lambda text: Later()))


def test_a_stream_dropped_when_its_loop_is_gone():
    streams = []

    class Items:  # no async generator: the loop would close that itself
        def __aiter__(self):
            return self

        async def __anext__(self):
            return "a"

    async def main():
        streams.append(normalize(Items()))
        await anext(streams[0])

    asyncio.run(main())
    streams.clear()
    gc.collect()


def test_a_stream_that_could_not_be_made_has_nothing_to_give_up(colour):
    made = normalize(colour.source([]))

    class Steps:
        def send(self, value):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        type(made)(None, Steps(), made._pipeline, StopSignal(), Budget(), Secrets())
    gc.collect()


# Ends that come from outside


def test_a_keyboard_interrupt_keeps_the_partial(colour):
    with FakeServer(STALLED) as server:

        def press(text):
            if text == "one":
                raise KeyboardInterrupt

        stream = StreamCollector.collect(colour.stream(server), on_delta=press)
        with pytest.raises(KeyboardInterrupt) as caught:
            colour.read(stream)
        assert caught.value.partial.content == "one"
        colour.run(asyncio.sleep(0.01) if colour.is_async else None)
        assert server.requests[0].closed.wait(PATIENCE)
    assert stream.result.status == "interrupted"


def test_a_lost_connection_is_told_with_what_came(colour):
    with FakeServer(TEXT.cut(at=400)) as server:
        interrupter = StreamInterrupter()
        error, chunks = colour.fail(interrupter.wrap(colour.stream(server)), StreamTruncatedError)
    interrupter.interrupt()
    assert error.partial.status == "truncated"
    assert error.partial.chunk_count == len(chunks)
    assert interrupter.result.status == "truncated"


def test_a_late_close_of_a_dropped_stream_is_not_lost(caplog):
    # The task that closes it is held until it is done.
    with FakeServer(STALLED) as server, caplog.at_level(logging.ERROR):

        async def main():
            async with AsyncLLMClient(base_url=server.base_url, model="m") as client:
                stream = client.chat_stream([{"role": "user", "content": "Hi"}])
                await anext(stream)
                del stream
                gc.collect()
                await asyncio.sleep(0)
                gc.collect()
                assert await asyncio.to_thread(server.requests[0].closed.wait, PATIENCE)

        asyncio.run(main())
    assert caplog.records == []
