"""
Cohere's chat, version 2 of its API, as it streams.

Source of the format: "A Guide to Streaming Responses" (https://docs.cohere.com/v2/docs/streaming)
and the API reference of ``/v2/chat``. It can be read only, not asked in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from llm_kit.dialects.base import ChunkSink, Dialect, api_error, wrong_type
from llm_kit.dialects.openai import (
    _finish_reason,
    _function_call,
    _raise_reported,
    _text,
    _unknown,
)
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
_NOTHING: dict[str, Any] = {}


class CohereDialect(Dialect):
    """
    Reads one stream of Cohere's v2 chat.

    What an event says is told by its fields: its ``type`` adds nothing to them, but for the end.
    What the model plans before it calls tools is in ``extra["tool_plan"]``, and what it cites
    in ``extra["annotations"]``.
    """

    name: ClassVar[str] = "cohere"

    def __init__(self, quirks: set[str]) -> None:
        self.done = False
        self._quirks = quirks

    @staticmethod
    def recognises(payload: Mapping[str, Any]) -> bool:
        """Tell whether an object can only be of this form."""
        kind = payload.get("type")
        return isinstance(kind, str) and kind in _EVENTS

    def read(self, payload: Mapping[str, Any], out: ChunkSink, raw: Any) -> None:
        """Turn one wire object into chunks; see `Dialect.read`."""
        if "type" not in payload:  # no event: the body that an error has with its own status
            _raise_reported(payload, None)
            if isinstance(payload.get("message"), str):
                raise api_error(None, whole=payload)
            return
        delta = _object("delta", payload.get("delta"))
        message = _object("delta.message", delta.get("message"))
        ident, finish, usage = payload.get("id"), delta.get("finish_reason"), delta.get("usage")
        chunk = Chunk(
            id=ident if type(ident) is str and ident else None,
            finish_reason=_finish_reason(finish) if finish else None,
            usage=None if usage is None else _usage(usage),
            logprobs=payload.get("logprobs"),
            raw=raw,
        )
        parts = _objects("content", message.get("content"))
        for part in parts:
            chunk.delta += _text("content.text", part.get("text") or "")
            chunk.reasoning += _text("content.thinking", part.get("thinking") or "")
        if len(message) > 1 or "content" not in message:
            _read_rest_of_message(message, payload.get("index"), chunk)
        if others := [part for part in parts if not part.keys() <= _KNOWN_IN_CONTENT]:
            chunk.extra = {**(chunk.extra or _NOTHING), "content": others}
        if not (payload.keys() <= _KNOWN_IN_EVENT and delta.keys() <= _KNOWN_IN_DELTA):
            chunk.extra = {
                **(chunk.extra or _NOTHING),
                **(_unknown(delta, _KNOWN_IN_DELTA) or _NOTHING),
                **(_unknown(payload, _KNOWN_IN_EVENT) or _NOTHING),
            }
        if (
            chunk.delta
            or chunk.reasoning
            or chunk.role
            or chunk.tool_calls
            or chunk.extra
            or chunk.finish_reason is not None
            or chunk.usage is not None
            or chunk.logprobs is not None
        ):
            out.append(chunk)
        if payload["type"] == "message-end":
            self.done = True
        if reported := delta.get("error") or payload.get("error"):
            raise api_error(reported)


def _read_rest_of_message(message: Mapping[str, Any], index: Any, chunk: Chunk) -> None:
    role = message.get("role")
    if role and isinstance(role, str):
        chunk.role = role
    chunk.tool_calls = tuple(
        _function_call(index if type(index) is int else None, call)
        for call in _objects("tool_calls", message.get("tool_calls"))
    )
    extra = _unknown(message, _KNOWN_IN_MESSAGE) or {}
    if citations := _objects("citations", message.get("citations")):
        extra["annotations"] = citations
    chunk.extra = extra or None


def _object(where: str, value: Any) -> Mapping[str, Any]:
    if value is None:
        return _NOTHING
    if type(value) is not dict and not isinstance(value, Mapping):
        raise wrong_type(where, value, "an object")
    return value


def _objects(where: str, value: Any) -> list[Mapping[str, Any]]:
    """Give what is one object in a delta, and a list of them, mostly empty, in message-start."""
    values = value if isinstance(value, list) else [value]
    return [found for item in values if (found := _object(where, item))]


def _usage(value: Any) -> Usage:
    usage = _object("usage", value)
    # What the model read and wrote, rather than what of it is paid for.
    counts = _object("usage.tokens", usage.get("tokens") or usage.get("billed_units"))
    return Usage(
        _count(counts, "input_tokens"),
        _count(counts, "output_tokens"),
        cached_tokens=_count(usage, "cached_tokens"),
        raw=usage,
    )


def _count(fields: Mapping[str, Any], name: str) -> int | None:
    number = fields.get(name)
    if isinstance(number, float) and number.is_integer():  # as Cohere's SDK types them
        return int(number)
    return number if type(number) is int else None
