"""
Network errors of other libraries -> ours, told by the names of their classes.

By name, because httpx and httpx2 share no class, and the SDKs' errors are their own again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from llm_kit._core.status import status_error
from llm_kit.dialects.base import api_error
from llm_kit.errors import (
    APIConnectionError,
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
    # What it was before a layer put it in its own words: LiteLLM, or the transport httpx-aiohttp,
    # which calls any failure to connect a ConnectTimeout.
    inner: BaseException | None = None
    if "litellm" in _packages(error):
        inner = error.__context__
    elif "httpx" in _packages(error) and "aiohttp" in _packages(error.__cause__):
        inner = error.__cause__
    ours = _ours(inner, opened) if isinstance(inner, Exception) else None
    ours = ours or _ours(error, opened)
    _forget_request(error)
    if ours is None:
        return error
    if not isinstance(ours, ValueError):
        ours.__cause__ = error
    return ours


def _ours(error: Exception, opened: bool) -> Exception | None:
    names = {cls.__name__ for cls in type(error).__mro__}
    if names & _TIMEOUTS:
        return _timeout(error, names, opened)
    if "LocalProtocolError" in names and "header" in str(error).lower():
        # The caller's mistake, and not the state of a connection. Its message quotes the
        # header: that may be the key.
        mistake = ValueError(
            "a header of the request can't be sent;"
            " check headers and api_key for line breaks and characters beyond ASCII"
        )
        mistake.__suppress_context__ = True
        return mistake
    if names & _UNDECODABLE or type(error.__cause__).__name__ in _UNDECODABLE:
        return StreamProtocolError(
            f"the body is not encoded as its content-encoding says: {error}; ask the server's"
            " operator, or send the request with accept-encoding: identity"
        )
    if names & _LOSSES or {"ProtocolError", "HTTPError"} <= names:
        return _lost(error, opened)
    if "ClientResponseError" in names and "aiohttp" in _packages(error.__cause__):
        return _lost(error, opened)  # aiohttp met something that is no HTTP
    if any(sign <= names | _packages(error) for sign in _REPORTS):
        return _reported(error, str(error))
    if names & {"StreamConsumed", "StreamClosed", "StreamConsumedError"}:
        return StreamProtocolError(
            "this response has been read or closed before; hand it over unread,"
            " as `with client.stream(...)` gives it"
        )
    if "HTTPStatusError" in names:  # a hook of the user's client calls raise_for_status
        return _reported(error, "")
    return None


# Of httpx, httpx2, urllib3, aiohttp, and the SDKs of openai and anthropic.
_TIMEOUTS = {"TimeoutException", "ReadTimeoutError", "ServerTimeoutError", "APITimeoutError"}
_UNDECODABLE = {"DecodingError", "DecodeError", "ContentEncodingError"}
_LOSSES = {
    "TransportError",
    "TooManyRedirects",
    "ClientPayloadError",
    "ChunkedEncodingError",
    "ClientConnectionError",
    "APIConnectionError",
}
# How SDKs say that the server reported an error: a name and whose it is.
_REPORTS = (
    {"APIError", "OpenAIError"},
    {"APIError", "AnthropicError"},
    {"APIError", "google"},
    {"ApiError", "cohere"},
    {"ResponseError", "ollama"},
)


def _packages(error: BaseException | None) -> set[str]:
    return {cls.__module__.partition(".")[0] for cls in type(error).__mro__}


def _timeout(error: Exception, names: set[str], opened: bool) -> StreamTimeoutError:
    # Not one of ours, which the session tells: those of a stream that somebody else has opened.
    whose = f"the HTTP client's own timeout ({type(error).__name__})"
    if names & {"ConnectTimeout", "PoolTimeout", "ConnectionTimeoutError"}:
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


def _reported(error: Any, said: str) -> Exception:
    """Say what the server reported: instead of an answer, or inside of one that had begun."""
    bodies = (getattr(error, name, None) for name in _BODIES)
    body = next((body for body in bodies if body is not None), said)
    head = getattr(error, "response", None) or error
    status = getattr(head, "status_code", getattr(head, "status", None))
    if isinstance(status, int) and status >= 300:
        headers = getattr(head, "headers", None) or {}
        text = json.dumps(body) if isinstance(body, Mapping) else str(body)
        info = ResponseInfo(status, {name.lower(): value for name, value in headers.items()})
        return status_error(info, text)
    if isinstance(body, Mapping):
        return api_error(body.get("error", body))
    return api_error(body)


_BODIES = ("body", "details", "error")  # of openai, anthropic, cohere; google; ollama


_REQUESTS = {"_request", "request", "response", "raw_response"}


def _forget_request(error: BaseException | None) -> None:
    """Take the request, whose headers hold the key, off an error and those behind it."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        for name in getattr(error, "__dict__", {}).keys() & _REQUESTS:
            setattr(error, name, None)
        error = error.__cause__ or error.__context__
