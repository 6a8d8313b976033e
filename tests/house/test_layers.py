"""Imports only point down, and each floor keeps to its trade: parsed from the source."""

import ast
import pathlib
import sys

import pytest

import llm_kit

PACKAGE = pathlib.Path(llm_kit.__file__).parent
FLOORS = {
    "llm_kit.errors": 0,
    "llm_kit.types": 0,
    "llm_kit.policies": 0,
    "llm_kit.sse": 1,
    "llm_kit.json_texts": 1,
    "llm_kit.partial_json": 1,
    "llm_kit.wire": 1,
    "llm_kit.dialects": 1,
    "llm_kit.adapters": 1,
    "llm_kit._core": 2,
    "llm_kit._io": 3,
    "llm_kit.streams": 4,
    "llm_kit.client": 5,
    "llm_kit.settings": 5,
    "llm_kit": 5,
    "llm_kit.testing": 6,
    "llm_kit.cli": 6,
}
# What a floor may import from outside, beside the harmless rest of the standard library.
OUTSIDE = {
    0: {"attrs"},
    1: {"attrs", "msgspec"},
    2: {"attrs", "tenacity"},
    3: {"attrs", "httpx"},
    4: {"attrs"},
    5: {"attrs"},
    6: {"attrs"},
}
WAITING = {
    "asyncio", "concurrent", "multiprocessing", "queue", "sched", "select", "selectors",
    "signal", "socket", "ssl", "subprocess", "threading", "time",
}  # fmt: skip
# Floor 4 wraps streams: it needs a lock, a signal handler and the clock, but never a wait.
ALLOWED_WAITING = {4: {"signal", "threading", "time"}}
MODULES = sorted(
    ".".join(("llm_kit", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(
        ".__init__"
    )
    for path in PACKAGE.rglob("*.py")
)


def source_of(module):
    path = PACKAGE.joinpath(*module.split(".")[1:])
    return ast.parse(
        (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text("utf-8")
    )


def room_of(module):
    parts = module.split(".")
    return max(
        (room for room in FLOORS if parts[: len(room.split("."))] == room.split(".")), key=len
    )


def imports_of(tree):
    """Every module that is imported, but for those only type checkers see."""
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module


def test_every_module_has_a_floor():
    assert [module for module in MODULES if room_of(module) == "llm_kit"] == ["llm_kit"]


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module):
    floor, room = FLOORS[room_of(module)], room_of(module)
    for imported in imports_of(source_of(module)):
        if imported.startswith("llm_kit"):
            target = room_of(imported)
            allowed = FLOORS[target] < floor or target == room
            same_floor = FLOORS[target] == floor and floor in (0, 1, 5)
            tool = (room, target) == ("llm_kit.cli", "llm_kit.testing")
            assert allowed or same_floor or tool, f"{module} imports {imported}: that is up"
            continue
        top = imported.split(".")[0]
        if top in sys.stdlib_module_names:
            if floor <= 2 or floor == 4:
                forbidden = WAITING - ALLOWED_WAITING.get(floor, set())
                assert top not in forbidden, f"{module} imports {top}: floor {floor} never waits"
        else:
            assert top in OUTSIDE[floor], f"{module} imports {top}"


@pytest.mark.parametrize(
    ("package", "home"), [("httpx", "llm_kit._io.http"), ("msgspec", "llm_kit.json_texts")]
)
def test_one_file_names_a_package(package, home):
    names = {
        module: {each.split(".")[0] for each in imports_of(source_of(module))} for module in MODULES
    }
    assert [module for module in MODULES if package in names[module]] == [home]


@pytest.mark.parametrize("module", [name for name in MODULES if FLOORS[room_of(name)] <= 2])
def test_lower_floors_are_not_async(module):
    for node in ast.walk(source_of(module)):
        assert not isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith)
