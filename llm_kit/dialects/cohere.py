"""
Cohere's chat, version 2 of its API, as it streams.

Source of the format: "A Guide to Streaming Responses" (https://docs.cohere.com/v2/docs/streaming)
and the API reference of ``/v2/chat``. It can be read only, not asked in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from llm_kit.dialects.base import ChunkSink, Dialect, api_error
from llm_kit.dialects.fields import (
    NOTHING,
    add_extra,
    as_finish_reason,
    as_object,
    as_objects,
    as_text,
    as_word,
    count_in,
    rest_of,
    says_something,
)
from llm_kit.dialects.openai import function_call, raise_reported
from llm_kit.types import Chunk, Usage

_EVENTS = frozenset(
    {
        "message-start",
        "content-start",
        "content-delta",
        "content-end",
        "tool-plan-delta",
        "tool-call-start",
        "tool-call-delta",
        "tool-call-end",
        "citation-start",
        "citation-end",
        "message-end",
    }
)
_KNOWN_IN_EVENT = frozenset({"type", "id", "index", "delta", "logprobs", "error"})
_KNOWN_IN_DELTA = frozenset({"message", "finish_reason", "usage", "error"})
_KNOWN_IN_MESSAGE = frozenset({"role", "content", "tool_calls", "citations"})
_KNOWN_IN_CONTENT = frozenset({"type", "text", "thinking"})


class CohereDialect(Dialect):
    """
    Reads one stream of Cohere's v2 chat.

    What an event says is told by its fields: its ``type`` adds nothing to them, but for the end.
    What the model plans before it calls tools is in ``extra["tool_plan"]``, and what it cites
    in ``extra["annotations"]``.
    """

    name: ClassVar[str] = "cohere"

    def __init__(self, quirks: set[str]) -> None:  # noqa: ARG002
        self.done = False

    @staticmethod
    def recognises(payload: Mapping[str, Any]) -> bool:
        """Tell whether an object can only be of this form."""
        kind = payload.get("type")
        return isinstance(kind, str) and kind in _EVENTS

    def read(self, payload: Mapping[str, Any], out: ChunkSink, raw: Any) -> None:
        """Turn one wire object into chunks; see `Dialect.read`."""
        if "type" not in payload:  # no event: the body that an error has with its own status
            raise_reported(payload)
            return
        delta = as_object("delta", payload.get("delta") or NOTHING)
        message = as_object("delta.message", delta.get("message") or NOTHING)
        finish, usage = delta.get("finish_reason"), delta.get("usage")
        chunk = Chunk(
            id=as_word(payload.get("id")),
            finish_reason=as_finish_reason("finish_reason", finish) if finish else None,
            usage=_usage(usage) if usage else None,
            logprobs=payload.get("logprobs"),
            raw=raw,
        )
        parts = _objects("content", message.get("content"))
        for part in parts:
            chunk.delta += as_text("content.text", part.get("text"))
            chunk.reasoning += as_text("content.thinking", part.get("thinking"))
        if len(message) > 1 or "content" not in message:
            _read_rest_of_message(message, payload.get("index"), chunk)
        if others := [part for part in parts if not part.keys() <= _KNOWN_IN_CONTENT]:
            add_extra(chunk, {"content": others})
        if not (payload.keys() <= _KNOWN_IN_EVENT and delta.keys() <= _KNOWN_IN_DELTA):
            add_extra(chunk, rest_of(delta, _KNOWN_IN_DELTA))
            add_extra(chunk, rest_of(payload, _KNOWN_IN_EVENT))
        if says_something(chunk):
            out.append(chunk)
        if payload["type"] == "message-end":
            self.done = True
        if reported := delta.get("error") or payload.get("error"):
            raise api_error(reported)


def _read_rest_of_message(message: Mapping[str, Any], index: Any, chunk: Chunk) -> None:
    chunk.role = as_word(message.get("role"))
    chunk.tool_calls = tuple(
        function_call(index if type(index) is int else None, call)
        for call in _objects("tool_calls", message.get("tool_calls"))
    )
    add_extra(chunk, rest_of(message, _KNOWN_IN_MESSAGE))
    if citations := _objects("citations", message.get("citations")):
        add_extra(chunk, {"annotations": citations})


def _objects(where: str, value: Any) -> list[Mapping[str, Any]]:
    """Give what is one object in a delta, and a list of them, mostly empty, in message-start."""
    if not isinstance(value, list):
        return [as_object(where, value)] if value else []
    return as_objects(where, [item for item in value if item])


def _usage(value: Any) -> Usage:
    usage = as_object("usage", value)
    # What the model read and wrote, rather than what of it is paid for.
    tokens = usage.get("tokens") or usage.get("billed_units") or NOTHING
    counts = as_object("usage.tokens", tokens)
    return Usage(
        count_in(counts, "input_tokens"),
        count_in(counts, "output_tokens"),
        cached_tokens=count_in(usage, "cached_tokens"),
        raw=usage,
    )
