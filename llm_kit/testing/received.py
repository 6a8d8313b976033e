"""What a FakeServer received, and what it noticed while it answered."""

from __future__ import annotations

import threading
import time
from typing import Any

import attrs


@attrs.define(eq=False)
class Received:
    """
    A request as it came, and what became of its answer.

    Attributes:
        method: GET, POST, ...; empty for a connection to a mute server.
        path: as sent, with its query.
        headers: by lower-case name.
        body: the bytes as sent.
        json: the body parsed, or None if it is no JSON.
        headers_sent: whether the answer's head was handed to the socket.
        events_sent: how many pieces of the body were, the one that is being written included;
            each comment counts as one.
        closed: set once the peer was seen to close or reset while being answered.
        closed_at: when that was, by ``time.monotonic()``.
        finished: set once the answer has ended, in whatever way.
    """

    method: str = ""
    path: str = ""
    headers: dict[str, str] = attrs.field(factory=dict)
    body: bytes = attrs.field(default=b"", repr=False)
    json: Any = None
    headers_sent: bool = attrs.field(default=False, init=False)
    events_sent: int = attrs.field(default=0, init=False)
    closed: threading.Event = attrs.field(factory=threading.Event, init=False, repr=False)
    closed_at: float | None = attrs.field(default=None, init=False)
    finished: threading.Event = attrs.field(factory=threading.Event, init=False, repr=False)

    def note_close(self) -> None:
        """Say that the peer went away just now."""
        self.closed_at = time.monotonic()
        self.closed.set()
