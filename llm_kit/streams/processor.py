"""StreamProcessor: accumulates a stream, fed by hand or wrapped around it."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable
from time import monotonic
from typing import Any, overload

from llm_kit._core.accumulator import Accumulator
from llm_kit.adapters.items import ItemDecoder
from llm_kit.errors import LLMKitError
from llm_kit.streams.chat_stream import AsyncChatStream, ChatStream
from llm_kit.streams.normalize import Response, normalize
from llm_kit.types import Chunk, StreamResult, ToolCall, Usage


class StreamProcessor:
    """
    Adds a stream up: text, reasoning, tool calls, usage, and how it ended.

        >>> processor = StreamProcessor()
        >>> for item in ["Hel", "lo"]:
        ...     processor.process(item)
        >>> processor.get_result().content
        'Hello'

    Everything can be read in the middle of the stream, and costs a whole stream no more than
    its length. One processor is for one stream.
    """

    def __init__(self) -> None:
        self._total = Accumulator(since=monotonic())
        self._decoder: ItemDecoder | None = None

    def process(self, item: Any) -> None:
        """
        Take one item: a `Chunk`, or anything that a stream may consist of (see `normalize`).

        Raises:
            StreamAPIError: the item reports an error.
            StreamProtocolError: the item is broken, or of no known kind.
        """
        now = monotonic()
        if type(item) is Chunk:
            self._total.feed(item, now)
            return
        if self._decoder is None:
            self._decoder = ItemDecoder()
            self._total.quirks = self._decoder.quirks
        chunks: list[Chunk] = []
        failure: LLMKitError | None = None
        try:
            self._decoder.feed(item, chunks)
        except LLMKitError as error:
            failure = error
        for chunk in chunks:
            self._total.feed(chunk, now)
        if failure is not None:
            failure.partial = self.get_result()
            raise failure

    @overload
    def wrap(self, stream: AsyncIterable[Any]) -> AsyncChatStream: ...
    @overload
    def wrap(self, stream: Iterable[Any]) -> ChatStream: ...
    @overload
    def wrap(self, stream: Response) -> Any: ...
    def wrap(self, stream: Any) -> ChatStream | AsyncChatStream:
        """Take every chunk of a stream while passing it on; see `normalize` for what it may be."""
        wrapped: ChatStream | AsyncChatStream = normalize(stream)
        self._total.origin = wrapped._pipeline.accumulator
        wrapped._add_stage(self._total)
        return wrapped

    @property
    def content(self) -> str:
        """The first choice's text so far."""
        return self._total.content()

    @property
    def reasoning(self) -> str:
        """The first choice's reasoning so far."""
        return self._total.reasoning()

    @property
    def tool_calls(self) -> list[ToolCall]:
        """The first choice's tool calls that the stream said are finished."""
        return self._total.tool_calls()

    @property
    def chunk_count(self) -> int:
        """How many chunks have come."""
        return self._total.chunk_count

    @property
    def usage(self) -> Usage | None:
        """The last usage that the server sent."""
        return self._total.usage

    def partial_arguments(self, index: int = 0) -> Any:
        """
        Give the best value so far of an unfinished tool call's arguments.

        Reading it after every chunk costs no more than the length of the arguments in total.

        Args:
            index: which tool call of the first choice, in order of appearance.

        Returns:
            A live value (usually a dict): read it, in one thread, don't change or keep it. None
            while nothing is known. A string that is still being written is there as far as it goes.
        """
        return self._total.partial_arguments(index)

    def get_result(self, index: int = 0) -> StreamResult:
        """
        Give what the stream has added up to.

        Args:
            index: the choice whose text and calls stand at the top; all are in ``choices``.

        Raises:
            LookupError: that choice has not begun.
        """
        result = self._total.result(index)
        if self._total.origin is None:  # fed by hand: nobody will say how it ended but the stream
            if self._total.failed_reason is not None:
                result.status = "error"
            elif self._total.all_finished:
                result.status = "complete"
        return result
