"""What every dialect is made of: the protocol, the words for endings, and errors in a stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol

from attrs import field, frozen

from llm_kit.errors import StreamAPIError, StreamProtocolError
from llm_kit.policies import ContinueMode
from llm_kit.types import Chunk

# The field's words on the right; on the left what providers say for the same thing. A word
# that is not here passes through unmapped: an unknown ending must not look like a good one.
FINISH_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "STOP": "stop",
    "COMPLETE": "stop",
    "STOP_SEQUENCE": "stop",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "MAX_TOKENS": "length",
    "model_length": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "TOOL_CALL": "tool_calls",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "MODEL_ARMOR": "content_filter",
    "IMAGE_SAFETY": "content_filter",
    "IMAGE_PROHIBITED_CONTENT": "content_filter",
    "IMAGE_RECITATION": "content_filter",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
    "sensitive": "content_filter",
    "refusal": "content_filter",
}

# Endings by which a server says that it failed.
FAILED_REASONS = frozenset(
    {
        "error",  # OpenRouter, Mistral
        "ERROR",  # Cohere
        "TIMEOUT",  # Cohere, whose generation took longer than it allows itself
        "network_error",  # Z.ai
        "insufficient_system_resource",  # DeepSeek
        "failed",  # OpenAI's Responses
    }
)


class ChunkSink(Protocol):
    """Where decoded chunks go: a list or a deque."""

    def append(self, chunk: Chunk, /) -> None: ...


class Dialect(Protocol):
    """
    One form that streams come in: how its objects become chunks.

    An instance reads one stream and may remember what it has seen of it. Framing is not its
    affair: objects come to it one by one, whether they were SSE events, lines of NDJSON, dicts or
    an SDK's models.

    Args:
        quirks: where the oddities that were met are named; shared with whoever made the instance.
    """

    name: ClassVar[str]

    done: bool
    """Whether the stream has said that it is over, so that nothing more is to be read."""

    def __init__(self, quirks: set[str]) -> None: ...

    @staticmethod
    def recognises(payload: Mapping[str, Any]) -> bool:
        """Tell whether an object can only be of this form, by what is in it: it is cheap."""
        ...

    def read(self, payload: Mapping[str, Any], out: ChunkSink, raw: Any) -> None:
        """
        Turn one wire object into chunks.

        Args:
            payload: the object.
            out: where the chunks are put, also those that come before an error.
            raw: what ``Chunk.raw`` shall hold: the payload, or the SDK object it came from.

        Raises:
            StreamAPIError: the object reports an error.
            StreamProtocolError: a field that carries the answer has a type that it can't have.
        """
        ...


@frozen
class Chat:
    """
    What a user asks for, in OpenAI's words, before a dialect puts it into its own.

    Attributes:
        params: further fields of the body, which go into it untouched.
    """

    messages: Sequence[Mapping[str, Any]]
    model: str | None = None
    tools: Sequence[Mapping[str, Any]] | None = None
    stop: str | Sequence[str] | None = None
    n: int | None = None
    include_usage: bool = True
    params: Mapping[str, Any] = field(factory=dict)


class ChatDialect(Dialect, Protocol):
    """A dialect that can also ask: what `LLMClient` speaks. Subclass it for the defaults."""

    root: ClassVar[str] = ""
    """What stands before `path` if the base URL has no path of its own, like ``/v1``."""

    environment: ClassVar[str] = ""
    """
    How the environment's variables for this API begin, like ``OPENAI``, that are looked at after
    ``LLM_KIT_BASE_URL`` and ``LLM_KIT_API_KEY``. Another provider's key must not be sent here.
    """

    @staticmethod
    def path(model: str | None) -> str:
        """
        Give where requests go, from the base URL on, with a query if there must be one.

        Raises:
            ValueError: the path needs a model, and none is given.
        """
        ...

    @staticmethod
    def request_headers(api_key: str | None) -> dict[str, str]:
        """Give the headers that this API wants, with the key in its place."""
        ...

    @staticmethod
    def request_body(chat: Chat) -> dict[str, Any]:
        """
        Give the JSON body of a streaming request; the caller's own objects are left as they are.

        Raises:
            TypeError, ValueError: something can't be said in this form; nothing is dropped.
        """
        ...

    @staticmethod
    def refused_option(body: Mapping[str, Any], status: int, answer: str) -> str | None:  # noqa: ARG004
        """Name the field that a server refuses, if the request can do without it."""
        return None

    @staticmethod
    def can_be_continued(body: Mapping[str, Any]) -> bool:  # noqa: ARG004
        """Tell whether a server could go on in the middle of the answer to this request."""
        return False

    @staticmethod
    def continued_body(
        body: Mapping[str, Any], text: str, url: str, mode: ContinueMode, instruction: str
    ) -> tuple[dict[str, Any], str]:
        """
        Give the body of the request that goes on from a text, and the blanks at its end left out.

        Asked only where `can_be_continued`.

        Args:
            body: the body of the request that was lost; it is left as it is.
            text: the answer so far, with something else than blanks in it.
            url: where the request goes.
            mode: how the text is sent back; see `Recovery`.
            instruction: what the model is told where it is instructed.
        """
        raise NotImplementedError


def api_error(error: Any, *, whole: Mapping[str, Any] | None = None) -> StreamAPIError:
    """
    Make the error that a server reported inside a stream, in any of the shapes they use.

    Args:
        error: what stood under ``error`` or ``detail``: an object, a string, anything.
        whole: the object around it, where some servers put the code and the type.
    """
    fields = error if isinstance(error, Mapping) else {}
    around = whole or {}
    message = fields.get("message") or fields.get("detail")
    if not message:
        beside = around.get("message")  # or an answer's, which is an object
        message = beside if isinstance(beside, str) and beside else error
    code = fields.get("code", around.get("code"))
    kind = fields.get("type", around.get("type"))
    return StreamAPIError(
        str(message),
        code=code if isinstance(code, str | int) else None,
        type=kind if isinstance(kind, str) and kind != "error" else None,  # what the event is
    )


def wrong_type(where: str, value: object, expected: str) -> StreamProtocolError:
    """Say that a field of the stream has a type that it can't have."""
    return StreamProtocolError(
        f"`{where}` is a {type(value).__name__} where {expected} is expected;"
        " the server does not speak this dialect, or its event was garbled."
        ' on_malformed="skip" leaves such events out'
    )
