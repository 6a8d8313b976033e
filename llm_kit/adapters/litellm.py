"""What only LiteLLM's stream knows of itself: its colour, and whether its end is the server's."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterable, Iterable, Mapping
from typing import Any

# Under these names its streams hold what they read.
_BEHIND = ("completion_stream", "streaming_response")


def is_async(stream: Any) -> bool:
    """
    Tell whether a stream, of whatever origin, is to be read with ``async for``.

    One class of LiteLLM's serves both `completion` and `acompletion`, with both kinds of
    methods: what is behind it can be read in one way only. It may not be there yet, but be made
    by a function at the first read.
    """
    if not isinstance(stream, AsyncIterable):
        return False
    if not isinstance(stream, Iterable):
        return True
    for name in _BEHIND:
        behind = getattr(stream, name, None)
        if behind is not None:
            return is_async(behind)
    make = getattr(stream, "make_call", None)
    return make is None or inspect.iscoroutinefunction(make)


def without_invented_end(payload: Mapping[str, Any], stream: Any) -> Mapping[str, Any]:
    """
    Give an object without the ending that LiteLLM made up for a server that sent none.

    It says "stop" at the end of a cut answer too, and knows that nobody told it so. Its mocks
    say no other ending: they are generators, and have no server.
    """
    if (
        getattr(stream, "received_finish_reason", "") is not None
        or getattr(stream, "intermittent_finish_reason", None) is not None
        or inspect.isgenerator(stream.completion_stream)
        or inspect.isasyncgen(stream.completion_stream)
    ):
        return payload
    choices = [{**choice, "finish_reason": None} for choice in payload.get("choices") or ()]
    return {**payload, "choices": choices}
