"""
What a Chat Completions server is asked: messages go as they are, but for custom tools' calls.

Source of the form: OpenAI's API reference, "Create chat completion".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def sent_messages(messages: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """Give messages as the API takes them; the caller's own are left as they are."""
    if any(map(_calls_custom_tool, messages)):
        return [_sent(message) if _calls_custom_tool(message) else message for message in messages]
    return messages


def _calls_custom_tool(message: Any) -> bool:
    calls = message.get("tool_calls") if isinstance(message, Mapping) else None
    return isinstance(calls, list | tuple) and any(map(_is_unsent, calls))


def _is_unsent(call: Any) -> bool:
    """Tell a custom tool's call in the form that results have for every call."""
    return (
        isinstance(call, Mapping)
        and call.get("type") == "custom"
        and isinstance(call.get("function"), Mapping)
    )


def _sent(message: Mapping[str, Any]) -> dict[str, Any]:
    calls = [_custom(call) if _is_unsent(call) else call for call in message["tool_calls"]]
    return {**message, "tool_calls": calls}


def _custom(call: Mapping[str, Any]) -> dict[str, Any]:
    function = call["function"]
    rest = {name: value for name, value in call.items() if name != "function"}
    return {**rest, "custom": {"name": function.get("name"), "input": function.get("arguments")}}
