"""
LangChain's messages -> chunks.

Source of the form: LangChain's reference of ``langchain_core.messages.AIMessageChunk``, whose
usage is to be added up over the chunks, and its guide "Messages" for the types of content
blocks. What those have is the provider's own, and is kept as in the provider's own dialect.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from llm_kit.dialects.base import ChunkSink, Dialect, wrong_type
from llm_kit.dialects.fields import (
    NOTHING,
    add_extra,
    append_extra,
    as_arguments,
    as_finish_reason,
    as_json,
    as_label,
    as_objects,
    as_seconds,
    as_text,
    as_whole,
    as_word,
    nested_annotation,
    rest_of,
    says_something,
)
from llm_kit.dialects.openai import thoughts_in
from llm_kit.types import Chunk, ToolCallDelta, Usage

_ROLES = {"AIMessageChunk": "assistant", "ai": "assistant"}
# Where integrations put the provider's word for the ending, the first that is there counts:
# openai, groq, mistral, google; anthropic; bedrock; ollama.
_ENDINGS = ("finish_reason", "stop_reason", "stopReason", "done_reason")
# The words with which these say that tools are called too.
_PLAIN_ENDINGS = frozenset({("finish_reason", "STOP"), ("done_reason", "stop")})
_KNOWN_IN_METADATA = frozenset(
    {
        *_ENDINGS,
        "id",
        "model",
        "model_name",
        "created",
        "created_at",
        "system_fingerprint",
        "logprobs",
        "status",
        "incomplete_details",
        "object",
        "service_tier",
        "done",  # of Ollama, whose counts are the usage
        "eval_count",
        "prompt_eval_count",
        "model_provider",  # LangChain's own, like the next
        "output_version",
    }
)
# Where Google's integration keeps the signatures of calls, by the calls' ids.
_SIGNATURES = "__gemini_function_call_thought_signatures__"
_KNOWN_IN_KWARGS = frozenset(
    {"tool_calls", "function_call", "reasoning_content", "reasoning", "refusal", _SIGNATURES}
)
# Blocks that say again what the message's tool calls say.
_CALLS = frozenset(
    {"tool_use", "function_call", "tool_call", "tool_call_chunk", "invalid_tool_call"}
)
_KNOWN_IN_CALL = frozenset(
    {"type", "id", "call_id", "name", "input", "args", "arguments", "index", "error", "status"}
)
_CLAUDE, _RESPONSES, _GEMINI = "anthropic-claude-v1", "openai-responses-v1", "google-gemini-v1"
# Of reasoning, by how the name of its provider begins.
_FORMATS = {"anthropic": _CLAUDE, "bedrock": _CLAUDE, "google": _GEMINI, "openai": _RESPONSES}


def is_message(item: object) -> bool:
    """Tell whether an item is what a LangChain model says, whole or in part."""
    return hasattr(item, "response_metadata") and getattr(item, "type", None) in _ROLES


class LangChainMessages(Dialect):
    """Reads one stream of messages, each given as its fields (``vars``)."""

    name: ClassVar[str] = "langchain"

    def __init__(self, quirks: set[str]) -> None:  # noqa: ARG002  a `Dialect` is given them
        self.done = False  # never said: usage may come behind anything
        self._began = False
        self._called = False
        self._usage: dict[str, Any] = {}
        self._told: dict[str, Any] = {}
        self._ids: dict[Any, Any] = {}
        self._numbers: dict[str, dict[Any, int]] = {}
        self._empty_calls: set[int | None] = set()
        self._format: str | None = None

    @staticmethod
    def recognises(payload: Mapping[str, Any]) -> bool:
        """Tell whether an object can only be of this form."""
        return "response_metadata" in payload and "additional_kwargs" in payload

    def read(self, payload: Mapping[str, Any], out: ChunkSink, raw: Any) -> None:
        """Turn one message into a chunk; see `Dialect.read`."""
        chunk = Chunk(raw=raw)
        if not self._began:
            chunk.role = _ROLES.get(payload.get("type", ""))
        metadata = payload.get("response_metadata") or NOTHING
        kwargs = payload.get("additional_kwargs") or NOTHING
        if "model_provider" in metadata:
            self._format = _FORMATS.get(str(metadata["model_provider"]).partition("_")[0])
        chunk.tool_calls = tuple(self._tool_calls(payload, kwargs))
        self._called = self._called or bool(chunk.tool_calls)
        self._empty_calls -= {call.index for call in chunk.tool_calls if call.arguments}
        content = payload.get("content") or ""
        if type(content) is str:
            chunk.delta = content
        else:
            for block in content:
                self._read_block(block, chunk)
        if kwargs:
            self._read_kwargs(kwargs, chunk)
        if metadata:
            self._read_metadata(metadata, chunk)
        ident = as_word(payload.get("id"))
        # A run's id is of LangChain's making.
        if ident and not ident.startswith(("lc_", "run-")):
            chunk.id = ident
        if payload.get("usage_metadata"):
            self._usage = _sum(self._usage, payload["usage_metadata"])
            chunk.usage = _usage(self._usage)
        if says_something(chunk):
            self._began = True
            out.append(chunk)

    def _tool_calls(
        self, message: Mapping[str, Any], kwargs: Mapping[str, Any]
    ) -> Iterator[ToolCallDelta]:
        pieces = message.get("tool_call_chunks")
        if pieces is None:  # a whole message
            pieces = [*message.get("tool_calls", ()), *message.get("invalid_tool_calls", ())]
        for piece in pieces:
            index, arguments = piece.get("index"), as_arguments("args", piece.get("args"))
            if isinstance(index, str):  # LangChain's own names of blocks, in its format "v1"
                index = self._number("call", index)
            ident, name = as_label("id", piece.get("id")), as_label("name", piece.get("name"))
            yield ToolCallDelta(index, ident, name, arguments)
        legacy = kwargs.get("function_call")
        if legacy and not pieces:
            arguments = as_arguments("function_call", legacy.get("arguments"))
            yield ToolCallDelta(name=legacy.get("name"), arguments=arguments)

    def _number(self, kind: str, key: Any) -> int:
        """Give the number that a thing has among its kind, in the order of appearance."""
        numbers = self._numbers.setdefault(kind, {})
        return numbers.setdefault(key, len(numbers))

    # Content blocks.

    def _read_block(self, block: Any, chunk: Chunk) -> None:
        if isinstance(block, str):
            chunk.delta += block
            return
        if not isinstance(block, Mapping):
            raise wrong_type("content[]", block, "an object")
        kind, place = block.get("type"), block.get("index")
        if kind == "text":
            chunk.delta += as_text("text", block.get("text"))
            for citation in as_objects("citations", block.get("citations")):
                append_extra(chunk, "annotations", citation)
            for note in as_objects("annotations", block.get("annotations")):
                append_extra(chunk, "annotations", nested_annotation(note))
        elif kind == "refusal":
            chunk.refusal += as_text("refusal", block.get("refusal"))
        elif kind == "thinking":
            self._read_thinking(block, place, chunk)
        elif kind == "redacted_thinking":
            detail = {"type": "reasoning.encrypted", "data": block.get("data"), "format": _CLAUDE}
            number = self._number("thought", place)
            append_extra(chunk, "reasoning_details", {**detail, "index": number})
        elif kind == "reasoning":
            self._read_reasoning(block, place, chunk)
        elif kind == "reasoning_content":  # of Bedrock's Converse API
            thought = block.get("reasoning_content")
            self._read_thought(thought if isinstance(thought, Mapping) else NOTHING, chunk)
        elif kind == "input_json_delta":
            if not chunk.tool_calls:
                fragment = {"arguments": as_text("partial_json", block.get("partial_json"))}
                index = self._number("server_tool", place)
                append_extra(chunk, "server_tool_calls", {**fragment, "index": index})
        elif kind == "custom_tool_call":  # its input is plain text
            if not chunk.tool_calls:
                name, given = block.get("name"), as_text("input", block.get("input"))
                chunk.tool_calls = (ToolCallDelta(None, block.get("call_id"), name, given),)
            for call in chunk.tool_calls:
                call.extra = {"type": "custom"}
        elif kind in _CALLS:
            self._read_call(block, chunk)
        elif kind == "non_standard" and isinstance(block.get("value"), Mapping):
            self._read_block({"index": place, **block["value"]}, chunk)  # of the provider's own
        else:
            self._read_other(str(kind), place, block, chunk)

    def _read_call(self, block: Mapping[str, Any], chunk: Chunk) -> None:
        """Read of a call's block what the message's call does not say."""
        names = (block.get("call_id"), block.get("id"))
        for call in chunk.tool_calls:
            if call.id is not None and call.id in names:
                call.extra = rest_of(block, _KNOWN_IN_CALL) or None
                if block["type"] == "tool_use" and not call.arguments:
                    self._empty_calls.add(call.index)

    def _read_thinking(self, block: Mapping[str, Any], place: Any, chunk: Chunk) -> None:
        thought = block.get("thinking") or ""
        chunk.reasoning += thoughts_in(thought)
        detail = {"type": "reasoning.text", "text": thought}
        if block.get("signature"):
            detail["signature"] = block["signature"]
        # A list is Mistral's, which wants nothing back.
        if isinstance(thought, str) and (thought or block.get("signature")):
            number = self._number("thought", place)
            detail |= {"format": self._format or _CLAUDE, "index": number}
            append_extra(chunk, "reasoning_details", detail)

    def _read_reasoning(self, block: Mapping[str, Any], place: Any, chunk: Chunk) -> None:
        """Read an item of the Responses API; or anybody's in LangChain's "v1", with one text."""
        extras = block.get("extras")
        if isinstance(extras, Mapping):
            block = {**extras, **block}
        ident = self._ids.setdefault(place, block.get("id"))  # said when the item begins
        signature = block.get("signature")
        if ident is None and (signature or self._format in (_CLAUDE, _GEMINI)):
            thought = {"thinking": block.get("reasoning"), "signature": signature}
            self._read_thinking(thought, place, chunk)
            return
        pieces = [("text", part, "text") for part in as_objects("content", block.get("content"))]
        summary = as_objects("summary", block.get("summary"))
        pieces += [("summary", part, "text") for part in summary]
        pieces.append(("summary", block, "reasoning"))
        for slot, part, name in pieces:
            text = as_text(name, part.get(name))
            if text:
                chunk.reasoning += text
                if ident is None and part is block:
                    continue  # nobody knows whose it is
                self._add_detail(chunk, (place, slot, part.get("index")), slot, text, ident)
        sealed = block.get("encrypted_content")
        if sealed:
            self._add_detail(chunk, (place, "encrypted"), "encrypted", sealed, ident)

    def _add_detail(self, chunk: Chunk, key: Any, slot: str, text: str, ident: Any) -> None:
        detail = {
            "type": f"reasoning.{slot}",
            "data" if slot == "encrypted" else slot: text,
            "id": ident,
            "format": _RESPONSES,
            "index": self._number("thought", key),
        }
        append_extra(chunk, "reasoning_details", detail)

    def _read_thought(self, thought: Mapping[str, Any], chunk: Chunk) -> None:
        chunk.reasoning += as_text("reasoning_content.text", thought.get("text"))
        detail = {"type": "reasoning.text", **thought, "index": 0}
        append_extra(chunk, "reasoning_details", detail)

    def _read_other(self, kind: str, place: Any, block: Mapping[str, Any], chunk: Chunk) -> None:
        """Read a block of what a server's tools do; or of a kind that has no field of its own."""
        fields = {
            name: value for name, value in block.items() if name != "index" and value is not None
        }
        if kind.endswith("_tool_use") or kind in ("server_tool_call", "server_tool_call_chunk"):
            given = fields.pop("input", None) or fields.pop("args", None) or ""
            text = given if isinstance(given, str) else as_json(given)
            index = self._number("server_tool", place)
            entry = {**fields, "arguments": text, "index": index}
            append_extra(chunk, "server_tool_calls", entry)
        elif kind.endswith("_tool_result"):
            append_extra(chunk, "server_tool_results", fields)
        elif fields.get("id"):  # an item of the Responses API, which is a call and its result
            index = self._number("server_tool", fields["id"])
            entry = {"index": index, "id": fields["id"], "name": kind}
            append_extra(chunk, "server_tool_calls", entry)
            append_extra(chunk, "server_tool_results", fields)
        else:
            append_extra(chunk, kind, fields)

    # What stands around the content.

    def _read_kwargs(self, kwargs: Mapping[str, Any], chunk: Chunk) -> None:
        """Read what integrations keep beside the content, in their provider's words."""
        thought = as_text("reasoning_content", kwargs.get("reasoning_content"))
        chunk.reasoning = chunk.reasoning or thought
        item = kwargs.get("reasoning")
        if isinstance(item, Mapping):
            self._read_reasoning(item, None, chunk)
        signatures: Mapping[Any, str] = kwargs.get(_SIGNATURES) or NOTHING
        for call in chunk.tool_calls:
            signature = signatures.get(call.id)
            if signature:
                call.extra = {"extra_content": {"google": {"thought_signature": signature}}}
        chunk.refusal += as_text("refusal", kwargs.get("refusal"))
        add_extra(chunk, rest_of(kwargs, _KNOWN_IN_KWARGS))

    def _read_metadata(self, metadata: Mapping[str, Any], chunk: Chunk) -> None:
        get = metadata.get
        created = get("created_at", get("created"))
        chunk.model = as_word(get("model_name")) or as_word(get("model"))
        chunk.created = as_whole(created) or as_seconds(created)
        chunk.system_fingerprint = as_word(get("system_fingerprint"))
        chunk.logprobs = get("logprobs") or None
        chunk.finish_reason = self._finish_reason(metadata)
        if chunk.finish_reason is not None:  # Claude's calls without arguments have an empty object
            calls = (ToolCallDelta(index, arguments="{}") for index in self._empty_calls)
            chunk.tool_calls += tuple(calls)
            self._empty_calls = set()
        # Some of it stands on every message: joined it would be no word.
        rest = rest_of(metadata, _KNOWN_IN_METADATA)
        news = {name: value for name, value in rest.items() if self._told.get(name) != value}
        self._told |= news
        add_extra(chunk, news)

    def _finish_reason(self, metadata: Mapping[str, Any]) -> str | None:
        for name in _ENDINGS:
            word = metadata.get(name)
            if word:
                plain = self._called and (name, word) in _PLAIN_ENDINGS
                return "tool_calls" if plain else as_finish_reason(name, word)
        status = metadata.get("status")  # of the Responses API
        if status == "completed":
            return "tool_calls" if self._called else "stop"
        if status == "incomplete":
            details = metadata.get("incomplete_details") or NOTHING
            return as_finish_reason("reason", details.get("reason") or status)
        return None


def _sum(total: Mapping[str, Any], usage: Mapping[str, Any]) -> dict[str, Any]:
    """Add up what messages report: each reports its own part."""
    result = dict(total)
    for name, value in usage.items():
        before = result.get(name)
        if isinstance(value, Mapping):
            result[name] = _sum(before or NOTHING, value)
        elif type(value) is int and type(before) is int:
            result[name] = before + value
        elif value is not None:
            result[name] = value
    return result


def _usage(total: Mapping[str, Any]) -> Usage:
    read = total.get("input_token_details") or NOTHING
    written = total.get("output_token_details") or NOTHING
    return Usage(
        total.get("input_tokens"),
        total.get("output_tokens"),
        total.get("total_tokens"),
        written.get("reasoning"),
        read.get("cache_read"),
        total,
    )
