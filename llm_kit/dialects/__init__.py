"""
The forms in which streams come: a file a family for what it says.

How each is asked stands in `llm_kit.dialects.request`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from functools import cache
from typing import Any, Literal, get_args

from llm_kit.dialects.base import ChatDialect, Dialect

ChatDialectName = Literal["openai", "responses", "anthropic", "gemini", "ollama"]
DialectName = Literal[ChatDialectName, "completions", "cohere"]


@cache
def built_in(name: str) -> type[Dialect] | None:
    """
    Import one of our own dialects, None if we have none of that name: most programs speak one.

    The imports are written out, so that what bundles a program finds them.
    """
    match name:
        case "openai":
            from llm_kit.dialects.openai import OpenAIDialect

            return OpenAIDialect
        case "responses":
            from llm_kit.dialects.responses import ResponsesDialect

            return ResponsesDialect
        case "anthropic":
            from llm_kit.dialects.anthropic import AnthropicDialect

            return AnthropicDialect
        case "gemini":
            from llm_kit.dialects.gemini import GeminiDialect

            return GeminiDialect
        case "ollama":
            from llm_kit.dialects.ollama import OllamaDialect

            return OllamaDialect
        case "completions":
            from llm_kit.dialects.completions import CompletionsDialect

            return CompletionsDialect
        case "cohere":
            from llm_kit.dialects.cohere import CohereDialect

            return CohereDialect
    return None


class _Dialects(MutableMapping[str, type[Dialect]]):
    """Dialects by name, the one that was added last at the end; ours are imported when needed."""

    def __init__(self) -> None:
        self._added: dict[str, type[Dialect] | None] = dict.fromkeys(get_args(DialectName))

    def __getitem__(self, name: str) -> type[Dialect]:
        dialect = self._added[name] or built_in(name)
        assert dialect is not None  # noqa: S101  narrows the type
        return dialect

    def __setitem__(self, name: str, dialect: type[Dialect]) -> None:
        self._added[name] = dialect

    def __delitem__(self, name: str) -> None:
        del self._added[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._added)

    def __len__(self) -> int:
        return len(self._added)


DIALECTS = _Dialects()


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
    for dialect in [DIALECTS[name] for name in reversed([*DIALECTS])]:  # a copy: others may add
        if dialect.recognises(payload):
            return dialect
    return None
