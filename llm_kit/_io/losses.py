"""
Network errors of other libraries -> ours, told by the names of their classes.

By name, because httpx and httpx2 share no class, and the SDKs' errors are their own again.
"""

from __future__ import annotations

from typing import Any

from llm_kit._core.status import status_error
from llm_kit.dialects.base import api_error
from llm_kit.errors import (
    APIConnectionError,
    APIStatusError,
    StreamAPIError,
    StreamProtocolError,
    StreamTimeoutError,
    StreamTruncatedError,
)
from llm_kit.types import ResponseInfo


def translate(error: Exception, *, opened: bool) -> Exception:
    """
    Say what another library's error means for the stream.

    Args:
        error: what a send or a read raised.
        opened: whether the answer's head had come.

    Returns:
        One of our errors with ``error`` as its cause; a ValueError if the request can't be sent
        at all; ``error`` itself if it is not about the network, such as one that a user's own
        generator raised.
    """
    names = {cls.__name__ for cls in type(error).__mro__}
    ours: Exception | None = None
    if names & {"TimeoutException", "APITimeoutError"}:
        ours = _timeout(error, names, opened)
    elif "LocalProtocolError" in names and "header" in str(error).lower():
        # The caller's mistake, and not the state of a connection. Its message quotes the
        # header: that may be the key.
        ours = ValueError(
            "a header of the request can't be sent;"
            " check headers and api_key for line breaks and characters beyond ASCII"
        )
        ours.__suppress_context__ = True
        return ours
    elif "DecodingError" in names:
        ours = StreamProtocolError(
            f"the body is not encoded as its content-encoding says: {error}; ask the server's"
            " operator, or send the request with accept-encoding: identity"
        )
    elif names & {"TransportError", "TooManyRedirects", "APIConnectionError"}:
        ours = _lost(error, opened)
    elif {"APIError", "OpenAIError"} <= names or {"APIError", "AnthropicError"} <= names:
        ours = _reported(error)
    elif names & {"StreamConsumed", "StreamClosed"}:
        ours = StreamProtocolError(
            "this response has been read or closed before; hand it over unread,"
            " as `with client.stream(...)` gives it"
        )
    elif "HTTPStatusError" in names:  # a hook of the user's client calls raise_for_status
        ours = _refused(error)
    _forget_request(error)
    if ours is None:
        return error
    ours.__cause__ = error
    return ours


def _refused(error: Any) -> APIStatusError:
    headers = {name.lower(): value for name, value in error.response.headers.items()}
    return status_error(ResponseInfo(error.response.status_code, headers), "")


def _timeout(error: Exception, names: set[str], opened: bool) -> StreamTimeoutError:
    # Not one of ours, which the session tells: those of a stream that somebody else has opened.
    whose = f"the HTTP client's own timeout ({type(error).__name__})"
    if names & {"ConnectTimeout", "PoolTimeout"}:
        return StreamTimeoutError(
            f"no connection was made in time, by {whose}; check base_url and that the server is up",
            kind="connect",
        )
    if not opened:
        return StreamTimeoutError(
            f"the server did not begin its answer in time, by {whose};"
            " it may be overloaded: try again later",
            kind="first_chunk",
        )
    return StreamTimeoutError(
        f"the server went silent in the middle of its answer, by {whose};"
        " .partial has what came; allow more in the client that opened the stream",
        kind="idle",
    )


def _lost(error: Exception, opened: bool) -> Exception:
    what = f"{type(error).__name__}: {error}"
    if opened:
        return StreamTruncatedError(
            f"the connection was lost in the middle of the answer ({what});"
            " .partial has what came, and the request may be sent again"
        )
    return APIConnectionError(
        f"the server gave no answer ({what}); check base_url, that the server is up,"
        " and any proxy between"
    )


def _reported(error: Exception) -> StreamAPIError:
    """An SDK's way of saying that the server reported an error inside the stream."""
    body = getattr(error, "body", None)
    return api_error(body if isinstance(body, dict) else str(error))


def _forget_request(error: BaseException | None) -> None:
    """Take the request, whose headers hold the key, off an error and those behind it."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        for name in getattr(error, "__dict__", {}).keys() & {"_request", "request", "response"}:
            setattr(error, name, None)
        error = error.__cause__ or error.__context__
