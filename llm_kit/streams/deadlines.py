"""Deadlines: how long a stream may take, and the wrapper that holds any stream to it."""

from __future__ import annotations

import math
from collections.abc import AsyncIterable, Iterable
from typing import Any, overload

from attrs import asdict, field, fields, frozen

from llm_kit.policies import seconds_or_none
from llm_kit.streams.chat_stream import AsyncChatStream, ChatStream
from llm_kit.streams.normalize import Response, normalize


@frozen(kw_only=True)
class Deadlines:
    """
    How long a stream may take, in seconds; None: as long as it likes.

    They hold while the reader is blocked. When one passes the stream ends with a
    StreamTimeoutError, whose ``kind`` says which, and with all that had come in ``.partial``.

        >>> for chunk in Deadlines(idle=5, total=60).wrap(["Hel", "lo"]):
        ...     print(chunk.delta)
        Hel
        lo

    Attributes:
        connect: making the connection: name resolution, TCP, proxy, TLS.
        first_chunk: from the request to the first text, reasoning, tool call or ending; retries
            and their pauses included.
        idle: between two of those. Keep-alive comments, empty chunks and lone roles don't count
            as content, and what your own loop does between two chunks is not counted as silence.
        total: the whole stream, from the first request to the end: retries, pauses and your own
            loop included.
    """

    connect: float | None = field(default=10.0, validator=seconds_or_none)
    first_chunk: float | None = field(default=300.0, validator=seconds_or_none)
    idle: float | None = field(default=60.0, validator=seconds_or_none)
    total: float | None = field(default=None, validator=seconds_or_none)

    def __attrs_post_init__(self) -> None:
        for attribute in fields(Deadlines):
            seconds: Any = getattr(self, attribute.name)
            # A default may be longer than `total`: it was not said.
            if seconds in (None, attribute.default):
                continue
            if seconds > (self.total or math.inf):
                raise ValueError(
                    f"Deadlines.{attribute.name} ({seconds}) could never pass:"
                    f" Deadlines.total ({self.total}) is shorter"
                )

    @overload
    def wrap(
        self, stream: AsyncIterable[Any], *, background: bool | None = None
    ) -> AsyncChatStream: ...
    @overload
    def wrap(self, stream: Iterable[Any], *, background: bool | None = None) -> ChatStream: ...
    @overload
    def wrap(self, stream: Response, *, background: bool | None = None) -> Any: ...
    def wrap(self, stream: Any, *, background: bool | None = None) -> ChatStream | AsyncChatStream:
        """
        Hold a stream to these deadlines; see `normalize` for what it may be.

        Of a stream that has deadlines already the shorter ones hold. A stream that somebody else
        has opened has no ``connect`` any more.

        Args:
            background: False: read the iterable in the loop's own thread, because it belongs
                there (sqlite, a GUI); a deadline then takes effect behind its next item.
        """
        wrapped: ChatStream | AsyncChatStream = normalize(stream)
        if background is not False:
            wrapped._source.read_in_background()
        wrapped._budget.restrict(**asdict(self))
        return wrapped
