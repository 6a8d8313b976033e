"""llm_kit as its README shows it: `chat_stream` under a `StreamInterrupter`, which adds up."""

from __future__ import annotations

from functools import cache

from benchmarks.readers.request import MESSAGES, Show
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
