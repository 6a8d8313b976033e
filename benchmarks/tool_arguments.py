"""
Tool arguments as they grow: the value so far at every delta, in milliseconds of CPU.

    python -m benchmarks tool_arguments

A model writes the arguments of one call, 1 to 256 KiB in deltas of four characters, and the
reader looks at their partial value at each one: as *code*, one long string, and as *records*,
a list of small objects. Two cases, each contender in a process of its own:

- dicts: the wire's objects, decoded and in memory. llm_kit: `StreamProcessor.process` and
  ``partial_arguments()``; the same with every tenth looked at; and the hand-written way,
  ``text += piece`` and jiter's partial parse of all of it.
- served: the whole answer over loopback, sixteen events a write. llm_kit's client; the parsed
  arguments of openai's ``.stream()`` (a strict tool) and of anthropic's ``input_json`` events,
  which both leave out a string that is still open; ``tool_calls`` of langchain's chunks added
  up; pydantic-ai's ``stream_output(debounce_by=None)`` of a dict.

The reference of a case is llm_kit. The growth is the CPU of 256 KiB over that of 16 KiB in the
same round; linear is 16. Sizes at which a contender would take too long are left out, with a word.
"""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from itertools import product
from statistics import median
from subprocess import Popen
from time import process_time
from typing import Any

from benchmarks.children import child, pin
from benchmarks.contenders import available
from benchmarks.figures import Figure, compared
from benchmarks.readers.request import MESSAGES
from benchmarks.server import server
from benchmarks.tool_server import NAME, SHAPES, value, wire_dicts

SIZES = (1, 16, 64, 256)  # KiB
LINEAR = (16, 256)
OURS = "llm_kit"
ONCE = 1000  # ms: what takes longer is read in the first round alone


def llm_kit_dicts(events: list[Any], every: int = 1) -> Any:
    from llm_kit import StreamProcessor

    processor = StreamProcessor()
    for place, event in enumerate(events):
        processor.process(event)
        if place % every == 0:
            processor.partial_arguments()
    return processor.partial_arguments()


def llm_kit_each_tenth(events: list[Any]) -> Any:
    return llm_kit_dicts(events, every=10)


def reparsed(events: list[Any]) -> Any:
    from jiter import from_json

    text, partial = "", None
    for event in events:
        for call in event["choices"][0]["delta"].get("tool_calls", ()):
            text += call["function"]["arguments"]
            if text:
                partial = from_json(text.encode(), partial_mode="trailing-strings")
    return partial


def llm_kit_served(url: str) -> Any:
    from benchmarks.readers.llm_kit import client
    from llm_kit import StreamProcessor

    processor = StreamProcessor()
    for _ in processor.wrap(client(url).chat_stream(MESSAGES)):
        partial = processor.partial_arguments()
    return partial


def openai_served(url: str) -> Any:
    from benchmarks.readers.openai import client

    partial = None
    function = {"name": NAME, "strict": True, "parameters": {"type": "object", "properties": {}}}
    tools: Any = [{"type": "function", "function": function}]
    chat = client(url).chat.completions
    with chat.stream(model="m", messages=MESSAGES, tools=tools) as stream:
        for event in stream:
            if event.type == "tool_calls.function.arguments.delta":
                partial = event.parsed_arguments
    return partial


def anthropic_served(url: str) -> Any:
    from benchmarks.readers.anthropic import QUESTION, client

    partial = None
    with client(url).messages.stream(**QUESTION) as stream:
        for event in stream:
            if event.type == "input_json":
                partial = event.snapshot
    return partial


def langchain_served(url: str) -> Any:
    from benchmarks.readers.langchain import model

    total, partial = None, None
    for chunk in model(url).stream("Hello"):
        total = chunk if total is None else total + chunk
        partial = total.tool_calls[0]["args"] if total.tool_calls else None
    return partial


def pydantic_ai_served(url: str) -> Any:
    from pydantic_ai import StructuredDict

    from benchmarks.readers.pydantic_ai import agent

    asked = StructuredDict({"type": "object", "properties": {}, "additionalProperties": True})
    partial = None
    result = agent(url).run_stream_sync("Hello", output_type=asked)
    for output in result.stream_output(debounce_by=None):
        partial = output
    return partial


DICTS: dict[str, Callable[[list[Any]], Any]] = {
    OURS: llm_kit_dicts,
    "llm_kit, each 10th": llm_kit_each_tenth,
    "re-parse": reparsed,
}
SERVED: dict[str, Callable[[str], Any]] = {
    OURS: llm_kit_served,
    "openai .stream()": openai_served,
    "anthropic": anthropic_served,
    "langchain": langchain_served,
    "pydantic-ai": pydantic_ai_served,
}
CASES = {"dicts": DICTS, "served": SERVED}
QUICK = (*DICTS, "openai .stream()")  # for a run in CI
NEEDS = {
    "re-parse": ("jiter",),
    "openai .stream()": ("openai",),
    "anthropic": ("anthropic",),
    "langchain": ("langchain-openai",),
    "pydantic-ai": ("pydantic-ai-slim", "openai"),
}


def measure(quick: bool) -> Iterator[Figure]:
    """Have each contender read each size in turn, round by round."""
    bound = 500 if quick else 20_000  # ms that the next size may take at the least
    rounds: dict[tuple[str, str], list[float]] = {}
    left_out: set[tuple[str, str, str, int]] = set()
    with ExitStack() as stack:
        url = stack.enter_context(server("tool_server"))
        workers = {
            (case, name): stack.enter_context(child("tool_arguments", case, name))
            for case, contenders in CASES.items()
            for name in contenders
            if (not quick or name in QUICK) and all(map(available, NEEDS.get(name, ())))
        }
        for turn in range(3):
            for shape, kib, (case, name) in product(SHAPES, SIZES, workers):
                took = rounds.setdefault((f"{shape}, {case}, {kib} KiB", name), [])
                if (case, name, shape, kib) in left_out or (
                    name != OURS and took and took[0] > ONCE
                ):
                    continue
                took.append(ask(workers[case, name], shape, kib, url) * 1e3)
                larger = [size for size in SIZES if size > kib]
                # Four times the size takes four times as long, or sixteen times.
                if turn == 0 and took[0] * 4 > bound and larger and name != OURS:
                    left_out.update((case, name, shape, size) for size in larger)
                    print(f"{name}: {shape} of {larger} KiB left out, too slow", file=sys.stderr)
    for (case, name), took in rounds.items():
        same = {(case, OURS): rounds[case, OURS][: len(took)], (case, name): took}
        figures = compared(same, "ms of CPU", lambda _: OURS)
        if took:
            yield from (figure for figure in figures if figure.contender == name)
    for shape, (case, name) in product(SHAPES, workers):
        small, large = (rounds.get((f"{shape}, {case}, {kib} KiB", name)) for kib in LINEAR)
        if small and large:
            growth = median(most / least for least, most in zip(small, large, strict=False))
            label = f"{shape}, {case}, 256 KiB over 16 KiB"
            yield Figure(label, name, growth, "times the CPU", growth / 16, "linear")


def ask(worker: Popen[str], shape: str, kib: int, url: str) -> float:
    """Have a worker read one call; gives seconds of CPU."""
    print(json.dumps([shape, kib, url]), file=worker.stdin, flush=True)
    return float(worker.stdout.readline())


# A contender's own process


def work(case: str, name: str) -> None:
    """Read what standard input asks for; gives a line of what it cost for each line."""
    pin(server=False)
    read: Callable[[Any], Any] = CASES[case][name]
    inputs = cache(wire_dicts) if case == "dicts" else None
    warmed = False
    for line in sys.stdin:
        shape, kib, url = json.loads(line)
        given = inputs(shape, kib) if inputs else f"{url}/{shape}/{kib}"
        expected = value(shape, kib)
        if not warmed:
            warmed = read(inputs(shape, 1) if inputs else f"{url}/{shape}/1") is not None
        gc.collect()
        began = process_time()
        partial = read(given)
        took = process_time() - began
        assert partial == expected, f"{name} has read something else"
        print(took, flush=True)


if __name__ == "__main__":
    work(*sys.argv[1:])
