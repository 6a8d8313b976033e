"""
What is behind somebody else's stream: the response that it reads, or the socket at which a thread
is blocked that was left behind in it.

Everything is found by its shape, so no SDK is imported.
"""

from __future__ import annotations

import _thread
import socket
import sys
import threading
from time import monotonic
from types import FrameType
from typing import Any

from llm_kit._io.tap import shut_down, tap

_RESPONSES = ("response", "_response", "http_response")


def tap_behind(stream: Any) -> bool:
    """Make the connection wakeable that a stream reads; False if none can be found."""
    responses = (getattr(stream, name, None) for name in _RESPONSES)
    return any(tap(response) for response in (stream, *responses))


# Seconds. A call that was left behind may go on to connect, or to ask once more: it is looked
# after until it returns, but not for ever, because it may wait for something that never comes.
_FIRST_PAUSE, _LONGEST_PAUSE, _LONGEST_WATCH = 0.002, 0.1, 60.0


def hang_up(thread: threading.Thread, returned: threading.Event) -> None:
    """
    Shut down the connection that a thread reads, which was left behind in an SDK's call.

    Otherwise the thread would keep it until the server's next byte, and the server would go on
    for nobody. It is found where the thread is blocked right now: so before the headers too,
    when nobody else knows it. Returns at once; a call that is still connecting, or that its SDK
    tries once more, is looked at again.

    Args:
        thread: whose stack is looked at.
        returned: set when the call is over.
    """
    # Not threading's, whose start waits: the reader is on its way to its user.
    _thread.start_new_thread(_watch, (thread, returned))


def _watch(thread: threading.Thread, returned: threading.Event) -> None:
    until, pause = monotonic() + _LONGEST_WATCH, _FIRST_PAUSE
    while monotonic() < until:
        _shut_what_is_read(thread)
        if returned.wait(pause):
            return
        pause = min(pause * 2, _LONGEST_PAUSE)


def _shut_what_is_read(thread: threading.Thread) -> None:
    ident = thread.ident or 0
    frame = sys._current_frames().get(ident)
    sock = _socket_read_at(frame)
    if sock is None or not thread.is_alive():  # its number may be another thread's by now
        return
    # Looked at again: a call that has got its body's last byte meanwhile may have given the
    # connection back to its pool. It can't between this line and the next: that takes it longer.
    if sys._current_frames().get(ident) is frame:
        shut_down(sock)


_HTTP = {"http", "httpcore", "httpcore2", "urllib3"}  # who reads HTTP for everybody else
_TRANSFERS = {"read", "readinto", "recv", "recv_into", "write", "send", "sendall", "do_handshake"}


def _socket_read_at(frame: FrameType | None) -> socket.socket | None:
    """Find the socket at which an HTTP library is blocked at the end of a stack, if one is."""
    if frame is None or frame.f_code.co_name not in _TRANSFERS:
        return None
    sock, by_http = None, False
    while frame is not None:
        module = frame.f_globals["__name__"]
        by_whom = module.partition(".")[0]
        if module.endswith("http2"):
            return None  # others share the connection
        if by_whom in _HTTP:
            by_http = True
        elif by_whom not in ("socket", "ssl"):
            break
        owner = frame.f_locals.get("self")
        for each in (owner, getattr(owner, "_sock", None)):
            if sock is None and isinstance(each, socket.socket):
                sock = each
        frame = frame.f_back
    return sock if by_http else None
