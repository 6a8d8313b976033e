"""The openai SDK's plain stream, `create(stream=True)`, added up by hand."""

from __future__ import annotations

from functools import cache

from openai import AsyncOpenAI, OpenAI

from benchmarks.readers.request import BODY, Show


@cache
def client(url: str) -> OpenAI:
    return OpenAI(base_url=url, api_key="key")


@cache
def aclient(url: str) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=url, api_key="key")


def read(url: str, show: Show) -> str:
    text = ""
    for chunk in client(url).chat.completions.create(**BODY):
        delta = chunk.choices[0].delta.content or ""
        show(delta)
        text += delta
    return text


async def aread(url: str, show: Show) -> str:
    text = ""
    async for chunk in await aclient(url).chat.completions.create(**BODY):
        delta = chunk.choices[0].delta.content or ""
        show(delta)
        text += delta
    return text
