"""
Anthropic's Messages API, as Claude speaks it at Anthropic, on Bedrock, Vertex and Azure.

Sources: the API reference at https://platform.claude.com/docs/en/api/messages, and "Streaming
messages" and "Extended thinking" in the guides beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from attrs import define

from llm_kit.dialects.base import ChatDialect, ChunkSink, api_error, wrong_type
from llm_kit.dialects.fields import (
    as_finish_reason,
    as_json,
    as_label,
    as_object,
    as_objects,
    as_text,
    as_word,
    count_in,
    rest_of,
    says_something,
)
from llm_kit.dialects.request.anthropic import (
    can_be_continued,
    continued_body,
    request_body,
)
from llm_kit.dialects.thinking_blocks import REASONING_FORMAT
from llm_kit.types import Chunk, ToolCallDelta, Usage

_VERSION = "2023-06-01"

_EVENTS = frozenset(
    {
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    }
)
# What has a home in a chunk, or says nothing.
_KNOWN_IN_MESSAGE = frozenset({"type", "id", "role", "model", "content", "stop_reason", "usage"})
# `message` is the SDK's snapshot of the whole, which has been read already.
_KNOWN_IN_EVENT = frozenset({"type", "delta", "usage", "message"})
_KNOWN_IN_CALL = frozenset({"type", "id", "name", "input"})
_KNOWN_IN_TEXT = frozenset({"type", "text", "citations"})
_KNOWN_IN_THINKING = frozenset({"type", "thinking", "signature"})
_CALLS = frozenset({"tool_use", "server_tool_use"})
_KNOWN_BLOCKS = _CALLS | {"text", "thinking"}


@define
class _Block:
    """
    A content block that has begun and not ended.

    Attributes:
        kind: the block's type, and ``server_tool_use`` for every tool that the server runs.
        number: which one of its kind it is in the stream; the wire's index begins anew with a
            second message.
        given: a tool's input as it stood in the block's beginning.
        signature: what the signature is so far.
    """

    kind: str
    number: int
    given: Any = None
    has_fragments: bool = False
    signature: str = ""


class AnthropicDialect(ChatDialect):
    """
    Reads one Messages stream, and builds the request for it.

    ``usage.prompt_tokens`` is what OpenAI means by it, all tokens of the prompt: the sum of
    ``input_tokens``, ``cache_read_input_tokens`` (which is ``cached_tokens``) and
    ``cache_creation_input_tokens``. ``usage.raw`` has them apart.
    """

    name: ClassVar[str] = "anthropic"
    root: ClassVar[str] = "/v1"

    @staticmethod
    def path(model: str | None) -> str:  # noqa: ARG004  the model goes into the body
        """Give where requests go, from the base URL on."""
        return "/messages"

    @staticmethod
    def request_headers(api_key: str | None) -> dict[str, str]:
        """Give the headers that this API wants, with the key in its place."""
        headers = {"anthropic-version": _VERSION}
        if api_key:
            headers["x-api-key"] = api_key
        return headers

    # What a chat becomes has a room of its own.
    request_body = staticmethod(request_body)
    can_be_continued = staticmethod(can_be_continued)
    continued_body = staticmethod(continued_body)

    @staticmethod
    def recognises(payload: Mapping[str, Any]) -> bool:
        """Tell whether an object can only be of this form, by what is in it: it is cheap."""
        kind = payload.get("type")
        if kind == "message":
            return "stop_reason" in payload and "content" in payload
        return isinstance(kind, str) and kind in _EVENTS

    def __init__(self, quirks: set[str]) -> None:
        self.done = False
        self._quirks = quirks
        self._blocks: dict[int | None, _Block] = {}
        self._counts: dict[str, int] = {}
        self._began = False
        self._usage: dict[str, Any] = {}
        self._told: set[str] = set()

    def read(self, payload: Mapping[str, Any], out: ChunkSink, raw: Any) -> None:
        """Turn one wire object into chunks; see `Dialect.read`."""
        kind = payload.get("type")
        if kind == "content_block_delta":
            self._read_delta(payload, out, raw)
        elif kind == "content_block_start":
            block = as_object("content_block", payload.get("content_block"))
            self._begin(_index(payload), block, out, raw)
        elif kind == "content_block_stop":
            self._end(_index(payload), out, raw)
        elif kind == "message_start":
            self._read_message(as_object("message", payload.get("message")), out, raw)
        elif kind == "message_delta":
            self._read_end(payload, out, raw)
        elif kind == "message_stop":
            self._read_end(payload, out, raw)
            self.done = True
        elif kind == "message":
            self._quirks.add("answer_not_streamed")
            self._read_message(payload, out, raw)
            self.done = True
        elif kind == "error" or payload.get("error") or (kind is None and payload.get("detail")):
            error = payload.get("error") or payload.get("detail") or payload
            raise api_error(error, whole=payload)
        # Anything else says nothing new: "ping", and what the SDK derives ("text", "thinking").

    def _read_message(self, message: Mapping[str, Any], out: ChunkSink, raw: Any) -> None:
        """Read a message's head, and as much of the message as stands there already."""
        if self._began:
            self._quirks.add("message_start_repeated")
            self._end_all(out, raw, whole=False)
            self._usage = {}
        self._began = True
        chunk = Chunk(
            role=as_word(message.get("role")),
            usage=self._merged_usage(message.get("usage")),
            extra=self._news(message, _KNOWN_IN_MESSAGE),
            id=as_word(message.get("id")),
            model=as_word(message.get("model")),
            raw=raw,
        )
        _put(out, chunk)
        for place, block in enumerate(as_objects("content", message.get("content"))):
            self._begin(place, block, out, raw)
            self._end(place, out, raw)
        if message.get("stop_reason"):
            out.append(
                Chunk(
                    finish_reason=as_finish_reason("stop_reason", message["stop_reason"]), raw=raw
                )
            )

    def _read_end(self, event: Mapping[str, Any], out: ChunkSink, raw: Any) -> None:
        """Read how a message ends: usage, the reason, and what else is said of the whole."""
        delta = as_object("delta", event.get("delta") or {})
        reason = delta.get("stop_reason")
        finish = as_finish_reason("stop_reason", reason) if reason else None
        if reason or event["type"] == "message_stop":
            self._end_all(out, raw, whole=finish in ("stop", "tool_calls"))
        extra = self._news(event, _KNOWN_IN_EVENT) | self._news(delta, _KNOWN_IN_MESSAGE)
        usage = self._merged_usage(event.get("usage"))
        _put(out, Chunk(finish_reason=finish, usage=usage, extra=extra, raw=raw))

    def _news(self, fields: Mapping[str, Any], known: frozenset[str]) -> dict[str, Any]:
        """Give what is said of the message once: texts that come again would be joined."""
        news = rest_of(fields, known | self._told)
        self._told.update(news)
        return news

    def _merged_usage(self, value: Any) -> Usage | None:
        """Merge a piece of usage into those before it; they are totals, not to be added up."""
        if not value:
            return None
        self._usage |= {
            name: number for name, number in as_object("usage", value).items() if number is not None
        }
        counts = self._usage
        prompt, cached = (
            count_in(counts, "input_tokens"),
            count_in(counts, "cache_read_input_tokens"),
        )
        if prompt is not None:
            prompt += (cached or 0) + (count_in(counts, "cache_creation_input_tokens") or 0)
        return Usage(
            prompt_tokens=prompt,
            completion_tokens=count_in(counts, "output_tokens"),
            # Counted anew from the text, so it "may differ" (the reference, OutputTokensDetails).
            reasoning_tokens=count_in(counts.get("output_tokens_details"), "thinking_tokens"),
            cached_tokens=cached,
            raw=dict(counts),
        )

    def _add(self, index: int | None, kind: str) -> _Block:
        number = self._counts.get(kind, 0)
        self._counts[kind] = number + 1
        block = self._blocks[index] = _Block(kind, number)
        return block

    def _begin(
        self, index: int | None, fields: Mapping[str, Any], out: ChunkSink, raw: Any
    ) -> None:
        """Begin a block, with what it has already."""
        self._end(index, out, raw)
        kind = fields.get("type")
        chunk = Chunk(raw=raw)
        if kind == "text":
            self._add(index, kind)
            chunk.delta = as_text("text", fields.get("text"))
            chunk.extra = rest_of(fields, _KNOWN_IN_TEXT)
            if fields.get("citations"):
                chunk.extra["annotations"] = fields["citations"]
        elif kind == "thinking":
            block = self._add(index, kind)
            block.signature = as_text("signature", fields.get("signature"))
            _think(chunk, block, fields)
        elif kind == "redacted_thinking":
            block = self._add(index, "thinking")
            chunk.extra = _reasoning("reasoning.encrypted", block, {"data": fields.get("data")})
        elif kind == "tool_use":
            block = self._add(index, kind)
            block.given = fields.get("input")
            call = ToolCallDelta(
                block.number,
                as_label("tool_use.id", fields.get("id")),
                as_label("tool_use.name", fields.get("name")),
                extra=rest_of(fields, _KNOWN_IN_CALL) or None,
            )
            chunk.tool_calls = (call,)
        elif not isinstance(kind, str):
            raise wrong_type("content_block.type", kind, "a string")
        elif kind.endswith("_tool_use"):
            block = self._add(index, "server_tool_use")
            block.given = fields.get("input")
            rest = {name: value for name, value in fields.items() if name != "input"}
            chunk.extra = _server_call(block, {**rest, "arguments": ""})
        elif kind.endswith("_tool_result"):
            self._add(index, kind)
            chunk.extra = {"server_tool_results": [fields]}
        else:
            block = self._add(index, kind)
            chunk.extra = {kind: [{**fields, "index": block.number}]}
        _put(out, chunk)

    def _read_delta(self, event: Mapping[str, Any], out: ChunkSink, raw: Any) -> None:
        delta = event.get("delta")
        if type(delta) is not dict:
            delta = as_object("delta", delta)
        kind, text = delta.get("type"), delta.get("text")
        if kind == "text_delta" and type(text) is str and text and len(delta) == 2:
            out.append(Chunk(text, raw=raw))  # the hot path: one of these per token
        else:
            _put(out, self._chunk(kind, _index(event), delta, raw))

    def _chunk(self, kind: Any, index: int | None, delta: Mapping[str, Any], raw: Any) -> Chunk:
        chunk, block = Chunk(raw=raw), self._blocks.get(index)
        if kind == "text_delta":
            chunk.delta = as_text("text", delta.get("text"))
            chunk.extra = rest_of(delta, _KNOWN_IN_TEXT)
        elif kind == "thinking_delta":
            _think(chunk, self._thinking(index), delta)
        elif kind == "signature_delta":
            # Not told before the block ends: a second one takes the place of the first, as in
            # Anthropic's own SDK.
            self._thinking(index).signature = as_text("signature", delta.get("signature"))
        elif kind == "citations_delta":
            chunk.extra = {"annotations": [delta.get("citation")]}
        elif kind == "input_json_delta" and (block is None or block.kind in _CALLS):
            fragment = as_text("partial_json", delta.get("partial_json"))
            if fragment:
                block = block or self._unannounced(index, "tool_use")
                block.has_fragments = True
                _call(chunk, block, fragment)
        elif not isinstance(kind, str):
            raise wrong_type("delta.type", kind, "a string")
        elif block is None or block.kind in _KNOWN_BLOCKS:
            chunk.extra = {kind: [delta]}
        else:
            rest = {name: value for name, value in delta.items() if name != "type"}
            chunk.extra = {block.kind: [{**rest, "index": block.number}]}
        return chunk

    def _thinking(self, index: int | None) -> _Block:
        block = self._blocks.get(index)
        if block is None or block.kind != "thinking":
            return self._unannounced(index, "thinking")
        return block

    def _unannounced(self, index: int | None, kind: str) -> _Block:
        self._quirks.add("block_without_start")
        return self._add(index, kind)

    def _end(self, index: int | None, out: ChunkSink, raw: Any, *, whole: bool = True) -> None:
        """End a block, if there is one: what is known only then comes now."""
        block = self._blocks.pop(index, None)
        if block is None:
            return
        chunk = Chunk(raw=raw)
        if block.kind in _CALLS and not block.has_fragments and (block.given or whole):
            # Programmatic calls have their input in the beginning and no fragments; calls
            # without arguments have an empty input, and one empty fragment or none.
            given = block.given or {}
            _call(chunk, block, given if isinstance(given, str) else as_json(given))
        if block.signature:
            fields = {"text": "", "signature": block.signature}
            chunk.extra = _reasoning("reasoning.text", block, fields)
        _put(out, chunk)

    def _end_all(self, out: ChunkSink, raw: Any, *, whole: bool) -> None:
        """End the blocks that were not stopped; at a cut their inputs need not be whole."""
        for index in list(self._blocks):
            self._end(index, out, raw, whole=whole)


def _put(out: ChunkSink, chunk: Chunk) -> None:
    """Give a chunk, unless it says nothing."""
    chunk.extra = chunk.extra or None
    # The frequent ones first, for they come by the token.
    if chunk.reasoning or chunk.tool_calls or says_something(chunk) or chunk.id or chunk.model:
        out.append(chunk)


def _index(event: Mapping[str, Any]) -> int | None:
    index = event.get("index")
    return index if type(index) is int else None


def _think(chunk: Chunk, block: _Block, fields: Mapping[str, Any]) -> None:
    chunk.reasoning = as_text("thinking", fields.get("thinking"))
    chunk.extra = rest_of(fields, _KNOWN_IN_THINKING)
    if chunk.reasoning:
        chunk.extra |= _reasoning("reasoning.text", block, {"text": chunk.reasoning})


def _reasoning(kind: str, block: _Block, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Give what Claude wants back, in the form that OpenRouter documents for it."""
    labels = {"format": REASONING_FORMAT, "index": block.number}
    return {"reasoning_details": [{"type": kind, **fields, **labels}]}


def _call(chunk: Chunk, block: _Block, fragment: str) -> None:
    if block.kind == "tool_use":
        chunk.tool_calls = (ToolCallDelta(block.number, arguments=fragment),)
    else:
        chunk.extra = _server_call(block, {"arguments": fragment})


def _server_call(block: _Block, fields: Mapping[str, Any]) -> dict[str, Any]:
    return {"server_tool_calls": [{**fields, "index": block.number}]}
