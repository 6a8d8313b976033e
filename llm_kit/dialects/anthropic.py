"""
Anthropic's Messages API, as Claude speaks it at Anthropic, on Bedrock, Vertex and Azure.

Sources: the API reference at https://platform.claude.com/docs/en/api/messages, and "Streaming
messages", "Extended thinking" and "Mid-conversation system messages" in the guides beside it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import Any, ClassVar

from attrs import define

from llm_kit.dialects.base import (
    FINISH_REASONS,
    Chat,
    ChatDialect,
    ChunkSink,
    api_error,
    wrong_type,
)
from llm_kit.dialects.continuing import continued
from llm_kit.dialects.translate import (
    Media,
    Part,
    arguments_of,
    calls_of,
    function_of,
    parts_of,
    texts_of_stop,
    untranslatable,
)
from llm_kit.policies import ContinueMode
from llm_kit.types import Chunk, ToolCallDelta, Usage

_NAME = "anthropic"
_VERSION = "2023-06-01"
_FORMAT = "anthropic-claude-v1"
_MAX_TOKENS = 4096

_EVENTS = frozenset(
    {
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    }
)
# What has a home in a chunk, or says nothing.
_KNOWN_IN_MESSAGE = frozenset({"type", "id", "role", "model", "content", "stop_reason", "usage"})
# `message` is the SDK's snapshot of the whole, which has been read already.
_KNOWN_IN_EVENT = frozenset({"type", "delta", "usage", "message"})
_KNOWN_IN_CALL = frozenset({"type", "id", "name", "input"})
_KNOWN_IN_TEXT = frozenset({"type", "text", "citations"})
_KNOWN_IN_THINKING = frozenset({"type", "thinking", "signature"})
_CALLS = frozenset({"tool_use", "server_tool_use"})
_KNOWN_BLOCKS = _CALLS | {"text", "thinking"}


@define
class _Block:
    """
    A content block that has begun and not ended.

    Attributes:
        kind: the block's type, and ``server_tool_use`` for every tool that the server runs.
        number: which one of its kind it is in the stream; the wire's index begins anew with a
            second message.
        given: a tool's input as it stood in the block's beginning.
        signature: what the signature is so far.
    """

    kind: str
    number: int
    given: Any = None
    has_fragments: bool = False
    signature: str = ""


class AnthropicDialect(ChatDialect):
    """
    Reads one Messages stream, and builds the request for it.

    ``usage.prompt_tokens`` is what OpenAI means by it, all tokens of the prompt: the sum of
    ``input_tokens``, ``cache_read_input_tokens`` (which is ``cached_tokens``) and
    ``cache_creation_input_tokens``. ``usage.raw`` has them apart.
    """

    name: ClassVar[str] = _NAME
    root: ClassVar[str] = "/v1"

    @staticmethod
    def path(model: str | None) -> str:  # noqa: ARG004  the model goes into the body
        """Give where requests go, from the base URL on."""
        return "/messages"

    @staticmethod
    def request_headers(api_key: str | None) -> dict[str, str]:
        """Give the headers that this API wants, with the key in its place."""
        headers = {"anthropic-version": _VERSION}
        if api_key:
            headers["x-api-key"] = api_key
        return headers

    @staticmethod
    def request_body(chat: Chat) -> dict[str, Any]:
        """
        Give the JSON body of a streaming request.

        ``max_tokens`` must be there in this API; where the chat has none it is 4096. Usage is
        always sent, so ``include_usage`` means nothing here. System messages that lead the chat
        become ``system``; later ones stay where they are: Claude reads them there since Opus 4.8,
        and a model that does not refuses the request. Reasoning is sent back if Claude signed it;
        an assistant's message that says nothing is left out, because the API refuses it.

        Raises:
            TypeError, ValueError: something can't be said in this form; nothing is dropped.
        """
        return _request_body(chat)

    @staticmethod
    def can_be_continued(body: Mapping[str, Any]) -> bool:
        """Tell whether a server could go on in the middle of the answer to this request."""
        choice, output = body.get("tool_choice"), body.get("output_config")
        forced = isinstance(choice, Mapping) and choice.get("type") in ("any", "tool")
        json_only = isinstance(output, Mapping) and output.get("format") is not None
        return not forced and not json_only

    @staticmethod
    def continued_body(
        body: Mapping[str, Any], text: str, url: str, mode: ContinueMode, instruction: str
    ) -> tuple[dict[str, Any], str]:
        """
        Give the body of the request that goes on from a text; see `Dialect.continued_body`.

        A prefill ("plain") is not the default, as Claude refuses it since 4.6, and earlier while
        it thinks.

        Raises:
            ValueError: the mode is of other APIs.
        """
        if mode not in ("auto", "instruct", "plain"):
            raise ValueError(
                f'{mode!r} is no way to continue in the "anthropic" dialect; "instruct" is, and'
                ' "plain" for models that take a prefill'
            )
        return continued(body, text, url, "instruct" if mode == "auto" else mode, instruction)

    @staticmethod
    def recognises(payload: Mapping[str, Any]) -> bool:
        """Tell whether an object can only be of this form, by what is in it: it is cheap."""
        kind = payload.get("type")
        if kind == "message":
            return "stop_reason" in payload and "content" in payload
        return isinstance(kind, str) and kind in _EVENTS

    def __init__(self, quirks: set[str]) -> None:
        self.done = False
        self._quirks = quirks
        self._blocks: dict[int | None, _Block] = {}
        self._counts: dict[str, int] = {}
        self._began = False
        self._usage: dict[str, Any] = {}
        self._told: set[str] = set()

    def read(self, payload: Mapping[str, Any], out: ChunkSink, raw: Any) -> None:
        """Turn one wire object into chunks; see `Dialect.read`."""
        kind = payload.get("type")
        if kind == "content_block_delta":
            self._read_delta(payload, out, raw)
        elif kind == "content_block_start":
            block = _mapping("content_block", payload.get("content_block"))
            self._begin(_index(payload), block, out, raw)
        elif kind == "content_block_stop":
            self._end(_index(payload), out, raw)
        elif kind == "message_start":
            self._read_message(_mapping("message", payload.get("message")), out, raw)
        elif kind == "message_delta":
            self._read_end(payload, out, raw)
        elif kind == "message_stop":
            self._read_end(payload, out, raw)
            self.done = True
        elif kind == "message":
            self._quirks.add("answer_not_streamed")
            self._read_message(payload, out, raw)
            self.done = True
        elif kind == "error" or payload.get("error") or (kind is None and payload.get("detail")):
            error = payload.get("error") or payload.get("detail") or payload
            raise api_error(error, whole=payload)
        # Anything else says nothing new: "ping", and what the SDK derives ("text", "thinking").

    def _read_message(self, message: Mapping[str, Any], out: ChunkSink, raw: Any) -> None:
        """Read a message's head, and as much of the message as stands there already."""
        if self._began:
            self._quirks.add("message_start_repeated")
            self._end_all(out, raw)
            self._usage = {}
        self._began = True
        role, ident, model = message.get("role"), message.get("id"), message.get("model")
        chunk = Chunk(
            role=role if isinstance(role, str) and role else None,
            usage=self._merged_usage(message.get("usage")),
            extra=self._news(message, _KNOWN_IN_MESSAGE),
            id=ident if isinstance(ident, str) and ident else None,
            model=model if isinstance(model, str) and model else None,
            raw=raw,
        )
        _put(out, chunk)
        content = message.get("content") or []
        if not isinstance(content, list):
            raise wrong_type("content", content, "a list")
        for place, block in enumerate(content):
            self._begin(place, _mapping(f"content[{place}]", block), out, raw)
            self._end(place, out, raw)
        if message.get("stop_reason"):
            out.append(Chunk(finish_reason=_finish_reason(message["stop_reason"]), raw=raw))

    def _read_end(self, event: Mapping[str, Any], out: ChunkSink, raw: Any) -> None:
        """Read how a message ends: usage, the reason, and what else is said of the whole."""
        delta = _mapping("delta", event.get("delta") or {})
        reason = delta.get("stop_reason")
        if reason or event["type"] == "message_stop":
            self._end_all(out, raw)
        extra = self._news(event, _KNOWN_IN_EVENT) | self._news(delta, _KNOWN_IN_MESSAGE)
        usage = self._merged_usage(event.get("usage"))
        finish = _finish_reason(reason) if reason else None
        _put(out, Chunk(finish_reason=finish, usage=usage, extra=extra, raw=raw))

    def _news(self, fields: Mapping[str, Any], known: frozenset[str]) -> dict[str, Any]:
        """Give what is said of the message once: texts that come again would be joined."""
        news = _rest(fields, known | self._told)
        self._told.update(news)
        return news

    def _merged_usage(self, value: Any) -> Usage | None:
        """Merge a piece of usage into those before it; they are totals, not to be added up."""
        if not value:
            return None
        self._usage |= {
            name: number for name, number in _mapping("usage", value).items() if number is not None
        }
        numbers = {name: n for name, n in self._usage.items() if type(n) is int}
        prompt, cached = numbers.get("input_tokens"), numbers.get("cache_read_input_tokens")
        if prompt is not None:
            prompt += (cached or 0) + numbers.get("cache_creation_input_tokens", 0)
        # Counted anew from the text, so it "may differ" (the reference, OutputTokensDetails).
        details = self._usage.get("output_tokens_details")
        thinking = details.get("thinking_tokens") if isinstance(details, Mapping) else None
        return Usage(
            prompt_tokens=prompt,
            completion_tokens=numbers.get("output_tokens"),
            reasoning_tokens=thinking if type(thinking) is int else None,
            cached_tokens=cached,
            raw=dict(self._usage),
        )

    def _add(self, index: int | None, kind: str) -> _Block:
        number = self._counts.get(kind, 0)
        self._counts[kind] = number + 1
        block = self._blocks[index] = _Block(kind, number)
        return block

    def _begin(
        self, index: int | None, fields: Mapping[str, Any], out: ChunkSink, raw: Any
    ) -> None:
        """Begin a block, with what it has already."""
        self._end(index, out, raw)
        kind = fields.get("type")
        chunk = Chunk(raw=raw)
        if kind == "text":
            self._add(index, kind)
            chunk.delta = _text("text", fields.get("text"))
            chunk.extra = _rest(fields, _KNOWN_IN_TEXT)
            if fields.get("citations"):
                chunk.extra["annotations"] = fields["citations"]
        elif kind == "thinking":
            block = self._add(index, kind)
            block.signature = _text("signature", fields.get("signature"))
            _think(chunk, block, fields)
        elif kind == "redacted_thinking":
            block = self._add(index, "thinking")
            chunk.extra = _reasoning("reasoning.encrypted", block, {"data": fields.get("data")})
        elif kind == "tool_use":
            block = self._add(index, kind)
            block.given = fields.get("input")
            ident, name = fields.get("id"), fields.get("name")
            call = ToolCallDelta(
                block.number,
                None if ident is None else _text("tool_use.id", ident),
                None if name is None else _text("tool_use.name", name),
                extra=_rest(fields, _KNOWN_IN_CALL) or None,
            )
            chunk.tool_calls = (call,)
        elif not isinstance(kind, str):
            raise wrong_type("content_block.type", kind, "a string")
        elif kind.endswith("_tool_use"):
            block = self._add(index, "server_tool_use")
            block.given = fields.get("input")
            rest = {name: value for name, value in fields.items() if name != "input"}
            chunk.extra = _server_call(block, {**rest, "arguments": ""})
        elif kind.endswith("_tool_result"):
            chunk.extra = {"server_tool_results": [fields]}
        else:
            block = self._add(index, kind)
            chunk.extra = {kind: [{**fields, "index": block.number}]}
        _put(out, chunk)

    def _read_delta(self, event: Mapping[str, Any], out: ChunkSink, raw: Any) -> None:
        delta = event.get("delta")
        if type(delta) is not dict:
            delta = _mapping("delta", delta)
        kind, text = delta.get("type"), delta.get("text")
        if kind == "text_delta" and type(text) is str and text and len(delta) == 2:
            out.append(Chunk(text, raw=raw))  # the hot path: one of these per token
        else:
            _put(out, self._chunk(kind, _index(event), delta, raw))

    def _chunk(self, kind: Any, index: int | None, delta: Mapping[str, Any], raw: Any) -> Chunk:
        chunk, block = Chunk(raw=raw), self._blocks.get(index)
        if kind == "text_delta":
            chunk.delta = _text("text", delta.get("text"))
            chunk.extra = _rest(delta, _KNOWN_IN_TEXT)
        elif kind == "thinking_delta":
            _think(chunk, self._thinking(index), delta)
        elif kind == "signature_delta":
            # Not told before the block ends: a second one takes the place of the first, as in
            # Anthropic's own SDK.
            self._thinking(index).signature = _text("signature", delta.get("signature"))
        elif kind == "citations_delta":
            chunk.extra = {"annotations": [delta.get("citation")]}
        elif kind == "input_json_delta" and (block is None or block.kind in _CALLS):
            fragment = _text("partial_json", delta.get("partial_json"))
            if fragment:
                block = block or self._unannounced(index, "tool_use")
                block.has_fragments = True
                _call(chunk, block, fragment)
        elif not isinstance(kind, str):
            raise wrong_type("delta.type", kind, "a string")
        elif block is None or block.kind in _KNOWN_BLOCKS:
            chunk.extra = {kind: [delta]}
        else:
            rest = {name: value for name, value in delta.items() if name != "type"}
            chunk.extra = {block.kind: [{**rest, "index": block.number}]}
        return chunk

    def _thinking(self, index: int | None) -> _Block:
        block = self._blocks.get(index)
        if block is None or block.kind != "thinking":
            return self._unannounced(index, "thinking")
        return block

    def _unannounced(self, index: int | None, kind: str) -> _Block:
        self._quirks.add("block_without_start")
        return self._add(index, kind)

    def _end(self, index: int | None, out: ChunkSink, raw: Any) -> None:
        """End a block, if there is one: what is known only then comes now."""
        block = self._blocks.pop(index, None)
        if block is None:
            return
        chunk = Chunk(raw=raw)
        if block.kind in _CALLS and not block.has_fragments:
            # Programmatic calls have their input in the beginning and no fragments; calls
            # without arguments have an empty input, and one empty fragment or none.
            given = block.given or {}
            _call(
                chunk,
                block,
                given if isinstance(given, str) else json.dumps(given, ensure_ascii=False),
            )
        if block.signature:
            fields = {"text": "", "signature": block.signature}
            chunk.extra = _reasoning("reasoning.text", block, fields)
        _put(out, chunk)

    def _end_all(self, out: ChunkSink, raw: Any) -> None:
        for index in list(self._blocks):
            self._end(index, out, raw)


def _put(out: ChunkSink, chunk: Chunk) -> None:
    """Give a chunk, unless it says nothing."""
    chunk.extra = chunk.extra or None
    if (
        chunk.delta
        or chunk.reasoning
        or chunk.tool_calls
        or chunk.extra
        or chunk.finish_reason
        or chunk.usage
        or chunk.role
        or chunk.id
        or chunk.model
    ):
        out.append(chunk)


def _mapping(where: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise wrong_type(where, value, "an object")
    return value


def _text(where: str, value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise wrong_type(where, value, "a string")
    return value


def _index(event: Mapping[str, Any]) -> int | None:
    index = event.get("index")
    return index if type(index) is int else None


def _rest(fields: Mapping[str, Any], known: Set[str]) -> dict[str, Any]:
    return {
        name: value
        for name, value in fields.items()
        if name not in known and value is not None and value not in ("", [], {})
    }


def _finish_reason(value: Any) -> str:
    word = _text("stop_reason", value)
    return FINISH_REASONS.get(word, word)


def _think(chunk: Chunk, block: _Block, fields: Mapping[str, Any]) -> None:
    chunk.reasoning = _text("thinking", fields.get("thinking"))
    chunk.extra = _rest(fields, _KNOWN_IN_THINKING)
    if chunk.reasoning:
        chunk.extra |= _reasoning("reasoning.text", block, {"text": chunk.reasoning})


def _reasoning(kind: str, block: _Block, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Give what Claude wants back, in the form that OpenRouter documents for it."""
    labels = {"format": _FORMAT, "index": block.number}
    return {"reasoning_details": [{"type": kind, **fields, **labels}]}


def _call(chunk: Chunk, block: _Block, fragment: str) -> None:
    if block.kind == "tool_use":
        chunk.tool_calls = (ToolCallDelta(block.number, arguments=fragment),)
    else:
        chunk.extra = _server_call(block, {"arguments": fragment})


def _server_call(block: _Block, fields: Mapping[str, Any]) -> dict[str, Any]:
    return {"server_tool_calls": [{**fields, "index": block.number}]}


# The request side.

# OpenAI's parameters that are said otherwise here, and how.
_OTHERWISE = {
    "response_format": 'output_config={"format": {"type": "json_schema", "schema": {...}}}',
    "reasoning_effort": 'output_config={"effort": ...}',
    "user": 'metadata={"user_id": ...}',
    "functions": "tools",
    "function_call": "tool_choice",
}
# Parts of OpenAI's messages that Claude can't take; other types may be Anthropic's own.
_FOREIGN_PARTS = frozenset({"input_audio", "file", "image_url", "video_url"})
_CHOICES = {"auto": "auto", "none": "none", "required": "any"}


def _request_body(chat: Chat) -> dict[str, Any]:
    params = dict(chat.params)
    for name, instead in _OTHERWISE.items():
        if params.pop(name, None) is not None:
            raise ValueError(f"{name} is not of Anthropic's API; write {instead}")
    if chat.n not in (None, 1):
        raise ValueError(f"n is {chat.n!r}, and Anthropic's API gives one answer to a request")
    limits = [params.pop(name, None) for name in ("max_tokens", "max_completion_tokens")]
    if None not in limits:
        raise ValueError("max_completion_tokens is max_tokens in Anthropic's API; give one")
    choice = _tool_choice(params.pop("tool_choice", None), params.pop("parallel_tool_calls", None))
    system, messages = _messages(chat.messages)
    if system and "system" in params:
        raise ValueError("system is given twice: by messages and as a parameter; give one")
    optional = {
        "model": chat.model,
        "system": system,
        "tools": [_tool(tool, f"tools[{place}]") for place, tool in enumerate(chat.tools or ())],
        "tool_choice": choice,
        "stop_sequences": texts_of_stop(chat.stop or ()),
    }
    return {
        **{name: value for name, value in optional.items() if value},
        "max_tokens": next((limit for limit in limits if limit is not None), _MAX_TOKENS),
        "messages": messages,
        "stream": True,
        **params,
    }


def _tool_choice(choice: Any, parallel: bool | None) -> Any:
    if isinstance(choice, str):
        if choice not in _CHOICES:
            words = ", ".join(map(repr, _CHOICES))
            raise ValueError(f"tool_choice is {choice!r}; it may be {words}, or name a tool")
        choice = {"type": _CHOICES[choice]}
    elif isinstance(choice, Mapping) and isinstance(choice.get("function"), Mapping):
        choice = {"type": "tool", "name": choice["function"].get("name")}
    if parallel is False and choice != {"type": "none"}:
        return {"disable_parallel_tool_use": True, **(choice or {"type": "auto"})}
    return choice


def _tool(tool: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    function = function_of(tool, where)
    if function is None:
        return tool
    fields = {
        "description": function.description,
        # What the API wants of a tool without parameters; OpenAI's takes it without a schema.
        "input_schema": function.parameters or {"type": "object", "properties": {}},
        "strict": function.strict,
    }
    own = {name: value for name, value in tool.items() if name not in ("type", "function")}
    return {
        "name": function.name,
        **{name: value for name, value in fields.items() if value is not None},
        **own,
    }


def _messages(messages: Sequence[Mapping[str, Any]]) -> tuple[Any, list[dict[str, Any]]]:
    """Give the system prompt, and the messages without it."""
    system: list[dict[str, Any]] = []
    sent: list[dict[str, Any]] = []
    results: list[dict[str, Any]] | None = None
    for place, message in enumerate(messages):
        at = f"messages[{place}]"
        if not isinstance(message, Mapping):
            raise TypeError(f"{at} must be a dict, not {type(message).__name__}")
        role = message.get("role")
        if role == "tool":
            if results is None:
                results = []
                sent.append({"role": "user", "content": results})
            results.append(_tool_result(message, at))
            continue
        results = None
        for name in ("name", "audio", "function_call"):
            if message.get(name):
                raise untranslatable(_NAME, f"{at}.{name}", f"a message's {name!r}")
        if role in ("system", "developer"):
            blocks = _blocks(message, at)
            if sent:
                sent.append({"role": "system", "content": _content(blocks)})
            else:
                system += blocks
        elif role == "user":
            sent.append({"role": role, "content": _content(_blocks(message, at))})
        elif role == "assistant":
            blocks = _assistant_blocks(message, at)
            if blocks:
                sent.append({"role": role, "content": _content(blocks)})
        else:
            raise untranslatable(_NAME, f"{at}.role", f"the role {role!r}")
    return _content(system), sent


def _content(blocks: list[dict[str, Any]]) -> Any:
    """Give blocks as a message's content: one plain text, or none, is a string."""
    if not blocks:
        return ""
    only = blocks[0]
    if len(blocks) == 1 and only.keys() == {"type", "text"}:
        return only["text"]
    return blocks


def _blocks(message: Mapping[str, Any], at: str) -> list[dict[str, Any]]:
    return [
        _block(part, f"{at}.content[{place}]")
        for place, part in enumerate(parts_of(message, at))
        if part != ""  # the API refuses empty texts
    ]


def _block(part: Part, at: str) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    if isinstance(part, Media):
        return _media(part, at)
    if part.get("type") == "refusal" and isinstance(part.get("refusal"), str):
        return {"type": "text", "text": part["refusal"]}
    if part.get("type") in _FOREIGN_PARTS or not isinstance(part.get("type"), str):
        raise untranslatable(_NAME, at, part)
    return dict(part)


def _media(media: Media, at: str) -> dict[str, Any]:
    source: dict[str, Any]
    if media.url:
        source = {"type": "url", "url": media.url}
    elif media.data and media.mime:
        source = {"type": "base64", "media_type": media.mime, "data": media.data}
    else:
        raise untranslatable(_NAME, at, media)
    if media.kind == "image":
        return {"type": "image", "source": source}
    if media.kind == "file" and media.mime in (None, "application/pdf"):
        title = {"title": media.name} if media.name else {}
        return {"type": "document", "source": source, **title}
    raise untranslatable(_NAME, at, media)


def _assistant_blocks(message: Mapping[str, Any], at: str) -> list[dict[str, Any]]:
    blocks = _blocks(message, at)
    if message.get("refusal"):
        blocks.append({"type": "text", "text": message["refusal"]})
    for call, name, where in calls_of(message, at):
        block = {
            "type": "tool_use",
            "id": _given_id(call, "id", where),
            "name": name,
            "input": arguments_of(call, where),
        }
        if "caller" in call:  # whether the model called it, or a program that it wrote
            block["caller"] = call["caller"]
        blocks.append(block)
    # Reasoning alone says nothing: the API refuses a message that ends with it.
    return [*_thinking_blocks(message.get("reasoning_details") or ()), *blocks] if blocks else []


def _thinking_blocks(details: Iterable[Any]) -> Iterator[dict[str, Any]]:
    """Give Claude's own reasoning back; it refuses any that has not its signature."""
    for detail in details:
        if not isinstance(detail, Mapping) or detail.get("format") != _FORMAT:
            continue
        if detail.get("type") == "reasoning.encrypted" and detail.get("data"):
            yield {"type": "redacted_thinking", "data": detail["data"]}
        elif detail.get("signature"):
            text, signature = detail.get("text") or "", detail["signature"]
            yield {"type": "thinking", "thinking": text, "signature": signature}


def _tool_result(message: Mapping[str, Any], at: str) -> dict[str, Any]:
    ident = _given_id(message, "tool_call_id", at)
    return {"type": "tool_result", "tool_use_id": ident, "content": _content(_blocks(message, at))}


def _given_id(fields: Mapping[str, Any], name: str, at: str) -> str:
    ident = fields.get(name)
    if not isinstance(ident, str) or not ident:
        raise ValueError(f"{at}.{name} must be the id of the call; Anthropic's API needs it")
    return ident
