"""any-llm's stream of its openai provider, added up by hand."""

from __future__ import annotations

from functools import cache

from any_llm import AnyLLM

from benchmarks.readers.request import BODY, Show


@cache
def client(url: str) -> AnyLLM:
    return AnyLLM.create("openai", api_key="key", api_base=url)


@cache
def aclient(url: str) -> AnyLLM:
    """Its own, since the sync calls have an event loop of their own, to which a client is bound."""
    return AnyLLM.create("openai", api_key="key", api_base=url)


def read(url: str, show: Show) -> str:
    text = ""
    for chunk in client(url).completion(**BODY):
        delta = chunk.choices[0].delta.content or ""
        show(delta)
        text += delta
    return text


async def aread(url: str, show: Show) -> str:
    text = ""
    async for chunk in await aclient(url).acompletion(**BODY):
        delta = chunk.choices[0].delta.content or ""
        show(delta)
        text += delta
    return text
