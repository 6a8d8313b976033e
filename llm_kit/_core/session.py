"""
What one stream does, step by step. A session *asks* (`Open`, `Read`, `Sleep`) and never waits:
a driver answers, by waiting in its own colour. All decisions about a stream are made here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from contextlib import suppress
from functools import partial
from typing import Any, Protocol

from attrs import frozen

from llm_kit._core.accumulator import Accumulator
from llm_kit._core.budget import Budget
from llm_kit._core.pipeline import Pipeline
from llm_kit._core.request import Request
from llm_kit._core.retrial import Relay, Retrial, causes, says_something
from llm_kit._core.status import status_error
from llm_kit.dialects.base import ChunkSink
from llm_kit.errors import (
    LLMKitError,
    StreamAPIError,
    StreamError,
    StreamProtocolError,
    StreamTimeoutError,
    StreamTruncatedError,
)
from llm_kit.types import Chunk, ResponseInfo, Status

log = logging.getLogger("llm_kit")

_ERROR_BODY = (64 * 1024, 5.0)  # bytes and seconds that an error's body may take
_TAIL = 5.0  # seconds that a body may stay open behind a whole answer, if it has no end marker
_BEHIND_END = (64 * 1024, 0.1)  # bytes and seconds for what stands behind the end marker


@frozen
class Open:
    """Send the request, and answer with the `ResponseInfo`."""

    request: Request


@frozen
class Begin:
    """The request has been sent by somebody else: answer with the `ResponseInfo`."""


@frozen
class Read:
    """Answer with the next item of the body, or `END`; by ``until``, if that is given."""

    until: float | None = None


@frozen
class Drain:
    """
    Answer with an item of what is left, so that the connection can be reused; `END` if there
    is none, or if asking for it could do harm.
    """

    until: float


@frozen
class Sleep:
    """Wait until then."""

    until: float


class TimeUp(Exception):
    """Thrown into a session in the place of an answer that did not come in time."""


END = object()
"""The body is over."""

BEGIN = Begin()
READ = Read()

Ask = Open | Begin | Read | Drain | Sleep
Steps = Generator[Ask, Any, None]


class Decoder(Protocol):
    """What makes chunks of a source's items."""

    @property
    def done(self) -> bool: ...
    @property
    def quirks(self) -> set[str]: ...
    @property
    def ends_by_exhaustion(self) -> bool: ...

    def feed(self, item: Any, out: ChunkSink, /) -> None: ...

    def flush(self, out: ChunkSink) -> None: ...


def stream_session(
    make_decoder: Callable[[], Decoder],
    pipeline: Pipeline,
    budget: Budget,
    opening: Open | Begin | None = None,
    retrial: Retrial | None = None,
) -> Steps:
    """
    Run one stream from its request to its verdict.

    Args:
        make_decoder: gives what makes chunks of items, anew for each attempt.
        pipeline: where the chunks go; its accumulator tells what has been finished.
        budget: the deadlines.
        opening: how it begins, None for a source that is simply read.
        retrial: decides what is tried again; None: nothing is.

    Raises:
        LLMKitError: the stream did not end as a whole one.
    """
    # Made now and not at the first step: a wrong argument is the caller's, not the stream's.
    first = _Attempt(make_decoder(), pipeline, budget, opening)
    return _run(first, make_decoder, pipeline, budget, retrial)


def _run(
    attempt: _Attempt,
    make_decoder: Callable[[], Decoder],
    pipeline: Pipeline,
    budget: Budget,
    retrial: Retrial | None,
) -> Steps:
    total = pipeline.accumulator
    asked = attempt.request
    lost: LLMKitError | None = None
    while True:
        try:
            yield from attempt.run()
            return
        except LLMKitError as error:
            if lost is not None:
                _chain(error, lost)
            if retrial is None or asked is None:
                raise
            pause = retrial.pause(asked, error, attempt.spoke, total, pipeline.now)
            if pause is None:
                _log(error, total.attempts, retrial.refusal)
                if retrial.refusal:
                    error.add_note(f"Not asked again: {retrial.refusal}.")
                attempt.release()
                raise
            error.partial = total.result()
            lost = error
            _forget_frames(lost)
        _log(lost, total.attempts, f"next in {pause:.2f} s")
        with suppress(TimeUp):
            yield Sleep(pipeline.now + pause)
        # The loop has taken what came: a driver sleeps only then.
        total.attempts += 1
        asked = asked.without(attempt.refused)
        request, relay = retrial.next_try(asked, total, pipeline.arrived)
        attempt = _Attempt(make_decoder(), pipeline, budget, Open(request), relay)


class _Attempt:
    """One request and its answer."""

    def __init__(
        self,
        decoder: Decoder,
        pipeline: Pipeline,
        budget: Budget,
        opening: Open | Begin | None,
        relay: Relay | None = None,
    ) -> None:
        self._decoder = decoder
        self._pipeline = pipeline
        self._total: Accumulator = pipeline.accumulator
        self._budget = budget
        self._opening = opening
        self._relay = relay
        decoder.quirks.update(self._total.quirks)
        self._total.quirks = decoder.quirks
        # The loop takes all that arrived before anything is read: so what is in here is new.
        self._fresh: Any = pipeline.arrived if relay is None else []
        self._flushed = False
        self.refused: str | None = None
        """A field of the request that the server would not have."""
        self.spoke = False
        """Whether the model has said anything."""
        self._tail_due: float | None = None
        """Until when usage and the end marker may come: nothing else is missing."""

    @property
    def request(self) -> Request | None:
        """What is asked, if it is us who ask."""
        return self._opening.request if isinstance(self._opening, Open) else None

    def release(self) -> None:
        """Let go of text that may only restate what came before: no more of it will come."""
        if self._relay is not None:
            self._relay.flush()

    def run(self) -> Steps:
        """Go from the request to the verdict."""
        decoder, total = self._decoder, self._total
        failure: StreamAPIError | None = None
        loss: StreamError | None = None
        try:
            if self._opening is not None:
                yield from self._open(self._opening)
            while not decoder.done:
                item = (
                    yield READ
                    if self._tail_due is None
                    else Read(min(self._tail_due, self._budget.wait(self._pipeline.now)))
                )
                if item is END:
                    self._flush()
                    break
                decoder.feed(item, self._fresh)
                if self._look():
                    with suppress(TimeUp):
                        yield Sleep(self._pipeline.now)  # the loop takes what came
                    if self._tail_due is None and total.is_whole:
                        self._tail_due = self._pipeline.now + _TAIL
        except TimeUp:
            loss = self._budget.error(self._pipeline.now)
        except (StreamTruncatedError, StreamTimeoutError, StreamProtocolError) as error:
            loss = error
        except StreamAPIError as error:
            failure = error
        finally:
            self._look()
        if loss is None:
            rest = yield from self._read_left(Drain, *_BEHIND_END)
            if failure is not None:
                self._read_behind(rest)  # some servers send the usage behind the error
        else:
            if not isinstance(loss, StreamProtocolError):  # else the rest may be of any size
                failure = self._read_behind([])  # an event that lacks but its blank line
            if self._pipeline.arrived:
                with suppress(TimeUp):
                    yield Sleep(self._pipeline.now)
        # The loop has taken all that came, so `total` is up to date.
        if failure is not None:
            raise failure
        if loss is not None:
            if total.is_whole:
                return
            raise loss
        if reason := total.failed_reason:
            raise StreamAPIError(f"it ended with finish_reason {reason!r}", code=reason)
        if not total.all_finished and not decoder.ends_by_exhaustion:
            raise _truncated(total.any_began)

    def _open(self, opening: Open | Begin) -> Steps:
        """Go as far as the head of an answer that is no refusal."""
        while True:
            self._budget.attempt()
            info: ResponseInfo = yield opening
            self._total.feed_head(info, self._pipeline.now)
            if 200 <= info.status_code < 300:
                return
            pieces = yield from self._read_left(Read, *_ERROR_BODY)
            body = b"".join(pieces).decode("utf-8", "replace")
            if not isinstance(opening, Open):
                raise status_error(info, body)
            refused = opening.request.refused_option(info.status_code, body)
            if refused is None:
                raise status_error(info, body)
            self.refused = refused
            self._total.attempts += 1
            self._decoder.quirks.add(f"{refused}_refused")
            opening = Open(opening.request.without(refused))

    def _read_left(
        self, ask: type[Read] | type[Drain], size: int, seconds: float
    ) -> Generator[Ask, Any, list[Any]]:
        """Read what is left, but not much and not for long."""
        pieces: list[Any] = []
        now = self._pipeline.now
        until = min(now + seconds, self._budget.wait(now))
        with suppress(TimeUp, LLMKitError):  # slow or lost: what came is all there is
            while size > 0 and (piece := (yield ask(until))) is not END:
                if isinstance(piece, bytes):
                    piece = piece[:size]  # it may have been inflated to any length
                    size -= len(piece)
                pieces.append(piece)
        return pieces

    def _flush(self) -> None:
        if not self._flushed:
            self._flushed = True
            self._decoder.flush(self._fresh)

    def _read_behind(self, items: list[Any]) -> StreamAPIError | None:
        """Read what came behind a failure; gives an error that the server reports there."""
        reported: StreamAPIError | None = None
        reads: list[Callable[[], None]] = [
            partial(self._decoder.feed, item, self._fresh) for item in items
        ]
        for read in (*reads, self._flush):
            try:
                read()
            except StreamAPIError as error:
                reported = reported or error
            except LLMKitError:  # cut off, or garbage: the failure itself is what is told
                continue
        self._look()
        return reported

    def _look(self) -> bool:
        """
        See whether something was said, and pass on what came to a later attempt.

        Returns:
            Whether the answer may be whole now.
        """
        fresh = self._fresh
        if not fresh:
            return False
        if fresh[0].delta or any(map(says_something, fresh)):
            self.spoke = True
            self._budget.said()
        last: Chunk = fresh[-1]
        if self._relay is not None:
            for chunk in fresh:
                self._relay.append(chunk)
            fresh.clear()
        return last.finish_reason is not None or (last.usage is not None and not last.delta)


def status_of(error: Exception) -> Status:
    """Say how a stream ended that an error ended."""
    if isinstance(error, StreamTruncatedError):
        return "truncated"
    return "timeout" if isinstance(error, StreamTimeoutError) else "error"


def _log(error: LLMKitError, attempts: int, what_follows: str) -> None:
    # No words of the error's: they may quote the key.
    status = getattr(error, "status_code", None) or getattr(error, "kind", None) or ""
    kind = f"{type(error).__name__} {status}".rstrip()
    log.debug("attempt %d failed: %s; %s", attempts, kind, what_follows or "no other")


def _chain(error: LLMKitError, earlier: LLMKitError) -> None:
    """Put what was lost before at the end of an error's causes, where a traceback shows it."""
    behind, known = list(causes(error)), list(causes(earlier))
    # A mock may raise one and the same error again and again: no rings.
    if any(one is other for one in behind for other in known):
        return
    last: BaseException = error
    while last.__cause__ is not None:
        last = last.__cause__
    last.__cause__ = earlier


def _forget_frames(error: LLMKitError) -> None:
    """Keep an error's words without its frames: they hold the stream, in a ring."""
    for each in causes(error):
        each.__traceback__ = None


def _truncated(any_began: bool) -> StreamTruncatedError:
    if not any_began:
        return StreamTruncatedError(
            "the answer ended without a single event that says anything;"
            " the server or something before it gave up: send the request again"
        )
    return StreamTruncatedError(
        "the answer ended without a finish_reason for every choice, so it is not whole;"
        " .partial has what came"
    )
