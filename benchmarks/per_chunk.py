"""
What one chunk costs: CPU of the reader's process, against the loop that people write by hand.

Microseconds of CPU for a whole answer, from the call to the whole text, divided by its chunks;
waiting is free. Every contender shows each piece of text and ends with the whole one, as
`benchmarks.contenders` says; llm_kit is `chat_stream` under a `StreamInterrupter`. The server sends
330-byte events of OpenAI's as fast as it can, one or sixteen of them in an HTTP chunk and a
write. anthropic reads as many of Anthropic's own events, which are a third as long, and is compared
with the same loop. What a peer leaves to its threads for after the answer is not counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from benchmarks.contenders import COLOURS, CONTENDERS, QUICK, Colour, Worker, workers
from benchmarks.figures import Figure, compared, interleaved
from benchmarks.server import server

PER_WRITE = (1, 16)
READERS = [name for name in CONTENDERS if name != "socket"]


def measure(quick: bool) -> Iterator[Figure]:
    events, rounds = (4_000, 5) if quick else (10_000, 7)
    with server() as url, workers(QUICK if quick else READERS) as running:

        def microseconds(worker: Worker, per_write: int, colour: Colour) -> float:
            return worker.read(url, events, per_write, colour).cpu / events * 1e6

        cells = {
            (f"{colour}, {per_write} a write", name): partial(
                microseconds, worker, per_write, colour
            )
            for colour in COLOURS
            for per_write in PER_WRITE
            for name, worker in running.items()
        }
        took = interleaved(cells, rounds)
    yield from compared(took, "us of CPU a chunk", lambda _: "loop")
