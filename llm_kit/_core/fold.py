"""
Merging of fields that nobody knew beforehand: ``extra`` and ``logprobs``.

Strings are joined, objects merged, lists extended; list items that carry an ``index`` are
merged by it. Of anything else the last value that is not null wins.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Strings that name a thing rather than continue it: joined they would read "texttext".
_LABELS = frozenset({"id", "type", "format", "role", "name"})


class _Text:
    __slots__ = ("pieces",)

    def __init__(self, text: str) -> None:
        self.pieces = [text]


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
        if isinstance(node, _Text):
            node.pieces.append(new)
            return node
        return _Text(new)
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
    index = item.get("index") if isinstance(item, Mapping) else None
    place = items.by_index.get(index) if type(index) is int else None
    if place is not None:
        items.items[place] = fold(items.items[place], item)
        return
    if type(index) is int:
        items.by_index[index] = len(items.items)
    items.items.append(fold(None, item))


def unfold(node: Any) -> Any:
    """Give the plain value of what has been folded, free to keep and to change."""
    if isinstance(node, _Text):
        node.pieces[:] = ["".join(node.pieces)]
        return node.pieces[0]
    if isinstance(node, dict):
        return {name: unfold(value) for name, value in node.items()}
    if isinstance(node, _Items):
        return [unfold(item) for item in node.items]
    return node
