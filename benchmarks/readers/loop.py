"""The loop that guides tell people to write: httpx, `iter_lines`, `json.loads`, `text +=`."""

from __future__ import annotations

import json
from functools import cache

import httpx

from benchmarks.readers.request import BODY, Show


@cache
def client() -> httpx.Client:
    return httpx.Client()


@cache
def aclient() -> httpx.AsyncClient:
    return httpx.AsyncClient()


def read(url: str, show: Show) -> str:
    text = ""
    with client().stream("POST", f"{url}/chat/completions", json=BODY) as response:
        for line in response.iter_lines():
            if line.startswith("data: ") and line != "data: [DONE]":
                delta = json.loads(line[6:])["choices"][0]["delta"].get("content") or ""
                show(delta)
                text += delta
    return text


async def aread(url: str, show: Show) -> str:
    text = ""
    async with aclient().stream("POST", f"{url}/chat/completions", json=BODY) as response:
        async for line in response.aiter_lines():
            if line.startswith("data: ") and line != "data: [DONE]":
                delta = json.loads(line[6:])["choices"][0]["delta"].get("content") or ""
                show(delta)
                text += delta
    return text
