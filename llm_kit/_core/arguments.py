"""What callers pass, checked: a mistake is told at the call, with what to write instead."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def checked_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Refuse what can't be sent, and lower the names: two spellings are one header."""
    for name, value in headers.items():
        for text in (name, value):
            if not (isinstance(text, str) and text.isascii() and text.isprintable()):
                raise ValueError(  # without the value: it may be a key
                    f"header {name!r}: name and value must be strings of printable ASCII"
                )
    return {name.lower(): value for name, value in headers.items()}


def checked_messages(messages: object) -> list[Mapping[str, Any]]:
    """Refuse what is no chat; the message shows what is."""
    example = '[{"role": "user", "content": "Hello"}]'
    if isinstance(messages, str | Mapping) or not isinstance(messages, Iterable):
        raise TypeError(
            f"messages must be a list of messages, not {type(messages).__name__}: write {example}"
        )
    checked = list(messages)
    for place, message in enumerate(checked):
        if not isinstance(message, Mapping):
            raise TypeError(
                f"messages[{place}] must be a dict, not {type(message).__name__}: write {example}"
            )
    if not checked:
        raise ValueError(f"messages is empty: write {example}")
    return checked


def check_key(key: str) -> None:
    """Refuse a key that can't stand in a header, without showing it."""
    if key and not (key.isascii() and key.isprintable() and key == key.strip()):
        raise ValueError(
            "the api_key has a character that can't stand in a header (a line break,"
            " a space at an end, or one beyond ASCII); check how it was read"
        )


def checked_choices(n: object) -> int:
    """Give how many choices a request asks for."""
    if n is None:
        return 1
    if type(n) is not int or n < 1:
        raise ValueError(f"n must be a whole number of choices, 1 or more; got {n!r}")
    return n
