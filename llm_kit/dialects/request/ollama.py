"""
What Ollama is asked: its chat.

Source of the form: https://docs.ollama.com/api, and Ollama's ``api/types.go`` for the fields.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llm_kit.dialects.base import Chat
from llm_kit.dialects.request.continuing import continued, mode_for
from llm_kit.dialects.request.parameters import (
    format_in,
    limit_in,
    moved,
    params_of,
    refuse_several_answers,
    texts_of_stop,
)
from llm_kit.dialects.request.translate import (
    CalledFunctions,
    Media,
    arguments_of,
    calls_of,
    each_message,
    parts_of,
    refuse_hints,
    untranslatable,
)
from llm_kit.policies import ContinueMode

_NAME = "ollama"

# OpenAI's parameters that Ollama knows as options of the model.
_OPTIONS = {
    "temperature": "temperature",
    "top_p": "top_p",
    "seed": "seed",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
}
# Those that it would ignore: it refuses no field that it does not know.
_OTHERWISE = dict.fromkeys(("logit_bias", "parallel_tool_calls"), "leave it out") | {
    "functions": "write tools",
    "function_call": "write tools",
}
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
        "name",
        "content",
        "images",
        "refusal",
        "reasoning",
        "reasoning_content",
        "reasoning_details",
        "tool_calls",
    }
)


def request_body(chat: Chat) -> dict[str, Any]:
    """
    Give the JSON body of a streaming request; see `ChatDialect.request_body`.

    Reasoning goes back as ``thinking`` if it is text; what another provider sealed is left out.

    Raises:
        TypeError, ValueError: something can't be said in this form; nothing is dropped.
    """
    params = params_of(chat, _NAME, _OTHERWISE)
    refuse_several_answers(chat, _NAME)
    body: dict[str, Any] = {"messages": _messages(chat.messages), "stream": True}
    if chat.model is not None:
        body["model"] = chat.model
    may_call = _may_call(params.pop("tool_choice", None))
    if chat.tools is not None and may_call:
        body["tools"] = chat.tools
    if options := _options(chat, params):
        body["options"] = options
    form = format_in(params)
    if form is not None:
        body["format"] = form
    if effort := params.pop("reasoning_effort", None):
        body["think"] = _think(effort)
    return body | params


def can_be_continued(body: Mapping[str, Any]) -> bool:
    """Tell whether a server could go on in the middle: not in that of a JSON value."""
    return not body.get("format")


def continued_body(
    body: Mapping[str, Any], text: str, url: str, mode: ContinueMode, instruction: str
) -> tuple[dict[str, Any], str]:
    """
    Give the body of the request that goes on from a text; see `ChatDialect.continued_body`.

    Whether a last message of the assistant's is continued ("plain") depends on the model's
    template, so "auto" instructs.
    """
    return continued(body, text, url, mode_for(mode, _NAME, "instruct", "plain"), instruction)


def _messages(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    functions = CalledFunctions()
    translated = []
    for message, where in each_message(messages, _NAME):
        role = message.get("role")
        if not isinstance(role, str) or role not in _ROLES:
            raise untranslatable(_NAME, f"{where}.role", f"the role {role!r}")
        new = _message(message, where)
        if role == "assistant":
            functions.add(calls_of(message, where))
        elif role == "tool" and not message.get("tool_name"):
            new["tool_name"] = functions.name_for(message, where)
        translated.append(new)
    return translated


def _message(message: Mapping[str, Any], where: str) -> dict[str, Any]:
    text = ""
    images: list[str] = list(message.get("images") or ())
    for place, part in enumerate(parts_of(message, where)):
        at = f"{where}.content[{place}]"
        if isinstance(part, str):
            text += part
        elif isinstance(part, Media) and part.kind == "image" and part.data and not part.more:
            refuse_hints(part, _NAME, at)
            images.append(part.data)
        else:
            raise untranslatable(_NAME, at, part)
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
    options, limit = moved(params, _OPTIONS), limit_in(params)
    if limit is not None:
        options["num_predict"] = limit
    if chat.stop is not None:
        options["stop"] = texts_of_stop(chat.stop)
    return options | dict(params.pop("options", None) or {})


def _think(effort: Any) -> bool | str:
    if not isinstance(effort, str) or effort not in _EFFORTS:
        raise ValueError(
            f"reasoning_effort={effort!r}: Ollama knows {', '.join(_EFFORTS)};"
            " its own parameter is `think`"
        )
    return _EFFORTS[effort]
