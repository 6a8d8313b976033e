"""
What a chunk's cost consists of: CPU of a sync reader that stops after each step of its way.

Every reader goes one step further than the one before it: the bytes as httpx gives them, the events
in them, their JSON, the chunks, what they add up to, and all of llm_kit. A part is what the step
adds, so it has the noise of two figures. JSON is decoded by the standard library, and by msgspec
where that is installed. One process, turn about; cases as in `per_chunk`.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from functools import partial
from statistics import median
from time import process_time

import httpx

from benchmarks.children import pin
from benchmarks.figures import Figure, interleaved
from benchmarks.readers.request import BODY, MESSAGES
from benchmarks.server import server
from llm_kit import LLMClient, StreamInterrupter, json_texts, wire
from llm_kit._core.accumulator import Accumulator
from llm_kit._core.pipeline import Pipeline
from llm_kit.policies import Limits
from llm_kit.sse import SSEDecoder
from llm_kit.types import Chunk

Read = Callable[[str], object]


class _Nowhere:
    def append(self, chunk: Chunk, /) -> None:
        """Drop it."""


def body(http: httpx.Client, url: str) -> Iterator[bytes]:
    with http.stream("POST", f"{url}/chat/completions", json=BODY) as response:
        yield from response.stream


def reading(http: httpx.Client, url: str) -> None:
    for _ in body(http, url):
        pass


def splitting(http: httpx.Client, url: str) -> None:
    decoder = SSEDecoder()
    for data in body(http, url):
        decoder.split(data)


def decoding(http: httpx.Client, url: str) -> None:
    decoder = SSEDecoder()
    for data in body(http, url):
        for event in decoder.split(data):
            wire.decoded(event[0])


def making_chunks(http: httpx.Client, url: str) -> None:
    decoder = wire.WireDecoder("openai", Limits())
    for data in body(http, url):
        decoder.feed(data, _Nowhere())


def adding_up(http: httpx.Client, url: str) -> None:
    decoder, pipeline = wire.WireDecoder("openai", Limits()), Pipeline(Accumulator())
    for data in body(http, url):
        decoder.feed(data, pipeline.arrived)
        while pipeline.pop() is not None:
            pass


def whole(http: httpx.Client, url: str) -> None:
    client = LLMClient(url, "key", "m", http_client=http)
    for _ in StreamInterrupter().wrap(client.chat_stream(MESSAGES)):
        pass


STEPS = {
    "HTTP (httpx, httpcore, h11)": reading,
    "events": splitting,
    "JSON": decoding,
    "chunks": making_chunks,
    "adding up": adding_up,
    "waiting, stopping, the loop": whole,
}
DECODERS = {"json": json_texts.decoded_by_json, "msgspec": json_texts.decoded}


def cost(
    read: Callable[[httpx.Client, str], None],
    decoder: str,
    http: httpx.Client,
    url: str,
    chunks: int,
) -> float:
    wire.decoded = DECODERS[decoder]
    gc.collect()
    began = process_time()
    read(http, url)
    return (process_time() - began) / chunks * 1e6


def measure(quick: bool) -> Iterator[Figure]:
    chunks, rounds = (5_000, 3) if quick else (20_000, 7)
    decoders = [
        name for name in DECODERS if name == "json" or DECODERS[name] is not DECODERS["json"]
    ]
    with server() as base, httpx.Client() as http:
        pin(server=False)
        costs = {
            (f"{per_write} a write, {decoder}", name): partial(
                cost, read, decoder, http, f"{base}/{chunks}/{per_write}", chunks
            )
            for per_write in (1, 16)
            for decoder in decoders
            for name, read in STEPS.items()
        }
        took = {cell: median(each) for cell, each in interleaved(costs, rounds).items()}
    before = 0.0
    for (case, name), cumulative in took.items():
        if name == next(iter(STEPS)):
            before = 0.0
        part, before = cumulative - before, cumulative
        share = part / took[case, [*STEPS][-1]]
        yield Figure(case, name, part, "us of CPU a chunk", share, "llm_kit")
