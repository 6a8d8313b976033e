"""
JSON of strangers: decoded without exceptions, and found in a body that is no event stream.

Everything here is pure.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from llm_kit.sse import unfinished

_SEPARATORS = " \t\r\n,[]"
_SMALL = 16 * 1024  # bytes that may be decoded again and again: beyond them it must have grown


class NotJSON:
    """What stands in the place of a value: a text that is no JSON."""

    def __init__(self, text: str) -> None:
        self.text = text


NOT_JSON: Final = NotJSON("")

_scanner = json.JSONDecoder()
_scan = _scanner.raw_decode
# What raw_decode calls, without a layer; StopIteration where there is no value.
_scan_once: Callable[[str, int], tuple[Any, int]] = getattr(_scanner, "scan_once")  # noqa: B009


def decoded_by_json(text: str | bytes) -> Any:
    """Do what `decoded` does with the standard library alone."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    try:
        # Without json.loads' searches for blanks: a third of its time.
        value, end = _scan_once(text, 0)
        if end == len(text):
            return value
    except (StopIteration, ValueError, RecursionError):
        pass
    try:
        return json.loads(text)  # there may be blanks around it
    except (ValueError, RecursionError):
        return NOT_JSON


def decoded_by_msgspec(text: str | bytes) -> Any:
    """Do what `decoded` does in half the time or less, if msgspec is installed."""
    try:
        return _msgspec_decode(text)
    except Exception:  # noqa: BLE001  it is stricter: NaN, lone surrogates, broken UTF-8
        return decoded_by_json(text)


_BIG = 19_999_999_999_999_999_999  # before 0.19 msgspec gives another number for it

try:
    from msgspec.json import Decoder
except ImportError:
    decoded = decoded_by_json
else:
    _msgspec_decode = Decoder().decode
    decoded = decoded_by_msgspec if _msgspec_decode(str(_BIG)) == _BIG else decoded_by_json
"""Decodes a JSON text; gives `NOT_JSON` if it is none."""


class JSONTextDecoder:
    r"""
    Turn a body of JSON texts into their values: of a body that begins with ``{`` or ``[``.

    They may stand on a line each (NDJSON), be printed over several lines, or be the items of an
    array (Gemini without ``alt=sse``). A value is given as soon as it is whole, with or without
    the end of its line.

    >>> decoder = JSONTextDecoder()
    >>> decoder.feed(b'{"done": fal')
    []
    >>> decoder.feed(b'se}\n{"done"')
    [{'done': False}]

    Args:
        max_event: bytes that may come without finishing a value; None for no limit.
    """

    def __init__(self, *, max_event: int | None = None) -> None:
        self._limit = max_event
        self._line: list[bytes] = []
        """The line that is not finished."""
        self._lines: list[str] = []
        """Finished lines of a value that is not whole."""
        self._size = 0
        self._tried = 0
        """How much had come when it was last tried in vain."""

    def feed(self, data: bytes) -> list[Any]:
        """
        Take the next bytes of the body, cut anywhere.

        Returns:
            The values that these bytes completed; `NotJSON` for a line that was none.

        Raises:
            StreamProtocolError: more than ``max_event`` bytes came and no value was finished.
        """
        values: list[Any] = []
        *lines, rest = data.split(b"\n")
        for line in lines:
            self._line.append(line)
            self._size += len(line) + 1
            self._end_line(values)
        self._line.append(rest)
        self._size += len(rest)
        if rest.rstrip().endswith((b"}", b"]")) and self._is_worth_a_try():
            text = "\n".join((*self._lines, self._text()))
            found, left = _values_in(text)
            if left:
                self._tried = self._size
            else:  # whole, before its line is
                values.extend(found)
                self._clear()
        if self._limit is not None and self._size > self._limit:
            raise unfinished(self._size, self._limit)
        return values

    def flush(self) -> list[Any]:
        """Take the end of the body: what is not whole is given as `NotJSON`."""
        text = "\n".join((*self._lines, self._text()))
        self._clear()
        values, left = _values_in(text)
        return [*values, NotJSON(left.rstrip())] if left else values

    def _end_line(self, values: list[Any]) -> None:
        line = self._text()
        self._line.clear()
        if not line.strip():
            return
        value = decoded(line) if self._lines and line[0] == "{" else NOT_JSON
        if value is not NOT_JSON:  # whole by itself: so what stood before it is over
            found, left = _values_in("\n".join(self._lines))
            values += [*found, NotJSON(left), value] if left else [*found, value]
            self._clear()
            return
        # Only a line that begins at the margin can end a value that is printed over several.
        ends = line[0] not in " \t" and line.rstrip()[-1] in "}],["
        if not (ends and (not self._lines or self._is_worth_a_try())):
            self._lines.append(line)
            return
        found, left = _values_in("\n".join((*self._lines, line)))
        values += found
        size = self._size
        self._clear()
        if left:
            self._lines.append(left)
            self._size = self._tried = size if not found else len(left)

    def _is_worth_a_try(self) -> bool:
        """Each try reads all again: so that the whole stays linear, not for every piece."""
        return self._size < _SMALL or self._size > self._tried * 1.25

    def _text(self) -> str:
        return b"".join(self._line).decode("utf-8", "replace")

    def _clear(self) -> None:
        self._line.clear()
        self._lines.clear()
        self._size = self._tried = 0


def _values_in(text: str) -> tuple[list[Any], str]:
    """Give the values at the beginning of a text, and what is left of it."""
    values: list[Any] = []
    place, end = 0, len(text)
    while True:
        while place < end and text[place] in _SEPARATORS:
            place += 1
        if place == end:
            return values, ""
        try:
            value, place = _scan(text, place)
        except (ValueError, RecursionError):
            return values, text[place:]
        values.append(value)
