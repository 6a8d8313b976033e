"""
Reading the fields of strangers' objects: typed, or a clear error.

What carries the answer must have its type: anything else is a `StreamProtocolError`, and null is
nothing. What only names, dates or counts something is absent where it has another type.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Set
from datetime import datetime
from typing import Any, Final

from llm_kit.dialects.base import FINISH_REASONS, wrong_type
from llm_kit.types import Chunk

NOTHING: Final[Mapping[str, Any]] = {}

# What must have its type.


def as_text(where: str, value: Any) -> str:
    """Give a text; null is none."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    raise wrong_type(where, value, "a string")


def as_label(where: str, value: Any) -> str | None:
    """Give an id or a name of a tool call, None for null."""
    return None if value is None else as_text(where, value)


def as_object(where: str, value: Any) -> Mapping[str, Any]:
    """Give an object; null is no object."""
    # A dict first: asking an abstract class takes its time.
    if type(value) is not dict and not isinstance(value, Mapping):
        raise wrong_type(where, value, "an object")
    return value


def as_objects(where: str, value: Any) -> list[Mapping[str, Any]]:
    """Give a list of objects; null is an empty one, as is what else is empty."""
    if not value:
        return []
    if not isinstance(value, list):
        raise wrong_type(where, value, "a list")
    for place, item in enumerate(value):
        if type(item) is not dict:  # the name is put together only where it may be needed
            as_object(f"{where}[{place}]", item)
    return value


def as_arguments(where: str, value: Any) -> str:
    """Give a tool call's arguments as JSON text: some servers give the object, not its text."""
    if isinstance(value, str):
        return value
    return as_json(value) if isinstance(value, Mapping) else as_text(where, value)


def as_finish_reason(where: str, value: Any) -> str | None:
    """Give an ending in the field's words; one that has none there as it is, "null" as none."""
    if not isinstance(value, str):
        raise wrong_type(where, value, "a string")
    if value == "null":  # the word instead of the value, as DashScope writes it
        return None
    return FINISH_REASONS.get(value, value)


# What may be absent.


def as_word(value: Any) -> str | None:
    """Give a word that names something; an empty one names nothing."""
    return value if isinstance(value, str) and value else None


def as_whole(value: Any) -> int | None:
    """Give a whole number, also one that some servers and SDKs write as 12.0."""
    if type(value) is int:
        return value
    return int(value) if type(value) is float and value.is_integer() else None


def count_in(fields: Any, name: str) -> int | None:
    """Give the number that stands under a name, if these are fields and it is one."""
    return as_whole(fields.get(name)) if isinstance(fields, Mapping) else None


def as_seconds(moment: Any) -> int | None:
    """Give a moment (ISO 8601, a datetime, or what it becomes) in seconds since the epoch."""
    if type(moment) is int:
        return moment
    try:
        when = moment if isinstance(moment, datetime) else datetime.fromisoformat(moment)
        # Without its zone it could be any of a day's hours.
        return int(when.timestamp()) if when.tzinfo else None
    except (TypeError, ValueError, OverflowError):  # also a year that no clock knows
        return None


def rest_of(fields: Mapping[str, Any], known: Set[str]) -> dict[str, Any]:
    """Give the fields that are not known and say something: false and 0 do."""
    return {
        name: value
        for name, value in fields.items()
        if name not in known and value is not None and value not in ("", [], {})
    }


# What they go into.


def as_json(value: Any) -> str:
    """Give a value as JSON text, in the letters that it is written in."""
    return json.dumps(value, ensure_ascii=False)


def says_something(chunk: Chunk) -> bool:
    """Tell whether anything is in a chunk beside its labels."""
    return (
        chunk.delta != ""
        or chunk.tool_calls != ()
        or chunk.reasoning != ""
        or chunk.refusal != ""
        or chunk.role is not None
        or chunk.finish_reason is not None
        or chunk.usage is not None
        or chunk.logprobs is not None
        or bool(chunk.extra)
    )


def add_extra(chunk: Chunk, fields: Mapping[str, Any]) -> None:
    """Put fields into a chunk's extra, beside those that are there."""
    if fields:
        chunk.extra = {**(chunk.extra or NOTHING), **fields}


def append_extra(chunk: Chunk, name: str, item: Mapping[str, Any]) -> None:
    """Put an item into one of the lists in a chunk's extra."""
    add_extra(chunk, {name: [*(chunk.extra or NOTHING).get(name, ()), item]})


def nested_annotation(annotation: Mapping[str, Any]) -> dict[str, Any]:
    """Give an annotation in the form of Chat Completions: what it says under its type's name."""
    # As sent, a file's has an `index` of its own, by which those of one place would be merged.
    kind = as_word(annotation.get("type")) or "annotation"
    return {"type": kind, kind: {key: annotation[key] for key in annotation if key != "type"}}
