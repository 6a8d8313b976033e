"""
Objects of the SDKs -> the wire objects they were made from.

The SDKs are told apart by what their objects have, and none is imported. They are pydantic models
built without validation, some of which add to what was sent, wrap it, or derive further events
from it.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from functools import partial
from typing import Any

# What the helpers of openai (`chat.completions.stream()`) and anthropic (`messages.stream()`)
# derive from the events that they also give: to read these too would be to read it all twice.
_DERIVED = frozenset(
    {
        "content.delta",
        "content.done",
        "refusal.delta",
        "refusal.done",
        "tool_calls.function.arguments.delta",
        "tool_calls.function.arguments.done",
        "logprobs.content.delta",
        "logprobs.content.done",
        "logprobs.refusal.delta",
        "logprobs.refusal.done",
        "text",
        "thinking",
        "signature",
        "citation",
        "input_json",
        "compaction",
    }
)

# Fields of an SDK's own, which were never sent; a snapshot of all so far would make the whole
# stream quadratic besides.
_ADDED = {"snapshot", "parsed", "sdk_http_response", "automatic_function_calling_history"}


def is_model(item: object) -> bool:
    """Tell whether an item is a model that can be dumped."""
    return hasattr(item, "model_dump")


def wire_form(model: Any) -> Mapping[str, Any] | None:
    """
    Give the wire object that a model was made from; None for an event that was never sent.

    Only what was sent is in it: fields that an SDK fills in by itself stay absent. Where nothing
    was sent the model is somebody's own, and all that it says are its defaults.
    """
    kind = getattr(model, "type", None)
    if kind == "chunk":  # the openai SDK's helper has each chunk in an event
        model = getattr(model, "chunk", model)
    elif isinstance(kind, str) and kind in _DERIVED:
        return None
    elif is_model(data := getattr(model, "data", None)):  # mistralai's CompletionEvent
        model = data
    # google-genai's models are known by this field of theirs. They hold bytes, which they would
    # write in another alphabet than was sent.
    has_bytes = hasattr(model, "sdk_http_response")
    dump = partial(
        model.model_dump,
        mode="python" if has_bytes else "json",
        by_alias=True,
        exclude=_ADDED,
        warnings=False,  # the models were not validated: pydantic's doubts say nothing
    )
    dumped: dict[str, Any] = dump(exclude_unset=True) or dump(exclude_none=True)
    return {name: _plain(value) for name, value in dumped.items()} if has_bytes else dumped


def _plain(value: Any) -> Any:
    """Write values as the JSON of Google's APIs has them."""
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Enum):
        return value.value
    return value.isoformat() if isinstance(value, datetime) else value
