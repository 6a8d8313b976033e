"""
The parameters of OpenAI's API, for those that have them elsewhere or not at all.

What an API would ignore, or knows only in another form, is an error that says what to write.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from llm_kit.dialects.base import Chat


def params_of(chat: Chat, dialect: str, otherwise: Mapping[str, str]) -> dict[str, Any]:
    """
    Give the chat's parameters, free to change.

    Args:
        otherwise: OpenAI's parameters that the API does not have, and what to do instead.

    Raises:
        ValueError: one of these is given; as None it says nothing.
    """
    params = dict(chat.params)
    for name, instead in otherwise.items():
        if params.pop(name, None) is not None:
            raise ValueError(f"the {dialect!r} dialect has no {name}: {instead}")
    return params


def refuse_several_answers(chat: Chat, dialect: str) -> None:
    """Refuse an ``n`` in dialects whose API gives one answer to a request."""
    if chat.n not in (None, 1):
        raise ValueError(
            f"n is {chat.n!r}, and the {dialect!r} dialect has one answer to a request:"
            " leave it out and ask several times"
        )


def limit_in(params: dict[str, Any]) -> Any:
    """Take the answer's limit out of the parameters, whichever of its two names it has."""
    older, newer = params.pop("max_tokens", None), params.pop("max_completion_tokens", None)
    if older is not None and newer is not None:
        raise ValueError("max_tokens and max_completion_tokens name one limit: give one of them")
    return newer if older is None else older


def moved(params: dict[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Take parameters out that have another place, each under its name there."""
    found = {here: params.pop(name, None) for name, here in names.items()}
    return {here: value for here, value in found.items() if value is not None}


def format_in(params: dict[str, Any]) -> Mapping[str, Any] | Literal["json"] | None:
    """Take ``response_format`` out of the parameters: a JSON schema, any JSON, or plain text."""
    form = params.pop("response_format", None)
    fields = form if isinstance(form, Mapping) else {}
    kind, described = fields.get("type"), fields.get("json_schema")
    if form is None or kind == "text":
        return None
    if kind == "json_object":
        return "json"
    schema = described.get("schema") if isinstance(described, Mapping) else None
    if kind != "json_schema" or not isinstance(schema, Mapping):
        raise ValueError(
            'response_format must be {"type": "json_schema", "json_schema": {"schema": ...}},'
            f' {{"type": "json_object"}} or {{"type": "text"}}, not {form!r:.100}'
        )
    return schema


def texts_of_stop(stop: str | Sequence[str]) -> list[str]:
    """Give the texts at which the server shall stop, as a list."""
    return [stop] if isinstance(stop, str) else list(stop)
