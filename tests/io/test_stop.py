"""The stop signal, its deadline, and the two waits: whoever fires, exactly one wait ends."""

import asyncio
import contextlib
import gc
import threading
import weakref
from math import inf
from time import monotonic

import pytest
from loopback import PATIENCE

from llm_kit import LLMKitError
from llm_kit._core.session import END
from llm_kit._io import stop as stop_module
from llm_kit._io.stop import (
    Expired,
    Stopped,
    StopSignal,
    Waits,
    Woken,
    arun,
    auntil_woken,
    current_waits,
    run,
    until_woken,
    waiting_for,
)

LONG_AGO = -inf
"""A moment that has passed: a wait that must end then is over as soon as anybody looks."""


def ignore():
    return None


def read(stop):
    """Block as a read does whose connection is shut down when the stream is woken."""
    until_woken(stop)
    return END


def test_the_first_reason_wins_and_a_late_one_is_nothing():
    stop, woken, error = StopSignal(), [], LLMKitError("late")
    stop.waits.enter(lambda: woken.append(1))
    stop.fire("first")
    stop.fire("second", error)
    assert (stop.fired, stop.error, stop.reason, stop.waits.reason) == (
        True,
        None,
        "first",
        "first",
    )
    assert woken == [1]


def test_a_stop_says_what_the_loop_shall_raise():
    stop, error = StopSignal(), LLMKitError("stop")
    stop.fire("why", error)
    assert (stop.reason, stop.error) == ("why", error)


def test_after_its_end_a_stream_cannot_be_stopped():
    stop, woken = StopSignal(), []
    stop.waits.enter(lambda: woken.append(1))
    assert not stop.waits.over
    assert stop.retire()
    assert woken == [1]  # a call that was left behind
    assert not stop.retire()
    stop.fire()
    assert stop.waits.over
    assert not stop.fired
    with pytest.raises(Woken):
        stop.waits.enter(ignore)


def test_a_wait_that_is_over_is_not_woken():
    stop, woken = StopSignal(), []

    def wake():
        woken.append(1)

    stop.waits.enter(wake)
    stop.waits.leave(wake)
    stop.waits.leave(wake)
    stop.fire()
    assert woken == []


def test_no_wait_begins_after_a_stop():
    stop = StopSignal()
    stop.fire()
    with pytest.raises(Woken):
        stop.waits.enter(ignore)
    assert stop.waits._wakes == []


def test_a_signal_handler_that_fires_while_a_wait_begins_is_not_lost():
    stop = StopSignal()

    class Interrupted(list):
        def append(self, wake):
            stop.fire()  # a handler runs here, in the same thread: the lock lets it in
            super().append(wake)

    stop.waits._wakes = Interrupted()
    with pytest.raises(Woken):
        stop.waits.enter(ignore)


def test_the_waits_of_one_attempt_end_for_themselves():
    lock = threading.RLock()
    one, other, woken = Waits(lock), Waits(lock), []
    for waits in (one, other):
        waits.enter(lambda waits=waits: woken.append(waits))
    one.end("why")
    one.end("again")
    assert (woken, one.over, other.over, one.reason) == ([one, one], True, False, "why")


def test_waiting_in_somebodys_name_is_per_thread_and_nests():
    outer, inner, elsewhere = (Waits(threading.RLock()) for _ in range(3))
    seen = []

    def call():
        thread = threading.Thread(target=lambda: seen.append(waiting_for(elsewhere, current_waits)))
        thread.start()
        thread.join()
        seen.append(waiting_for(inner, current_waits))
        seen.append(current_waits())
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        waiting_for(outer, call)
    assert seen == [elsewhere, inner, outer]
    assert current_waits() is None


# The deadline


class Plans(StopSignal):
    """A stop whose plans are noted; nobody looks at the clock but the test."""

    def __init__(self):
        super().__init__()
        self.plans = []

    def plan(self, due):
        self.look_at = due
        self.plans.append(due)


def test_a_look_ends_the_wait_that_has_lasted_long_enough():
    stop, woken = Plans(), []
    stop.waits.enter(lambda: woken.append(1))
    first = stop.waits
    stop.move(stop.waits, lambda: LONG_AGO)
    stop.look(LONG_AGO)
    assert (woken, stop.expired, stop.fired, first.over) == ([1], True, False, True)
    with pytest.raises(Expired):
        stop.judge()
    stop.judge()  # told once
    assert stop.waits is not first
    assert not stop.waits.over
    assert stop.due == stop.look_at == inf


def test_a_deadline_that_comes_later_needs_no_plan_of_its_own():
    stop, soon = Plans(), monotonic() + 10
    stop.move(stop.waits, lambda: soon)
    stop.move(stop.waits, lambda: soon + 10)
    assert (stop.plans, stop.due) == ([soon], soon + 10)


def test_the_end_of_a_stream_is_not_looked_at_again():
    stop = Plans()
    stop.move(stop.waits, lambda: LONG_AGO)
    stop.retire()
    stop.look(LONG_AGO)
    assert not stop.expired
    assert stop.plans == [LONG_AGO]


def test_a_stop_wins_over_a_deadline():
    stop = Plans()
    stop.move(stop.waits, lambda: LONG_AGO)
    stop.look(LONG_AGO)
    stop.fire("why")
    with pytest.raises(Stopped):
        stop.judge()
    assert stop.reason == "why"


def test_after_a_stop_no_deadline_passes():
    stop = Plans()
    stop.fire()
    stop.move(stop.waits, lambda: LONG_AGO)
    stop.look(LONG_AGO)
    assert not stop.expired


def test_a_deadline_at_the_very_end_leaves_the_stream_ended():
    stop = Plans()
    stop.move(stop.waits, lambda: LONG_AGO)
    stop.look(LONG_AGO)
    stop.retire()
    with pytest.raises(Expired):
        stop.judge()
    assert stop.waits.over


def test_who_speaks_of_an_attempt_that_is_over_moves_no_deadline():
    stop = Plans()
    left = stop.waits
    stop.expire()
    stop.move(left, lambda: 1 / 0)
    stop.renew()
    stop.move(left, lambda: 1 / 0)
    assert (stop.due, stop.plans) == (inf, [])


# The sync wait


def test_run_gives_what_the_call_gives():
    stop = StopSignal()
    assert run(stop, current_waits) is stop.waits
    assert current_waits() is None


def test_run_lets_the_calls_own_error_pass():
    with pytest.raises(ValueError, match="mine"):
        run(StopSignal(), raising(ValueError("mine")))
    assert current_waits() is None


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
    with pytest.raises(Stopped):
        run(stop, call)
    assert called == []


@pytest.mark.parametrize("end", ["fire", "expire"])
def test_run_does_not_take_a_keyboard_interrupt_for_the_stop(end):
    stop = Plans()

    def call():
        stop.fire() if end == "fire" else stop.look(LONG_AGO)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(stop, call, LONG_AGO)
    assert stop.due == inf


def test_run_ends_in_time():
    stop = StopSignal()
    for _ in range(3):
        with pytest.raises(Expired):
            run(stop, lambda: read(stop), monotonic() + 0.001)
    assert run(stop, lambda: "next") == "next"


def test_a_rest_is_woken_by_a_stop():
    stop, resting = StopSignal(), threading.Event()

    class Noted(list):
        def append(self, wake):
            super().append(wake)
            resting.set()

    stop.waits._wakes = Noted()
    presser = threading.Thread(target=lambda: (resting.wait(PATIENCE), stop.fire()))
    presser.start()
    with pytest.raises(Stopped):
        run(stop, lambda: until_woken(stop))
    presser.join()
    assert stop.waits._wakes == []


@pytest.mark.parametrize("end", [END, ValueError, Woken])
def test_run_is_expired_if_the_call_gave_nothing(end):
    stop = Plans()

    def call():
        stop.look(LONG_AGO)
        if end is not END:
            raise end
        return END

    with pytest.raises(Expired):
        run(stop, call, LONG_AGO)
    assert run(stop, lambda: "next") == "next"


def test_an_item_of_the_last_moment_is_given_and_the_next_wait_is_told():
    stop = Plans()

    def call():
        stop.look(LONG_AGO)
        return "item"

    for following in (lambda: read(stop), lambda: "what nobody can wake"):
        assert run(stop, call, LONG_AGO) == "item"
        with pytest.raises(Expired):
            run(stop, following)
    assert run(stop, lambda: END) is END


def test_an_expiry_between_two_waits_is_told_at_the_next():
    stop = Plans()
    run(stop, lambda: stop.waits.enter(ignore), LONG_AGO)
    stop.due = LONG_AGO  # as the alarm saw it, a moment before that wait was over
    stop.look(LONG_AGO)
    with pytest.raises(Expired):
        run(stop, lambda: stop.waits.enter(ignore), LONG_AGO)
    run(stop, lambda: stop.waits.enter(ignore))


@pytest.mark.parametrize("order", ["stop first", "deadline first"])
@pytest.mark.parametrize("end", [None, ValueError])
def test_of_a_stop_and_a_deadline_the_stop_wins(order, end):
    stop = Plans()

    def call():
        stop.fire("why") if order == "stop first" else stop.look(LONG_AGO)
        stop.look(LONG_AGO) if order == "stop first" else stop.fire("why")
        if end is not None:
            raise end

    with pytest.raises(Stopped):
        run(stop, call, LONG_AGO)


def test_a_wait_that_no_deadline_limits_looks_at_no_clock():
    stop = Plans()
    run(stop, ignore)
    assert stop.plans == []


def test_one_plan_serves_many_waits():
    stop = Plans()
    for due in (5, 6, 7):
        run(stop, ignore, due)
        assert stop.due == inf
    assert stop.plans == [5]


def test_woken_for_nothing_is_not_taken_for_a_stop():
    stop = StopSignal()
    stop.retire()
    with pytest.raises(Woken):
        run(stop, lambda: until_woken(stop))


def test_a_deadline_of_the_outer_stream_frees_the_inner_one():
    outer, inner, blocked, ends = StopSignal(), StopSignal(), threading.Event(), []

    def block():
        blocked.set()
        until_woken(inner)

    def read_inner():
        with contextlib.suppress(Stopped):  # as its driver does, which then ends
            run(inner, block)
        return END

    def read_outer():
        try:
            run(outer, read_inner)
        except Expired:
            ends.append("expired")
        ends.append(run(outer, lambda: "next"))

    reader = threading.Thread(target=read_outer, daemon=True)
    reader.start()
    assert blocked.wait(PATIENCE)
    first = outer.waits
    outer.move(outer.waits, lambda: LONG_AGO)
    reader.join(PATIENCE)
    assert ends == ["expired", "next"]
    assert inner.fired
    assert not outer.fired
    assert first._wakes == outer.waits._wakes == inner.waits._wakes == []


def test_a_deadline_of_the_inner_stream_is_its_own():
    outer, inner = StopSignal(), StopSignal()

    def read_inner():
        with pytest.raises(Expired):
            run(inner, lambda: read(inner), LONG_AGO)
        return "late"

    assert run(outer, read_inner) == "late"
    assert not outer.waits.over


@pytest.mark.parametrize("end", ["fire", "retire"])
def test_a_stream_inside_anothers_iterable_is_stopped_with_it(end):
    outer, inner, blocked, freed = StopSignal(), StopSignal(), threading.Event(), threading.Event()

    def read_inner():
        inner.waits.enter(freed.set)
        blocked.set()
        assert freed.wait(PATIENCE)
        inner.waits.leave(freed.set)

    ends = []

    def read_outer():
        try:
            run(outer, lambda: run(inner, read_inner))
        except (Stopped, Woken) as error:
            ends.append(type(error))

    reader = threading.Thread(target=read_outer)
    reader.start()
    assert blocked.wait(PATIENCE)
    outer.fire("why") if end == "fire" else outer.retire()
    reader.join(PATIENCE)
    assert ends == [Stopped]
    assert inner.reason == ("why" if end == "fire" else "")
    assert outer.waits._wakes == inner.waits._wakes == []


def test_a_stream_inside_a_stopped_one_does_not_begin_a_wait():
    outer, inner, called = StopSignal(), StopSignal(), []

    def read_outer():
        outer.fire()
        run(inner, lambda: called.append(1))

    with pytest.raises(Stopped):  # of the outer one
        run(outer, read_outer)
    assert called == []
    assert current_waits() is None


# The async wait


async def forever():
    await asyncio.Event().wait()


async def start(stop, call, due=inf):
    """Begin a wait in a task, and let it come to its suspension."""

    async def body():
        try:
            return await arun(stop, call, due)
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


def test_arun_ends_in_time():
    async def main():
        stop = StopSignal()
        for call in (forever, lambda: auntil_woken(stop), forever):
            with pytest.raises(Expired):
                await asyncio.wait_for(arun(stop, call, monotonic() + 0.001), PATIENCE)
            assert asyncio.current_task().cancelling() == 0
        assert await arun(stop, lambda: asyncio.sleep(0, "next")) == "next"

    asyncio.run(main())


def test_the_wake_of_one_attempt_does_not_reach_the_next(monkeypatch):
    monkeypatch.setattr(stop_module, "_PATIENCE", 0)  # it is repeated in each turn of the loop

    async def main():
        stop = Plans()

        async def read():
            with pytest.raises(Expired):
                await arun(stop, forever, LONG_AGO)
            await arun(stop, forever)

        task = asyncio.create_task(read())
        await asyncio.sleep(0)
        stop.look(LONG_AGO)
        for _ in range(20):
            await asyncio.sleep(0)
        assert not task.done()
        stop.fire()
        with pytest.raises(Stopped):
            await asyncio.wait_for(task, PATIENCE)

    asyncio.run(main())


def test_arun_looks_again_when_it_was_too_soon():
    async def main():
        stop, reads = StopSignal(), []

        async def read():
            reads.append(1)
            stop.due = monotonic() + 0.02  # said meanwhile: it may last longer than was planned
            await forever()

        with pytest.raises(Expired):
            await asyncio.wait_for(arun(stop, read, monotonic() + 0.001), PATIENCE)
        assert reads == [1]

    asyncio.run(main())


@pytest.mark.parametrize("end", [ValueError, Woken])
def test_arun_is_expired_if_the_call_gave_nothing(end):
    async def main():
        stop = Plans()

        async def call():
            await asyncio.sleep(0)
            stop.look(LONG_AGO)
            raise end

        with pytest.raises(Expired):
            await arun(stop, call, LONG_AGO)
        await asyncio.sleep(0)  # the wake comes when the wait is over: it must hit nothing
        assert asyncio.current_task().cancelling() == 0
        assert await arun(stop, lambda: asyncio.sleep(0, "next")) == "next"

    asyncio.run(main())


def test_an_item_of_the_last_moment_is_given_and_the_next_await_is_its_own():
    async def main():
        stop = Plans()

        async def call():
            stop.look(LONG_AGO)
            return "item"

        assert await arun(stop, call, LONG_AGO) == "item"
        task = await start(stop, forever)
        for _ in range(5):
            await asyncio.sleep(0)
        assert not task.done()
        stop.fire()
        assert await asyncio.wait_for(task, PATIENCE) == ("stopped", 0)

    asyncio.run(main())


@pytest.mark.parametrize("acts", ["ds", "sd"])
def test_of_a_stop_and_a_deadline_the_stop_wins_in_a_task(acts):
    async def main():
        stop = Plans()
        task = await start(stop, forever, LONG_AGO)
        for act in acts:
            stop.look(LONG_AGO) if act == "d" else stop.fire()
        assert await asyncio.wait_for(task, PATIENCE) == ("stopped", 0)

    asyncio.run(main())


@pytest.mark.parametrize("acts", ["dc", "cd", "dcc", "sdc", "cds"])
def test_a_genuine_cancellation_wins_over_a_deadline(acts):
    async def main():
        stop = Plans()
        task = await start(stop, forever, LONG_AGO)
        for act in acts:
            {"c": task.cancel, "s": stop.fire, "d": lambda: stop.look(LONG_AGO)}[act]()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelling() == acts.count("c")

    asyncio.run(main())


def test_a_genuine_cancellation_right_behind_the_deadlines_own_wins():
    async def main():
        stop = Plans()
        task = await start(stop, forever, LONG_AGO)
        stop.look(LONG_AGO)
        asyncio.get_running_loop().call_soon(task.cancel)  # runs behind the wake, in its turn
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelling() == 1

    asyncio.run(main())


@pytest.mark.parametrize("end", ["fire", "expire"])
def test_arun_does_not_take_a_keyboard_interrupt_for_the_stop(end):
    async def main():
        stop = Plans()

        async def call():
            stop.fire() if end == "fire" else stop.look(LONG_AGO)
            raise KeyboardInterrupt

        await arun(stop, call, LONG_AGO)

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(main())


@pytest.mark.parametrize("call", [lambda: asyncio.sleep(0), lambda: rejected()])
def test_nobody_waits_any_more_when_an_await_is_over(call):
    async def main():
        stop = Plans()
        with contextlib.suppress(ValueError):
            await arun(stop, call, 5)
        assert stop.due == inf

    asyncio.run(main())


async def rejected():
    raise ValueError


def test_a_deadline_of_the_outer_stream_frees_the_inner_one_of_the_same_task():
    async def main():
        outer, inner, ends = Plans(), Plans(), []

        async def read_inner():
            try:
                await arun(inner, forever)
            except asyncio.CancelledError:
                ends.append("cancelled")
                raise

        async def read_outer():
            try:
                await arun(outer, read_inner, LONG_AGO)
            except Expired:
                ends.append("expired")
            return asyncio.current_task().cancelling()

        task = asyncio.create_task(read_outer())
        await asyncio.sleep(0)
        outer.look(LONG_AGO)
        assert await asyncio.wait_for(task, PATIENCE) == 0
        assert ends == ["cancelled", "expired"]
        assert not inner.fired

    asyncio.run(main())


@pytest.mark.parametrize("end", ["stop", "expiry"])
def test_a_wake_in_the_moment_of_anothers_cancellation_is_not_lost(end):
    # asyncio.timeout and anyio's scopes cancel the task and take that back, in the middle of
    # the call: the stream's own wake comes while theirs is under way.
    async def main():
        stop, scope_is_over = StopSignal(), asyncio.Event()

        async def call():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0):
                    stop.fire() if end == "stop" else stop.expire()
                    await forever()
            scope_is_over.set()
            await forever()

        with pytest.raises(Stopped if end == "stop" else Expired):
            await asyncio.wait_for(arun(stop, call), PATIENCE)
        assert scope_is_over.is_set()

    asyncio.run(main())


def test_a_stream_read_in_a_second_loop_has_its_deadline_there():
    stop = StopSignal()

    async def give():
        return "item"

    async def first():
        return await arun(stop, give, monotonic() + 5)

    async def second():
        with pytest.raises(Expired):
            await asyncio.wait_for(arun(stop, forever, monotonic() + 0.01), PATIENCE)

    assert asyncio.run(first()) == "item"
    asyncio.run(second())


def test_the_task_that_reads_now_is_woken():
    async def main():
        stop = StopSignal()
        first = await start(stop, lambda: asyncio.sleep(0, "item"))
        assert await first == "item"
        second = await start(stop, forever)
        stop.fire()
        assert await asyncio.wait_for(second, PATIENCE) == ("stopped", 0)

    asyncio.run(main())


def test_a_plan_does_not_hold_a_stream_alive():
    async def main():
        stop = StopSignal()
        await arun(stop, lambda: asyncio.sleep(0), monotonic() + 0.001)
        gone = weakref.ref(stop)
        del stop
        gc.collect()
        assert gone() is None
        await asyncio.sleep(0.01)  # the timer finds nobody

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
        stop.waits.enter(lambda woken=woken: woken.append(1))
        gate = threading.Barrier(5)

        def fire(number, stop=stop, gate=gate):
            gate.wait()
            stop.fire(str(number))

        threads = [threading.Thread(target=fire, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        gate.wait()
        for thread in threads:
            thread.join(PATIENCE)
        assert woken == [1]
        assert stop.reason in "0123"


def test_a_deadline_that_is_moved_before_the_first_wait_in_another_loop():
    """As a connection being made tells of it: by the new loop's timer, not the closed one's."""
    stop = StopSignal()
    asyncio.run(arun(stop, lambda: asyncio.sleep(0)))

    async def connect():
        stop.move(stop.waits, lambda: monotonic() + 0.001)
        await asyncio.get_running_loop().create_future()

    with pytest.raises(Expired):
        asyncio.run(asyncio.wait_for(arun(stop, connect, monotonic() + 60), PATIENCE))
