"""
What nested wrappers cost: none to six of llm_kit's around one stream.

Microseconds of CPU a chunk for a whole answer that comes sixteen events a write, where there is
least else to pay for. In the order in which an application would put them: an interrupter, a
processor, a collector with a callback, deadlines, the splitter of thinking, and the interrupter
that a server has for its shutdown. Compared with one wrapper.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from time import process_time
from typing import Any

from benchmarks.contenders import COLOURS
from benchmarks.figures import Figure, compared, interleaved
from benchmarks.readers.request import MESSAGES, Show
from benchmarks.server import server, text_of
from llm_kit import (
    AsyncLLMClient,
    Deadlines,
    LLMClient,
    StreamCollector,
    StreamInterrupter,
    StreamProcessor,
    split_thinking,
)

show: Show = deque(maxlen=0).append
WRAPPERS: tuple[Callable[[Any], Any], ...] = (
    lambda stream: StreamInterrupter().wrap(stream),
    lambda stream: StreamProcessor().wrap(stream),
    lambda stream: StreamCollector.collect(stream, on_delta=show),
    lambda stream: Deadlines(idle=20).wrap(stream),
    split_thinking,
    lambda stream: StreamInterrupter().wrap(stream),
)


def wrapped(stream: Any, count: int) -> Any:
    for wrap in WRAPPERS[:count]:
        stream = wrap(stream)
    return stream


def named(count: int) -> str:
    return "1 wrapper" if count == 1 else f"{count} wrappers"


def measure(quick: bool) -> Iterator[Figure]:
    events, rounds = (4_000, 5) if quick else (20_000, 7)
    expected = text_of(events)
    with ExitStack() as stack:
        url = f"{stack.enter_context(server())}/{events}/16"
        client = stack.enter_context(LLMClient(url, "key", "m"))
        run = stack.enter_context(asyncio.Runner()).run
        aclient = AsyncLLMClient(url, "key", "m")
        stack.callback(lambda: run(aclient.aclose()))

        def read(count: int) -> float:
            began = process_time()
            stream = wrapped(client.chat_stream(MESSAGES), count)
            for chunk in stream:
                show(chunk.delta)
            text = stream.result.content
            cost = process_time() - began
            assert text == expected
            return cost / events * 1e6

        async def aread(count: int) -> float:
            began = process_time()
            stream = wrapped(aclient.chat_stream(MESSAGES), count)
            async for chunk in stream:
                show(chunk.delta)
            text = stream.result.content
            cost = process_time() - began
            assert text == expected
            return cost / events * 1e6

        reads = {"sync": read, "async": lambda count: run(aread(count))}
        cells = {
            (colour, named(count)): partial(reads[colour], count)
            for colour in COLOURS
            for count in range(len(WRAPPERS) + 1)
        }
        took = interleaved(cells, rounds)
    yield from compared(took, "us of CPU a chunk", lambda _: "1 wrapper")
