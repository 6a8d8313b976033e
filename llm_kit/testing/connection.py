"""
The listening socket of a FakeServer, and one thread a connection that answers by script.

Two rules. Whatever waits here waits in a read of the peer's socket, so a close is seen when it
comes. And a peer that went away is daily life: it is noted, never printed.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import socket
import socketserver
import ssl
import struct
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any, cast

from llm_kit.testing.received import Received
from llm_kit.testing.script import Reply
from llm_kit.testing.steps import COMMENT, Comments, Cut, Pause, Stall, Steps, body_length


class Listener(socketserver.ThreadingTCPServer):
    """
    Accepts connections and knows each one and its thread, so that all can be ended.

    Args:
        port: 0 for any free one.
        ssl_context: for https.
        note: called with each request as it arrives.
        answer: gives a reply and its steps for a request.
        mute: neither read nor write, only note each connection and its close.
    """

    allow_reuse_address = True
    # Clients of a stress test connect at once; the kernel caps this at its own limit.
    request_queue_size = 1024

    def __init__(
        self,
        port: int,
        ssl_context: ssl.SSLContext | None,
        note: Callable[[Received], None],
        answer: Callable[[Received], tuple[Reply, Steps]],
        *,
        mute: bool,
    ) -> None:
        self.ssl_context = ssl_context
        self.note = note
        self.answer = answer
        self.mute = mute
        self.accepted = 0
        self.closing = False
        self.peers: set[socket.socket] = set()
        self._peer_threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        super().__init__(("127.0.0.1", port), _Connection)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening, break every connection and wait for all threads."""
        self.closing = True
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)  # on Linux this wakes the accepting thread
        self.shutdown()
        self._thread.join()
        self.server_close()
        with self._lock:
            for peer in self.peers:
                with contextlib.suppress(OSError):
                    # The base class's: an SSLSocket's own drops the TLS state under the reader.
                    socket.socket.shutdown(peer, socket.SHUT_RDWR)
        for thread in self._peer_threads:
            thread.join()

    def get_request(self) -> tuple[socket.socket, Any]:
        peer, address = super().get_request()
        if self.ssl_context is not None and not self.mute:
            try:
                # The handshake waits for the peer: that is for the connection's own thread.
                peer = self.ssl_context.wrap_socket(
                    peer, server_side=True, do_handshake_on_connect=False
                )
            except OSError as error:
                # The peer has reset already; Python 3.11's ssl then leaves its half-made socket
                # open, and only the traceback still knows it.
                for frame, _ in traceback.walk_tb(error.__traceback__):
                    if isinstance(orphan := frame.f_locals.get("self"), ssl.SSLSocket):
                        orphan.close()
                raise
        return peer, address

    def process_request(self, request: Any, client_address: Any) -> None:
        thread = threading.Thread(
            target=self.process_request_thread, args=(request, client_address), daemon=True
        )
        self._peer_threads = [t for t in self._peer_threads if t.is_alive()]
        self.accepted += 1
        with self._lock:
            self.peers.add(request)
        thread.start()
        self._peer_threads.append(thread)

    def shutdown_request(self, request: Any) -> None:
        # No shutdown() as in the base class: its FIN would overtake a Reset's RST. The lock keeps
        # close() from shutting down a descriptor that is somebody else's by then.
        with self._lock:
            self.peers.discard(request)
            request.close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Connection(BaseHTTPRequestHandler):
    """One connection: reads requests, takes the steps of each answer, notices the close."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self) -> None:
        self.listener = cast(Listener, self.server)
        super().setup()

    def handle(self) -> None:
        if self.listener.mute:
            received = Received()
            self.listener.note(received)
            with self._noticing(received):
                self._wait(math.inf)
        else:
            if isinstance(self.connection, ssl.SSLSocket):
                self.connection.do_handshake()
            super().handle()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the base class's name
        """Keep quiet."""

    def do_POST(self) -> None:
        length = self.headers.get("content-length", "0")
        if "transfer-encoding" in self.headers or not length.isdecimal():
            self.send_error(411)  # no client of a chat API sends its request in chunks
            return
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            raise ConnectionAbortedError("the peer left within its request")
        try:
            parsed = json.loads(body)
        except ValueError:
            parsed = None
        headers = {name.lower(): value for name, value in self.headers.items()}
        received = Received(self.command, self.path, headers, body, parsed)
        self.listener.note(received)
        with self._noticing(received):
            self._answer(received)

    do_GET = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_POST  # noqa: N815  stdlib

    @contextlib.contextmanager
    def _noticing(self, received: Received) -> Iterator[None]:
        """Tell the request that its peer went away, and how its answer ended."""
        try:
            yield
        except OSError:
            self.close_connection = True
            if not self.listener.closing:
                received.note_close()
        finally:
            received.finished.set()

    def _answer(self, received: Received) -> None:
        reply, steps = self.listener.answer(received)
        if reply.delay:
            self._wait(reply.delay)
        if reply.framing != "bare":
            received.headers_sent = True  # before: who has read the head finds it noted
            self._write_head(reply, steps)
        if reply.framing not in ("chunked", "length"):
            self.close_connection = True
        for step in steps:
            match step:
                case bytes():
                    self._write(step, reply, received)
                case Pause():
                    self._wait(step.seconds)
                case Comments():
                    for _ in itertools.count() if step.count is None else range(step.count):
                        self._write(COMMENT, reply, received)
                        self._wait(step.interval)
                case Stall():
                    self._wait(math.inf)
                case Cut():
                    self.close_connection = True
                    return
                case _:  # a Reset
                    # To linger for no time at all makes close() send a RST instead of a FIN.
                    rst = struct.pack("ii", 1, 0)
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, rst)
                    self.close_connection = True
                    return
        if reply.framing == "chunked":
            self.wfile.write(b"0\r\n\r\n")
        elif self.close_connection and isinstance(self.connection, ssl.SSLSocket):
            # Only TLS's own goodbye tells a body that the end of file ends from a cut one. The
            # peer's goodbye is not waited for.
            self.connection.settimeout(0)
            with contextlib.suppress(OSError):
                self.connection.unwrap()

    def _write_head(self, reply: Reply, steps: Steps) -> None:
        if reply.framing == "http/1.0":
            self.protocol_version = "HTTP/1.0"
        self.send_response_only(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        match reply.framing:
            case "chunked":
                self.send_header("transfer-encoding", "chunked")
            case "length":
                self.send_header("content-length", str(body_length(steps)))
            case "close":
                self.send_header("connection", "close")
        self.end_headers()

    def _write(self, piece: bytes, reply: Reply, received: Received) -> None:
        if reply.framing == "chunked":
            piece = b"%x\r\n%b\r\n" % (len(piece), piece)
        received.events_sent += 1
        self.wfile.write(piece)

    def _wait(self, seconds: float) -> None:
        """Do nothing for so long; ConnectionAbortedError as soon as the peer closes."""
        until, left = time.monotonic() + seconds, seconds
        try:
            while left >= 0:
                self.connection.settimeout(None if left == math.inf else left)
                if not self.connection.recv(65536):
                    raise ConnectionAbortedError("the peer closed")
                # Who talks into an answer is not understood, and asks again elsewhere.
                self.close_connection = True
                left = until - time.monotonic()
        except (TimeoutError, BlockingIOError, ssl.SSLWantReadError):
            pass
        finally:
            self.connection.settimeout(None)
