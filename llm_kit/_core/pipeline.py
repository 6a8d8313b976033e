"""The stages that a chunk goes through between the decoder and the user's loop."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from llm_kit._core.accumulator import Accumulator
from llm_kit.types import Chunk, Status

_Feed = Callable[[Chunk, float], Sequence[Chunk] | None]


class Stage(Protocol):
    """
    Something that a stream passes through.

    `flush` is called exactly once, on every way out; that is how partials survive.
    """

    def feed(self, chunk: Chunk, now: float) -> Sequence[Chunk] | None:
        """
        Take a chunk that arrived at ``now`` (seconds).

        Returns:
            What goes on in its place, perhaps nothing; None lets the chunk itself go on.
        """
        ...

    def flush(self, status: Status) -> Sequence[Chunk] | None:
        """Take the end of the stream, and give what had been held back."""
        ...


class Change(Stage):
    """
    Base of the stages whose changes are the stream's own: they stand before its accumulator.

    Each gives one chunk for one, and so keeps the accumulator from having what the loop has not.
    """


class Pipeline:
    """
    Chunks wait here for the loop, and pass the stages when the loop takes them.

    Not earlier: so whatever a stage has seen is exactly what the loop was given, chunk by
    chunk, and a stop leaves both with the same text.
    """

    def __init__(self, accumulator: Accumulator) -> None:
        self.accumulator = accumulator
        """The stage that adds up what the stream gives; only a `Change` stands before it."""
        self.arrived: deque[Chunk] = deque()
        """Decoded, not yet through the stages."""
        self.callbacks: list[Awaitable[object]] = []
        """What callbacks of stages gave to be awaited before the chunk goes on."""
        self.now = accumulator.since
        self._passed: list[Chunk] = []
        """What a stage gave in the place of a chunk, and the loop has not taken."""
        self._stages: list[Stage] = [accumulator]
        # Each stage's `feed`: looked up once, not per chunk.
        self._feeds: list[_Feed] = [accumulator.feed]

    def append(self, stage: Stage) -> None:
        """Add a last stage, or the last `Change`; it sees what comes from now on."""
        changes = isinstance(stage, Change)
        place = self._stages.index(self.accumulator) if changes else len(self._stages)
        self._stages.insert(place, stage)
        self._feeds = [each.feed for each in self._stages]

    def pop(self) -> Chunk | None:
        """Give the next chunk for the loop, None if there is none yet."""
        while not self._passed:
            if not self.arrived:
                return None
            chunk = self.arrived.popleft()
            for feed in self._feeds:
                instead = feed(chunk, self.now)
                if instead is not None:
                    self._pass_on(instead, self._feeds.index(feed) + 1)
                    break
            else:
                return chunk
        return self._passed.pop(0)

    def _pass_on(self, chunks: Sequence[Chunk], behind: int) -> None:
        """Send what a stage gave through the stages behind it."""
        for stage in self._stages[behind:]:
            given: list[Chunk] = []
            for chunk in chunks:
                instead = stage.feed(chunk, self.now)
                given.extend([chunk] if instead is None else instead)
            chunks = given
        self._passed.extend(chunks)

    def flush(self, status: Status) -> None:
        """
        End every stage; chunks that the loop has not taken are dropped.

        What a stage had held back is not: it came in chunks that the loop took.
        """
        self.arrived.clear()
        self._passed.clear()
        failures: list[Exception] = []
        for behind, stage in enumerate(self._stages, 1):
            try:
                held = stage.flush(status)
                if held:
                    self._pass_on(held, behind)
                if stage is self.accumulator:
                    status = self.accumulator.status  # it may know better
            except Exception as failure:  # noqa: BLE001  raised below, when all were told
                failures.append(failure)
        if failures:
            raise failures[0]
