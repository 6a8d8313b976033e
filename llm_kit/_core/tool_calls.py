"""
Pieces of tool calls -> calls: which piece belongs to which call, and the calls so far.

OpenAI's API numbers the calls of an answer and gives each an id and a name in its first piece.
Its imitators leave each of these out, repeat it, or use it for several calls. Where index and id
don't tell, the arguments do: a call whose JSON is complete has nothing more to come, so a ``{``
behind it begins another's. If it does not say whose, what follows tells: it is kept apart, and
a name or an id makes it a call. What was odd is named: see `ToolCalls.quirks`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from llm_kit._core.text import Text
from llm_kit.partial_json import PartialJSON
from llm_kit.types import FunctionCall, ToolCall, ToolCallDelta

_decode = json.JSONDecoder().raw_decode


class _Parsed:
    """A growing text as JSON: parsed when somebody asks, and each character once."""

    __slots__ = ("_json", "_position", "_text")

    def __init__(self, text: Text) -> None:
        self._text = text
        self._json = PartialJSON()
        self._position = 0

    def so_far(self) -> PartialJSON:
        pieces = self._text.since(self._position)
        if pieces:
            self._position += len(pieces)
            self._json.feed("".join(pieces))
        return self._json


class _Call:
    __slots__ = (
        "_judged",
        "_read",
        "announced",
        "behind",
        "extra",
        "id",
        "index",
        "name",
        "rest",
        "snapshot",
        "text",
    )

    def __init__(self, behind: _Call | None = None) -> None:
        self.behind = behind
        """The call that this may be no more than the rest of: see `is_own`."""
        self.rest: _Call | None = None
        """What came behind the end of this, and may be another call."""
        self.index: int | None = None
        self.id: str | None = None
        self.name = ""
        self.text = Text()
        self.extra: dict[str, Any] = {}
        self.announced: ToolCallDelta | None = None
        """The name once more, without arguments; a ``{`` next makes it another call's."""
        # Two, as each is for one thread: the one that feeds judges, the other may be a reader's.
        self._judged = _Parsed(self.text)
        self._read = _Parsed(self.text)
        self.snapshot: str | None = ""
        """The last piece, for as long as each begins with all of the one before it."""

    def add(self, delta: ToolCallDelta) -> None:
        # Later pieces restate the id and the name, as they were, empty or null: the first
        # that says something counts. Nothing is joined but the arguments.
        if not self.id and delta.id is not None:
            self.id = delta.id
        if delta.name and (not self.name or self.may_be_named(delta.name)):
            self.name = delta.name
        if piece := delta.arguments:
            if self.snapshot is not None:
                self.snapshot = piece if piece.startswith(self.snapshot) else None
            self.text.append(piece)
        if delta.extra:
            self.extra.update(delta.extra)

    def may_be_named(self, name: str) -> bool:
        """Tell a name that is still growing (``get_``, ``get_weather``) from another's."""
        return name == self.name or (name.startswith(self.name) and not self.text)

    @property
    def is_complete(self) -> bool:
        """Whether the arguments are one whole JSON value."""
        return self._judged.so_far().complete

    @property
    def goes_on(self) -> bool:
        """Whether one look at the end of the arguments shows that it can't be the end of JSON."""
        return "".join(self.text.since(-2)).rstrip().endswith((":", ",", "[", "{"))

    @property
    def is_open(self) -> bool:
        """Whether the arguments have begun, and are JSON that goes on."""
        judged = self._judged.so_far()
        return bool(self.text) and not judged.complete and judged.error is None

    def is_restated_by(self, delta: ToolCallDelta) -> bool:
        """Tell all of the arguments said once more, as in a last chunk, from an equal call's."""
        last = self.text.since(-1)
        if not (last and delta.arguments.endswith(last[0]) and _begins_object(delta.arguments)):
            return False  # as it costs little to see
        if not self.is_complete or delta.arguments != self.text.value:
            return False
        if not delta.name or not self.name:
            return True
        if delta.name != self.name:
            return False
        if delta.id and self.id:
            return delta.id == self.id
        # Calls without ids may be equal; but one in fragments and then one whole seldom are.
        return delta.index is not None and len(self.text.since(0)) > 1

    @property
    def is_cumulative(self) -> bool:
        """Whether each piece said all so far, by the strictest evidence: joined it is no JSON."""
        last, joined = self.snapshot, self.text.value
        return bool(last and last != joined and _behind(last) == "" and _behind(joined) != "")

    @property
    def is_own(self) -> bool:
        """Whether this is a call, and not only what came behind the end of another."""
        before = self.behind
        if before is None:
            return True
        if not self.name:
            return bool(self.id and self.id != before.id and self.text)
        same = self.id and (self.id, self.name) == (before.id, before.name)
        return not (same and before.is_empty)

    @property
    def is_empty(self) -> bool:
        """Whether the arguments are an object with nothing in it: a call's, or a placeholder."""
        return self.text.value.strip() == "{}"

    @property
    def tail(self) -> _Call | None:
        """What came behind the end of this, and is no call."""
        return None if self.rest is None or self.rest.is_own else self.rest

    @property
    def meant(self) -> _Call:
        """What has the arguments: this, or what came behind a placeholder for them."""
        tail = self.tail
        return tail if tail and tail.text and self.is_empty else self

    @property
    def arguments(self) -> str:
        meant, tail = self.meant, self.tail
        text = meant.snapshot if meant.snapshot and meant.is_cumulative else meant.text.value
        return text if tail is None or tail is meant else text + tail.text.value

    def partial_arguments(self) -> Any:
        meant = self if self.rest is None else self.meant
        return meant._read.so_far().value

    def as_dict(self) -> ToolCall:
        call = ToolCall(
            id=self.id,
            type="function",
            function=FunctionCall(name=self.name, arguments=self.arguments),
        )
        tail = self.tail
        fields: Mapping[str, Any] = {**self.extra, **tail.extra} if tail else self.extra
        call.update(fields)  # type: ignore[typeddict-item]  # a provider's own fields
        return call


class ToolCalls:
    """The calls of one choice, in the order in which they appeared."""

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._by_index: dict[int, _Call] = {}
        self._by_id: dict[str, _Call] = {}
        self._last: _Call | None = None
        self._quirks: set[str] = set()
        self._unclear = False
        """Whether any may be no more than the rest of another."""

    def __bool__(self) -> bool:
        return bool(self._calls)

    def add(self, delta: ToolCallDelta) -> None:
        """Take a piece, and find the call that it belongs to."""
        index, ident, arguments = delta.index, delta.id, delta.arguments
        call = self._last if index is None else self._by_index.get(index)
        # The hot path: more of a known call, and nothing in it could say otherwise.
        if (
            call is not None
            and not delta.name
            and (not ident or ident == call.id)
            and call.snapshot is None
            and call.announced is None
            and delta.extra is None
            and (
                "{" not in arguments
                or (index is not None and (not _begins_object(arguments) or call.goes_on))
            )
        ):
            if index is None:
                self._quirks.add("tool_index_missing")
            self._last = call
            if arguments:
                call.text.append(arguments)
        elif ident or delta.name or arguments or delta.extra:
            self._add_by_evidence(delta)

    def _add_by_evidence(self, delta: ToolCallDelta) -> None:
        index, ident = delta.index, delta.id
        last = self._last
        place = last if index is None else self._by_index.get(index)
        if place is None and last is not None and last.index is None:
            place = last  # only its first pieces had no index
        known = None
        if ident:
            # Asked for first, because the id may have come at another index since.
            known = place if place and place.id == ident else self._by_id.get(ident)
        call = known or place
        if call is None:
            call = self._begin()
        else:
            if index is None:
                self._quirks.add("tool_index_missing")
            if call.is_restated_by(delta):
                self._quirks.add("tool_arguments_restated")
                delta = ToolCallDelta(index, ident, delta.name, "", delta.extra)
            elif _begins_another(delta, call, known=known is not None, placed=place is not None):
                if index in self._by_index:
                    self._quirks.add("tool_index_reused")
                if known is not None:
                    self._quirks.add("tool_id_reused")
                announced, call.announced = call.announced, None
                call = self._begin()
                if announced is not None:
                    call.add(announced)
            elif _may_begin_another(delta, call, known=known is not None):
                self._unclear = True
                call.rest = self._begin(behind=call)
                if call.id:
                    self._by_id[call.id] = call.rest  # whichever it is, more comes behind it
                call = call.rest
            else:
                self._note_changes(delta, call)
        if index is not None:
            call.index = index
            self._by_index[index] = call
        if ident:
            self._by_id[ident] = call
        self._last = call
        call.add(delta)

    def _begin(self, behind: _Call | None = None) -> _Call:
        call = _Call(behind)
        self._calls.append(call)
        return call

    def _note_changes(self, delta: ToolCallDelta, call: _Call) -> None:
        """Name what a piece says again, or otherwise than its call's earlier pieces."""
        if delta.index is not None and call.index not in (None, delta.index):
            self._quirks.add("tool_index_changed")
        if delta.id and call.id and delta.id != call.id:
            self._quirks.add("tool_id_changed")
        if delta.name and call.name:
            same = delta.name == call.name
            self._quirks.add("tool_name_repeated" if same else "tool_name_changed")
            if same and not delta.arguments and call.text and delta.id in (None, "", call.id):
                call.announced = delta
        if delta.arguments:
            call.announced = None

    def quirks(self, *, finished: bool) -> set[str]:
        """
        Name the oddities of these calls, ``tool_`` first.

        Args:
            finished: whether the stream has said that they are over, so that it is known what
                is missing and what is too much.
        """
        quirks = self._quirks.copy()
        if not finished:
            return quirks
        for call in self._own():
            if not call.id:
                quirks.add("tool_id_missing")
            if not call.name:
                quirks.add("tool_name_missing")
            if call.meant is not call:
                quirks.add("tool_arguments_placeholder")
            if call.meant.is_cumulative:
                quirks.add("tool_arguments_cumulative")
            elif _behind(call.arguments):
                quirks.add("tool_arguments_overflow")
            before, tail = call.behind, call.tail
            if before and call.index is not None and call.index == before.index:
                quirks.add("tool_index_reused")
            if before and call.id and call.id == before.id:
                quirks.add("tool_id_reused")
            if tail and tail.id and tail.id != call.id:
                quirks.add("tool_id_changed")
        return quirks

    def partial_arguments(self, position: int) -> Any:
        """Give the best value so far of the n-th call's arguments, None if there is none yet."""
        calls = self._own() if self._unclear else self._calls
        return calls[position].partial_arguments() if 0 <= position < len(calls) else None

    def as_list(self) -> list[ToolCall]:
        """Give the calls so far in the form of OpenAI's API."""
        return [call.as_dict() for call in self._own()]

    def _own(self) -> list[_Call]:
        return [call for call in self._calls if call.is_own]


def _begins_another(delta: ToolCallDelta, call: _Call, *, known: bool, placed: bool) -> bool:
    """
    Judge whether a piece begins another call than the one that its id or its place gives.

    Args:
        known: whether the call has the piece's id.
        placed: whether the call stands at the piece's index, or is the last one if it has none.
    """
    name, opens = delta.name, _begins_object(delta.arguments)
    renamed = bool(name and call.name and not call.may_be_named(name))
    if not placed or (delta.id and call.id and not known):  # an index or an id not seen before
        if renamed:
            return True
        if delta.arguments.strip() and not opens and call.is_open:
            return False  # it goes on in the middle
        if name:
            return True
        return opens and call.is_complete if delta.index is not None else not call.is_open
    last_at_most = delta.index is None and not known  # nothing but the order tells
    if renamed:
        return last_at_most or call.is_complete
    if last_at_most and name and call.name:
        return call.is_complete
    if not opens or not call.is_complete:
        return False
    return bool(name or call.announced or (last_at_most and not call.is_empty))


def _may_begin_another(delta: ToolCallDelta, call: _Call, *, known: bool) -> bool:
    """
    Judge whether a piece, behind the end of its call's arguments, leaves open whose it is.

    It has no name, and begins an object (more of the same? all of it, behind a placeholder?
    another call whose name comes late?) or has nothing but an id that was never seen before.
    """
    if delta.name or call.rest is not None:
        return False
    if delta.arguments.strip():
        unclear = _begins_object(delta.arguments)
    else:
        unclear = bool(delta.id and call.id and not known)
    return unclear and call.is_complete and call.is_own


def _begins_object(arguments: str) -> bool:
    return arguments.lstrip().startswith("{")


def _behind(arguments: str) -> str | None:
    """Give what stands behind the JSON object that this begins with; None: it has no end."""
    text = arguments.strip()
    try:
        return text[_decode(text)[1] :] if _begins_object(text) else None
    except (ValueError, RecursionError):
        return None
