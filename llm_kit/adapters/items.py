"""
Any item of any stream -> chunks: what `normalize` and ``StreamProcessor.process`` rest on.

An item is recognised by what it is or can do, once per type.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from llm_kit.adapters.registry import Adapter, find_adapter
from llm_kit.dialects.base import ChunkSink, Dialect
from llm_kit.errors import StreamProtocolError
from llm_kit.policies import Limits
from llm_kit.types import Chunk
from llm_kit.wire import OnMalformed, WireDecoder

# Objects without any of these say nothing that anybody could read, in whatever dialect.
_KNOWN_FIELDS = {"choices", "usage", "error", "detail", "object", "id", "model", "created"}

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
    """

    def __init__(
        self,
        dialect: str | type[Dialect] | None = None,
        limits: Limits = _DEFAULT_LIMITS,
        on_malformed: OnMalformed = "raise",
    ) -> None:
        self._wire = WireDecoder(dialect, limits, on_malformed)
        self._lines = dialect is not None
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
        self._wire.flush(out)

    def _find_reader(self, item: Any) -> _Reader:
        adapter = find_adapter(item)
        if adapter is not None:
            return _Adapted(adapter, self)
        if isinstance(item, Chunk):
            return _read_chunk
        if isinstance(item, str):
            return self._read_line if self._lines else _read_text
        if isinstance(item, bytes):
            return self._wire.feed
        if isinstance(item, bytearray | memoryview):
            return self._read_buffer
        if isinstance(item, Mapping):
            return self._read_object
        if hasattr(item, "model_dump"):
            return self._read_model
        raise _unreadable(_name(type(item)))

    def _read_line(self, item: str, out: ChunkSink) -> None:
        line = item if item.endswith(("\n", "\r")) else item + "\n"
        self._wire.feed(line.encode(errors="replace"), out)

    def _read_buffer(self, item: bytearray | memoryview, out: ChunkSink) -> None:
        self._wire.feed(bytes(item), out)

    def _read_object(self, item: Mapping[str, Any], out: ChunkSink) -> None:
        if not self._is_readable(item):
            raise _unreadable(f"a dict with {', '.join(sorted(map(str, item)))}")
        self._wire.read_object(item, item, out)

    def _read_model(self, item: Any, out: ChunkSink) -> None:
        """Read a pydantic model, as the SDKs that are generated from an API make them."""
        # The openai SDK's `.stream()` gives the chunk in an event, and derives others from it.
        kind = getattr(item, "type", None)
        if kind == "chunk":
            self._read_model(item.chunk, out)
        elif not isinstance(kind, str) or not kind.endswith((".delta", ".done")):
            # Only what was sent: fields that the SDK adds by itself stay absent. SDKs build
            # their models without validation, so pydantic's doubts about types say nothing.
            payload = item.model_dump(exclude_unset=True, warnings=False)
            if not self._is_readable(payload):
                raise _unreadable(_name(type(item)))
            self._wire.read_object(payload, item, out)

    def _is_readable(self, payload: Mapping[str, Any]) -> bool:
        """Tell an object that may be part of a stream from one of an unknown shape."""
        some = not payload or bool(payload.keys() & _KNOWN_FIELDS)
        return some or self._wire.knows(payload)


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
    room = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    return f"a {room}{kind.__qualname__}"


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
