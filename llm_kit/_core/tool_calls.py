"""Pieces of tool calls -> calls: which piece belongs to which call, and the calls so far."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llm_kit._core.text import Text
from llm_kit.partial_json import PartialJSON
from llm_kit.types import FunctionCall, ToolCall, ToolCallDelta


class _Call:
    __slots__ = ("_parsed", "_parser", "arguments", "extra", "id", "name")

    def __init__(self) -> None:
        self.id: str | None = None
        self.name = ""
        self.arguments = Text()
        self.extra: dict[str, Any] = {}
        self._parser: PartialJSON | None = None
        self._parsed = 0

    def add(self, delta: ToolCallDelta) -> None:
        # Later pieces restate the id and the name, as they were, empty or null: the first
        # that says something counts.
        if not self.id and delta.id is not None:
            self.id = delta.id
        if not self.name and delta.name:
            self.name = delta.name
        if delta.arguments:
            self.arguments.append(delta.arguments)
        if delta.extra:
            self.extra.update(delta.extra)

    def partial_arguments(self) -> Any:
        """Parse what has come since the last time, and give the value so far."""
        if self._parser is None:
            self._parser = PartialJSON()
        for piece in self.arguments.since(self._parsed):
            self._parser.feed(piece)
            self._parsed += 1
        return self._parser.value

    def as_dict(self) -> ToolCall:
        call = ToolCall(
            id=self.id,
            type="function",
            function=FunctionCall(name=self.name, arguments=self.arguments.value),
        )
        fields: Mapping[str, Any] = self.extra
        call.update(fields)  # type: ignore[typeddict-item]  # a provider's own fields
        return call


class ToolCalls:
    """The calls of one choice, in the order in which they appeared."""

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._by_index: dict[int, _Call] = {}

    def add(self, delta: ToolCallDelta) -> None:
        """Take a piece, and find the call that it belongs to."""
        self._find(delta).add(delta)

    def _find(self, delta: ToolCallDelta) -> _Call:
        if delta.index is not None:
            call = self._by_index.get(delta.index)
            # Some servers give every call index 0: a new id with a name begins another call.
            if call is None or (delta.id and call.id and delta.id != call.id and delta.name):
                call = self._by_index[delta.index] = self._begin()
            return call
        if delta.id:
            for call in self._calls:
                if call.id == delta.id:
                    return call
            return self._begin()
        # No index and no id: more of the last call, unless it names a function once more.
        if not self._calls or (delta.name and self._calls[-1].arguments):
            return self._begin()
        return self._calls[-1]

    def _begin(self) -> _Call:
        call = _Call()
        self._calls.append(call)
        return call

    def partial_arguments(self, position: int) -> Any:
        """Give the best value so far of the n-th call's arguments, None if there is none yet."""
        return self._calls[position].partial_arguments() if position < len(self._calls) else None

    def as_list(self) -> list[ToolCall]:
        """Give the calls so far in the form of OpenAI's API."""
        return [call.as_dict() for call in self._calls]
