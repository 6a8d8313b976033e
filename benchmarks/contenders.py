"""
Who reads: each contender in a process of its own, and turns taken between them.

A contender is a module of ``benchmarks/readers`` with ``read(url, show)`` and ``aread(url, show)``,
which ask the server at ``url`` for its answer the way the peer's documentation tells its users to,
give ``show`` every piece of text when it has come (a C function that drops it, where only the cost
counts), and return the whole text as the peer adds it up, or as its users do. The time is taken
in the reader's own process, so imports, garbage, threads and caches of one peer are none of the
others'; each says what it read, and is refused if that is not what was sent.

A peer that is not installed is left out with a word. One whose dependencies clash with those of
others may have an interpreter of its own, which ``BENCH_PYTHON_<CONTENDER>`` names
(``BENCH_PYTHON_LITELLM``).
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from importlib import import_module, metadata
from time import perf_counter, process_time
from typing import Any, Literal

from attrs import field, frozen

from benchmarks.children import child, pin
from benchmarks.readers.request import Show
from benchmarks.server import text_of

Colour = Literal["sync", "async"]
COLOURS: tuple[Colour, ...] = ("sync", "async")


@frozen
class Contender:
    """
    What one contender needs.

    Attributes:
        reader: the module that reads.
        needs: the distributions that must be installed.
        environment: variables that its process is given.
    """

    reader: str
    needs: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(factory=dict)


OFFLINE = {"LITELLM_LOCAL_MODEL_COST_MAP": "true"}  # instead of fetching prices when imported

STANDARD_JSON = {"BENCH_STANDARD_JSON": "1"}  # llm_kit without msgspec, see its reader

CONTENDERS = {
    "socket": Contender("raw_socket"),
    "loop": Contender("loop", ("httpx",)),
    "httpx-sse": Contender("httpx_sse", ("httpx-sse",)),
    "llm_kit": Contender("llm_kit", (), STANDARD_JSON),
    "llm_kit fast": Contender("llm_kit", ("msgspec",)),
    "openai": Contender("openai", ("openai",)),
    "openai .stream()": Contender("openai_stream", ("openai",)),
    "anthropic": Contender("anthropic", ("anthropic",)),
    "any-llm": Contender("any_llm", ("any-llm-sdk", "openai")),
    "langchain": Contender("langchain", ("langchain-openai",)),
    "pydantic-ai": Contender("pydantic_ai", ("pydantic-ai-slim", "openai")),
    "litellm": Contender("litellm", ("litellm", "openai"), OFFLINE),
}
QUICK = ("loop", "llm_kit", "llm_kit fast", "openai")  # for a run in CI


@frozen
class Cost:
    """
    What one answer cost.

    Attributes:
        cpu: seconds of the reader's whole process.
        wall: seconds from the call to the whole text.
        first: seconds from the call to the first piece of text; None if it was not asked for.
    """

    cpu: float
    wall: float
    first: float | None


class Worker:
    """A contender's process, which reads when it is told to."""

    def __init__(self, name: str, process: subprocess.Popen[str]) -> None:
        self._name = name
        self._process = process

    def read(self, server: str, events: int, per_write: int, colour: Colour, **how: bool) -> Cost:
        """
        Have it read one answer.

        Args:
            server: what `benchmarks.server.server` gives.
            events: how many deltas the answer has.
            per_write: how many of them one write brings.
            colour: of the call.
            **how: ``first=True`` takes the time of the first piece, which costs CPU.
        """
        task = {"server": server, "events": events, "per_write": per_write, "colour": colour}
        with suppress(BrokenPipeError):  # then there is no answer, and a traceback above
            print(json.dumps(task | how), file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        assert answer, f"{self._name} ({colour}) failed: see above"
        return Cost(**json.loads(answer))


@contextmanager
def workers(names: Iterable[str] = tuple(CONTENDERS)) -> Iterator[dict[str, Worker]]:
    """Start the processes of those contenders that are there, and end them."""
    with ExitStack() as stack:
        running = {}
        for name in names:
            wanted = CONTENDERS[name]
            if not all(available(each, interpreter(name)) for each in wanted.needs):
                continue
            process = child(
                "contenders",
                wanted.reader,
                python=interpreter(name),
                environment=wanted.environment,
            )
            running[name] = Worker(name, stack.enter_context(process))
        yield running


def interpreter(name: str) -> str:
    """Give the Python that a contender runs in."""
    word = "".join(letter if letter.isalnum() else "_" for letter in name.upper())
    return os.environ.get(f"BENCH_PYTHON_{word}", sys.executable)


@cache
def available(distribution: str, python: str = sys.executable) -> bool:
    """Tell whether a peer is installed; if not, say once that it is left out."""
    installed = bool(version(distribution, python))
    if not installed:
        print(f"{distribution} is not installed: left out", file=sys.stderr)
    return installed


def version(distribution: str, python: str = sys.executable) -> str:
    """Give the version of a peer, ``""`` if it is not installed."""
    if python == sys.executable:
        try:
            return metadata.version(distribution)
        except metadata.PackageNotFoundError:
            return ""
    ask = f"from importlib.metadata import version; print(version({distribution!r}))"
    asked = subprocess.run([python, "-c", ask], capture_output=True, text=True, check=False)
    return asked.stdout.strip()


# A contender's own process


class First:
    """Takes the time of the first piece that is not empty."""

    at: float | None = None

    def __call__(self, text: str) -> None:
        if self.at is None and text:
            self.at = perf_counter()


def clocks() -> tuple[float, float]:
    return perf_counter(), process_time()


def timed(reader: Any, url: str, show: Show) -> tuple[Any, ...]:
    began = clocks()
    text = reader.read(url, show)
    return text, began, clocks()


async def atimed(reader: Any, url: str, show: Show) -> tuple[Any, ...]:
    began = clocks()
    text = await reader.aread(url, show)
    return text, began, clocks()


def work(reader: Any) -> None:
    """Read what standard input asks for; gives a line of what it cost for each line."""
    pin(server=False)
    told = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # a peer that prints shall not answer for us
    with asyncio.Runner() as runner:
        for line in sys.stdin:
            task = json.loads(line)
            url = "{server}/{events}/{per_write}".format(**task)
            first = First() if task.get("first") else None
            show: Show = first or deque(maxlen=0).append
            gc.collect()
            if task["colour"] == "sync":
                text, began, ended = timed(reader, url, show)
            else:
                text, began, ended = runner.run(atimed(reader, url, show))
            assert text == text_of(task["events"]), "it has read something else"
            cost = {
                "wall": ended[0] - began[0],
                "cpu": ended[1] - began[1],
                "first": first and first.at - began[0],
            }
            print(json.dumps(cost), file=told)


if __name__ == "__main__":
    work(import_module(f"benchmarks.readers.{sys.argv[1]}"))
