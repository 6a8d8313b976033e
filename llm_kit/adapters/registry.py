"""Adapters and dialects that users add: asked before what is built in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, overload

from llm_kit.dialects import DIALECTS, built_in
from llm_kit.dialects.base import Dialect

Adapter = Callable[[Any], Any]
Recogniser = type | Callable[[Any], bool]

_adapters: list[tuple[Recogniser, Adapter]] = []


@overload
def register_adapter(kind: type[Dialect]) -> None: ...
@overload
def register_adapter(kind: Recogniser, adapter: Adapter) -> None: ...
def register_adapter(kind: Any, adapter: Adapter | None = None) -> None:
    """
    Teach every wrapper to read another kind of item, or another dialect.

        >>> from dataclasses import dataclass
        >>> from llm_kit import StreamCollector, register_adapter
        >>> @dataclass
        ... class Word:
        ...     text: str
        >>> register_adapter(Word, lambda word: word.text)
        >>> StreamCollector.to_string([Word("Hello, "), Word("world")])
        'Hello, world'

    Register once, when your program starts; what is registered last is asked first, and before
    the kinds that are built in. A recogniser is asked once a type and stream.

    Args:
        kind: a class, or a function that tells by an item whether the adapter reads its class.
            Alone, a `Dialect`: its name can be given as ``dialect=`` from then on, and its objects
            are recognised. A subclass of a built-in dialect replaces it.
        adapter: gives for an item what stands for it in a stream: a `Chunk`, a ``str``, a dict in
            a known dialect's form, a list of these, or None for nothing.

    Raises:
        TypeError, ValueError: this is neither; or the name of a dialect is taken.
    """
    recogniser: Recogniser = kind
    if adapter is None:
        _register_dialect(kind)
    elif not callable(adapter) or not callable(kind):
        raise TypeError("register_adapter(kind, adapter): both must be callable")
    else:
        _adapters.insert(0, (recogniser, adapter))


def _register_dialect(dialect: Any) -> None:
    name = getattr(dialect, "name", None)
    bases = getattr(dialect, "__mro__", None)  # an instance has none
    if not (bases and hasattr(dialect, "recognises") and name and isinstance(name, str)):
        raise TypeError(
            "register_adapter takes a class or function and an adapter, or the class of a"
            " Dialect alone: register_adapter(MyEvent, lambda event: event.text)"
        )
    known = built_in(name)
    if known is not None and known not in bases:
        raise ValueError(
            f"the name {name!r} is taken: give your dialect another, or make it a subclass of"
            f" {known.__name__} that replaces it"
        )
    DIALECTS.pop(name, None)  # the last one there is asked first
    DIALECTS[name] = dialect


def find_adapter(item: Any) -> Adapter | None:
    """Give the adapter that reads an item, if one was registered."""
    for kind, adapter in _adapters:
        if isinstance(item, kind) if isinstance(kind, type) else kind(item):
            return adapter
    return None
