"""split_thinking: the wrapper that tells thinking from answer where the server does not."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable, Mapping
from itertools import chain
from types import MappingProxyType
from typing import Any, overload

from llm_kit._core.thinking import Thinking
from llm_kit.streams.chat_stream import AsyncChatStream, ChatStream
from llm_kit.streams.normalize import Response, normalize

_TAGS = MappingProxyType(
    {
        "<think>": "</think>",
        "<thinking>": "</thinking>",
        "<reasoning>": "</reasoning>",
    }
)


@overload
def split_thinking(
    stream: AsyncIterable[Any], *, tags: Mapping[str, str] = _TAGS, begins_inside: bool = False
) -> AsyncChatStream: ...
@overload
def split_thinking(
    stream: Iterable[Any], *, tags: Mapping[str, str] = _TAGS, begins_inside: bool = False
) -> ChatStream: ...
@overload
def split_thinking(
    stream: Response, *, tags: Mapping[str, str] = _TAGS, begins_inside: bool = False
) -> Any: ...
def split_thinking(
    stream: Any, *, tags: Mapping[str, str] = _TAGS, begins_inside: bool = False
) -> ChatStream | AsyncChatStream:
    """
    Move what a model thinks in ``<think>`` tags from a stream's content to its reasoning.

        >>> stream = split_thinking(["<th", "ink>Hm.</think>", "Hello"])
        >>> [(chunk.reasoning, chunk.delta) for chunk in stream]
        [('', ''), ('Hm.', ''), ('', 'Hello')]

    Everybody sees the moved text, whichever wrapper was first: ``stream.result``, interrupters,
    processors, callbacks. Only blocks that begin the answer are moved; a tag behind its first
    word is a word of it, and so is a closing tag that was not opened. A block that is never
    closed is thinking to the end. No character is lost but the tags', no blank line either.

    Text that may be the beginning of a tag waits until that is known, however the stream ends:
    so after a ``break`` the result may have a few characters more than your loop was given.
    Reasoning that the server sends in tags and in its own field as well is there once.

    Args:
        stream: see `normalize` for what it may be. Of one that was read already, what comes.
        tags: what begins thinking, and for each what ends it; ``<think>``, ``<thinking>`` and
            ``<reasoning>`` if not given.
        begins_inside: True for a server that puts ``<think>`` into the prompt, so that only
            ``</think>`` comes: the answer begins with thinking, opened or not.

    Raises:
        ValueError: ``tags`` are no such pairs, or one is empty or begins with a blank.
    """
    if not isinstance(tags, Mapping) or not tags or not all(map(_is_tag, chain(*tags.items()))):
        raise ValueError(
            "tags: each opening tag with its closing one, like {'[THINK]': '[/THINK]'},"
            f" none empty or with a blank in front, not {tags!r}"
        )
    wrapped: ChatStream | AsyncChatStream = normalize(stream)
    begun = [choice.index for choice in wrapped.result.choices if choice.content.strip()]
    wrapped._add_stage(Thinking(tags, begins_inside, begun))
    return wrapped


def _is_tag(tag: str) -> bool:
    return bool(tag) and not tag[0].isspace()
