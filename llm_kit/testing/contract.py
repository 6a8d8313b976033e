"""What every dialect must keep to, as a check that anybody can run on their own."""

from __future__ import annotations

import copy
import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from llm_kit._core.accumulator import Accumulator
from llm_kit.dialects import DIALECTS, find_chat_dialect
from llm_kit.dialects.base import Chat, Dialect
from llm_kit.errors import LLMKitError
from llm_kit.policies import Limits
from llm_kit.types import Chunk, StreamResult, ToolCallDelta, Usage
from llm_kit.wire import WireDecoder

_TEXTS = ("delta", "reasoning", "refusal")
_OPTIONAL_TEXTS = ("role", "finish_reason", "id", "model", "system_fingerprint")
_WRONG: tuple[Any, ...] = (None, True, -1, 1.5, "x", [], ["x"], [{}], {}, {"x": "x"})
# What other forms send: a dialect that takes these for its own would take their streams.
_STRANGERS: tuple[dict[str, Any], ...] = (
    {},
    {"error": {"message": "x"}},
    {"id": "1", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {}}]},
    {"type": "message_start", "message": {"type": "message", "role": "assistant", "content": []}},
    {"type": "response.created", "response": {"object": "response", "output": []}},
    {"candidates": [{"content": {"parts": [{"text": "x"}], "role": "model"}}]},
    {"model": "m", "message": {"role": "assistant", "content": "x"}, "done": False},
    {"type": "message-start", "delta": {"message": {"role": "assistant", "content": []}}},
    {"object": "text_completion", "choices": [{"text": "x", "index": 0}]},
)


def check_dialect(dialect: type[Dialect], body: bytes) -> StreamResult:
    """
    Check that a dialect does what streams rely on.

        >>> from llm_kit.dialects import find_dialect
        >>> from llm_kit.testing import check_dialect
        >>> body = (b'{"message": {"content": "Hi"}, "done": false}\\n'
        ...         b'{"message": {"content": "!"}, "done": true, "done_reason": "stop"}\\n')
        >>> check_dialect(find_dialect("ollama"), body).content
        'Hi!'

    It reads the body whole, byte by byte and cut behind each object, gives the dialect objects
    with wrong types in every place, and objects of other forms; and if it can ask too, it looks at
    what it makes of a chat.

    Args:
        dialect: the class.
        body: one whole answer that ended well, as it came over the wire: SSE or JSON lines.

    Returns:
        What the body adds up to, for checks of your own.

    Raises:
        AssertionError: it does not; the message says what was expected.
    """
    _expect(isinstance(dialect, type), f"give the class of the dialect, not {dialect!r}")
    name = getattr(dialect, "name", None)
    _expect(isinstance(name, str) and bool(name), "`name` must be a string that says something")
    known: Any = DIALECTS.get(dialect.name)
    _expect(known is None or known in dialect.__mro__, f"{name!r} is the name of another dialect")
    _expect(isinstance(body, bytes), "the body must be bytes, as it came over the wire")
    payloads: list[Mapping[str, Any]] = []
    chunks, total = _read(dialect, [body], payloads)
    _expect(bool(payloads), "the body must be SSE or JSON lines, with at least one object")
    _expect(
        total.is_whole,
        "a body that ended well must give a finish_reason for every choice that began;"
        f" got {[choice.finish_reason for choice in total.result().choices]}",
    )
    result = total.result()
    result.status = "complete"
    singly, total = _read(dialect, [body[at : at + 1] for at in range(len(body))])
    _expect(singly == chunks, "the chunks must not depend on how the body was cut")
    _check_prefixes(dialect, payloads, result)
    _check_recognition(dialect, payloads)
    _check_two_at_once(dialect, payloads, chunks)
    _check_garbage(dialect, payloads)
    if hasattr(dialect, "request_body"):
        _check_requests(dialect)
    return result


def _expect(condition: bool, what: str) -> None:
    if not condition:
        raise AssertionError(what)


def _read(
    dialect: type[Dialect],
    pieces: Sequence[bytes],
    payloads: list[Mapping[str, Any]] | None = None,
) -> tuple[list[Chunk], Accumulator]:
    """Read a body as a stream does; notes the objects in it."""

    base: Any = dialect  # type checkers know no class that is made of a variable

    class Watched(base):  # type: ignore[misc]
        def read(self, payload: Mapping[str, Any], out: Any, raw: Any) -> None:
            before = copy.deepcopy(payload)
            given = super().read(payload, out, raw)
            if inspect.iscoroutine(given):
                given.close()
            _expect(given is None, "read() gives nothing back, chunks go into `out`; it can't wait")
            _expect(payload == before, f"read() must not change the object: {before}")
            if payloads is not None:
                payloads.append(payload)

    chunks: list[Chunk] = []
    total = Accumulator()
    try:
        decoder = WireDecoder(Watched, Limits())
        for piece in pieces:
            decoder.feed(piece, chunks)
        decoder.flush(chunks)
    except AssertionError:
        raise
    except Exception as error:
        raise AssertionError(
            f"reading a body that ended well must give chunks, and gave {error!r}"
        ) from error
    _check_chunks(chunks)
    for chunk in chunks:
        total.feed(chunk, 0.0)
    return chunks, total


def _feed(reader: Dialect, payload: Mapping[str, Any]) -> list[Chunk]:
    chunks: list[Chunk] = []
    reader.read(payload, chunks, payload)
    return chunks


def _check_chunks(chunks: list[Chunk]) -> None:
    for chunk in chunks:
        _expect(isinstance(chunk, Chunk), f"only Chunks go into `out`, not {chunk!r}")
        wrong = [name for name in _TEXTS if type(getattr(chunk, name)) is not str]
        wrong += [
            name
            for name in _OPTIONAL_TEXTS
            if not isinstance(value := getattr(chunk, name), str | None) or value == ""
        ]
        if type(chunk.index) is not int:
            wrong.append("index")
        if not isinstance(chunk.usage, Usage | None):
            wrong.append("usage")
        if not isinstance(chunk.extra, Mapping | None):
            wrong.append("extra")
        if not all(isinstance(call, ToolCallDelta) for call in chunk.tool_calls):
            wrong.append("tool_calls")
        _expect(not wrong, f"these fields are of a wrong type: {', '.join(wrong)} in {chunk}")
        _expect(chunk.raw is not None, f"`raw` must be the object that it came from: {chunk}")


def _check_prefixes(
    dialect: type[Dialect], payloads: list[Mapping[str, Any]], whole: StreamResult
) -> None:
    """However early the stream breaks off, half an answer is no whole one."""
    reader, total = dialect(set()), Accumulator()
    for payload in payloads:
        if total.is_whole:
            early = total.result()
            _expect(
                (early.content, early.tool_calls) == (whole.content, whole.tool_calls),
                "a finish_reason came before the answer was whole",
            )
        for chunk in _feed(reader, payload):
            total.feed(chunk, 0.0)


def _check_recognition(dialect: type[Dialect], payloads: list[Mapping[str, Any]]) -> None:
    own = [payload for payload in payloads if dialect.recognises(payload)]
    _expect(bool(own), "recognises() must know at least one object of the body")
    for payload in own:
        others = [
            other.name
            for other in DIALECTS.values()
            if other.name != dialect.name and other.recognises(payload)
        ]
        _expect(not others, f"{others} take this object for theirs too: {payload}")
    for stranger in _STRANGERS:
        its_own: Any = DIALECTS.get(dialect.name)  # which a user's class may replace
        if its_own is None or not its_own.recognises(stranger):
            taken = dialect.recognises(stranger)
            _expect(not taken, f"recognises() takes this for its own, and it is not: {stranger}")


def _check_two_at_once(
    dialect: type[Dialect], payloads: list[Mapping[str, Any]], chunks: list[Chunk]
) -> None:
    one, other = dialect(set()), dialect(set())
    _expect(one.done is False, "`done` must be False in the beginning")
    both: tuple[list[Chunk], list[Chunk]] = ([], [])
    for payload in payloads:
        for reader, read in zip((one, other), both, strict=True):
            read += _feed(reader, payload)
    for read in both:
        _expect(read == chunks, "two streams must not have anything in common")


def _check_garbage(dialect: type[Dialect], payloads: list[Mapping[str, Any]]) -> None:
    """Whatever stands in a field, there are chunks, nothing, or an error with a name."""
    for place in range(len(payloads)):
        for garbled in _garbled(payloads[place]):
            reader = dialect(set())
            try:
                for payload in (*payloads[:place], garbled):
                    _check_chunks(_feed(reader, payload))
            except LLMKitError:
                continue
            except Exception as error:
                raise AssertionError(
                    f"an object of wrong types must give chunks, nothing or an LLMKitError;"
                    f" this one gave {error!r}: {garbled}"
                ) from error


def _garbled(value: Any) -> Iterator[Any]:
    """Give a value again and again, each time with one place in it that has a wrong type."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield {each: value[each] for each in value if each != name}
            for wrong in (*_WRONG, *_garbled(inner)):
                yield {**value, name: wrong}
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            for wrong in (*_WRONG, *_garbled(inner)):
                yield [*value[:place], wrong, *value[place + 1 :]]


def _check_requests(dialect: Any) -> None:
    chat_dialect = find_chat_dialect(dialect)
    call = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Where am I?"}]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "At home."},
    ]
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    chat = Chat(messages, model="the-model", tools=[tool], params={"field_of_my_own": [1]})
    before = copy.deepcopy(attrs.asdict(chat))
    body = chat_dialect.request_body(chat)
    _expect(attrs.asdict(chat) == before, "request_body() must not change what it is given")
    text = json.dumps(body, ensure_ascii=False) + chat_dialect.path("the-model")
    for said in ("Be brief.", "Where am I?", "look", "At home.", "the-model"):
        _expect(said in text, f"the request does not say {said!r}: {text}")
    _expect(body.get("field_of_my_own") == [1], "params must go into the body untouched")
    _expect(chat_dialect.path("the-model").startswith("/"), "path() must begin with a slash")
    headers = chat_dialect.request_headers("the-key")
    _expect(any("the-key" in value for value in headers.values()), "the headers lack the key")
    _expect(
        not any("None" in value for value in chat_dialect.request_headers(None).values()),
        "without a key there must be no header for it",
    )
