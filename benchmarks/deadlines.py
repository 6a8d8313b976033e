"""
How exact deadlines are, and how many requests each failure costs.

First milliseconds between the moment that a deadline was asked for (0.1 to 0.2 s ahead) and the
moment at which the reader's loop had the error; the promise is 10 % + 20 ms. Each case is a place
where a reader is blocked, in both colours, over

- llm_kit: our own stream.
- generator: an iterator of somebody else's that blocks (sync: in a thread; async: awaiting).
- openai: a stream of the SDK's; left out if it is not installed.

``idle`` is counted from the last chunk, the others from the loop's first step. The servers run
in another process. The last cases have many streams at once whose deadlines all pass together.

Then the requests that a server gets for each kind of failure, and what the reader gets.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from statistics import median
from typing import Any

from benchmarks.children import child, pin
from benchmarks.contenders import available
from benchmarks.figures import Figure
from benchmarks.readers.request import MESSAGES
from llm_kit import AsyncLLMClient, Deadlines, LLMClient, LLMKitError, RetryPolicy
from llm_kit.testing import FakeServer, Reply

if available("openai"):
    import openai
else:
    openai = None

TEXT = Reply.text("one two three four")
STAGES = {
    "headers": TEXT.hang(),
    "first": TEXT.stall(after=0),
    "mid": TEXT.stall(after=3),
    "comments": TEXT.comments(after=3, interval=0.005),
    "flood": TEXT.comments(after=3, interval=0),
}
OFF = dict.fromkeys(("connect", "first_chunk", "idle", "total"))
# kind of deadline, where the reader is blocked; in a generator there is no such place.
OWN = [
    ("connect", "tcp"),
    ("first_chunk", "headers"),
    ("idle", "mid"),
    ("idle", "comments"),
    ("idle", "flood"),
    ("total", "mid"),
]
GENERATOR = [("first_chunk", ""), ("idle", ""), ("total", "")]
OPENAI = [
    ("first_chunk", "first"),
    ("idle", "mid"),
    ("idle", "comments"),
    ("idle", "flood"),
    ("total", "mid"),
]

Take = Callable[[str, str, float], tuple[float, LLMKitError]]


def serve() -> None:
    """Be the servers until standard input ends, as it does with the process that holds it."""
    pin(server=True)
    with ExitStack() as stack:
        servers = {
            name: stack.enter_context(FakeServer(reply)).base_url for name, reply in STAGES.items()
        }
        print(json.dumps(servers), flush=True)
        sys.stdin.read()


@contextmanager
def servers() -> Iterator[dict[str, str]]:
    with child("deadlines") as process, full_backlog() as tcp:
        yield {**json.loads(process.stdout.readline()), "tcp": tcp}


@contextmanager
def full_backlog() -> Iterator[str]:
    """Give the base_url of a listener on which every connect blocks: its queue is full."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"


def limits(kind: str, seconds: float) -> Deadlines:
    return Deadlines(**(OFF | {kind: seconds}))


def follow(stream: Any, kind: str) -> tuple[float, LLMKitError]:
    """Read until the error; gives the seconds that the deadline took."""
    since = time.perf_counter()
    try:
        for chunk in stream:
            if kind == "idle" and chunk.delta:
                since = time.perf_counter()
    except LLMKitError as error:
        return time.perf_counter() - since, error
    raise AssertionError("the stream has ended without its deadline")


async def afollow(stream: Any, kind: str) -> tuple[float, LLMKitError]:
    since = time.perf_counter()
    try:
        async for chunk in stream:
            if kind == "idle" and chunk.delta:
                since = time.perf_counter()
    except LLMKitError as error:
        return time.perf_counter() - since, error
    raise AssertionError("the stream has ended without its deadline")


def sync_takes(stack: ExitStack, urls: dict[str, str]) -> dict[str, Take]:
    clients = {
        place: stack.enter_context(LLMClient(url, "key", "m")) for place, url in urls.items()
    }

    def own(kind: str, place: str, seconds: float) -> tuple[float, LLMKitError]:
        stream = clients[place].chat_stream(MESSAGES, deadlines=limits(kind, seconds))
        return follow(stream, kind)

    def generator(kind: str, _: str, seconds: float) -> tuple[float, LLMKitError]:
        ended = threading.Event()

        def items() -> Iterator[str]:
            if kind != "first_chunk":
                yield "one"
            ended.wait(10)

        try:
            return follow(limits(kind, seconds).wrap(items()), kind)
        finally:
            ended.set()

    def sdk(kind: str, place: str, seconds: float) -> tuple[float, LLMKitError]:
        source = made.with_options(base_url=urls[place]).chat.completions.create(
            model="m", messages=MESSAGES, stream=True
        )
        return follow(limits(kind, seconds).wrap(source), kind)

    takes: dict[str, Take] = {"llm_kit": own, "generator": generator}
    if openai is not None:
        made = stack.enter_context(openai.OpenAI(api_key="key", max_retries=0))
        takes["openai"] = sdk
    return takes


def async_takes(stack: ExitStack, urls: dict[str, str]) -> dict[str, Take]:
    run = stack.enter_context(asyncio.Runner()).run
    clients = {place: AsyncLLMClient(url, "key", "m") for place, url in urls.items()}
    for client in clients.values():
        stack.callback(lambda client=client: run(client.aclose()))

    async def own(kind: str, place: str, seconds: float) -> tuple[float, LLMKitError]:
        stream = clients[place].chat_stream(MESSAGES, deadlines=limits(kind, seconds))
        return await afollow(stream, kind)

    async def generator(kind: str, _: str, seconds: float) -> tuple[float, LLMKitError]:
        async def items() -> Any:
            if kind != "first_chunk":
                yield "one"
            await asyncio.sleep(10)

        return await afollow(limits(kind, seconds).wrap(items()), kind)

    async def sdk(kind: str, place: str, seconds: float) -> tuple[float, LLMKitError]:
        source = await made.with_options(base_url=urls[place]).chat.completions.create(
            model="m", messages=MESSAGES, stream=True
        )
        return await afollow(limits(kind, seconds).wrap(source), kind)

    takes: dict[str, Any] = {"llm_kit": own, "generator": generator}
    if openai is not None:
        made = openai.AsyncOpenAI(api_key="key", max_retries=0)
        stack.callback(lambda: run(made.close()))
        takes["openai"] = sdk
    return {
        name: lambda kind, place, seconds, take=take: run(take(kind, place, seconds))
        for name, take in takes.items()
    }


def measure(quick: bool) -> Iterator[Figure]:
    yield from measure_lateness(2 if quick else 30)
    yield from count_requests()


def measure_lateness(runs: int) -> Iterator[Figure]:
    with servers() as urls, ExitStack() as stack:
        colours = {"sync": sync_takes(stack, urls), "async": async_takes(stack, urls)}
        for stream, cells in {"llm_kit": OWN, "generator": GENERATOR, "openai": OPENAI}.items():
            for kind, place in cells:
                for colour, takes in colours.items():
                    if stream not in takes:
                        continue
                    takes[stream](kind, place, 0.02)  # warms up
                    late = []
                    for turn in range(runs):
                        asked = 0.1 + 0.1 * turn / runs
                        took, error = takes[stream](kind, place, asked)
                        check(error, kind)
                        late.append((asked, took))
                    where = f", blocked in {place}" if place else ""
                    yield from lateness(f"{colour}, {kind}{where}", stream, late)
        crowd = sync_crowd(urls["mid"], 50)
        yield from lateness("sync, idle, blocked in mid, 50 at once", "llm_kit", crowd)
        crowd = asyncio.run(async_crowd(urls["mid"], 200))
        yield from lateness("async, idle, blocked in mid, 200 at once", "llm_kit", crowd)


def check(error: LLMKitError, kind: str) -> None:
    assert getattr(error, "kind", None) == kind, f"{kind} was asked for: {error!r}"


def lateness(case: str, stream: str, late: list[tuple[float, float]]) -> Iterator[Figure]:
    errors = [(took - asked) * 1e3 for asked, took in late]
    beyond = sum(abs(took - asked) > 0.1 * asked + 0.02 for asked, took in late)
    yield Figure(case, stream, median(errors), "ms late, median")
    yield Figure(case, stream, max(errors, key=abs), "ms late, at worst")
    yield Figure(case, stream, beyond, f"of {len(late)} beyond 10 % + 20 ms")


def sync_crowd(url: str, count: int) -> list[tuple[float, float]]:
    asked = 0.5  # long enough for all of them to have begun
    late: list[tuple[float, float]] = []

    def one() -> None:
        stream = client.chat_stream(MESSAGES, deadlines=limits("idle", asked))
        took, error = follow(stream, "idle")
        check(error, "idle")
        late.append((asked, took))

    with LLMClient(url, "key", "m") as client:
        readers = [threading.Thread(target=one) for _ in range(count)]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
    assert len(late) == count
    return late


async def async_crowd(url: str, count: int) -> list[tuple[float, float]]:
    asked = 0.5

    async def one() -> tuple[float, float]:
        stream = client.chat_stream(MESSAGES, deadlines=limits("idle", asked))
        took, error = await afollow(stream, "idle")
        check(error, "idle")
        return asked, took

    async with AsyncLLMClient(url, "key", "m") as client:
        return await asyncio.gather(*(one() for _ in range(count)))


# The requests of failures


def failures() -> dict[str, tuple[list[Reply], dict[str, Any]]]:
    role = b'data: {"choices":[{"index":0,"delta":{"role":"assistant"}}]}\n\n'
    text = b'data: {"choices":[{"index":0,"delta":{"content":"one two"}}]}\n\n'
    cut_behind_role = Reply.raw(role + text).cut(at=len(role))
    lost = Reply.raw(role + text + text).cut(at=len(role + text))
    refused = Reply.error(503)
    year = Reply.error(429, headers={"retry-after": "31536000"})
    return {
        "no failure": ([TEXT], {}),
        "503 once": ([refused, TEXT], {}),
        "503 always": ([refused], {}),
        "503 always, attempts=1": ([refused], {"retry": RetryPolicy(attempts=1)}),
        "429, Retry-After: 0": ([Reply.error(429, headers={"retry-after": "0"}), TEXT], {}),
        "429, Retry-After: a year": ([year, TEXT], {}),
        "503, Retry-After beyond total": (
            [Reply.error(503, headers={"retry-after": "20"}), TEXT],
            {"deadlines": Deadlines(total=5)},
        ),
        "400": ([Reply.error(400), TEXT], {}),
        "401": ([Reply.error(401), TEXT], {}),
        "an empty 200": ([Reply.raw(b""), TEXT], {}),
        "HTML": ([Reply.raw(b"<html>", content_type="text/html"), TEXT], {}),
        "error event 500 first": ([TEXT.error_event(0), TEXT], {}),
        "error event 400 first": ([TEXT.error_event(0, {"code": 400}), TEXT], {}),
        "cut behind a role": ([cut_behind_role, TEXT], {}),
        "cut behind text": ([lost, TEXT], {}),
        "cut behind text, restart": ([lost, TEXT], {"recovery": "restart"}),
        "cut behind text, continue": ([lost, TEXT], {"recovery": "continue"}),
        "cut twice, continue": ([lost, lost, TEXT], {"recovery": "continue"}),
        "cut always, restart": ([lost], {"recovery": "restart"}),
        "first_chunk deadline": ([TEXT.hang(), TEXT], {"deadlines": limits("first_chunk", 0.1)}),
        "idle deadline": ([TEXT.stall(3), TEXT], {"deadlines": limits("idle", 0.1)}),
        "idle deadline, continue": (
            [TEXT.stall(3), TEXT],
            {"deadlines": limits("idle", 0.1), "recovery": "continue"},
        ),
    }


def count_requests() -> Iterator[Figure]:
    policy = RetryPolicy(pause=0.001)

    def read(url: str, options: dict[str, Any]) -> str:
        with LLMClient(url, "key", "m", retry=policy) as client:
            stream = client.chat_stream(MESSAGES, **options)
            try:
                for _ in stream:
                    pass
            except LLMKitError as error:
                return type(error).__name__
            return stream.result.status

    async def aread(url: str, options: dict[str, Any]) -> str:
        async with AsyncLLMClient(url, "key", "m", retry=policy) as client:
            stream = client.chat_stream(MESSAGES, **options)
            try:
                async for _ in stream:
                    pass
            except LLMKitError as error:
                return type(error).__name__
            return stream.result.status

    for case, (replies, options) in failures().items():
        with FakeServer(*replies) as server:
            outcome = read(server.base_url, options)
            yield Figure(f"{case}: {outcome}", "sync", len(server.requests), "requests")
        with FakeServer(*replies) as server:
            assert asyncio.run(aread(server.base_url, options)) == outcome, case
            yield Figure(f"{case}: {outcome}", "async", len(server.requests), "requests")


if __name__ == "__main__":
    serve()
