"""
Opened responses: those of requests, urllib3 and aiohttp are given httpx's methods.

Told by their shape, so nothing of theirs is imported.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

_SIZE = 65536  # bytes of one read at the most: it gives what has come


def as_response(thing: Any) -> Any:
    """Give a response with httpx's methods; None if this is none of any library."""
    if hasattr(thing, "iter_bytes") and hasattr(thing, "stream"):
        return thing
    raw = getattr(thing, "raw", thing)
    if hasattr(raw, "read1") and hasattr(raw, "release_conn"):
        return SyncResponse(thing, raw)
    if hasattr(getattr(thing, "content", None), "iter_any"):
        return AsyncResponse(thing)
    return None


class SyncResponse:
    """
    A response of requests or urllib3 (2.1 and later).

    Args:
        response: what its owner has.
        raw: urllib3's response in it.
    """

    def __init__(self, response: Any, raw: Any) -> None:
        self._response = response
        self.raw = self.stream = raw
        self.status_code = raw.status
        self.headers = raw.headers

    def iter_bytes(self) -> Iterator[bytes]:
        """Give the body as it comes, decoded."""
        if getattr(self._response, "_content_consumed", False):
            # Loaded, by a request without stream=True; or this raises that it was read before.
            yield from self._response.iter_content(_SIZE)
        # Not by their own iterators, which wait until there is as much as was asked for.
        while data := self.raw.read1(_SIZE, decode_content=True):
            yield data

    def close(self) -> None:
        """Give the connection up: back to its pool if the body was whole, else closed."""
        self.raw.close()
        self.raw.release_conn()  # what is closed here connects anew for the next request


class AsyncResponse:
    """A response of aiohttp."""

    def __init__(self, response: Any) -> None:
        self._response = response
        self.stream = response.content
        self.status_code = response.status
        self.headers = response.headers

    def aiter_bytes(self) -> AsyncIterator[bytes]:
        """Give the body as it comes, decoded."""
        body: AsyncIterator[bytes] = self.stream.iter_any()
        return body

    async def aclose(self) -> None:
        """Give the connection up: back to its pool if the body was whole, else closed."""
        self._response.close()
