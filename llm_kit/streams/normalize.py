"""Any stream -> a ChatStream or AsyncChatStream of the same colour."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterable, Awaitable, Iterable, Mapping
from functools import partial
from typing import Any, Protocol, overload

from llm_kit._core.accumulator import Accumulator
from llm_kit._core.budget import Budget
from llm_kit._core.pipeline import Pipeline
from llm_kit._core.secrets import Secrets
from llm_kit._core.session import BEGIN, stream_session
from llm_kit._io.foreign import AsyncIterableSource, IterableSource
from llm_kit._io.http import AsyncResponseSource, ResponseSource
from llm_kit._io.stop import StopSignal
from llm_kit.adapters.items import ItemDecoder
from llm_kit.dialects import DialectName
from llm_kit.dialects.base import Dialect
from llm_kit.streams.chat_stream import AsyncChatStream, ChatStream

AnyDialect = DialectName | type[Dialect]


class Response(Protocol):
    """A response of httpx or httpx2: one class for both colours, so only its owner knows."""

    def iter_bytes(self) -> Any: ...
    def aiter_bytes(self) -> Any: ...


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
        stream: a sync or async iterable of `Chunk`, ``str``, dicts in OpenAI's wire form,
            objects of the openai SDK, or ``bytes`` of an SSE body cut anywhere; or an opened
            response of httpx or httpx2. One of our own streams is given back as it is.
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
    make_decoder = partial(ItemDecoder, dialect)
    parts = (pipeline, stop, budget, secrets)
    if hasattr(stream, "iter_bytes") and hasattr(stream, "stream"):
        steps = stream_session(make_decoder, pipeline, budget, BEGIN)
        if hasattr(stream.stream, "__iter__"):
            return ChatStream(ResponseSource(stop, stream), steps, *parts)
        return AsyncChatStream(AsyncResponseSource(stream), steps, *parts)
    steps = stream_session(make_decoder, pipeline, budget)
    if isinstance(stream, AsyncIterable):
        return AsyncChatStream(AsyncIterableSource(stream), steps, *parts)
    if isinstance(stream, Iterable) and not isinstance(stream, str | bytes | Mapping):
        return ChatStream(IterableSource(stop, stream), steps, *parts)
    raise TypeError(_advice(stream))


def _advice(stream: Any) -> str:
    kind = type(stream).__name__
    if isinstance(stream, Awaitable):
        if inspect.iscoroutine(stream):
            stream.close()
        return f"a stream is expected, not a {kind}: await it first, and pass what it gives"
    if isinstance(stream, str | bytes | Mapping):
        return f"a stream of items is expected, not one {kind}: pass a list, [{kind}]"
    return (
        f"a stream is expected, not a {kind}: pass what `chat_stream` returns, or any iterable"
        " or async iterable of chunks, str, dicts or bytes"
    )
