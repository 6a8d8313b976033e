"""llm_kit as its README shows it: `chat_stream` under a `StreamInterrupter`, which adds up."""

from __future__ import annotations

import os
import sys
from functools import cache

from benchmarks.readers.request import MESSAGES, Show

if "BENCH_STANDARD_JSON" in os.environ:  # as if the extra `fast` were not installed
    sys.modules["msgspec"] = None  # type: ignore[assignment]  # it can't be imported any more

from llm_kit import AsyncLLMClient, LLMClient, StreamInterrupter


@cache
def client(url: str) -> LLMClient:
    return LLMClient(base_url=url, api_key="key", model="m")


@cache
def aclient(url: str) -> AsyncLLMClient:
    return AsyncLLMClient(base_url=url, api_key="key", model="m")


def read(url: str, show: Show) -> str:
    interrupter = StreamInterrupter()
    for chunk in interrupter.wrap(client(url).chat_stream(MESSAGES)):
        show(chunk.delta)
    return interrupter.content


async def aread(url: str, show: Show) -> str:
    interrupter = StreamInterrupter()
    async for chunk in interrupter.wrap(aclient(url).chat_stream(MESSAGES)):
        show(chunk.delta)
    return interrupter.content
