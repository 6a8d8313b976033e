"""
The forms in which streams come: a file a family for what it says.

How each is asked stands in `llm_kit.dialects.request`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from llm_kit.dialects.anthropic import AnthropicDialect
from llm_kit.dialects.base import ChatDialect, Dialect
from llm_kit.dialects.cohere import CohereDialect
from llm_kit.dialects.completions import CompletionsDialect
from llm_kit.dialects.gemini import GeminiDialect
from llm_kit.dialects.ollama import OllamaDialect
from llm_kit.dialects.openai import OpenAIDialect
from llm_kit.dialects.responses import ResponsesDialect

ChatDialectName = Literal["openai", "responses", "anthropic", "gemini", "ollama"]
DialectName = Literal[ChatDialectName, "completions", "cohere"]

DIALECTS: dict[str, type[Dialect]] = {
    dialect.name: dialect
    for dialect in (
        OpenAIDialect,
        ResponsesDialect,
        AnthropicDialect,
        GeminiDialect,
        OllamaDialect,
        CompletionsDialect,
        CohereDialect,
    )
}


def find_dialect(dialect: str | type[Dialect]) -> type[Dialect]:
    """
    Look a dialect up by its public name; a class of the caller's own is given back.

    Raises:
        ValueError: no dialect has that name; the message lists those that exist.
    """
    if isinstance(dialect, type):
        return dialect
    try:
        return DIALECTS[dialect]
    except (KeyError, TypeError):
        known = ", ".join(map(repr, DIALECTS))
        raise ValueError(f"unknown dialect {dialect!r}; this version speaks {known}") from None


def find_chat_dialect(dialect: str | type[ChatDialect]) -> type[ChatDialect]:
    """
    Look a dialect up that can also ask.

    Raises:
        ValueError: no dialect has that name, or it can only be read.
    """
    found: Any = find_dialect(dialect)
    if not hasattr(found, "request_body"):
        known = ", ".join(repr(name) for name, each in DIALECTS.items() if hasattr(each, "path"))
        raise ValueError(f"dialect {found.name!r} can be read, but not asked in: use {known}")
    chat: type[ChatDialect] = found
    return chat


def recognise(payload: Mapping[str, Any]) -> type[Dialect] | None:
    """
    Tell by its shape of which dialect an object is, None if it may be of several.

    What a user has added last is asked first.
    """
    for dialect in reversed(DIALECTS.values()):
        if dialect.recognises(payload):
            return dialect
    return None
