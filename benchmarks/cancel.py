"""
How soon a stop takes effect: milliseconds until the reader is awake, and until the server is told.

    python -m benchmarks cancel

The reader is blocked, in the middle of an answer (*mid*) or because no headers come
(*headers*); 30 ms later it is stopped, the way each contender has for it:

- sync, from another thread. llm_kit: `StreamInterrupter.interrupt`. openai: ``close()`` of the
  stream, or of the client while there is no stream yet. httpx: ``close()`` of the response, or
  of the client.
- async, from the event loop. llm_kit: the same. openai, and the hand-written loop over httpx
  (loop): ``task.cancel()``.

*Awake* is when the reader's own code goes on, *told* when the server, in another process, sees
the connection closed. Then the server goes on by itself: what has taken 1.5 s was not stopped,
and its unit says so. Medians with llm_kit as the reference, and the worst of all runs.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, suppress
from itertools import product
from subprocess import Popen
from typing import Any

import httpx
from attrs import evolve

from benchmarks.children import child
from benchmarks.contenders import available
from benchmarks.figures import Figure, compared
from benchmarks.readers.request import BODY, MESSAGES
from llm_kit import AsyncLLMClient, LLMClient, StreamInterrupter
from llm_kit.testing import FakeServer, Pause, Reply

BOUND = 1.5  # seconds that a stop has
BLOCKED = 0.03  # seconds after which the reader is surely blocked
SILENCE = BOUND + 0.1  # seconds of the server: the stop comes in the first few hundredths
OURS = "llm_kit"
TEXT = Reply.text("one two three four")
PLACES = {
    "mid": Reply(
        lambda request: (
            *TEXT.steps_for(request)[:3],  # the role, two words
            Pause(SILENCE),
            *TEXT.steps_for(request)[3:],
        )
    ),
    "headers": TEXT.hang(SILENCE),
}


class Watch:
    """When the reader was about to block, when it was stopped, when it was awake again."""

    def __init__(self, place: str) -> None:
        self.blocked = threading.Event()
        self.stopped_at = 0.0
        self.awake_at = 0.0
        self._text = ""
        if place == "headers":
            self.blocked.set()

    def read(self, text: str) -> None:
        self._text += text
        if "two" in self._text:  # the last one before the silence
            self.blocked.set()

    def stop_by(self, stop: Callable[[], object]) -> None:
        self.stopped_at = time.monotonic()
        stop()

    def stop_from_thread(self, stop: Callable[[], object]) -> None:
        """Stop the reader once it is blocked; what the stop itself raises changes nothing."""

        def when_blocked() -> None:
            self.blocked.wait(BOUND)
            time.sleep(BLOCKED)
            with suppress(Exception):
                self.stop_by(stop)

        threading.Thread(target=when_blocked, daemon=True).start()

    async def stop_from_task(self, stop: Callable[[], object]) -> None:
        await asyncio.to_thread(self.blocked.wait, BOUND)
        await asyncio.sleep(BLOCKED)
        self.stop_by(stop)


def llm_kit_sync(url: str, watch: Watch) -> None:
    interrupter = StreamInterrupter()
    with LLMClient(url, "key", "m") as client:
        watch.stop_from_thread(interrupter.interrupt)
        for chunk in interrupter.wrap(client.chat_stream(MESSAGES)):
            watch.read(chunk.delta)
        watch.awake_at = time.monotonic()


def openai_sync(url: str, watch: Watch) -> None:
    from openai import OpenAI

    opened: list[Any] = []
    with OpenAI(base_url=url, api_key="key", max_retries=0) as client:
        opened.append(client)
        watch.stop_from_thread(lambda: opened[-1].close())
        with suppress(Exception):  # each failure is a way to be awake
            stream = client.chat.completions.create(**BODY)
            opened.append(stream)
            for chunk in stream:
                watch.read((chunk.choices and chunk.choices[0].delta.content) or "")
        watch.awake_at = time.monotonic()


def httpx_sync(url: str, watch: Watch) -> None:
    opened: list[Any] = []
    with httpx.Client() as client:
        opened.append(client)
        watch.stop_from_thread(lambda: opened[-1].close())
        with (
            suppress(Exception),
            client.stream("POST", f"{url}/chat/completions", json=BODY) as response,
        ):
            opened.append(response)
            for line in response.iter_lines():
                watch.read(text_of(line))
        watch.awake_at = time.monotonic()


async def llm_kit_async(url: str, watch: Watch) -> None:
    interrupter = StreamInterrupter()
    async with AsyncLLMClient(url, "key", "m") as client:
        stopping = asyncio.create_task(watch.stop_from_task(interrupter.interrupt))
        async for chunk in interrupter.wrap(client.chat_stream(MESSAGES)):
            watch.read(chunk.delta)
        watch.awake_at = time.monotonic()
        await stopping


async def openai_async(url: str, watch: Watch) -> None:
    from openai import AsyncOpenAI

    async with AsyncOpenAI(base_url=url, api_key="key", max_retries=0) as client:

        async def read() -> None:
            async for chunk in await client.chat.completions.create(**BODY):
                watch.read((chunk.choices and chunk.choices[0].delta.content) or "")

        await cancelled(read(), watch)


async def loop_async(url: str, watch: Watch) -> None:
    async with httpx.AsyncClient() as client:

        async def read() -> None:
            request = client.stream("POST", f"{url}/chat/completions", json=BODY)
            async with request as response:
                async for line in response.aiter_lines():
                    watch.read(text_of(line))

        await cancelled(read(), watch)


async def cancelled(reading: Awaitable[None], watch: Watch) -> None:
    async def until_cancelled() -> None:
        try:
            await reading
        finally:
            watch.awake_at = time.monotonic()

    task = asyncio.create_task(until_cancelled())
    await watch.stop_from_task(task.cancel)
    with suppress(asyncio.CancelledError):
        await task


def text_of(line: str) -> str:
    if not line.startswith("data: {"):
        return ""
    choices = json.loads(line[6:])["choices"]
    return (choices and choices[0]["delta"].get("content")) or ""


CONTENDERS: dict[str, dict[str, Callable[[str, Watch], Any]]] = {
    "sync": {OURS: llm_kit_sync, "openai": openai_sync, "httpx": httpx_sync},
    "async": {OURS: llm_kit_async, "openai": openai_async, "loop": loop_async},
}


def measure(quick: bool) -> Iterator[Figure]:
    """Stop each contender in turn, round by round."""
    rounds: dict[tuple[str, str], list[float]] = {}
    with ExitStack() as stack:
        server = stack.enter_context(child("cancel"))
        urls = json.loads(server.stdout.readline())
        runner = stack.enter_context(asyncio.Runner())
        for turn in range(1 + (3 if quick else 20)):  # the first one warms up
            for place, (colour, contenders) in product(PLACES, CONTENDERS.items()):
                for name, contender in contenders.items():
                    if name == "openai" and not available("openai"):
                        continue
                    watch = Watch(place)
                    called = contender(urls[place], watch)
                    if colour == "async":
                        runner.run(called)
                    closed_at = told(server, place)
                    assert watch.stopped_at, f"{name} has not been blocked ({colour}, {place})"
                    for what, at in (("awake", watch.awake_at), ("told", closed_at)):
                        took = min(at - watch.stopped_at, BOUND) * 1e3
                        if turn:
                            rounds.setdefault((f"{colour}, {place}: {what}", name), []).append(took)
    for figure in compared(rounds, "ms", lambda _: OURS):
        took = rounds[figure.case, figure.contender]
        yield evolve(figure, unit=unit(figure.value))
        worst = max(took)
        yield Figure(f"{figure.case}, worst of {len(took)}", figure.contender, worst, unit(worst))


def unit(took: float) -> str:
    return "ms" if took < BOUND * 1e3 else f"ms at least: not in {BOUND} s"


def told(server: Popen[str], place: str) -> float:
    """Ask when the server saw its last connection of a place closed; never is infinite."""
    print(place, file=server.stdin, flush=True)
    return float(server.stdout.readline())


def serve() -> None:
    """Be the servers until standard input ends; for each line tell when a connection closed."""
    with ExitStack() as stack:
        servers = {place: stack.enter_context(FakeServer(reply)) for place, reply in PLACES.items()}
        print(json.dumps({place: each.base_url for place, each in servers.items()}), flush=True)
        for line in sys.stdin:
            received = servers[line.strip()].requests[-1]
            received.finished.wait(SILENCE * 2)
            print(received.closed_at or "inf", flush=True)


if __name__ == "__main__":
    serve()
