"""
HTTP: sends a request and reads the answer's body. The one file that names httpx.

A client that the user brings may be of httpx or of its fork httpx2, or anything with their
methods; so classes of httpx are never compared with, and errors are told by name.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from functools import partial
from math import inf
from time import monotonic, time
from typing import Any, Protocol

import httpx

from llm_kit._core.budget import Budget
from llm_kit._core.request import Request
from llm_kit._core.secrets import Secrets
from llm_kit._core.session import END
from llm_kit._core.urls import shown_url
from llm_kit._io.background import Background
from llm_kit._io.losses import translate
from llm_kit._io.stop import StopSignal, Waits
from llm_kit._io.tap import OpeningTrace, tap
from llm_kit.types import ResponseInfo

log = logging.getLogger("llm_kit")

# Seconds that the HTTP client's own timeouts wait behind our deadlines. They free the threads that
# were left behind in a call that nothing wakes (connecting, a shared connection); of awaits, which
# we wake ourselves, only connecting needs one: over a transport that does not tell its phases.
_BEHIND = 1.0
_BEHIND_CONNECTING = 0.05
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


# As many connections as streams; but few idle ones: for each request and each end of one httpcore
# looks at all connections once for each idle one, which with 1,000 of them takes milliseconds.
_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=100)


def new_client() -> httpx.Client:
    """Make the client for those who bring none: HTTP/1.1, as many connections as streams."""
    return httpx.Client(
        limits=_LIMITS,
        mounts=dict.fromkeys(_LOOPBACK),
    )


def new_async_client() -> httpx.AsyncClient:
    """Make the client for those who bring none: HTTP/1.1, as many connections as streams."""
    return httpx.AsyncClient(
        limits=_LIMITS,
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
        time(),
    )


def _is_encoded(info: ResponseInfo) -> bool:
    return info.headers.get("content-encoding", "identity") != "identity"


def _timeouts(connect: float, quiet: float = inf) -> dict[str, float | None]:
    seconds = {"connect": connect, "read": quiet, "write": quiet, "pool": inf}
    return {name: None if limit == inf else limit for name, limit in seconds.items()}


class _Connecting:
    """
    Times the making of a connection, from the name's resolution to the end of the TLS handshake.

    It is told by httpcore's ``trace`` extension. Where nothing is told (another transport)
    there is no such phase, and the first chunk's deadline covers it.
    """

    def __init__(self, stop: StopSignal, waits: Waits, budget: Budget) -> None:
        self._stop = stop
        self._waits = waits
        self._budget = budget

    def follow(self, name: str, info: Mapping[str, Any]) -> None:
        # A proxy is asked for a tunnel by a request of its own: the connection comes after it.
        tunnels = getattr(info.get("request"), "method", b"") == b"CONNECT"
        if name.endswith(("connect_tcp.started", "connect_unix_socket.started")):
            self._stop.move(self._waits, partial(self._budget.connecting, monotonic()))
        elif name.endswith("send_request_headers.started") and not tunnels:
            self._stop.move(self._waits, partial(self._budget.connected, monotonic()))


# What is being read, by its source: an open body that the cyclic collector finds is closed inside
# the collector, by httpcore's own generators; see `garbage`. So it must not find them.
_open: dict[int, Any] = {}


class ResponseSource:
    """Reads an HTTP response that somebody else has opened."""

    def __init__(self, stop: StopSignal, response: Any = None) -> None:
        self._stop = stop
        self._responses: list[Any] = [] if response is None else [response]
        """The response, once it is here; a thread that is left behind has a list of its own."""
        self._own = response is None
        self._background: Background | None = None
        self._body: Iterator[bytes] = iter(())

    def read_in_background(self) -> None:
        """Nothing: a stop always wakes a response's reader."""

    def begin(self) -> ResponseInfo:
        """Give the head; see `Begin`."""
        response = self._responses[0]
        if not tap(response) and self._background is None:
            self._background = Background(self._stop.waits)
        info = _info(response)
        if self._own and not _is_encoded(info):
            # Not iter_raw: that hands the connection back before we know of the end.
            self._body = iter(response.stream)
        else:
            self._body = response.iter_bytes()
        _open[id(self)] = (response, self._body)
        return info

    def read(self) -> Any:
        """Give the next bytes of the body, or `END`; see `Read`."""
        try:
            if self._background is None:
                return next(self._body, END)
            return self._background.call(partial(next, self._body, END))
        except Exception as error:
            raise translate(error, opened=True)

    def drain(self) -> Any:
        """Read on behind the end of the answer; see `Drain`."""
        # On a shared connection, or none, there is nothing to be gained.
        return self.read() if self._background is None else END

    def close(self) -> None:
        """Give the connection up: back to the pool if the body was whole, else closed."""
        _open.pop(id(self), None)
        background, self._background = self._background, None
        release = partial(_close_all, self._responses)
        if background is not None:
            background.end(release)
        else:
            release()


def _close_all(responses: list[Any]) -> None:
    for response in responses:
        response.close()


class HttpSource(ResponseSource):
    """Sends a request, and reads what is answered."""

    def __init__(
        self,
        stop: StopSignal,
        budget: Budget,
        client: Any,
        key: Callable[[], Mapping[str, str]],
        auth: Auth | None,
        secrets: Secrets,
    ) -> None:
        super().__init__(stop)
        self._budget = budget
        self._client = client
        self._key = key
        self._secrets = secrets
        self._auth = {} if auth is None else {"auth": auth}

    def open(self, request: Request) -> ResponseInfo:
        """Send the request and give the answer's head; see `Open`."""
        self.close()  # an answer that was refused before
        self._responses = []
        # Until the headers are here nobody but this thread knows the socket, if there is one:
        # so another thread asks for them, and the reader can walk away.
        waits, responses = self._stop.waits, self._responses
        self._background = Background(waits)
        self._background.call(partial(self._send, request, waits, responses))
        if tap(self._responses[0]):
            self._background.end()
            self._background = None
        return self.begin()

    def _send(self, request: Request, waits: Waits, responses: list[Any]) -> None:
        # On another thread, which may have been left behind: so it is told whom it serves.
        options = _request_options(request, self._key())
        connecting = _Connecting(self._stop, waits, self._budget)
        trace = OpeningTrace(waits, connecting.follow)
        budget = self._budget
        quiet = max(budget.first_chunk, budget.idle) + _BEHIND
        extensions = {"timeout": _timeouts(budget.connect + _BEHIND, quiet), "trace": trace}
        try:
            response = self._client.send(
                self._client.build_request(**options, extensions=extensions),
                stream=True,
                **self._auth,
            )
        except Exception as error:
            raise translate(error, opened=False)
        finally:
            trace.close()
        responses.append(response)
        self._secrets.add_headers(response.request.headers)  # what an auth put there
        log.debug("POST %s -> %s", shown_url(request.url), response.status_code)


class AsyncResponseSource:
    """Reads an HTTP response that somebody else has opened: the async twin."""

    def __init__(self, response: Any = None) -> None:
        self._response = response
        self._own = response is None
        self._body: AsyncIterator[bytes]

    def read_in_background(self) -> None:
        """Nothing: every await can be woken."""

    async def begin(self) -> ResponseInfo:
        """Give the head; see `Begin`."""
        info = _info(self._response)
        if self._own and not _is_encoded(info):
            self._body = aiter(self._response.stream)
        else:
            self._body = self._response.aiter_bytes()
        return info

    async def read(self) -> Any:
        """Give the next bytes of the body, or `END`; see `Read`."""
        try:
            return await anext(self._body, END)
        except Exception as error:
            raise translate(error, opened=True)

    async def drain(self) -> Any:
        """Read on behind the end of the answer; see `Drain`."""
        return await self.read()

    async def aclose(self) -> None:
        """Give the connection up: back to the pool if the body was whole, else closed."""
        if self._response is not None:
            await self._response.aclose()


class _AsyncOpeningTrace:
    """
    Follows the making of a connection, and closes the socket of a TLS handshake that is cancelled.

    httpcore does so when the handshake fails, but leaves it to the garbage collector otherwise.
    """

    def __init__(self, follow: Callable[[str, Mapping[str, Any]], None]) -> None:
        self._follow = follow
        self._stream: Any = None

    async def __call__(self, name: str, info: Mapping[str, Any]) -> None:
        self._follow(name, info)
        if name.endswith("connect_tcp.complete"):
            self._stream = info["return_value"]
        elif name.endswith("start_tls.failed") and self._stream is not None:
            await self._stream.aclose()


class AsyncHttpSource(AsyncResponseSource):
    """Sends a request, and reads what is answered: the async twin."""

    def __init__(
        self,
        stop: StopSignal,
        budget: Budget,
        client: Any,
        key: Callable[[], Awaitable[Mapping[str, str]]],
        auth: Auth | None,
        secrets: Secrets,
    ) -> None:
        super().__init__()
        self._stop = stop
        self._budget = budget
        self._client = client
        self._key = key
        self._secrets = secrets
        self._auth = {} if auth is None else {"auth": auth}

    async def open(self, request: Request) -> ResponseInfo:
        """Send the request and give the answer's head; see `Open`."""
        await self.aclose()  # an answer that was refused before
        self._response = None
        await self._send(request)
        return await self.begin()

    async def _send(self, request: Request) -> None:
        options = _request_options(request, await self._key())
        connecting = _Connecting(self._stop, self._stop.waits, self._budget)
        trace = _AsyncOpeningTrace(connecting.follow)
        timeouts = _timeouts(self._budget.connect + _BEHIND_CONNECTING)
        extensions = {"timeout": timeouts, "trace": trace}
        try:
            self._response = await self._client.send(
                self._client.build_request(**options, extensions=extensions),
                stream=True,
                **self._auth,
            )
        except Exception as error:
            raise translate(error, opened=False)
        self._response.request.extensions.pop("trace", None)  # it has nothing more to tell
        self._secrets.add_headers(self._response.request.headers)  # what an auth put there
        log.debug("POST %s -> %s", shown_url(request.url), self._response.status_code)
