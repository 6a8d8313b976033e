"""
What Gemini is asked: the request of Google's ``streamGenerateContent``.

Sources of the format: the Gemini API reference (ai.google.dev/api/generate-content), and the
page "Thought signatures" of its guide.
"""

from __future__ import annotations

import json
import mimetypes
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llm_kit.dialects.base import Chat
from llm_kit.dialects.request.continuing import mode_for
from llm_kit.dialects.request.parameters import (
    format_in,
    limit_in,
    moved,
    params_of,
    texts_of_stop,
)
from llm_kit.dialects.request.translate import (
    CalledFunctions,
    Media,
    arguments_of,
    calls_of,
    details_of,
    each_message,
    function_chosen,
    function_of,
    parts_of,
    refuse_hints,
    text_of,
    untranslatable,
)
from llm_kit.policies import ContinueMode

_NAME = "gemini"

REASONING_FORMAT = "google-gemini-v1"
"""OpenRouter's name for reasoning that only Gemini can read (its "Reasoning tokens" page)."""

# The everyday parameters of OpenAI's API that stand in `generationConfig` here.
_IN_CONFIG = {
    "temperature": "temperature",
    "top_p": "topP",
    "seed": "seed",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
}
# Those that have another form here, and what to write instead.
_OTHERWISE = {
    "reasoning_effort": 'write generationConfig={"thinkingConfig": {"thinkingLevel": "low"}}',
    "logprobs": 'write generationConfig={"responseLogprobs": True}',
    "top_logprobs": 'write generationConfig={"responseLogprobs": True, "logprobs": 5}',
}
_MODES = {"auto": "AUTO", "none": "NONE", "required": "ANY"}


def request_body(chat: Chat) -> dict[str, Any]:
    """
    Give the JSON body of a streaming request; see `ChatDialect.request_body`.

    Everyday parameters stand in ``generationConfig``, beside what the user puts there. Reasoning
    is sent back if it is Gemini's. Usage is always sent, so ``include_usage`` means nothing here.

    Raises:
        TypeError, ValueError: something can't be said in this form; nothing is dropped.
    """
    params = params_of(chat, _NAME, _OTHERWISE)
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


def can_be_continued(body: Mapping[str, Any]) -> bool:
    """Tell whether a model could go on in the middle of the answer to this request."""
    config = _field(body, "generationConfig")
    mode = _field(_field(_field(body, "toolConfig"), "functionCallingConfig"), "mode")
    mime = _field(config, "responseMimeType")
    return (
        mime in (None, "text/plain") and _field(config, "responseFormat") is None and mode != "ANY"
    )


def continued_body(
    body: Mapping[str, Any],
    text: str,
    url: str,  # noqa: ARG001
    mode: ContinueMode,
    instruction: str,
) -> tuple[dict[str, Any], str]:
    """
    Give the body of the request that goes on from a text; see `ChatDialect.continued_body`.

    Of the modes only to instruct: the API documents no prefill.
    """
    mode_for(mode, _NAME, "instruct")
    contents = list(body["contents"])
    _add(contents, "model", [{"text": text}])
    _add(contents, "user", [{"text": instruction}])
    return {**body, "contents": contents}, ""


def _contents(
    messages: Sequence[Mapping[str, Any]],
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Give the turns of a chat, and the parts of the instruction that stands above them."""
    contents: list[dict[str, Any]] = []
    instructions: list[dict[str, Any]] = []
    functions = CalledFunctions()
    for message, where in each_message(messages, _NAME):
        role = message.get("role")
        if role in ("system", "developer"):
            text = text_of(message, where, _NAME)
            instructions += [{"text": text}] if text else []
        elif role == "user":
            _add(contents, "user", list(_parts(message, where)))
        elif role in ("assistant", "model"):
            functions.add(calls_of(message, where))
            _add(contents, "model", _answer(message, where))
        elif role == "tool":
            name = functions.name_for(message, where)
            _add(contents, "user", [_function_response(message, where, name)])
        else:
            raise untranslatable(_NAME, f"{where}.role", f"the role {role!r}")
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
            raise untranslatable(_NAME, at, part)
        else:
            yield dict(part)


def _media(media: Media, at: str) -> dict[str, Any]:
    refuse_hints(media, _NAME, at)
    mime = media.mime or mimetypes.guess_type(media.name or media.url or "")[0]
    if media.url:
        typed = {"mimeType": mime} if mime else {}
        return {"fileData": {"fileUri": media.url, **typed}, **media.more}
    if not media.data:
        raise untranslatable(_NAME, at, media)
    if not mime:
        raise ValueError(f"{at}: the MIME type is missing; write data:TYPE;base64,... as its URL")
    return {"inlineData": {"mimeType": mime, "data": media.data}, **media.more}


def _answer(message: Mapping[str, Any], where: str) -> list[dict[str, Any]]:
    """Give the parts of what the model said, with its signatures back in their places."""
    parts: list[dict[str, Any]] = []
    signatures: list[str] = []
    for detail in details_of(message, where, REASONING_FORMAT):
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
        if parts and parts[-1].keys() == {"text"}:
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


def _function_response(message: Mapping[str, Any], where: str, name: str) -> dict[str, Any]:
    """Give a function's result; it goes by the function's name, for most calls have no id here."""
    text = text_of(message, where, _NAME)
    try:
        response = json.loads(text)
    except ValueError:
        response = None
    if not isinstance(response, dict):
        response = {"result": text}
    function = {"name": name, "response": response}
    if message.get("tool_call_id"):
        function["id"] = message["tool_call_id"]
    return {"functionResponse": function}


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
                raise untranslatable(_NAME, f"tools[{place}]", tool)
            given.append(dict(tool))
            continue
        declaration: dict[str, Any] = {"name": function.name}
        if function.description is not None:
            declaration["description"] = function.description
        if function.parameters is not None:
            declaration["parametersJsonSchema"] = function.parameters
        declarations.append({**declaration, **function.more})
    return [{"functionDeclarations": declarations}, *given] if declarations else given


def _calling_config(choice: Any) -> dict[str, Any]:
    """Give what OpenAI's ``tool_choice`` means here."""
    if isinstance(choice, str) and choice in _MODES:
        return {"mode": _MODES[choice]}
    if name := function_chosen(choice):
        return {"mode": "ANY", "allowedFunctionNames": [name]}
    raise ValueError(
        'tool_choice must be "auto", "none", "required" or {"type": "function", "function":'
        f' {{"name": ...}}}}, not {choice!r:.100}; or write toolConfig={{"functionCallingConfig":'
        " ...}"
    )


def _generation_config(chat: Chat, params: dict[str, Any]) -> dict[str, Any]:
    """Take out of the parameters what has its place in ``generationConfig``."""
    config, limit, form = moved(params, _IN_CONFIG), limit_in(params), format_in(params)
    if limit is not None:
        config["maxOutputTokens"] = limit
    if chat.stop is not None:
        config["stopSequences"] = texts_of_stop(chat.stop)
    if chat.n is not None:
        config["candidateCount"] = chat.n
    if form is not None:
        config["responseMimeType"] = "application/json"
        if form != "json":
            config["responseJsonSchema"] = form
    return config


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
