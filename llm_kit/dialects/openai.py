"""
OpenAI's Chat Completions, and the many servers that imitate it.

Source of the format: OpenAI's API reference, "The chat completion chunk object". The
imitators' deviations that are read here were each seen in a real stream.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from llm_kit.dialects.base import Chat, ChatDialect, ChunkSink, api_error, wrong_type
from llm_kit.dialects.fields import (
    NOTHING,
    add_extra,
    append_extra,
    as_arguments,
    as_finish_reason,
    as_label,
    as_object,
    as_objects,
    as_text,
    as_word,
    count_in,
    rest_of,
)
from llm_kit.dialects.request.continuing import can_be_continued, continued
from llm_kit.dialects.request.openai import sent_messages
from llm_kit.dialects.thinking_blocks import ThinkingBlocks
from llm_kit.errors import StreamAPIError
from llm_kit.types import Chunk, ToolCallDelta, Usage

_KNOWN_IN_DELTA = frozenset(
    {
        "role",
        "content",
        "refusal",
        "reasoning",
        "reasoning_content",
        "tool_calls",
        "function_call",
        "index",
    }
)
_NO_CHOICE = [NOTHING]  # of an object that only reports something
_KNOWN_IN_CALL = frozenset({"index", "id", "type", "function", "custom"})
_SUMMARY = frozenset({"type", "text"})
_KNOWN_IN_ERROR = frozenset({"message", "type", "code", "param", "id", "request_id"})
_NO_FAILURE = (None, "", 0, "0", 200, "200")  # the codes of those who also tell success


class OpenAIDialect(ChatDialect):
    """Reads one Chat Completions stream, and builds the request for it."""

    name: ClassVar[str] = "openai"
    environment: ClassVar[str] = "OPENAI"

    @staticmethod
    def path(model: str | None) -> str:  # noqa: ARG004
        """Give where requests go; the model stands in the body."""
        return "/chat/completions"

    @staticmethod
    def request_headers(api_key: str | None) -> dict[str, str]:
        """Give the headers that this API wants, with the key in its place."""
        return {"authorization": f"Bearer {api_key}"} if api_key else {}

    @staticmethod
    def request_body(chat: Chat) -> dict[str, Any]:
        """Give the JSON body of a streaming request."""
        body: dict[str, Any] = {"messages": sent_messages(chat.messages), "stream": True}
        for name in ("tools", "stop", "n", "model"):
            value = getattr(chat, name)
            if value is not None:
                body[name] = value
        body |= chat.params
        options = body.get("stream_options", NOTHING)
        if chat.include_usage and isinstance(options, Mapping):
            body["stream_options"] = {"include_usage": True, **options}
        return body

    @staticmethod
    def refused_option(body: Mapping[str, Any], status: int, answer: str) -> str | None:
        """Name the field that a server refuses, if the request can do without it."""
        name = "stream_options"
        return name if status in (400, 422) and name in body and name in answer else None

    can_be_continued = staticmethod(can_be_continued)
    continued_body = staticmethod(continued)

    def __init__(self, quirks: set[str]) -> None:
        self.done = False
        self._quirks = quirks
        self._began = False
        self._sent_labels: tuple[Any, ...] | None = None
        self._labels: tuple[str | None, str | None, int | None, str | None]
        self._sources: dict[str, list[Any]] = {}
        self._thinking: dict[int, ThinkingBlocks] = {}

    @staticmethod
    def recognises(payload: Mapping[str, Any]) -> bool:
        """Tell whether an object can only be of this form."""
        choices = payload.get("choices")
        if isinstance(choices, list) and choices:
            first = choices[0]
            return isinstance(first, Mapping) and ("delta" in first or "message" in first)
        kind = payload.get("object")
        return isinstance(kind, str) and kind.startswith("chat.completion")

    def read(self, payload: Mapping[str, Any], out: ChunkSink, raw: Any) -> None:
        """Turn one wire object into chunks; see `Dialect.read`."""
        # The hot path: this runs per token. So chunks are built positionally, the labels are looked
        # at when they change, and what is rare is asked for only where it may be.
        get = payload.get
        labels = (get("id"), get("model"), get("created"), get("system_fingerprint"))
        if labels != self._sent_labels:
            self._labels = _labels(*labels)
            # Not to be compared: nested deep enough that would be an error of its own.
            nested = any(isinstance(label, dict | list) for label in labels)
            self._sent_labels = None if nested else labels
        ident, model, created, fingerprint = self._labels
        choices, usage = get("choices"), get("usage")
        if not choices:
            choices = _NO_CHOICE
        elif type(choices) is not list and not isinstance(choices, list):
            raise wrong_type("choices", choices, "a list")
        failure: StreamAPIError | None = None
        for choice in choices:
            # A dict first, here and below: asking an abstract class takes its time.
            if type(choice) is not dict and not isinstance(choice, Mapping):
                raise wrong_type(f"choices[{_place(choices, choice)}]", choice, "an object")
            get = choice.get
            delta, index, finish = get("delta"), get("index"), get("finish_reason")
            if delta is None and not self._began and "message" in choice:
                delta = self._whole_answer(choice["message"])
            chunk = Chunk(
                "",
                index if type(index) is int else _place(choices, choice),
                None,
                "",
                "",
                (),
                as_finish_reason("finish_reason", finish) if finish else None,
                None,
                get("logprobs"),
                None,
                ident,
                model,
                created,
                fingerprint,
                raw,
            )
            if delta:
                if type(delta) is not dict and not isinstance(delta, Mapping):
                    raise wrong_type(
                        f"choices[{_place(choices, choice)}].delta", delta, "an object"
                    )
                content = delta.get("content")
                if type(content) is str:
                    chunk.delta = content
                elif content is not None:
                    _read_content_parts(content, chunk)
                if len(delta) > 1 or content is None:
                    _read_rest_of_delta(delta, chunk)
                    if chunk.extra is not None and "thinking_blocks" in chunk.extra:
                        self._read_thinking_blocks(chunk, chunk.extra)
            if "usage" in choice:  # Moonshot's home of it
                usage = usage or choice["usage"]
            if usage:
                chunk.usage, usage = usage_of(usage), None
            elif "x_groq" in payload:
                chunk.usage = _groq_usage(payload["x_groq"])
            if "citations" in payload or "search_results" in payload:
                self._read_sources(payload, chunk)
            if "error" in choice and (reported := choice["error"]):
                failure = api_error(reported)
            if choice is not NOTHING or chunk.usage is not None or chunk.extra is not None:
                out.append(chunk)
        if choices is _NO_CHOICE:
            raise_reported(payload)
            return
        self._began = True
        if "error" in payload:
            raise_reported(payload)
        if failure is not None:
            raise failure

    def _whole_answer(self, message: Any) -> Any:
        """Take the whole answer of a server that ignores `stream`; it may be framed or not."""
        if message:
            self.done = True
            self._quirks.add("answer_not_streamed")
        return message

    def _read_thinking_blocks(self, chunk: Chunk, extra: Mapping[str, Any]) -> None:
        """Take Claude's thinking out of its own blocks, into the form that goes back."""
        blocks = self._thinking.setdefault(chunk.index, ThinkingBlocks())
        details = blocks.details(extra["thinking_blocks"])
        if details is None or "reasoning_details" in extra:
            return
        said = {"thinking_blocks": extra["thinking_blocks"]}
        # They are there once more, under `provider_specific_fields`.
        rest = {name: value for name, value in extra.items() if name not in said and value != said}
        chunk.extra = {**rest, "reasoning_details": details} if details else rest or None
        # Mostly it stands in `reasoning_content` too.
        chunk.reasoning = chunk.reasoning or _reasoning_details(details)

    def _read_sources(self, payload: Mapping[str, Any], chunk: Chunk) -> None:
        """Take what an answer rests on; Perplexity repeats all of it with every chunk."""
        for name in ("citations", "search_results"):
            given = payload.get(name)
            known = self._sources.setdefault(name, [])
            if given == known or not isinstance(given, list):
                continue
            new = [source for source in given if source not in known]
            if new:
                known += new
                add_extra(chunk, {name: new})


def raise_reported(payload: Mapping[str, Any]) -> None:
    """Raise the error that an object reports, beside an answer or in its place."""
    if payload.get("error"):
        raise api_error(payload["error"], whole=payload)
    if payload.get("choices"):
        return
    if payload.get("detail") or payload.get("object") == "error":  # FastAPI; older vLLM
        raise api_error(payload.get("detail"), whole=payload)
    base = payload.get("base_resp")  # MiniMax
    if isinstance(base, Mapping) and (status := base.get("status_code")) not in _NO_FAILURE:
        raise api_error({"message": base.get("status_msg") or base, "code": status})
    code, message = payload.get("code"), payload.get("message")  # DashScope, Spark, gateways
    failed = isinstance(code, str | int) and code not in _NO_FAILURE
    bare = code is None and payload.keys() <= _KNOWN_IN_ERROR  # else a gateway's sign of life
    if failed or (bare and isinstance(message, str) and message):
        raise api_error(payload)


def _place(choices: list[Any], choice: object) -> int:
    return next(place for place, each in enumerate(choices) if each is choice)


def _labels(
    ident: Any, model: Any, created: Any, fingerprint: Any
) -> tuple[str | None, str | None, int | None, str | None]:
    return (
        as_word(ident),
        as_word(model),
        created if type(created) is int else None,
        fingerprint if isinstance(fingerprint, str) else None,
    )


def _read_rest_of_delta(delta: Mapping[str, Any], chunk: Chunk) -> None:
    calls = delta.get("tool_calls")
    if calls:
        chunk.tool_calls = _tool_calls(calls)
        if len(delta) == 1:
            return
    role = delta.get("role")
    if role:
        chunk.role = as_word(role)
    refusal = delta.get("refusal")
    if refusal is not None:
        chunk.refusal = as_text("refusal", refusal)
    # The same thought often comes in several of its homes at once: the first one counts.
    reasoning = delta.get("reasoning_content") or delta.get("reasoning")
    if reasoning and type(reasoning) is not str and isinstance(reasoning, Mapping):
        _read_reasoning_object(reasoning, chunk)
    elif reasoning:
        chunk.reasoning += as_text("reasoning", reasoning)
    elif delta.get("reasoning_details"):
        chunk.reasoning += _reasoning_details(delta["reasoning_details"])
    if not calls and delta.get("function_call"):  # deprecated by OpenAI in favour of tool_calls
        chunk.tool_calls = (function_call(0, {"function": delta["function_call"]}),)
    if not delta.keys() <= _KNOWN_IN_DELTA:
        add_extra(chunk, rest_of(delta, _KNOWN_IN_DELTA))


def _read_reasoning_object(reasoning: Mapping[str, Any], chunk: Chunk) -> None:
    text = reasoning.get("text")
    known = {"text"} if isinstance(text, str) else NOTHING.keys()
    chunk.reasoning += text if isinstance(text, str) else ""
    if rest := rest_of(reasoning, known):
        add_extra(chunk, {"reasoning": rest})


def _read_content_parts(content: Any, chunk: Chunk) -> None:
    """Read a content that is a list of parts, as Mistral and Databricks send reasoning."""
    if not isinstance(content, list):
        raise wrong_type("content", content, "a string")
    for place, part in enumerate(content):
        if isinstance(part, str):
            chunk.delta += part
            continue
        fields = as_object(f"content[{place}]", part)
        text = fields.get("text")
        if isinstance(text, str) and fields.get("type") == "reasoning":
            chunk.reasoning += text
        elif isinstance(text, str):
            chunk.delta += text
        elif "thinking" in fields:
            chunk.reasoning += thoughts_in(fields["thinking"])
        elif isinstance(summary := fields.get("summary"), list):
            chunk.reasoning += thoughts_in(summary)
            if any(isinstance(one, Mapping) and one.keys() - _SUMMARY for one in summary):
                append_extra(chunk, "content_parts", fields)  # signed, say
        else:  # Mistral's references, images
            append_extra(chunk, "content_parts", fields)


def thoughts_in(value: Any) -> str:
    """Give the text of thoughts that come as one or as a list of parts."""
    if isinstance(value, list):
        return "".join(
            part["text"]
            for part in value
            if isinstance(part, Mapping) and isinstance(part.get("text"), str)
        )
    return as_text("thinking", value)


def _reasoning_details(details: Any) -> str:
    """Take the text out of OpenRouter's list; summaries count, encrypted parts have none."""
    if not isinstance(details, list):
        raise wrong_type("reasoning_details", details, "a list")
    return "".join(
        text
        for detail in details
        if isinstance(detail, Mapping)
        and isinstance(text := detail.get("text") or detail.get("summary") or "", str)
    )


def _tool_calls(calls: Any) -> tuple[ToolCallDelta, ...]:
    # The hot path: one more piece of one call's arguments, and nothing else.
    if type(calls) is list and len(calls) == 1 and type(calls[0]) is dict and len(calls[0]) == 2:
        index, function = calls[0].get("index"), calls[0].get("function")
        if type(index) is int and type(function) is dict and len(function) == 1:
            arguments = function.get("arguments")
            if type(arguments) is str:
                return (ToolCallDelta(index, None, None, arguments, None),)
    return tuple(map(_tool_call, as_objects("tool_calls", calls)))


def _tool_call(call: Mapping[str, Any]) -> ToolCallDelta:
    index = call.get("index")
    return function_call(index if type(index) is int else None, call)


def function_call(index: int | None, call: Mapping[str, Any]) -> ToolCallDelta:
    """Read a piece of a call of a function, whose number is told by the caller."""
    if call.get("custom"):
        return _custom_call(index, call)
    function = as_object("tool_calls[].function", call.get("function") or NOTHING)
    return ToolCallDelta(
        index,
        as_label("tool_calls[].id", call.get("id")),
        as_label("tool_calls[].function.name", function.get("name")),
        as_arguments("tool_calls[].function.arguments", function.get("arguments")),
        None if call.keys() <= _KNOWN_IN_CALL else rest_of(call, _KNOWN_IN_CALL) or None,
    )


def _custom_call(index: int | None, call: Mapping[str, Any]) -> ToolCallDelta:
    """Read a piece of a call of a custom tool: its arguments are plain text."""
    custom = as_object("tool_calls[].custom", call["custom"])
    return ToolCallDelta(
        index,
        as_label("tool_calls[].id", call.get("id")),
        as_label("tool_calls[].custom.name", custom.get("name")),
        as_text("tool_calls[].custom.input", custom.get("input")),
        {**rest_of(call, _KNOWN_IN_CALL), "type": "custom"},
    )


def _groq_usage(value: Any) -> Usage | None:
    inner = value.get("usage") if isinstance(value, Mapping) else None
    return usage_of(inner) if inner else None


def usage_of(value: Any) -> Usage:
    """Read the tokens that a request took."""
    fields = as_object("usage", value)
    reasoning = count_in(fields.get("completion_tokens_details"), "reasoning_tokens")
    cached = count_in(fields.get("prompt_tokens_details"), "cached_tokens")
    # On top a zero is mostly a default that nobody counted, so it is none.
    if reasoning is None:  # Perplexity, SGLang
        reasoning = count_in(fields, "reasoning_tokens") or None
    for name in ("cached_tokens", "prompt_cache_hit_tokens"):  # Moonshot; DeepSeek
        if cached is None:
            cached = count_in(fields, name) or None
    return Usage(
        count_in(fields, "prompt_tokens"),
        count_in(fields, "completion_tokens"),
        count_in(fields, "total_tokens"),
        reasoning,
        cached,
        fields,
    )
