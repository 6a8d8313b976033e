"""What users may rely on: the public names, their docstrings, and an import without effects."""

import ast
import inspect
import pathlib
import re
import subprocess
import sys
from importlib import import_module

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


def test_the_door_leads_where_type_checkers_think():
    """The imports that only they see, and the table by which names are found."""
    block = next(
        node for node in ast.parse(inspect.getsource(llm_kit)).body if type(node) is ast.If
    )
    seen = {alias.name: node.module for node in block.body for alias in node.names}
    assert seen == llm_kit._HOMES
    assert sorted(seen) == PUBLIC
    assert set(PUBLIC) <= set(dir(llm_kit))
    for name, home in seen.items():
        assert getattr(llm_kit, name) is getattr(import_module(home), name)


def test_a_name_that_is_not_there():
    with pytest.raises(AttributeError, match=r"^module 'llm_kit' has no attribute 'LLMCleint'$"):
        _ = llm_kit.LLMCleint
    with pytest.raises(ImportError, match="cannot import name 'LLMCleint' from 'llm_kit'"):
        exec("from llm_kit import LLMCleint")


def in_a_new_process(code):
    """Run a program, and give what it printed; it may not warn."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return done.stdout


def test_what_is_no_name_is_no_attribute():
    with pytest.raises(AttributeError, match=r"has no attribute 'types\.Chunk'$"):
        getattr(llm_kit, "types.Chunk")


def test_no_module_of_ours_goes_through_the_front_door():
    """It has a lock: with a module's own, taken the other way round, two threads would hang."""
    for path in pathlib.Path(llm_kit.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module == "llm_kit":
                assert [alias.name for alias in node.names] == ["__version__"], path


def test_a_package_s_modules_are_its_attributes():
    assert in_a_new_process("import llm_kit; print(llm_kit.errors.StreamError is not None)")


def test_two_threads_at_the_door():
    """One is at a package when the other comes to a part of it: they would block each other."""
    code = """if True:
        import sys, threading, llm_kit

        class Meanwhile:
            def find_spec(self, name, path, target=None):
                if name == "llm_kit.dialects":
                    other.start()
                    other.join(0.1)

        other = threading.Thread(target=lambda: llm_kit.Dialect)
        sys.meta_path.insert(0, Meanwhile())
        llm_kit.register_adapter
        other.join()
    """
    assert in_a_new_process(code) == ""


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
        import sys, threading
        from llm_kit import *
        heavy = {"openai", "anthropic", "pydantic", "rich", "llm_kit.testing"}
        print(sorted(heavy & set(sys.modules)), threading.active_count())
    """
    assert in_a_new_process(code) == "[] 1\n"


def test_what_few_need_is_imported_when_it_is_needed():
    """What a retry takes, and the dialects that are not spoken."""
    code = """if True:
        import sys
        from llm_kit import LLMClient, StreamCollector, normalize
        LLMClient("http://127.0.0.1:1", dialect="ollama").close()
        said = {"model": "m", "message": {"role": "assistant", "content": "Hi"}, "done": True}
        print(StreamCollector.to_string(normalize([said | {"done_reason": "stop"}], "ollama")))
        rare = {"tenacity", "llm_kit.dialects.gemini", "llm_kit.dialects.cohere"}
        print(sorted(rare & set(sys.modules)))
    """
    assert in_a_new_process(code) == "Hi\n[]\n"


def test_what_a_retry_takes_is_there_before_the_first_failure():
    """That may be one for lack of open files: then nothing can be imported any more."""
    code = """if True:
        import sys
        from llm_kit import LLMClient
        stream = LLMClient("http://127.0.0.1:1").chat_stream([{"role": "user", "content": "x"}])
        print("tenacity" in sys.modules)
    """
    assert in_a_new_process(code) == "True\n"


def test_every_public_class_hides_nothing_in_its_repr():
    client = llm_kit.LLMClient("http://user:pass@127.0.0.1:1/v1?sig=abc", "sk-very-secret")
    assert re.fullmatch(r"LLMClient\(base_url='http://127.0.0.1:1/v1', model=None\)", repr(client))
    client.close()
