"""
Watches: each looks at the clock when its stream may have waited long enough.

One thread looks for all sync streams of the process. It starts with the first stream that has a
deadline, and keeps none of them alive. (Async streams have their loop's own timers.)
"""

from __future__ import annotations

import heapq
import itertools
import logging
import os
import threading
from math import inf
from time import monotonic
from typing import Any
from weakref import ref

log = logging.getLogger("llm_kit")

_HORIZON = 10.0  # seconds ahead that a look at the clock is planned at most


class Watch:
    """
    Ends a wait that has lasted long enough.

    The reader only stores when its wait must end, and plans a look if none comes in time; most
    waits are over long before. No lock: both sides write first and read what the other wrote then.
    """

    def __init__(self) -> None:
        self.due = inf
        """When the wait that is under way must end; infinite while nobody waits."""
        self.look_at = inf
        """When the clock will be looked at."""

    def plan(self, due: float) -> None:
        """See to it that the clock is looked at when the wait must end, or before."""
        # Not too far ahead: a plan stays with the timer even if its stream is long gone.
        when = self.look_at = min(due, monotonic() + _HORIZON)
        self.look_later(when)

    def look_later(self, when: float) -> None:
        """Have `look` called at that moment."""
        _alarm.add(self, when)

    def look(self, planned: float) -> None:
        """
        End the wait if it has lasted long enough, else look again later.

        Args:
            planned: the moment that this look was planned for.
        """
        if planned != self.look_at:  # a sooner one was planned since
            return
        try:
            if self.due <= monotonic():
                self.time_is_up()
        finally:
            # In this order: a wait that begins now either sees that nobody looks, or is seen.
            self.look_at = inf
            # More than once, if the reader planned a sooner one meanwhile: the last plan holds.
            while (due := self.due) < self.look_at:
                self.plan(due)

    def time_is_up(self) -> None:
        """End the wait, if it is still the one whose time is up."""
        raise NotImplementedError  # only who waits knows how: `StopSignal`


def look(watch: ref[Any], planned: float) -> None:
    """Look at the clock for a stream, if it is still there."""
    there: Watch | None = watch()
    if there is not None:
        there.look(planned)


class _Alarm:
    def __init__(self) -> None:
        self._plans: list[tuple[float, int, ref[Watch]]] = []
        self._order = itertools.count()  # two plans of one moment must not compare their watches
        # Entered itself and not by the Condition, which is written in Python: a Ctrl-C there
        # would keep it locked for ever.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._thread: threading.Thread | None = None

    def add(self, watch: Watch, when: float) -> None:
        with self._lock:
            heapq.heappush(self._plans, (when, next(self._order), ref(watch)))
            if self._thread is None:
                thread = threading.Thread(target=self._serve, name="llm_kit alarm", daemon=True)
                thread.start()
                self._thread = thread  # only now: where none can be started, the next one tries
            elif self._plans[0][0] == when:
                self._changed.notify()

    def _serve(self) -> None:
        while True:
            with self._lock:
                while (wait := self._next_wait()) is None or wait > 0:
                    self._changed.wait(wait)
                when, _, watch = heapq.heappop(self._plans)
            try:
                look(watch, when)
            except Exception:  # of one stream: the others still need their timer
                log.warning("a deadline could not wake its stream", exc_info=True)

    def _next_wait(self) -> float | None:
        return self._plans[0][0] - monotonic() if self._plans else None


_alarm = _Alarm()


def _start_over() -> None:
    global _alarm  # threads don't survive a fork, and their locks may be held
    _alarm = _Alarm()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_start_over)
