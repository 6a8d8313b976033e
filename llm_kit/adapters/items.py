"""
Any item of any stream -> chunks: what `normalize` and ``StreamProcessor.process`` rest on.

An item is recognised by what it is or can do, once per type.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

from llm_kit.adapters.langchain import LangChainMessages, is_message
from llm_kit.adapters.litellm import without_invented_end
from llm_kit.adapters.models import is_model, wire_form
from llm_kit.adapters.pieces import Pieces
from llm_kit.adapters.registry import Adapter, find_adapter
from llm_kit.dialects.base import ChunkSink, Dialect
from llm_kit.errors import StreamProtocolError
from llm_kit.policies import Limits
from llm_kit.types import Chunk
from llm_kit.wire import OnMalformed, WireDecoder

# Fields in which an object of nearly any dialect says something.
_TELLING = frozenset({"choices", "error", "detail"})
# What many an object has that says nothing else: with others beside, it is of an unknown shape.
_COMMON = frozenset(
    {"usage", "object", "id", "model", "created", "system_fingerprint", "service_tier"}
)

_Reader = Callable[[Any, ChunkSink], None]
_DEFAULT_LIMITS = Limits()


class ItemDecoder:
    """
    Makes chunks of one stream's items, of whatever kinds they are.

    Args:
        dialect: the wire form of dicts, SDK objects and bytes; None: told by their shape.
            With a dialect named, ``str`` items are lines of the body and not text.
        limits: bytes that one event and the whole body may have, for a stream of bytes.
        on_malformed: whether a broken event raises, or is left out and noted in `quirks`.
        stream: where the items come from, if that is known.
    """

    def __init__(
        self,
        dialect: str | type[Dialect] | None = None,
        limits: Limits = _DEFAULT_LIMITS,
        on_malformed: OnMalformed = "raise",
        stream: object = None,
    ) -> None:
        self._stream = stream
        self._wire = WireDecoder(dialect, limits, on_malformed)
        self._pieces = Pieces()
        self._lines = dialect is not None
        self._on_malformed: OnMalformed = on_malformed
        self._readers: dict[type, _Reader] = {}
        self._only_text = False

    @property
    def done(self) -> bool:
        """Whether the stream has said that it is over."""
        return self._wire.done

    @property
    def quirks(self) -> set[str]:
        """The oddities met so far."""
        return self._wire.quirks

    @property
    def ends_by_exhaustion(self) -> bool:
        """Whether the items have no way to say that they are whole: plain text has none."""
        return self._only_text

    def feed(self, item: Any, out: ChunkSink) -> None:
        """
        Take the next item.

        Raises:
            StreamAPIError: the item reports an error.
            StreamProtocolError: the item is of no known shape, or is broken.
        """
        kind = type(item)
        reader = self._readers.get(kind)
        if reader is None:
            reader = self._readers[kind] = self._find_reader(item)
            leaves = {each for each in self._readers.values() if not isinstance(each, _Adapted)}
            self._only_text = leaves == {_read_text}
        reader(item, out)

    def flush(self, out: ChunkSink) -> None:
        """Take the end of the stream; raises as `feed` does."""
        if held := self._pieces.flush():
            self._wire.feed(held, out)
        self._wire.flush(out)

    def _find_reader(self, item: Any) -> _Reader:
        adapter = find_adapter(item)
        if adapter is not None:
            return _Adapted(adapter, self)
        if isinstance(item, Chunk):
            return _read_chunk
        if isinstance(item, str):
            return self._read_line if self._lines else _read_text
        if isinstance(item, bytes | bytearray | memoryview):
            return self._read_bytes
        if isinstance(item, Mapping):
            return self._read_object
        if is_message(item):
            return self._read_message
        if is_model(item):
            return self._read_model
        raise _unreadable(_name(type(item)))

    def _read_line(self, item: str, out: ChunkSink) -> None:
        line = item if item.endswith(("\n", "\r")) else item + "\n"
        self._wire.feed(line.encode(errors="replace"), out)

    def _read_bytes(self, item: bytes | bytearray | memoryview, out: ChunkSink) -> None:
        if data := self._pieces.feed(bytes(item)):
            self._wire.feed(data, out)

    def _read_object(self, item: Mapping[str, Any], out: ChunkSink) -> None:
        if not self._wire.settled and not self._is_readable(item):
            raise _unreadable(f"a dict with {', '.join(sorted(map(str, item)))}")
        self._wire.read_object(item, item, out)

    def _read_model(self, item: Any, out: ChunkSink) -> None:
        payload = wire_form(item)
        if payload is not None:
            if not self._is_readable(payload):
                raise _unreadable(_name(type(item)))
            self._wire.read_object(without_invented_end(payload, self._stream), item, out)

    def _read_message(self, item: Any, out: ChunkSink) -> None:
        self._messages.read_object(vars(item), item, out)

    @cached_property
    def _messages(self) -> WireDecoder:
        """What reads LangChain's messages, which are no wire form of anybody's."""
        decoder = WireDecoder(LangChainMessages, _DEFAULT_LIMITS, self._on_malformed)
        decoder.quirks = self._wire.quirks
        return decoder

    def _is_readable(self, payload: Mapping[str, Any]) -> bool:
        """Tell an object that may be part of a stream from one of an unknown shape."""
        fields = payload.keys()
        return bool(fields & _TELLING) or fields <= _COMMON or self._wire.knows(payload)


class _Adapted:
    """Reads what a user's adapter makes of an item."""

    def __init__(self, adapter: Adapter, decoder: ItemDecoder) -> None:
        self._adapter = adapter
        self._decoder = decoder

    def __call__(self, item: Any, out: ChunkSink) -> None:
        given = self._adapter(item)
        for each in given if isinstance(given, list | tuple) else (given,):
            if type(each) is type(item):
                raise _unreadable(f"{_name(type(item))}, which its adapter gives as it is,")
            if each is not None:
                self._decoder.feed(each, out)


def _name(kind: type) -> str:
    name = kind.__qualname__
    if kind.__module__ != "builtins":
        name = f"{kind.__module__}.{name}"
    return f"an {name}" if name[0] in "aeiou" else f"a {name}"


def _unreadable(what: str) -> StreamProtocolError:
    return StreamProtocolError(
        f"can't read {what} as part of a stream; items may be Chunk, str, bytes (SSE, NDJSON),"
        " dicts in the wire form of a known dialect, or objects of the openai, anthropic,"
        " google-genai, ollama, mistralai, cohere, litellm and langchain libraries. Teach others"
        " with register_adapter(ThatClass, lambda item: item.text)"
    )


def _read_chunk(item: Chunk, out: ChunkSink) -> None:
    out.append(item)


def _read_text(item: str, out: ChunkSink) -> None:
    out.append(Chunk(item, raw=item))
