"""
Streams of 50 deltas a second that one core holds: async, and next to none of them late.

The largest number of streams at once of which at most 1 % end more than 10 % late. Each is an
answer of 125 deltas, so it lasts 2.5 s, and is timed from the request to its end. Whoever has read
one asks for the next, so the requests count as well. The first ones are spread evenly over 2.5 s,
the second of each is the one that is timed, and all go on until the last of those has ended.

A contender has a process and a core of its own; the server (`benchmarks.paced_server`) has another
one, and "protocol" shows that it is not what is measured: an asyncio protocol that looks for the
end and for nothing else. The number is searched: from the load of the core by a few streams to
where it should be full, then by bisection to within 7 %. A probe that was late although the core
was not full was disturbed by somebody else, and is repeated. Ratios are to the loop, in the same
round of turns.

First the CPU that a delta costs by 50 streams at once, each of whose deltas wakes its reader: it
can be had in seconds, and on a machine with other things to do. A quick run does this alone.

The loop is httpx as guides write it, with no limit of connections (it would queue behind it) and at
most 100 idle ones, as the SDKs have it. llm_kit and the SDKs use the clients that they make. Over
the transport of ``httpx-aiohttp`` httpx is only the outside.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from functools import cache, partial
from importlib import import_module
from math import inf, sqrt
from time import monotonic, process_time
from typing import Any
from urllib.parse import urlsplit

import httpx
from attrs import frozen

from benchmarks.children import child, pin
from benchmarks.contenders import STANDARD_JSON, available
from benchmarks.figures import Figure, compared, interleaved
from benchmarks.paced_server import PERIOD, paced_server
from benchmarks.server import text_of

Read = Callable[[str], Awaitable[str | None]]

LATE = (0.1, 0.01)  # of a stream's time; of the streams
FULL = 0.9  # a core that has less to do than this is not what makes streams late
FEW = 50
MOST = 2_500
REPEATS = 3
PATIENCE = 60.0  # seconds of silence, as anybody has some; a timer for every read


# The contenders


class _Protocol(asyncio.Protocol):
    ended: asyncio.Future[None]

    def data_received(self, data: bytes) -> None:
        if data.endswith(b"\r\n0\r\n\r\n"):
            self.ended.set_result(None)


def protocol() -> Read:
    free: list[tuple[Any, _Protocol]] = []

    async def read(url: str) -> None:
        loop = asyncio.get_running_loop()
        parts = urlsplit(url)
        made = free.pop() if free else None
        transport, reader = made or await loop.create_connection(
            _Protocol, parts.hostname, parts.port
        )
        reader.ended = loop.create_future()
        head = f"POST {parts.path}/chat/completions HTTP/1.1\r\ncontent-length: 0\r\n\r\n"
        transport.write(head.encode())
        try:
            await reader.ended
        except asyncio.CancelledError:
            transport.abort()
            raise
        free.append((transport, reader))

    return read


def reader(name: str) -> Read:
    """Give the reader of the other benchmarks, as it is."""
    aread = import_module(f"benchmarks.readers.{name}").aread
    drop = deque[str](maxlen=0).append
    return lambda url: aread(url, drop)


def loop_over(http: httpx.AsyncClient) -> Read:
    import_module("benchmarks.readers.loop").aclient = lambda: http
    return reader("loop")


def llm_kit_over(http: httpx.AsyncClient) -> Read:
    from llm_kit import AsyncLLMClient  # here: the reader decides which JSON decoder it finds

    import_module("benchmarks.readers.llm_kit").aclient = cache(
        lambda url: AsyncLLMClient(url, "key", "m", http_client=http)
    )
    return reader("llm_kit")


def over_httpcore() -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=100)
    return httpx.AsyncClient(limits=limits, timeout=PATIENCE)


def over_aiohttp() -> httpx.AsyncClient:
    from httpx_aiohttp import AiohttpTransport

    # A number: None would leave aiohttp's own limit of 100 connections.
    limits = httpx.Limits(max_connections=100_000)
    return httpx.AsyncClient(transport=AiohttpTransport(limits=limits), timeout=PATIENCE)


CONTENDERS: dict[str, tuple[Callable[[], Read], tuple[str, ...]]] = {
    "protocol": (protocol, ()),
    "loop": (lambda: loop_over(over_httpcore()), ()),
    "llm_kit": (lambda: reader("llm_kit"), ()),
    "llm_kit fast": (lambda: reader("llm_kit"), ("msgspec",)),
    "loop, aiohttp": (lambda: loop_over(over_aiohttp()), ("httpx-aiohttp",)),
    "llm_kit, aiohttp": (lambda: llm_kit_over(over_aiohttp()), ("httpx-aiohttp",)),
    "llm_kit fast, aiohttp": (lambda: llm_kit_over(over_aiohttp()), ("msgspec", "httpx-aiohttp")),
    "llm_kit fast, aiohttp, uvloop": (
        lambda: llm_kit_over(over_aiohttp()),
        ("msgspec", "httpx-aiohttp", "uvloop"),
    ),
    "openai": (lambda: reader("openai"), ("openai",)),
    "anthropic": (lambda: reader("anthropic"), ("anthropic",)),
}
QUICK = ("protocol", "loop", "llm_kit", "llm_kit, aiohttp", "openai")


# Probing


@frozen
class Probe:
    """
    What so many streams at once came to.

    Attributes:
        late: the part of them that ended late.
        load: the part of the time in which this process had the core.
    """

    late: float
    load: float

    @property
    def held(self) -> bool:
        return self.late <= LATE[1]


async def probe(read: Read, url: str, deltas: int, streams: int) -> Probe:
    lasts = deltas * PERIOD
    took: list[float] = []
    everybody = asyncio.Event()

    async def user(place: int) -> None:
        await asyncio.sleep(lasts * place / streams)
        await read(url)
        began = monotonic()
        text = await read(url)
        took.append(monotonic() - began)
        assert text in (None, text_of(deltas)), "it has read something else"
        if len(took) == streams:
            everybody.set()
        while True:  # until the others were timed
            await read(url)

    gc.collect()
    users = [asyncio.create_task(user(place)) for place in range(streams)]
    await asyncio.sleep(lasts)
    all_there, had = monotonic(), process_time()
    await asyncio.sleep(lasts)
    load = (process_time() - had) / (monotonic() - all_there)
    last = asyncio.create_task(everybody.wait())
    await asyncio.wait([last, *users], timeout=1.5 * lasts, return_when=asyncio.FIRST_COMPLETED)
    for task in (last, *users):
        task.cancel()
    for task in (last, *users):
        with suppress(asyncio.CancelledError):
            await task  # raises what has gone wrong
    await asyncio.sleep(0.2)  # the server notices that they are gone
    in_time = sum(each <= lasts * (1 + LATE[0]) for each in took)
    return Probe(1 - in_time / streams, load)


async def undisturbed(read: Read, url: str, deltas: int, streams: int) -> Probe:
    for _ in range(REPEATS):
        found = await probe(read, url, deltas, streams)
        said = f"{streams:5} streams, {found.late:4.0%} late, load {found.load:.2f}"
        print(said, file=sys.stderr)
        if found.held or found.load > FULL:
            break
    return found


async def search(read: Read, url: str, deltas: int, begin: float, fineness: float) -> int:
    """
    Give how many streams are held.

    Args:
        read: reads one stream.
        url: of the paced server, with the number of deltas.
        deltas: that number.
        begin: how many are tried first.
        fineness: how much more may be too many already.
    """
    held, too_many, streams = 0, inf, int(begin)
    while held < MOST and too_many > max(held, 1) * fineness:
        found = await undisturbed(read, url, deltas, streams)
        if found.held:
            held = streams
        else:
            too_many = streams
        if too_many == inf:
            room = FULL / found.load
            streams = min(MOST, int(held * min(max(room, 1.15), 4)))
        elif held:
            streams = round(sqrt(held * too_many))
        else:
            streams = int(streams / 1.15)
    return held


async def cost(read: Read, url: str, deltas: int) -> float:
    """Give the microseconds of CPU a delta, by the load of a core that is far from full."""
    found = await probe(read, url, deltas, FEW)
    return found.load * 1e6 * PERIOD / FEW


def asked(name: str, url: str, deltas: int, **how: float) -> float:
    """Run `search`, or without its arguments `cost`, in a process of the contender's own."""
    task = {"name": name, "url": url, "deltas": deltas, "how": how}
    environment = {} if "fast" in name else STANDARD_JSON
    with child("concurrent", "--task", json.dumps(task), environment=environment) as process:
        answer = process.stdout.readline()
    assert answer, f"{name} failed: see above"
    return float(answer)


def measure(quick: bool) -> Iterator[Figure]:
    names = [
        name
        for name, (_, needs) in CONTENDERS.items()
        if all(available(each) for each in needs) and (name in QUICK or not quick)
    ]
    deltas, rounds = (50, 1) if quick else (125, 3)
    with paced_server() as base:
        url = f"{base}/{deltas}/1"
        costs = {(f"{FEW} streams", name): partial(asked, name, url, deltas) for name in names}
        yield from compared(interleaved(costs, rounds), "us of CPU a delta", lambda _: "loop")
        if quick:
            return

        def held(name: str) -> float:
            return asked(name, url, deltas, begin=FEW, fineness=1.07)

        searches = {("held by a core", name): partial(held, name) for name in names}
        yield from compared(interleaved(searches, 1), "streams", lambda _: "loop")


def main() -> None:
    parser = argparse.ArgumentParser(description="Search how many streams a contender holds")
    parser.add_argument("--task", type=json.loads, required=True, help=argparse.SUPPRESS)
    task = parser.parse_args().task
    pin(server=False)
    factory = import_module("uvloop").new_event_loop if "uvloop" in task["name"] else None
    with asyncio.Runner(loop_factory=factory) as runner:
        read = CONTENDERS[task["name"]][0]()
        does = search if task["how"] else cost
        print(runner.run(does(read, task["url"], task["deltas"], **task["how"])), flush=True)
        os._exit(0)  # clients need not be closed


if __name__ == "__main__":
    main()
