"""The openai SDK's `.stream()`, which adds up by itself."""

from __future__ import annotations

from benchmarks.readers.openai import aclient, client
from benchmarks.readers.request import MESSAGES, Show


def read(url: str, show: Show) -> str:
    with client(url).chat.completions.stream(model="m", messages=MESSAGES) as stream:
        for event in stream:
            if event.type == "content.delta":
                show(event.delta)
        return stream.get_final_completion().choices[0].message.content


async def aread(url: str, show: Show) -> str:
    async with aclient(url).chat.completions.stream(model="m", messages=MESSAGES) as stream:
        async for event in stream:
            if event.type == "content.delta":
                show(event.delta)
        final = await stream.get_final_completion()
        return final.choices[0].message.content
