"""
What is asked of OpenAI's Responses API, and of the servers that imitate it.

Source of the form: OpenAI's API reference, "Create a model response", and its guide "Migrate to
the Responses API" for what became of Chat Completions' fields.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llm_kit.dialects.base import Chat
from llm_kit.dialects.fields import as_json
from llm_kit.dialects.request.continuing import is_free, mode_for
from llm_kit.dialects.request.parameters import limit_in, params_of, refuse_several_answers
from llm_kit.dialects.request.translate import (
    Media,
    calls_of,
    details_of,
    each_message,
    function_of,
    id_of,
    parts_of,
    untranslatable,
)
from llm_kit.policies import ContinueMode

_NAME = "responses"

REASONING_FORMAT = "openai-responses-v1"
"""OpenRouter's name for reasoning that only this API can read (its "Reasoning tokens" page)."""

ECHOED_IN_CALL = ("namespace", "caller")
"""Of a call's other fields those that the server wants back; an SDK adds fields of its own."""

_OTHERWISE = {"functions": "write tools", "function_call": "write tool_choice"}


def request_body(chat: Chat) -> dict[str, Any]:
    """
    Give the JSON body of a streaming request; see `ChatDialect.request_body`.

    Messages that are input items already (those with a ``type``) go as they are. Reasoning is
    sent back if it is of this API. Usage is always sent, so ``include_usage`` means nothing here.

    Raises:
        TypeError, ValueError: something can't be said in this form; nothing is dropped.
    """
    if chat.stop:
        raise ValueError(
            "the Responses API has no stop sequences; leave `stop` out and end the stream"
            " yourself, or use Chat Completions"
        )
    refuse_several_answers(chat, _NAME)
    body: dict[str, Any] = {"input": list(_input_items(chat.messages)), "stream": True}
    if chat.model is not None:
        body["model"] = chat.model
    if chat.tools is not None:
        body["tools"] = [_tool(tool, f"tools[{place}]") for place, tool in enumerate(chat.tools)]
    return {**body, **_params(params_of(chat, _NAME, _OTHERWISE))}


def can_be_continued(body: Mapping[str, Any]) -> bool:
    """Tell whether a server could go on in the middle of the answer to this request."""
    text = body.get("text")
    form = text.get("format") if isinstance(text, Mapping) else None
    return is_free(form, body.get("tool_choice"))


def continued_body(
    body: Mapping[str, Any],
    text: str,
    url: str,  # noqa: ARG001
    mode: ContinueMode,
    instruction: str,
) -> tuple[dict[str, Any], str]:
    """
    Give the body of the request that goes on from a text; see `ChatDialect.continued_body`.

    Of the modes only to instruct: the API can't take a message up again.
    """
    mode_for(mode, _NAME, "instruct")
    asked = body["input"]
    items = [_message("user", asked)] if isinstance(asked, str) else list(asked)
    items += [_message("assistant", text), _message("user", instruction)]
    return {**body, "input": items}, ""


def _input_items(messages: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    custom: set[str] = set()  # ids of the calls of custom tools
    for message, where in each_message(messages, _NAME):
        role = message.get("role")
        if "type" in message:
            yield message  # an input item already: messages of Chat Completions have no type
        elif role in ("system", "developer", "user"):
            content = message.get("content")
            whole = content if isinstance(content, str) else _input_parts(message, where)
            yield _message(role, whole)
        elif role == "assistant":
            yield from _assistant_items(message, where, custom)
        elif role == "tool":
            yield _tool_output(message, where, custom)
        else:
            raise untranslatable(_NAME, f"{where}.role", f"the role {role!r}")


def _message(role: str, content: Any) -> dict[str, Any]:
    return {"type": "message", "role": role, "content": content}


def _input_parts(message: Mapping[str, Any], where: str) -> list[Mapping[str, Any]]:
    parts: list[Mapping[str, Any]] = []
    for place, part in enumerate(parts_of(message, where)):
        if isinstance(part, str):
            parts.append({"type": "input_text", "text": part})
        elif isinstance(part, Media) and part.kind != "audio":
            parts.append({**_media(message["content"][place]), **part.more})
        elif isinstance(part, Mapping) and _is_own(part):
            parts.append(part)
        else:
            raise untranslatable(_NAME, f"{where}.content[{place}]", part)
    return parts


def _is_own(part: Mapping[str, Any]) -> bool:
    return str(part.get("type")).startswith("input_")


def _media(part: Mapping[str, Any]) -> dict[str, Any]:
    """Give an image or a file: in both APIs it has the same fields, but here they lie flat."""
    if part["type"] == "file":
        return {"type": "input_file", **part["file"]}
    image = part["image_url"]
    fields = image if isinstance(image, Mapping) else {"url": image}
    detail = {"detail": fields["detail"]} if "detail" in fields else {}
    return {"type": "input_image", "image_url": fields["url"], **detail}


def _assistant_items(
    message: Mapping[str, Any], where: str, custom: set[str]
) -> Iterator[Mapping[str, Any]]:
    yield from _reasoning_items(message, where)
    parts: list[str | Mapping[str, Any]] = []
    for place, part in enumerate(parts_of(message, where)):
        native = isinstance(part, Mapping) and part.get("type") in ("output_text", "refusal")
        if isinstance(part, Media) or not (native or isinstance(part, str)):
            raise untranslatable(_NAME, f"{where}.content[{place}]", part)
        parts.append(part)
    if message.get("refusal"):
        parts.append({"type": "refusal", "refusal": message["refusal"]})
    texts = [part for part in parts if isinstance(part, str)]
    if len(texts) < len(parts):
        yield _message("assistant", [_output_part(part) for part in parts])
    elif text := "".join(texts):
        yield _message("assistant", text)
    calls = message.get("tool_calls")
    if isinstance(calls, Sequence):
        calls = [_as_function_call(call) for call in calls]
    for call, name, at in calls_of({"tool_calls": calls}, where):
        ident, arguments = id_of(call, "id", at), call["function"].get("arguments")
        echoed = {field: call[field] for field in ECHOED_IN_CALL if field in call}
        head = {"call_id": ident, "name": name, **echoed}
        if call.get("type") == "custom":
            custom.add(ident)
            yield {"type": "custom_tool_call", **head, "input": arguments or ""}
        else:
            if not isinstance(arguments, str):
                arguments = as_json(arguments or {})
            yield {"type": "function_call", **head, "arguments": arguments or "{}"}


def _output_part(part: str | Mapping[str, Any]) -> Mapping[str, Any]:
    if isinstance(part, str):
        return {"type": "output_text", "text": part, "annotations": []}
    return part


def _as_function_call(call: Any) -> Any:
    """Give a custom tool's call the fields that results have for every call."""
    inner = call.get("custom") if isinstance(call, Mapping) else None
    if not isinstance(inner, Mapping):
        return call
    return {**call, "function": {"name": inner.get("name"), "arguments": inner.get("input")}}


def _reasoning_items(message: Mapping[str, Any], where: str) -> list[dict[str, Any]]:
    """
    Put reasoning together again of the details that the stream gave.

    An item without its thoughts, open or encrypted, would only point to what the server may
    have kept, and fails where it has not: it is left out.
    """
    items: list[dict[str, Any]] = []
    for detail in details_of(message, where, REASONING_FORMAT):
        ident = detail.get("id")
        if not items or items[-1].get("id") != ident or "encrypted_content" in items[-1]:
            named = {"id": ident} if ident else {}
            items.append({"type": "reasoning", **named, "summary": []})
        kind, item = detail.get("type"), items[-1]
        if kind == "reasoning.encrypted":
            item["encrypted_content"] = detail.get("data")
        elif kind == "reasoning.summary":
            item["summary"].append({"type": "summary_text", "text": detail.get("summary")})
        elif kind == "reasoning.text":
            thought = {"type": "reasoning_text", "text": detail.get("text")}
            item.setdefault("content", []).append(thought)
    return [item for item in items if "encrypted_content" in item or "content" in item]


def _tool_output(message: Mapping[str, Any], where: str, custom: set[str]) -> dict[str, Any]:
    ident, content = id_of(message, "tool_call_id", where), message.get("content")
    kind = "custom_tool_call_output" if ident in custom else "function_call_output"
    if not isinstance(content, str):
        parts = _input_parts(message, where)
        texts = [part["text"] for part in parts if part.keys() == {"type", "text"}]
        content = "".join(texts) if len(texts) == len(parts) else parts
    return {"type": kind, "call_id": ident, "output": content}


def _tool(tool: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    function = function_of(tool, where)
    if function is None:
        flat = _flat(tool)
        return {**flat, "format": _flat(flat["format"])} if "format" in flat else flat
    described = {} if function.description is None else {"description": function.description}
    return {
        "type": "function",
        "name": function.name,
        **described,
        "parameters": function.parameters,
        # Unlike Chat Completions this API is strict unless told otherwise.
        "strict": bool(function.strict),
        **function.more,
    }


def _flat(value: Any) -> Any:
    """Lift what Chat Completions nests under its type's name; anything else stays as it is."""
    kind = value.get("type") if isinstance(value, Mapping) else None
    inner = value.get(kind) if isinstance(kind, str) else None
    return {"type": kind, **inner} if isinstance(inner, Mapping) else value


def _params(params: dict[str, Any]) -> dict[str, Any]:
    """Put Chat Completions' everyday parameters where this API has them."""
    limit = limit_in(params)
    if limit is not None:
        params.setdefault("max_output_tokens", limit)
    for name, place, key in (
        ("reasoning_effort", "reasoning", "effort"),
        ("response_format", "text", "format"),
        ("verbosity", "text", "verbosity"),
    ):
        value = _flat(params.pop(name, None))
        if value is not None and isinstance(own := params.get(place) or {}, Mapping):
            params[place] = {key: value, **own}
    if "tool_choice" in params:
        choice = params["tool_choice"] = _flat(params["tool_choice"])
        if isinstance(choice, Mapping) and isinstance(choice.get("tools"), list):
            params["tool_choice"] = {**choice, "tools": [_flat(tool) for tool in choice["tools"]]}
    return params
