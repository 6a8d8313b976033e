"""Where a lost answer and its continuation meet: what is said a second time is left out."""

from __future__ import annotations

from llm_kit.dialects.base import ChunkSink
from llm_kit.types import Chunk

# What two texts share below this they share by chance: "the", "and", ", ".
_SHORTEST = 4


class Seam:
    """
    Passes the chunks of a continued answer on, without the text that restates what came before.

    The longest end of ``before`` with which the new text begins is left out, if it has four
    characters or more. It stays where the text may be repeating itself (see `_may_repeat`): in
    doubt the text stays, as doubled words can be seen and missing ones can't.

        >>> chunks = []
        >>> seam = Seam("The quick brown fox", chunks)
        >>> seam.append(Chunk("brown ")), seam.append(Chunk("fox jumps")), seam.flush()
        (None, None, None)
        >>> [chunk.delta for chunk in chunks]
        [' jumps']

    Only the text of choice 0 is touched. It is held while it may still become an overlap, or a
    longer one; what else a chunk says goes on at once, but for the log probabilities of held text.

    Args:
        before: the text so far, as the loop was given it.
        out: where the chunks go.
        restored: the blanks at the end of ``before`` that the server was not sent. It goes on
            from the text without them, so the new text may begin with them.
    """

    __slots__ = (
        "_before",
        "_blanks",
        "_holding",
        "_length",
        "_out",
        "_pieces",
        "_restored",
        "_sent",
        "_source",
        "_start",
    )

    def __init__(self, before: str, out: ChunkSink, *, restored: str = "") -> None:
        self._before = before
        self._out = out
        self._sent = len(before) - len(restored)
        self._restored = restored
        self._blanks = 0  # how many of the restored ones have come
        # All that came stands at `_start` in `before`, and nowhere in front of it.
        self._start = 0
        self._length = 0
        self._pieces: list[str] = []
        self._source = Chunk()
        self._holding = bool(before)

    def append(self, chunk: Chunk) -> None:
        """Take a chunk, and pass on what can go on."""
        if self._holding:
            self._hold(chunk)
        else:
            self._out.append(chunk)

    def flush(self) -> None:
        """Let go of held text: the continued answer is over, or lost."""
        text, source = self._decide(), self._source
        if text:
            self._out.append(
                Chunk(
                    text,
                    id=source.id,
                    model=source.model,
                    created=source.created,
                    system_fingerprint=source.system_fingerprint,
                    raw=source.raw,
                )
            )

    def _hold(self, chunk: Chunk) -> None:
        text = chunk.delta
        if chunk.index == 0:
            if text:
                self._source = chunk
                chunk.logprobs = None  # of what will be left out, perhaps
                chunk.delta = self._decide() if self._take(text) else ""
            if chunk.finish_reason is not None or chunk.tool_calls:
                chunk.delta += self._decide()  # the text is over, and it came before this
        if chunk.delta or not text or _says_more(chunk):
            self._out.append(chunk)

    def _take(self, text: str) -> bool:
        """Hold a piece, and tell whether the overlap is known now."""
        if self._blanks < len(self._restored):
            if self._restored.startswith(text, self._blanks):
                self._blanks += len(text)
                return False
            missing = self._restored[self._blanks :]
            if text.startswith(missing):
                text = text[len(missing) :]
            else:
                text = self._restored[: self._blanks] + text
            self._restored = ""
        at, end = self._start + self._length, len(self._before)
        self._pieces.append(text)
        self._length += len(text)
        if not self._before.startswith(text, at) and not (
            at + len(text) > end and text.startswith(self._before[at:])
        ):
            # Where more text stands less does, so no search goes back. Each goes on by the
            # period of what came or more, which keeps the cost of all of them together linear.
            self._start = self._before.find("".join(self._pieces), self._start + 1)
        return self._start < 0 or self._start + self._length >= end

    def _decide(self) -> str:
        """Hold no longer, and give what is left of the text that was held."""
        if not self._holding:
            return ""
        self._holding = False
        text = "".join(self._pieces)
        if self._blanks < len(self._restored):
            text = self._restored[: self._blanks]  # fewer than that are no sign of anything
        return text[self._overlap(text) :]

    def _overlap(self, text: str) -> int:
        before = self._before
        if self._start >= 0 and self._start + len(text) >= len(before):
            length = len(before) - self._start
        else:
            length = _longest_overlap(before, text)
        if length < _SHORTEST and text.startswith(sent := before[: self._sent]):
            # An echo of all that was sent (Mistral's API gives the prefix back), with other
            # blanks behind it than the first time.
            before, length = sent, len(sent)
        return 0 if length < _SHORTEST or _may_repeat(before, length) else length


def _says_more(chunk: Chunk) -> bool:
    return bool(
        chunk.role
        or chunk.reasoning
        or chunk.refusal
        or chunk.tool_calls
        or chunk.finish_reason is not None
        or chunk.usage is not None
        or chunk.extra
    )


def _longest_overlap(before: str, text: str) -> int:
    """Give the length of the longest end of one text that begins the other, 0 if it is short."""
    start = before.find(text[:_SHORTEST], max(0, len(before) - len(text)))
    if start < 0 or len(text) < _SHORTEST:
        return 0
    # Knuth, Morris, Pratt: linear also for a text that repeats itself all the time.
    text = text[: len(before) - start]
    borders = [0]
    length = 0
    for sign in text[1:]:
        while length and sign != text[length]:
            length = borders[length - 1]
        length += sign == text[length]
        borders.append(length)
    length = 0
    for sign in before[start:]:
        while length and sign != text[length]:
            length = borders[length - 1]
        length += sign == text[length]
    return length


def _may_repeat(before: str, length: int) -> bool:
    """
    Tell whether a text that says its own end once more may mean it.

    It may if that end

    - has no letter and at most one number: indentation, brackets, a ruler, a table's value;
    - is a line of its own that stood further indented: blocks are closed one by one;
    - repeats within itself: "ha ha ", "1, 1, 1, ";
    - was said twice in a row before: rows of a table, a refrain.
    """
    begin = len(before) - length
    again = before[begin:]
    if not any(map(str.isalpha, again)) and sum(map(_has_digit, again.split())) < 2:
        return True
    indentation = before[before.rfind("\n", 0, begin) + 1 : begin]
    if again.find("\n") == length - 1 and indentation.isspace():
        return True
    # The first place where the first half comes again shows the period, if there is one of at
    # most half the length (Fine and Wilf: a shorter one would divide it).
    period = again.find(again[: length - length // 2], 1)
    if period > 0 and again.startswith(again[period:]):
        return True
    return before.find(again, max(0, begin - length), -1) >= 0 or again + again in before


def _has_digit(word: str) -> bool:
    return any(map(str.isdigit, word))
