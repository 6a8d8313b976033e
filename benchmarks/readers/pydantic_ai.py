"""pydantic-ai's `run_stream` with text deltas, each as it comes: `debounce_by=None`."""

from __future__ import annotations

from functools import cache

from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from benchmarks.readers.request import Show


@cache
def agent(url: str) -> Agent:
    return Agent(OpenAIChatModel("m", provider=OpenAIProvider(base_url=url, api_key="key")))


def read(url: str, show: Show) -> str:
    text = ""
    result = agent(url).run_stream_sync("Hello")
    for delta in result.stream_text(delta=True, debounce_by=None):
        show(delta)
        text += delta
    return text


async def aread(url: str, show: Show) -> str:
    text = ""
    async with agent(url).run_stream("Hello") as result:
        async for delta in result.stream_text(delta=True, debounce_by=None):
            show(delta)
            text += delta
    return text
