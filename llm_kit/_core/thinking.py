"""Inline thinking: the text between ``<think>`` and ``</think>``, moved out of the content."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from attrs import evolve

from llm_kit._core.pipeline import Change
from llm_kit.types import Chunk, Status


class Thinking(Change):
    """
    Moves what models think in tags from ``delta`` to ``reasoning``, however the tags are cut.

    Only thinking that begins the answer is moved: blocks with nothing but blanks before and
    between them (gpt-oss on Bedrock sends one for each delta). Tags behind the answer's first
    word are words of the answer.

    Every character but the tags' stays, in its order, blanks too. What may be the beginning of
    a tag is held until that is known, or until its choice or the stream is over.

        >>> stage = Thinking({"<think>": "</think>"})
        >>> [stage.feed(Chunk(text), 0.0)[0].reasoning for text in ("<thi", "nk>Hm", "m</think>")]
        ['', 'Hm', 'm']

    Args:
        tags: what begins thinking, and for each what ends it.
        begins_inside: the answer begins with thinking, whose opener stood in the prompt.
        begun: choices whose first word has gone by.
    """

    def __init__(
        self, tags: Mapping[str, str], begins_inside: bool = False, begun: Iterable[int] = ()
    ) -> None:
        # Shortest first: of two that begin alike the same one is found however they are cut.
        self._tags = dict(sorted(tags.items(), key=lambda tag: len(tag[0])))
        self._begins_inside = begins_inside
        self._choices = {index: _Choice({}, False) for index in begun}

    def feed(self, chunk: Chunk, now: float) -> list[Chunk] | None:  # noqa: ARG002  see `Stage`
        if chunk.restarted:
            self._choices.clear()
        choice = self._choices.get(chunk.index)
        if choice is None:
            choice = self._choices[chunk.index] = _Choice(self._tags, self._begins_inside)
        if choice.answers and not chunk.reasoning:
            return None
        return choice.take(chunk)

    def flush(self, status: Status) -> list[Chunk]:  # noqa: ARG002  what is held came in any case
        return [chunk for choice in self._choices.values() for chunk in choice.flush()]


class _Choice:
    """One choice's text: before a block, inside one (then it has closers), or the answer."""

    __slots__ = ("_closers", "_held", "_reasoning", "_source", "_tags", "_unopened", "answers")

    def __init__(self, tags: Mapping[str, str], begins_inside: bool) -> None:
        self._tags = tags
        self._unopened = begins_inside
        self._closers: list[str] = []
        self.answers = not tags
        self._held = ""
        self._source = Chunk()
        self._reasoning = _ToldTwice()

    def take(self, chunk: Chunk) -> list[Chunk] | None:
        """Take a chunk, and give the one that goes on in its place, None for itself."""
        delta, thought = self._split(chunk.delta) if chunk.delta else ("", "")
        if chunk.delta:
            self._source = chunk
        if chunk.finish_reason is not None:
            rest, rest_of_thought = self._release()
            delta += rest
            thought += rest_of_thought
        reasoning = self._reasoning.take(False, chunk.reasoning)
        reasoning += self._reasoning.take(True, thought)
        if delta == chunk.delta and reasoning == chunk.reasoning:
            return None
        return [evolve(chunk, delta=delta, reasoning=reasoning)]

    def flush(self) -> list[Chunk]:
        """Give what is held."""
        delta, thought = self._release()
        if not delta and not thought:
            return []
        source = self._source
        return [
            Chunk(
                delta,
                source.index,
                reasoning=self._reasoning.take(True, thought),
                id=source.id,
                model=source.model,
                created=source.created,
                system_fingerprint=source.system_fingerprint,
                raw=source.raw,
            )
        ]

    def _split(self, text: str) -> tuple[str, str]:
        """Give what goes on of the answer and of the thinking."""
        text, self._held = self._held + text, ""
        answer = thought = ""
        while text and not self.answers:
            if self._closers:
                ends = [
                    (place + len(closer), place)
                    for closer in self._closers
                    if (place := text.find(closer)) >= 0
                ]
                end, place = min(ends, default=(len(text), len(text)))
                if ends:
                    self._closers = []
                else:
                    place -= _begun(self._closers, text)
                    self._held = text[place:]
                thought += text[:place]
                text = text[end:]
            else:
                words = text.lstrip()
                blanks = text[: len(text) - len(words)]
                if self._unopened:
                    thought += blanks
                else:
                    answer += blanks
                text = self._open(words)
        return answer + text, thought

    def _open(self, text: str) -> str:
        """See whether this begins a block, or the answer; gives what is behind the opener."""
        opener = next(filter(text.startswith, self._tags), None)
        if opener is not None:
            self._closers = [self._tags[opener]]
            text = text[len(opener) :]
        elif any(tag.startswith(text) for tag in self._tags):
            self._held = text
            return ""
        elif self._unopened:
            self._closers = list(self._tags.values())
        else:
            self.answers = True
        self._unopened = False
        return text

    def _release(self) -> tuple[str, str]:
        """Hold no longer: nothing follows that would make it a tag."""
        held, self._held = self._held, ""
        return ("", held) if self._closers or self._unopened else (held, "")


def _begun(tags: list[str], text: str) -> int:
    """Give the length of the longest end of a text with which a tag may begin."""
    return max(
        (
            size
            for tag in tags
            if tag[0] in text  # mostly it is not, and the search is over
            for size in range(1, len(tag))
            if text.endswith(tag[:size])
        ),
        default=0,
    )


class _ToldTwice:
    """
    Reasoning from two sources, the tags and the field that is meant for it, each part once.

    MiniMax sends the same text in both. Whichever comes first is given, and the other left out
    as far as it says the same, blanks aside; where it differs, both are given whole.
    """

    __slots__ = ("_ahead", "_at", "_behind", "_differ", "_first", "_new")

    def __init__(self) -> None:
        self._first = False  # the source that is ahead
        self._ahead = ""  # what the other has not said: from `_at` on, and then what is `_new`
        self._at = 0
        self._new: list[str] = []
        self._behind: list[str] = []  # what was left out
        self._differ = False

    def take(self, source: bool, text: str) -> str:
        """Take what a source says (True: the tags), and give what of it has not been said."""
        if not text or self._differ:
            return text
        words = "".join(text.split())
        if source == self._first:
            self._new.append(words)
            return text
        if self._new:
            self._ahead = self._ahead[self._at :] + "".join(self._new)
            self._at = 0
            self._new = []
        if self._at < len(self._ahead) and self._ahead.startswith(words, self._at):
            self._at += len(words)
            self._behind.append(text)
            return ""
        ahead = self._ahead[self._at :]
        if not words.startswith(ahead):
            self._differ = True
            return "".join(self._behind) + text
        self._first = source
        self._ahead, self._at, self._new, self._behind = "", 0, [words[len(ahead) :]], []
        return text[_length(text, len(ahead)) :]


def _length(text: str, signs: int) -> int:
    """Give the length of a text's beginning that has so many characters beside its blanks."""
    length = 0
    while signs:
        signs -= not text[length].isspace()
        length += 1
    return length
