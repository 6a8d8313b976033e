"""
What Claude is asked: the request of Anthropic's Messages API.

Sources: the API reference at https://platform.claude.com/docs/en/api/messages, and "Extended
thinking" and "Mid-conversation system messages" in the guides beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llm_kit.dialects.base import Chat
from llm_kit.dialects.request.continuing import continued, mode_for
from llm_kit.dialects.request.parameters import (
    limit_in,
    params_of,
    refuse_several_answers,
    texts_of_stop,
)
from llm_kit.dialects.request.translate import (
    Media,
    Part,
    arguments_of,
    calls_of,
    details_of,
    each_message,
    function_chosen,
    function_of,
    id_of,
    parts_of,
    refuse_hints,
    untranslatable,
)
from llm_kit.dialects.thinking_blocks import REASONING_FORMAT
from llm_kit.policies import ContinueMode

_NAME = "anthropic"
_MAX_TOKENS = 4096

# OpenAI's parameters that are said otherwise here, and how.
_OTHERWISE = {
    "response_format": 'write output_config={"format": {"type": "json_schema", "schema": {...}}}',
    "reasoning_effort": 'write output_config={"effort": ...}',
    "user": 'write metadata={"user_id": ...}',
    "functions": "write tools",
    "function_call": "write tool_choice",
}
# Parts of OpenAI's messages that Claude can't take; other types may be Anthropic's own.
_FOREIGN_PARTS = frozenset({"input_audio", "file", "image_url", "video_url"})
_CHOICES = {"auto": "auto", "none": "none", "required": "any"}


def request_body(chat: Chat) -> dict[str, Any]:
    """
    Give the JSON body of a streaming request; see `ChatDialect.request_body`.

    ``max_tokens`` must be there in this API; where the chat has none it is 4096. Usage is
    always sent, so ``include_usage`` means nothing here. System messages that lead the chat
    become ``system``; later ones stay where they are: Claude reads them there since Opus 4.8,
    and a model that does not refuses the request. Reasoning is sent back if Claude signed it;
    blank texts, and an assistant's message that says nothing, are left out, because the API
    refuses them.

    Raises:
        TypeError, ValueError: something can't be said in this form; nothing is dropped.
    """
    params = params_of(chat, _NAME, _OTHERWISE)
    refuse_several_answers(chat, _NAME)
    limit = limit_in(params)
    choice = _tool_choice(params.pop("tool_choice", None), params.pop("parallel_tool_calls", None))
    system, messages = _messages(chat.messages)
    if system and "system" in params:
        raise ValueError("system is given twice: by messages and as a parameter; give one")
    optional = {
        "model": chat.model,
        "system": system,
        "tools": [_tool(tool, f"tools[{place}]") for place, tool in enumerate(chat.tools or ())],
        "tool_choice": choice,
        "stop_sequences": texts_of_stop(chat.stop or ()),
    }
    return {
        **{name: value for name, value in optional.items() if value},
        "max_tokens": _MAX_TOKENS if limit is None else limit,
        "messages": messages,
        "stream": True,
        **params,
    }


def can_be_continued(body: Mapping[str, Any]) -> bool:
    """Tell whether a server could go on in the middle of the answer to this request."""
    choice, output = body.get("tool_choice"), body.get("output_config")
    forced = isinstance(choice, Mapping) and choice.get("type") in ("any", "tool")
    json_only = isinstance(output, Mapping) and output.get("format") is not None
    return not forced and not json_only


def continued_body(
    body: Mapping[str, Any], text: str, url: str, mode: ContinueMode, instruction: str
) -> tuple[dict[str, Any], str]:
    """
    Give the body of the request that goes on from a text; see `ChatDialect.continued_body`.

    A prefill ("plain") is not the default, as Claude refuses it since 4.6, and earlier while
    it thinks.
    """
    return continued(body, text, url, mode_for(mode, _NAME, "instruct", "plain"), instruction)


def _tool_choice(choice: Any, parallel: bool | None) -> Any:
    if isinstance(choice, str):
        if choice not in _CHOICES:
            words = ", ".join(map(repr, _CHOICES))
            raise ValueError(f"tool_choice is {choice!r}; it may be {words}, or name a tool")
        choice = {"type": _CHOICES[choice]}
    elif name := function_chosen(choice):
        choice = {"type": "tool", "name": name}
    elif choice is not None and not isinstance(choice, Mapping):
        raise TypeError(f"tool_choice must be a word or a dict, not {choice!r:.100}")
    if parallel is False and choice != {"type": "none"}:
        return {"disable_parallel_tool_use": True, **(choice or {"type": "auto"})}
    return choice


def _tool(tool: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    function = function_of(tool, where)
    if function is None:
        return tool
    fields = {
        "description": function.description,
        # What the API wants of a tool without parameters; OpenAI's takes it without a schema.
        "input_schema": function.parameters or {"type": "object", "properties": {}},
        "strict": function.strict,
    }
    return {
        "name": function.name,
        **{name: value for name, value in fields.items() if value is not None},
        **function.more,
    }


def _messages(messages: Sequence[Mapping[str, Any]]) -> tuple[Any, list[dict[str, Any]]]:
    """Give the system prompt, and the messages without it."""
    system: list[dict[str, Any]] = []
    sent: list[dict[str, Any]] = []
    results: list[dict[str, Any]] | None = None
    for message, at in each_message(messages, _NAME):
        role = message.get("role")
        if role == "tool":
            if results is None:
                results = []
                sent.append({"role": "user", "content": results})
            results.append(_tool_result(message, at))
            continue
        results = None
        if role in ("system", "developer"):
            blocks = _blocks(message, at)
            if sent:
                sent.append({"role": "system", "content": _content(blocks)})
            else:
                system += blocks
        elif role == "user":
            sent.append({"role": role, "content": _content(_blocks(message, at))})
        elif role == "assistant":
            blocks = _assistant_blocks(message, at)
            if blocks:
                sent.append({"role": role, "content": _content(blocks)})
        else:
            raise untranslatable(_NAME, f"{at}.role", f"the role {role!r}")
    return _content(system), sent


def _content(blocks: list[dict[str, Any]]) -> Any:
    """Give blocks as a message's content: one plain text, or none, is a string."""
    if not blocks:
        return ""
    only = blocks[0]
    if len(blocks) == 1 and only.keys() == {"type", "text"}:
        return only["text"]
    return blocks


def _blocks(message: Mapping[str, Any], at: str) -> list[dict[str, Any]]:
    return [
        _block(part, f"{at}.content[{place}]")
        for place, part in enumerate(parts_of(message, at))
        if not isinstance(part, str) or part.strip()  # the API refuses blank texts
    ]


def _block(part: Part, at: str) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    if isinstance(part, Media):
        return _media(part, at)
    if part.get("type") == "refusal" and isinstance(part.get("refusal"), str):
        return {"type": "text", "text": part["refusal"]}
    if not isinstance(part.get("type"), str) or part["type"] in _FOREIGN_PARTS:
        raise untranslatable(_NAME, at, part)
    return dict(part)


def _media(media: Media, at: str) -> dict[str, Any]:
    refuse_hints(media, _NAME, at)
    source: dict[str, Any]
    if media.url:
        source = {"type": "url", "url": media.url}
    elif media.data and media.mime:
        source = {"type": "base64", "media_type": media.mime, "data": media.data}
    else:
        raise untranslatable(_NAME, at, media)
    if media.kind == "image":
        return {"type": "image", "source": source, **media.more}
    if media.kind == "file" and media.mime in (None, "application/pdf"):
        title = {"title": media.name} if media.name else {}
        return {"type": "document", "source": source, **title, **media.more}
    raise untranslatable(_NAME, at, media)


def _assistant_blocks(message: Mapping[str, Any], at: str) -> list[dict[str, Any]]:
    blocks = _blocks(message, at)
    if message.get("refusal"):
        blocks.append({"type": "text", "text": message["refusal"]})
    for call, name, where in calls_of(message, at):
        block = {
            "type": "tool_use",
            "id": id_of(call, "id", where),
            "name": name,
            "input": arguments_of(call, where),
        }
        if "caller" in call:  # whether the model called it, or a program that it wrote
            block["caller"] = call["caller"]
        blocks.append(block)
    # Reasoning alone says nothing: the API refuses a message that ends with it.
    return [*_thinking_blocks(message, at), *blocks] if blocks else []


def _thinking_blocks(message: Mapping[str, Any], at: str) -> Iterator[dict[str, Any]]:
    """Give Claude's own reasoning back; it refuses any that has not its signature."""
    for detail in details_of(message, at, REASONING_FORMAT):
        if detail.get("type") == "reasoning.encrypted" and detail.get("data"):
            yield {"type": "redacted_thinking", "data": detail["data"]}
        elif detail.get("signature"):
            text, signature = detail.get("text") or "", detail["signature"]
            yield {"type": "thinking", "thinking": text, "signature": signature}


def _tool_result(message: Mapping[str, Any], at: str) -> dict[str, Any]:
    ident = id_of(message, "tool_call_id", at)
    return {"type": "tool_result", "tool_use_id": ident, "content": _content(_blocks(message, at))}
