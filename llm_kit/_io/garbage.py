"""
Streams that are dropped in a reference cycle.

The cyclic collector runs in whatever thread happens to allocate, perhaps inside a lock of the HTTP
client's pool. Closing a response takes that lock: there it would hang the client for ever.
"""

from __future__ import annotations

import _thread
import gc
import logging
import threading
from collections.abc import Callable

log = logging.getLogger("llm_kit")


class _Collector(threading.local):
    runs_here = False


_collector = _Collector()


def _note(phase: str, info: object) -> None:  # noqa: ARG001  the collector's signature
    _collector.runs_here = phase == "start"


def watch_collector() -> None:
    """Begin to note where the collector runs; again without effect."""
    if _note not in gc.callbacks:
        gc.callbacks.append(_note)


def close_safely(close: Callable[[], None]) -> None:
    """Call ``close``: here, or on a thread of its own if the collector is running here."""
    if _collector.runs_here:
        # Not threading's: starting one of those takes a lock too, and waits.
        _thread.start_new_thread(_close, (close,))
    else:
        close()


def _close(close: Callable[[], None]) -> None:
    try:
        close()
    except Exception:  # there is nobody to raise to
        log.warning("closing a dropped stream failed", exc_info=True)
