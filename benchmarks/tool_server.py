"""
Tool calls whose arguments come four characters a delta: as values, and from a server.

What the server says is told in the URL, ``http://127.0.0.1:PORT/SHAPE/KIB``.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from benchmarks.server import (
    ANTHROPIC_BEGIN,
    ANTHROPIC_END,
    OPENAI,
    Answer,
    as_anthropic,
    framed,
    serve,
)

NAME = "final_result"  # what pydantic-ai calls the tool that takes an answer's data
FRAGMENT = 4  # characters: about a token
PER_WRITE = 16  # events; what HTTP costs is none of this subject
LINE = '    return self.partial(index, "naïve")  # reads what has come so far\n'


def code(size: int) -> dict[str, Any]:
    """A file that is written: one long string."""
    text = LINE * (size // len(json.dumps(LINE, ensure_ascii=False)) + 1)
    return {"path": "llm_kit/processor.py", "content": text}


def row(n: int) -> dict[str, Any]:
    return {
        "id": n,
        "name": f"Zoë {n}",
        "price": n * 1.25,
        "tags": ["new", "red"],
        "sold": n % 2 == 0,
    }


def records(size: int) -> dict[str, Any]:
    """A list of small objects."""
    usual = len(json.dumps(row(1_111), ensure_ascii=False)) + len(", ")
    return {"rows": [row(n) for n in range(size // usual + 1)]}


SHAPES = {"code": code, "records": records}


def value(shape: str, kib: int) -> dict[str, Any]:
    """Give arguments of about this size."""
    return SHAPES[shape](kib * 1024)


def fragments(shape: str, kib: int) -> list[str]:
    """Give their JSON text as it is streamed."""
    text = json.dumps(value(shape, kib), ensure_ascii=False)
    return [text[at : at + FRAGMENT] for at in range(0, len(text), FRAGMENT)]


def openai_events(shape: str, kib: int) -> list[str]:
    begin = {"index": 0, "id": "call_1", "type": "function"}
    begin["function"] = {"name": NAME, "arguments": ""}
    calls = [begin]
    calls += ({"index": 0, "function": {"arguments": each}} for each in fragments(shape, kib))
    events = [OPENAI % (json.dumps({"tool_calls": [call]}), "null") for call in calls]
    return [*events, OPENAI % ("{}", '"tool_calls"'), "data: [DONE]\n\n"]


def wire_dicts(shape: str, kib: int) -> list[dict[str, Any]]:
    """Give the objects of OpenAI's events, decoded."""
    return [json.loads(event.removeprefix("data: ")) for event in openai_events(shape, kib)[:-1]]


def anthropic_events(shape: str, kib: int) -> list[str]:
    message, _ = ANTHROPIC_BEGIN
    tool = {"type": "tool_use", "id": "toolu_1", "name": NAME, "input": {}}
    begin = {"type": "content_block_start", "index": 0, "content_block": tool}
    deltas = (
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "input_json_delta", "partial_json": each},
        }
        for each in fragments(shape, kib)
    )
    return list(map(as_anthropic, (message, begin, *deltas, *ANTHROPIC_END)))


@lru_cache(maxsize=2)
def body(*, anthropic: bool, shape: str, kib: int) -> list[bytes]:
    events = anthropic_events if anthropic else openai_events
    return framed(events(shape, kib), PER_WRITE)


class ToolAnswer(Answer):
    def writes(self, shape: str, kib: str, *path: str) -> list[bytes]:
        return body(anthropic=path[-1] == "messages", shape=shape, kib=int(kib))


if __name__ == "__main__":
    serve(ToolAnswer)
