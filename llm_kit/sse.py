"""
Bytes of a response body -> server-sent events, and events -> bytes.

Everything here is pure: bytes go in with ``feed``, cut anywhere, and what they complete comes
out; ``flush`` says that the body is over. The rules are those of the WHATWG HTML standard,
9.2 Server-sent events (9.2.5 for the grammar, 9.2.6 for the meaning of the fields).
"""

from __future__ import annotations

import attrs

from llm_kit.errors import StreamProtocolError

_BOM = b"\xef\xbb\xbf"
_MAX_EVENT = 16 * 2**20
_MAX_STRAY = 64 * 2**10
# int() may refuse anything longer: no interpreter setting goes below these digits.
_MAX_DIGITS = 640
_LF, _CR = b"\n\r"  # numbers: bytes in bytes raises and catches an error inside

RawEvent = tuple[bytes, str, str, int | None]
"""An event's data, undecoded, its type, the last event id, and its retry time."""


@attrs.define
class ServerSentEvent:
    """
    One event as it was dispatched.

    Attributes:
        data: the ``data`` lines, joined with LF.
        event: the event's type; ``message`` if the server named none.
        id: the last event id in force at dispatch, which may stem from an earlier event.
        retry: the reconnection time in milliseconds that came in this event's own block.
    """

    data: str
    event: str = "message"
    id: str = ""
    retry: int | None = None


class SSEDecoder:
    r"""
    Turn the bytes of an event stream into events, however the network cut them.

    A line ends at CR, LF or CRLF and nowhere else: U+2028 and its kind are data. Text is
    decoded when an event is whole; invalid UTF-8 becomes U+FFFD. A CR counts at once, so an
    event never waits for the LF that may follow.

    >>> from llm_kit.sse import SSEDecoder
    >>> decoder = SSEDecoder()
    >>> decoder.feed(b"data: Hel")
    []
    >>> decoder.feed(b"lo\n\n")
    [ServerSentEvent(data='Hello', event='message', id='', retry=None)]

    Args:
        max_event: bytes that may come for one event without finishing it; None for no limit.
            A ``feed`` that finishes an event gives it and starts the count anew.

    Attributes:
        last_event_id: the id to reconnect with: that of the last block which ended, with or
            without data.
        retry: the reconnection time in milliseconds, once the server has set one.
        stray: lines that are neither field nor comment, which the standard ignores. Servers
            report errors that way (bare JSON, plain text, ``error: {...}``). At most 64 KiB
            are kept.
    """

    def __init__(self, *, max_event: int | None = _MAX_EVENT) -> None:
        self._limit = max_event
        # Parts, joined once: joining at every feed would be quadratic for one long line.
        self._tail: list[bytes] = []
        self._size = 0
        # Dropped if the next bytes begin with it: a BOM once, or the LF of a CR.
        self._skip = _BOM
        self.last_event_id = ""
        self.retry: int | None = None
        self.stray: list[str] = []
        self._stray_room = _MAX_STRAY
        self._data: list[bytes] = []
        self._event = "message"
        self._id = ""
        self._event_retry: int | None = None
        # Whether this block has set any of the three above.
        self._marked = False
        self._is_between_events = True

    def feed(self, data: bytes) -> list[ServerSentEvent]:
        """
        Take the next bytes of the body.

        Args:
            data: any number of bytes, cut anywhere, even inside a character or a CRLF.

        Returns:
            The events that these bytes completed.

        Raises:
            StreamProtocolError: more than ``max_event`` bytes came and no event was finished.
        """
        return [_decoded(*event) for event in self.split(data)]

    def split(self, data: bytes) -> list[RawEvent]:
        """Take the next bytes as `feed` does; gives events as plain tuples, which is cheaper."""
        if self._skip:
            data = self._skipped(data)
        if (
            data[:6] == b"data: "
            and data[-2:] == b"\n\n"
            and self._is_between_events
            and _CR not in data
        ):
            # Mostly these are whole events of one line each: one, ...
            if data.find(_LF) == len(data) - 2:
                return [(data[6:-2], "message", self._id, None)]
            # ... or several.
            lines = data.split(b"\n")
            events: list[RawEvent] = [
                (line[6:], "message", self._id, None)
                for line in lines[:-1:2]
                if line[:6] == b"data: "
            ]
            if len(events) == len(lines) // 2 and not any(lines[1::2]):
                return events
        if not data:
            return []
        # Of bytes this splits at CR, LF and CRLF only; str.splitlines has seven more.
        lines = data.splitlines()
        last = data[-1]
        rest = b""
        if last != _LF:
            if last == _CR:
                self._skip = b"\n"
            else:
                rest = lines.pop()
        if self._tail and lines:
            lines[0] = self._joined(lines[0])
        events = []
        pending = self._data
        for line in lines:
            if line:
                if line[:6] == b"data: ":
                    pending.append(line[6:])
                else:
                    self._field(line)
            else:
                if pending:
                    text = pending[0] if len(pending) == 1 else b"\n".join(pending)
                    events.append((text, self._event, self._id, self._event_retry))
                    pending.clear()
                if self._marked:
                    self._end_block()
        if rest:
            self._tail.append(rest)
        self._is_between_events = not (pending or rest or self._marked or self._skip)
        if events or not (pending or rest):
            self._size = 0
        else:
            self._grow(len(data))
        return events

    def flush(self) -> list[ServerSentEvent]:
        """
        Say that the body is over.

        The standard drops an event without its blank line; here it is given if it has text,
        because servers do end with a bare ``data: [DONE]``. It was not finished, so it leaves
        ``last_event_id`` as it was.

        Returns:
            The pending event, or nothing.
        """
        line = self._joined(b"")
        # A cut id or number is a wrong one; a cut text is the text so far.
        if line and line.partition(b":")[0] not in (b"event", b"id", b"retry"):
            self._field(line)
        pending, self._data = self._data, []
        if not any(pending):
            return []
        return [_decoded(b"\n".join(pending), self._event, self._id, self._event_retry)]

    def _field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        if value[:1] == b" ":
            value = value[1:]
        if name == b"data":
            self._data.append(value)
        elif name == b"event":
            self._event = value.decode("utf-8", "replace") or "message"
            self._marked = True
        elif name == b"id":
            if b"\0" not in value:
                self._id = value.decode("utf-8", "replace")
                self._marked = True
        elif name == b"retry":
            # bytes.isdigit is ASCII only, as the standard asks.
            if value.isdigit() and len(value) <= _MAX_DIGITS:
                self.retry = self._event_retry = int(value)
                self._marked = True
        elif name and self._stray_room:
            kept = line[: self._stray_room]
            self._stray_room -= len(kept)
            self.stray.append(kept.decode("utf-8", "replace"))

    def _end_block(self) -> None:
        self.last_event_id = self._id
        self._event = "message"
        self._event_retry = None
        self._marked = False

    def _skipped(self, data: bytes) -> bytes:
        data = self._joined(data)
        if len(data) < len(self._skip) and self._skip.startswith(data):
            self._tail.append(data)
            return b""
        data = data.removeprefix(self._skip)
        self._skip = b""
        return data

    def _joined(self, last: bytes) -> bytes:
        line = b"".join((*self._tail, last))
        self._tail.clear()
        return line

    def _grow(self, size: int) -> None:
        self._size += size
        if self._limit is not None and self._size > self._limit:
            raise unfinished(self._size, self._limit)


def _decoded(text: bytes, event: str, last_id: str, retry: int | None) -> ServerSentEvent:
    return ServerSentEvent(text.decode("utf-8", "replace"), event, last_id, retry)


def unfinished(size: int, limit: int) -> StreamProtocolError:
    """Say that one event has grown over its limit, both in bytes."""
    return StreamProtocolError(
        f"an event of the stream is still unfinished after {size} bytes, over the "
        f"limit of {limit}; if that is meant, raise it with Limits(event=...)"
    )


def encode_event(
    data: str,
    *,
    event: str | None = None,
    id: str | None = None,  # noqa: A002  the wire's own word
    retry: int | None = None,
) -> bytes:
    r"""
    Write one server-sent event: what ``SSEDecoder`` reads.

    >>> from llm_kit.sse import encode_event
    >>> encode_event("Hello", event="delta")
    b'event: delta\ndata: Hello\n\n'

    Args:
        data: the text; each of its lines becomes a ``data`` line, so that a CR or CRLF in it
            is read back as LF.
        event: the event's type; None leaves it out, which means ``message``.
        id: the event's id; None leaves it out, the empty string resets the last one.
        retry: the reconnection time in milliseconds; None leaves it out.

    Raises:
        ValueError: ``event`` or ``id`` has a line end or a NUL, which would forge a field or
            be ignored by the reader, or ``retry`` is negative.
    """
    head = ""
    for name, value in (("event", event), ("id", id)):
        if value is not None:
            if "\n" in value or "\r" in value or "\0" in value:
                raise ValueError(f"{name} must not contain a line end or NUL: {value!r}")
            head += f"{name}: {value}\n"
    if retry is not None:
        if retry < 0:
            raise ValueError(f"retry must not be negative: {retry}")
        head += f"retry: {retry:d}\n"
    if "\r" in data:
        data = data.replace("\r\n", "\n").replace("\r", "\n")
    body = data.replace("\n", "\ndata: ")
    return f"{head}data: {body}\n\n".encode()
