"""
A chat in OpenAI's form, taken apart: what dialects put together again in their own.

What has no place in a dialect is an error that says where it stands: nothing is dropped.

Source of the form: OpenAI's API reference, "Create chat completion".
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

from attrs import define, field, frozen

from llm_kit.dialects.fields import as_word

MediaKind = Literal["image", "audio", "file"]
Call = tuple[Mapping[str, Any], str, str]
"""A tool call, its function's name, and where it stands."""

# What only OpenAI's API can be told in a message; the name of a tool's result is no more than
# that of its function.
_OPENAIS = {
    "name": "a message's `name`",
    "audio": "a message's `audio`",
    "function_call": "a `function_call`: write it as `tool_calls`",
}
_SAID_OF_FUNCTION = frozenset({"name", "description", "parameters", "strict"})
_SPEAKERS = ("system", "developer", "user", "assistant")


@frozen
class Media:
    """
    An image, a sound or a file inside a message: by its ``url``, or as ``data`` in base64.

    Attributes:
        mime: its MIME type, where that is known.
        name: the file's name.
        id: the file's id at the provider, where it lies already.
        detail: how closely an image is to be looked at: auto, low, high.
        more: what else its part says (a cache mark): the dialect's own.
    """

    kind: MediaKind
    url: str | None = None
    data: str | None = None
    mime: str | None = None
    name: str | None = None
    id: str | None = None
    detail: str | None = None
    more: Mapping[str, Any] = field(factory=dict)


@frozen
class Function:
    """
    A tool that the model may call.

    Attributes:
        more: what else is said of it: the dialect's own.
    """

    name: str
    description: str | None = None
    parameters: Mapping[str, Any] | None = None
    strict: bool | None = None
    more: Mapping[str, Any] = field(factory=dict)


Part = str | Media | Mapping[str, Any]

# Messages.


def each_message(
    messages: Iterable[Mapping[str, Any]], dialect: str
) -> Iterator[tuple[Mapping[str, Any], str]]:
    """
    Give the messages of a chat, each with where it stands.

    Raises:
        TypeError: one of them is no dict.
        ValueError: one says something that only OpenAI's API knows.
    """
    for place, message in enumerate(messages):
        where = f"messages[{place}]"
        if not isinstance(message, Mapping):
            raise TypeError(f"{where} must be a dict, not {_kind(message)}")
        if message.get("role") in _SPEAKERS:
            for name, shown in _OPENAIS.items():
                if message.get(name):
                    raise untranslatable(dialect, f"{where}.{name}", shown)
        yield message, where


def parts_of(message: Mapping[str, Any], where: str) -> Iterator[Part]:
    """
    Give the parts of a message's content: texts, media, and as a dict any part of another type.

    Such a part may be of the dialect's own; if it is not, raise `untranslatable`.
    """
    content = message.get("content")
    if content is None:
        return
    if isinstance(content, str):
        yield content
        return
    if not isinstance(content, Sequence):
        raise TypeError(f"{where}.content must be a string or a list, not {_kind(content)}")
    for place, part in enumerate(content):
        at = f"{where}.content[{place}]"
        if isinstance(part, str):
            yield part
        elif not isinstance(part, Mapping):
            raise TypeError(f"{at} must be a dict, not {_kind(part)}")
        else:
            yield _part(part, at)


def _part(part: Mapping[str, Any], at: str) -> Part:
    kind = part.get("type")
    if not isinstance(kind, str):
        return part
    plain = part.keys() <= {"type", kind}  # more than that (a cache mark) is the dialect's own
    if kind == "text" and plain and isinstance(part.get("text"), str):
        text: str = part["text"]
        return text
    inner = part.get(kind)
    more = {name: value for name, value in part.items() if name not in ("type", kind)}
    if kind == "image_url":
        fields = inner if isinstance(inner, Mapping) else {"url": inner}
        url = fields.get("url")
        if not isinstance(url, str):
            raise TypeError(f'{at} must be {{"type": "image_url", "image_url": {{"url": ...}}}}')
        return Media("image", **_source(url), detail=fields.get("detail"), more=more)
    if kind == "input_audio" and isinstance(inner, Mapping):
        mime = f"audio/{inner.get('format', 'wav')}"
        return Media("audio", data=inner.get("data"), mime=mime, more=more)
    if kind == "file" and isinstance(inner, Mapping):
        data = inner.get("file_data")
        source = {"data": data}
        if isinstance(data, str) and data.startswith(("data:", "https:", "http:")):
            source = _source(data)
        name, ident = as_word(inner.get("filename")), as_word(inner.get("file_id"))
        return Media("file", **source, name=name, id=ident, more=more)
    return part


def _source(url: str) -> dict[str, Any]:
    if not url.startswith("data:"):
        return {"url": url}
    head, _, data = url.removeprefix("data:").partition(",")
    return {"data": data, "mime": head.removesuffix(";base64") or None}


def refuse_hints(media: Media, dialect: str, where: str) -> None:
    """
    Refuse what not every API can be told of a medium: an id, or how closely to look at it.

    Raises:
        ValueError: that is said; that the API may look as it likes ("auto") is fine.
    """
    if media.id or media.detail not in (None, "auto"):
        raise untranslatable(dialect, where, media)


def text_of(message: Mapping[str, Any], where: str, dialect: str) -> str:
    """Give the text of a message that may have nothing else in it."""
    texts = []
    for part in parts_of(message, where):
        if not isinstance(part, str):
            raise untranslatable(dialect, f"{where}.content", part)
        texts.append(part)
    return "".join(texts)


def details_of(message: Mapping[str, Any], where: str, form: str) -> Iterator[Mapping[str, Any]]:
    """
    Give those of a message's ``reasoning_details`` that have a format; others are not meant here.

    The form is OpenRouter's, on its page "Reasoning tokens".
    """
    details = message.get("reasoning_details") or ()
    if not isinstance(details, Sequence):
        raise TypeError(f"{where}.reasoning_details must be a list, not {_kind(details)}")
    for place, detail in enumerate(details):
        if not isinstance(detail, Mapping):
            raise TypeError(
                f"{where}.reasoning_details[{place}] must be a dict, not {_kind(detail)}"
            )
        if detail.get("format") == form:
            yield detail


# Tools.


def arguments_of(call: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Give the arguments of a tool call that the model made, as the object they are."""
    text = _function_of(call, where).get("arguments")
    if isinstance(text, Mapping):
        return dict(text)
    try:
        value = json.loads(text or "{}")
    except (TypeError, ValueError):
        value = None
    if not isinstance(value, dict):
        raise ValueError(
            f"{where}.function.arguments must be the JSON text of an object, and is {text!r:.100};"
            " leave a call out that was cut"
        )
    return value


def calls_of(message: Mapping[str, Any], where: str) -> list[Call]:
    """Give a message's tool calls, each with its function's name and where it stands."""
    given = message.get("tool_calls") or ()
    if not isinstance(given, Sequence):
        raise TypeError(f"{where}.tool_calls must be a list, not {_kind(given)}")
    calls = []
    for place, call in enumerate(given):
        at = f"{where}.tool_calls[{place}]"
        calls.append((call, _name_of(_function_of(call, at), at), at))
    return calls


def id_of(fields: Mapping[str, Any], name: str, where: str) -> str:
    """Give the id of a call, for dialects that can't do without."""
    ident = as_word(fields.get(name))
    if ident is None:
        raise ValueError(f"{where}.{name} must be the id of the call: its result is found by it")
    return ident


@define
class CalledFunctions:
    """Which function a result is of, for dialects whose results go by the function's name."""

    _by_id: dict[str, str] = field(factory=dict)
    _waiting: list[str] = field(factory=list)
    """Functions that were called without an id, and have no result yet."""

    def add(self, calls: Iterable[Call]) -> None:
        """Take the calls of an assistant's message."""
        self._waiting = []
        for call, name, _ in calls:
            if ident := as_word(call.get("id")):
                self._by_id[ident] = name
            else:
                self._waiting.append(name)

    def name_for(self, message: Mapping[str, Any], where: str) -> str:
        """Give the function that a result is of: by the call's id, its own name, or its turn."""
        ident, name = as_word(message.get("tool_call_id")), as_word(message.get("name"))
        if ident:
            name = self._by_id.get(ident, name)
        elif name in self._waiting:
            self._waiting.remove(name)
        elif self._waiting and not name:
            name = self._waiting.pop(0)
        if not name:
            raise ValueError(
                f"{where}: no tool call before has the id {ident!r}; give the function's name"
                ' as "name"'
            )
        return name


def function_of(tool: Mapping[str, Any], where: str) -> Function | None:
    """Give the function that a tool is, None for one that is the dialect's own."""
    if not isinstance(tool, Mapping):
        raise TypeError(f"{where} must be a dict, not {_kind(tool)}")
    inner = tool.get("function")
    if tool.get("type") != "function" or not isinstance(inner, Mapping):
        return None
    more = {name: value for name, value in inner.items() if name not in _SAID_OF_FUNCTION}
    more |= {name: value for name, value in tool.items() if name not in ("type", "function")}
    name, parameters = _name_of(inner, where), inner.get("parameters")
    return Function(name, inner.get("description"), parameters, inner.get("strict"), more)


def function_chosen(choice: Any) -> str | None:
    """Give the function that a ``tool_choice`` names, None if it is none that does."""
    function = choice.get("function") if isinstance(choice, Mapping) else None
    return as_word(function.get("name")) if isinstance(function, Mapping) else None


# What can't be said.


def untranslatable(dialect: str, where: str, what: object) -> ValueError:
    """Say that something has no place in a dialect."""
    if isinstance(what, Media):
        shown = _described(what)
    elif isinstance(what, Mapping):
        shown = f"part of type {what.get('type')!r}"
    else:
        shown = str(what)
    return ValueError(f"{where}: the {dialect!r} dialect has no place for {shown}")


def _described(media: Media) -> str:
    if media.id:
        return f"{media.kind} given by its id"
    if media.detail not in (None, "auto"):
        return f"{media.kind} with the detail {media.detail!r}"
    if media.data and media.more:
        return f"{media.kind} with {', '.join(map(repr, media.more))}"
    return f"{media.kind} given by its {'URL' if media.url else 'data' if media.data else 'name'}"


def _name_of(function: Mapping[str, Any], where: str) -> str:
    name = as_word(function.get("name"))
    if name is None:
        raise ValueError(f"{where}.function.name must be the function's name")
    return name


def _function_of(call: object, where: str) -> Mapping[str, Any]:
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping):
        raise TypeError(
            f'{where} must be {{"id": ..., "type": "function", "function": {{"name": ...,'
            ' "arguments": ...}}'
        )
    return function


def _kind(value: object) -> str:
    return type(value).__name__
