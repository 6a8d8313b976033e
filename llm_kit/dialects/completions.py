"""
OpenAI's legacy text completions, and the servers that still offer them (vLLM, llama.cpp, TGI).

Source of the format: OpenAI's API reference, "The completion object", whose stream is made of
the same objects (https://platform.openai.com/docs/api-reference/completions/object). Read only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from llm_kit.dialects.base import ChunkSink, Dialect, wrong_type
from llm_kit.dialects.fields import NOTHING, as_finish_reason, as_text, says_something
from llm_kit.dialects.openai import raise_reported, usage_of
from llm_kit.types import Chunk

_CHAT = frozenset({"delta", "message"})


class CompletionsDialect(Dialect):
    """Reads one stream of text completions: no role, no tools, only text."""

    name: ClassVar[str] = "completions"

    def __init__(self, quirks: set[str]) -> None:  # noqa: ARG002
        self.done = False

    @staticmethod
    def recognises(payload: Mapping[str, Any]) -> bool:
        """Tell whether an object can only be of this form."""
        choices = payload.get("choices")
        if isinstance(choices, list) and choices:
            first = choices[0]
            # Together's chat chunks have a `text` beside their `delta`.
            return isinstance(first, Mapping) and "text" in first and not _CHAT & first.keys()
        return payload.get("object") == "text_completion"

    def read(self, payload: Mapping[str, Any], out: ChunkSink, raw: Any) -> None:
        """Turn one wire object into chunks; see `Dialect.read`."""
        choices = payload.get("choices")
        usage = payload.get("usage")
        if choices:
            if not isinstance(choices, list):
                raise wrong_type("choices", choices, "a list")
            for position, choice in enumerate(choices):
                if type(choice) is not dict and not isinstance(choice, Mapping):
                    raise wrong_type(f"choices[{position}]", choice, "an object")
                chunk = _chunk(payload, position, choice, usage, raw)
                if chunk.delta or says_something(chunk):
                    out.append(chunk)
                    usage = None
        elif usage:
            out.append(_chunk(payload, 0, NOTHING, usage, raw))
        if not choices or "error" in payload:
            raise_reported(payload)


def _chunk(
    payload: Mapping[str, Any], position: int, choice: Mapping[str, Any], usage: Any, raw: Any
) -> Chunk:
    get = payload.get
    ident, model, created = get("id"), get("model"), get("created")
    fingerprint = get("system_fingerprint")
    index, text, finish = choice.get("index"), choice.get("text"), choice.get("finish_reason")
    return Chunk(
        text if type(text) is str else as_text(f"choices[{position}].text", text),
        index if type(index) is int else position,
        None,
        "",
        "",
        (),
        as_finish_reason("finish_reason", finish) if finish else None,
        usage_of(usage) if usage else None,
        choice.get("logprobs"),
        None,
        ident if type(ident) is str and ident else None,
        model if type(model) is str and model else None,
        created if type(created) is int else None,
        fingerprint if type(fingerprint) is str else None,
        raw,
    )
