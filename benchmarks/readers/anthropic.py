"""The anthropic SDK's `messages.stream`, which adds up by itself; over Anthropic's own events."""

from __future__ import annotations

from functools import cache
from typing import Any

from anthropic import Anthropic, AsyncAnthropic

from benchmarks.readers.request import MESSAGES, Show

QUESTION: dict[str, Any] = {"model": "m", "max_tokens": 100_000, "messages": MESSAGES}


@cache
def client(url: str) -> Anthropic:
    return Anthropic(base_url=url, api_key="key")


@cache
def aclient(url: str) -> AsyncAnthropic:
    return AsyncAnthropic(base_url=url, api_key="key")


def read(url: str, show: Show) -> str:
    with client(url).messages.stream(**QUESTION) as stream:
        for text in stream.text_stream:
            show(text)
        return stream.get_final_text()


async def aread(url: str, show: Show) -> str:
    async with aclient(url).messages.stream(**QUESTION) as stream:
        async for text in stream.text_stream:
            show(text)
        return await stream.get_final_text()
