"""
Merging of fields that nobody knew beforehand: ``extra`` and ``logprobs``.

Strings are joined, objects merged, lists extended; list items that carry an ``index`` are
merged by it. Of anything else the last value that is not null wins.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llm_kit._core.text import Text

# Strings that name a thing rather than continue it: joined they would read "texttext".
_LABELS = frozenset({"id", "type", "format", "role", "name"})

# Lists of what an answer rests on: each of their items is whole, and twice the same is one source.
_SOURCES = frozenset({"annotations", "citations", "search_results"})


class _Items:
    __slots__ = ("by_index", "items")

    def __init__(self) -> None:
        self.items: list[Any] = []
        self.by_index: dict[Any, int] = {}


def fold(node: Any, new: Any) -> Any:
    """
    Merge the next value into what earlier calls returned (None before the first).

    What is returned is the folder's own, changed in place by the next call, so that a long
    stream costs no more than its length; `unfold` gives the plain value.

        >>> node = fold(fold(None, {"a": "x"}), {"a": "y", "b": [1]})
        >>> unfold(node)
        {'a': 'xy', 'b': [1]}
    """
    if isinstance(new, str):
        text = node if isinstance(node, Text) else Text()
        text.append(new)
        return text
    if isinstance(new, Mapping):
        fields: dict[str, Any] = node if isinstance(node, dict) else {}
        for name, value in new.items():
            fields[name] = value if name in _LABELS else fold(fields.get(name), value)
        return fields
    if isinstance(new, list):
        items = node if isinstance(node, _Items) else _Items()
        for item in new:
            _fold_item(items, item)
        return items
    return node if new is None else new


def _fold_item(items: _Items, item: Any) -> None:
    index = _index(item)
    place = None if index is None else items.by_index.get(index)
    if place is not None:
        items.items[place] = fold(items.items[place], item)
        return
    if index is not None:
        items.by_index[index] = len(items.items)
    items.items.append(fold(None, item))


def unfold(node: Any) -> Any:
    """Give the plain value of what has been folded, free to keep and to change."""
    if isinstance(node, Text):
        return node.value
    if isinstance(node, dict):
        return {name: unfold(value) for name, value in list(node.items())}
    if isinstance(node, _Items):
        return [unfold(item) for item in node.items]
    return node


def behind(before: Any, new: Any, name: str = "") -> Any:
    """
    Give a value of a later attempt so that `fold` fuses no item of it with an earlier one's.

    Each attempt numbers its items from 0: they are numbered on. A source that was named before
    is left out.

        >>> behind({"a": [{"index": 0}]}, {"a": [{"index": 0}]})
        {'a': [{'index': 1}]}

    Args:
        before: the plain value that the earlier attempts have added up to.
        new: the later attempt's; it is left as it is.
        name: under which name it stands.
    """
    if isinstance(before, Mapping) and isinstance(new, Mapping):
        return {each: behind(before.get(each), value, each) for each, value in new.items()}
    if not isinstance(before, list) or not isinstance(new, list):
        return new
    start = max((index + 1 for item in before if (index := _index(item)) is not None), default=0)
    return [
        item if (index := _index(item)) is None else {**item, "index": start + index}
        for item in new
        if name not in _SOURCES or item not in before
    ]


def _index(item: Any) -> int | None:
    index = item.get("index") if isinstance(item, Mapping) else None
    return index if type(index) is int else None
