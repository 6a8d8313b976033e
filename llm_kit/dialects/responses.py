"""
OpenAI's Responses API, and the servers that imitate it.

Source of the format: OpenAI's API reference, "Responses" (create, the response object) and
"Streaming events". An answer is a list of output items (messages, reasoning, tool calls), and the
same words come up to five times: as deltas, with the part, with the item, and with the response.
What comes first counts, and the rest is read only where nothing came before: there are servers
that send deltas alone, and others that send wholes alone.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from attrs import define, field

from llm_kit.dialects.base import (
    FINISH_REASONS,
    Chat,
    ChatDialect,
    ChunkSink,
    api_error,
    wrong_type,
)
from llm_kit.dialects.translate import (
    Media,
    calls_of,
    function_of,
    parts_of,
    untranslatable,
)
from llm_kit.policies import ContinueMode
from llm_kit.types import Chunk, ToolCallDelta, Usage

_NOTHING: dict[str, Any] = {}

# OpenRouter's name for reasoning that only this API can read (its "Reasoning tokens" page).
_FORMAT = "openai-responses-v1"

# Items of any other type are tools that the server runs or arranges by itself.
_FAMILIES = {
    "message": "message",
    "reasoning": "reasoning",
    "function_call": "call",
    "custom_tool_call": "call",
}

# What an event's name means, without `.delta` or `.done`: the type of item, the slot of it, and
# the field of the `.done` event that has the whole.
_PIECES = {
    "response.output_text": ("message", "text", "text"),
    "response.refusal": ("message", "refusal", "refusal"),
    "response.reasoning_text": ("reasoning", "text", "text"),
    "response.reasoning": ("reasoning", "text", "text"),  # its first name
    "response.reasoning_summary_text": ("reasoning", "summary", "text"),
    "response.function_call_arguments": ("function_call", "arguments", "arguments"),
    "response.custom_tool_call_input": ("custom_tool_call", "arguments", "input"),
}
_DELTAS = {f"{name}.delta": piece[:2] for name, piece in _PIECES.items()}
_WHOLES = {f"{name}.done": piece for name, piece in _PIECES.items()}

# A part's type: the type of item it is in, its slot and its field.
_PARTS = {
    "output_text": ("message", "text", "text"),
    "refusal": ("message", "refusal", "refusal"),
    "reasoning_text": ("reasoning", "text", "text"),
    "summary_text": ("reasoning", "summary", "text"),
}
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
_KNOWN_IN_MESSAGE = frozenset({"id", "type", "role", "status", "content"})
# Of a call's other fields those that the server wants back; an SDK adds fields of its own.
_ECHOED_IN_CALL = ("namespace", "caller")


@define(eq=False)
class _Item:
    """
    One output item, and what has been read of it.

    Attributes:
        number: its place among the items of its family.
        announced: the item as it was added; read in the end if nothing better came.
        said: the slots of which something was read, and each with its part's number.
        details: the place of each of its parts in ``reasoning_details``.
    """

    kind: str
    id: str | None
    number: int
    announced: Mapping[str, Any]
    said: set[str | tuple[str, int]] = field(factory=set)
    details: dict[tuple[str, int], int] = field(factory=dict)
    done: bool = False


class ResponsesDialect(ChatDialect):
    """Reads one stream of the Responses API, and builds the request for it."""

    name: ClassVar[str] = "responses"

    @staticmethod
    def path(model: str | None) -> str:  # noqa: ARG004
        """Give where requests go, from the base URL on."""
        return "/responses"

    @staticmethod
    def request_headers(api_key: str | None) -> dict[str, str]:
        """Give the headers that this API wants, with the key in its place."""
        return {"authorization": f"Bearer {api_key}"} if api_key else {}

    @staticmethod
    def request_body(chat: Chat) -> dict[str, Any]:
        """
        Give the JSON body of a streaming request; see `ChatDialect.request_body`.

        Messages that are input items already (those with a ``type``) go as they are.
        """
        if chat.stop:
            raise ValueError(
                "the Responses API has no stop sequences; leave `stop` out and end the stream"
                " yourself, or use Chat Completions"
            )
        if chat.n is not None and chat.n != 1:
            raise ValueError("the Responses API gives one answer: leave `n` out and ask n times")
        body: dict[str, Any] = {"input": list(_input_items(chat.messages)), "stream": True}
        if chat.model is not None:
            body["model"] = chat.model
        if chat.tools is not None:
            body["tools"] = [
                _tool(tool, f"tools[{place}]") for place, tool in enumerate(chat.tools)
            ]
        return {**body, **_params(chat.params)}

    @staticmethod
    def can_be_continued(body: Mapping[str, Any]) -> bool:
        """Tell whether a server could go on in the middle of the answer to this request."""
        text = body.get("text")
        form = text.get("format") if isinstance(text, Mapping) else None
        plain = form is None or (isinstance(form, Mapping) and form.get("type") == "text")
        return plain and body.get("tool_choice") in (None, "auto", "none")

    @staticmethod
    def continued_body(
        body: Mapping[str, Any],
        text: str,
        url: str,  # noqa: ARG004
        mode: ContinueMode,
        instruction: str,
    ) -> tuple[dict[str, Any], str]:
        """Give the body of the request that goes on; see `ChatDialect.continued_body`."""
        if mode not in ("auto", "instruct"):
            raise ValueError(
                f"the Responses API can't take a message up again as mode {mode!r} does;"
                ' mode="auto" and "instruct" work'
            )
        asked = body["input"]
        items = [_message("user", asked)] if isinstance(asked, str) else list(asked)
        items += [_message("assistant", text), _message("user", instruction)]
        return {**body, "input": items}, ""

    @staticmethod
    def recognises(payload: Mapping[str, Any]) -> bool:
        """Tell whether an object can only be of this form."""
        kind = payload.get("type")
        if isinstance(kind, str):
            return kind.startswith("response.")
        return payload.get("object") == "response"

    def __init__(self, quirks: set[str]) -> None:
        self.quirks = quirks
        self.done = False
        self._began = False
        self._reported = False
        self._id: str | None = None
        self._model: str | None = None
        self._created: int | None = None
        self._items: dict[str, list[_Item]] = {
            family: [] for family in ("message", "reasoning", "call", "hosted")
        }
        self._known: dict[tuple[str, int | str], _Item] = {}
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
        elif kind in _DELTAS:
            yield from self._read_delta(payload, *_DELTAS[kind])
        elif kind in _WHOLES:
            yield from self._read_whole(payload, *_WHOLES[kind])
        elif kind == "response.output_item.added":
            yield from self._announce(_object(payload, "item"), payload)
        elif kind == "response.output_item.done":
            yield from self._complete(_object(payload, "item"), payload)
        elif kind in _PART_EVENTS:
            part = _object(payload, "part")
            if piece := _PARTS.get(_word(part.get("type"))):
                item = self._item(piece[0], payload)
                yield from self._read_text(item, _part_number(payload), part, *piece[1:])
        elif kind == "response.output_text.annotation.added":
            self._item("message", payload).said.add("annotations")
            yield Chunk(extra={"annotations": [_nested(_object(payload, "annotation"))]})
        elif kind in _ENDS:
            # A `response.failed` may come with its error and no response around it.
            whole = payload if payload.get("response") is None else _object(payload, "response")
            yield from self._end(kind.removeprefix("response."), whole)
        elif kind in ("error", "response.error"):
            self._reported = True
            raise api_error(payload.get("error") or payload)
        elif "response" in payload:
            yield from self._read_head(_object(payload, "response"))
        else:
            yield from self._read_other(kind, payload)

    def _read_untyped(self, payload: Mapping[str, Any]) -> Iterator[Chunk]:
        """Read what is no event: an answer that was not streamed, or a gateway's error."""
        if payload.get("object") == "response":
            self.quirks.add("answer_not_streamed")
            yield from self._end("completed", payload)
        elif error := payload.get("error") or payload.get("detail"):
            raise api_error(error, whole=payload)
        elif payload.get("object") == "error":
            raise api_error(payload)

    def _read_head(self, response: Mapping[str, Any]) -> Iterator[Chunk]:
        """Read what a response says of itself; that it begins is told once."""
        self._id = self._id or _word(response.get("id")) or None
        self._model = self._model or _word(response.get("model")) or None
        created = response.get("created_at")
        if type(created) is int or (type(created) is float and created.is_integer()):
            self._created = int(created)  # some servers send 1700000000.0
        if not self._began:
            self._began = True
            yield Chunk(role="assistant")  # whose turn a response is by definition

    # Items.

    def _find(self, kind: str, payload: Mapping[str, Any], ident: Any) -> _Item | None:
        """
        Find the item that an event belongs to: its place tells.

        Not its id, which some servers draw anew for each event; but where that names another
        item of this stream, the place was used twice.
        """
        family = _FAMILIES.get(kind, "hosted")
        place = payload.get("output_index")
        found = self._known.get((family, place)) if type(place) is int else None
        if (found is None or found.id != ident) and ident and type(ident) is str:
            return self._known.get((family, ident), found)
        return found

    def _item(self, kind: str, payload: Mapping[str, Any]) -> _Item:
        """Give the item that an event is about, even if it was never announced."""
        ident = _word(payload.get("item_id"))
        return self._find(kind, payload, ident) or self._new(kind, payload, ident, _NOTHING)

    def _new(
        self, kind: str, payload: Mapping[str, Any], ident: str, announced: Mapping[str, Any]
    ) -> _Item:
        family = _FAMILIES.get(kind, "hosted")
        items = self._items[family]
        item = _Item(kind, ident or None, len(items), announced)
        items.append(item)
        place = payload.get("output_index")
        if type(place) is int:
            self._known[family, place] = item
        if ident:
            self._known[family, ident] = item
        return item

    def _announce(
        self, whole: Mapping[str, Any], payload: Mapping[str, Any]
    ) -> Generator[Chunk, None, _Item]:
        """Take an item that begins; its words are left for later, for they come again."""
        kind, ident = _word(whole.get("type")), _word(whole.get("id"))
        family, place = _FAMILIES.get(kind, "hosted"), payload.get("output_index")
        known = self._known.get((family, place if type(place) is int else ident))
        if known is not None and known.id == (ident or None) and (ident or not known.done):
            return known  # told twice
        item = self._new(kind, payload, ident, whole)
        if family == "call":
            yield from self._introduce(item, whole)
        elif family == "hosted":
            entry = {"index": item.number, "id": item.id, "name": kind}
            yield Chunk(extra={"server_tool_calls": [entry]})
        elif family == "message":
            if not self._began and (role := _word(whole.get("role"))):
                self._began = True
                yield Chunk(role=role)
            if rest := _unknown(whole, _KNOWN_IN_MESSAGE):  # `phase`, say
                entry = {"index": item.number, "id": item.id, **rest}
                yield Chunk(extra={"message_items": [entry]})
        return item

    def _introduce(self, item: _Item, fields: Mapping[str, Any]) -> Iterator[Chunk]:
        """Tell what is new about a call, its arguments apart."""
        new = {
            field: _text(field, fields[field])
            for field in ("call_id", "name")
            if fields.get(field) and field not in item.said
        }
        if new:
            item.said.update(new)
            extra = {field: fields[field] for field in _ECHOED_IN_CALL if fields.get(field)}
            if item.kind == "custom_tool_call":
                extra["type"] = "custom"  # its arguments are plain text
            ident, name = new.get("call_id"), new.get("name")
            yield Chunk(tool_calls=(ToolCallDelta(item.number, ident, name, extra=extra or None),))

    def _complete(self, whole: Mapping[str, Any], payload: Mapping[str, Any]) -> Iterator[Chunk]:
        """Take an item that is finished."""
        item = self._find(_word(whole.get("type")), payload, whole.get("id"))
        if item is None:
            item = yield from self._announce(whole, payload)
        yield from self._read_item(item, whole)

    def _read_item(self, item: _Item, whole: Mapping[str, Any]) -> Iterator[Chunk]:
        """Read of a whole item what was not said before."""
        item.done = True
        if item.kind == "message":
            parts = _objects(whole, "content")
            yield from self._read_parts(item, parts)
            notes = [_nested(note) for part in parts for note in _objects(part, "annotations")]
            yield from self._keep("annotations", notes, item)
            others = [part for part in parts if _word(part.get("type")) not in _PARTS]
            yield from self._keep("content_parts", others, item)
        elif item.kind == "reasoning":
            yield from self._read_parts(item, _objects(whole, "content"))
            yield from self._read_parts(item, _objects(whole, "summary"))
            sealed = whole.get("encrypted_content")
            if sealed and "encrypted" not in item.said:
                yield from self._say(item, "encrypted", 0, _text("encrypted_content", sealed))
        elif item.kind in _FAMILIES:
            yield from self._introduce(item, whole)
            name = "arguments" if item.kind == "function_call" else "input"
            yield from self._read_arguments(item, whole.get(name))
        else:
            yield from self._keep("server_tool_results", [whole], item)

    def _read_parts(self, item: _Item, parts: list[Mapping[str, Any]]) -> Iterator[Chunk]:
        """Read the parts of slots in which nothing came: parts may be numbered anew here."""
        before = set(item.said)
        for number, part in enumerate(parts):
            kind, slot, name = _PARTS.get(_word(part.get("type")), ("", "", ""))
            if kind == item.kind and slot not in before:
                yield from self._read_text(item, number, part, slot, name)

    def _keep(self, name: str, values: list[Any], item: _Item) -> Iterator[Chunk]:
        """Keep what has no field of its own, once for each item."""
        if values and name not in item.said:
            item.said.add(name)
            yield Chunk(extra={name: values})

    # Pieces of items.

    def _read_delta(self, payload: Mapping[str, Any], kind: str, slot: str) -> Iterator[Chunk]:
        delta, logprobs = payload.get("delta"), payload.get("logprobs")
        if delta or logprobs:
            delta = _text("delta", delta or "")
            item = self._item(kind, payload)
            yield from self._say(item, slot, _part_number(payload), delta, logprobs)

    def _read_whole(
        self, payload: Mapping[str, Any], kind: str, slot: str, name: str
    ) -> Iterator[Chunk]:
        item = self._item(kind, payload)
        if slot == "arguments":
            yield from self._introduce(item, payload)
            yield from self._read_arguments(item, payload.get(name))
        else:
            yield from self._read_text(item, _part_number(payload), payload, slot, name)

    def _read_arguments(self, item: _Item, whole: Any) -> Iterator[Chunk]:
        """Read arguments that are finished, if they did not come as deltas."""
        if "arguments" not in item.said:
            yield from self._say(item, "arguments", 0, _arguments(whole))

    def _read_text(
        self, item: _Item, number: int, fields: Mapping[str, Any], slot: str, name: str
    ) -> Iterator[Chunk]:
        """Read a text that is finished, and its logprobs, if they did not come as deltas."""
        text, logprobs = _text(name, fields.get(name) or ""), fields.get("logprobs")
        if (slot, number) in item.said:
            text = ""
        if ("logprobs", number) in item.said:
            logprobs = None
        yield from self._say(item, slot, number, text, logprobs)

    def _say(
        self, item: _Item, slot: str, number: int, text: str, logprobs: Any = None
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

    def _detail(self, item: _Item, slot: str, number: int, text: str) -> dict[str, Any]:
        place = item.details.get((slot, number))
        if place is None:
            place = item.details[slot, number] = self._details
            self._details += 1
        return {
            "type": f"reasoning.{slot}",
            "data" if slot == "encrypted" else slot: text,
            "id": item.id,
            "format": _FORMAT,
            "index": place,
        }

    def _read_other(self, kind: str, payload: Mapping[str, Any]) -> Iterator[Chunk]:
        """Read how a server's tool goes on (its code, a first picture), and what is unknown."""
        delta = payload.get("delta")
        if kind.endswith(".partial_image"):
            yield Chunk(extra={"partial_images": [payload]})
        elif kind.endswith(".delta") and delta:
            said = {kind.removeprefix("response.").removesuffix(".delta"): delta}
            item = self._find("hosted", payload, payload.get("item_id"))
            yield Chunk(
                extra={"server_tool_calls": [{"index": item.number, **said}]} if item else said
            )

    # The end.

    def _end(self, status: str, response: Mapping[str, Any]) -> Iterator[Chunk]:
        yield from self._read_head(response)
        yield from self._read_output(_objects(response, "output"))
        self.done = True
        status = _word(response.get("status")) or status
        usage, error = response.get("usage"), response.get("error")
        yield Chunk(
            finish_reason=self._finish_reason(status, response),
            usage=None if usage is None else _usage(usage),
        )
        # An `error` event that came before has said it already.
        if not self._reported and (error or status == "failed"):
            raise api_error(error or "the response failed, and does not say why")

    def _read_output(self, output: list[Mapping[str, Any]]) -> Iterator[Chunk]:
        """Read a response's items where they were not streamed; their places may be others."""
        streamed = {family: list(items) for family, items in self._items.items()}
        for whole in output:
            kind = _word(whole.get("type"))
            family = _FAMILIES.get(kind, "hosted")
            left = streamed[family]
            item = self._known.get((family, _word(whole.get("id"))))
            item = item or next((other for other in left if other.kind == kind), None)
            if item is None:
                item = yield from self._announce(whole, _NOTHING)
            elif item in left:
                left.remove(item)
            yield from self._read_item(item, whole)
        for family in ("message", "reasoning", "call"):
            for item in self._items[family]:
                if not item.done:
                    yield from self._read_item(item, item.announced)

    def _finish_reason(self, status: str, response: Mapping[str, Any]) -> str:
        if status == "completed":
            return "tool_calls" if self._items["call"] else "stop"
        details = response.get("incomplete_details")
        reason = _word(details.get("reason")) if isinstance(details, Mapping) else ""
        return FINISH_REASONS.get(reason, reason or status)


def _part_number(payload: Mapping[str, Any]) -> int:
    number = payload.get("content_index", payload.get("summary_index"))
    return number if type(number) is int else 0


def _word(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _text(where: str, value: Any) -> str:
    if not isinstance(value, str):
        raise wrong_type(where, value, "a string")
    return value


def _arguments(value: Any) -> str:
    if isinstance(value, Mapping):
        return json.dumps(value, ensure_ascii=False)
    return _text("arguments", value or "")


def _object(fields: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = fields.get(name)
    if not isinstance(value, Mapping):
        raise wrong_type(name, value, "an object")
    return value


def _objects(fields: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    value = fields.get(name) or []
    if not isinstance(value, list):
        raise wrong_type(name, value, "a list")
    for entry in value:
        if not isinstance(entry, Mapping):
            raise wrong_type(f"{name}[]", entry, "an object")
    return value


def _nested(annotation: Mapping[str, Any]) -> dict[str, Any]:
    """Give an annotation in the form of Chat Completions: what it says under its type's name."""
    # As sent, a file's has an `index` of its own, by which those of one place would be merged.
    kind = _word(annotation.get("type")) or "annotation"
    return {"type": kind, kind: {key: annotation[key] for key in annotation if key != "type"}}


def _unknown(fields: Mapping[str, Any], known: frozenset[str]) -> dict[str, Any]:
    return {
        name: value for name, value in fields.items() if name not in known and value is not None
    }


def _usage(value: Any) -> Usage:
    if not isinstance(value, Mapping):
        raise wrong_type("usage", value, "an object")
    return Usage(
        _count(value, "input_tokens"),
        _count(value, "output_tokens"),
        _count(value, "total_tokens"),
        _count(value.get("output_tokens_details"), "reasoning_tokens"),
        _count(value.get("input_tokens_details"), "cached_tokens"),
        value,
    )


def _count(fields: Any, name: str) -> int | None:
    number = fields.get(name) if isinstance(fields, Mapping) else None
    return number if type(number) is int else None


# The request.


def _input_items(messages: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    custom: set[str] = set()  # ids of the calls of custom tools
    for place, message in enumerate(messages):
        where = f"messages[{place}]"
        if not isinstance(message, Mapping):
            raise TypeError(f"{where} must be a dict, not {type(message).__name__}")
        role = message.get("role")
        if "type" in message:
            yield message  # an input item already: messages of Chat Completions have no type
        elif role in ("system", "developer", "user"):
            content = message.get("content")
            whole = content if isinstance(content, str) else _input_parts(message, where)
            yield _message(role, whole)
        elif role == "assistant":
            yield from _assistant_items(message, where, custom)
        elif role == "tool":
            yield _tool_output(message, where, custom)
        else:
            raise untranslatable(ResponsesDialect.name, where, f"the role {role!r}")


def _message(role: str, content: Any) -> dict[str, Any]:
    return {"type": "message", "role": role, "content": content}


def _input_parts(message: Mapping[str, Any], where: str) -> list[Mapping[str, Any]]:
    parts: list[Mapping[str, Any]] = []
    for place, part in enumerate(parts_of(message, where)):
        if isinstance(part, str):
            parts.append({"type": "input_text", "text": part})
        elif isinstance(part, Media) and part.kind != "audio":
            parts.append(_media(message["content"][place]))
        elif isinstance(part, Mapping) and _word(part.get("type")).startswith("input_"):
            parts.append(part)
        else:
            raise untranslatable(ResponsesDialect.name, f"{where}.content[{place}]", part)
    return parts


def _media(part: Mapping[str, Any]) -> dict[str, Any]:
    """Give an image or a file: in both APIs it has the same fields, but here they lie flat."""
    if part["type"] == "file":
        return {"type": "input_file", **part["file"]}
    image = part["image_url"]
    fields = image if isinstance(image, Mapping) else {"url": image}
    detail = {"detail": fields["detail"]} if "detail" in fields else {}
    return {"type": "input_image", "image_url": fields["url"], **detail}


def _assistant_items(
    message: Mapping[str, Any], where: str, custom: set[str]
) -> Iterator[Mapping[str, Any]]:
    if message.get("function_call"):
        said = "`function_call`; write it as `tool_calls`"
        raise untranslatable(ResponsesDialect.name, where, said)
    yield from _reasoning_items(message, where)
    parts: list[str | Mapping[str, Any]] = []
    for place, part in enumerate(parts_of(message, where)):
        native = isinstance(part, Mapping) and part.get("type") in ("output_text", "refusal")
        if isinstance(part, Media) or not (native or isinstance(part, str)):
            raise untranslatable(ResponsesDialect.name, f"{where}.content[{place}]", part)
        parts.append(part)
    if message.get("refusal"):
        parts.append({"type": "refusal", "refusal": message["refusal"]})
    texts = [part for part in parts if isinstance(part, str)]
    if len(texts) < len(parts):
        yield _message("assistant", [_output_part(part) for part in parts])
    elif text := "".join(texts):
        yield _message("assistant", text)
    calls = [_as_function_call(call) for call in message.get("tool_calls") or ()]
    for call, name, at in calls_of({"tool_calls": calls}, where):
        ident, arguments = call.get("id"), call["function"].get("arguments")
        if not isinstance(ident, str) or not ident:
            raise ValueError(f"{at}.id must be there: the result is found by it")
        echoed = {field: call[field] for field in _ECHOED_IN_CALL if field in call}
        head = {"call_id": ident, "name": name, **echoed}
        if call.get("type") == "custom":
            custom.add(ident)
            yield {"type": "custom_tool_call", **head, "input": arguments or ""}
        else:
            if not isinstance(arguments, str):
                arguments = json.dumps(arguments or {}, ensure_ascii=False)
            yield {"type": "function_call", **head, "arguments": arguments or "{}"}


def _output_part(part: str | Mapping[str, Any]) -> Mapping[str, Any]:
    if isinstance(part, str):
        return {"type": "output_text", "text": part, "annotations": []}
    return part


def _as_function_call(call: Any) -> Any:
    """Give a custom tool's call the fields that results have for every call."""
    inner = call.get("custom") if isinstance(call, Mapping) else None
    if not isinstance(inner, Mapping):
        return call
    return {**call, "function": {"name": inner.get("name"), "arguments": inner.get("input")}}


def _reasoning_items(message: Mapping[str, Any], where: str) -> list[dict[str, Any]]:
    """
    Put reasoning together again of the details that `_detail` made.

    An item without its thoughts, open or encrypted, would only point to what the server may
    have kept, and fails where it has not: it is left out.
    """
    items: list[dict[str, Any]] = []
    for place, detail in enumerate(message.get("reasoning_details") or ()):
        if not isinstance(detail, Mapping):
            raise TypeError(f"{where}.reasoning_details[{place}] must be a dict")
        if detail.get("format") != _FORMAT:
            continue  # for another provider's eyes
        ident = detail.get("id")
        if not items or items[-1].get("id") != ident or "encrypted_content" in items[-1]:
            named = {"id": ident} if ident else {}
            items.append({"type": "reasoning", **named, "summary": []})
        kind, item = detail.get("type"), items[-1]
        if kind == "reasoning.encrypted":
            item["encrypted_content"] = detail.get("data")
        elif kind == "reasoning.summary":
            item["summary"].append({"type": "summary_text", "text": detail.get("summary")})
        elif kind == "reasoning.text":
            thought = {"type": "reasoning_text", "text": detail.get("text")}
            item.setdefault("content", []).append(thought)
    return [item for item in items if "encrypted_content" in item or "content" in item]


def _tool_output(message: Mapping[str, Any], where: str, custom: set[str]) -> dict[str, Any]:
    ident, content = message.get("tool_call_id"), message.get("content")
    if not isinstance(ident, str) or not ident:
        raise ValueError(f"{where}.tool_call_id must be the id of the call it answers")
    kind = "custom_tool_call_output" if ident in custom else "function_call_output"
    if not isinstance(content, str):
        parts = _input_parts(message, where)
        texts = [part["text"] for part in parts if part.keys() == {"type", "text"}]
        content = "".join(texts) if len(texts) == len(parts) else parts
    return {"type": kind, "call_id": ident, "output": content}


def _tool(tool: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    function = function_of(tool, where)
    if function is None:
        flat = _flat(tool)
        return {**flat, "format": _flat(flat["format"])} if "format" in flat else flat
    described = {} if function.description is None else {"description": function.description}
    return {
        "type": "function",
        "name": function.name,
        **described,
        "parameters": function.parameters,
        # Unlike Chat Completions this API is strict unless told otherwise.
        "strict": bool(function.strict),
    }


def _flat(value: Any) -> Any:
    """Lift what Chat Completions nests under its type's name; anything else stays as it is."""
    kind = value.get("type") if isinstance(value, Mapping) else None
    inner = value.get(kind) if isinstance(kind, str) else None
    return {"type": kind, **inner} if isinstance(inner, Mapping) else value


def _params(given: Mapping[str, Any]) -> dict[str, Any]:
    """Put Chat Completions' everyday parameters where this API has them."""
    params = dict(given)
    for name in ("max_completion_tokens", "max_tokens"):
        if name in params:
            params.setdefault("max_output_tokens", params.pop(name))
    for name, place, key in (
        ("reasoning_effort", "reasoning", "effort"),
        ("response_format", "text", "format"),
        ("verbosity", "text", "verbosity"),
    ):
        value = _flat(params.pop(name, None))
        if value is not None and isinstance(own := params.get(place) or {}, Mapping):
            params[place] = {key: value, **own}
    if "tool_choice" in params:
        choice = params["tool_choice"] = _flat(params["tool_choice"])
        if isinstance(choice, Mapping) and isinstance(choice.get("tools"), list):
            params["tool_choice"] = {**choice, "tools": [_flat(tool) for tool in choice["tools"]]}
    return params
