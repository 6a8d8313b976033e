"""Users can look up every quirk: the table in the docs has those of the source, and no others."""

import ast
import pathlib
import re

import llm_kit

PACKAGE = pathlib.Path(llm_kit.__file__).parent
PAGE = PACKAGE.parent / "docs" / "wrapping.md"


def named_in(source):
    """Give a pattern for each name that is put into a set of quirks."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = node.func.value
            of = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
            if node.func.attr == "add" and of.lstrip("_") == "quirks":
                yield from patterns_of(node.args[0])


def patterns_of(name):
    if isinstance(name, ast.IfExp):
        yield from patterns_of(name.body)
        yield from patterns_of(name.orelse)
    elif isinstance(name, ast.JoinedStr):
        parts = (part.value if isinstance(part, ast.Constant) else None for part in name.values)
        yield "".join(".+" if part is None else re.escape(part) for part in parts)
    else:
        assert isinstance(name, ast.Constant), f"a quirk whose name can't be read: {ast.dump(name)}"
        yield re.escape(name.value)


def test_the_names_are_found_in_a_source():
    source = 'self._quirks.add("a" if x else "b"); d.quirks.add(f"{y}_c"); seen.add("d")'
    assert list(named_in(source)) == ["a", "b", ".+_c"]


def test_the_table_of_quirks_is_complete():
    section = PAGE.read_text("utf-8").partition("\n## Quirks\n")[2]
    table = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    assert table == sorted(set(table))
    sources = (path.read_text("utf-8") for path in PACKAGE.rglob("*.py"))
    patterns = {pattern for source in sources for pattern in named_in(source)}
    unknown = [one for one in patterns if not any(re.fullmatch(one, name) for name in table)]
    assert not unknown, f"not in the table of {PAGE.name}: {unknown}"
    stale = [name for name in table if not any(re.fullmatch(one, name) for one in patterns)]
    assert not stale, f"in the table of {PAGE.name}, but nowhere in the source: {stale}"
