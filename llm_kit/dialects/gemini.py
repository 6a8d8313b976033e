"""
Google's Gemini: ``streamGenerateContent`` of AI Studio and of Vertex AI.

Sources of the format: the Gemini API reference (ai.google.dev/api/generate-content), the page
"Thought signatures" of its guide, and for what only Vertex AI sends (`partialArgs`) its REST
reference of ``FunctionCall``. What is read here beyond them was seen in a real stream.
"""

from __future__ import annotations

import base64
import json
import mimetypes
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar
from urllib.parse import quote

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
    arguments_of,
    calls_of,
    function_of,
    names_of_calls,
    parts_of,
    text_of,
    texts_of_stop,
    untranslatable,
)
from llm_kit.errors import StreamProtocolError
from llm_kit.policies import ContinueMode
from llm_kit.types import Chunk, ToolCallDelta, Usage

_FORMAT = "google-gemini-v1"

# What the stream side has a home for; the rest of a candidate restates itself, and goes to extra.
_KNOWN_IN_CANDIDATE = frozenset({"content", "finishReason", "index", "logprobsResult"})
_KNOWN_IN_PART = frozenset({"text", "thought", "thoughtSignature", "functionCall"})
_KNOWN_IN_CALL = frozenset({"id", "name", "args", "partialArgs", "willContinue"})
# Parts that tools make which run at Google's: what was asked of them, and what came of it.
_SERVER_CALLS = frozenset({"executableCode", "toolCall"})
_SERVER_RESULTS = frozenset({"codeExecutionResult", "toolResponse"})

# The everyday parameters of OpenAI's API that stand in `generationConfig` here.
_IN_CONFIG = {
    "max_tokens": "maxOutputTokens",
    "max_completion_tokens": "maxOutputTokens",
    "temperature": "temperature",
    "top_p": "topP",
    "seed": "seed",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
}
# Those that have another form here, and what to write instead.
_OTHERWISE = {
    "reasoning_effort": 'generationConfig={"thinkingConfig": {"thinkingLevel": "low"}}',
    "logprobs": 'generationConfig={"responseLogprobs": True}',
    "top_logprobs": 'generationConfig={"responseLogprobs": True, "logprobs": 5}',
}
_MODES = {"auto": "AUTO", "none": "NONE", "required": "ANY"}

# One step of a path (RFC 9535) to one value: .name, [0], ['name'] or ["name"].
_STEP = re.compile(
    r"""\.([^.*\[\]]+)|\[(\d{1,9})\]|\[(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)")\]"""
)


class GeminiDialect(ChatDialect):
    """
    Reads one stream of ``GenerateContentResponse`` objects, and builds the request for it.

    A stream has no end marker: each candidate's ``finishReason`` is all that says it is whole.
    """

    name: ClassVar[str] = "gemini"
    root: ClassVar[str] = "/v1beta"

    # The request

    @staticmethod
    def path(model: str | None) -> str:
        """
        Give where requests go, from the base URL on.

        Raises:
            ValueError: no model is given, and the path needs one.
        """
        if not model:
            raise ValueError('the "gemini" dialect needs a model: it stands in the URL')
        name = quote(model if "/" in model else f"models/{model}", safe="/@:")
        return f"/{name}:streamGenerateContent?alt=sse"

    @staticmethod
    def request_headers(api_key: str | None) -> dict[str, str]:
        """Give the header with the key, or with Google's OAuth access token, in its place."""
        if not api_key:
            return {}
        if api_key.startswith("ya29."):
            return {"authorization": f"Bearer {api_key}"}
        return {"x-goog-api-key": api_key}

    @staticmethod
    def request_body(chat: Chat) -> dict[str, Any]:
        """Give the JSON body of a request; see `ChatDialect.request_body`."""
        params = dict(chat.params)
        contents, instructions = _contents(chat.messages)
        body: dict[str, Any] = {"contents": contents}
        if instructions:
            body["systemInstruction"] = {"parts": instructions}
        if chat.tools:
            body["tools"] = _tools(chat.tools)
        choice = params.pop("tool_choice", None)
        if choice is not None:
            body["toolConfig"] = {"functionCallingConfig": _calling_config(choice)}
        config = _generation_config(chat, params)
        if config:
            body["generationConfig"] = config
        return _merged(body, params)

    @staticmethod
    def can_be_continued(body: Mapping[str, Any]) -> bool:
        """Tell whether a model could go on in the middle of the answer to this request."""
        config = _field(body, "generationConfig")
        mode = _field(_field(_field(body, "toolConfig"), "functionCallingConfig"), "mode")
        mime = _field(config, "responseMimeType")
        return (
            mime in (None, "text/plain")
            and _field(config, "responseFormat") is None
            and mode != "ANY"
        )

    @staticmethod
    def continued_body(
        body: Mapping[str, Any],
        text: str,
        url: str,  # noqa: ARG004
        mode: ContinueMode,
        instruction: str,
    ) -> tuple[dict[str, Any], str]:
        """
        Give the body of the request that goes on from a text; see `ChatDialect.continued_body`.

        Raises:
            ValueError: the mode is a prefill; the API documents none.
        """
        if mode not in ("auto", "instruct"):
            raise ValueError(
                f'the "gemini" dialect can\'t continue an answer by {mode!r}: use "auto" or'
                ' "instruct"'
            )
        contents = list(body["contents"])
        _add(contents, "model", [{"text": text}])
        _add(contents, "user", [{"text": instruction}])
        return {**body, "contents": contents}, ""

    # The stream

    def __init__(self, quirks: set[str]) -> None:
        self.quirks = quirks
        self.done = False
        self._candidates: dict[int, _Candidate] = {}
        self._feedback: Mapping[str, Any] | None = None
        self._created: int | None = None

    @staticmethod
    def recognises(payload: Mapping[str, Any]) -> bool:
        """Tell whether an object can only be of this form."""
        candidates = payload.get("candidates")
        first = candidates[0] if isinstance(candidates, list) and candidates else None
        if isinstance(first, Mapping):
            return "finishReason" in first or isinstance(first.get("content"), Mapping)
        return any(
            isinstance(payload.get(name), Mapping) for name in ("usageMetadata", "promptFeedback")
        )

    def read(self, payload: Mapping[str, Any], out: ChunkSink, raw: Any) -> None:
        """Turn one wire object into chunks; see `Dialect.read`."""
        candidates, usage = payload.get("candidates") or (), payload.get("usageMetadata")
        extra = (
            self._read_feedback(payload["promptFeedback"]) if "promptFeedback" in payload else None
        )
        if not isinstance(candidates, list | tuple):
            raise wrong_type("candidates", candidates, "a list")
        for position, candidate in enumerate(candidates):
            # A dict first, here and below: asking an abstract class takes its time.
            if type(candidate) is not dict and not isinstance(candidate, Mapping):
                raise wrong_type(f"candidates[{position}]", candidate, "an object")
            index = candidate.get("index")
            chunk = self._chunk(payload, index if type(index) is int else position, raw)
            chunk.extra, extra = extra, None
            state = self._candidates.get(chunk.index)
            if state is None:
                state = self._candidates[chunk.index] = _Candidate(self.quirks)
            state.read(candidate, chunk)
            if usage is not None:
                chunk.usage, usage = _usage(usage), None
            if _says_something(chunk):
                out.append(chunk)
        if usage is not None or extra is not None:
            chunk = self._chunk(payload, 0, raw)
            chunk.usage = None if usage is None else _usage(usage)
            chunk.extra = extra
            if extra is not None and extra["promptFeedback"].get("blockReason"):
                chunk.finish_reason = "content_filter"  # there will be no candidates
            out.append(chunk)
        if payload.get("error"):
            raise api_error(payload["error"], whole=payload)

    def _chunk(self, payload: Mapping[str, Any], index: int, raw: Any) -> Chunk:
        """Begin a chunk with what stands around the candidates."""
        ident, model = payload.get("responseId"), payload.get("modelVersion")
        if self._created is None and "createTime" in payload:
            self._created = _seconds(payload["createTime"])
        return Chunk(
            "",
            index,
            id=ident if type(ident) is str and ident else None,
            model=model if type(model) is str and model else None,
            created=self._created,
            raw=raw,
        )

    def _read_feedback(self, feedback: Any) -> dict[str, Any] | None:
        """Give what is new about the prompt, for a chunk's extra; it may be said repeatedly."""
        if feedback is not None and not isinstance(feedback, Mapping):
            raise wrong_type("promptFeedback", feedback, "an object")
        news = _news(self._feedback, feedback)
        self._feedback = feedback or self._feedback
        return {"promptFeedback": news} if news else None


def _says_something(chunk: Chunk) -> bool:
    return bool(
        chunk.delta
        or chunk.reasoning
        or chunk.tool_calls
        or chunk.usage is not None
        or chunk.finish_reason is not None
        or chunk.role is not None
        or chunk.extra is not None
        or chunk.logprobs is not None
    )


class _Candidate:
    """What has been seen of one candidate, and what its next event says."""

    __slots__ = (
        "_calls",
        "_details",
        "_finish",
        "_has_role",
        "_known",
        "_open",
        "_quirks",
        "_server_calls",
        "_thinking",
    )

    def __init__(self, quirks: set[str]) -> None:
        self._quirks = quirks
        self._has_role = False
        self._finish: str | None = None
        self._calls = 0
        self._open: list[_StreamedCall] = []
        self._server_calls = 0
        self._details = 0
        self._thinking = False
        self._known: dict[str, Any] = {}

    def read(self, candidate: Mapping[str, Any], chunk: Chunk) -> None:
        """Put what an event says of this candidate into its chunk."""
        content = candidate.get("content")
        if content is not None:
            self._read_content(content, chunk)
        finish = candidate.get("finishReason")
        if finish:
            self._read_finish(finish, chunk)
        if self._finish == "STOP" and self._calls and (chunk.finish_reason or chunk.tool_calls):
            chunk.finish_reason = "tool_calls"  # the API has no word of its own for it
        chunk.logprobs = candidate.get("logprobsResult")
        if not candidate.keys() <= _KNOWN_IN_CANDIDATE:
            for name, value in candidate.items():
                if name not in _KNOWN_IN_CANDIDATE:
                    self._read_restated(name, value, chunk)

    def _read_content(self, content: Any, chunk: Chunk) -> None:
        if type(content) is not dict and not isinstance(content, Mapping):
            raise wrong_type("content", content, "an object")
        if not self._has_role:  # every event repeats it
            role = content.get("role")
            if role and isinstance(role, str):
                chunk.role, self._has_role = role, True
        parts = content.get("parts")
        if not parts:
            return
        if not isinstance(parts, list):
            raise wrong_type("content.parts", parts, "a list")
        for part in parts:
            if type(part) is not dict and not isinstance(part, Mapping):
                raise wrong_type("content.parts[]", part, "an object")
            text = part.get("text")
            if len(part) == 1 and type(text) is str:
                chunk.delta += text
                if text:
                    self._thinking = False
            else:
                self._read_part(part, text, chunk)

    def _read_part(self, part: Mapping[str, Any], text: Any, chunk: Chunk) -> None:
        if text is not None and not isinstance(text, str):
            raise wrong_type("parts[].text", text, "a string")
        signature = _signature(part.get("thoughtSignature"))
        call = part.get("functionCall")
        rest = {
            name: _plain(value)
            for name, value in part.items()
            if name not in _KNOWN_IN_PART and value is not None
        }
        if call is not None:
            self._thinking = False
            self._read_call(call, signature, chunk)
        elif text is None and rest:
            self._thinking = False
            self._read_other(part, rest, signature, chunk)
            return
        elif part.get("thought"):
            chunk.reasoning += text or ""
            self._read_thought(text or "", signature, chunk)
        else:
            chunk.delta += text or ""
            if text or signature:
                self._thinking = False
            if signature:
                detail = {"type": "reasoning.encrypted", "data": signature, "format": _FORMAT}
                _append(chunk, "reasoning_details", {**detail, "index": self._details})
                self._details += 1
        if rest:
            _append(chunk, "parts", rest)

    def _read_thought(self, text: str, signature: str | None, chunk: Chunk) -> None:
        """Keep a thought as it has to be sent back: fragments in a row are one detail."""
        if not text and not signature:
            return
        if not self._thinking:
            self._details += 1
        detail = {"type": "reasoning.text", "text": text, "format": _FORMAT}
        if signature:
            detail["signature"] = signature
        _append(chunk, "reasoning_details", {**detail, "index": self._details - 1})
        self._thinking = not signature

    def _read_other(
        self, part: Mapping[str, Any], rest: dict[str, Any], signature: str | None, chunk: Chunk
    ) -> None:
        """Keep a part that is neither text nor a call of the user's functions, whole."""
        if signature:
            rest["thoughtSignature"] = signature
        if part.get("thought"):
            rest["thought"] = True
        name = next(iter(rest))
        fields = rest[name]
        if name in _SERVER_CALLS and isinstance(fields, Mapping):
            arguments = {key: value for key, value in fields.items() if key != "id"}
            call = {
                "index": self._server_calls,
                "id": rest.pop(name).get("id"),
                "name": name,
                "arguments": json.dumps(arguments, ensure_ascii=False),
            }
            _append(chunk, "server_tool_calls", call | rest)
            self._server_calls += 1
        else:
            _append(chunk, "server_tool_results" if name in _SERVER_RESULTS else "parts", rest)

    def _read_call(self, call: Any, signature: str | None, chunk: Chunk) -> None:
        if not isinstance(call, Mapping):
            raise wrong_type("functionCall", call, "an object")
        ident, name = call.get("id"), call.get("name")
        args, pieces = call.get("args"), call.get("partialArgs")
        for where, value in (("id", ident), ("name", name)):
            if value is not None and not isinstance(value, str):
                raise wrong_type(f"functionCall.{where}", value, "a string")
        if args is not None and not isinstance(args, Mapping):
            raise wrong_type("functionCall.args", args, "an object")
        if pieces is not None and not isinstance(pieces, list):
            raise wrong_type("functionCall.partialArgs", pieces, "a list")
        streamed = next((one for one in reversed(self._open) if one.goes_on(ident, name)), None)
        if streamed is None:
            if not (name or ident or args or pieces):
                self._quirks.add("empty_function_call")
                return
            streamed = _StreamedCall(self._calls, ident, name)
            self._calls += 1
        arguments = streamed.arguments(args, pieces or ())
        self._open = [one for one in self._open if one is not streamed]
        if call.get("willContinue"):
            self._open.append(streamed)
        else:
            arguments += streamed.close()
        extra = {
            field: value
            for field, value in call.items()
            if field not in _KNOWN_IN_CALL and value is not None
        }
        if signature:
            extra["extra_content"] = _signed(signature)
        delta = ToolCallDelta(streamed.index, ident, name, arguments, extra or None)
        chunk.tool_calls = (*chunk.tool_calls, delta)

    def _read_finish(self, finish: Any, chunk: Chunk) -> None:
        finish = getattr(finish, "value", finish)  # an enum, in Google's SDK
        if not isinstance(finish, str):
            raise wrong_type("finishReason", finish, "a string")
        if finish == "FINISH_REASON_UNSPECIFIED":  # the enum's zero: it has not finished
            return
        if self._finish not in (None, finish):
            self._quirks.add("finish_reason_changed")
        self._finish = finish
        chunk.finish_reason = FINISH_REASONS.get(finish, finish)

    def _read_restated(self, name: str, value: Any, chunk: Chunk) -> None:
        """Read a field that says all anew whenever it comes: metadata, ratings."""
        news = _news(self._known.get(name), value)
        if news is not None and news not in ("", [], {}):
            self._known[name] = value
            chunk.extra = {**(chunk.extra or {}), name: news}


class _StreamedCall:
    """
    One function call, whose arguments may come as values with their paths (Vertex AI).

    They are written as JSON text as they come: a model writes from left to right, so each
    value belongs behind the one before.
    """

    __slots__ = ("_given", "_id", "_in_string", "_name", "_path", "_seen", "index")

    def __init__(self, index: int, ident: str | None, name: str | None) -> None:
        self.index = index
        self._id = ident
        self._name = name
        self._given = False
        self._path: list[str | int] = []
        self._seen: set[tuple[str | int, ...]] = set()
        self._in_string = False

    def goes_on(self, ident: str | None, name: str | None) -> bool:
        """Tell whether a piece can be of this call: its id and name are mostly left out."""
        return (not ident or ident == self._id) and (not name or name == self._name)

    def arguments(self, args: Mapping[str, Any] | None, pieces: Sequence[Any]) -> str:
        """Give the next fragment of the arguments' JSON text."""
        text = "".join(self._write(piece) for piece in pieces)
        if args and not self._given and not self._path:
            self._given = True
            text = _json(args)
        return text

    def close(self) -> str:
        """Give the end of the arguments' JSON text; a call without arguments has none to send."""
        if self._given:
            return ""
        return (self._end_of_string() + _closing(self._path)) if self._path else "{}"

    def _write(self, piece: Any) -> str:
        if not isinstance(piece, Mapping):
            raise wrong_type("partialArgs[]", piece, "an object")
        path = _steps(piece.get("jsonPath"))
        text = "" if path == self._path and self._in_string else self._move(path)
        value = piece.get("stringValue")
        if value is not None or self._in_string or piece.get("willContinue"):
            if value is not None and not isinstance(value, str):
                raise wrong_type("partialArgs[].stringValue", value, "a string")
            text += "" if self._in_string else '"'
            text += json.dumps(value or "", ensure_ascii=False)[1:-1]
            self._in_string = True
            return text if piece.get("willContinue") else text + self._end_of_string()
        values = (piece.get(name) for name in ("numberValue", "boolValue"))
        return text + _json(next((value for value in values if value is not None), None))

    def _end_of_string(self) -> str:
        text, self._in_string = '"' if self._in_string else "", False
        return text

    def _move(self, path: list[str | int]) -> str:
        """Give what stands between the last value and the one at this path."""
        old, shared = self._path, 0
        while shared < min(len(old), len(path)) and old[shared] == path[shared]:
            shared += 1
        if shared == len(path) or (old and shared == len(old)):
            raise _out_of_order(path)
        text = self._end_of_string() + _closing(old[shared + 1 :])
        for depth in range(shared, len(path)):
            step, here = path[depth], tuple(path[: depth + 1])
            before = old[depth] if old and depth == shared else None
            expected = before + 1 if isinstance(before, int) else 0
            if (
                here in self._seen
                or (before is not None and type(before) is not type(step))
                or (isinstance(step, int) and step != expected)
            ):
                raise _out_of_order(path)
            self._seen.add(here)
            opening = "{" if isinstance(step, str) else "["
            text += opening if before is None else ", "
            if isinstance(step, str):
                text += f"{_json(step)}: "
        self._path = path
        return text


def _closing(steps: Sequence[str | int]) -> str:
    return "".join("}" if isinstance(step, str) else "]" for step in reversed(steps))


def _steps(path: Any) -> list[str | int]:
    """Take a path like ``$.foo.bar[0]`` apart."""
    if not isinstance(path, str):
        raise wrong_type("partialArgs[].jsonPath", path, "a string")
    steps: list[str | int] = []
    at = 1
    while at < len(path) and (step := _STEP.match(path, at)):
        name, index, *quoted = step.groups()
        if index is not None:
            steps.append(int(index))
        else:
            text: str = next((one for one in quoted if one is not None), name)
            steps.append(text if name else re.sub(r"\\(.)", r"\1", text))
        at = step.end()
    if not steps or not path.startswith("$") or at != len(path):
        raise StreamProtocolError(
            f"`partialArgs[].jsonPath` is {path!r:.100}, which is no path to one argument"
        )
    return steps


def _out_of_order(path: list[str | int]) -> StreamProtocolError:
    return StreamProtocolError(
        f"the streamed arguments of a function call come back to {path!r:.100}, behind which"
        " others have been written; ask without streamFunctionCallArguments"
    )


def _append(chunk: Chunk, name: str, item: dict[str, Any]) -> None:
    """Put an item into one of the lists in a chunk's extra."""
    extra = dict(chunk.extra or {})
    extra[name] = [*extra.get(name, ()), item]
    chunk.extra = extra


def _news(old: Any, new: Any) -> Any:
    """
    Give what of a restated value has changed, in a form that takes the old one's place.

    A list that takes another's place is a tuple: it is not added to what came before (see
    `llm_kit._core.fold`).
    """
    if old == new:
        return None
    if isinstance(new, Mapping):
        before = old if isinstance(old, Mapping) else {}
        return {
            name: _news(before.get(name), value)
            for name, value in new.items()
            if before.get(name) != value
        }
    return tuple(new) if isinstance(new, list) and old else new


def _plain(value: Any) -> Any:
    """Give a value as it is on the wire: Google's SDK decodes base64 into bytes."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, Mapping):
        return {
            name: _plain(inner) if isinstance(inner, bytes) else inner
            for name, inner in value.items()
        }
    return value


def _signature(value: Any) -> str | None:
    value = _plain(value)
    if value is not None and not isinstance(value, str):
        raise wrong_type("thoughtSignature", value, "a string")
    return value or None


def _signed(signature: str) -> dict[str, Any]:
    """Give the form in which Google's OpenAI-compatible API carries a call's signature."""
    return {"google": {"thought_signature": signature}}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _seconds(moment: Any) -> int | None:
    try:
        when = moment if isinstance(moment, datetime) else datetime.fromisoformat(moment)
        return int(when.timestamp())
    except (TypeError, ValueError, OverflowError, OSError):  # also a year that has no clock
        return None


def _usage(value: Any) -> Usage:
    """
    Read the counts, which every event gives anew.

    As in OpenAI's API thoughts are part of the completion, and what server-side tools gave the
    model to read is part of the prompt: so the two make up the total.
    """
    if not isinstance(value, Mapping):
        raise wrong_type("usageMetadata", value, "an object")
    return Usage(
        _count(value, "promptTokenCount", "toolUsePromptTokenCount"),
        _count(value, "candidatesTokenCount", "thoughtsTokenCount"),
        _count(value, "totalTokenCount"),
        _count(value, "thoughtsTokenCount"),
        _count(value, "cachedContentTokenCount"),
        value,
    )


def _count(fields: Mapping[str, Any], *names: str) -> int | None:
    numbers = [number for name in names if type(number := fields.get(name)) is int]
    return sum(numbers) if numbers else None


# The request's parts


def _contents(
    messages: Sequence[Mapping[str, Any]],
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Give the turns of a chat, and the parts of the instruction that stands above them."""
    contents: list[dict[str, Any]] = []
    instructions: list[dict[str, Any]] = []
    names = names_of_calls(messages)
    nameless: list[str] = []  # functions called without an id, whose results go by their order
    for place, message in enumerate(messages):
        role, where = message.get("role"), f"messages[{place}]"
        if role in ("system", "developer"):
            text = text_of(message, where, GeminiDialect.name)
            instructions += [{"text": text}] if text else []
        elif role == "user":
            _add(contents, "user", list(_parts(message, where)))
        elif role in ("assistant", "model"):
            calls = calls_of(message, where)
            nameless = [name for call, name, _ in calls if not call.get("id")]
            _add(contents, "model", _answer(message, where))
        elif role == "tool":
            _add(contents, "user", [_function_response(message, where, names, nameless)])
        else:
            raise untranslatable(GeminiDialect.name, f"{where}.role", f"the role {role!r}")
    return contents, instructions


def _add(contents: list[dict[str, Any]], role: str, parts: list[dict[str, Any]]) -> None:
    """Append parts to the last turn if it is the same role's, else as a new one."""
    if contents and contents[-1].get("role") == role:
        parts = [*(contents.pop().get("parts") or ()), *parts]
    if parts:
        contents.append({"role": role, "parts": parts})


def _parts(message: Mapping[str, Any], where: str) -> Iterator[dict[str, Any]]:
    for place, part in enumerate(parts_of(message, where)):
        at = f"{where}.content[{place}]"
        if isinstance(part, str):
            if part:  # Vertex AI refuses empty texts
                yield {"text": part}
        elif isinstance(part, Media):
            yield _media(part, at)
        elif "type" in part:
            raise untranslatable(GeminiDialect.name, at, part)
        else:
            yield dict(part)


def _media(media: Media, at: str) -> dict[str, Any]:
    mime = media.mime or mimetypes.guess_type(media.name or media.url or "")[0]
    if media.url:
        return {"fileData": {"fileUri": media.url, **({"mimeType": mime} if mime else {})}}
    if not media.data:
        raise untranslatable(GeminiDialect.name, at, media)
    if not mime:
        raise ValueError(f"{at}: the MIME type is missing; write data:TYPE;base64,... as its URL")
    return {"inlineData": {"mimeType": mime, "data": media.data}}


def _answer(message: Mapping[str, Any], where: str) -> list[dict[str, Any]]:
    """Give the parts of what the model said, with its signatures back in their places."""
    parts: list[dict[str, Any]] = []
    signatures: list[str] = []
    for detail in message.get("reasoning_details") or ():
        if not isinstance(detail, Mapping) or detail.get("format") != _FORMAT:
            continue  # another provider's reasoning means nothing to this one
        if detail.get("type") == "reasoning.text":
            thought = {"text": detail.get("text") or "", "thought": True}
            signature = detail.get("signature")
            parts.append({**thought, "thoughtSignature": signature} if signature else thought)
        elif detail.get("data"):
            signatures.append(detail["data"])
    parts += _parts(message, where)
    if message.get("refusal"):
        parts.append({"text": message["refusal"]})
    for signature in signatures:
        if parts and "text" in parts[-1] and parts[-1].keys() == {"text"}:
            parts[-1] = {**parts[-1], "thoughtSignature": signature}
        else:
            parts.append({"text": "", "thoughtSignature": signature})
    for call, name, at in calls_of(message, where):
        function = {"name": name, "args": arguments_of(call, at)}
        if call.get("id"):
            function["id"] = call["id"]
        part: dict[str, Any] = {"functionCall": function}
        signature = _field(_field(call.get("extra_content"), "google"), "thoughtSignature")
        if signature:
            part["thoughtSignature"] = signature
        parts.append(part)
    return parts


def _function_response(
    message: Mapping[str, Any], where: str, names: Mapping[str, str], nameless: list[str]
) -> dict[str, Any]:
    """
    Give a function's result; it goes by the function's name, for most calls have no id here.

    Args:
        nameless: names of the functions called without an id and not answered yet; the one that
            is answered is taken out.
    """
    ident, name = message.get("tool_call_id"), message.get("name")
    if ident:
        name = names.get(ident, name)
    elif nameless:
        name = nameless.pop(nameless.index(name) if name in nameless else 0)
    if not name:
        raise ValueError(
            f"{where}: no tool call before has the id {ident!r}; give the function's name"
            ' as "name"'
        )
    text = text_of(message, where, GeminiDialect.name)
    try:
        response = json.loads(text)
    except ValueError:
        response = None
    if not isinstance(response, dict):
        response = {"result": text}
    function = {"name": name, "response": response}
    return {"functionResponse": {**function, "id": ident} if ident else function}


def _tools(tools: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """
    Give the tools, all functions in one of them; those in the API's own form stay as they are.

    OpenAI's parameters are JSON Schema, which ``parametersJsonSchema`` takes; ``parameters``
    takes a subset of OpenAPI's and refuses the rest (reference of ``FunctionDeclaration``).
    ``strict`` has no counterpart for a single function.
    """
    given: list[dict[str, Any]] = []
    declarations: list[dict[str, Any]] = []
    for place, tool in enumerate(tools):
        function = function_of(tool, f"tools[{place}]")
        if function is None:
            if "type" in tool:
                raise untranslatable(GeminiDialect.name, f"tools[{place}]", tool)
            given.append(dict(tool))
            continue
        declaration: dict[str, Any] = {"name": function.name}
        if function.description is not None:
            declaration["description"] = function.description
        if function.parameters is not None:
            declaration["parametersJsonSchema"] = function.parameters
        declarations.append(declaration)
    return [{"functionDeclarations": declarations}, *given] if declarations else given


def _calling_config(choice: Any) -> dict[str, Any]:
    """Give what OpenAI's ``tool_choice`` means here."""
    if isinstance(choice, str) and choice in _MODES:
        return {"mode": _MODES[choice]}
    function = choice.get("function") if isinstance(choice, Mapping) else None
    if isinstance(function, Mapping) and isinstance(function.get("name"), str):
        return {"mode": "ANY", "allowedFunctionNames": [function["name"]]}
    raise ValueError(
        'tool_choice must be "auto", "none", "required" or {"type": "function", "function":'
        f' {{"name": ...}}}}, not {choice!r:.100}; or write toolConfig={{"functionCallingConfig":'
        " ...}"
    )


def _generation_config(chat: Chat, params: dict[str, Any]) -> dict[str, Any]:
    """Take out of the parameters what has its place in ``generationConfig``."""
    for name, instead in _OTHERWISE.items():
        if params.get(name) is not None:
            raise ValueError(f'{name} has another form in the "gemini" dialect: write {instead}')
    config: dict[str, Any] = {}
    for name, here in _IN_CONFIG.items():
        value = params.pop(name, None)
        if value is not None:
            config[here] = value
    if chat.stop is not None:
        config["stopSequences"] = texts_of_stop(chat.stop)
    if chat.n is not None:
        config["candidateCount"] = chat.n
    form = params.pop("response_format", None)
    if form is not None:
        config.update(_response_format(form))
    return config


def _response_format(form: Any) -> dict[str, Any]:
    """Give what OpenAI's ``response_format`` means here."""
    fields = form if isinstance(form, Mapping) else {}
    kind, described = fields.get("type"), fields.get("json_schema")
    if kind == "text":
        return {}
    if kind == "json_object":
        return {"responseMimeType": "application/json"}
    if kind == "json_schema" and isinstance(described, Mapping) and "schema" in described:
        return {
            "responseMimeType": "application/json",
            "responseJsonSchema": described["schema"],
        }
    raise ValueError(
        'response_format must be {"type": "json_schema", "json_schema": {"schema": ...}},'
        f' {{"type": "json_object"}} or {{"type": "text"}}, not {form!r:.100}'
    )


def _camel(name: str) -> str:
    """Give a field's name as we write it: the API takes ``generation_config`` as well."""
    return re.sub(r"_([a-z])", lambda found: found[1].upper(), name)


def _field(fields: Any, name: str) -> Any:
    """Look a field up by its name in either spelling."""
    if isinstance(fields, Mapping):
        for key, value in fields.items():
            if _camel(key) == name:
                return value
    return None


def _merged(ours: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Give both, the user's own where both say something, in the user's spelling."""
    merged = dict(ours)
    for name, value in own.items():
        mine = merged.pop(_camel(name), None)
        both = isinstance(mine, Mapping) and isinstance(value, Mapping)
        merged[name] = _merged(mine, value) if both else value
    return merged
