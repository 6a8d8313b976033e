"""litellm's stream, its chunks put together by its `stream_chunk_builder`."""

from __future__ import annotations

import litellm

from benchmarks.readers.request import MESSAGES, Show

litellm.suppress_debug_info = True  # it prints advice for each model that it does not know


def asked(url: str) -> dict[str, object]:
    return {
        "model": "openai/m",
        "messages": MESSAGES,
        "stream": True,
        "api_base": url,
        "api_key": "key",
    }


def read(url: str, show: Show) -> str:
    chunks = []
    for chunk in litellm.completion(**asked(url)):
        show(chunk.choices[0].delta.content or "")
        chunks.append(chunk)
    return litellm.stream_chunk_builder(chunks, messages=MESSAGES).choices[0].message.content


async def aread(url: str, show: Show) -> str:
    chunks = []
    async for chunk in await litellm.acompletion(**asked(url)):
        show(chunk.choices[0].delta.content or "")
        chunks.append(chunk)
    return litellm.stream_chunk_builder(chunks, messages=MESSAGES).choices[0].message.content
