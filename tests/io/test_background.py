"""The background thread: calls are left behind, cleaned up after, and never doubled."""

import contextvars
import threading
import weakref

import pytest
from loopback import PATIENCE, wait_until

from llm_kit._io.background import Background
from llm_kit._io.stop import StopSignal, Waits, Woken, current_waits


@pytest.fixture
def stop():
    return StopSignal()


@pytest.fixture
def background(stop):
    made = Background(stop.waits)
    yield made
    made.end()


def test_makes_calls_on_one_thread_of_its_own(background):
    threads = {background.call(threading.current_thread) for _ in range(5)}
    assert len(threads) == 1
    assert threads != {threading.current_thread()}
    assert threads.pop().daemon


def test_calls_see_the_callers_context_and_for_whom_they_are_made(background, stop):
    variable = contextvars.ContextVar("variable")
    variable.set("set")
    assert background.call(variable.get) == "set"
    assert background.call(current_waits) is stop.waits


def test_raises_what_the_call_raises(background):
    with pytest.raises(ZeroDivisionError):
        background.call(lambda: 1 / 0)
    assert background.call(lambda: 1) == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_raises_even_what_is_no_exception(background, error):
    def call():
        raise error

    with pytest.raises(error):
        background.call(call)


class Blocked:
    """A call that blocks until it is told, and notes its end."""

    def __init__(self):
        self.began, self.go_on, self.ended = (threading.Event() for _ in range(3))

    def __call__(self):
        self.began.set()
        self.go_on.wait(PATIENCE)
        self.ended.set()
        return "late"


@pytest.mark.parametrize("how", ["fire", "retire", "expire"])
def test_the_caller_leaves_a_blocked_call_behind(background, stop, how):
    blocked, cleaned = Blocked(), threading.Event()

    def press():
        blocked.began.wait(PATIENCE)
        stop.waits.end() if how == "expire" else getattr(stop, how)()

    presser = threading.Thread(target=press)
    presser.start()
    with pytest.raises(Woken):
        background.call(blocked)
    presser.join()
    thread = background._thread
    background.end(cleaned.set)  # at once: the call is still under way
    assert not blocked.ended.is_set()
    assert not cleaned.is_set()
    blocked.go_on.set()
    assert cleaned.wait(PATIENCE)
    assert blocked.ended.is_set()
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_no_call_is_made_after_a_stop(background, stop):
    stop.fire()
    with pytest.raises(Woken):
        background.call(pytest.fail)
    assert background._thread is None


def test_the_call_and_the_stop_at_the_same_moment(stop):
    # Whichever is first, the caller is stopped, and the cleanup comes after the call.
    for _ in range(200):
        stop, order = StopSignal(), []
        background = Background(stop.waits)

        def call(stop=stop, order=order):
            stop.fire()
            order.append("call")

        with pytest.raises(Woken):
            background.call(call)
        done = threading.Event()
        background.end(lambda order=order, done=done: (order.append("cleanup"), done.set()))
        assert done.wait(PATIENCE)
        assert order == ["call", "cleanup"]


def test_the_end_waits_for_the_cleanup_which_the_thread_does(background):
    threads = [background.call(threading.current_thread)]
    background.end(lambda: threads.append(threading.current_thread()))
    assert threads[0] is threads[1]
    assert not threads[0].is_alive()


def test_the_end_without_a_thread_cleans_up_in_place(background):
    threads = []
    background.end(lambda: threads.append(threading.current_thread()))
    assert threads == [threading.current_thread()]
    background.end()


def test_a_cleanup_that_fails_is_logged(caplog):
    background = Background(StopSignal().waits)
    background.call(lambda: None)
    background.end(lambda: 1 / 0)
    (record,) = caplog.records
    assert record.getMessage() == "closing a stream failed"
    assert record.exc_info[0] is ZeroDivisionError


def test_a_thread_that_cannot_be_started(background, monkeypatch):
    def refuse(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(RuntimeError, match="can't start"):
        background.call(pytest.fail)
    cleaned = []
    background.end(lambda: cleaned.append(True))
    assert cleaned == [True]


def test_the_thread_keeps_no_result_alive(background):
    class Result:
        pass

    result = weakref.ref(background.call(Result))
    assert wait_until(lambda: result() is None)


def test_a_keyboard_interrupt_in_the_caller_leaves_the_call_behind(background, stop):
    blocked, cleaned = Blocked(), threading.Event()

    class Queue:
        def get(self):
            blocked.began.wait(PATIENCE)
            raise KeyboardInterrupt

        def put(self, outcome):
            pass

    background._outcomes = Queue()
    with pytest.raises(KeyboardInterrupt):
        background.call(blocked)
    assert stop.waits._wakes == []
    background.end(cleaned.set)
    blocked.go_on.set()
    assert cleaned.wait(PATIENCE)


def test_a_call_that_was_left_behind_is_still_made_for_those_who_left_it():
    # A connection that it taps is not woken for the next attempt, nor is anything begun for it.
    lock = threading.RLock()
    left, going_on = Waits(lock), Waits(lock)
    blocked, seen, done = Blocked(), [], threading.Event()

    def call():
        blocked()
        seen.append(current_waits())

    background, following = Background(left), Background(going_on)
    presser = threading.Thread(target=lambda: (blocked.began.wait(PATIENCE), left.end()))
    presser.start()
    with pytest.raises(Woken):
        background.call(call)
    presser.join()
    assert following.call(current_waits) is going_on
    blocked.go_on.set()
    background.end(done.set)
    assert done.wait(PATIENCE)
    assert seen == [left]
    following.end()


def test_a_result_that_comes_too_late_is_nobodys():
    # The outcome of a call that was left behind is not taken for the next one's.
    waits, blocked = Waits(threading.RLock()), Blocked()
    background = Background(waits)
    presser = threading.Thread(target=lambda: (blocked.began.wait(PATIENCE), waits.end()))
    presser.start()
    with pytest.raises(Woken):
        background.call(blocked)
    presser.join()
    blocked.go_on.set()
    assert blocked.ended.wait(PATIENCE)
    with pytest.raises(Woken):
        background.call(lambda: "next")
    background.end()
