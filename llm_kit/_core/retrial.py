"""What is tried again after a failure, when, and how."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from llm_kit._core.accumulator import Accumulator
from llm_kit._core.budget import Budget
from llm_kit._core.fold import behind
from llm_kit._core.request import Request
from llm_kit._core.seam import Seam
from llm_kit.dialects.base import FAILED_REASONS, ChunkSink
from llm_kit.errors import (
    APIConnectionError,
    APIStatusError,
    LLMKitError,
    StreamAPIError,
    StreamTimeoutError,
    StreamTruncatedError,
)
from llm_kit.policies import Recovery, RetryPolicy
from llm_kit.types import Chunk, Usage

_PASSING = frozenset({408, 409, 429})
# Causes of a connection's failure that another try doesn't change.
_LASTING = frozenset({"SSLCertVerificationError", "TooManyRedirects", "UnsupportedProtocol"})
# Types and codes of errors in a stream that another try doesn't change: the words of OpenAI's
# and Anthropic's references, which the imitators took over.
_LASTING_REPORTS = frozenset(
    {
        *("invalid_request_error", "authentication_error", "permission_error", "not_found_error"),
        *("billing_error", "request_too_large", "insufficient_quota", "invalid_api_key"),
        *("context_length_exceeded", "model_not_found", "content_policy_violation"),
    }
)


def says_something(chunk: Chunk) -> bool:
    """Tell a part of an answer from a mere sign of life: an empty delta, a role, a usage."""
    return bool(
        chunk.delta
        or chunk.reasoning
        or chunk.refusal
        or any(call.arguments or call.name or call.id for call in chunk.tool_calls)
        or (chunk.finish_reason is not None and chunk.finish_reason not in FAILED_REASONS)
        or (chunk.extra is not None and any(chunk.extra.values()))
    )


class Relay(Protocol):
    """What the chunks of a later attempt go through."""

    def append(self, chunk: Chunk, /) -> None: ...

    def flush(self) -> None: ...


class Retrial:
    """
    Decides for one stream what follows a failure.

    tenacity draws the pauses, and never waits.

    Args:
        policy: how often, and after which pauses.
        recovery: what is done about an answer that is lost in the middle.
        budget: the stream's deadlines; a pause that ends behind them is not begun.
    """

    def __init__(self, policy: RetryPolicy, recovery: Recovery, budget: Budget) -> None:
        # Not with this module: it takes longer than any file of ours. And not at the first failure:
        # that may be for lack of open files.
        import tenacity  # noqa: F401

        self._policy = policy
        self._recovery = recovery
        self._budget = budget
        self.refusal = ""
        """Why the last failure is final, where that is not plain from the failure itself."""

    def pause(
        self, request: Request, error: LLMKitError, spoke: bool, total: Accumulator, now: float
    ) -> float | None:
        """
        Give the seconds to wait before the next try, None if there shall be none.

        Args:
            request: what is asked for.
            error: what ended the attempt.
            spoke: whether the model had said anything in it.
            total: what has been received.
            now: the moment on the budget's clock.
        """
        self.refusal = ""
        if not (self._can_recover(request, error, total) if spoke else _can_retry(error)):
            return None
        made, policy = total.attempts, self._policy  # with those that the server made us repeat
        if made >= policy.attempts:
            self.refusal = f"{made} requests were made (RetryPolicy.attempts)" if made > 1 else ""
            return None
        asked: float | None = getattr(error, "retry_after", None)
        pause = self._backoff(made) if asked is None else asked
        if asked is not None and asked > policy.max_retry_after:
            self.refusal = (
                f"the server wants a pause of {asked:g} s, longer than"
                f" RetryPolicy.max_retry_after ({policy.max_retry_after:g} s)"
            )
        elif not self._budget.allows(pause, now):
            self.refusal = f"the pause of {pause:.3g} s would end behind the deadline"
        return None if self.refusal else pause

    def _backoff(self, made: int) -> float:
        """Draw the pause behind so many requests."""
        import tenacity

        state = tenacity.RetryCallState(tenacity.Retrying(), None, (), {})
        state.attempt_number = made
        pause, most = self._policy.pause, self._policy.max_pause
        return tenacity.wait_random_exponential(multiplier=pause, max=most)(state)

    def _can_recover(self, request: Request, error: LLMKitError, total: Accumulator) -> bool:
        if self._recovery.action == "raise" or total.is_whole or not _is_loss(error):
            return False
        if self._recovery.action == "continue":
            if not request.can_be_continued:
                self.refusal = "an answer that must be JSON, or a tool call, can't be continued"
            elif total.any_tool_call:  # no server would go on inside one
                self.refusal = "half a tool call can't be continued"
        return not self.refusal

    def next_try(
        self, request: Request, total: Accumulator, out: ChunkSink
    ) -> tuple[Request, Relay]:
        """
        Give the next request, and what its chunks go through on their way to ``out``.

        Args:
            request: what is asked for, from the beginning.
            total: what has been received, all of it.
        """
        text = total.content()
        continues = self._recovery.action == "continue" and request.can_be_continued
        if continues and text.strip():
            total.reopen()
            continued, left_out = request.continued(text, self._recovery)
            again = _Again(out, total.usage, earlier=total.result().extra)
            return continued, Seam(text, again, restored=left_out)
        return request, _Again(out, total.usage, restarts=total.chunk_count > 0)


def _can_retry(error: LLMKitError) -> bool:
    """Whether the same request may succeed that failed before anything was said."""
    if isinstance(error, APIStatusError):
        return _is_passing(error.status_code)
    if isinstance(error, APIConnectionError):
        return not any(map(_is_lasting, causes(error)))
    return isinstance(error, StreamTruncatedError) or _is_passing_report(error)


def _is_loss(error: LLMKitError) -> bool:
    """Whether an answer that had begun was lost by no fault of the request's."""
    if isinstance(error, StreamTimeoutError):
        return error.kind == "idle"
    return isinstance(error, StreamTruncatedError) or _is_passing_report(error)


def _is_passing_report(error: LLMKitError) -> bool:
    """Whether the server reported something that may be over soon."""
    if not isinstance(error, StreamAPIError) or {error.code, error.type} & _LASTING_REPORTS:
        return False
    return error.status_code is None or _is_passing(error.status_code)


def _is_passing(status: int) -> bool:
    return status in _PASSING or status >= 500


def _is_lasting(cause: BaseException) -> bool:
    name = type(cause).__name__
    # A proxy's refusal begins with its status: "407 Proxy Authentication Required".
    return name in _LASTING or (name == "ProxyError" and str(cause).startswith("4"))


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Give an error and those behind it, each once: somebody may have made a ring of them."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


class _Again:
    """
    Passes the chunks of a later attempt on, adding to their usage what was spent before.

    What goes on from earlier ones is kept apart from what they have put into ``extra``.

    A new beginning is told only when something is said: until then what came before is what
    there is, and a new attempt that is lost before that leaves it as it was.
    """

    def __init__(
        self,
        out: ChunkSink,
        spent: Usage | None,
        *,
        restarts: bool = False,
        earlier: Mapping[str, Any] | None = None,
    ) -> None:
        self._out = out
        self._spent = spent
        self._restarts = restarts
        self._earlier = earlier
        self._held: list[Chunk] = []

    def append(self, chunk: Chunk) -> None:
        if chunk.usage is not None and self._spent is not None:
            chunk.usage = _sum(self._spent, chunk.usage)
        if chunk.extra is not None:
            chunk.extra = behind(self._earlier, chunk.extra)
        if not self._restarts:
            self._out.append(chunk)
            return
        self._held.append(chunk)
        if says_something(chunk):
            self._restarts = False
            for each in (Chunk(restarted=True, usage=self._spent), *self._held):
                self._out.append(each)

    def flush(self) -> None:
        """Nothing: what is held back said nothing."""


def _sum(one: Usage, other: Usage) -> Usage:
    """Add what two attempts took; ``raw`` keeps what each of them said."""
    raws = one.raw.get("attempts")
    if not isinstance(raws, list):  # a server may call something else that
        raws = [one.raw]
    return Usage(
        _plus(one.prompt_tokens, other.prompt_tokens),
        _plus(one.completion_tokens, other.completion_tokens),
        _plus(one.total_tokens, other.total_tokens),
        _plus(one.reasoning_tokens, other.reasoning_tokens),
        _plus(one.cached_tokens, other.cached_tokens),
        {"attempts": [*raws, other.raw]},
    )


def _plus(one: int | None, other: int | None) -> int | None:
    return other if one is None else one + (other or 0)
