"""langchain-openai's `stream`, its chunks added up with `+` as its documentation shows."""

from __future__ import annotations

from functools import cache

from langchain_openai import ChatOpenAI

from benchmarks.readers.request import Show


@cache
def model(url: str) -> ChatOpenAI:
    return ChatOpenAI(base_url=url, api_key="key", model="m")


def read(url: str, show: Show) -> str:
    full = None
    for chunk in model(url).stream("Hello"):
        show(chunk.content)
        full = chunk if full is None else full + chunk
    return full.content


async def aread(url: str, show: Show) -> str:
    full = None
    async for chunk in model(url).astream("Hello"):
        show(chunk.content)
        full = chunk if full is None else full + chunk
    return full.content
