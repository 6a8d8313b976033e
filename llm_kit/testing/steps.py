"""
The steps of a scripted answer, and how a tuple of them is changed.

Nothing here waits or touches a socket. A step that is put in leaves what follows where it was:
so the length that a cut answer has promised is still the whole one's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import attrs


def check(value: object, kinds: type | tuple[type, ...], expected: str) -> None:
    """Raise a TypeError that says what was expected, unless value is of one of these kinds."""
    if not isinstance(value, kinds):
        raise TypeError(f"expected {expected}, got {type(value).__name__}: {value!r}")


def non_negative(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    expected = f"{type(instance).__name__}({attribute.name}=...) in seconds, zero or more"
    check(value, (int, float), expected)
    if not cast(float, value) >= 0:
        raise ValueError(f"expected {expected}, got {value!r}")


@attrs.frozen
class Pause:
    """Write nothing for these seconds (to the millisecond), watching the peer."""

    seconds: float = attrs.field(validator=non_negative)


@attrs.frozen
class Stall:
    """Stay silent until the peer goes away or the server closes."""


COMMENT = b": keep-alive\n\n"


@attrs.frozen
class Comments:
    """Write an SSE comment each ``interval`` seconds, ``count`` times or for ever (None)."""

    interval: float = attrs.field(default=0.005, validator=non_negative)
    count: int | None = None


@attrs.frozen
class Cut:
    """Close the connection as if the answer were over: a FIN, and no terminating chunk."""


@attrs.frozen
class Reset:
    """Break the connection with a RST."""


Step = bytes | Pause | Stall | Comments | Cut | Reset
Steps = tuple[Step, ...]


def whole(number: int, name: str, least: int = 0) -> int:
    check(number, int, f"{name} as a whole number")
    if number < least:
        raise ValueError(f"expected {name} of at least {least}, got {number}")
    return number


def paced(pieces: Sequence[bytes], pause: Pause) -> Steps:
    if not pause.seconds:
        return tuple(pieces)
    steps: list[Step] = []
    for piece in pieces:
        steps += (pause, piece)
    return tuple(steps[1:])


def _place(steps: Steps, after: int) -> int:
    """Find the index right behind the piece number ``after``."""
    behind = [0, *(i for i, step in enumerate(steps, 1) if isinstance(step, bytes))]
    return behind[after] if after < len(behind) else len(steps)


def insert(steps: Steps, after: int, step: Step) -> Steps:
    place = _place(steps, after)
    return (*steps[:place], step, *steps[place:])


def conclude(steps: Steps, after: int, step: Step) -> Steps:
    return (*steps[: _place(steps, after)], step)


def split(steps: Steps, at: int, step: Step) -> Steps:
    for index, piece in enumerate(steps):
        if isinstance(piece, bytes):
            if at <= len(piece):
                return (*steps[:index], piece[:at], step, piece[at:], *steps[index + 1 :])
            at -= len(piece)
    return (*steps, step)


def body_length(steps: Steps) -> int:
    """Count what a whole body has; an endless flood never comes to the end of its 2 GiB."""
    floods = [step.count for step in steps if isinstance(step, Comments)]
    comments = sum(2**31 if count is None else count * len(COMMENT) for count in floods)
    return comments + sum(len(step) for step in steps if isinstance(step, bytes))
