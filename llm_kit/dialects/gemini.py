"""
Google's Gemini: ``streamGenerateContent`` of AI Studio and of Vertex AI.

Sources of the format: the Gemini API reference (ai.google.dev/api/generate-content), and the
page "Thought signatures" of its guide. What is read here beyond them was seen in a real stream.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import quote

from llm_kit.dialects.base import ChatDialect, ChunkSink, api_error, wrong_type
from llm_kit.dialects.fields import (
    NOTHING,
    add_extra,
    append_extra,
    as_finish_reason,
    as_json,
    as_label,
    as_object,
    as_objects,
    as_seconds,
    as_text,
    as_word,
    says_something,
)
from llm_kit.dialects.gemini_arguments import StreamedCall
from llm_kit.dialects.request.gemini import (
    REASONING_FORMAT,
    can_be_continued,
    continued_body,
    request_body,
)
from llm_kit.types import Chunk, ToolCallDelta, Usage

# What the stream side has a home for; the rest of a candidate restates itself, and goes to extra.
_KNOWN_IN_CANDIDATE = frozenset({"content", "finishReason", "index", "logprobsResult"})
_KNOWN_IN_PART = frozenset({"text", "thought", "thoughtSignature", "functionCall"})
_KNOWN_IN_CALL = frozenset({"id", "name", "args", "partialArgs", "willContinue"})
# Some clients' recordings, and servers asked for it, write enums as numbers: those that AI Studio
# and Vertex AI count alike (enum FinishReason of google/ai/generativelanguage and of
# google/cloud/aiplatform).
_FINISH_NUMBERS = {
    0: "FINISH_REASON_UNSPECIFIED",
    1: "STOP",
    2: "MAX_TOKENS",
    3: "SAFETY",
    4: "RECITATION",
    5: "OTHER",
}
# Parts that tools make which run at Google's: what was asked of them, and what came of it.
_SERVER_CALLS = frozenset({"executableCode", "toolCall"})
_SERVER_RESULTS = frozenset({"codeExecutionResult", "toolResponse"})


class GeminiDialect(ChatDialect):
    """
    Reads one stream of ``GenerateContentResponse`` objects, and builds the request for it.

    A stream has no end marker: each candidate's ``finishReason`` is all that says it is whole.
    """

    name: ClassVar[str] = "gemini"
    root: ClassVar[str] = "/v1beta"

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

    # What a chat becomes has a room of its own.
    request_body = staticmethod(request_body)
    can_be_continued = staticmethod(can_be_continued)
    continued_body = staticmethod(continued_body)

    def __init__(self, quirks: set[str]) -> None:
        self._quirks = quirks
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
                state = self._candidates[chunk.index] = _Candidate(self._quirks)
            state.read(candidate, chunk)
            if usage:
                chunk.usage, usage = _usage(usage), None
            if chunk.delta or says_something(chunk):
                out.append(chunk)
        if usage or extra is not None:
            chunk = self._chunk(payload, 0, raw)
            chunk.usage = _usage(usage) if usage else None
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
            self._created = as_seconds(payload["createTime"])
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
        feedback = as_object("promptFeedback", feedback or NOTHING)
        news = _news(self._feedback, feedback)
        self._feedback = feedback or self._feedback
        return {"promptFeedback": news} if news else None


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
        self._open: list[StreamedCall] = []
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
            if self._open:  # more of a call was promised: nothing is whole before it came
                self._quirks.add("call_left_open")
                chunk.finish_reason = None
            else:
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
            chunk.role = as_word(content.get("role"))
            self._has_role = chunk.role is not None
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
        text = as_text("parts[].text", text)
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
        elif part.get("text") is None and rest:
            self._thinking = False
            self._read_other(part, rest, signature, chunk)
            return
        elif part.get("thought"):
            chunk.reasoning += text
            self._read_thought(text, signature, chunk)
        else:
            chunk.delta += text
            if text or signature:
                self._thinking = False
            if signature:
                self._details += 1
                self._keep_detail(chunk, "reasoning.encrypted", {"data": signature})
        if rest:
            append_extra(chunk, "parts", rest)

    def _read_thought(self, text: str, signature: str | None, chunk: Chunk) -> None:
        """Keep a thought as it has to be sent back: fragments in a row are one detail."""
        if not text and not signature:
            return
        if not self._thinking:
            self._details += 1
        fields = {"text": text, "signature": signature} if signature else {"text": text}
        self._keep_detail(chunk, "reasoning.text", fields)
        self._thinking = not signature

    def _keep_detail(self, chunk: Chunk, kind: str, fields: Mapping[str, Any]) -> None:
        labels = {"format": REASONING_FORMAT, "index": self._details - 1}
        append_extra(chunk, "reasoning_details", {"type": kind, **fields, **labels})

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
                "arguments": as_json(arguments),
            }
            append_extra(chunk, "server_tool_calls", call | rest)
            self._server_calls += 1
        else:
            append_extra(chunk, "server_tool_results" if name in _SERVER_RESULTS else "parts", rest)

    def _read_call(self, call: Any, signature: str | None, chunk: Chunk) -> None:
        call = as_object("functionCall", call)
        ident = as_label("functionCall.id", call.get("id"))
        name = as_label("functionCall.name", call.get("name"))
        args = as_object("functionCall.args", call.get("args") or NOTHING)
        pieces = as_objects("functionCall.partialArgs", call.get("partialArgs"))
        streamed = next((one for one in reversed(self._open) if one.goes_on(ident, name)), None)
        if streamed is None:
            if not (name or ident or args or pieces):
                self._quirks.add("empty_function_call")
                return
            streamed = StreamedCall(self._calls, ident, name)
            self._calls += 1
        arguments = streamed.arguments(args, pieces)
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
        if type(finish) is int:
            finish = _FINISH_NUMBERS.get(finish, str(finish))
        reason = as_finish_reason("finishReason", finish)
        if finish == "FINISH_REASON_UNSPECIFIED":  # the enum's zero: it has not finished
            return
        if self._finish not in (None, finish):
            self._quirks.add("finish_reason_changed")
        self._finish = finish
        chunk.finish_reason = reason

    def _read_restated(self, name: str, value: Any, chunk: Chunk) -> None:
        """Read a field that says all anew whenever it comes: metadata, ratings."""
        news = _news(self._known.get(name), value)
        if news is not None and news not in ("", [], {}):
            self._known[name] = value
            add_extra(chunk, {name: news})


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
    return as_text("thoughtSignature", _plain(value)) or None


def _signed(signature: str) -> dict[str, Any]:
    """Give the form in which Google's OpenAI-compatible API carries a call's signature."""
    return {"google": {"thought_signature": signature}}


def _usage(value: Any) -> Usage:
    """
    Read the counts, which every event gives anew.

    As in OpenAI's API thoughts are part of the completion, and what server-side tools gave the
    model to read is part of the prompt: so the two make up the total.
    """
    fields = as_object("usageMetadata", value)
    return Usage(
        _count(fields, "promptTokenCount", "toolUsePromptTokenCount"),
        _count(fields, "candidatesTokenCount", "thoughtsTokenCount"),
        _count(fields, "totalTokenCount"),
        _count(fields, "thoughtsTokenCount"),
        _count(fields, "cachedContentTokenCount"),
        fields,
    )


def _count(fields: Mapping[str, Any], *names: str) -> int | None:
    numbers = [number for name in names if type(number := fields.get(name)) is int]
    return sum(numbers) if numbers else None
