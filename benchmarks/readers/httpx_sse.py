"""httpx-sse's events, decoded and added up by hand."""

from __future__ import annotations

import json

from httpx_sse import aconnect_sse, connect_sse

from benchmarks.readers.loop import aclient, client
from benchmarks.readers.request import BODY, Show


def read(url: str, show: Show) -> str:
    text = ""
    with connect_sse(client(), "POST", f"{url}/chat/completions", json=BODY) as source:
        for event in source.iter_sse():
            if event.data != "[DONE]":
                delta = json.loads(event.data)["choices"][0]["delta"].get("content") or ""
                show(delta)
                text += delta
    return text


async def aread(url: str, show: Show) -> str:
    text = ""
    async with aconnect_sse(aclient(), "POST", f"{url}/chat/completions", json=BODY) as source:
        async for event in source.aiter_sse():
            if event.data != "[DONE]":
                delta = json.loads(event.data)["choices"][0]["delta"].get("content") or ""
                show(delta)
                text += delta
    return text
