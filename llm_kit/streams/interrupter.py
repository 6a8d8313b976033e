"""StreamInterrupter: the stop button of one stream, or of many."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, overload
from weakref import ref

from llm_kit._core.accumulator import Accumulator
from llm_kit._io.sigint import first_sigint_calls
from llm_kit._io.stop import StopSignal
from llm_kit.errors import StreamInterrupted
from llm_kit.streams.chat_stream import AsyncChatStream, ChatStream
from llm_kit.streams.normalize import Response, normalize
from llm_kit.types import StreamResult

_ROOM = 8  # streams at least for which an interrupter keeps what it stops them by


class StreamInterrupter:
    """
    Stops the streams that it wraps, from any thread, task or signal handler.

        >>> interrupter = StreamInterrupter()
        >>> for chunk in interrupter.wrap(["one ", "two ", "three"]):
        ...     if chunk.delta == "two ":
        ...         interrupter.interrupt("enough")
        >>> interrupter.content, interrupter.reason
        ('one two ', 'enough')

    Once it has fired it stays fired: a stream wrapped afterwards ends at once, and sends no
    request. Use a new interrupter for each turn of a chat.

    Args:
        raise_on_interrupt: True: the reader's loop raises `StreamInterrupted` with
            ``.partial``; False: it ends normally.
    """

    def __init__(self, raise_on_interrupt: bool = False) -> None:
        self._raises = raise_on_interrupt
        self._fired = False
        self._reason = ""
        # Re-entrant: a signal handler may interrupt while its own thread is wrapping.
        self._lock = threading.RLock()
        # Weak: a stop button outlives its streams. (No WeakSet: 1 KB for what is mostly one.)
        self._stops: list[ref[StopSignal]] = []
        self._room = _ROOM
        self._nothing = self._last = Accumulator()

    @overload
    def wrap(
        self, stream: AsyncIterable[Any], *, background: bool | None = None
    ) -> AsyncChatStream: ...
    @overload
    def wrap(self, stream: Iterable[Any], *, background: bool | None = None) -> ChatStream: ...
    @overload
    def wrap(self, stream: Response, *, background: bool | None = None) -> Any: ...
    def wrap(self, stream: Any, *, background: bool | None = None) -> ChatStream | AsyncChatStream:
        """
        Put a stream under this button; see `normalize` for what it may be.

        A blocked read is woken by its connection: of our own streams, of httpx responses and
        of SDK streams that have one. Any other sync iterable is read on a background thread,
        one item at a time and no further than the loop has asked.

        Args:
            background: False: read the iterable in the loop's own thread, because it belongs
                there (sqlite, a GUI); a stop then takes effect at its next item.
        """
        wrapped: ChatStream | AsyncChatStream = normalize(stream)
        if background is not False:
            wrapped._source.read_in_background()
        stop = wrapped._stop
        with self._lock:
            # Once it has fired, what was stopped stays here to be read.
            if not self._fired or self._last is self._nothing:
                self._last = wrapped._pipeline.accumulator
            if len(self._stops) >= self._room:  # seldom, so that it costs each wrap next to nothing
                self._stops = [known for known in self._stops if known() is not None]
                self._room = _ROOM + 2 * len(self._stops)
            self._stops.append(ref(stop))
        if self._fired:
            self._fire(stop)
        return wrapped

    def interrupt(self, reason: str = "") -> None:
        """
        Stop every stream that is wrapped; a second time, or after their end, without effect.

        Returns at once; each reader is awake within milliseconds and ends its own loop.

        Args:
            reason: kept in `reason`.
        """
        with self._lock:
            if self._fired:
                return
            self._fired, self._reason = True, reason
            stops = [stop for known in self._stops if (stop := known()) is not None]
        # Not under the lock: the main thread may be inside a stop's own lock when a signal
        # handler brings it here, while another thread would hold this one and want that one.
        for stop in stops:
            self._fire(stop)

    def _fire(self, stop: StopSignal) -> None:
        error = None
        if self._raises:
            said = f": {self._reason}" if self._reason else ""
            error = StreamInterrupted(
                f"the stream was interrupted{said}; .partial has what came", reason=self._reason
            )
        stop.fire(self._reason, error)

    @property
    def interrupted(self) -> bool:
        """Whether `interrupt` has been called."""
        return self._fired

    @property
    def reason(self) -> str:
        """What the first `interrupt` was given."""
        return self._reason

    @property
    def content(self) -> str:
        """The text that had arrived, of the stream that was wrapped last."""
        return self._last.content()

    @property
    def result(self) -> StreamResult:
        """What had arrived, of the stream that was wrapped last."""
        return self._last.result()

    @contextmanager
    def on_sigint(self) -> Iterator[StreamInterrupter]:
        """
        Turn the first Ctrl-C inside the ``with`` block into an interrupt.

        The second one is a KeyboardInterrupt, as if this were not here.

        Raises:
            RuntimeError: not in the main thread, the only one that gets signals.
        """
        with first_sigint_calls(partial(self.interrupt, "Ctrl-C")):
            yield self
