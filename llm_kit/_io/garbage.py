"""
Streams that are dropped in a reference cycle.

The cyclic collector runs in whatever thread happens to allocate, perhaps inside a lock of the HTTP
client's pool. Closing a response takes that lock: there it would hang the client for ever.
"""

from __future__ import annotations

import _thread
import gc
import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

log = logging.getLogger("llm_kit")


# Called as `_note(phase, info)`, so the phase that is under way stands last. Not written in Python:
# a Ctrl-C that came in there would be swallowed by the collector.
_phases = OrderedDict.fromkeys(("start", "stop"))
_note: Any = _phases.move_to_end


def watch_collector() -> None:
    """Begin to note where the collector runs; again without effect."""
    if _note not in gc.callbacks:
        gc.callbacks.append(_note)


def close_safely(close: Callable[[], None]) -> None:
    """Call ``close``: here, or on a thread of its own if the collector is running."""
    if next(reversed(_phases)) == "start":
        # Not threading's: starting one of those takes a lock too, and waits.
        _thread.start_new_thread(_close, (close,))
    else:
        close()


def _close(close: Callable[[], None]) -> None:
    try:
        close()
    except Exception:  # there is nobody to raise to
        log.warning("closing a dropped stream failed", exc_info=True)
