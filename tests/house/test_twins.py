"""The sync and the async half of a pair are the same code: compared without async and await."""

import ast
import inspect
import textwrap

import pytest

from llm_kit._io import drive, http
from llm_kit.client import AsyncLLMClient, LLMClient

NAMES = {
    "__anext__": "__next__",
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "StopAsyncIteration": "StopIteration",
    "aclose": "close",
    "anext": "next",
    "arun": "run",
    "asettle": "settle",
}


class Plain(ast.NodeTransformer):
    """Takes async, await, docstrings, and the names of the async half away."""

    def visit_Await(self, node):
        return self.visit(node.value)

    def visit_AsyncFunctionDef(self, node):
        fields = {name: getattr(node, name) for name in node._fields}
        return self.visit_FunctionDef(ast.FunctionDef(**fields))

    def visit_FunctionDef(self, node):
        node.name = self.plain(node.name)
        if ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
        return self.generic_visit(node)

    def visit_AsyncFor(self, node):
        return self.generic_visit(ast.For(node.target, node.iter, node.body, node.orelse))

    def visit_AsyncWith(self, node):
        return self.generic_visit(ast.With(node.items, node.body))

    def visit_Name(self, node):
        node.id = self.plain(node.id)
        return node

    def visit_Attribute(self, node):
        node.attr = self.plain(node.attr)
        return self.generic_visit(node)

    @staticmethod
    def plain(name):
        return NAMES.get(name, name.replace("Async", ""))


def methods(thing):
    tree = ast.parse(inspect.getsource(thing)).body[0]
    body = tree.body if isinstance(tree, ast.ClassDef) else [tree]
    return {
        Plain.plain(node.name): ast.dump(Plain().visit(node))
        for node in body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


# A method may differ where the colours really do, each with its reason.
PAIRS = [
    # Garbage collection can't await, so the async half leaves the closing to its loop.
    (drive.Driver, drive.AsyncDriver, {"__del__"}),
    # The key of the async client may be awaited.
    (LLMClient, AsyncLLMClient, {"__init__", "chat_stream"}),
    # A blocked thread is woken by its socket or left behind, a task is simply cancelled: what
    # belongs to the former is the sync half's own.
    (
        http.ResponseSource,
        http.AsyncResponseSource,
        {"__init__", "begin", "read", "drain", "close"},
    ),
]


@pytest.mark.parametrize(
    ("sync", "asynchronous", "apart"), PAIRS, ids=lambda part: getattr(part, "__name__", "")
)
def test_twins_are_the_same_code(sync, asynchronous, apart):
    one, other = methods(sync), methods(asynchronous)
    assert one.keys() - apart == other.keys() - apart
    for name in one.keys() - apart:
        assert one[name] == other[name], f"{name} differs"


def test_the_comparison_sees_a_difference():
    def one(self):
        return self.read()

    async def other(self):
        return await self.drain()

    source = [ast.parse(textwrap.dedent(inspect.getsource(each))).body[0] for each in (one, other)]
    dumps = [ast.dump(Plain().visit(tree)).replace("other", "one") for tree in source]
    assert dumps[0] != dumps[1]
    assert dumps[0] == dumps[1].replace("drain", "read")
