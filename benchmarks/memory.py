"""
What a stream holds in memory: KiB a concurrent stream, and MiB after a long one.

Idle streams: 500 at once (sync: 200, each in a thread of its own) whose head and first delta have
come, and which then wait in silence. The difference of what is resident between 20 of them and
all, after a collection, divided by their number; the kernel's buffers are not in it. Most of it is
the connection's, so the reference is httpx's own loop. They begin 20 at a time: what it takes to
connect and to ask is free for the next ones, and would else be counted as what waiting takes.

A long stream: the most that is resident while 65,536 deltas of 5 characters are read, over what it
was before. Whoever keeps chunks instead of text shows here.

Each figure is of a process of its own that has read a short answer before. Needs /proc.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import sys
import threading
from collections import deque
from collections.abc import Iterator
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx

from benchmarks.children import child, pin
from benchmarks.contenders import COLOURS, CONTENDERS, Colour, available
from benchmarks.figures import Figure, compared, interleaved
from benchmarks.paced_server import paced_server
from benchmarks.server import server, text_of

STATUS = Path("/proc/self/status")
READERS = ("loop", "llm_kit", "openai", "anthropic", "langchain", "pydantic-ai")
LONG = 65_536
GROUP = 20  # idle streams that begin at once; the first ones only warm up
PATIENT: dict[str, Any] = {"limits": httpx.Limits(max_connections=None), "timeout": None}


def resident(field: str = "VmRSS") -> int:
    """Give KiB that are resident; ``VmHWM`` is the most that ever were."""
    lines = STATUS.read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def collected() -> int:
    for _ in range(3):
        gc.collect()
    return resident()


async def aidle(reader: Any, url: str, streams: int) -> float:
    """Give the KiB a stream; async."""
    came = asyncio.Semaphore(0)

    def show(text: str) -> None:
        if text:
            came.release()

    tasks: list[asyncio.Task[str]] = []

    async def hold(how_many: int) -> int:
        for _ in range(0, how_many, GROUP):
            tasks.extend(asyncio.create_task(reader.aread(url, show)) for _ in range(GROUP))
            for _ in range(GROUP):
                await came.acquire()
        await asyncio.sleep(0.2)  # all of them wait
        return collected()

    before = await hold(GROUP)
    after = await hold(streams)
    assert not any(task.done() for task in tasks), "a stream has ended"
    return (after - before) / streams


def idle(reader: Any, url: str, streams: int) -> float:
    """Give the KiB a stream; each in a thread."""
    came = threading.Semaphore(0)

    def show(text: str) -> None:
        if text:
            came.release()

    def hold(how_many: int) -> int:
        for _ in range(0, how_many, GROUP):
            for _ in range(GROUP):
                threading.Thread(target=reader.read, args=(url, show), daemon=True).start()
            for _ in range(GROUP):
                came.acquire()
        threading.Event().wait(0.2)
        return collected()

    before = hold(GROUP)
    return (hold(streams) - before) / streams


def peak(reader: Any, colour: Colour, url: str) -> float:
    """Give the MiB that a long answer takes while it is read."""
    drop = deque[str](maxlen=0).append
    with asyncio.Runner() as runner:

        def read(events: int) -> None:
            at = f"{url}/{events}/16"
            text = reader.read(at, drop) if colour == "sync" else runner.run(reader.aread(at, drop))
            assert text == text_of(events), "it has read something else"

        read(100)
        before = collected()
        Path("/proc/self/clear_refs").write_text("5")  # VmHWM begins anew
        read(LONG)
        return (resident("VmHWM") - before) / 1024


def run(name: str, case: str, colour: Colour, url: str, streams: int) -> float:
    """Measure one figure, in this process."""
    pin(server=False)
    reader = import_module(f"benchmarks.readers.{CONTENDERS[name].reader}")
    if case == "long":
        return peak(reader, colour, url)
    if name == "loop":  # httpx allows 100 connections and 5 seconds of silence
        http, ahttp = httpx.Client(**PATIENT), httpx.AsyncClient(**PATIENT)
        reader.client, reader.aclient = lambda: http, lambda: ahttp
    if colour == "sync":
        return idle(reader, f"{url}/idle/1", streams)
    return asyncio.run(aidle(reader, f"{url}/idle/1", streams))


def asked(*arguments: Any) -> float:
    """`run` in a process of its own."""
    with child("memory", "--run", json.dumps(arguments)) as process:
        answer = process.stdout.readline()
    assert answer, f"{arguments[0]} failed: see above"
    return float(answer)


def measure(quick: bool) -> Iterator[Figure]:
    if not STATUS.exists():
        print("memory: there is no /proc here", file=sys.stderr)
        return
    names = [
        name
        for name in (READERS[:2] if quick else READERS)
        if all(available(each) for each in CONTENDERS[name].needs)
    ]
    many = {"async": 500, "sync": 200}
    with paced_server() as paced, server() as fast:
        idles = {
            (f"{colour}, {many[colour]} idle streams", name): partial(
                asked, name, "idle", colour, paced, many[colour]
            )
            for colour in COLOURS
            for name in names
        }
        longs = {
            (f"{colour}, a stream of {LONG:,} deltas", name): partial(
                asked, name, "long", colour, fast, 1
            )
            for colour in COLOURS
            for name in names
        }
        rounds = 1 if quick else 3
        yield from compared(interleaved(idles, rounds), "KiB a stream", lambda _: "loop")
        yield from compared(interleaved(longs, rounds), "MiB", lambda _: "loop")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the memory of a contender")
    parser.add_argument("--run", type=json.loads, required=True, help=argparse.SUPPRESS)
    print(run(*parser.parse_args().run), flush=True)
    os._exit(0)  # threads are waiting still, for what never comes


if __name__ == "__main__":
    main()
