"""
Every error that the toolkit raises, and nothing that decides.

    LLMKitError
    ├── APIConnectionError            no answer began: refused, reset, DNS, TLS
    ├── APIStatusError                an answer began with a status of 400 or more
    └── StreamError                   something went wrong inside an answer
        ├── StreamTruncatedError      the answer stopped without saying that it was whole
        ├── StreamTimeoutError        nothing came in time (also a TimeoutError)
        ├── StreamAPIError            the server reported an error inside a 200 stream
        ├── StreamProtocolError       what came is no such stream, or is over a limit
        └── StreamInterrupted         a StreamInterrupter fired, and was asked to raise

Every error that ends a stream carries ``.partial``: all that had been received. A wrong
argument of the caller's is a plain ``TypeError`` or ``ValueError``, as everywhere in Python.
"""

from __future__ import annotations

from typing import Literal

from llm_kit.types import StreamResult

TimeoutKind = Literal["connect", "first_chunk", "idle", "total"]


# State lives in attributes and ``args`` is the message alone: so BaseException's own
# pickling (class, args, __dict__) restores every one of these without help.


class LLMKitError(Exception):
    """
    What all errors of this package share.

    Attributes:
        partial: what the stream had given before it failed; empty if no stream was involved.
    """

    partial: StreamResult = StreamResult()


class APIConnectionError(LLMKitError):
    """No answer began: the connection was refused, reset or never made."""


class APIStatusError(LLMKitError):
    """
    The server answered with an HTTP status of 400 or more.

    Attributes:
        status_code: the HTTP status.
        body: the body as text, the key scrubbed, cut to a few thousand characters.
        request_id: the server's own name for the request, if it sent one.
        retry_after: seconds that the server asks to wait, if it said so.
    """

    def __init__(
        self,
        message: str,
        *,
        status_code: int = 0,
        body: str = "",
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status_code = status_code
        self.body = body
        self.request_id = request_id
        self.retry_after = retry_after


class StreamError(LLMKitError):
    """Something went wrong after an answer had begun."""


class StreamTruncatedError(StreamError):
    """The answer stopped without saying that it was finished; ``.partial`` has what came."""


class StreamTimeoutError(StreamError, TimeoutError):
    """
    Nothing came in time.

    Attributes:
        kind: which time ran out: connect, first_chunk, idle or total.
    """

    def __init__(self, message: str, *, kind: TimeoutKind = "idle") -> None:
        super().__init__(message)
        self.kind: TimeoutKind = kind


class StreamAPIError(StreamError):
    """
    The server reported an error inside an answer that had begun with status 200.

    Attributes:
        message: the server's words.
        code: the server's code as sent (a number, a word or None).
        type: the server's name for the kind of error, if any.
        status_code: ``code`` where it is an HTTP status as number or digits, else None.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str | int | None = None,
        type: str | None = None,  # noqa: A002  the wire's own word
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.type = type
        digits = str(code)
        is_status = len(digits) == 3 and digits.isascii() and digits.isdecimal()
        self.status_code = int(digits) if is_status and "1" <= digits[0] <= "5" else None

    def __str__(self) -> str:
        code = "" if self.code is None else f" (code {self.code})"
        return (
            f"the server reported an error in its stream: {self.message}{code};"
            " .partial has what came before"
        )


class StreamProtocolError(StreamError):
    """What came is not a stream of the expected kind (HTML, broken JSON), or is over a limit."""


class StreamInterrupted(StreamError):
    """
    A StreamInterrupter fired whose ``raise_on_interrupt`` is set.

    Attributes:
        reason: what ``interrupt(reason)`` was given.
    """

    def __init__(self, message: str, *, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason
