"""
Waking a thread that is blocked on a socket inside somebody else's HTTP stack.

Closing a response from another thread does not wake its reader, and may hand the freed file
descriptor to a stranger; shutting the socket down wakes it, and harms nobody. The question is
only which socket, and when it is ours: a pooled connection may serve another request a moment
later. So the reads and writes of a connection are *tapped*: each one, on its way, asks for whom
this thread is waiting and lets itself be woken for just as long as it lasts.

Names nothing of httpx: works with whatever looks like its network streams (httpx2, SDKs), or
reads a socket as http.client does (requests, urllib3).
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from llm_kit._io.stop import Waits, Woken, current_waits


def tap(response: Any) -> bool:
    """
    Make the connection of an HTTP response wakeable.

    Returns:
        Whether it is; False for a connection that others share (HTTP/2: shutting it down
        would end every stream on it), or that has no socket (a mock).
    """
    extensions = getattr(response, "extensions", None)
    if not isinstance(extensions, Mapping):
        return _tap_file(response)
    if extensions.get("http_version") not in (b"HTTP/1.1", b"HTTP/1.0"):
        return False
    return _tap_stream(extensions.get("network_stream"))


def _tap_stream(stream: Any) -> bool:
    if stream is None:
        return False
    if "read" in vars(stream):  # by an earlier request on this connection
        return True
    sock = stream.get_extra_info("socket")
    if not isinstance(sock, socket.socket):
        return False

    wake = partial(shut_down, sock)
    stream.read = _wakeable(stream.read, wake)
    stream.write = _wakeable(stream.write, wake)
    return True


def _tap_file(response: Any) -> bool:
    # requests -> urllib3 -> http.client -> BufferedReader -> SocketIO: each response has its own.
    file = response
    for _ in range(4):
        if isinstance(file, socket.SocketIO):
            break
        inner = (getattr(file, name, None) for name in ("raw", "_fp", "fp"))
        file = next((each for each in inner if each is not None), None)
    sock = getattr(file, "_sock", None)
    if not (isinstance(file, socket.SocketIO) and isinstance(sock, socket.socket)):
        return False
    if "readinto" not in vars(file):
        vars(file)["readinto"] = _wakeable(file.readinto, partial(shut_down, sock))
    return True


def _untap(stream: Any) -> None:
    vars(stream).pop("read", None)
    vars(stream).pop("write", None)


def shut_down(sock: socket.socket) -> None:
    """Wake whoever is blocked on a socket, and tell its peer; does not block."""
    try:
        # The base class's method: SSLSocket's own drops its TLS state, and what is queued
        # would then be read as ciphertext.
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
    except OSError:  # it is closed already, or the peer has closed it
        return


def _wakeable(transfer: Callable[..., Any], wake: Callable[[], None]) -> Callable[..., Any]:
    def wakeable(*args: Any, **kwargs: Any) -> Any:
        waits = current_waits()
        if waits is None:
            return transfer(*args, **kwargs)
        waits.enter(wake)
        try:
            return transfer(*args, **kwargs)
        finally:
            waits.leave(wake)

    return wakeable


# httpcore's names for what must not begin any more after a stop.
_BEGINNINGS = (
    "connect_tcp.started",
    "connect_unix_socket.started",
    "send_request_headers.started",
)


class OpeningTrace:
    """
    Makes a connection wakeable while it is being made: the ``trace`` extension of httpcore.

    Without it a stop before the headers would free the reader, but tell the server nothing
    until some timeout.
    """

    def __init__(self, waits: Waits, follow: Callable[[str, Mapping[str, Any]], None]) -> None:
        self._waits = waits
        self._follow = follow
        self._stream: Any = None
        self._handshake: _Handshake | None = None

    def __call__(self, name: str, info: Mapping[str, Any]) -> None:
        """Follow the connection from its TCP handshake to the first byte sent."""
        if name.endswith(_BEGINNINGS) and self._waits.over:
            raise Woken  # after a wait for the pool, or in a retry of the client's own
        self._follow(name, info)
        if name.endswith(("connect_tcp.complete", "connect_unix_socket.complete")):
            self._stream = info["return_value"]
            _tap_stream(self._stream)
        elif name.endswith("start_tls.started") and self._stream is not None:
            self._handshake = _Handshake(self._waits, self._stream)
        elif name.endswith(("start_tls.complete", "start_tls.failed")):
            self.close()
            self._stream = info.get("return_value")
            if self._stream is not None and _speaks_http1(self._stream):
                _tap_stream(self._stream)
        elif name == "http2.send_connection_init.started":
            _untap(self._stream)  # without TLS only now known to be shared

    def close(self) -> None:
        """Let go of a handshake that is over."""
        handshake, self._handshake = self._handshake, None
        if handshake is not None:
            handshake.close()


def _speaks_http1(stream: Any) -> bool:
    tls = stream.get_extra_info("ssl_object")
    return tls is None or tls.selected_alpn_protocol() != "h2"


class _Handshake:
    """
    A TLS handshake, wakeable.

    Wrapping a socket takes its descriptor away from the object that we know, so a duplicate
    is kept: shutting that down reaches the same connection. (A proxy's TLS socket can't be
    duplicated, and needn't be: TLS inside TLS leaves it in place.)
    """

    def __init__(self, waits: Waits, stream: Any) -> None:
        self._waits = waits
        sock = stream.get_extra_info("socket")
        self._own = not isinstance(sock, ssl.SSLSocket)
        self._socket: socket.socket = sock.dup() if self._own else sock
        try:
            waits.enter(self._wake)
        except Woken:
            # httpcore would leave the socket to the garbage collector.
            self.close()
            stream.close()
            raise

    def _wake(self) -> None:
        shut_down(self._socket)

    def close(self) -> None:
        self._waits.leave(self._wake)
        if self._own:
            self._socket.close()
