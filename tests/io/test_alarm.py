"""The one thread that looks at the clock: when, for whom, and what it holds alive."""

import gc
import os
import threading
import weakref
from math import inf
from time import monotonic

import pytest
from loopback import PATIENCE, wait_until

from llm_kit._io import alarm as alarm_module
from llm_kit._io.alarm import Watch


class Looker:
    """Notes for which moments it was asked to look, when, and in which thread."""

    def __init__(self):
        self.looked, self.threads = [], []
        self.done = threading.Event()

    def look(self, planned):
        self.looked.append((planned, monotonic()))
        self.threads.append(threading.current_thread())
        self.done.set()


def look_later(looker, when):
    alarm_module._alarm.add(looker, when)


@pytest.fixture
def alarm():
    """An alarm of the test's own, whose thread has nothing else to look for."""
    return alarm_module._Alarm()


def waits_for(alarm):
    """Whether the thread waits for its next plan: only then does it give its lock away."""
    return wait_until(lambda: alarm._changed._waiters)


# The watch


class Noted(Watch):
    """A watch whose looks are noted and not made, but by the test."""

    def __init__(self, due=inf):
        super().__init__()
        self.expired, self.planned = 0, []
        self.due = due

    def look_later(self, when):
        self.planned.append(when)

    def time_is_up(self):
        self.expired += 1
        self.due = inf


def planned_watch(look_at, due):
    watch = Noted(due)
    watch.look_at = look_at
    return watch


def test_a_wait_that_has_lasted_long_enough_is_ended_once():
    watch = planned_watch(-inf, due=-inf)
    watch.look(-inf)
    watch.look(-inf)
    assert (watch.expired, watch.due, watch.look_at, watch.planned) == (1, inf, inf, [])


def test_a_look_before_the_time_looks_again_when_it_has_come():
    due = monotonic() + 5
    watch = planned_watch(-inf, due)
    watch.look(-inf)
    assert (watch.expired, watch.due, watch.look_at, watch.planned) == (0, due, due, [due])


def test_a_look_while_nobody_waits_plans_no_other():
    watch = planned_watch(-inf, due=inf)
    watch.look(-inf)
    assert (watch.expired, watch.look_at, watch.planned) == (0, inf, [])


def test_a_look_whose_plan_has_been_replaced_does_nothing():
    watch = planned_watch(look_at=3, due=-inf)
    watch.look(5)
    assert (watch.expired, watch.look_at, watch.planned) == (0, 3, [])


def test_a_sooner_plan_that_is_made_while_another_is_holds():
    later = monotonic() + 5
    sooner = later - 1

    class Racing(Noted):
        def look_later(self, when):
            super().look_later(when)
            self.due = sooner  # the reader begins a shorter wait, and sees the old plan

    watch = Racing(later)
    watch.look_at = -inf
    watch.look(-inf)
    assert (watch.look_at, watch.planned) == (sooner, [later, sooner])


def test_nothing_is_planned_far_ahead():
    watch, before = Noted(), monotonic()
    watch.plan(before + 1e6)
    watch.plan(before + 1)
    assert before < watch.planned[0] <= monotonic() + alarm_module._HORIZON
    assert watch.planned[1] == watch.look_at == before + 1


def test_a_far_deadline_is_looked_at_again_and_again(monkeypatch):
    monkeypatch.setattr(alarm_module, "_HORIZON", 0.005)
    ended, looks = threading.Event(), []

    class Far(Watch):
        def look(self, planned):
            looks.append(planned)
            super().look(planned)

        def time_is_up(self):
            self.due = inf
            ended.set()

    watch = Far()
    watch.due = due = monotonic() + 0.03
    watch.plan(due)
    assert ended.wait(PATIENCE)
    assert monotonic() >= due
    assert len(looks) > 1


def test_what_a_watch_ends_is_its_streams_affair():
    with pytest.raises(NotImplementedError):
        Watch().time_is_up()


def test_a_wake_that_fails_leaves_the_watch_fit_for_the_next_wait():
    class Failing(Noted):
        def time_is_up(self):
            self.due = inf
            raise RuntimeError("can't start new thread")

    watch = Failing(-inf)
    watch.look_at = -inf
    with pytest.raises(RuntimeError):
        watch.look(-inf)
    assert watch.look_at == inf


# The thread


def test_looks_when_the_moment_has_come():
    looker, when = Looker(), monotonic() + 0.01
    look_later(looker, when)
    assert looker.done.wait(PATIENCE)
    ((planned, looked),) = looker.looked
    assert planned == when <= looked


def test_looks_at_once_if_the_moment_has_passed():
    looker = Looker()
    look_later(looker, -inf)
    assert looker.done.wait(PATIENCE)


def test_the_soonest_is_looked_at_first(alarm):
    now, order = monotonic(), []

    class Ordered(Looker):
        def look(self, planned):
            order.append(round(planned - now, 2))
            super().look(planned)

    lookers = [Ordered() for _ in range(3)]
    with alarm._changed:  # a re-entrant lock: the thread sees all three at once
        for looker, later in zip(lookers, (0.03, 0.01, 0.02), strict=True):
            alarm.add(looker, now + later)
    assert all(looker.done.wait(PATIENCE) for looker in lookers)
    assert order == [0.01, 0.02, 0.03]


def test_a_sooner_plan_wakes_the_thread(alarm):
    far, soon = Looker(), Looker()
    alarm.add(far, monotonic() + 1000)
    assert waits_for(alarm)
    alarm.add(soon, monotonic())
    assert soon.done.wait(PATIENCE)
    assert far.looked == []


def test_a_later_plan_does_not(alarm):
    lookers = [Looker(), Looker()]
    alarm.add(lookers[0], monotonic() + 1000)
    assert waits_for(alarm)
    waiter = alarm._changed._waiters[0]
    alarm.add(lookers[1], monotonic() + 2000)
    assert list(alarm._changed._waiters) == [waiter]


def test_many_share_one_thread():
    lookers = [Looker() for _ in range(200)]
    when = monotonic() + 0.001  # of the same moment, too: they are not compared
    for looker in lookers:
        look_later(looker, when)
    assert all(looker.done.wait(PATIENCE) for looker in lookers)
    (thread,) = {thread for looker in lookers for thread in looker.threads}
    assert thread.daemon
    assert thread is not threading.current_thread()


def test_many_threads_plan_at_once():
    lookers = [Looker() for _ in range(50)]
    gate = threading.Barrier(len(lookers))

    def plan(looker):
        gate.wait(PATIENCE)
        look_later(looker, monotonic() + 0.002)

    threads = [threading.Thread(target=plan, args=(looker,)) for looker in lookers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert all(looker.done.wait(PATIENCE) for looker in lookers)
    assert len({thread for looker in lookers for thread in looker.threads}) == 1


def test_without_a_plan_there_is_no_thread(alarm):
    assert alarm._thread is None


def test_when_all_was_looked_at_the_thread_waits_for_more(alarm):
    for _ in range(2):
        looker = Looker()
        alarm.add(looker, monotonic())
        assert looker.done.wait(PATIENCE)
        assert waits_for(alarm)
    assert alarm._plans == []


def test_a_plan_holds_nobody_alive(alarm):
    looker, behind = Looker(), Looker()
    alarm.add(looker, monotonic() + 0.01)
    alarm.add(behind, monotonic() + 0.02)
    gone = weakref.ref(looker)
    del looker
    gc.collect()
    assert gone() is None
    assert behind.done.wait(PATIENCE)  # behind one that is not there any more


def test_the_thread_does_not_hold_whom_it_looked_for(alarm):
    looker = Looker()
    alarm.add(looker, monotonic())
    assert looker.done.wait(PATIENCE)
    gone = weakref.ref(looker)
    del looker
    assert wait_until(lambda: gone() is None)


def test_a_look_may_plan_the_next_one(alarm):
    class Again(Looker):
        def look(self, planned):
            if not self.looked:
                alarm.add(self, planned + 0.001)
                self.looked.append(planned)
            else:
                super().look(planned)

    looker = Again()
    alarm.add(looker, monotonic())
    assert looker.done.wait(PATIENCE)


def test_one_that_fails_does_not_stop_the_clock_for_the_others(alarm, caplog):
    class Failing:
        def look(self, planned):
            raise RuntimeError("can't start new thread")

    failing, behind = Failing(), Looker()
    with alarm._changed:
        alarm.add(failing, -inf)
        alarm.add(behind, monotonic())
    assert behind.done.wait(PATIENCE)
    assert [record.getMessage() for record in caplog.records] == [
        "a deadline could not wake its stream"
    ]


def test_a_thread_that_cannot_be_started_is_started_by_the_next(alarm, monkeypatch):
    def refuse(self):
        raise RuntimeError("can't start new thread")

    looker = Looker()
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="can't start"):
            alarm.add(looker, -inf)
    alarm.add(looker, -inf)
    assert looker.done.wait(PATIENCE)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("held", [False, True], ids=["", "while its lock is held"])
def test_after_a_fork_it_starts_over(held):
    before = Looker()
    look_later(before, -inf)
    assert before.done.wait(PATIENCE)
    forked = alarm_module._alarm
    reading, writing = os.pipe()
    if held:
        forked._changed.acquire()
    child = os.fork()
    if child == 0:
        said = b"blocked"
        try:
            looker = Looker()
            planning = threading.Thread(target=look_later, args=(looker, -inf), daemon=True)
            planning.start()
            said = b"looked" if looker.done.wait(PATIENCE) else said
        finally:
            os.write(writing, said)
            os._exit(0)
    if held:
        forked._changed.release()
    os.close(writing)
    os.waitpid(child, 0)
    with open(reading, "rb") as answer:
        assert answer.read() == b"looked"
    assert alarm_module._alarm is forked  # the parent's goes on


def test_starting_over_drops_all_plans(monkeypatch):
    monkeypatch.setattr(alarm_module, "_alarm", alarm_module._alarm)
    before = alarm_module._alarm
    alarm_module._start_over()  # in a child process, where no coverage is measured
    assert alarm_module._alarm is not before
    looker = Looker()
    look_later(looker, -inf)
    assert looker.done.wait(PATIENCE)
