"""
The stop of one stream: the first reason wins, and whoever waits for the stream is woken.

A wait says how it can be woken (`StopSignal.enter`), and `fire` does so, from any thread,
task or signal handler. Both happen under one lock, so a wake never reaches a wait that is
over: that is what keeps a late stop away from the next request on the same connection.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

from llm_kit.errors import LLMKitError
from llm_kit.types import Status

T = TypeVar("T")

_PATIENCE = 0.05  # seconds after which a cancellation that did nothing is repeated
Wake = Callable[[], object]


class Stopped(BaseException):
    """
    Raised in a wait that was woken by a stop; never leaves the package.

    A BaseException, because it travels through HTTP stacks that handle `Exception`.
    """


class StopSignal:
    """Whether, how and why one stream has been stopped."""

    def __init__(self) -> None:
        self.fired = False
        self.status: Status = "interrupted"
        self.error: LLMKitError | None = None
        self.reason = ""
        self.patience: float | None = None
        """Seconds that a tapped read may take, in place of the HTTP client's own timeout."""
        # Re-entrant: a signal handler may fire while its own thread is in here.
        self._lock = threading.RLock()
        self._wakes: list[Wake] = []
        self._retired = False
        self.task_wait: TaskWait | None = None
        """How the tasks are woken that wait for this stream; see `arun`."""

    def fire(
        self,
        status: Status = "interrupted",
        error: LLMKitError | None = None,
        *,
        reason: str = "",
    ) -> None:
        """
        Stop the stream; without effect if it has been stopped or has ended before.

        Args:
            reason: whatever the caller said.
            status: how the stream shall end.
            error: what the reader's loop shall raise, None to let it end normally.
        """
        with self._lock:
            if self.fired or self._retired:
                return
            self.status, self.error, self.reason = status, error, reason
            self.fired = True
            for wake in self._wakes:
                wake()

    @property
    def over(self) -> bool:
        """Whether nobody waits for the stream any more: it was stopped, or has ended."""
        return self.fired or self._retired

    def retire(self) -> bool:
        """
        End the stream's time: later stops are no-ops, and a call left behind is woken.

        Returns:
            True the first time.
        """
        with self._lock:
            first, self._retired = not self._retired, True
            for wake in self._wakes:
                wake()
        return first

    def enter(self, wake: Wake) -> None:
        """
        Begin a wait that ``wake`` can end; ``wake`` must not block.

        Raises:
            Stopped: the stop has fired or the stream is over, there is nothing to wait for.
        """
        with self._lock:
            # Appended first: a signal handler may fire between any two lines here.
            self._wakes.append(wake)
            if self.over:
                self._wakes.remove(wake)
                raise Stopped

    def leave(self, wake: Wake) -> None:
        """End the wait: from here on ``wake`` is not called any more."""
        with self._lock:
            if wake in self._wakes:
                self._wakes.remove(wake)


# Whose wait this thread is in. Sockets that are tapped (see `tap`) ask this, so that a stop
# finds the socket even if it is read deep inside somebody else's code.
class _Waiting(threading.local):
    stop: StopSignal | None = None


_waiting = _Waiting()


def current_stop() -> StopSignal | None:
    """Give the stop of the stream that this thread is waiting for."""
    return _waiting.stop


def run(stop: StopSignal, call: Callable[[], T]) -> T:
    """
    Make a call that may block, for the stream of ``stop``.

    Raises:
        Stopped: the stop fired before or during the call, whatever the call then did.
    """
    if stop.fired:
        raise Stopped
    outer = _waiting.stop
    wake: Wake | None = None
    if outer is not None:  # this stream is read inside the iterable of another
        wake = partial(_stop_inner, stop, outer)
        outer.enter(wake)
    _waiting.stop = stop
    try:
        result = call()
    except Exception:
        if stop.fired:
            raise Stopped from None  # the error is the wake's, not the network's
        raise
    finally:
        _waiting.stop = outer
        if outer is not None and wake is not None:
            outer.leave(wake)
    if stop.fired:
        raise Stopped
    return result


def _stop_inner(stop: StopSignal, outer: StopSignal) -> None:
    # By a thread, so that nobody ever holds the locks of two stops.
    threading.Thread(target=stop.fire, kwargs={"reason": outer.reason}, daemon=True).start()


async def arun(stop: StopSignal, call: Callable[[], Awaitable[T]]) -> T:
    """
    Await a call for the stream of ``stop``: the async twin of `run`.

    The task is woken by `asyncio.Task.cancel`, and our cancellation is taken back with
    `uncancel`; anybody else's passes through, also if both come at once.

    Raises:
        Stopped: the stop fired before or during the call, whatever the call then did.
    """
    wait = stop.task_wait
    if wait is None:
        wait = stop.task_wait = TaskWait()
        stop.enter(wait.wake)
    task = asyncio.current_task()
    assert task is not None, "a stream is read in a task"  # noqa: S101  narrows the type
    # A cancellation that is requested but not yet delivered is still to come: it is not ours.
    before = task.cancelling() - getattr(task, "_must_cancel", False)
    wait.before = before
    try:
        wait.task = task
        if stop.fired:  # asked when `wake` knows the task: one of the two notices a stop
            raise Stopped
        result = await call()
    except asyncio.CancelledError:
        wait.task = None
        if wait.cancelled and wait.take_back(task) <= before:
            raise Stopped from None
        raise
    except Exception:
        if stop.fired:
            raise Stopped from None
        raise
    finally:
        wait.task = None
        wait.take_back(task)  # where an item or an error won the race
    if stop.fired:
        raise Stopped
    return result


class TaskWait:
    """The wait of whichever task is reading a stream; one for all of its reads."""

    def __init__(self) -> None:
        self.task: asyncio.Task[Any] | None = None
        self.before = 0
        self.cancelled = 0

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
        # If somebody else has cancelled the task, a second cancellation would only break into
        # the cleanup that is under way.
        task = self.task
        if task is not None and task.cancelling() <= self.before + self.cancelled:
            self.cancelled += 1
            task.cancel()
            # A cancel scope that ends in the same moment takes the cancellation for its own and
            # swallows it (anyio's, when a connection is made): ask again.
            task.get_loop().call_later(_PATIENCE, self._cancel)

    def take_back(self, task: asyncio.Task[Any]) -> int:
        """Take our cancellations back; gives how many of others are left."""
        while self.cancelled:
            self.cancelled -= 1
            task.uncancel()
        return task.cancelling()
