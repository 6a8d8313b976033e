"""
The objects of an OpenAI chat stream, made from deltas, and the answer of a server without script.

Their shape is that of ``POST /v1/chat/completions`` with ``stream`` set
(https://platform.openai.com/docs/api-reference/chat-streaming).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def compact(obj: object) -> str:
    """Write a value as JSON without spaces, in its own alphabet."""
    return json.dumps(obj, separators=(",", ":"), ensure_ascii=False)


def words(text: str) -> list[str]:
    """Split a text into words that keep the spaces before them: joined they give it back."""
    return re.findall(r"\s*\S+|\s+", text)


def call_deltas(index: int, call: Mapping[str, Any], fragment: int) -> list[dict[str, Any]]:
    """Announce a tool call by name, then give its arguments, ``fragment`` characters a delta."""
    if "name" not in call:
        raise ValueError(f"a call has no name: {call!r}")
    arguments = call.get("arguments", {})
    text = arguments if isinstance(arguments, str) else compact(arguments)
    head = {
        "index": index,
        "id": call.get("id", f"call_{index}"),
        "type": "function",
        "function": {"name": call["name"], "arguments": ""},
    }
    parts = (text[at : at + fragment] for at in range(0, len(text), fragment))
    tail = [{"index": index, "function": {"arguments": part}} for part in parts]
    return [{"tool_calls": [delta]} for delta in (head, *tail)]


def chunks(
    request: Mapping[str, Any],
    deltas: Sequence[Mapping[str, Any]],
    finish_reason: str | None,
    *,
    n: int | None,
    usage: bool,
) -> Iterator[dict[str, Any]]:
    """Give the chunks that answer this request; with several choices they take turns."""
    base = {
        "id": "chatcmpl-fake",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": request.get("model") or "fake-model",
    }
    wanted = request.get("n") if n is None else n
    choices = range(wanted if isinstance(wanted, int) else 1)
    for delta in ({"role": "assistant", "content": ""}, *deltas):
        for index in choices:
            yield base | {"choices": [{"index": index, "delta": delta, "finish_reason": None}]}
    if finish_reason is not None:
        for index in choices:
            choice = {"index": index, "delta": {}, "finish_reason": finish_reason}
            yield base | {"choices": [choice]}
    options = request.get("stream_options")
    if usage and isinstance(options, dict) and options.get("include_usage") is True:
        sent, given = len(words(" ".join(_texts(request)))), len(deltas) * len(choices)
        total = {"prompt_tokens": sent, "completion_tokens": given, "total_tokens": sent + given}
        yield base | {"choices": [], "usage": total}


def echo(request: object) -> str:
    """Say something friendly that quotes the last message that the user sent."""
    said = list(_texts(request, role="user"))
    quoted = f"You said: “{said[-1].strip()}”." if said else "You said nothing."
    return f"{quoted} I am llm_kit's built-in test server: no model is here, I only repeat."


def _texts(request: object, role: str | None = None) -> Iterator[str]:
    """Find the messages' texts in a request of any shape; a message may be a list of parts."""
    messages = request.get("messages") if isinstance(request, dict) else None
    for message in messages if isinstance(messages, list) else ():
        if isinstance(message, dict) and role in (None, message.get("role")):
            content = message.get("content")
            parts = content if isinstance(content, list) else [{"text": content}]
            texts = [part.get("text") for part in parts if isinstance(part, dict)]
            yield " ".join(text for text in texts if isinstance(text, str))
