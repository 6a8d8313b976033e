"""
Incomplete JSON, fed piece by piece -> the best value so far, in linear total time.

Models stream JSON as text: the arguments of a tool call, a structured answer. This reads every
character once, whatever the pieces, and never starts over. The grammar is RFC 8259 as
``json.loads`` takes it, so with NaN and Infinity; only raw control characters inside strings,
which ``json.loads`` refuses and models do emit, are taken too.
"""

from __future__ import annotations

import re
from math import inf, nan
from typing import Any, Final

# What comes next: numbers, and in this order, because the machine compares them.
_VALUE: Final = 0
_VALUE_OR_END: Final = 1  # just after [
_KEY: Final = 2
_KEY_OR_END: Final = 3  # just after {
_COLON: Final = 4
_COMMA_IN_LIST: Final = 5  # or its end
_COMMA_IN_OBJECT: Final = 6
_NOTHING: Final = 7
_REST_OF_NUMBER: Final = 8
_REST_OF_STRING: Final = 9
_REST_OF_KEY: Final = 10

_WANTED = (
    "a value",
    "a value or ']'",
    "a key",
    "a key or '}'",
    "':'",
    "',' or the end of this list or object",
    "',' or the end of this list or object",
    "nothing more",
)
# For each of these, what the characters change that do nothing else.
_FOLLOWING = tuple(
    dict.fromkeys(" \t\n\r", state) | marks
    for state, marks in enumerate(
        (
            {'"': _REST_OF_STRING},
            {'"': _REST_OF_STRING},
            {'"': _REST_OF_KEY},
            {'"': _REST_OF_KEY},
            {":": _VALUE},
            {",": _VALUE},
            {",": _KEY},
            {},
        )
    )
)
_WORDS: dict[str, tuple[str, Any]] = {
    "t": ("true", True),
    "f": ("false", False),
    "n": ("null", None),
    "N": ("NaN", nan),
    "I": ("Infinity", inf),
    "-": ("-Infinity", -inf),
}
_ESCAPES = dict(zip('"\\/bfnrt', '"\\/\b\f\n\r\t', strict=True))
_STRING_STOP = re.compile(r'["\\]')
_UNICODE = re.compile(r"\\u([0-9A-Fa-f]{4})")
_LOW = re.compile(r"\\u([Dd][C-Fc-f][0-9A-Fa-f]{2})")
# What may become one of those two.
_CUT_UNICODE = re.compile(r"\\(?:u[0-9A-Fa-f]{0,3})?")
_CUT_LOW = re.compile(r"(?:\\(?:u(?:[Dd](?:[C-Fc-f][0-9A-Fa-f]?)?)?)?)?")
_NUMBER_STOP = re.compile(r"[^-+.0-9Ee]")
_NUMBER = re.compile(r"(-?(?:0|[1-9][0-9]*))((?:\.[0-9]+)?(?:[Ee][-+]?[0-9]+)?)")
# Of an open number no more is looked at: reading all of it at every piece would not be linear.
_LONG_NUMBER = 100


class _NotJSONError(Exception):
    """Leave the machine: args are what was wanted, and where in the text at hand."""


class PartialJSON:
    """
    Read JSON that is still being written.

    A string is there as far as it has come, but for a half escape; a number counts with the
    digits it has (``1.`` and ``1e`` are 1); a key without value, half a word (``tru``) and a
    lone ``-`` are absent; of two equal keys the last one wins.

    >>> from llm_kit.partial_json import PartialJSON
    >>> partial = PartialJSON()
    >>> partial.feed('{"city": "Par')
    >>> partial.value
    {'city': 'Par'}
    >>> partial.feed('is", "days": [1, 2')
    >>> partial.value, partial.complete
    ({'city': 'Paris', 'days': [1, 2]}, False)
    """

    def __init__(self) -> None:
        self._state: int = _VALUE
        self._root: Any = None
        # The open lists and objects, each in its place already; deep text must not recurse.
        self._stack: list[Any] = []
        self._behind: int = _NOTHING
        """What comes behind a value in the innermost of them."""
        self._key = ""
        # The open string or number as it was joined last, what has come since, and whether
        # the open list has an item for it.
        self._token = ""
        self._parts: list[str] = []
        self._placed = False
        # A cut escape or word, at most eleven characters, to be read again with what follows.
        self._held = ""
        self._fed = 0
        self._error: str | None = None

    def feed(self, text: str) -> None:
        """
        Take the next piece of the text.

        Args:
            text: any number of characters, cut anywhere; ignored once there is an ``error``.
        """
        if self._error is not None:
            return
        if self._held:
            text = self._held + text
            self._fed -= len(self._held)
            self._held = ""
        elif self._state >= _REST_OF_STRING and '"' not in text and "\\" not in text:
            self._parts.append(text)
            self._fed += len(text)
            return
        at, end = 0, len(text)
        try:
            while at < end:
                state = self._state
                if state >= _REST_OF_STRING:
                    at = self._string(text, at)
                elif state == _REST_OF_NUMBER:
                    at = self._number(text, at)
                elif (following := _FOLLOWING[state].get(text[at])) is not None:
                    self._state = following
                    at += 1
                else:
                    at = self._bracket_or_value(text, at)
        except _NotJSONError as stop:
            wanted, at = stop.args
            self._error = f"expected {wanted} at character {self._fed + at}"
        self._fed += end

    @property
    def value(self) -> Any:
        """
        The best value so far, None while nothing is known.

        It is the live object, which goes on growing: read it, don't change or keep it. Reading
        costs what has come since the last time; the length of the open string, if it was kept.
        """
        if self._state == _REST_OF_STRING:
            self._put(self._joined())
            self._placed = True
        elif self._state == _REST_OF_NUMBER and (
            number := _NUMBER.match(self._joined(), 0, _LONG_NUMBER)
        ):
            self._put(_parsed(number))
            self._placed = True
        return self._root

    @property
    def complete(self) -> bool:
        """
        Whether exactly one whole JSON value has been read.

        A number that is the whole text could still grow, so it is complete only when white
        space follows.
        """
        return self._state == _NOTHING and self._error is None

    @property
    def error(self) -> str | None:
        """The first thing that is not JSON and its position in characters from 0, or None."""
        return self._error

    def _bracket_or_value(self, text: str, at: int) -> int:
        state, char = self._state, text[at]
        if (char == "}" and state in (_KEY_OR_END, _COMMA_IN_OBJECT)) or (
            char == "]" and state in (_VALUE_OR_END, _COMMA_IN_LIST)
        ):
            self._stack.pop()
            self._go_on()
            return at + 1
        if state > _VALUE_OR_END:
            raise _NotJSONError(_WANTED[state], at)
        if char in "[{":
            container: Any = [] if char == "[" else {}
            self._put(container)
            self._stack.append(container)
            self._go_on()
            self._state = _VALUE_OR_END if char == "[" else _KEY_OR_END
            return at + 1
        if char in "0123456789" or (char == "-" and text[at + 1 : at + 2] not in ("", "I")):
            self._state = _REST_OF_NUMBER
            return self._number(text, at)
        return self._word(text, at)

    def _word(self, text: str, at: int) -> int:
        word, value = _WORDS.get(text[at], ("", None))
        found = text[at : at + len(word)]
        if not word or not word.startswith(found):
            raise _NotJSONError(_WANTED[self._state], at)
        if found != word:
            return self._hold(text, at)
        self._finish(value)
        return at + len(word)

    def _number(self, text: str, at: int) -> int:
        stop = _NUMBER_STOP.search(text, at)
        end = stop.start() if stop else len(text)
        self._parts.append(text[at:end])
        if not stop:
            return end
        token = self._joined()
        start = end - len(token)
        number = _NUMBER.match(token)
        if number is None:
            raise _NotJSONError("a value", start)
        try:
            self._finish(_parsed(number))
        except ValueError:
            # int() bounds its digits, so json.loads would not take this either.
            raise _NotJSONError("a number with fewer digits", start) from None
        if number.end() < len(token):
            raise _NotJSONError(_WANTED[self._state], start + number.end())
        return end

    def _string(self, text: str, at: int) -> int:
        stop = _STRING_STOP.search(text, at)
        end = stop.start() if stop else len(text)
        self._parts.append(text[at:end])
        if not stop:
            return end
        if stop[0] == "\\":
            return self._escape(text, end)
        if self._state == _REST_OF_KEY:
            self._key = self._joined()
            self._token = ""
            self._state = _COLON
        else:
            self._finish(self._joined())
        return end + 1

    def _escape(self, text: str, at: int) -> int:
        char = _ESCAPES.get(text[at + 1 : at + 2])
        if char is not None:
            self._parts.append(char)
            return at + 2
        unicode = _UNICODE.match(text, at)
        if unicode is None:
            if _CUT_UNICODE.fullmatch(text, at):
                return self._hold(text, at)
            raise _NotJSONError("an escape", at)
        code, end = int(unicode[1], 16), unicode.end()
        if 0xD800 <= code < 0xDC00:
            if low := _LOW.match(text, end):
                code = 0x10000 + ((code - 0xD800) << 10) + int(low[1], 16) - 0xDC00
                end = low.end()
            elif _CUT_LOW.fullmatch(text, end):
                return self._hold(text, at)
        self._parts.append(chr(code))
        return end

    def _hold(self, text: str, at: int) -> int:
        self._held = text[at:]
        return len(text)

    def _joined(self) -> str:
        """Give the open string or number, to be put where it belongs."""
        text = self._token
        if self._parts:
            since = "".join(self._parts)
            # CPython adds to a string without copying it if nothing has it but the variable:
            # so it leaves its other places for as long as that takes.
            if self._placed and self._state == _REST_OF_STRING:
                self._put(None)
            self._token = ""
            text += since
            self._token = text
            self._parts.clear()
        return text

    def _put(self, value: Any) -> None:
        if self._behind == _COMMA_IN_OBJECT:
            self._stack[-1][self._key] = value
        elif self._behind == _NOTHING:
            self._root = value
        elif self._placed:
            self._stack[-1][-1] = value
        else:
            self._stack[-1].append(value)

    def _finish(self, value: Any) -> None:
        self._put(value)
        self._token = ""
        self._placed = False
        self._state = self._behind

    def _go_on(self) -> None:
        """Find out what comes behind a value, now that another list or object is innermost."""
        if not self._stack:
            self._behind = _NOTHING
        elif type(self._stack[-1]) is list:
            self._behind = _COMMA_IN_LIST
        else:
            self._behind = _COMMA_IN_OBJECT
        self._state = self._behind


def _parsed(number: re.Match[str]) -> int | float:
    return float(number[0]) if number[2] else int(number[1])
