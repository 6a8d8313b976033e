"""What a user's editor knows; never run, checked by mypy and pyright."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any, assert_type

import httpx

from llm_kit import (
    AsyncChatStream,
    AsyncLLMClient,
    ChatDialect,
    ChatStream,
    Chunk,
    Deadlines,
    Dialect,
    LLMClient,
    Recovery,
    ResponseInfo,
    RetryPolicy,
    StreamCollector,
    StreamInterrupter,
    StreamProcessor,
    StreamResult,
    StreamTruncatedError,
    ToolCall,
    Usage,
    normalize,
    register_adapter,
    split_thinking,
)


def sync_colour(client: LLMClient, items: list[str], words: Iterator[str]) -> None:
    stream = client.chat_stream([{"role": "user", "content": "Hi"}], temperature=0.5)
    assert_type(stream, ChatStream)
    for chunk in stream:
        assert_type(chunk, Chunk)
        assert_type(chunk.delta, str)
        assert_type(chunk.finish_reason, str | None)
        assert_type(chunk.usage, Usage | None)
    assert_type(stream.result, StreamResult)
    assert_type(stream.response, ResponseInfo | None)
    with client.chat_stream([{"role": "user", "content": "Hi"}]) as opened:
        assert_type(opened, ChatStream)
    assert_type(StreamCollector.to_string(stream), str)
    assert_type(StreamCollector.to_result(items), StreamResult)
    assert_type(StreamCollector.collect(words, on_delta=print), ChatStream)
    assert_type(StreamInterrupter().wrap(items), ChatStream)
    assert_type(StreamProcessor().wrap(StreamInterrupter().wrap(stream)), ChatStream)
    assert_type(normalize(items), ChatStream)
    assert_type(normalize(items, dialect="anthropic"), ChatStream)
    assert_type(split_thinking(items), ChatStream)
    assert_type(Deadlines(idle=5).wrap(items), ChatStream)
    LLMClient("http://h/v1", deadlines=Deadlines(total=None), retry=RetryPolicy(attempts=1))
    client.chat_stream([], deadlines=Deadlines(), retry=RetryPolicy(), recovery="restart")
    client.chat_stream([], recovery=Recovery("continue", mode="prefix"))


async def async_colour(client: AsyncLLMClient, words: AsyncIterator[str]) -> None:
    stream = client.chat_stream([{"role": "user", "content": "Hi"}])
    assert_type(stream, AsyncChatStream)
    async for chunk in stream:
        assert_type(chunk, Chunk)
    async with stream as opened:
        assert_type(opened, AsyncChatStream)
    assert_type(await StreamCollector.to_string(words), str)
    collecting: Coroutine[Any, Any, str] = StreamCollector.to_string(words)
    asyncio.create_task(collecting)  # noqa: RUF006  types only
    assert_type(await StreamCollector.to_result(stream), StreamResult)
    assert_type(StreamCollector.collect(words), AsyncChatStream)
    assert_type(StreamInterrupter().wrap(words), AsyncChatStream)
    assert_type(StreamProcessor().wrap(stream), AsyncChatStream)
    assert_type(normalize(words), AsyncChatStream)
    assert_type(normalize(words, "cohere"), AsyncChatStream)
    assert_type(split_thinking(words, tags={"[T]": "[/T]"}), AsyncChatStream)
    assert_type(Deadlines().wrap(words), AsyncChatStream)


def tools(processor: StreamProcessor) -> None:
    result = processor.get_result()
    for call in result.tool_calls:
        assert_type(call, ToolCall)
        assert_type(call["function"]["arguments"], str)


def own_http_clients() -> None:
    LLMClient("http://localhost:8000/v1", http_client=httpx.Client(http2=True))
    AsyncLLMClient("http://localhost:8000/v1", http_client=httpx.AsyncClient())

    async def key() -> str:
        return "sk-..."

    LLMClient("http://localhost:8000/v1", api_key=lambda: "sk-...", auth=httpx.BasicAuth("a", "b"))
    AsyncLLMClient("http://localhost:8000/v1", api_key=key)


def dialects(own: type[ChatDialect], read_only: type[Dialect], items: list[Any]) -> None:
    LLMClient("http://h", dialect="gemini")
    AsyncLLMClient("http://h", dialect=own)
    assert_type(normalize(items, dialect=read_only), ChatStream)


def adapters(own: type[Dialect]) -> None:
    assert_type(register_adapter(bytearray, bytes), None)
    register_adapter(lambda item: hasattr(item, "text"), lambda item: [item.text])
    register_adapter(own)
    assert_type(normalize([{"word": "Hi"}], dialect="registered"), ChatStream)
    LLMClient("http://h/v1", dialect="registered")
    AsyncLLMClient("http://h/v1", dialect="registered")


def responses(response: httpx.Response) -> None:
    # One class of both colours: only its owner knows which.
    stream: Any = normalize(response)
    assert_type(StreamInterrupter().wrap(stream), Any)
    assert_type(split_thinking(response), Any)


def mistakes(client: AsyncLLMClient, stream: AsyncChatStream) -> None:
    # Each of these must be refused: an ignore that ignores nothing is an error itself.
    StreamInterrupter().wrap(42)  # type: ignore[call-overload]
    StreamCollector.collect(["a"], on_dleta=print)  # type: ignore[call-overload]
    for _ in stream:  # type: ignore[attr-defined]
        pass
    client.chat_stream([], recovery="again")  # type: ignore[arg-type]
    client.chat_stream([], deadlines=5)  # type: ignore[arg-type]
    LLMClient("http://h/v1", http_client=httpx.AsyncClient())  # type: ignore[arg-type]
    LLMClient("http://h/v1", dialect=42)  # type: ignore[arg-type]
    normalize(["a"], dialect=42)  # type: ignore[call-overload]
    split_thinking(42)  # type: ignore[call-overload]
    register_adapter(42)  # type: ignore[call-overload]


def errors(error: StreamTruncatedError) -> None:
    assert_type(error.partial.content, str)
