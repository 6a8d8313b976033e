"""
How a partial answer is sent back in OpenAI's form, so that the model goes on with it.

OpenAI's own API can't continue a message, so every server has its own way, or none. Where there
is one the partial answer becomes the beginning of the next one (a prefill); everywhere else the
model is instructed to go on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from llm_kit.policies import ContinueMode

# What a prefill adds to the last message, and to the body.
_FIELDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": ({}, {}),
    "prefix": ({"prefix": True}, {}),
    "partial": ({"partial": True}, {}),
    # The two fields exclude each other, and the other one is on by default in vLLM
    # (vllm/entrypoints/openai/chat_completion/protocol.py) and llama.cpp (its PR 23012).
    "continue_final_message": (
        {},
        {"continue_final_message": True, "add_generation_prompt": False},
    ),
}

# Host, beginning of the path, mode: only what is documented for every model of the host. Not
# here, as their models differ: DashScope ("partial", but only for Qwen that does not think),
# OpenRouter, Groq ("plain", documented before it had reasoning models), Anthropic (Claude
# refuses a prefill since 4.6); nor Google, whose API refuses it.
_KNOWN: tuple[tuple[str, str, ContinueMode], ...] = (
    # https://api-docs.deepseek.com/guides/chat_prefix_completion: with the beta base URL only
    ("api.deepseek.com", "/beta/", "prefix"),
    # https://docs.mistral.ai/api/ (AssistantMessage.prefix); without the field it answers 400
    ("api.mistral.ai", "/", "prefix"),
    # https://platform.kimi.ai/docs/api/partial
    ("api.moonshot.ai", "/", "partial"),
    # https://platform.moonshot.cn/docs/api/partial
    ("api.moonshot.cn", "/", "partial"),
)


def continued(
    body: Mapping[str, Any], text: str, url: str, mode: ContinueMode, instruction: str
) -> tuple[dict[str, Any], str]:
    """
    Give the body of the request that goes on from a text, and the blanks at its end left out.

    A prefill is sent without them: some servers refuse one that ends in blanks, and a model that
    is made to begin behind a blank often writes a second one.

    Servers that can't be told by their address are instructed, unless the user knows better:
    llama.cpp and vLLM take "continue_final_message", and so does SGLang, which otherwise reads
    a last message of the assistant's as the user's; Ollama takes "plain".

    Args:
        body: the body of the request that was lost; it is left as it is.
        text: the answer so far, with something else than blanks in it.
        url: where the request goes.
        mode: how the text is sent back; "auto" decides by the URL.
        instruction: what the model is told where it is instructed.
    """
    if mode == "auto":
        mode = _mode_for(url)
    if mode == "instruct":
        return {
            **body,
            "messages": [
                *body["messages"],
                {"role": "assistant", "content": text},
                {"role": "user", "content": instruction},
            ],
        }, ""
    sent = text.rstrip()
    in_message, in_body = _FIELDS[mode]
    messages, own = list(body["messages"]), {"role": "assistant", "content": ""}
    if messages[-1].get("role") == "assistant" and isinstance(messages[-1].get("content"), str):
        own = messages.pop()  # the caller's own prefill, of which the text is the continuation
    messages.append({**own, "content": own["content"] + sent, **in_message})
    return {**body, "messages": messages, **in_body}, text[len(sent) :]


def _mode_for(url: str) -> ContinueMode:
    parts = urlsplit(url)
    for host, path, mode in _KNOWN:
        if parts.hostname == host and parts.path.startswith(path):
            return mode
    return "instruct"


def mode_for(mode: ContinueMode, dialect: str, *known: ContinueMode) -> ContinueMode:
    """
    Check a mode, for dialects in which "auto" means to instruct.

    Raises:
        ValueError: it is a way of other APIs.
    """
    if mode == "auto":
        return "instruct"
    if mode not in known:
        ways = ", ".join(f'"{way}"' for way in ("auto", *known))
        raise ValueError(
            f"{mode!r} is no way to continue an answer in the {dialect!r} dialect: {ways} are"
        )
    return mode


def can_be_continued(body: Mapping[str, Any]) -> bool:
    """Tell whether a server could go on in the middle of the answer to this request."""
    return is_free(body.get("response_format"), body.get("tool_choice"))


def is_free(form: Any, choice: Any) -> bool:
    """
    Tell whether an answer may have any form: only then it can be gone on with.

    It can't where it is made to begin anew: with a whole JSON value, or with a tool call.
    """
    plain = form is None or (isinstance(form, Mapping) and form.get("type") == "text")
    return plain and choice in (None, "auto", "none")
