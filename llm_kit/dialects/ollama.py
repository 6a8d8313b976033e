"""
Ollama's own API: its chat, and the stream of its older ``/api/generate``.

Source of the format: https://docs.ollama.com/api, and Ollama's ``api/types.go`` for the fields.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar

from llm_kit.dialects.base import Chat, ChatDialect, ChunkSink, api_error, wrong_type
from llm_kit.dialects.continuing import continued
from llm_kit.dialects.openai import (
    _count,
    _finish_reason,
    _function_call,
    _raise_reported,
    _text,
    _unknown,
)
from llm_kit.dialects.translate import (
    Media,
    arguments_of,
    calls_of,
    names_of_calls,
    parts_of,
    texts_of_stop,
    untranslatable,
)
from llm_kit.policies import ContinueMode
from llm_kit.types import Chunk, ToolCallDelta, Usage

# What there is on each line, and in each message; a line with no other fields is a plain token.
_PLAIN = frozenset({"model", "created_at", "message", "response", "done"})
_PLAIN_IN_MESSAGE = frozenset({"role", "content"})
_COUNTS = ("prompt_eval_count", "eval_count")
_KNOWN = _PLAIN.union(_COUNTS, {"done_reason", "logprobs", "thinking", "tool_calls", "error"})
_KNOWN_IN_MESSAGE = _PLAIN_IN_MESSAGE | {"thinking", "tool_calls"}

# OpenAI's parameters that Ollama knows as options of the model.
_OPTIONS = {
    "max_tokens": "num_predict",
    "max_completion_tokens": "num_predict",
    "temperature": "temperature",
    "top_p": "top_p",
    "seed": "seed",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
}
# Those that it would ignore: it refuses no field that it does not know.
_IGNORED = ("logit_bias", "parallel_tool_calls", "functions", "function_call")
_EFFORTS: dict[str, bool | str] = {
    "none": False,
    "low": "low",
    "medium": "medium",
    "high": "high",
    "max": "max",
}
_ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}
_TRANSLATED = frozenset(
    {
        "role",
        "content",
        "images",
        "refusal",
        "reasoning",
        "reasoning_content",
        "reasoning_details",
        "tool_calls",
    }
)
_NOTHING: dict[str, Any] = {}


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

    @staticmethod
    def request_body(chat: Chat) -> dict[str, Any]:
        """Give the JSON body of a streaming request; see `ChatDialect.request_body`."""
        params = dict(chat.params)
        for name in _IGNORED:
            if name in params:
                raise ValueError(f"{name}: Ollama has no such parameter; leave it out")
        if chat.n not in (None, 1):
            raise ValueError(f"n={chat.n}: Ollama gives one answer a request; send several")
        body: dict[str, Any] = {"messages": _messages(chat.messages), "stream": True}
        if chat.model is not None:
            body["model"] = chat.model
        may_call = _may_call(params.pop("tool_choice", None))
        if chat.tools is not None and may_call:
            body["tools"] = chat.tools
        if options := _options(chat, params):
            body["options"] = options
        form = _format(params.pop("response_format", None))
        if form is not None:
            body["format"] = form
        if effort := params.pop("reasoning_effort", None):
            body["think"] = _think(effort)
        return body | params

    @staticmethod
    def can_be_continued(body: Mapping[str, Any]) -> bool:
        """Tell whether a server could go on in the middle: not in that of a JSON value."""
        return not body.get("format")

    @staticmethod
    def continued_body(
        body: Mapping[str, Any], text: str, url: str, mode: ContinueMode, instruction: str
    ) -> tuple[dict[str, Any], str]:
        """
        Give the body of the request that goes on from a text; see `ChatDialect.continued_body`.

        Whether a last message of the assistant's is continued ("plain") depends on the model's
        template, so "auto" instructs.

        Raises:
            ValueError: the mode is one of another API.
        """
        if mode not in ("auto", "instruct", "plain"):
            raise ValueError(
                f'Recovery.mode "{mode}" is none of Ollama\'s: use "instruct" or "plain"'
            )
        return continued(body, text, url, "instruct" if mode == "auto" else mode, instruction)

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
            _raise_reported(payload, None)
            raise wrong_type("message", message, "an object")
        model = payload.get("model")
        chunk = Chunk(
            "" if text is None else _text("message.content", text),
            model=model if type(model) is str and model else None,
            raw=raw,
        )
        if not self._began:  # what stands on every line is said once
            role = message.get("role")
            chunk.role = role if isinstance(role, str) and role else None
            chunk.created = _seconds(payload.get("created_at"))
        if message is payload:
            self._read_rest_of_message(message, chunk)
        elif not message.keys() <= _PLAIN_IN_MESSAGE:
            self._read_rest_of_message(message, chunk)
            chunk.extra = _unknown(message, _KNOWN_IN_MESSAGE)
        if not payload.keys() <= _PLAIN:
            self._read_rest(payload, chunk)
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
            self._began = True
            out.append(chunk)
        if payload.get("done") is True:
            self.done = True
            if chunk.finish_reason is None:  # an old version; or its runner broke off
                self._quirks.add("done_without_reason")
        if message is payload:
            _raise_reported(payload, None)
        elif payload.get("error"):
            raise api_error(payload["error"])

    def _read_rest_of_message(self, message: Mapping[str, Any], chunk: Chunk) -> None:
        chunk.reasoning = _text("message.thinking", message.get("thinking") or "")
        calls = message.get("tool_calls")
        if calls:
            if not isinstance(calls, list):
                raise wrong_type("message.tool_calls", calls, "a list")
            chunk.tool_calls = tuple(self._tool_call(call) for call in calls)

    def _tool_call(self, call: Any) -> ToolCallDelta:
        """Read a call, which is always whole; the number that it has is often that of another."""
        if not isinstance(call, Mapping):
            raise wrong_type("message.tool_calls[]", call, "an object")
        self._calls += 1
        return _function_call(self._calls - 1, call)

    def _read_rest(self, payload: Mapping[str, Any], chunk: Chunk) -> None:
        finish = payload.get("done_reason")
        if finish:
            finish = _finish_reason(finish)
            chunk.finish_reason = "tool_calls" if finish == "stop" and self._calls else finish
        counts = {name: payload[name] for name in _COUNTS if payload.get(name) is not None}
        if counts:
            read, written = (_count(counts, name) for name in _COUNTS)
            chunk.usage = Usage(read, written, raw=counts)
        logprobs = payload.get("logprobs")
        if logprobs:
            chunk.logprobs = {"content": logprobs}  # items and all are OpenAI's, but for this
        # The cloud says with every line which model is behind it: joined it would be no name.
        rest = _unknown(payload, _KNOWN) or _NOTHING
        news = {name: value for name, value in rest.items() if self._said.get(name) != value}
        if news:
            self._said |= news
            chunk.extra = {**(chunk.extra or _NOTHING), **news}


def _seconds(created: Any) -> int | None:
    """Give a moment, which Ollama writes in ISO 8601, in seconds since the epoch."""
    if type(created) is int:
        return created
    try:
        moment = datetime.fromisoformat(created)
    except (TypeError, ValueError):
        return None
    # Without its zone it could be any of a day's hours.
    return int(moment.timestamp()) if moment.tzinfo else None


def _messages(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    names = names_of_calls(messages)
    unanswered: list[str] = []
    translated = []
    for place, message in enumerate(messages):
        where = f"messages[{place}]"
        role = message.get("role")
        if not isinstance(role, str) or role not in _ROLES:
            raise untranslatable("ollama", where, f"the role {role!r}")
        new = _message(message, where)
        if role == "assistant":
            unanswered = [name for _, name, _ in calls_of(message, where)]
        elif role == "tool" and not message.get("tool_name"):
            # Older versions give calls no id: their results come in the calls' order.
            call = message.get("tool_call_id")
            name = names.get(call) if call else None
            if not name and not call and unanswered:
                name = unanswered.pop(0)
            name = name or message.get("name")
            if not name:
                raise ValueError(
                    f"{where} is the result of a call that is not in the chat; give the name of"
                    ' the function as "tool_name"'
                )
            new["tool_name"] = name
        translated.append(new)
    return translated


def _message(message: Mapping[str, Any], where: str) -> dict[str, Any]:
    if message.get("function_call"):
        raise untranslatable("ollama", where, "a `function_call`; give it as `tool_calls`")
    text = ""
    images: list[str] = list(message.get("images") or ())
    for part in parts_of(message, where):
        if isinstance(part, str):
            text += part
        elif isinstance(part, Media) and part.kind == "image" and part.data:
            images.append(part.data)
        else:
            raise untranslatable("ollama", f"{where}.content", part)
    text += message.get("refusal") or ""
    new: dict[str, Any] = {"role": _ROLES[message["role"]], "content": text}
    if images:
        new["images"] = images
    thinking = message.get("reasoning_content") or message.get("reasoning")
    if thinking:
        new["thinking"] = thinking
    calls = [_call(*found) for found in calls_of(message, where)]
    if calls:
        new["tool_calls"] = calls
    new.update(
        (name, value)
        for name, value in message.items()
        if name not in _TRANSLATED and value is not None
    )
    return new


def _call(call: Mapping[str, Any], name: str, where: str) -> dict[str, Any]:
    translated = {
        "type": "function",
        "function": {"name": name, "arguments": arguments_of(call, where)},
    }
    return {"id": call["id"], **translated} if call.get("id") else translated


def _may_call(choice: Any) -> bool:
    if choice not in (None, "auto", "none"):
        raise ValueError(
            f"tool_choice={choice!r}: Ollama can't be made to call a tool; leave it out and give"
            " only the tools that are meant"
        )
    return bool(choice != "none")


def _options(chat: Chat, params: dict[str, Any]) -> dict[str, Any]:
    """Take the parameters out that are options of the model; the user's own options win."""
    options = {own: params.pop(name) for name, own in _OPTIONS.items() if name in params}
    if chat.stop is not None:
        options["stop"] = texts_of_stop(chat.stop)
    return options | dict(params.pop("options", None) or {})


def _format(form: Any) -> Any:
    kind = form.get("type") if isinstance(form, Mapping) else None
    if form is None or kind == "text":
        return None
    if kind == "json_object":
        return "json"
    schema = form.get("json_schema") if isinstance(form, Mapping) else None
    if kind != "json_schema" or not isinstance(schema, Mapping) or "schema" not in schema:
        raise ValueError(
            f'response_format={form!r:.100}: give {{"type": "json_object"}}, {{"type":'
            ' "json_schema", "json_schema": {"schema": ...}}, or Ollama\'s own `format`'
        )
    return schema["schema"]


def _think(effort: Any) -> bool | str:
    if not isinstance(effort, str) or effort not in _EFFORTS:
        raise ValueError(
            f"reasoning_effort={effort!r}: Ollama knows {', '.join(_EFFORTS)};"
            " its own parameter is `think`"
        )
    return _EFFORTS[effort]
