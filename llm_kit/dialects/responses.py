"""
OpenAI's Responses API, and the servers that imitate it.

Source of the format: OpenAI's API reference, "Responses" (create, the response object) and
"Streaming events". An answer is a list of output items (messages, reasoning, tool calls), and the
same words come up to five times: as deltas, with the part, with the item, and with the response.
What comes first counts, and the rest is read only where nothing came before: there are servers
that send deltas alone, and others that send wholes alone.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from typing import Any, ClassVar

from llm_kit.dialects.base import FINISH_REASONS, ChatDialect, ChunkSink, api_error
from llm_kit.dialects.fields import (
    NOTHING,
    as_arguments,
    as_object,
    as_objects,
    as_text,
    as_whole,
    as_word,
    count_in,
    nested_annotation,
    rest_of,
)
from llm_kit.dialects.request.responses import (
    ECHOED_IN_CALL,
    REASONING_FORMAT,
    can_be_continued,
    continued_body,
    request_body,
)
from llm_kit.dialects.responses_items import DELTAS, FAMILIES, PARTS, WHOLES, Item, Items
from llm_kit.types import Chunk, ToolCallDelta, Usage

_PART_EVENTS = frozenset(
    {
        "response.content_part.done",
        "response.reasoning_part.done",
        "response.reasoning_summary_part.done",
    }
)
_ENDS = frozenset(
    {
        "response.completed",
        "response.incomplete",
        "response.failed",
        "response.cancelled",
        "response.done",
    }
)
_RUNNING = frozenset({"queued", "in_progress"})
_KNOWN_IN_MESSAGE = frozenset({"id", "type", "role", "status", "content"})


class ResponsesDialect(ChatDialect):
    """Reads one stream of the Responses API, and builds the request for it."""

    name: ClassVar[str] = "responses"
    environment: ClassVar[str] = "OPENAI"

    @staticmethod
    def path(model: str | None) -> str:  # noqa: ARG004
        """Give where requests go, from the base URL on."""
        return "/responses"

    @staticmethod
    def request_headers(api_key: str | None) -> dict[str, str]:
        """Give the headers that this API wants, with the key in its place."""
        return {"authorization": f"Bearer {api_key}"} if api_key else {}

    # What a chat becomes has a room of its own.
    request_body = staticmethod(request_body)
    can_be_continued = staticmethod(can_be_continued)
    continued_body = staticmethod(continued_body)

    @staticmethod
    def recognises(payload: Mapping[str, Any]) -> bool:
        """Tell whether an object can only be of this form."""
        kind = payload.get("type")
        if isinstance(kind, str):
            return kind.startswith("response.")
        return payload.get("object") == "response"

    def __init__(self, quirks: set[str]) -> None:
        self._quirks = quirks
        self.done = False
        self._began = False
        self._reported = False
        self._id: str | None = None
        self._model: str | None = None
        self._created: int | None = None
        self._items = Items(quirks)
        self._details = 0

    def read(self, payload: Mapping[str, Any], out: ChunkSink, raw: Any) -> None:
        """Turn one wire object into chunks; see `Dialect.read`."""
        for chunk in self._read(payload):
            chunk.id, chunk.model, chunk.created = self._id, self._model, self._created
            chunk.raw = raw
            out.append(chunk)

    def _read(self, payload: Mapping[str, Any]) -> Iterator[Chunk]:
        kind = payload.get("type")
        if type(kind) is not str:
            yield from self._read_untyped(payload)
        elif kind in DELTAS:
            yield from self._read_delta(payload, *DELTAS[kind])
        elif kind in WHOLES:
            yield from self._read_whole(payload, *WHOLES[kind])
        elif kind == "response.output_item.added":
            yield from self._announce(as_object("item", payload.get("item")), payload)
        elif kind == "response.output_item.done":
            yield from self._complete(as_object("item", payload.get("item")), payload)
        elif kind in _PART_EVENTS:
            part = as_object("part", payload.get("part") or {})
            if piece := PARTS.get(as_word(part.get("type"))):
                item = self._items.of_event(piece[0], payload)
                yield from self._read_text(item, _part_number(payload), part, *piece[1:])
        elif kind == "response.output_text.annotation.added":
            note = as_object("annotation", payload.get("annotation"))
            self._items.of_event("message", payload).said.add("annotations")
            yield Chunk(extra={"annotations": [nested_annotation(note)]})
        elif kind in _ENDS:
            # A `response.failed` may come with its error and no response around it.
            given = payload.get("response")
            whole = payload if given is None else as_object("response", given)
            yield from self._end(kind.removeprefix("response."), whole)
        elif kind in ("error", "response.error"):
            self._reported = True
            raise api_error(payload.get("error") or payload)
        elif "response" in payload:
            yield from self._read_head(as_object("response", payload.get("response")))
        else:
            yield from self._read_other(kind, payload)

    def _read_untyped(self, payload: Mapping[str, Any]) -> Iterator[Chunk]:
        """Read what is no event: an answer that was not streamed, or a gateway's error."""
        if payload.get("object") == "response":
            self._quirks.add("answer_not_streamed")
            if as_word(payload.get("status")) in _RUNNING:  # asked for in the background
                yield from self._read_head(payload)
                yield from self._read_output(as_objects("output", payload.get("output")))
            else:
                yield from self._end("completed", payload)
        elif error := payload.get("error") or payload.get("detail"):
            raise api_error(error, whole=payload)
        elif payload.get("object") == "error":
            raise api_error(payload)

    def _read_head(self, response: Mapping[str, Any]) -> Iterator[Chunk]:
        """Read what a response says of itself; that it begins is told once."""
        self._id = self._id or as_word(response.get("id"))
        self._model = self._model or as_word(response.get("model"))
        created = as_whole(response.get("created_at"))
        self._created = self._created if created is None else created
        if not self._began:
            self._began = True
            yield Chunk(role="assistant")  # whose turn a response is by definition

    # Items.

    def _announce(
        self, whole: Mapping[str, Any], payload: Mapping[str, Any]
    ) -> Generator[Chunk, None, Item]:
        """Take an item that begins; its words are left for later, for they come again."""
        kind, ident = as_word(whole.get("type")), as_word(whole.get("id"))
        if known := self._items.told_before(kind, payload, ident):
            return known
        item = self._items.add(kind, payload, ident, whole)
        if item.family == "call":
            yield from self._introduce(item, whole)
        elif item.family == "hosted":
            entry = {"index": item.number, "id": item.id, "name": kind}
            yield Chunk(extra={"server_tool_calls": [entry]})
        elif item.family == "message":
            if not self._began and (role := as_word(whole.get("role"))):
                self._began = True
                yield Chunk(role=role)
            if rest := rest_of(whole, _KNOWN_IN_MESSAGE):  # `phase`, say
                entry = {"index": item.number, "id": item.id, **rest}
                yield Chunk(extra={"message_items": [entry]})
        return item

    def _introduce(self, item: Item, fields: Mapping[str, Any]) -> Iterator[Chunk]:
        """Tell what is new about a call, its arguments apart."""
        new = {
            field: as_text(field, fields[field])
            for field in ("call_id", "name")
            if fields.get(field) and field not in item.said
        }
        if new:
            item.said.update(new)
            extra = {field: fields[field] for field in ECHOED_IN_CALL if fields.get(field)}
            if item.kind == "custom_tool_call":
                extra["type"] = "custom"  # its arguments are plain text
            ident, name = new.get("call_id"), new.get("name")
            yield Chunk(tool_calls=(ToolCallDelta(item.number, ident, name, extra=extra or None),))

    def _complete(self, whole: Mapping[str, Any], payload: Mapping[str, Any]) -> Iterator[Chunk]:
        """Take an item that is finished."""
        kind = as_word(whole.get("type"))
        item = self._items.find(kind, payload, as_word(whole.get("id")))
        item = item or self._items.find_open(kind, payload, as_word(whole.get("call_id")))
        if item is None:
            item = yield from self._announce(whole, payload)
        yield from self._read_item(item, whole)

    def _read_item(self, item: Item, whole: Mapping[str, Any]) -> Iterator[Chunk]:
        """Read of a whole item what was not said before."""
        item.done = True
        if item.kind == "message":
            parts = as_objects("content", whole.get("content"))
            yield from self._read_parts(item, parts)
            notes = [
                nested_annotation(note)
                for part in parts
                for note in as_objects("annotations", part.get("annotations"))
            ]
            yield from self._keep("annotations", notes, item)
            others = [part for part in parts if as_word(part.get("type")) not in PARTS]
            yield from self._keep("content_parts", others, item)
        elif item.kind == "reasoning":
            yield from self._read_parts(item, as_objects("content", whole.get("content")))
            yield from self._read_parts(item, as_objects("summary", whole.get("summary")))
            sealed = whole.get("encrypted_content")
            if sealed and "encrypted" not in item.said:
                yield from self._say(item, "encrypted", 0, as_text("encrypted_content", sealed))
        elif item.kind in FAMILIES:
            yield from self._introduce(item, whole)
            name = "arguments" if item.kind == "function_call" else "input"
            yield from self._read_arguments(item, whole.get(name))
        else:
            yield from self._keep("server_tool_results", [whole], item)

    def _read_parts(self, item: Item, parts: list[Mapping[str, Any]]) -> Iterator[Chunk]:
        """Read the parts of slots in which nothing came: parts may be numbered anew here."""
        before = set(item.said)
        for number, part in enumerate(parts):
            kind, slot, name = PARTS.get(as_word(part.get("type")), ("", "", ""))
            if kind == item.kind and slot not in before:
                yield from self._read_text(item, number, part, slot, name)

    def _keep(self, name: str, values: list[Any], item: Item) -> Iterator[Chunk]:
        """Keep what has no field of its own, once for each item."""
        if values and name not in item.said:
            item.said.add(name)
            yield Chunk(extra={name: values})

    # Pieces of items.

    def _read_delta(self, payload: Mapping[str, Any], kind: str, slot: str) -> Iterator[Chunk]:
        delta, logprobs = payload.get("delta"), payload.get("logprobs")
        if delta or logprobs:
            delta = as_text("delta", delta)
            item = self._items.of_event(kind, payload)
            yield from self._say(item, slot, _part_number(payload), delta, logprobs)

    def _read_whole(
        self, payload: Mapping[str, Any], kind: str, slot: str, name: str
    ) -> Iterator[Chunk]:
        item = self._items.of_event(kind, payload)
        if slot == "arguments":
            yield from self._introduce(item, payload)
            yield from self._read_arguments(item, payload.get(name))
        else:
            yield from self._read_text(item, _part_number(payload), payload, slot, name)

    def _read_arguments(self, item: Item, whole: Any) -> Iterator[Chunk]:
        """Read arguments that are finished, if they did not come as deltas."""
        if "arguments" not in item.said:
            yield from self._say(item, "arguments", 0, as_arguments("arguments", whole))

    def _read_text(
        self, item: Item, number: int, fields: Mapping[str, Any], slot: str, name: str
    ) -> Iterator[Chunk]:
        """Read a text that is finished, and its logprobs, if they did not come as deltas."""
        text, logprobs = as_text(name, fields.get(name)), fields.get("logprobs")
        if (slot, number) in item.said:
            text = ""
        if ("logprobs", number) in item.said:
            logprobs = None
        yield from self._say(item, slot, number, text, logprobs)

    def _say(
        self, item: Item, slot: str, number: int, text: str, logprobs: Any = None
    ) -> Iterator[Chunk]:
        """Tell a piece of text, and remember that it was told."""
        if not text and not logprobs:
            return
        chunk = Chunk()
        if text:
            item.said |= {slot, (slot, number)}
        if logprobs:
            item.said.add(("logprobs", number))
            chunk.logprobs = {"content": logprobs}
        if slot == "arguments":
            chunk.tool_calls = (ToolCallDelta(item.number, arguments=text),)
        elif slot == "refusal":
            chunk.refusal = text
        elif item.kind == "message":
            chunk.delta = text
        else:
            # The thoughts themselves and a summary of them are the same thing twice.
            if slot != "encrypted" and ("summary" if slot == "text" else "text") not in item.said:
                chunk.reasoning = text
            chunk.extra = {"reasoning_details": [self._detail(item, slot, number, text)]}
        yield chunk

    def _detail(self, item: Item, slot: str, number: int, text: str) -> dict[str, Any]:
        place = item.details.get((slot, number))
        if place is None:
            place = item.details[slot, number] = self._details
            self._details += 1
        return {
            "type": f"reasoning.{slot}",
            "data" if slot == "encrypted" else slot: text,
            "id": item.id,
            "format": REASONING_FORMAT,
            "index": place,
        }

    def _read_other(self, kind: str, payload: Mapping[str, Any]) -> Iterator[Chunk]:
        """Read how a server's tool goes on (its code, a first picture), and what is unknown."""
        delta = payload.get("delta")
        if kind.endswith(".partial_image"):
            yield Chunk(extra={"partial_images": [payload]})
        elif kind.endswith(".delta") and delta:
            said = {kind.removeprefix("response.").removesuffix(".delta"): delta}
            item = self._items.find("hosted", payload, as_word(payload.get("item_id")))
            yield Chunk(
                extra={"server_tool_calls": [{"index": item.number, **said}]} if item else said
            )

    # The end.

    def _end(self, status: str, response: Mapping[str, Any]) -> Iterator[Chunk]:
        yield from self._read_head(response)
        yield from self._read_output(as_objects("output", response.get("output")))
        self.done = True
        told = as_word(response.get("status"))
        if told and told not in _RUNNING:  # what some servers still say at the end
            status = told
        usage, error = response.get("usage"), response.get("error")
        yield Chunk(
            finish_reason=self._finish_reason(status, response),
            usage=_usage(usage) if usage else None,
        )
        # An `error` event that came before has said it already.
        if not self._reported and (error or status == "failed"):
            raise api_error(error or "the response failed, and does not say why")

    def _read_output(self, output: list[Mapping[str, Any]]) -> Iterator[Chunk]:
        """Read a response's items where they were not streamed; their places may be others."""
        streamed = {family: list(items) for family, items in self._items.of.items()}
        for whole in output:
            kind = as_word(whole.get("type"))
            left = streamed[FAMILIES.get(kind, "hosted")]
            item = self._items.find_by_id(kind, as_word(whole.get("id")))
            item = item or next((other for other in left if other.kind == kind), None)
            if item is None:
                item = yield from self._announce(whole, NOTHING)
            elif item in left:
                left.remove(item)
            yield from self._read_item(item, whole)
        for family in ("message", "reasoning", "call"):
            for item in self._items.of[family]:
                if not item.done:
                    yield from self._read_item(item, item.announced)

    def _finish_reason(self, status: str, response: Mapping[str, Any]) -> str:
        if status == "completed":
            return "tool_calls" if self._items.of["call"] else "stop"
        details = response.get("incomplete_details")
        reason = as_word(details.get("reason")) if isinstance(details, Mapping) else None
        return FINISH_REASONS.get(reason, reason) if reason else status


def _part_number(payload: Mapping[str, Any]) -> int:
    number = payload.get("content_index", payload.get("summary_index"))
    return number if type(number) is int else 0


def _usage(value: Any) -> Usage:
    fields = as_object("usage", value)
    return Usage(
        count_in(fields, "input_tokens"),
        count_in(fields, "output_tokens"),
        count_in(fields, "total_tokens"),
        count_in(fields.get("output_tokens_details"), "reasoning_tokens"),
        count_in(fields.get("input_tokens_details"), "cached_tokens"),
        fields,
    )
