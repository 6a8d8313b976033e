"""
What a FakeServer answers, as plain values: a Reply is a head and a tuple of steps.

Nothing here waits or touches a socket.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Literal, cast, get_args

import attrs

from llm_kit.sse import encode_event
from llm_kit.testing import completions
from llm_kit.testing.completions import compact
from llm_kit.testing.steps import (
    Comments,
    Cut,
    Pause,
    Reset,
    Stall,
    Step,
    Steps,
    check,
    conclude,
    insert,
    non_negative,
    paced,
    split,
    whole,
)

Framing = Literal["chunked", "close", "length", "http/1.0", "bare"]
Request = Mapping[str, Any]


def _steps(steps: Iterable[Step] | Callable[[Request], Steps]) -> Any:
    if callable(steps):
        return steps
    checked = tuple(steps)
    for step in checked:
        check(step, get_args(Step), "steps of bytes, Pause, Stall, Comments, Cut or Reset")
    return tuple(step for step in checked if step != b"")  # an empty chunk would end the body


def _headers(headers: Mapping[str, str]) -> Mapping[str, str]:
    for text in itertools.chain(headers, headers.values()):
        check(text, str, "headers whose names and values are str")
    return MappingProxyType({name.lower(): value for name, value in headers.items()})


@attrs.frozen
class Reply:
    r"""
    One scripted answer: build it with a constructor, then bend it with modifiers.

    >>> Reply.events([{"n": 1}, "[DONE]"]).stall(after=1).steps
    (b'data: {"n":1}\n\n', Stall(), b'data: [DONE]\n\n')

    A *piece* is one ``bytes`` step: one write, usually one event. Each modifier returns a new
    Reply; one that counts past the end of the body acts at its end.

    Args:
        steps: pieces to write and things to do between them; or a function that makes them
            from the request's JSON object.
        status: the HTTP status.
        headers: what to send beside the framing's own header; names are lower-cased.
        framing: "chunked"; "close" (``Connection: close``, the end of file ends the body);
            "length"; "http/1.0"; or "bare": the steps are all that is written, without even
            a status line, for answers that are not HTTP.
        delay: seconds of silence before the headers, ``math.inf`` for no headers at all.
    """

    steps: Steps | Callable[[Request], Steps] = attrs.field(default=(), converter=_steps)
    status: int = attrs.field(default=200, validator=attrs.validators.instance_of(int))
    headers: Mapping[str, str] = attrs.field(
        default=MappingProxyType({"content-type": "text/event-stream"}), converter=_headers
    )
    framing: Framing = attrs.field(
        default="chunked", validator=attrs.validators.in_(get_args(Framing))
    )
    delay: float = attrs.field(default=0.0, validator=non_negative)

    def steps_for(self, request: object) -> Steps:
        """Give the steps that answer this request, which is its parsed JSON body or None."""
        if not callable(self.steps):
            return self.steps
        return cast(Steps, _steps(self.steps(request if isinstance(request, dict) else {})))

    @classmethod
    def text(
        cls,
        text: str,
        *,
        pace: float = 0.0,
        reasoning: str = "",
        finish_reason: str | None = "stop",
        n: int | None = None,
        usage: bool = True,
        done: bool = True,
        per_write: int = 1,
    ) -> Reply:
        r"""
        Answer as OpenAI streams: a role chunk, a chunk a word, a finish chunk, ``[DONE]``.

        >>> Reply.text("Hello, world!").steps_for({"model": "gpt-4"})[-1]
        b'data: [DONE]\n\n'

        Args:
            text: the content; the words' deltas joined give it back exactly.
            pace: seconds between two writes.
            reasoning: sent before the text, as ``reasoning_content``, a word a chunk.
            finish_reason: the finish chunk's word; None leaves that chunk out.
            n: how many choices, taking turns; by default what the request asks for.
            usage: False never sends the usage chunk; True does if the request asks for it.
            done: False leaves out ``[DONE]``.
            per_write: how many events share one write.
        """
        check(text, str, "Reply.text(text) as str")
        check(reasoning, str, "reasoning as str")
        deltas = [
            *({"reasoning_content": word} for word in completions.words(reasoning)),
            *({"content": word} for word in completions.words(text)),
        ]
        return cls._streamed(deltas, finish_reason, pace, n, usage, done, per_write)

    @classmethod
    def tool_calls(
        cls,
        calls: Sequence[Mapping[str, Any]],
        *,
        text: str = "",
        fragment: int = 8,
        pace: float = 0.0,
    ) -> Reply:
        """
        Answer with tool calls, after an optional text; the finish reason is ``tool_calls``.

        >>> reply = Reply.tool_calls([{"name": "get_weather", "arguments": {"city": "Paris"}}])

        Args:
            calls: each with ``name``, ``arguments`` (an object; or a str, sent as it is) and
                perhaps ``id``.
            text: content before the calls.
            fragment: how many characters of the arguments one chunk carries.
            pace: seconds between two writes.
        """
        check(text, str, "text as str")
        whole(fragment, "fragment", 1)
        deltas: list[dict[str, Any]] = [{"content": word} for word in completions.words(text)]
        for index, call in enumerate(calls):
            check(call, Mapping, 'each call as {"name": ..., "arguments": {...}}')
            deltas += completions.call_deltas(index, call, fragment)
        return cls._streamed(deltas, "tool_calls", pace)

    @classmethod
    def _streamed(
        cls,
        deltas: Sequence[Mapping[str, Any]],
        finish_reason: str | None,
        pace: float,
        n: int | None = None,
        usage: bool = True,
        done: bool = True,
        per_write: int = 1,
    ) -> Reply:
        whole(per_write, "per_write", 1)
        pause = Pause(pace)

        def steps(request: Request) -> Steps:
            chunks = completions.chunks(request, deltas, finish_reason, n=n, usage=usage)
            events = [encode_event(compact(chunk)) for chunk in chunks]
            if done:
                events.append(encode_event("[DONE]"))
            writes = range(0, len(events), per_write)
            return paced([b"".join(events[at : at + per_write]) for at in writes], pause)

        return cls(steps)

    @classmethod
    def events(cls, events: Iterable[Mapping[str, Any] | str], *, pace: float = 0.0) -> Reply:
        """Answer with these SSE events: an object is sent as JSON, a str as it is."""
        pieces = []
        for event in events:
            check(event, (Mapping, str), "each event as a dict or a str")
            pieces.append(encode_event(event if isinstance(event, str) else compact(event)))
        return cls(paced(pieces, Pause(pace)))

    @classmethod
    def raw(
        cls,
        body: bytes,
        *,
        sizes: Sequence[int] | None = None,
        content_type: str = "text/event-stream",
        pace: float = 0.0,
    ) -> Reply:
        r"""
        Answer with these bytes, cut into pieces of ``sizes`` bytes; the rest is the last.

        >>> Reply.raw(b"data: Hello\n\n", sizes=[3, 4]).steps
        (b'dat', b'a: H', b'ello\n\n')
        """
        check(body, bytes, "Reply.raw(body) as bytes")
        ends = itertools.accumulate([whole(size, "each of sizes", 1) for size in sizes or ()])
        bounds = [0, *(end for end in ends if end < len(body)), len(body)]
        pieces = [body[start:end] for start, end in itertools.pairwise(bounds)]
        return cls(paced(pieces, Pause(pace)), headers={"content-type": content_type})

    @classmethod
    def json(cls, obj: object, status: int = 200) -> Reply:
        """Answer with one JSON value, unstreamed."""
        headers = {"content-type": "application/json"}
        return cls((compact(obj).encode(),), status, headers, framing="length")

    @classmethod
    def error(
        cls,
        status: int,
        message: str = "",
        code: str | int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Refuse with a status and an error object in OpenAI's form."""
        whole(status, "status", 100)
        kind = "invalid_request_error" if status < 500 else "server_error"
        text = message or next((s.phrase for s in HTTPStatus if s == status), "error")
        error = {"message": text, "type": kind, "param": None, "code": code}
        return cls.json({"error": error}, status).with_headers(headers or {})

    def hang(self, seconds: float | None = None) -> Reply:
        """Read the request and send no headers, for ever or for these seconds."""
        return attrs.evolve(self, delay=float("inf") if seconds is None else seconds)

    def stall(self, after: int = 0) -> Reply:
        """Fall silent after this many pieces; 0 sends the headers alone."""
        return self._edit(insert, whole(after, "after"), Stall())

    def comments(self, after: int = 0, interval: float = 0.005) -> Reply:
        """After this many pieces send nothing but comments, one each ``interval`` seconds."""
        return self._edit(insert, whole(after, "after"), Comments(interval))

    def error_event(self, after: int = 0, error: Mapping[str, Any] | None = None) -> Reply:
        """After this many pieces send ``{"error": ...}`` as an event and end the body."""
        told = {"message": "the model failed", "type": "server_error", "code": 500}
        event = encode_event(compact({"error": told if error is None else dict(error)}))
        return self._edit(conclude, whole(after, "after"), event)

    def cut(self, at: int = 0) -> Reply:
        """Close the connection after exactly this many bytes of the body."""
        return self._edit(split, whole(at, "at"), Cut())

    def reset(self, at: int = 0) -> Reply:
        """Reset the connection after exactly this many bytes of the body."""
        return self._edit(split, whole(at, "at"), Reset())

    def with_headers(self, headers: Mapping[str, str]) -> Reply:
        """Add these headers, or replace those of the same name."""
        return attrs.evolve(self, headers={**self.headers, **_headers(headers)})

    def with_framing(self, framing: Framing) -> Reply:
        """Send the body in another framing."""
        return attrs.evolve(self, framing=framing)

    def _edit(self, change: Callable[[Steps, int, Step], Steps], at: int, step: Step) -> Reply:
        if callable(steps := self.steps):
            return attrs.evolve(self, steps=lambda request: change(steps(request), at, step))
        return attrs.evolve(self, steps=change(steps, at, step))
