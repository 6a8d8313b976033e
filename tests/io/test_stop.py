"""The stop signal and the two waits: whoever fires, whenever, exactly one wait ends."""

import asyncio
import contextlib
import threading

import pytest
from loopback import PATIENCE

from llm_kit import LLMKitError
from llm_kit._io.stop import Stopped, StopSignal, arun, current_stop, run


def test_the_first_reason_wins_and_a_late_one_is_nothing():
    stop, woken, error = StopSignal(), [], LLMKitError("late")
    stop.enter(lambda: woken.append(1))
    stop.fire(reason="first")
    stop.fire("timeout", error, reason="second")
    assert (stop.fired, stop.status, stop.error, stop.reason) == (
        True,
        "interrupted",
        None,
        "first",
    )
    assert woken == [1]


def test_a_stop_says_how_the_stream_ends():
    stop, error = StopSignal(), LLMKitError("too slow")
    stop.fire("timeout", error)
    assert (stop.status, stop.error) == ("timeout", error)


def test_after_its_end_a_stream_cannot_be_stopped():
    stop, woken = StopSignal(), []
    stop.enter(lambda: woken.append(1))
    assert not stop.over
    assert stop.retire()
    assert woken == [1]  # a call that was left behind
    assert not stop.retire()
    stop.fire()
    assert stop.over
    assert not stop.fired
    with pytest.raises(Stopped):
        stop.enter(lambda: None)


def test_a_wait_that_is_over_is_not_woken():
    stop, woken = StopSignal(), []

    def wake():
        woken.append(1)

    stop.enter(wake)
    stop.leave(wake)
    stop.leave(wake)
    stop.fire()
    assert woken == []


def test_no_wait_begins_after_a_stop():
    stop = StopSignal()
    stop.fire()
    with pytest.raises(Stopped):
        stop.enter(lambda: None)
    assert stop._wakes == []


def test_a_signal_handler_that_fires_while_a_wait_begins_is_not_lost():
    stop = StopSignal()

    class Interrupted(list):
        def append(self, wake):
            stop.fire()  # a handler runs here, in the same thread: the lock lets it in
            super().append(wake)

    stop._wakes = Interrupted()
    with pytest.raises(Stopped):
        stop.enter(lambda: None)


# The sync wait


def test_run_gives_what_the_call_gives():
    stop = StopSignal()
    assert run(stop, current_stop) is stop
    assert current_stop() is None


def test_run_lets_the_calls_own_error_pass():
    with pytest.raises(ValueError, match="mine"):
        run(StopSignal(), raising(ValueError("mine")))
    assert current_stop() is None


def raising(error, stop=None):
    def call():
        if stop is not None:
            stop.fire()
        raise error

    return call


@pytest.mark.parametrize("kind", ["before", "in a result", "in an error"])
def test_run_is_stopped(kind):
    stop, called = StopSignal(), []
    if kind == "before":
        stop.fire()
        call = called.append
    else:
        call = stop.fire if kind == "in a result" else raising(ValueError(), stop)
    with pytest.raises(Stopped) as caught:
        run(stop, call)
    assert called == []
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_run_does_not_take_a_keyboard_interrupt_for_the_stop():
    stop = StopSignal()
    with pytest.raises(KeyboardInterrupt):
        run(stop, raising(KeyboardInterrupt(), stop))


@pytest.mark.parametrize("end", ["fire", "retire"])
def test_a_stream_inside_anothers_iterable_is_stopped_with_it(end):
    outer, inner, blocked, freed = StopSignal(), StopSignal(), threading.Event(), threading.Event()

    def read_inner():
        inner.enter(freed.set)
        blocked.set()
        assert freed.wait(PATIENCE)
        inner.leave(freed.set)

    ends = []

    def read_outer():
        try:
            run(outer, lambda: run(inner, read_inner))
        except Stopped:
            ends.append("stopped")

    reader = threading.Thread(target=read_outer)
    reader.start()
    assert blocked.wait(PATIENCE)
    outer.fire(reason="why") if end == "fire" else outer.retire()
    reader.join(PATIENCE)
    assert ends == ["stopped"]
    assert inner.reason == ("why" if end == "fire" else "")
    assert outer._wakes == inner._wakes == []


def test_a_stream_inside_a_stopped_one_does_not_begin_a_wait():
    outer, inner, called = StopSignal(), StopSignal(), []

    def read_outer():
        outer.fire()
        run(inner, lambda: called.append(1))

    with pytest.raises(Stopped):
        run(outer, read_outer)
    assert called == []
    assert current_stop() is None


# The async wait


async def forever():
    await asyncio.Event().wait()


async def start(stop, call, after=None):
    """Begin a wait in a task, and let it come to its suspension."""

    async def body():
        try:
            return await arun(stop, call)
        except Stopped:
            return ("stopped", asyncio.current_task().cancelling())

    task = asyncio.create_task(body())
    await asyncio.sleep(0)
    return task


def test_arun_gives_what_the_call_gives():
    async def main():
        stop = StopSignal()
        for value in (1, 2):
            assert await arun(stop, lambda value=value: asyncio.sleep(0, value)) == value

    asyncio.run(main())


def test_arun_lets_the_calls_own_error_pass():
    async def fail():
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        asyncio.run(arun(StopSignal(), fail))


def test_arun_is_stopped_before_it_begins():
    async def main():
        stop = StopSignal()
        stop.fire()
        with pytest.raises(Stopped):
            await arun(stop, forever)
        other = StopSignal()
        await arun(other, lambda: asyncio.sleep(0))
        other.fire()
        with pytest.raises(Stopped):
            await arun(other, forever)

    asyncio.run(main())


@pytest.mark.parametrize("kind", ["result", "error"])
def test_arun_is_stopped_whatever_the_call_does(kind):
    async def main():
        stop = StopSignal()

        async def call():
            stop.fire()
            if kind == "error":
                raise ValueError

        with pytest.raises(Stopped):
            await arun(stop, call)
        await asyncio.sleep(0)  # the wake comes when the wait is over: it must hit nothing
        assert asyncio.current_task().cancelling() == 0

    asyncio.run(main())


@pytest.mark.parametrize("where", ["loop", "thread"])
def test_arun_is_woken(where):
    async def main():
        stop = StopSignal()
        task = await start(stop, forever)
        await asyncio.to_thread(stop.fire) if where == "thread" else stop.fire()
        assert await asyncio.wait_for(task, PATIENCE) == ("stopped", 0)

    asyncio.run(main())


@pytest.mark.parametrize("kind", ["result", "error"])
def test_a_call_that_swallows_the_wakes_cancellation_is_stopped_all_the_same(kind):
    async def stubborn():
        try:
            await forever()
        except asyncio.CancelledError:
            if kind == "error":
                raise ValueError from None

    async def main():
        stop = StopSignal()
        task = await start(stop, stubborn)
        stop.fire()
        assert await asyncio.wait_for(task, PATIENCE) == ("stopped", 0)

    asyncio.run(main())


def test_a_cancellation_that_is_swallowed_is_repeated():
    async def deaf():
        for _ in range(2):
            with contextlib.suppress(asyncio.CancelledError):
                await forever()
        await forever()

    async def main():
        stop = StopSignal()
        task = await start(stop, deaf)
        stop.fire()
        assert await asyncio.wait_for(task, PATIENCE) == ("stopped", 0)

    asyncio.run(main())


@pytest.mark.parametrize("acts", ["c", "cf", "fc", "fcc", "ccf"])
def test_a_genuine_cancellation_wins_in_any_order(acts):
    async def main():
        stop = StopSignal()
        task = await start(stop, forever)
        for act in acts:
            task.cancel() if act == "c" else stop.fire()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelling() == acts.count("c")

    asyncio.run(main())


def test_a_genuine_cancellation_right_behind_the_stops_own_wins():
    async def main():
        stop = StopSignal()
        task = await start(stop, forever)
        stop.fire()
        asyncio.get_running_loop().call_soon(task.cancel)  # runs behind the wake, in its turn
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelling() == 1

    asyncio.run(main())


def test_a_stop_does_not_break_into_the_cleanup_of_a_cancellation():
    async def main():
        stop, cleaned = StopSignal(), []

        async def call():
            try:
                await forever()
            finally:
                stop.fire()
                for _ in range(5):
                    await asyncio.sleep(0)
                cleaned.append(True)

        task = await start(stop, call)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert cleaned == [True]

    asyncio.run(main())


def test_a_cancellation_that_was_asked_for_before_the_wait_began_is_not_the_stops():
    async def main():
        stop = StopSignal()

        async def call():
            stop.fire()  # its wake is on the way when the pending cancellation arrives
            await forever()

        async def read():
            asyncio.current_task().cancel()
            await arun(stop, call)

        task = asyncio.create_task(read())
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


def test_a_wait_in_the_cleanup_of_a_cancelled_task_can_be_stopped():
    async def main():
        stop = StopSignal()

        async def read():
            try:
                await forever()
            finally:
                with pytest.raises(Stopped):
                    await arun(stop, forever)
                assert asyncio.current_task().cancelling() == 1

        task = asyncio.create_task(read())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        stop.fire()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, PATIENCE)

    asyncio.run(main())


def test_firing_when_the_loop_is_gone_is_harmless():
    stop = StopSignal()
    loop = asyncio.new_event_loop()

    async def main():
        return await start(stop, forever)

    task = loop.run_until_complete(main())
    task._log_destroy_pending = False
    loop.close()
    stop.fire()
    assert stop.fired


def test_many_threads_fire_at_once():
    for _ in range(50):
        stop, woken = StopSignal(), []
        stop.enter(lambda woken=woken: woken.append(1))
        gate = threading.Barrier(5)

        def fire(number, stop=stop, gate=gate):
            gate.wait()
            stop.fire(reason=str(number))

        threads = [threading.Thread(target=fire, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        gate.wait()
        for thread in threads:
            thread.join(PATIENCE)
        assert woken == [1]
        assert stop.reason in "0123"
