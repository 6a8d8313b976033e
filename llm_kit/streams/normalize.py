"""Any stream -> a ChatStream or AsyncChatStream of the same colour."""

from __future__ import annotations

from collections.abc import (
    AsyncIterable,
    Awaitable,
    Coroutine,
    Iterable,
    Iterator,
    Mapping,
)
from functools import partial
from typing import Any, Protocol, overload

from llm_kit._core.accumulator import Accumulator
from llm_kit._core.budget import Budget
from llm_kit._core.pipeline import Pipeline
from llm_kit._core.secrets import Secrets
from llm_kit._core.session import BEGIN, stream_session
from llm_kit._io.foreign import AsyncIterableSource, IterableSource
from llm_kit._io.http import AsyncResponseSource, ResponseSource
from llm_kit._io.responses import as_response
from llm_kit._io.stop import StopSignal
from llm_kit.adapters.items import ItemDecoder
from llm_kit.adapters.litellm import is_async
from llm_kit.adapters.models import is_model
from llm_kit.dialects import DialectName
from llm_kit.dialects.base import Dialect
from llm_kit.streams.chat_stream import AsyncChatStream, ChatStream

AnyDialect = DialectName | str | type[Dialect]
"""The names that are built in are said for editors; others may have been registered."""


class HttpxResponse(Protocol):
    """A response of httpx or httpx2: one class for both colours, so only its owner knows."""

    def iter_bytes(self) -> Any: ...
    def aiter_bytes(self) -> Any: ...


class AiohttpResponse(Protocol):
    """A response of aiohttp, which is no iterable (those of requests and urllib3 are)."""

    status: Any
    content: Any

    def release(self) -> Any: ...


Response = HttpxResponse | AiohttpResponse


@overload
def normalize(stream: AsyncIterable[Any], dialect: AnyDialect | None = None) -> AsyncChatStream: ...
@overload
def normalize(stream: Iterable[Any], dialect: AnyDialect | None = None) -> ChatStream: ...
@overload
def normalize(stream: Response, dialect: AnyDialect | None = None) -> Any: ...
def normalize(stream: Any, dialect: AnyDialect | None = None) -> ChatStream | AsyncChatStream:
    """
    Make a stream of chunks of any stream; every wrapper does this with what it is given.

        >>> from llm_kit import normalize
        >>> body = [b'data: {"choices": [{"delta": {"content": "Hi"}, "fin', b'ish_reason":',
        ...         b' "stop"}]}\\n\\n']
        >>> [chunk.delta for chunk in normalize(body)]
        ['Hi']

    Args:
        stream: a sync or async iterable of `Chunk`, ``str``, dicts in any dialect's wire form,
            objects of the providers' SDKs, LiteLLM's or LangChain's, or ``bytes`` of a body (SSE
            or JSON) cut anywhere; or an opened response of httpx, httpx2, requests
            (``stream=True``), urllib3 (``preload_content=False``) or aiohttp. One of our own
            streams is given back as it is. What can be iterated in both ways is read with
            ``async for``, as type checkers see it; LiteLLM's streams in the way that they were
            asked for.
        dialect: the wire form of what comes, by name or as a class (`Dialect`); needed only if
            ``str`` items are lines of a body, which can't be told from text.

    Returns:
        A stream of the same colour: iterate it with ``for``, or with ``async for``.

    Raises:
        TypeError: this is nothing that can be iterated; the message says what to pass.
    """
    if isinstance(stream, ChatStream | AsyncChatStream):
        return stream
    pipeline, budget, stop, secrets = Pipeline(Accumulator()), Budget(), StopSignal(), Secrets()
    make_decoder = partial(ItemDecoder, dialect, stream=stream)
    parts = (pipeline, stop, budget, secrets)
    if _is_no_stream(stream):
        raise TypeError(_advice(stream))
    response = as_response(stream)
    if response is not None:
        steps = stream_session(make_decoder, pipeline, budget, BEGIN)
        if hasattr(response.stream, "__iter__"):
            return ChatStream(ResponseSource(stop, response), steps, *parts)
        return AsyncChatStream(AsyncResponseSource(response), steps, *parts)
    steps = stream_session(make_decoder, pipeline, budget)
    if is_async(stream):
        return AsyncChatStream(AsyncIterableSource(stream), steps, *parts)
    if isinstance(stream, Iterable) and not isinstance(stream, str | bytes | Mapping):
        return ChatStream(IterableSource(stop, stream), steps, *parts)
    raise TypeError(_advice(stream))


def _is_no_stream(stream: Any) -> bool:
    """Tell what can be iterated, but is not what was meant."""
    if isinstance(stream, Awaitable):  # a future can, and a request of aiohttp's
        return not isinstance(stream, AsyncIterable)
    return is_model(stream) and not isinstance(stream, AsyncIterable | Iterator)


def _advice(stream: Any) -> str:
    kind = type(stream).__name__
    if isinstance(stream, Coroutine):
        stream.close()
    if hasattr(stream, "chat_stream"):
        return f"a stream is expected, not a {kind}: pass what its chat_stream(messages) gives"
    for enter, way in (("__aenter__", "async with"), ("__enter__", "with")):
        if hasattr(stream, enter):
            return (
                f"a stream is expected, not a {kind}: enter it with `{way}`, and pass what that"
                " gives"
            )
    if is_model(stream):
        return (
            f"a stream is expected, not a {kind}, which is a whole answer: ask with stream=True,"
            " or pass a list of it, [answer]"
        )
    if isinstance(stream, Awaitable):
        return f"a stream is expected, not a {kind}: await it first, and pass what it gives"
    if isinstance(stream, str | bytes | Mapping):
        return f"a stream of items is expected, not one {kind}: pass a list, [{kind}]"
    return (
        f"a stream is expected, not a {kind}: pass what `chat_stream` returns, or any iterable"
        " or async iterable of chunks, str, dicts or bytes"
    )
