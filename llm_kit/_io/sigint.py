"""Ctrl-C -> a call, promptly, whatever the main thread is blocked in."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def first_sigint_calls(function: Callable[[], None]) -> Iterator[None]:
    """
    Inside the block the first Ctrl-C makes a call, and the second is a KeyboardInterrupt.

    A handler alone is not enough: Python runs it between two of its instructions, so a signal
    that comes just before a blocking read would be handled only after it. Therefore a thread is
    told of signals as well (`signal.set_wakeup_fd`), and makes the call if it comes first;
    the function must allow for being called twice.

    Raises:
        RuntimeError: not in the main thread, the only one that gets signals.
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError(
            "on_sigint() works in the main thread only, where Python handles signals;"
            " call interrupt() from elsewhere"
        )
    count = 0

    def handle(_number: int, _frame: FrameType | None) -> None:
        nonlocal count
        count += 1
        if count > 1:
            raise KeyboardInterrupt
        function()

    heard, told = socket.socketpair()
    told.setblocking(False)

    def watch() -> None:
        while numbers := heard.recv(64):
            if signal.SIGINT in numbers:
                function()
            if outer != -1:  # an event loop's, which wants to hear of its own signals
                os.write(outer, numbers)

    handler = signal.signal(signal.SIGINT, handle)
    outer = signal.set_wakeup_fd(told.fileno(), warn_on_full_buffer=False)
    watcher = threading.Thread(target=watch, name="llm_kit Ctrl-C", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(outer)
        signal.signal(signal.SIGINT, handler)
        told.close()
        watcher.join()
        heard.close()
