"""What users may rely on: the public names, their docstrings, and an import without effects."""

import inspect
import re
import subprocess
import sys

import pytest

import llm_kit
import llm_kit.client

PUBLIC = [
    "APIConnectionError", "APIStatusError", "AsyncChatStream", "AsyncLLMClient", "Chat",
    "ChatDialect", "ChatStream", "ChoiceResult", "Chunk", "Deadlines", "Dialect", "FunctionCall",
    "LLMClient", "LLMKitError", "Limits", "Message", "Recovery", "ResponseInfo", "RetryPolicy",
    "StreamAPIError", "StreamCollector", "StreamError", "StreamInterrupted", "StreamInterrupter",
    "StreamProcessor", "StreamProtocolError", "StreamResult", "StreamTimeoutError",
    "StreamTruncatedError", "Timing", "ToolCall", "ToolCallDelta", "Usage", "normalize",
    "register_adapter", "split_thinking",
]  # fmt: skip


def test_public_names():
    assert sorted(llm_kit.__all__) == PUBLIC
    assert all(hasattr(llm_kit, name) for name in PUBLIC)


def test_names_that_documents_import_from_client():
    names = {
        "LLMClient",
        "AsyncLLMClient",
        "StreamProcessor",
        "StreamCollector",
        "StreamInterrupter",
    }
    assert names <= set(llm_kit.client.__all__)


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names_are_documented(name):
    thing = getattr(llm_kit, name)
    assert inspect.getdoc(thing)
    if inspect.isclass(thing) and not issubclass(thing, dict):
        for member, value in vars(thing).items():
            if not member.startswith("_") and (
                inspect.isfunction(value) or isinstance(value, property)
            ):
                assert inspect.getdoc(value), f"{name}.{member}"


def test_version_is_the_package_s():
    with open("pyproject.toml", encoding="utf-8") as file:
        assert f'version = "{llm_kit.__version__}"' in file.read()


def test_importing_does_nothing_but_import():
    """No SDK is loaded, no thread started, nothing printed, no loop or socket made."""
    code = """if True:
        import sys, threading, warnings
        warnings.simplefilter("error")
        import llm_kit
        heavy = {"openai", "anthropic", "pydantic", "rich", "llm_kit.testing"}
        print(sorted(heavy & set(sys.modules)), threading.active_count())
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("[] 1\n", "")


def test_every_public_class_hides_nothing_in_its_repr():
    client = llm_kit.LLMClient("http://user:pass@127.0.0.1:1/v1?sig=abc", "sk-very-secret")
    assert re.fullmatch(r"LLMClient\(base_url='http://127.0.0.1:1/v1', model=None\)", repr(client))
    client.close()
