"""Deltas -> StreamResult: what has been received so far, at a cost linear in its length."""

from __future__ import annotations

import sys
from collections.abc import Callable
from io import StringIO
from typing import Any

from llm_kit._core.fold import fold, unfold
from llm_kit._core.tool_calls import ToolCalls
from llm_kit.dialects.base import FAILED_REASONS
from llm_kit.types import (
    ChoiceResult,
    Chunk,
    ResponseInfo,
    Status,
    StreamResult,
    Timing,
    ToolCall,
    Usage,
)

# After any other ending, as after one nobody has heard of, the last call may be cut in the middle
# of its arguments, even if they happen to parse.
_FINISHING_REASONS = frozenset({"tool_calls", "function_call", "stop"})
# What a choice has until it says something of the kind, as most never do; nothing is added to them.
_NO_TEXT = StringIO()
_NO_CALLS = ToolCalls()
# Chunks after which texts are joined: before Python 3.12 a StringIO holds pieces until it is read.
_JOINED_AT = 1024 if sys.version_info < (3, 12) else 0  # 0: never


class _Choice:
    """
    One choice as it grows.

    Its texts are `StringIO`: one call of theirs is one step, so that another thread may read what
    is being written, without a lock and without loss; and text takes the room of its characters.
    """

    __slots__ = (
        "content",
        "extra",
        "finish_reason",
        "index",
        "logprobs",
        "reasoning",
        "refusal",
        "role",
        "tools",
    )

    def __init__(self, index: int) -> None:
        self.index = index
        self.content = StringIO()
        self.reasoning = _NO_TEXT
        self.refusal = _NO_TEXT
        self.role: str | None = None
        self.finish_reason: str | None = None
        self.tools = _NO_CALLS
        self.logprobs: Any = None
        self.extra: Any = None

    def add(self, chunk: Chunk) -> None:
        if chunk.reasoning:
            if self.reasoning is _NO_TEXT:
                self.reasoning = StringIO()
            self.reasoning.write(chunk.reasoning)
        if chunk.refusal:
            if self.refusal is _NO_TEXT:
                self.refusal = StringIO()
            self.refusal.write(chunk.refusal)
        if chunk.role and self.role is None:
            self.role = chunk.role
        if chunk.tool_calls:
            if self.tools is _NO_CALLS:
                self.tools = ToolCalls()
            for call in chunk.tool_calls:
                self.tools.add(call)
        if chunk.finish_reason is not None:
            self.finish_reason = chunk.finish_reason
        if chunk.logprobs is not None:
            self.logprobs = fold(self.logprobs, chunk.logprobs)
        if chunk.extra is not None:
            self.extra = fold(self.extra, chunk.extra)

    @property
    def calls_are_finished(self) -> bool:
        return self.finish_reason in _FINISHING_REASONS

    @property
    def quirks(self) -> set[str]:
        return self.tools.quirks(finished=self.finish_reason is not None)

    def fields(self) -> dict[str, Any]:
        calls, finished = self.tools.as_list(), self.calls_are_finished
        return {
            "index": self.index,
            "content": self.content.getvalue(),
            "reasoning": self.reasoning.getvalue(),
            "refusal": self.refusal.getvalue(),
            "role": self.role,
            "tool_calls": calls if finished else [],
            "incomplete_tool_calls": [] if finished else calls,
            "finish_reason": self.finish_reason,
            "logprobs": unfold(self.logprobs),
            "extra": unfold(self.extra) or {},
        }


class Accumulator:
    """
    Adds chunks up; a stage that lets every chunk pass as it is.

    One thread feeds it; others may read it meanwhile, as a user interface does.

    Args:
        since: the moment that ``timing`` counts from, in seconds of the caller's clock.
    """

    def __init__(self, since: float = 0.0) -> None:
        self.since = since
        self.status: Status = "streaming"
        self.attempts = 1
        self.quirks: set[str] = set()
        self.response: ResponseInfo | None = None
        self.expected = 1
        """How many choices the request asked for."""
        self.origin: Accumulator | None = None
        """The stream's own accumulator, for one that stands elsewhere in its pipeline."""
        self._head_at: float | None = None
        self._headers_at: float | None = None
        self._start_over()

    def _start_over(self) -> None:
        self.chunk_count = 0
        self._join_at = _JOINED_AT
        self.usage: Usage | None = None
        self._choices: dict[int, _Choice] = {}
        # Which choice spoke last, and what takes its text: mostly there is no other.
        self._speaker: int | None = None
        self._write: Callable[[str], object] = _NO_TEXT.write
        self._id: str | None = None
        self._model: str | None = None
        self._created: int | None = None
        self._named = False
        self._first_chunk: float | None = None
        self._first_reasoning: float | None = None
        self._first_text: float | None = None
        self._last_chunk: float | None = None

    def feed_head(self, response: ResponseInfo, now: float) -> None:
        """Take the answer's head that arrived at ``now``."""
        self.response = response
        self._head_at = now
        if self._first_chunk is None:
            self._headers_at = now

    def feed(self, chunk: Chunk, now: float) -> None:
        """Take one chunk that arrived at ``now``."""
        count = self.chunk_count = self.chunk_count + 1
        self._last_chunk = now
        if count == self._join_at:
            self._join()
        delta = chunk.delta
        if (
            delta
            and chunk.index == self._speaker
            and (self._named or chunk.id is None)
            and not chunk.restarted
        ):
            write = self._write  # in two steps: as a method it would be looked for in the class
            write(delta)
        else:
            self._feed_first(chunk, delta, now)
        if (
            chunk.reasoning
            or chunk.tool_calls
            or chunk.finish_reason is not None
            or chunk.role
            or chunk.refusal
            or chunk.logprobs is not None
            or chunk.extra is not None
        ):
            self._choices[chunk.index].add(chunk)
            if chunk.reasoning and self._first_reasoning is None:
                self._first_reasoning = now
        if chunk.usage is not None:
            self.usage = chunk.usage

    def _feed_first(self, chunk: Chunk, delta: str, now: float) -> None:
        """Take a chunk that says something for the first time, or no text, or another choice's."""
        if chunk.restarted:
            self._start_over()
            self.chunk_count, self._last_chunk, self._headers_at = 1, now, self._head_at
        if self._first_chunk is None:
            self._first_chunk = now
        self._id = self._id or chunk.id
        self._model = self._model or chunk.model
        self._created = self._created or chunk.created
        self._named = self._id is not None and self._model is not None
        if chunk.index not in self._choices and _begins_choice(chunk):
            self._choices[chunk.index] = _Choice(chunk.index)
        if delta:
            if self._first_text is None:
                self._first_text = now
            self._speaker, self._write = chunk.index, self._choices[chunk.index].content.write
            self._write(delta)

    def _join(self) -> None:
        """Join the texts; ever more rarely, so that the cost stays linear."""
        for choice in self._choices.values():
            choice.content.getvalue()
            choice.reasoning.getvalue()
        self._join_at += self._join_at // 8

    def flush(self, status: Status) -> None:
        """
        Take the way in which the stream ended.

        A stop that comes when the answer is whole has not interrupted it.
        """
        if status == "interrupted" and self.failed_reason is not None:
            status = "error"
        elif status == "interrupted" and self.is_whole:
            status = "complete"
        self.status = status

    def reopen(self) -> None:
        """Forget how the choices ended: the answer goes on."""
        for choice in self._choices.values():
            choice.finish_reason = None

    @property
    def any_began(self) -> bool:
        """Whether any choice has begun."""
        return bool(self._choices)

    @property
    def any_tool_call(self) -> bool:
        """Whether any tool call has begun."""
        return any(choice.tools for choice in list(self._choices.values()))

    @property
    def all_finished(self) -> bool:
        """Whether the stream has said of every choice that began that it is finished."""
        return self.any_began and all(
            choice.finish_reason is not None for choice in list(self._choices.values())
        )

    @property
    def failed_reason(self) -> str | None:
        """The finish_reason by which the server says that it failed, if there is one."""
        for choice in list(self._choices.values()):
            if choice.finish_reason in FAILED_REASONS:
                return choice.finish_reason
        return None

    @property
    def is_whole(self) -> bool:
        """Whether nothing but usage and the end marker can be missing."""
        finished = self.all_finished and self.failed_reason is None
        return finished and len(self._choices) >= self.expected

    def content(self, index: int = 0) -> str:
        """Give a choice's text so far."""
        choice = self._choices.get(index)
        return choice.content.getvalue() if choice else ""

    def reasoning(self, index: int = 0) -> str:
        """Give a choice's reasoning so far."""
        choice = self._choices.get(index)
        return choice.reasoning.getvalue() if choice else ""

    def tool_calls(self, index: int = 0) -> list[ToolCall]:
        """Give a choice's finished tool calls."""
        choice = self._choices.get(index)
        return choice.tools.as_list() if choice and choice.calls_are_finished else []

    def partial_arguments(self, call: int, index: int = 0) -> Any:
        """Give the best value so far of one tool call's arguments, None if there is none yet."""
        choice = self._choices.get(index)
        return choice.tools.partial_arguments(call) if choice else None

    def result(self, index: int = 0) -> StreamResult:
        """
        Give what has been received so far, seen from one choice.

        Raises:
            LookupError: other choices began, but not this one.
        """
        choice = self._choices.get(index)
        if choice is None and index != 0:
            begun = ", ".join(str(known) for known in sorted(self._choices)) or "none"
            raise LookupError(f"choice {index} has not begun; begun so far: {begun}")
        origin = self.origin or self
        return StreamResult(
            **(choice or _Choice(index)).fields(),
            usage=self.usage,
            chunk_count=self.chunk_count,
            id=self._id,
            model=self._model,
            created=self._created,
            status=self.status,
            choices=tuple(
                ChoiceResult(**known.fields()) for _, known in sorted(self._choices.items())
            ),
            timing=Timing(
                *(
                    None if mark is None else mark - origin.since
                    for mark in (
                        origin._headers_at,
                        self._first_chunk,
                        self._first_reasoning,
                        self._first_text,
                        self._last_chunk,
                    )
                )
            ),
            attempts=origin.attempts,
            quirks=tuple(
                sorted(origin.quirks.union(*(each.quirks for each in list(self._choices.values()))))
            ),
        )


def _begins_choice(chunk: Chunk) -> bool:
    """Tell a choice's chunk from one that only reports usage."""
    return bool(
        chunk.delta
        or chunk.role
        or chunk.reasoning
        or chunk.refusal
        or chunk.tool_calls
        or chunk.finish_reason is not None
        or chunk.logprobs is not None
        or chunk.extra is not None
    )
