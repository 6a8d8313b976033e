"""
HTTP: sends a request and reads the answer's body. The one file that names httpx.

A client that the user brings may be of httpx or of its fork httpx2, or anything with their
methods; so classes of httpx are never compared with, and errors are told by name.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import Any, Protocol

import httpx

from llm_kit._core.secrets import Secrets
from llm_kit._core.session import END, Head, Request
from llm_kit._core.urls import shown_url
from llm_kit._io.background import Background
from llm_kit._io.losses import translate
from llm_kit._io.stop import StopSignal
from llm_kit._io.tap import OpeningTrace, tap
from llm_kit.errors import LLMKitError
from llm_kit.types import ResponseInfo

log = logging.getLogger("llm_kit")

# Seconds. Reads wait as long as a slow model may think; a pool never makes a stream wait.
_TIMEOUT = {"connect": 10.0, "read": 300.0, "write": 60.0, "pool": None}
_ERROR_BODY = (64 * 1024, 5.0)  # bytes and seconds that an error's body may take
_DRAIN = (64 * 1024, 0.1)  # bytes and seconds for what stands behind the end marker
_REQUEST_IDS = ("x-request-id", "request-id", "x-generation-id")

Auth = httpx.Auth


class HTTPClient(Protocol):
    """What is asked of an HTTP client: httpx's and httpx2's have it."""

    def build_request(self, *args: Any, **kwargs: Any) -> Any: ...
    def send(self, *args: Any, **kwargs: Any) -> Any: ...
    def close(self) -> None: ...


class AsyncHTTPClient(Protocol):
    """What is asked of an async HTTP client: httpx's and httpx2's have it."""

    def build_request(self, *args: Any, **kwargs: Any) -> Any: ...
    async def send(self, *args: Any, **kwargs: Any) -> Any: ...
    async def aclose(self) -> None: ...


# A configured proxy could never reach this machine's own loopback.
_LOOPBACK = ("all://127.0.0.1", "all://localhost", "all://[::1]")


def new_client() -> httpx.Client:
    """Make the client for those who bring none: HTTP/1.1, as many connections as streams."""
    return httpx.Client(
        limits=httpx.Limits(max_connections=None),
        mounts=dict.fromkeys(_LOOPBACK),
    )


def new_async_client() -> httpx.AsyncClient:
    """Make the client for those who bring none: HTTP/1.1, as many connections as streams."""
    return httpx.AsyncClient(
        limits=httpx.Limits(max_connections=None),
        mounts=dict.fromkeys(_LOOPBACK),
    )


def _request_options(request: Request, key_headers: Mapping[str, str]) -> dict[str, Any]:
    headers = {
        "accept": "text/event-stream",
        # Compression would hold tokens back, and saves next to nothing on short events.
        "accept-encoding": "identity",
        "content-type": "application/json",
        **key_headers,
        **request.headers,
    }
    return {
        "method": "POST",
        "url": request.url,
        "headers": headers,
        "content": request.content(),
    }


def _info(response: Any) -> ResponseInfo:
    headers = {name.lower(): value for name, value in response.headers.items()}
    return ResponseInfo(
        response.status_code,
        headers,
        next((headers[name] for name in _REQUEST_IDS if name in headers), None),
    )


def _is_encoded(info: ResponseInfo) -> bool:
    return info.headers.get("content-encoding", "identity") != "identity"


class ResponseSource:
    """Reads an HTTP response that somebody else has opened."""

    def __init__(self, stop: StopSignal, response: Any = None) -> None:
        self._stop = stop
        self._response = response
        self._own = response is None
        self._background: Background | None = None
        self._body: Iterator[bytes] = iter(())

    def read_in_background(self) -> None:
        """Nothing: a stop always wakes a response's reader."""

    def begin(self) -> Head:
        """Give the head; see `Begin`."""
        if not tap(self._response) and self._background is None:
            self._background = Background(self._stop)
        info = _info(self._response)
        if self._own and not _is_encoded(info):
            # Not iter_raw: that hands the connection back before we know of the end.
            self._body = iter(self._response.stream)
        else:
            self._body = self._response.iter_bytes()
        return Head(info, "" if info.status_code < 300 else self._error_body())

    def _error_body(self) -> str:
        return b"".join(self._read_briefly(*_ERROR_BODY)).decode("utf-8", "replace")

    def read(self) -> Any:
        """Give the next bytes of the body, or `END`; see `Read`."""
        try:
            if self._background is None:
                return next(self._body, END)
            return self._background.call(partial(next, self._body, END))
        except Exception as error:
            raise translate(error, opened=True)

    def drain(self) -> list[bytes]:
        """Read to the end of the body, briefly; see `Drain`."""
        if self._background is not None:
            return []  # others share the connection, or there is none
        return self._read_briefly(*_DRAIN)

    def _read_briefly(self, left: int, seconds: float) -> list[bytes]:
        pieces: list[bytes] = []
        until = monotonic() + seconds
        with suppress(LLMKitError):  # slow or lost: what came is all there is
            while left > 0 and monotonic() < until:
                self._stop.patience = max(0.001, until - monotonic())  # 0 would not wait at all
                if (piece := self.read()) is END:
                    break
                pieces.append(piece)
                left -= len(piece)
        self._stop.patience = None
        return pieces

    def close(self) -> None:
        """Give the connection up: back to the pool if the body was whole, else closed."""
        background, self._background = self._background, None
        if background is not None:
            background.end(self._close_response)
        else:
            self._close_response()

    def _close_response(self) -> None:
        if self._response is not None:
            self._response.close()


class HttpSource(ResponseSource):
    """Sends a request, and reads what is answered."""

    def __init__(
        self,
        stop: StopSignal,
        client: Any,
        key: Callable[[], Mapping[str, str]],
        auth: Auth | None,
        secrets: Secrets,
    ) -> None:
        super().__init__(stop)
        self._client = client
        self._key = key
        self._secrets = secrets
        self._auth = {} if auth is None else {"auth": auth}

    def open(self, request: Request) -> Head:
        """Send the request and give the answer's head; see `Open`."""
        self.close()  # an answer that was refused before
        self._response = None
        # Until the headers are here nobody but this thread knows the socket, if there is one:
        # so another thread asks for them, and the reader can walk away.
        self._background = Background(self._stop)
        self._background.call(partial(self._send, request))
        if tap(self._response):
            self._background.end()
            self._background = None
        return self.begin()

    def _send(self, request: Request) -> None:
        options = _request_options(request, self._key())
        trace = OpeningTrace(self._stop)
        extensions = {"timeout": _TIMEOUT, "trace": trace}
        try:
            self._response = self._client.send(
                self._client.build_request(**options, extensions=extensions),
                stream=True,
                **self._auth,
            )
        except Exception as error:
            raise translate(error, opened=False)
        finally:
            trace.close()
        self._secrets.add_headers(self._response.request.headers)  # what an auth put there
        log.debug("POST %s -> %s", shown_url(request.url), self._response.status_code)


class AsyncResponseSource:
    """Reads an HTTP response that somebody else has opened: the async twin."""

    def __init__(self, response: Any = None) -> None:
        self._response = response
        self._own = response is None
        self._body: AsyncIterator[bytes]

    def read_in_background(self) -> None:
        """Nothing: every await can be woken."""

    async def begin(self) -> Head:
        """Give the head; see `Begin`."""
        info = _info(self._response)
        if self._own and not _is_encoded(info):
            self._body = aiter(self._response.stream)
        else:
            self._body = self._response.aiter_bytes()
        return Head(info, "" if info.status_code < 300 else await self._error_body())

    async def _error_body(self) -> str:
        return b"".join(await self._read_briefly(*_ERROR_BODY)).decode("utf-8", "replace")

    async def read(self) -> Any:
        """Give the next bytes of the body, or `END`; see `Read`."""
        try:
            return await anext(self._body, END)
        except Exception as error:
            raise translate(error, opened=True)

    async def drain(self) -> list[bytes]:
        """Read to the end of the body, briefly; see `Drain`."""
        return await self._read_briefly(*_DRAIN)

    async def _read_briefly(self, left: int, seconds: float) -> list[bytes]:
        pieces: list[bytes] = []
        with suppress(TimeoutError, LLMKitError):  # slow or lost: what came is all there is
            async with asyncio.timeout(seconds):
                while left > 0 and (piece := await self.read()) is not END:
                    pieces.append(piece)
                    left -= len(piece)
        return pieces

    async def aclose(self) -> None:
        """Give the connection up: back to the pool if the body was whole, else closed."""
        if self._response is not None:
            await self._response.aclose()


def _close_failed_handshake() -> Callable[[str, Mapping[str, Any]], Awaitable[None]]:
    """
    Make a ``trace`` that closes the socket of a TLS handshake that is cancelled.

    httpcore does so when the handshake fails, but leaves it to the garbage collector otherwise.
    """
    stream: Any = None

    async def trace(name: str, info: Mapping[str, Any]) -> None:
        nonlocal stream
        if name.endswith("connect_tcp.complete"):
            stream = info["return_value"]
        elif name.endswith("start_tls.failed") and stream is not None:
            await stream.aclose()

    return trace


class AsyncHttpSource(AsyncResponseSource):
    """Sends a request, and reads what is answered: the async twin."""

    def __init__(
        self,
        client: Any,
        key: Callable[[], Awaitable[Mapping[str, str]]],
        auth: Auth | None,
        secrets: Secrets,
    ) -> None:
        super().__init__()
        self._client = client
        self._key = key
        self._secrets = secrets
        self._auth = {} if auth is None else {"auth": auth}

    async def open(self, request: Request) -> Head:
        """Send the request and give the answer's head; see `Open`."""
        await self.aclose()  # an answer that was refused before
        self._response = None
        await self._send(request)
        return await self.begin()

    async def _send(self, request: Request) -> None:
        options = _request_options(request, await self._key())
        extensions = {"timeout": _TIMEOUT, "trace": _close_failed_handshake()}
        try:
            self._response = await self._client.send(
                self._client.build_request(**options, extensions=extensions),
                stream=True,
                **self._auth,
            )
        except Exception as error:
            raise translate(error, opened=False)
        self._secrets.add_headers(self._response.request.headers)  # what an auth put there
        log.debug("POST %s -> %s", shown_url(request.url), self._response.status_code)
