"""
How soon the first text is there: wall time on a warm connection, over what a raw socket takes.

Milliseconds from the call to the first piece of text that is not empty, on a connection that an
earlier answer has left open. (A peer that closes it behind each answer pays for a new one, as its
users do: openai's sync stream, and what is built on it.) From each the raw socket's time in the
same round is taken off, which is the kernel's and the server's; the socket's own row has all of
it. The ratio is that of the whole times.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from statistics import median

from attrs import evolve

from benchmarks.contenders import COLOURS, CONTENDERS, QUICK, Colour, Worker, workers
from benchmarks.figures import Figure, compared, interleaved
from benchmarks.server import server


def measure(quick: bool) -> Iterator[Figure]:
    rounds = 30 if quick else 200
    with server() as url, workers(("socket", *QUICK) if quick else CONTENDERS) as running:

        def milliseconds(worker: Worker, colour: Colour) -> float:
            return worker.read(url, 16, 1, colour, first=True).first * 1e3

        cells = {
            (colour, name): partial(milliseconds, worker, colour)
            for colour in COLOURS
            for name, worker in running.items()
        }
        took = interleaved(cells, rounds)
    for figure in compared(took, "ms over a raw socket", lambda _: "loop"):
        if figure.contender == "socket":
            yield evolve(figure, unit="ms")
            continue
        pairs = zip(took[figure.case, figure.contender], took[figure.case, "socket"], strict=True)
        yield evolve(figure, value=median(one - floor for one, floor in pairs))
