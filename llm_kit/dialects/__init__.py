"""The ways in which servers speak: one file a family, its request side and its stream side."""

from __future__ import annotations

from llm_kit.dialects.base import Dialect
from llm_kit.dialects.openai import OpenAIDialect

DIALECTS: dict[str, type[Dialect]] = {"openai": OpenAIDialect}


def find_dialect(name: str) -> type[Dialect]:
    """
    Look a dialect up by its public name.

    Raises:
        ValueError: no dialect has that name; the message lists those that exist.
    """
    try:
        return DIALECTS[name]
    except KeyError:
        known = ", ".join(repr(known) for known in DIALECTS)
        raise ValueError(f"unknown dialect {name!r}; this version speaks {known}") from None
