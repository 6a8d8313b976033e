"""
Ollama's own API: its chat, and the stream of its older ``/api/generate``.

Source of the format: https://docs.ollama.com/api, and Ollama's ``api/types.go`` for the fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from llm_kit.dialects.base import ChatDialect, ChunkSink, wrong_type
from llm_kit.dialects.fields import (
    add_extra,
    as_finish_reason,
    as_objects,
    as_seconds,
    as_text,
    as_word,
    count_in,
    rest_of,
    says_something,
)
from llm_kit.dialects.openai import function_call, raise_reported
from llm_kit.dialects.request.ollama import can_be_continued, continued_body, request_body
from llm_kit.types import Chunk, ToolCallDelta, Usage

# What there is on each line, and in each message; a line with no other fields is a plain token.
_PLAIN = frozenset({"model", "created_at", "message", "response", "done"})
_PLAIN_IN_MESSAGE = frozenset({"role", "content"})
_COUNTS = ("prompt_eval_count", "eval_count")
_KNOWN = _PLAIN.union(_COUNTS, {"done_reason", "logprobs", "thinking", "tool_calls", "error"})
_KNOWN_IN_MESSAGE = _PLAIN_IN_MESSAGE | {"thinking", "tool_calls"}


class OllamaDialect(ChatDialect):
    """
    Reads one stream of Ollama's, and builds the request for its chat.

    Durations (in nanoseconds) and what else stands on a line are in ``extra``.
    """

    name: ClassVar[str] = "ollama"
    root: ClassVar[str] = "/api"

    @staticmethod
    def path(model: str | None) -> str:  # noqa: ARG004
        """Give where requests go; the model stands in the body."""
        return "/chat"

    @staticmethod
    def request_headers(api_key: str | None) -> dict[str, str]:
        """Give the headers that this API wants: Ollama's cloud wants a key, a local one none."""
        return {"authorization": f"Bearer {api_key}"} if api_key else {}

    # What a chat becomes has a room of its own.
    request_body = staticmethod(request_body)
    can_be_continued = staticmethod(can_be_continued)
    continued_body = staticmethod(continued_body)

    def __init__(self, quirks: set[str]) -> None:
        self.done = False
        self._quirks = quirks
        self._began = False
        self._calls = 0
        self._said: dict[str, Any] = {}

    @staticmethod
    def recognises(payload: Mapping[str, Any]) -> bool:
        """Tell whether an object can only be of this form."""
        return type(payload.get("done")) is bool and ("message" in payload or "response" in payload)

    def read(self, payload: Mapping[str, Any], out: ChunkSink, raw: Any) -> None:
        """Turn one wire object into chunks; see `Dialect.read`."""
        message = payload.get("message")
        if message is None:  # from /api/generate: its fields stand on top
            message, text = payload, payload.get("response")
        elif type(message) is dict or isinstance(message, Mapping):
            text = message.get("content")
        else:
            raise_reported(payload)
            raise wrong_type("message", message, "an object")
        model = payload.get("model")
        chunk = Chunk(
            text if type(text) is str else as_text("message.content", text),
            model=model if type(model) is str and model else None,
            raw=raw,
        )
        if not self._began:  # what stands on every line is said once
            chunk.role = as_word(message.get("role"))
            chunk.created = as_seconds(payload.get("created_at"))
        if message is payload:
            self._read_rest_of_message(message, chunk)
        elif not message.keys() <= _PLAIN_IN_MESSAGE:
            self._read_rest_of_message(message, chunk)
            add_extra(chunk, rest_of(message, _KNOWN_IN_MESSAGE))
        if not payload.keys() <= _PLAIN:
            self._read_rest(payload, chunk)
        if chunk.delta or says_something(chunk):
            self._began = True
            out.append(chunk)
        if payload.get("done") is True:
            self.done = True
            if chunk.finish_reason is None:  # an old version; or its runner broke off
                self._quirks.add("done_without_reason")
        if message is payload or payload.get("error"):
            raise_reported(payload)

    def _read_rest_of_message(self, message: Mapping[str, Any], chunk: Chunk) -> None:
        chunk.reasoning = as_text("message.thinking", message.get("thinking"))
        calls = as_objects("message.tool_calls", message.get("tool_calls"))
        chunk.tool_calls = tuple(self._tool_call(call) for call in calls)

    def _tool_call(self, call: Mapping[str, Any]) -> ToolCallDelta:
        """Read a call, which is always whole; the number that it has is often that of another."""
        self._calls += 1
        return function_call(self._calls - 1, call)

    def _read_rest(self, payload: Mapping[str, Any], chunk: Chunk) -> None:
        finish = payload.get("done_reason")
        if finish:
            finish = as_finish_reason("done_reason", finish)
            chunk.finish_reason = "tool_calls" if finish == "stop" and self._calls else finish
        counts = {name: payload[name] for name in _COUNTS if payload.get(name) is not None}
        if counts:
            read, written = (count_in(counts, name) for name in _COUNTS)
            chunk.usage = Usage(read, written, raw=counts)
        logprobs = payload.get("logprobs")
        if logprobs:
            chunk.logprobs = {"content": logprobs}  # items and all are OpenAI's, but for this
        # The cloud says with every line which model is behind it: joined it would be no name.
        rest = rest_of(payload, _KNOWN)
        news = {name: value for name, value in rest.items() if self._said.get(name) != value}
        self._said |= news
        add_extra(chunk, news)
