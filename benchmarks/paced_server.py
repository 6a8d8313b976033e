"""
A server of paced answers: 50 deltas a second each, to as many streams as ask for them.

What a delta costs it is one ``send`` of bytes that are rendered beforehand (some 5 us); a wheel of
20 slots, one a millisecond, says whose turn it is. So one core holds thousands of streams.
``/250/1/...`` is an answer of 250 deltas, ``/idle/1/...`` one whose first delta is followed by
silence. The URLs are those of `benchmarks.server`, and so is what is said.
"""

from __future__ import annotations

import selectors
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from time import monotonic
from typing import Any

from benchmarks.children import child, pin
from benchmarks.server import ANTHROPIC_BEGIN, body

PERIOD = 0.02  # seconds between two deltas of a stream
SLOTS = 20


@lru_cache(maxsize=16)
def turns(asked: bytes, *, anthropic: bool) -> list[bytes]:
    """Give what is sent at each turn: the head with the first delta, the others, the rest."""
    deltas = 1 if asked == b"idle" else int(asked)
    first = 2 + len(ANTHROPIC_BEGIN) * anthropic
    writes = body(anthropic=anthropic, events=deltas, per_write=1)
    others, rest = writes[first : first + deltas - 1], writes[first + deltas - 1 :]
    begin = b"".join(writes[:first])
    return [begin] if asked == b"idle" else [begin, *others, b"".join(rest)]


class Connection:
    """One client's connection: reads requests, and sends when its turn comes."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock
        self._request = self._unsent = b""
        self._turns: list[bytes] = []
        self._at = 0

    def read(self) -> bool:
        """
        Read on.

        Returns:
            Whether a whole request is here.

        Raises:
            OSError: the connection is at its end.
        """
        received = self.sock.recv(65536)
        if not received:
            raise ConnectionResetError
        self._request += received
        head, _, content = self._request.partition(b"\r\n\r\n")
        target, *lines = head.split(b"\r\n")
        length = dict(line.lower().split(b":", 1) for line in lines).get(b"content-length")
        if length is None or len(content) < int(length):
            return False
        asked, path = target.split(b"/", 2)[1:]
        self._turns, self._at = turns(asked, anthropic=b"/messages " in path), 0
        self._request = b""
        return True

    def turn(self) -> bool:
        """Send what is next; gives whether there is more to come."""
        data = self._turns[self._at] if self._at < len(self._turns) else b""
        self._at += 1
        if self._unsent:  # the reader was slow, and had no room for it
            data = self._unsent + data
        try:
            sent = self.sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:  # the reader has gone
            return False
        self._unsent = data[sent:]
        return self._at < len(self._turns) or bool(self._unsent)


@contextmanager
def paced_server() -> Iterator[str]:
    """Run the server; gives the URL without its two numbers."""
    with child("paced_server") as process:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"


def serve() -> None:
    pin(server=True)
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    print(listener.getsockname()[1], flush=True)
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    selector.register(sys.stdin, selectors.EVENT_READ)
    wheel: list[list[Connection]] = [[] for _ in range(SLOTS)]
    due, slot = monotonic(), 0
    while True:
        for key, _ in selector.select(max(0.0, due - monotonic())):
            reader: Any = key.data
            if reader is not None:
                try:
                    if reader.read():
                        wheel[slot].append(reader)
                except OSError:
                    selector.unregister(reader.sock)
                    reader.sock.close()
            elif key.fileobj is listener:
                reader = Connection(listener.accept()[0])
                selector.register(reader.sock, selectors.EVENT_READ, reader)
            else:  # our standard input: whoever started us is gone
                return
        while due <= monotonic():
            wheel[slot] = [reader for reader in wheel[slot] if reader.turn()]
            due, slot = due + PERIOD / SLOTS, (slot + 1) % SLOTS


if __name__ == "__main__":
    serve()
