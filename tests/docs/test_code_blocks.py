"""Every Python block of the README and of the docs runs, in order, in one namespace a page."""

import doctest
import gc
import importlib
import pathlib
import pkgutil
import re
import warnings
from unittest.mock import patch

import pytest
from answers import TEXT, claude, claude_text, events

import llm_kit
from llm_kit.adapters import registry
from llm_kit.dialects import DIALECTS
from llm_kit.testing import FakeServer, Reply

ROOT = pathlib.Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# Where the pages' server stands: the tests put theirs in its place.
DOCUMENTED_SERVER = "http://localhost:8000"
# Libraries that pages show and the dev extra lacks: their blocks run where they are installed.
OPTIONAL = {"aiohttp", "anthropic", "cohere", "google", "langchain_openai", "litellm", "mistralai"}
OPTIONAL |= {"httpx_aiohttp", "ollama", "requests"}
# Who answers at which path; anything else is Chat Completions.
PATHS = {
    "/responses": "responses",
    "GenerateContent": "gemini",
    "/api/chat": "ollama",
}
CLAUDE = claude([claude_text(0, "Hello")], "end_turn")
CLAUDE[0]["message"]["usage"] = {"input_tokens": 1}  # the SDK's helper asks for it
COHERE = [
    {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "Hello"}}}},
    {"type": "message-end", "delta": {"finish_reason": "COMPLETE"}},
]


def answer(request):
    if request.path == "/v2/chat":
        return Reply.events(COHERE)
    if request.path == "/v1/messages":  # the SDK reads no events without names
        return Reply(f"event: {e['type']}\n".encode() + each for e in CLAUDE for each in events(e))
    for part, dialect in PATHS.items():
        if part in request.path:
            return Reply(TEXT[dialect])
    if (request.json or {}).get("tools"):
        return Reply.tool_calls([{"name": "get_weather", "arguments": {"city": "Paris"}}])
    return Reply.text("Once upon a time there was a stream. ", pace=0.01)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_code_blocks(page, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "_adapters", [])
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # its import would fetch it
    with (
        FakeServer(answer) as server,
        warnings.catch_warnings(),
        patch.dict(DIALECTS),  # pages register some
    ):
        # The pages leave a client open where a program would end.
        warnings.simplefilter("ignore", ResourceWarning)
        names = {"__name__": "__main__"}
        for found in BLOCK.finditer(page.read_text("utf-8")):
            kind, block = found.groups()
            assert kind in ("python", "sh", ""), f"{page.name}: nobody runs a block of {kind}"
            if kind == "python":
                line = page.read_text("utf-8")[: found.start()].count("\n") + 1
                root = server.base_url.removesuffix("/v1")
                code = "\n" * line + block.replace(DOCUMENTED_SERVER, root)
                try:
                    exec(compile(code, str(page), "exec"), names)
                except ModuleNotFoundError as error:
                    if str(error.name).partition(".")[0] not in OPTIONAL:
                        raise
        for thing in names.values():
            if isinstance(thing, llm_kit.LLMClient):
                thing.close()
        names.clear()
        gc.collect()  # now, while it is quiet, and not in the middle of another test


MODULES = [
    name
    for _, name, _ in pkgutil.walk_packages(llm_kit.__path__, "llm_kit.")
    if not name.endswith("__main__")
]


@pytest.mark.parametrize("module", ["llm_kit", *MODULES])
def test_docstring_examples(module):
    failures, _ = doctest.testmod(importlib.import_module(module), optionflags=doctest.ELLIPSIS)
    assert failures == 0


def test_links_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
