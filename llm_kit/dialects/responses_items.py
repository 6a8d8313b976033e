"""
The output items of a response, and which of them an event is about.

Source of the format: OpenAI's API reference, "Streaming events" of "Responses".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import define, field

from llm_kit.dialects.fields import NOTHING, as_word

# Items of any other type are tools that the server runs or arranges by itself: "hosted".
FAMILIES: dict[str | None, str] = {
    "message": "message",
    "reasoning": "reasoning",
    "function_call": "call",
    "custom_tool_call": "call",
}

# What an event's name means, without `.delta` or `.done`: the type of item, the slot of it, and
# the field of the `.done` event that has the whole.
_PIECES = {
    "response.output_text": ("message", "text", "text"),
    "response.refusal": ("message", "refusal", "refusal"),
    "response.reasoning_text": ("reasoning", "text", "text"),
    "response.reasoning": ("reasoning", "text", "text"),  # its first name
    "response.reasoning_summary_text": ("reasoning", "summary", "text"),
    "response.function_call_arguments": ("function_call", "arguments", "arguments"),
    "response.custom_tool_call_input": ("custom_tool_call", "arguments", "input"),
}
DELTAS = {f"{name}.delta": piece[:2] for name, piece in _PIECES.items()}
WHOLES = {f"{name}.done": piece for name, piece in _PIECES.items()}

# A part's type: the type of item it is in, its slot and its field.
PARTS: dict[str | None, tuple[str, str, str]] = {
    "output_text": ("message", "text", "text"),
    "refusal": ("message", "refusal", "refusal"),
    "reasoning_text": ("reasoning", "text", "text"),
    "summary_text": ("reasoning", "summary", "text"),
}


@define(eq=False)
class Item:
    """
    One output item, and what has been read of it.

    Attributes:
        number: its place among the items of its family.
        announced: the item as it was added; read in the end if nothing better came.
        said: the slots of which something was read, and each with its part's number.
        details: the place of each of its parts in ``reasoning_details``.
    """

    kind: str | None
    id: str | None
    number: int
    announced: Mapping[str, Any]
    said: set[str | tuple[str, int]] = field(factory=set)
    details: dict[tuple[str, int], int] = field(factory=dict)
    done: bool = False

    @property
    def family(self) -> str:
        """What it is for us: message, reasoning, call, or hosted."""
        return FAMILIES.get(self.kind, "hosted")


class Items:
    """All items of a response, by their families; in each in the order in which they came."""

    def __init__(self, quirks: set[str]) -> None:
        self._quirks = quirks
        self.of: dict[str, list[Item]] = {
            family: [] for family in ("message", "reasoning", "call", "hosted")
        }
        self._known: dict[tuple[str, int | str], Item] = {}

    def find(self, kind: str | None, payload: Mapping[str, Any], ident: str | None) -> Item | None:
        """
        Find the item that an event belongs to: its place tells.

        Not its id, which some servers draw anew for each event; but where that names another
        item of this stream, the place was used twice.
        """
        family, place = FAMILIES.get(kind, "hosted"), payload.get("output_index")
        found = self._known.get((family, place)) if type(place) is int else None
        if ident and (found is None or found.id != ident):
            return self._known.get((family, ident), found)
        return found

    def find_by_id(self, kind: str | None, ident: str | None) -> Item | None:
        """Find an item by its id alone."""
        return self._known.get((FAMILIES.get(kind, "hosted"), ident)) if ident else None

    def find_open(
        self, kind: str | None, payload: Mapping[str, Any], call_id: str | None = None
    ) -> Item | None:
        """
        Find the item that an event without a place must be about, if its id does not tell.

        It is the last one of its kind that is not finished, or the call that has this id.
        """
        if type(payload.get("output_index")) is int:
            return None
        for item in reversed(self.of[FAMILIES.get(kind, "hosted")]):
            named = item.announced.get("call_id")
            fits = named == call_id if named and call_id else not item.done
            if item.kind == kind and fits:
                self._quirks.add("item_unnamed")
                return item
        return None

    def of_event(self, kind: str, payload: Mapping[str, Any]) -> Item:
        """Give the item that an event is about, even if it was never announced."""
        ident = as_word(payload.get("item_id"))
        known = self.find(kind, payload, ident) or self.find_open(kind, payload)
        return known or self.add(kind, payload, ident, NOTHING)

    def add(
        self,
        kind: str | None,
        payload: Mapping[str, Any],
        ident: str | None,
        announced: Mapping[str, Any],
    ) -> Item:
        """Take a new item."""
        family = FAMILIES.get(kind, "hosted")
        item = Item(kind, ident, len(self.of[family]), announced)
        self.of[family].append(item)
        place = payload.get("output_index")
        if type(place) is int:
            self._known[family, place] = item
        if ident:
            self._known[family, ident] = item
        return item

    def told_before(
        self, kind: str | None, payload: Mapping[str, Any], ident: str | None
    ) -> Item | None:
        """Give the item that is announced here for a second time, None if it is a new one."""
        family, place = FAMILIES.get(kind, "hosted"), payload.get("output_index")
        known = self._known.get((family, place if type(place) is int else ident or ""))
        if known is not None and known.id == ident and (ident or not known.done):
            return known
        return None
