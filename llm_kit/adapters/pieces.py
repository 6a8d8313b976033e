"""Items of bytes -> a body: its fragments, or its lines without their ends."""

from __future__ import annotations

import re

# How a line of an event stream begins. A comment too begins with a colon, but so may a fragment:
# it counts for a first item only, behind which a line must come.
_FIRST = re.compile(rb"(data|event|id|retry)?:")
_NEXT = re.compile(rb"(data|event|id|retry):")


class Pieces:
    r"""
    Puts items of bytes together to the body that they were taken from.

    Most often they are its fragments, cut anywhere. But ``iter_lines`` of requests and its kind
    give lines without ends: then the first two items can't follow each other in any body, as
    both begin like a line, or the second is empty.

    >>> pieces = Pieces()
    >>> pieces.feed(b"data: Hello"), pieces.feed(b"")
    (b'', b'data: Hello\n\n')
    """

    def __init__(self) -> None:
        self._first = b""
        self._end: bytes | None = None
        """What each item lacks, once that is known."""

    def feed(self, item: bytes) -> bytes:
        """Give the next bytes of the body; the first item may be held back for the second."""
        if self._end is None:
            if not self._first:
                if _FIRST.match(item) and b"\n" not in item and b"\r" not in item:
                    self._first = item
                    return b""
                self._end = b"" if item else None
            else:
                self._end = b"\n" if not item or _NEXT.match(item) else b""
                return self.flush() + self._end + item + self._end
        return item + (self._end or b"")

    def flush(self) -> bytes:
        """Give what was held back: nothing more comes."""
        first, self._first = self._first, b""
        return first
