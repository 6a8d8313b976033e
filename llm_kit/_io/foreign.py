"""Reads any iterable of somebody else's, item by item, as lazily as a `for` loop would."""

from __future__ import annotations

import inspect
import threading
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from llm_kit._core.session import END
from llm_kit._io.background import Background
from llm_kit._io.handles import hang_up, tap_behind
from llm_kit._io.losses import translate
from llm_kit._io.stop import StopSignal


class IterableSource:
    """
    Reads an iterable.

    A stop wakes it by the connection of the HTTP response behind it, where one can be found
    (SDK streams); anything else is read on a background thread, but only once somebody has
    asked for that with `read_in_background`: an iterable may belong to its thread. If that
    thread is left behind in the read of a connection (a generator of an SDK), it is hung up.
    """

    def __init__(self, stop: StopSignal, iterable: Iterable[Any]) -> None:
        self._stop = stop
        self._iterable = iterable
        self._items: Iterator[Any] | None = None
        self._background: Background | None = None
        self._left = threading.Event()
        self._wants_background = False
        self._over = False

    def read_in_background(self) -> None:
        """Make reads wakeable, by a thread if it must be; no effect on what never blocks."""
        self._wants_background = not isinstance(self._iterable, Sequence)

    def read(self) -> Any:
        """Give the next item, or `END`; see `Read`."""
        if self._items is None:
            self._items = iter(self._iterable)
            self._tapped = tap_behind(self._iterable)
        if self._wants_background and not self._tapped and self._background is None:
            self._background = Background(self._stop.waits)
        try:
            if self._background is None:
                item = next(self._items, END)
            else:
                item = self._background.call(partial(next, self._items, END))
        except Exception as error:
            raise translate(error, opened=True)
        self._over = item is END
        return item

    def drain(self) -> Any:
        """Give the next of what is here already; anything else might block; see `Drain`."""
        return self.read() if isinstance(self._iterable, Sequence) else END

    def close(self) -> None:
        """Close the iterable if it was left early and knows how to be closed."""
        background, self._background = self._background, None
        if background is not None:
            left_behind = background.end(self._close)
            if left_behind is not None:
                hang_up(left_behind, self._left)
        else:
            self._close()

    def _close(self) -> None:
        self._left.set()
        if not self._over:
            for closable in _distinct(self._items, self._iterable):
                close = _way_to_close(closable, "close")
                if close is not None:
                    close()


class AsyncIterableSource:
    """Reads an async iterable: the async twin. A stop cancels the wait for its next item."""

    def __init__(self, iterable: AsyncIterable[Any]) -> None:
        self._iterable = iterable
        self._items: AsyncIterator[Any] | None = None
        self._over = False

    def read_in_background(self) -> None:
        """Nothing: every await can be woken."""

    async def read(self) -> Any:
        """Give the next item, or `END`; see `Read`."""
        if self._items is None:
            self._items = aiter(self._iterable)
        try:
            item = await anext(self._items, END)
        except Exception as error:
            raise translate(error, opened=True)
        self._over = item is END
        return item

    async def drain(self) -> Any:
        """Give nothing: reading on might block; see `Drain`."""
        return END

    async def aclose(self) -> None:
        """Close the iterable if it was left early and knows how to be closed."""
        if self._over:
            return
        for closable in _distinct(self._items, self._iterable):
            close = _way_to_close(closable, "aclose", "close")
            closing = close() if close is not None else None
            if inspect.isawaitable(closing):
                await closing


def _distinct(items: Any, iterable: Any) -> tuple[Any, ...]:
    """What is iterated, and what it was made from: each may hold what must be released."""
    return (iterable,) if items is iterable or items is None else (items, iterable)


def _way_to_close(stream: Any, *names: str) -> Any:
    """Find a stream's method of these names; LiteLLM's has none for ``for``, but what it reads."""
    for each in (stream, getattr(stream, "completion_stream", None)):
        for name in names:
            method = getattr(each, name, None)
            if method is not None:
                return method
    return None
