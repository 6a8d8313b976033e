"""
What one stream does, step by step. A session *asks* (`Open`, `Read`, `Drain`) and never waits:
a driver answers, by waiting in its own colour. All decisions about a stream are made here.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from contextlib import suppress
from typing import Any, Protocol

from attrs import evolve, field, frozen

from llm_kit._core.pipeline import Pipeline
from llm_kit._core.status import status_error
from llm_kit.dialects.base import ChunkSink
from llm_kit.errors import LLMKitError, StreamAPIError, StreamTimeoutError, StreamTruncatedError
from llm_kit.types import ResponseInfo, Status


@frozen
class Request:
    """What to send: the key is not in it, it is asked for when the request goes out."""

    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: Mapping[str, Any] = field(repr=False)

    def content(self) -> bytes:
        """
        Give the body as it goes over the wire.

        Raises:
            TypeError, ValueError: something in it can't be written as JSON.
        """
        try:
            return json.dumps(
                self.body, ensure_ascii=False, separators=(",", ":"), allow_nan=False
            ).encode()
        except UnicodeEncodeError as error:
            raise ValueError(
                f"the request has text that is not valid Unicode (half a surrogate pair:"
                f" {error.object[error.start : error.end]!r}); repair it where it was cut"
            ) from None
        except (TypeError, ValueError, RecursionError) as error:
            raise TypeError(
                f"the request can't be written as JSON: {error};"
                " messages, tools and further parameters must be plain dicts, lists, strings,"
                " numbers, booleans and None"
            ) from None


@frozen
class Head:
    """The answer's head; of an answer that is an error also its body."""

    info: ResponseInfo
    error_body: str = ""


@frozen
class Open:
    """Send the request, and answer with the `Head`."""

    request: Request


@frozen
class Begin:
    """The request has been sent by somebody else: answer with the `Head`."""


@frozen
class Read:
    """Answer with the next item of the body, or `END`."""


@frozen
class Drain:
    """
    Read what is left, briefly, so that the connection can be reused; answer with the items.
    """


END = object()
"""The body is over."""

BEGIN = Begin()
READ = Read()
DRAIN = Drain()

Ask = Open | Begin | Read | Drain
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
    decoder: Decoder, pipeline: Pipeline, opening: Open | Begin | None = None
) -> Steps:
    """
    Run one stream from its request to its verdict.

    Args:
        decoder: items -> chunks.
        pipeline: where the chunks go; its accumulator tells what has been finished.
        opening: how it begins, None for a source that is simply read.

    Raises:
        LLMKitError: the stream did not end as a whole one.
    """
    total = pipeline.accumulator
    total.quirks = decoder.quirks
    if opening is not None:
        head = yield opening
        if isinstance(opening, Open) and (
            instead := _without_refused_options(head, opening.request)
        ):
            total.attempts += 1
            decoder.quirks.add("stream_options_refused")
            head = yield Open(instead)
        total.feed_head(head.info, pipeline.now)
        if not 200 <= head.info.status_code < 300:
            raise status_error(head.info, head.error_body)
    arrived = pipeline.arrived
    failure: StreamAPIError | None = None
    try:
        while not decoder.done:
            item = yield READ
            if item is END:
                decoder.flush(arrived)
                break
            decoder.feed(item, arrived)
    except (StreamTruncatedError, StreamTimeoutError):
        # A read fails only when the loop has taken all that came, so `total` is up to date.
        if not total.is_whole:
            raise
    except StreamAPIError as error:
        failure = error
    rest = yield DRAIN
    if failure is not None:
        for item in rest:  # some servers send the usage behind the error
            with suppress(LLMKitError):
                decoder.feed(item, arrived)
        raise failure
    if reason := total.failed_reason:
        raise StreamAPIError(f"it ended with finish_reason {reason!r}", code=reason)
    if not total.all_finished and not decoder.ends_by_exhaustion:
        raise _truncated(total.any_began)


def status_of(error: Exception) -> Status:
    """Say how a stream ended that an error ended."""
    if isinstance(error, StreamTruncatedError):
        return "truncated"
    return "timeout" if isinstance(error, StreamTimeoutError) else "error"


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


def _without_refused_options(head: Head, request: Request) -> Request | None:
    """Give the request without ``stream_options``, if that is what the server refuses in it."""
    if (
        head.info.status_code not in (400, 422)
        or "stream_options" not in request.body
        or "stream_options" not in head.error_body
    ):
        return None
    body = {name: value for name, value in request.body.items() if name != "stream_options"}
    return evolve(request, body=body)
