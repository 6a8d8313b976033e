"""
The nouns: one chunk of a stream, what a stream has added up to, and what goes into a request.

Field names are the wire's own. Absent stays absent: a field that the server did not send is
``""``, ``()`` or None here, and nothing is invented in its place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NotRequired, TypedDict

from attrs import define, field, frozen

Status = Literal["streaming", "complete", "interrupted", "truncated", "timeout", "error"]


class FunctionCall(TypedDict):
    """The function of a tool call: its name, and its arguments as JSON text."""

    name: str
    arguments: str


class ToolCall(TypedDict):
    """
    A tool call in OpenAI's form; ``id`` is as sent, never invented.

    A custom tool's call has the same fields, and plain text for ``arguments``.
    """

    id: str | None
    type: Literal["function", "custom"]
    function: FunctionCall
    extra_content: NotRequired[Any]


class Message(TypedDict, total=False):
    """One message of a chat, as `chat_stream` takes it and `StreamResult.to_message` gives it."""

    role: str
    content: Any
    name: str
    tool_calls: Sequence[ToolCall]
    tool_call_id: str | None
    refusal: str
    reasoning_content: str
    reasoning_details: Any


# `define`, not `frozen`: a frozen object costs several times as much to build, and one of
# these is built per token. Nobody keeps a chunk to change it.


@define(slots=True, weakref_slot=False)
class ToolCallDelta:
    """
    A piece of a tool call: ``arguments`` is the next fragment of its JSON text.

    Attributes:
        index: the call's place as the server numbers it, or None where it does not.
        id: the call's name, usually in its first piece only.
        name: the function's name, usually in the first piece only.
        arguments: the next characters of the arguments.
        extra: the piece's other fields (a provider's signature), or None.
    """

    index: int | None = None
    id: str | None = None
    name: str | None = None
    arguments: str = ""
    extra: Mapping[str, Any] | None = None


@define(slots=True, weakref_slot=False)
class Usage:
    """
    Tokens as the server counts them; None where it gives no such number.

    ``raw`` is the server's own object, with whatever else it reports. If a stream took several
    requests the numbers are sums, and ``raw`` is ``{"attempts": [...]}`` with an object for each
    request that reported its usage; what a lost request took is often not known.
    """

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    reasoning_tokens: int | None = None
    cached_tokens: int | None = None
    raw: Mapping[str, Any] = field(factory=dict, repr=False)


@define(slots=True, weakref_slot=False)
class Chunk:
    """
    One choice of one event of the stream.

        >>> Chunk("Hel").delta + Chunk("lo", finish_reason="stop").delta
        'Hello'

    Attributes:
        delta: the next characters of the answer, ``""`` if this chunk has none.
        index: which choice (0 unless the request asked for n > 1).
        reasoning: the next characters of what the model thinks before it answers.
        finish_reason: why the choice ended: stop, length, tool_calls, content_filter,
            function_call, or the server's own word where it means something else.
        extra: the delta's fields that have no home above, or None.
        raw: the object that this chunk was made from, nothing dropped.
        restarted: the answer begins anew here (see `Recovery`): what came before is void.
    """

    delta: str = ""
    index: int = 0
    role: str | None = None
    reasoning: str = ""
    refusal: str = ""
    tool_calls: tuple[ToolCallDelta, ...] = ()
    finish_reason: str | None = None
    usage: Usage | None = None
    logprobs: Any = None
    extra: Mapping[str, Any] | None = None
    id: str | None = None
    model: str | None = None
    created: int | None = None
    system_fingerprint: str | None = None
    raw: Any = field(default=None, repr=False)
    restarted: bool = False

    @property
    def is_done(self) -> bool:
        """Whether this chunk ends its choice: a finish_reason is here."""
        return self.finish_reason is not None


@frozen
class Timing:
    """
    When things were first seen, in seconds since the request; None for what was not seen.

    For a processor that is fed by hand the count starts when it is made.
    """

    headers: float | None = None
    first_chunk: float | None = None
    first_reasoning: float | None = None
    first_text: float | None = None
    last_chunk: float | None = None


@define
class ChoiceResult:
    """
    What one choice has added up to.

    Attributes:
        tool_calls: the calls that the stream said are finished, in order of appearance.
        incomplete_tool_calls: calls that were cut, or are still being written.
        extra: the deltas' unknown fields merged: strings joined, lists and objects by index.
    """

    index: int = 0
    content: str = ""
    reasoning: str = ""
    refusal: str = ""
    role: str | None = None
    tool_calls: list[ToolCall] = field(factory=list)
    incomplete_tool_calls: list[ToolCall] = field(factory=list)
    finish_reason: str | None = None
    logprobs: Any = None
    extra: dict[str, Any] = field(factory=dict)

    def to_message(self) -> Message:
        """
        Give the assistant's message that is safe to send back in the next request.

        No half tool call is in it. Signatures stay on the calls they came with, and reasoning
        is echoed in the two cases where servers ask for it: ``reasoning_details`` always
        (OpenRouter), ``reasoning_content`` beside tool calls (DeepSeek refuses them without).
        """
        message = Message(role="assistant", content=self.content or None)
        if self.refusal:
            message["refusal"] = self.refusal
        if self.tool_calls:
            message["tool_calls"] = self.tool_calls
        else:
            message["content"] = self.content
        if "reasoning_details" in self.extra:
            message["reasoning_details"] = self.extra["reasoning_details"]
        elif self.reasoning and self.tool_calls:
            message["reasoning_content"] = self.reasoning
        return message


@define
class StreamResult(ChoiceResult):
    """
    What a stream has added up to so far, or in the end: one choice, and the whole around it.

    Attributes:
        status: streaming, or how it ended: complete, interrupted, truncated, timeout, error.
            ``complete`` only if the stream itself said that every choice was finished.
        chunk_count: how many chunks came.
        choices: every choice that began, by index.
        timing: seconds since the request.
        attempts: how many requests it took, retries and recovery included.
        quirks: names of the oddities met on the way.
    """

    usage: Usage | None = None
    chunk_count: int = 0
    id: str | None = None
    model: str | None = None
    created: int | None = None
    status: Status = "streaming"
    choices: tuple[ChoiceResult, ...] = ()
    timing: Timing = Timing()
    attempts: int = 1
    quirks: tuple[str, ...] = ()


@frozen
class ResponseInfo:
    """
    The head of the answer.

    Attributes:
        status_code: the HTTP status.
        headers: names in lower case; of a repeated one the values are joined with ``, ``.
        request_id: the server's own name for the request, if it sent one.
        received_at: when the head came, in seconds since the epoch, if that is known.
    """

    status_code: int
    headers: Mapping[str, str] = field(repr=False)
    request_id: str | None = None
    received_at: float | None = field(default=None, repr=False, eq=False)
