"""
Gemini's function calls whose arguments come in pieces, as only Vertex AI sends them.

Source of the format: ``partialArgs`` and ``willContinue`` in Vertex AI's REST reference of
``FunctionCall``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from llm_kit.dialects.base import wrong_type
from llm_kit.dialects.fields import as_json, as_text
from llm_kit.errors import StreamProtocolError

# One step of a path (RFC 9535) to one value: .name, [0], ['name'] or ["name"].
_STEP = re.compile(
    r"""\.([^.*\[\]]+)|\[(\d{1,9})\]|\[(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)")\]"""
)


class StreamedCall:
    """
    One function call, whose arguments may come as values with their paths (Vertex AI).

    They are written as JSON text as they come: a model writes from left to right, so each
    value belongs behind the one before.
    """

    __slots__ = ("_given", "_id", "_in_string", "_name", "_path", "_seen", "index")

    def __init__(self, index: int, ident: str | None, name: str | None) -> None:
        self.index = index
        self._id = ident
        self._name = name
        self._given = False
        self._path: list[str | int] = []
        self._seen: set[tuple[str | int, ...]] = set()
        self._in_string = False

    def goes_on(self, ident: str | None, name: str | None) -> bool:
        """Tell whether a piece can be of this call: its id and name are mostly left out."""
        return (not ident or ident == self._id) and (not name or name == self._name)

    def arguments(self, args: Mapping[str, Any], pieces: Sequence[Mapping[str, Any]]) -> str:
        """Give the next fragment of the arguments' JSON text."""
        text = "".join(self._write(piece) for piece in pieces)
        if args and not self._given and not self._path:
            self._given = True
            text = as_json(args)
        return text

    def close(self) -> str:
        """Give the end of the arguments' JSON text; a call without arguments has none to send."""
        if self._given:
            return ""
        return (self._end_of_string() + _closing(self._path)) if self._path else "{}"

    def _write(self, piece: Mapping[str, Any]) -> str:
        path = _steps(piece.get("jsonPath"))
        text = "" if path == self._path and self._in_string else self._move(path)
        value = piece.get("stringValue")
        if value is not None or self._in_string or piece.get("willContinue"):
            text += "" if self._in_string else '"'
            text += as_json(as_text("partialArgs[].stringValue", value))[1:-1]
            self._in_string = True
            return text if piece.get("willContinue") else text + self._end_of_string()
        values = (piece.get(name) for name in ("numberValue", "boolValue"))
        return text + as_json(next((value for value in values if value is not None), None))

    def _end_of_string(self) -> str:
        text, self._in_string = '"' if self._in_string else "", False
        return text

    def _move(self, path: list[str | int]) -> str:
        """Give what stands between the last value and the one at this path."""
        old, shared = self._path, 0
        while shared < min(len(old), len(path)) and old[shared] == path[shared]:
            shared += 1
        if shared == len(path) or (old and shared == len(old)):
            raise _out_of_order(path)
        text = self._end_of_string() + _closing(old[shared + 1 :])
        for depth in range(shared, len(path)):
            step, here = path[depth], tuple(path[: depth + 1])
            before = old[depth] if old and depth == shared else None
            expected = before + 1 if isinstance(before, int) else 0
            if (
                here in self._seen
                or (before is not None and type(before) is not type(step))
                or (isinstance(step, int) and step != expected)
            ):
                raise _out_of_order(path)
            self._seen.add(here)
            opening = "{" if isinstance(step, str) else "["
            text += opening if before is None else ", "
            if isinstance(step, str):
                text += f"{as_json(step)}: "
        self._path = path
        return text


def _closing(steps: Sequence[str | int]) -> str:
    return "".join("}" if isinstance(step, str) else "]" for step in reversed(steps))


def _steps(path: Any) -> list[str | int]:
    """Take a path like ``$.foo.bar[0]`` apart."""
    if not isinstance(path, str):
        raise wrong_type("partialArgs[].jsonPath", path, "a string")
    steps: list[str | int] = []
    at = 1
    while at < len(path) and (step := _STEP.match(path, at)):
        name, index, *quoted = step.groups()
        if index is not None:
            steps.append(int(index))
        else:
            text: str = next((one for one in quoted if one is not None), name)
            steps.append(text if name else re.sub(r"\\(.)", r"\1", text))
        at = step.end()
    if not steps or not path.startswith("$") or at != len(path):
        raise StreamProtocolError(
            f"`partialArgs[].jsonPath` is {path!r:.100}, which is no path to one argument"
        )
    return steps


def _out_of_order(path: list[str | int]) -> StreamProtocolError:
    return StreamProtocolError(
        f"the streamed arguments of a function call come back to {path!r:.100}, behind which"
        " others have been written; ask without streamFunctionCallArguments"
    )
