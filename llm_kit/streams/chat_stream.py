"""ChatStream and AsyncChatStream: every stream of this package is one of the two."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn, Self

from llm_kit._core.pipeline import Stage
from llm_kit._io.drive import AsyncDriver, Driver, _State
from llm_kit.types import Chunk, ResponseInfo, StreamResult


class _Shown(_State):
    """What both colours show of themselves."""

    @property
    def result(self) -> StreamResult:
        """What the loop has been given so far, and how the stream ended if it has."""
        return self._pipeline.accumulator.result()

    @property
    def response(self) -> ResponseInfo | None:
        """The answer's head: ``status_code``, ``headers``, ``request_id``; None until it came."""
        return self._pipeline.accumulator.response

    @property
    def reason(self) -> str:
        """What `interrupt` was given, ``""`` if the stream has not been interrupted."""
        return self._stop.reason

    def interrupt(self, reason: str = "") -> None:
        """
        Stop the stream from any thread, task or signal handler, also while its reader is blocked.

        The reader's loop ends normally, what it was given is kept in `result`, and the
        connection is closed. After the end, or a second time, this does nothing.

        Args:
            reason: kept in `reason`.
        """
        self._stop.fire(reason)

    def _add_stage(self, stage: Stage) -> None:
        """Send the chunks through a further stage: how wrappers nest without costing a layer."""
        if self._over:
            raise ValueError(
                "this stream has ended: wrap it before it is read; .result has what it gave"
            )
        self._pipeline.append(stage)

    def __repr__(self) -> str:
        total = self._pipeline.accumulator
        return f"<{type(self).__name__} {total.status}, {total.chunk_count} chunks>"


class ChatStream(Driver, _Shown):
    """
    An iterator and context manager of `Chunk`, made by `LLMClient.chat_stream` or `normalize`.

    The connection is released on every way out: the end, ``break``, an exception, `close`,
    garbage collection.

        >>> from llm_kit import normalize
        >>> with normalize(["Hel", "lo"]) as stream:
        ...     text = "".join(chunk.delta for chunk in stream)
        >>> text, stream.result.status
        ('Hello', 'complete')
    """

    def __iter__(self) -> Iterator[Chunk]:
        return self

    def __enter__(self) -> Self:
        self._open()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class AsyncChatStream(AsyncDriver, _Shown):
    """
    An async iterator and context manager of `Chunk`: the async twin of `ChatStream`.

    Made by `AsyncLLMClient.chat_stream`, or by `normalize` from any async iterable.
    """

    def __aiter__(self) -> AsyncIterator[Chunk]:
        return self

    async def __aenter__(self) -> Self:
        await self._open()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    if not TYPE_CHECKING:  # a type checker shall see that these are not there

        def __iter__(self) -> NoReturn:
            raise TypeError("this stream is async: write `async for chunk in stream`")

        def __enter__(self) -> NoReturn:
            raise TypeError("this stream is async: write `async with stream`")

        def __exit__(self, *exc_info: object) -> None:
            """Never reached: `with` asks for both before it calls either, and one refuses."""

        def __await__(self) -> NoReturn:
            raise TypeError("this is not awaited: write `async for chunk in client.chat_stream()`")
