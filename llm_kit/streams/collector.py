"""StreamCollector: a stream to a string, to a result, or past callbacks."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterable, Callable, Coroutine, Iterable
from typing import Any, overload

from llm_kit._core.accumulator import Accumulator
from llm_kit._core.pipeline import Pipeline
from llm_kit.streams.chat_stream import AsyncChatStream, ChatStream
from llm_kit.streams.normalize import Response, normalize
from llm_kit.types import Chunk, Status, StreamResult, ToolCall


class StreamCollector:
    """
    Reads a stream to its end.

        >>> StreamCollector.to_string(["Hel", "lo"])
        'Hello'

    Given an async stream, `to_string` and `to_result` return an awaitable and `collect`
    an async stream. If the stream fails, the error's ``.partial`` has what came.
    """

    @overload
    @staticmethod
    def to_string(stream: AsyncIterable[Any]) -> Coroutine[Any, Any, str]: ...
    @overload
    @staticmethod
    def to_string(stream: Iterable[Any]) -> str: ...
    @overload
    @staticmethod
    def to_string(stream: Response) -> Any: ...
    @staticmethod
    def to_string(stream: Any) -> str | Coroutine[Any, Any, str]:
        """
        Give the text of the first choice; see `normalize` for what the stream may be.

        Raises:
            LLMKitError: the stream did not end as a whole one.
        """
        collected = normalize(stream)
        if isinstance(collected, AsyncChatStream):
            return _ato_string(collected)
        return _read(collected).content

    @overload
    @staticmethod
    def to_result(stream: AsyncIterable[Any]) -> Coroutine[Any, Any, StreamResult]: ...
    @overload
    @staticmethod
    def to_result(stream: Iterable[Any]) -> StreamResult: ...
    @overload
    @staticmethod
    def to_result(stream: Response) -> Any: ...
    @staticmethod
    def to_result(stream: Any) -> StreamResult | Coroutine[Any, Any, StreamResult]:
        """
        Give all that the stream adds up to; see `normalize` for what it may be.

        Raises:
            LLMKitError: the stream did not end as a whole one.
        """
        collected = normalize(stream)
        return _aread(collected) if isinstance(collected, AsyncChatStream) else _read(collected)

    @overload
    @staticmethod
    def collect(
        stream: AsyncIterable[Any],
        on_delta: Callable[[str], object] | None = None,
        on_reasoning: Callable[[str], object] | None = None,
        on_tool_call: Callable[[ToolCall], object] | None = None,
        on_chunk: Callable[[Chunk], object] | None = None,
        on_done: Callable[[StreamResult], object] | None = None,
    ) -> AsyncChatStream: ...
    @overload
    @staticmethod
    def collect(
        stream: Iterable[Any],
        on_delta: Callable[[str], object] | None = None,
        on_reasoning: Callable[[str], object] | None = None,
        on_tool_call: Callable[[ToolCall], object] | None = None,
        on_chunk: Callable[[Chunk], object] | None = None,
        on_done: Callable[[StreamResult], object] | None = None,
    ) -> ChatStream: ...
    @overload
    @staticmethod
    def collect(
        stream: Response,
        on_delta: Callable[[str], object] | None = None,
        on_reasoning: Callable[[str], object] | None = None,
        on_tool_call: Callable[[ToolCall], object] | None = None,
        on_chunk: Callable[[Chunk], object] | None = None,
        on_done: Callable[[StreamResult], object] | None = None,
    ) -> Any: ...
    @staticmethod
    def collect(
        stream: Any,
        on_delta: Callable[[str], object] | None = None,
        on_reasoning: Callable[[str], object] | None = None,
        on_tool_call: Callable[[ToolCall], object] | None = None,
        on_chunk: Callable[[Chunk], object] | None = None,
        on_done: Callable[[StreamResult], object] | None = None,
    ) -> ChatStream | AsyncChatStream:
        """
        Pass the chunks on, and call back for each thing as it arrives.

        Over an async stream a callback may be async; it is awaited before the chunk goes on.
        An error that a callback raises ends the stream and comes out of the loop.

        Args:
            stream: see `normalize` for what it may be.
            on_delta: called with each piece of text, of whichever choice.
            on_reasoning: called with each piece of reasoning.
            on_tool_call: called with each tool call, once, when the stream says it is finished.
            on_chunk: called with every chunk.
            on_done: called once with the result, however the stream ended (see its ``status``).
        """
        collected: ChatStream | AsyncChatStream = normalize(stream)
        pipeline = collected._pipeline
        collected._add_stage(
            _Callbacks(pipeline, on_delta, on_reasoning, on_tool_call, on_chunk, on_done)
        )
        return collected


def _read(stream: ChatStream) -> StreamResult:
    with stream:
        for _ in stream:
            pass
    if stream._failure is not None:  # also if somebody has read it before
        raise stream._failure
    return stream.result


async def _aread(stream: AsyncChatStream) -> StreamResult:
    async with stream:
        async for _ in stream:
            pass
    if stream._failure is not None:  # also if somebody has read it before
        raise stream._failure
    return stream.result


async def _ato_string(stream: AsyncChatStream) -> str:
    return (await _aread(stream)).content


class _Callbacks:
    """The stage that calls back."""

    def __init__(
        self,
        pipeline: Pipeline,
        on_delta: Callable[[str], object] | None,
        on_reasoning: Callable[[str], object] | None,
        on_tool_call: Callable[[ToolCall], object] | None,
        on_chunk: Callable[[Chunk], object] | None,
        on_done: Callable[[StreamResult], object] | None,
    ) -> None:
        self._total: Accumulator = pipeline.accumulator
        self._awaitables = pipeline.callbacks
        self._on_delta = on_delta
        self._on_reasoning = on_reasoning
        self._on_tool_call = on_tool_call
        self._on_chunk = on_chunk
        self._on_done = on_done
        self._told: dict[int, int] = {}  # choice -> how many of its tool calls were reported

    def feed(self, chunk: Chunk, now: float) -> None:  # noqa: ARG002  a stage is given the time
        if chunk.restarted:
            self._told.clear()
        if chunk.reasoning:
            self._call(self._on_reasoning, chunk.reasoning)
        if chunk.delta:
            self._call(self._on_delta, chunk.delta)
        self._call(self._on_chunk, chunk)
        if chunk.finish_reason is not None:
            self._tell_tool_calls(chunk.index)

    def _tell_tool_calls(self, index: int) -> None:
        if self._on_tool_call is not None:
            told = self._told.get(index, 0)
            calls = self._total.tool_calls(index)
            self._told[index] = len(calls)
            for call in calls[told:]:
                self._call(self._on_tool_call, call)

    def flush(self, status: Status) -> None:  # noqa: ARG002  it stands in the result
        for index in list(self._told):
            self._tell_tool_calls(index)  # some servers send calls after the finish_reason
        self._call(self._on_done, self._total.result())

    def _call(self, callback: Callable[[Any], object] | None, value: Any) -> None:
        if callback is not None:
            given = callback(value)
            if inspect.isawaitable(given):
                self._awaitables.append(given)
