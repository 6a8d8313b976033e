"""
What a long answer costs: CPU for 1,000 to 64,000 chunks, which should grow no faster than they do.

Microseconds of CPU a chunk for a whole answer, sixteen events a write, as in `per_chunk`; then what
64,000 chunks cost as a multiple of what 4,000 cost, which is 16 for what is linear: below it where
a request's fixed cost shows, above it where every chunk goes over all that came before. A
contender for which the next length would take too long stops there.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from statistics import median

from benchmarks.contenders import COLOURS, workers
from benchmarks.figures import Figure, compared
from benchmarks.server import server

READERS = ("loop", "llm_kit", "openai", "openai .stream()", "anthropic", "langchain")
LENGTHS = (1_000, 4_000, 16_000, 64_000)
PATIENCE = 30.0  # seconds of CPU for one answer


def measure(quick: bool) -> Iterator[Figure]:
    names, lengths = (READERS[:2], (4_000, 64_000)) if quick else (READERS, LENGTHS)
    multiples: dict[tuple[str, str], list[float]] = {}
    with server() as url, workers(names) as running:
        readers = list(product(COLOURS, running.items()))
        for colour, (_, worker) in readers:
            worker.read(url, lengths[0], 16, colour)  # warms up
        costs: dict[tuple[str, str], list[float]] = {
            (f"{colour}, {length:,} chunks", name): []
            for colour, length, name in product(COLOURS, lengths, running)
        }
        asked = {(colour, name): list(lengths) for colour, (name, _) in readers}
        for _ in range(3):
            for colour, (name, worker) in readers:
                took = {}
                for length in asked[colour, name]:
                    took[length] = worker.read(url, length, 16, colour).cpu
                    cell = f"{colour}, {length:,} chunks", name
                    costs[cell].append(took[length] / length * 1e6)
                    if took[length] * 4 > PATIENCE:
                        break
                asked[colour, name] = list(took)
                if 64_000 in took:
                    multiple = took[64_000] / took[4_000]
                    multiples.setdefault((colour, name), []).append(multiple)
    measured = {cell: each for cell, each in costs.items() if each}
    yield from compared(measured, "us of CPU a chunk", lambda _: "loop")
    for (colour, name), seen in multiples.items():
        case = f"{colour}, 64,000 chunks over 4,000"
        yield Figure(case, name, median(seen), "times the CPU", median(seen) / 16, "linear")
