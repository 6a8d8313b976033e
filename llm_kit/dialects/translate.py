"""
A chat in OpenAI's form, taken apart: what dialects put together again in their own.

What has no place in a dialect is an error that says where it stands: nothing is dropped.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from attrs import frozen

MediaKind = Literal["image", "audio", "file"]


@frozen
class Media:
    """
    An image, a sound or a file inside a message: by its ``url``, or as ``data`` in base64.

    Attributes:
        mime: its MIME type, where that is known.
        name: the file's name, or its id at the provider if there is neither url nor data.
    """

    kind: MediaKind
    url: str | None = None
    data: str | None = None
    mime: str | None = None
    name: str | None = None


@frozen
class Function:
    """A tool that the model may call."""

    name: str
    description: str | None = None
    parameters: Mapping[str, Any] | None = None
    strict: bool | None = None


Part = str | Media | Mapping[str, Any]


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
    plain = part.keys() <= {"type", kind}  # more than that (a cache mark) is the dialect's own
    if kind == "text" and plain and isinstance(part.get("text"), str):
        text: str = part["text"]
        return text
    inner = part.get(kind) if isinstance(kind, str) else None
    if kind == "image_url":
        url = inner.get("url") if isinstance(inner, Mapping) else inner
        if not isinstance(url, str):
            raise TypeError(f'{at} must be {{"type": "image_url", "image_url": {{"url": ...}}}}')
        return _by_url("image", url, None)
    if kind == "input_audio" and isinstance(inner, Mapping):
        return Media("audio", data=inner.get("data"), mime=f"audio/{inner.get('format', 'wav')}")
    if kind == "file" and isinstance(inner, Mapping):
        name = inner.get("filename") or inner.get("file_id")
        data = inner.get("file_data")
        if isinstance(data, str) and data.startswith(("data:", "https:", "http:")):
            return _by_url("file", data, name)
        return Media("file", data=data, name=name)
    return part


def _by_url(kind: MediaKind, url: str, name: str | None) -> Media:
    if not url.startswith("data:"):
        return Media(kind, url=url, name=name)
    head, _, data = url.removeprefix("data:").partition(",")
    mime = head.removesuffix(";base64")
    return Media(kind, data=data, mime=mime or None, name=name)


def text_of(message: Mapping[str, Any], where: str, dialect: str) -> str:
    """Give the text of a message that may have nothing else in it."""
    texts = []
    for part in parts_of(message, where):
        if not isinstance(part, str):
            raise untranslatable(dialect, f"{where}.content", part)
        texts.append(part)
    return "".join(texts)


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


def calls_of(message: Mapping[str, Any], where: str) -> list[tuple[Mapping[str, Any], str, str]]:
    """Give a message's tool calls, each with its function's name and where it stands."""
    calls = []
    for place, call in enumerate(message.get("tool_calls") or ()):
        at = f"{where}.tool_calls[{place}]"
        name = _function_of(call, at).get("name")
        if not isinstance(name, str) or not name:
            raise ValueError(f"{at}.function.name must be the function's name")
        calls.append((call, name, at))
    return calls


def names_of_calls(messages: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Give which function each call's id means, for dialects whose results go by the name."""
    return {
        call["id"]: name
        for place, message in enumerate(messages)
        for call, name, _ in calls_of(message, f"messages[{place}]")
        if call.get("id")
    }


def function_of(tool: Mapping[str, Any], where: str) -> Function | None:
    """Give the function that a tool is, None for one that is the dialect's own."""
    if not isinstance(tool, Mapping):
        raise TypeError(f"{where} must be a dict, not {_kind(tool)}")
    inner = tool.get("function")
    if tool.get("type") != "function" or not isinstance(inner, Mapping):
        return None
    name = inner.get("name")
    if not isinstance(name, str) or not name:
        raise ValueError(f"{where}.function.name must be the function's name")
    return Function(name, inner.get("description"), inner.get("parameters"), inner.get("strict"))


def texts_of_stop(stop: str | Sequence[str]) -> list[str]:
    """Give the texts at which the server shall stop, as a list."""
    return [stop] if isinstance(stop, str) else list(stop)


def untranslatable(dialect: str, where: str, what: object) -> ValueError:
    """Say that something has no place in a dialect."""
    if isinstance(what, Media):
        shown = f"{what.kind} given by its {'URL' if what.url else 'name'}"
        shown = what.kind if what.data else shown
    elif isinstance(what, Mapping):
        shown = f"part of type {what.get('type')!r}"
    else:
        shown = str(what)
    return ValueError(f"{where}: the {dialect!r} dialect has no place for {shown}")


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
