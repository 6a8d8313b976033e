"""What a benchmark gives: figures, each with its ratio to the reference of the same run."""

from __future__ import annotations

import gc
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from itertools import groupby
from statistics import median

from attrs import asdict, frozen


@frozen
class Figure:
    """
    One number of one contender.

    Attributes:
        case: what was done, as "sync, 16 events a write".
        contender: who did it.
        value: how much of the unit it took.
        unit: as "us of CPU a chunk".
        ratio: to the reference of the same case in the same run; None for a figure that has none.
        reference: what the ratio compares with.
    """

    case: str
    contender: str
    value: float
    unit: str
    ratio: float | None = None
    reference: str = ""


def interleaved(
    cells: Mapping[tuple[str, str], Callable[[], float]], rounds: int
) -> dict[tuple[str, str], list[float]]:
    """
    Take every cell once a round, so that what disturbs one disturbs all; the first round warms up.

    Args:
        cells: for each (case, contender) what measures it.
        rounds: how many count.
    """
    took: dict[tuple[str, str], list[float]] = {cell: [] for cell in cells}
    for turn in range(rounds + 1):
        for cell, measured in cells.items():
            gc.collect()
            value = measured()
            if turn:
                took[cell].append(value)
    return took


def compared(
    rounds: Mapping[tuple[str, str], list[float]], unit: str, reference: Callable[[str], str]
) -> Iterator[Figure]:
    """
    Give the medians of interleaved rounds, and the medians of their ratios round by round.

    Args:
        rounds: what each (case, contender) took, in the order of the rounds.
        unit: of those numbers.
        reference: names the contender that a case's others are compared with.
    """
    for (case, contender), took in rounds.items():
        base = reference(case)
        ratios = [one / other for one, other in zip(took, rounds[case, base], strict=True)]
        yield Figure(case, contender, median(took), unit, median(ratios), base)


def as_rows(figures: Iterable[Figure]) -> list[dict[str, Hashable]]:
    """Give figures as JSON takes them."""
    return [asdict(figure) for figure in figures]


def as_lines(figures: Iterable[Figure], *, markdown: bool = False) -> Iterator[str]:
    """Give figures as the lines of a table; a case is named once."""
    rows = [("case", "contender", "value", "unit", "ratio")]
    for case, group in groupby(figures, key=lambda figure: figure.case):
        for place, figure in enumerate(group):
            ratio = "" if figure.ratio is None else f"{figure.ratio:.2f} x {figure.reference}"
            shown = case if markdown or not place else ""
            rows.append((shown, figure.contender, _number(figure.value), figure.unit, ratio))
    if markdown:
        rows.insert(1, ("---", "---", "---:", "---", "---"))
        yield from (f"| {' | '.join(row)} |" for row in rows)
        return
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for case, contender, value, unit, ratio in rows:
        left = f"{case:{widths[0]}}  {contender:{widths[1]}}  {value:>{widths[2]}}"
        yield f"{left}  {unit:{widths[3]}}  {ratio}".rstrip()


def _number(value: float) -> str:
    """Three digits that say something: 0.0123, 1.23, 12.0, 12,345; a count is a count."""
    return f"{value:,.0f}" if abs(value) >= 100 or isinstance(value, int) else f"{value:#.3g}"
