"""
A thread that makes calls for a reader who may walk away in the middle of one.

It serves where a blocked call can't be woken itself: name resolution and connecting, an
HTTP/2 connection that others share, any iterator of somebody else's.
"""

from __future__ import annotations

import contextvars
import logging
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

from llm_kit._io.stop import Waits, Woken, waiting_for

T = TypeVar("T")

log = logging.getLogger("llm_kit")

_WOKEN = object()


class Background:
    """
    Makes one call at a time on a thread of its own, in the context (contextvars) of the first.

    Args:
        waits: wake the caller; the call itself goes on until it returns.
    """

    def __init__(self, waits: Waits) -> None:
        self._waits = waits
        self._calls: SimpleQueue[tuple[Callable[[], Any], bool]] = SimpleQueue()
        self._outcomes: SimpleQueue[Any] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._calling = False

    def call(self, function: Callable[[], T]) -> T:
        """
        Make a call and wait for it.

        Raises:
            Woken: the call has been left behind.
        """

        def wake() -> None:
            self._outcomes.put(_WOKEN)

        self._waits.enter(wake)
        try:
            if self._thread is None:
                # A daemon, so that a call that never returns doesn't hold up the exit.
                thread = threading.Thread(
                    target=contextvars.copy_context().run,
                    args=(_serve, self._waits, self._calls, self._outcomes),
                    name="llm_kit background reader",
                    daemon=True,
                )
                thread.start()
                self._thread = thread  # only now: a thread that can't start can't be joined
            self._calling = True
            self._calls.put((function, False))
            outcome = self._outcomes.get()
        finally:
            self._waits.leave(wake)
        if outcome is _WOKEN:
            raise Woken
        self._calling = False
        result: T
        result, error = outcome
        if error is not None:
            raise error
        return result

    def end(self, cleanup: Callable[[], None] | None = None) -> threading.Thread | None:
        """
        End the thread, and let it clean up as its last act: what it reads, it closes.

        Returns:
            None, when that is done; or at once the thread, if a call is still under way in it,
            after which it will be done.
        """
        thread, self._thread = self._thread, None
        if thread is None:
            if cleanup is not None:
                cleanup()
            return None
        self._calls.put((cleanup or _nothing, True))
        if self._calling:
            return thread
        thread.join()
        return None


def _nothing() -> None:
    return


# A function, not a method: the thread must not keep the Background and its owner alive.
def _serve(
    waits: Waits,
    calls: SimpleQueue[tuple[Callable[[], Any], bool]],
    outcomes: SimpleQueue[Any],
) -> None:
    while True:
        call, last = calls.get()
        if last:
            try:
                call()
            except Exception:  # there is nobody left to raise to
                log.warning("closing a stream failed", exc_info=True)
            return
        outcome: tuple[Any, BaseException | None]
        try:
            outcome = (waiting_for(waits, call), None)
        except BaseException as error:  # raised again in the caller
            outcome = (None, error)
        outcomes.put(outcome)
        del call, outcome
