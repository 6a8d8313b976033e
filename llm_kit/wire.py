"""
Body bytes -> chunks: splits events, decodes JSON, and tells what is no event stream at all.

Pure, like all of this floor. Chunks go into a sink as they are found, so that what stood
before a broken event is not lost with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf
from typing import Any, Literal

from llm_kit.dialects import find_dialect, recognise
from llm_kit.dialects.base import ChunkSink, Dialect, api_error
from llm_kit.errors import StreamAPIError, StreamProtocolError
from llm_kit.json_texts import NOT_JSON, JSONTextDecoder, NotJSON, decoded
from llm_kit.policies import Limits
from llm_kit.sse import RawEvent, SSEDecoder
from llm_kit.types import Chunk

OnMalformed = Literal["raise", "skip"]

_BOM = b"\xef\xbb\xbf"
_BLANK = b" \t\r\n"
_FIELDS = ("data", "event", "id", "retry")
_END_MARKERS = frozenset({"[DONE]", '"[DONE]"', "DONE"})  # the first is OpenAI's own
_SHOWN = 200  # characters of an unexpected body that an error quotes


class WireDecoder:
    """
    Reads the body of one answer, fed in any pieces.

    The framing is told by the first byte: server-sent events, or JSON texts.

    Args:
        dialect: what the objects mean, by name or as a class; None: told by the first object
            that can be told.
        limits: bytes that one event and the whole body may have.
        on_malformed: whether a broken event raises, or is left out and noted in `quirks`.
    """

    ends_by_exhaustion = False
    """A body that is merely over has not said that it is whole."""

    def __init__(
        self,
        dialect: str | type[Dialect] | None,
        limits: Limits,
        on_malformed: OnMalformed = "raise",
    ) -> None:
        if on_malformed not in ("raise", "skip"):
            raise ValueError(f'on_malformed must be "raise" or "skip", not {on_malformed!r}')
        self.done = False
        """Whether the stream has said that it is over."""
        self.settled = False
        """Whether the stream is known to be of the dialect that it is read in."""
        self.quirks: set[str] = set()
        self._given = dialect is not None
        # Where nothing is known yet the most tolerant one reads: errors, signs of life.
        self._dialect = find_dialect(dialect or "openai")(self.quirks)
        self._limits = limits
        self._skip = on_malformed == "skip"
        self._sse = SSEDecoder(max_event=limits.event)
        self._texts: JSONTextDecoder | None = None
        self._split: Callable[[bytes], list[Any]] = self._sse.split
        self._read: Callable[[Any, ChunkSink], None] = self._read_event
        self._room = inf if limits.response is None else limits.response
        self._began = False
        self._head = b""
        self._saw_event = False
        self._strays = 0

    def feed(self, data: bytes, out: ChunkSink) -> None:
        """
        Take the next bytes of the body.

        Raises:
            StreamAPIError: the server reported an error; all of ``data`` has been read.
            StreamProtocolError: this is no such stream, or it is over a limit.
        """
        self._room -= len(data)
        if self._room < 0:
            raise StreamProtocolError(
                f"the answer is larger than {self._limits.response} bytes;"
                " raise Limits(response=...) if it is meant to be"
            )
        if not self._saw_event:
            data = self._begin(data)
        failure: StreamAPIError | None = None
        for each in self._split(data):
            if self.done:
                break
            try:
                self._read(each, out)
            except StreamAPIError as error:  # raised when all is read: usage may stand behind it
                failure = failure or error
        if failure is not None:
            raise failure
        if self._sse.stray:
            self._read_strays()

    def flush(self, out: ChunkSink) -> None:
        """Take the end of the body; raises as `feed` does."""
        if not self._began:
            return  # all blank, if anything came
        if self._texts is not None:
            for value in self._texts.flush():
                if not self.done and not isinstance(value, NotJSON):  # what was cut is no fault
                    self._read_value(value, out)
            if not self._saw_event and not self.done:
                raise self._no_event_stream(self._head.decode("utf-8", "replace"))
            return
        for event in self._sse.flush():
            # Without its blank line an event counts only if it is whole: a cut one is no
            # fault of its own, the end of the stream will be judged without it.
            text = _whole_part(event.data)
            if text and not self.done:
                self._read_event((text.encode(), event.event, event.id, event.retry), out)
        if self._sse.stray:
            self._read_strays()
            text = "\n".join(self._sse.stray)
            # A cut field's name is no sign of another format.
            if not self._saw_event and not any(name.startswith(text) for name in _FIELDS):
                raise self._no_event_stream(text)

    def _begin(self, data: bytes) -> bytes:
        """Look at the first byte that is not blank: it tells JSON and HTML from an event stream."""
        if self._began:
            if self._texts is not None and len(self._head) < _SHOWN:
                self._head += data
            return data
        data = self._head + data
        head = data.removeprefix(_BOM).lstrip(_BLANK)
        if not head or _BOM.startswith(data):
            self._head = data
            return b""
        self._began = True
        if head[:1] in (b"{", b"["):
            self._head = head
            self._texts = JSONTextDecoder(max_event=self._limits.event)
            self._split, self._read = self._texts.feed, self._read_value
            return head
        if head[:1] == b"<":
            raise StreamProtocolError(
                f"the answer is HTML or XML, not an event stream:"
                f" {_shown(head.decode('utf-8', 'replace'))};"
                " check that base_url names the API, and what stands between (proxy, login page)"
            )
        return data

    def _read_event(self, event: RawEvent, out: ChunkSink) -> None:
        text = event[0]
        payload = decoded(text)
        if type(payload) is dict:
            self._saw_event = True
            self.read_object(payload, payload, out)  # the dialect may know this error's own form
            if event[1] == "error":
                raise api_error(payload.get("error") or payload, whole=payload)
        else:
            self._read_other(payload, text.decode("utf-8", "replace"), event, out)

    def _read_value(self, value: Any, out: ChunkSink) -> None:
        """Read one of the JSON texts that the body consists of."""
        if isinstance(value, dict):
            chunks: list[Chunk] = []
            try:
                self.read_object(value, value, chunks)
            finally:
                for chunk in chunks:
                    self._saw_event = True
                    out.append(chunk)
        elif not self._saw_event:
            raise self._no_event_stream(self._head.decode("utf-8", "replace"))
        else:
            shown = _shown(value.text if isinstance(value, NotJSON) else repr(value))
            self._malformed(f"a line is no JSON object: {shown}")

    def read_object(self, payload: Mapping[str, Any], raw: Any, out: ChunkSink) -> None:
        """Take one wire object that came decoded, with ``raw`` for `Chunk.raw`; see `feed`."""
        if not self.settled:
            self._settle(payload)
        dialect = self._dialect
        try:
            dialect.read(payload, out, raw)
        except StreamProtocolError:
            if not self._skip:
                raise
            self.quirks.add("malformed_event_skipped")
        if dialect.done:
            self.done = True

    def knows(self, payload: Mapping[str, Any]) -> bool:
        """Tell whether an object can be told to be part of a stream."""
        known = self.settled or type(self._dialect).recognises(payload)
        return known or recognise(payload) is not None

    def _settle(self, payload: Mapping[str, Any]) -> None:
        """Find out in which dialect the stream speaks, and refuse another than was named."""
        if self._given and self._dialect.recognises(payload):
            self.settled = True
            return
        spoken = recognise(payload)
        if spoken is None:  # imitators send anything: what nobody knows is none of another's
            return
        if not self._given:
            self._dialect = spoken(self.quirks)
        elif spoken is not type(self._dialect):
            raise StreamProtocolError(
                f"the answer is in the {spoken.name!r} dialect, and is read in"
                f" {self._dialect.name!r}: write dialect={spoken.name!r}"
            )
        self.settled = True

    def _read_other(self, payload: Any, text: str, event: RawEvent, out: ChunkSink) -> None:
        """Read an event that is no JSON object: the end marker, a keep-alive, words, garbage."""
        text = text.strip()
        _, kind, last_id, retry = event
        lines = text.split("\n")
        if text in _END_MARKERS:
            self.done = self._saw_event = True
        elif payload is not NOT_JSON:
            self._saw_event = True
            self._malformed(f"an event is JSON but no object: {_shown(text)}")
        elif len(lines) > 1 and all(map(_is_whole, lines)):
            self.quirks.add("events_without_blank_line")
            for line in lines:
                if not self.done:
                    self._read_event((line.encode(), kind, last_id, retry), out)
        elif not text or text.startswith(":"):
            self.quirks.add("keepalive_as_data")
        elif kind == "error" or text.startswith('{"error"'):
            raise api_error(text)
        else:
            self._malformed(f"an event is not JSON: {_shown(text)}")

    def _malformed(self, what: str) -> None:
        if not self._skip:
            raise StreamProtocolError(f'{what}; on_malformed="skip" leaves such events out')
        self.quirks.add("malformed_event_skipped")

    def _read_strays(self) -> None:
        """Look among the new lines that are no SSE for an error sent without framing."""
        if len(self._sse.stray) == self._strays:
            return
        self.quirks.add("text_outside_events")
        for line in self._sse.stray[self._strays :]:
            _raise_unframed_error(line)
        self._strays = len(self._sse.stray)
        if self._sse.stray[-1].rstrip().endswith("}"):
            # Printed over several lines, perhaps by a server that then leaves the body open.
            _raise_unframed_error("\n".join(self._sse.stray))

    def _no_event_stream(self, text: str) -> StreamProtocolError:
        return StreamProtocolError(
            f"the answer is no event stream: {_shown(text)}; check that base_url names"
            " an API of this dialect"
        )


def _raise_unframed_error(text: str) -> None:
    # llama.cpp once sent `error: {...}` as a field of its own.
    body = text.removeprefix("error:").strip()
    payload = decoded(body)
    if isinstance(payload, dict):
        error = payload.get("error") or payload.get("detail")
        if error or body != text.strip():
            raise api_error(error or payload, whole=payload)


def _is_whole(text: str) -> bool:
    text = text.strip()
    return text in _END_MARKERS or text.startswith(":") or decoded(text) is not NOT_JSON


def _whole_part(text: str) -> str:
    """Give of a text all that is JSON: the whole, or its lines but for a last one that was cut."""
    if _is_whole(text):
        return text
    lines = text.split("\n")
    if not _is_whole(lines[-1]):
        lines.pop()
    return "\n".join(lines) if all(map(_is_whole, lines)) else ""


def _shown(text: str) -> str:
    text = " ".join(text.split())
    return repr(text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…")
