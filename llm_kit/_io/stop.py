"""
The stop of one stream: the first reason wins, and whoever waits for the stream is woken.

A wait says how it can be woken (`Waits.enter`), and a stop does so, from any thread, task or
signal handler. Both happen under one lock, so a wake never reaches a wait that is over: that
is what keeps a late stop away from the next request on the same connection.

A deadline is the same act, done by a timer; but it ends only the waits of one attempt, and the
stream goes on to decide what that means.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from functools import partial
from math import inf
from time import monotonic
from typing import Any, TypeVar
from weakref import ref

from llm_kit._core.session import END
from llm_kit._io.alarm import Watch, look
from llm_kit.errors import LLMKitError

T = TypeVar("T")

_PATIENCE = 0.05  # seconds after which a cancellation that did nothing is repeated
Wake = Callable[[], object]


class Woken(BaseException):
    """
    Raised in a wait that is over before it began; never leaves the package.

    These three are BaseExceptions, because they travel through HTTP stacks that handle
    `Exception`.
    """


class Stopped(BaseException):
    """Raised by `run` and `arun`: the stream was stopped."""


class Expired(BaseException):
    """Raised by `run` and `arun`: the wait has lasted as long as it may."""


class Waits:
    """How those can be woken who wait for one attempt of a stream."""

    def __init__(self, lock: Any) -> None:
        self._lock = lock
        self._wakes: list[Wake] = []
        self.over = False
        """Whether nobody waits any more, and nobody may begin to."""
        self.reason = ""

    def enter(self, wake: Wake) -> None:
        """
        Begin a wait that ``wake`` can end; ``wake`` must not block.

        Raises:
            Woken: there is nothing to wait for any more.
        """
        with self._lock:
            # Appended first: a signal handler may stop the stream between any two lines here.
            self._wakes.append(wake)
            if self.over:
                self._wakes.remove(wake)
                raise Woken

    def leave(self, wake: Wake) -> None:
        """End the wait: from here on ``wake`` is not called any more."""
        with self._lock:
            if wake in self._wakes:
                self._wakes.remove(wake)

    def end(self, reason: str = "") -> None:
        """Wake everybody."""
        with self._lock:
            self.over, self.reason = True, self.reason or reason
            for wake in self._wakes:
                wake()


class StopSignal(Watch):
    """Whether, how and why one stream has been stopped; and its watch, which ends long waits."""

    def __init__(self) -> None:
        super().__init__()
        self.fired = False
        self.error: LLMKitError | None = None
        self.reason = ""
        # Re-entrant: a signal handler may fire while its own thread is in here.
        self._lock = threading.RLock()
        self.waits = Waits(self._lock)
        self._retired = False
        self.task_wait: TaskWait | None = None
        """How the tasks are woken that wait for this stream; see `arun`."""
        self.expired = False
        """Whether a wait has lasted too long and nobody was told yet."""

    def fire(self, reason: str = "", error: LLMKitError | None = None) -> None:
        """
        Stop the stream; without effect if it has been stopped or has ended before.

        Args:
            reason: whatever the caller said.
            error: what the reader's loop shall raise, None to let it end normally.
        """
        with self._lock:
            if self.fired or self._retired:
                return
            self.error, self.reason = error, reason
            self.fired = True
            self.waits.end(reason)

    def retire(self) -> bool:
        """
        End the stream's time: later stops are no-ops, and a call left behind is woken.

        Returns:
            True the first time.
        """
        with self._lock:
            first, self._retired = not self._retired, True
            self.waits.end()
        return first

    def move(self, waits: Waits, due: Callable[[], float]) -> None:
        """Change when the wait must end that is under way, unless it is another one by now."""
        with self._lock:
            if waits is self.waits and not waits.over:
                self.due = due()
                if self.due < self.look_at:
                    self.plan(self.due)

    def time_is_up(self) -> None:
        """End the waits of this attempt, if the moment has not been moved meanwhile."""
        with self._lock:
            if self.due <= monotonic():
                self.due = inf
                self.expire()

    def expire(self) -> None:
        """
        End the waits of this attempt: time is up.

        The reader takes no lock when it ends a wait, so this may come a moment later; it is
        then told at its next one.
        """
        with self._lock:
            if not self.waits.over:
                self.expired = True
                self.waits.end()

    def renew(self) -> None:
        """Begin anew, with waits of another attempt."""
        with self._lock:
            self.expired, self.task_wait = False, None
            if not (self.fired or self._retired):
                self.waits = Waits(self._lock)

    def judge(self) -> None:
        """
        A wait was woken, perhaps: say by whose doing.

        Raises:
            Stopped: the stream was stopped.
            Expired: the wait has lasted as long as it may; another one may begin.
        """
        with self._lock:
            if self.fired:
                raise Stopped
            if self.expired:
                self.renew()
                raise Expired

    def look_later(self, when: float) -> None:
        """Plan a look at the clock: by the loop's own timer, if a task is reading."""
        if self.task_wait is None:
            super().look_later(when)
        else:
            self.task_wait.loop.call_later(max(0.0, when - monotonic()), look, ref(self), when)


# Whose wait this thread is in. Sockets that are tapped (see `tap`) ask this, so that a stop
# finds the socket even if it is read deep inside somebody else's code.
class _Waiting(threading.local):
    waits: Waits | None = None


_waiting = _Waiting()


def current_waits() -> Waits | None:
    """Give those in whose name this thread is waiting."""
    return _waiting.waits


def waiting_for(waits: Waits, call: Callable[[], T]) -> T:
    """Make a call in their name."""
    outer, _waiting.waits = _waiting.waits, waits
    try:
        return call()
    finally:
        _waiting.waits = outer


def run(stop: StopSignal, call: Callable[[], T], due: float = inf) -> T:
    """
    Make a call that may block, for the stream of ``stop``, until ``due`` at the longest.

    Raises:
        Stopped: the stream was stopped, whatever the call then gave.
        Expired: the wait has lasted too long. An item that came at the last moment is given
            all the same; the next call is then told.
    """
    waits = stop.waits
    if waits.over:  # also where no socket is entered that would say so
        stop.judge()
    stop.due = due
    if due < stop.look_at:
        stop.plan(due)
    outer = _waiting.waits
    if outer is not None:  # this stream is read inside the iterable of another
        call = partial(_call_inside, outer, stop, call)
    _waiting.waits = waits
    try:
        result = call()
    except (Exception, Woken):
        stop.judge()  # the error is the wake's, not the network's
        raise
    finally:
        stop.due = inf
        _waiting.waits = outer
    # The end of a body that was shut down is not its own.
    if waits.over and (stop.fired or result is END):
        stop.judge()
    return result


def _call_inside(outer: Waits, stop: StopSignal, call: Callable[[], T]) -> T:
    wake = partial(_stop_inner, stop, outer)
    outer.enter(wake)
    try:
        return call()
    finally:
        outer.leave(wake)


def _stop_inner(stop: StopSignal, outer: Waits) -> None:
    # By a thread, so that nobody ever holds the locks of two stops.
    threading.Thread(target=stop.fire, args=(outer.reason,), daemon=True).start()


def until_woken(stop: StopSignal) -> None:
    """Wait for nothing but to be woken."""
    woken = threading.Event()
    waits = stop.waits
    waits.enter(woken.set)
    try:
        woken.wait()
    finally:
        waits.leave(woken.set)


async def arun(stop: StopSignal, call: Callable[[], Coroutine[Any, Any, T]], due: float = inf) -> T:
    """
    Await a call for the stream of ``stop``: the async twin of `run`.

    The task is woken by `asyncio.Task.cancel`, and our cancellation is taken back with
    `uncancel`; anybody else's passes through, also if both come at once.

    Raises:
        Stopped: the stream was stopped, whatever the call then gave.
        Expired: the wait has lasted too long. An item that came at the last moment is given
            all the same.
    """
    if stop.fired:
        raise Stopped
    loop, wait = asyncio.get_running_loop(), stop.task_wait
    if wait is None or wait.loop is not loop:
        wait = stop.task_wait = TaskWait(loop)
        stop.look_at = inf  # what was planned in another loop is not seen in this one
    stop.due = due
    try:
        awaited = call()
        try:
            # The first step by hand: mostly there is something to read already, and where
            # nothing waits nothing must be wakeable.
            pending = awaited.send(None)
        except StopIteration as returned:
            result: T = returned.value
        else:
            result = await _suspended(stop, wait, awaited, pending)
    except (Exception, Woken):
        stop.judge()
        raise
    finally:
        stop.due = inf
    if stop.fired:
        raise Stopped
    if stop.expired:  # no cancellation has reached the read: it may go on
        stop.renew()
    return result


async def _suspended(
    stop: StopSignal, wait: TaskWait, awaited: Coroutine[Any, Any, T], pending: object
) -> T:
    """Await the rest of a call that waits now, so that it can be woken."""
    task = asyncio.current_task()
    assert task is not None, "a stream is read in a task"  # noqa: S101  narrows the type
    if stop.due < stop.look_at:
        stop.plan(stop.due)
    # A cancellation that is requested but not yet delivered is still to come: it is not ours.
    before = task.cancelling() - getattr(task, "_must_cancel", False)
    wait.before = before
    try:
        wait.task = task
        wait.enter(stop.waits)
        result: T = await _Resumed(awaited, pending)
        return result
    except asyncio.CancelledError:
        wait.task = None
        if wait.cancelled and wait.take_back(task) <= before:
            stop.judge()
        raise
    finally:
        wait.task = None
        wait.take_back(task)  # where an item or an error won the race


class _Resumed:
    """Awaits the rest of a coroutine that has been stepped once, and asked for ``pending``."""

    __slots__ = ("_awaited", "_pending", "send")

    def __init__(self, awaited: Coroutine[Any, Any, Any], pending: object) -> None:
        self._awaited = awaited
        self._pending = [pending]
        self.send = awaited.send

    def throw(self, *error: Any) -> Any:
        return self._awaited.throw(*error)

    def close(self) -> None:
        self._awaited.close()

    def __await__(self) -> Any:  # a generator by what it can do
        return self

    def __iter__(self) -> _Resumed:
        return self

    def __next__(self) -> Any:
        return self._pending.pop() if self._pending else self.send(None)


async def auntil_woken(stop: StopSignal) -> None:  # noqa: ARG001  the twin's signature
    """Wait for nothing but to be woken."""
    await asyncio.get_running_loop().create_future()


class TaskWait:
    """The wait of whichever task is reading a stream; one for all of its reads."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._patience = _PATIENCE
        self.task: asyncio.Task[Any] | None = None
        self.before = 0
        self.cancelled = 0
        self._entered: Waits | None = None

    def enter(self, waits: Waits) -> None:
        """Let whoever ends these waits wake the task."""
        try:
            if waits is not self._entered:
                waits.enter(self.wake)
                self._entered = waits
        except Woken:
            self.wake()
        else:
            if waits.over:  # asked when `wake` knows the task: one of the two notices a stop
                self.wake()

    def wake(self) -> None:
        """Cancel the task, if it is waiting; from any thread."""
        task = self.task
        if task is not None:
            try:
                task.get_loop().call_soon_threadsafe(self._cancel)
            except RuntimeError:  # the loop is closed: nobody is waiting any more
                return

    def _cancel(self) -> None:
        # Runs in the loop, when the task is suspended: never while it is between two awaits,
        # where a cancellation could outlive the wait.
        task = self.task
        if task is None:
            return
        # If somebody else has cancelled the task, a second cancellation would only break into
        # the cleanup that is under way.
        if task.cancelling() <= self.before + self.cancelled:
            self.cancelled += 1
            task.cancel()
        # Until the wait is over: somebody else may take back the cancellation that was theirs,
        # and a cancel scope that ends in the same moment takes ours for its own and swallows it
        # (anyio's, when a connection is made).
        task.get_loop().call_later(self._patience, self._cancel)
        self._patience *= 2

    def take_back(self, task: asyncio.Task[Any]) -> int:
        """Take our cancellations back; gives how many of others are left."""
        while self.cancelled:
            self.cancelled -= 1
            task.uncancel()
        return task.cancelling()
