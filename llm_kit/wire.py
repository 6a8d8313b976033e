"""
Body bytes -> chunks: splits events, decodes JSON, and tells what is no event stream at all.

Pure, like all of this floor. Chunks go into a sink as they are found, so that what stood
before a broken event is not lost with it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from llm_kit.dialects.base import ChunkSink, Dialect, api_error
from llm_kit.errors import StreamAPIError, StreamProtocolError
from llm_kit.policies import Limits
from llm_kit.sse import SSEDecoder
from llm_kit.types import Chunk

OnMalformed = Literal["raise", "skip"]

_BOM = b"\xef\xbb\xbf"
_BLANK = b" \t\r\n"
_FIELDS = ("data", "event", "id", "retry")
_SMALL_BODY = 64 * 1024
_SHOWN = 200  # characters of an unexpected body that an error quotes


class WireDecoder:
    """
    Reads the body of one answer, fed in any pieces.

    Args:
        dialect: what the objects mean.
        limits: bytes that one event and the whole body may have.
        on_malformed: whether a broken event raises, or is left out and noted in `quirks`.
    """

    ends_by_exhaustion = False
    """A body that is merely over has not said that it is whole."""

    def __init__(
        self, dialect: Dialect, limits: Limits, on_malformed: OnMalformed = "raise"
    ) -> None:
        if on_malformed not in ("raise", "skip"):
            raise ValueError(f'on_malformed must be "raise" or "skip", not {on_malformed!r}')
        self.done = False
        """Whether the stream's own end marker (``[DONE]``) has been read."""
        self.quirks: set[str] = set()
        self._dialect = dialect
        self._limits = limits
        self._skip = on_malformed == "skip"
        self._sse = SSEDecoder(max_event=limits.event)
        self._received = 0
        self._began = False
        self._head = b""
        self._unframed: list[bytes] | None = None
        self._saw_event = False
        self._strays = 0

    def feed(self, data: bytes, out: ChunkSink) -> None:
        """
        Take the next bytes of the body.

        Raises:
            StreamAPIError: the server reported an error; all of ``data`` has been read.
            StreamProtocolError: this is no such stream, or it is over a limit.
        """
        self._received += len(data)
        if self._limits.response is not None and self._received > self._limits.response:
            raise StreamProtocolError(
                f"the answer is larger than {self._limits.response} bytes;"
                " raise Limits(response=...) if it is meant to be"
            )
        if not self._began:
            data = self._begin(data)
        if self._unframed is not None:
            self._feed_unframed(data, out)
            return
        failure: StreamAPIError | None = None
        for event in self._sse.feed(data):
            if self.done:
                break
            try:
                self._read_event(event.data, event.event, out)
            except StreamAPIError as error:  # raised when all is read: usage may stand behind it
                failure = failure or error
        if failure is not None:
            raise failure
        if len(self._sse.stray) > self._strays:
            self._read_strays()

    def flush(self, out: ChunkSink) -> None:
        """Take the end of the body; raises as `feed` does."""
        if not self._began:
            return  # all blank, if anything came
        if self._unframed is not None:
            if not self.done:
                self._read_unframed(_decoded(self._unframed_text()), out)
            return
        for event in self._sse.flush():
            # Without its blank line an event counts only if it is whole: a cut one is no
            # fault of its own, the end of the stream will be judged without it.
            whole = event.data.strip() == "[DONE]" or _decoded(event.data) is not _NOT_JSON
            if whole and not self.done:
                self._read_event(event.data, event.event, out)
        if self._sse.stray:
            self._read_strays()
            text = "\n".join(self._sse.stray)
            # A cut field's name is no sign of another format.
            if not self._saw_event and not any(name.startswith(text) for name in _FIELDS):
                raise StreamProtocolError(
                    f"the answer is no event stream: {_shown(text)}; check that base_url names"
                    " an API of this dialect"
                )

    def _begin(self, data: bytes) -> bytes:
        """Look at the first byte that is not blank: it tells JSON and HTML from an event stream."""
        data = self._head + data
        head = data.removeprefix(_BOM).lstrip(_BLANK)
        if not head or _BOM.startswith(data):
            self._head = data
            return b""
        self._began = True
        if head[:1] in (b"{", b"["):
            self._unframed = []
            return head
        if head[:1] == b"<":
            raise StreamProtocolError(
                f"the answer is HTML or XML, not an event stream:"
                f" {_shown(head.decode('utf-8', 'replace'))};"
                " check that base_url names the API, and what stands between (proxy, login page)"
            )
        return data

    def _read_event(self, text: str, kind: str, out: ChunkSink) -> None:
        payload = _decoded(text)
        if payload is _NOT_JSON:
            self._read_other(text, kind)
            return
        self._saw_event = True
        if not isinstance(payload, dict):
            self._malformed(f"an event is JSON but no object: {_shown(text)}")
        elif kind == "error":
            raise api_error(payload.get("error") or payload, whole=payload)
        else:
            self.read_object(payload, payload, out)

    def read_object(self, payload: Mapping[str, Any], raw: Any, out: ChunkSink) -> None:
        """Take one wire object that came decoded, with ``raw`` for `Chunk.raw`; see `feed`."""
        try:
            self._dialect.read(payload, out, raw)
        except StreamProtocolError:
            if not self._skip:
                raise
            self.quirks.add("malformed_event_skipped")

    def _read_other(self, text: str, kind: str) -> None:
        """Read an event that is not JSON: the end marker, a keep-alive, words, or garbage."""
        text = text.strip()
        if text == "[DONE]":
            self.done = self._saw_event = True
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
        self.quirks.add("text_outside_events")
        for line in self._sse.stray[self._strays :]:
            _raise_unframed_error(line)
        self._strays = len(self._sse.stray)
        if self._sse.stray[-1].rstrip().endswith("}"):
            # Printed over several lines, perhaps by a server that then leaves the body open.
            _raise_unframed_error("\n".join(self._sse.stray))

    def _feed_unframed(self, data: bytes, out: ChunkSink) -> None:
        assert self._unframed is not None  # noqa: S101  narrows the type
        self._unframed.append(data)
        if self._limits.event is not None and self._received > self._limits.event:
            raise StreamProtocolError(
                f"the answer is one JSON body of more than {self._limits.event} bytes;"
                " raise Limits(event=...) if it is meant to be"
            )
        # Some servers print an error and leave the connection open: don't wait for its end.
        # Bounded, because each try reads the whole again.
        if self._received < _SMALL_BODY and data.rstrip().endswith(b"}"):
            payload = _decoded(self._unframed_text())
            if payload is not _NOT_JSON:
                self._read_unframed(payload, out)
                self.done = True

    def _unframed_text(self) -> str:
        return b"".join(self._unframed or ()).decode("utf-8", "replace")

    def _read_unframed(self, payload: Any, out: ChunkSink) -> None:
        """Read a body that is JSON and no event stream: an error, or an answer not streamed."""
        self.quirks.add("answer_not_streamed")
        chunks: list[Chunk] = []
        try:
            if isinstance(payload, dict):
                self._dialect.read(payload, chunks, payload)
        finally:
            for chunk in chunks:
                out.append(chunk)
        if not chunks:
            shown = _shown(self._unframed_text())
            raise StreamProtocolError(f"the answer is no event stream: {shown}")


def _raise_unframed_error(text: str) -> None:
    # llama.cpp once sent `error: {...}` as a field of its own.
    body = text.removeprefix("error:").strip()
    payload = _decoded(body)
    if isinstance(payload, dict):
        error = payload.get("error") or payload.get("detail")
        if error or body != text.strip():
            raise api_error(error or payload, whole=payload)


_NOT_JSON = object()
_scan = json.JSONDecoder().raw_decode


def _decoded(text: str) -> Any:
    """Decode JSON; `_NOT_JSON` if it is none."""
    try:
        # Without json.loads' searches for blanks: a quarter of its time.
        value, end = _scan(text)
        return value if end == len(text) else json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return json.loads(text)  # there may be blanks in front
    except (ValueError, RecursionError):
        return _NOT_JSON


def _shown(text: str) -> str:
    text = " ".join(text.split())
    return repr(text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…")
