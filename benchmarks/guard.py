"""
The promises that a change must not break unnoticed: ratios in one run, on any machine.

Each bound is twice what is promised, so that noise never fails a build and a regression of 2 x
does. Times are not looked at. What is beyond its bound is measured once more before it counts.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module

from attrs import frozen

from benchmarks.figures import Figure

LOOSE = 2.0


@frozen
class Promise:
    """
    A bound on figures of one benchmark.

    Attributes:
        benchmark: the module that measures.
        most: what the ratio may be at most; refused is what is beyond `LOOSE` times that.
        ratio: gives the ratio that a figure has to keep, None for a figure that is not meant.
        said: what the ratio is, behind a number.
    """

    benchmark: str
    most: float
    ratio: Callable[[Figure], float | None]
    said: str

    def broken(self, figures: Iterable[Figure]) -> Iterator[str]:
        """Say which figures are beyond the bound."""
        ratios = [(figure, self.ratio(figure)) for figure in figures]
        meant = [(figure, ratio) for figure, ratio in ratios if ratio is not None]
        if not meant:
            yield f"{self.benchmark} has measured nothing of: {self.said}"
        for figure, ratio in meant:
            verdict = "ok" if ratio <= self.most * LOOSE else "BEYOND"
            line = (
                f"{figure.case}: {ratio:.2f} {self.said}"
                f" (promised: {self.most:g}, refused from {self.most * LOOSE:g})"
            )
            print(f"{verdict:7}{line}", flush=True)
            if verdict != "ok":
                yield line


PROMISES = (
    Promise(
        "per_chunk",
        1.1,
        lambda figure: figure.ratio if figure.contender == "llm_kit" else None,
        "x the CPU of a hand-written loop for llm_kit's chunk",
    ),
    Promise(
        "wrappers",
        1.3,
        lambda figure: figure.ratio if figure.contender == "4 wrappers" else None,
        "x the CPU of one wrapper for four",
    ),
    Promise(
        "growth",
        17,
        lambda figure: (
            figure.value
            if figure.contender == "llm_kit" and figure.case.endswith("64,000 chunks over 4,000")
            else None
        ),
        "x the CPU of 4,000 chunks for 64,000",
    ),
    Promise(
        "tool_arguments",
        18,
        lambda figure: (
            figure.value
            if figure.contender == "llm_kit" and figure.case.endswith("256 KiB over 16 KiB")
            else None
        ),
        "x the CPU of 16 KiB of tool arguments for 256 KiB",
    ),
)


def check() -> int:
    """Measure what is promised; gives 1 if a promise is broken twice, else 0."""
    failures = [line for promise in PROMISES for line in broken_twice(promise)]
    for line in failures:
        print(f"too slow: {line}", file=sys.stderr)
    return 1 if failures else 0


def broken_twice(promise: Promise) -> list[str]:
    measure = import_module(f"benchmarks.{promise.benchmark}").measure
    if not list(promise.broken(measure(quick=True))):
        return []
    print("once more:")
    return list(promise.broken(measure(quick=True)))
