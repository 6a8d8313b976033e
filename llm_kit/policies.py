"""What a user may set: values that are refused, with the field's name, when they make no sense."""

from __future__ import annotations

from typing import Any

from attrs import Attribute, field, frozen

MIB = 2**20


def _positive_or_none(instance: object, attribute: Attribute[Any], value: object) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value <= 0):
        raise ValueError(
            f"{type(instance).__name__}.{attribute.name} must be a positive number of bytes,"
            f" or None for no limit; got {value!r}"
        )


@frozen
class Limits:
    """
    How much one answer may send, in bytes; past it the stream ends with a StreamProtocolError.

        >>> Limits(event=1 * MIB).response == 256 * MIB
        True

    Attributes:
        event: one event. The largest real one known is an image in base64, some MB.
        response: the whole answer, after any decompression.
    """

    event: int | None = field(default=16 * MIB, validator=_positive_or_none)
    response: int | None = field(default=256 * MIB, validator=_positive_or_none)
