"""Incomplete JSON: every cut of a document ends as json.loads, every beginning has its value."""

from __future__ import annotations

import json
import re
import sys
import tracemalloc
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from llm_kit.partial_json import PartialJSON

ABSENT = object()


def fed(*pieces: str, reading: bool = False) -> PartialJSON:
    partial = PartialJSON()
    for piece in pieces:
        partial.feed(piece)
        if reading:
            _ = partial.value
    return partial


def outcome(partial: PartialJSON) -> tuple[str, bool, str | None]:
    # repr tells 1 from 1.0 and True, sees the order of keys, and makes NaN equal to itself.
    return repr(partial.value), partial.complete, partial.error


def cut(text: str, places: list[int]) -> list[str]:
    edges = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    return [text[a:b] for a, b in pairwise(edges)]


def loaded(text: str) -> Any:
    try:
        return json.loads(text, strict=False)
    except ValueError:
        return ABSENT


def closers(text: str) -> str:
    """What closes the strings, lists and objects that are open at the end of ``text``."""
    stack, quoted, escaped = "", False, False
    for char in text:
        if escaped:
            escaped = False
        elif quoted:
            escaped = char == "\\"
            quoted = char != '"'
        elif char == '"':
            quoted = True
        elif char in "[{":
            stack = "]}"["[{".index(char)] + stack
        elif char in "]}":
            stack = stack[1:]
    return '"' * quoted + stack


def best(prefix: str) -> Any:
    """The value by trial: the longest beginning that json.loads takes once it is closed."""
    for end in range(len(prefix), 0, -1):
        text = prefix[:end]
        waits_for_its_pair = re.search(r"(?<!\\)(\\\\)*\\u[Dd][89ABab]..$", text)
        value = loaded(text + closers(text))
        if value is not ABSENT and not waits_for_its_pair:
            return value
    return None


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=5)
    ),
    max_leaves=15,
)
documents = st.builds(
    lambda value, ascii_only, indent: json.dumps(value, ensure_ascii=ascii_only, indent=indent),
    values,
    st.booleans(),
    st.sampled_from([None, 1]),
)
FRAGMENTS = [
    *("{", "}", "[", "]", ",", ":", " ", "\n", "\x01", "x", "\ufeff", '"', '"a"', '"a":', "[]"),
    *("0", "1", "12", "-", "+", ".", "e", "E5", "01", "1.5", "1e400", "true", "tru", "false"),
    *("null", "NaN", "Infinity", "-Infinity", "-I", "\\", "\\n", "\\u00e9", "\\u12", "\\x"),
    *("\\ud83d", "\\ude00", "\\u0_12", '"\\ud83d\\ude00"', "é", "😀"),
]
noise = st.lists(st.sampled_from(FRAGMENTS), max_size=12).map("".join)
cuts = st.lists(st.integers(0, 500), max_size=10)


@settings(deadline=None, max_examples=300)
@given(documents, cuts)
@example('{"a": 1, "b": 2, "a": [1e2, -0, -0.0, 1E-7]}', [])
@example('"\\ud83d\\ude00 \\ud83d \\ude00 \\ud83dx \\ud83d\\u00e9\\ud83d\\ud83d\\ude00"', [7, 9])
@example('[NaN, -Infinity, Infinity, "\\"\\\\\\/\\b\\f\\n\\r\\t\\u0000"]', [7, 8])
@example("\t\r\n {} \n", [])
def test_every_cut_of_a_document_ends_as_json_loads(document: str, places: list[int]) -> None:
    wanted = repr(json.loads(document)), True, None
    for pieces in ([document], cut(document, places), list(document)):
        for reading in (False, True):
            # The white space ends a number that is the whole document.
            assert outcome(fed(*pieces, " ", reading=reading)) == wanted


@settings(deadline=None, max_examples=200)
@given(documents)
def test_every_prefix_has_the_best_value_so_far(document: str) -> None:
    partial = PartialJSON()
    for place, char in enumerate(document):
        partial.feed(char)
        assert repr(partial.value) == repr(best(document[: place + 1])), document[: place + 1]


@settings(deadline=None, max_examples=1000)
@given(documents, st.integers(0, 500), st.integers(0, 3), noise, cuts)
@example("[1]", 2, 0, "1.", [])
@example("", 0, 0, "", [])
def test_it_takes_what_json_loads_takes_and_no_more(
    document: str, place: int, left_out: int, inserted: str, places: list[int]
) -> None:
    place %= len(document) + 1
    text = document[:place] + inserted + document[place + left_out :] + " "
    whole = fed(text)
    value = loaded(text)
    assert whole.complete == (value is not ABSENT)
    if whole.complete:
        assert repr(whole.value) == repr(value)
    for pieces in (cut(text, places), list(text)):
        for reading in (False, True):
            assert outcome(fed(*pieces, reading=reading)) == outcome(whole)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        pytest.param("", None, id="nothing"),
        pytest.param(' {"a', {}, id="half a key"),
        pytest.param('{"a": 1, "b"', {"a": 1}, id="a key without value"),
        pytest.param('{"a": ', {}, id="a key and a colon"),
        pytest.param('{"a": "', {"a": ""}, id="a string just opened"),
        pytest.param('{"a": "x', {"a": "x"}, id="an open string"),
        pytest.param('["x\\', ["x"], id="half an escape"),
        pytest.param('["x\\u00e', ["x"], id="half a unicode escape"),
        pytest.param('["x\\ud83d', ["x"], id="a high surrogate waits"),
        pytest.param('["x\\ud83d\\ude0', ["x"], id="with half of its pair"),
        pytest.param('["x\\ud83dy', ["x\ud83dy"], id="until there is none"),
        pytest.param("[1, tru", [1], id="half a word"),
        pytest.param("[true", [True], id="a word"),
        pytest.param("[1, -", [1], id="a lone minus"),
        pytest.param("[-I", [], id="half a negative infinity"),
        pytest.param("[12", [12], id="the digits so far"),
        pytest.param("[1.", [1], id="a point without digits"),
        pytest.param("[1.5e+", [1.5], id="an exponent without digits"),
        pytest.param('[{"a": [[', [{"a": [[]]}], id="open lists and objects"),
        pytest.param('{"a": 1, "a": "x', {"a": "x"}, id="of equal keys the last"),
        pytest.param('{"a": 1, "a": nul', {"a": 1}, id="the first until the last has a value"),
        pytest.param('["a\nb\x00', ["a\nb\x00"], id="raw control characters"),
        pytest.param("[" + "7" * 5000, [int("7" * 100)], id="of a huge number the beginning"),
        pytest.param('"x', "x", id="a string alone"),
        pytest.param("1", 1, id="a number alone"),
    ],
)
def test_what_a_beginning_is_worth(text: str, value: Any) -> None:
    for pieces in ([text], list(text)):
        partial = fed(*pieces, reading=True)
        assert (partial.value, partial.complete, partial.error) == (value, False, None)


@pytest.mark.parametrize(
    ("text", "complete"),
    [
        pytest.param("12", False, id="a number may grow"),
        pytest.param("12 ", True, id="until white space ends it"),
        pytest.param("null", True, id="a word cannot"),
        pytest.param('"x"', True, id="nor a string"),
        pytest.param("[1]\n", True, id="nor a list"),
        pytest.param("{} {}", False, id="two values are not one"),
        pytest.param("  ", False, id="none is not one either"),
    ],
)
def test_complete_is_exactly_one_whole_value(text: str, complete: bool) -> None:
    assert fed(text).complete is complete


@pytest.mark.parametrize(
    ("text", "error", "value"),
    [
        ("Sure! {}", "a value at character 0", None),
        ("[1, 2,]", "a value at character 6", [1, 2]),
        ("[,", "a value or ']' at character 1", []),
        ("[1 2", "',' or the end of this list or object at character 3", [1]),
        ("[1}", "',' or the end of this list or object at character 2", [1]),
        ("{1", "a key or '}' at character 1", {}),
        ('{"a": 1, }', "a key at character 9", {"a": 1}),
        ('{"a" 1', "':' at character 5", {}),
        ("{} x", "nothing more at character 3", {}),
        ("trux", "a value at character 0", None),
        ("[01", None, [0]),
        ("[01]", "',' or the end of this list or object at character 2", [0]),
        ("[1.5.5]", "',' or the end of this list or object at character 4", [1.5]),
        ("[-]", "a value at character 1", []),
        ('["ab\\x', "an escape at character 4", ["ab"]),
        ('["ab\\u00gg', "an escape at character 4", ["ab"]),
        ("[" + "1" * 5000 + "]", "a number with fewer digits at character 1", [int("1" * 100)]),
    ],
)
def test_the_first_thing_that_is_not_json_is_named(
    text: str, error: str | None, value: Any
) -> None:
    for pieces in ([text], list(text)):
        partial = fed(*pieces)
        assert partial.error == (error and f"expected {error}")
        if error:
            partial.feed(', "more"]')
        assert partial.value == value
        assert not partial.complete


def test_the_value_is_one_live_object() -> None:
    partial = fed('{"a": ["x')
    value = partial.value
    partial.feed('y", "z"]}')
    assert partial.value is value
    assert value == {"a": ["xy", "z"]}


def test_depth_does_not_recurse() -> None:
    depth = 100_000
    partial = fed("[" * depth)
    value, seen = partial.value, 1
    while value:
        value, seen = value[0], seen + 1
    assert seen == depth
    partial.feed("]" * depth)
    assert partial.complete


class Counting(PartialJSON):
    """Count the machine's steps, and the characters that a step has in hand."""

    steps = 0
    characters = 0

    def _count(self, text: str, at: int) -> None:
        self.steps += 1
        self.characters += len(text) - at

    def _string(self, text: str, at: int) -> int:
        self._count(text, at)
        return super()._string(text, at)

    def _number(self, text: str, at: int) -> int:
        self._count(text, at)
        return super()._number(text, at)

    def _bracket_or_value(self, text: str, at: int) -> int:
        self._count(text, at)
        return super()._bracket_or_value(text, at)


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda n: json.dumps([{"id": i, "ok": True} for i in range(n)]), id="records"),
        pytest.param(lambda n: json.dumps({f"k{i}": "é\n" for i in range(n)}), id="long object"),
        pytest.param(lambda n: '"' + "\\ud83d\\ude00" * n + '"', id="escapes"),
        pytest.param(lambda n: "[0." + "1" * n + "]", id="a long number"),
    ],
)
def test_the_work_grows_with_the_text_and_no_faster(make: Any) -> None:
    work = []
    for size in (500, 5000):
        text = make(size)
        partial = Counting()
        for at in range(0, len(text), 4):
            partial.feed(text[at : at + 4])
            _ = partial.value
        assert partial.complete
        work.append((partial.steps / len(text), partial.characters / len(text)))
    assert work[1] == pytest.approx(work[0], rel=0.1)


def test_an_open_string_is_joined_when_it_is_read() -> None:
    partial = fed('"', *["word"] * 1000)
    assert len(partial._parts) == 1000
    assert partial.value == "word" * 1000
    assert partial._parts == []


@pytest.mark.skipif(
    sys.implementation.name != "cpython" or sys.gettrace() is not None,
    reason="only an undisturbed CPython adds to a string in its place",
)
@pytest.mark.parametrize("before", ['"', '["', '{"a": "', '{"a": 1, "a": "'])
def test_an_open_string_is_not_copied_when_it_is_read(before: str) -> None:
    size = 1_000_000
    tracemalloc.start()
    try:
        partial = fed(before, "x" * size, *["more"] * 100, reading=True)
        tracemalloc.reset_peak()
        partial.feed("more")
        _ = partial.value
        assert tracemalloc.get_traced_memory()[1] < 1.5 * size
    finally:
        tracemalloc.stop()


def test_a_string_that_a_reader_keeps_stays_as_it_was() -> None:
    partial = fed('["', "Par", reading=True)
    kept = partial.value[0]
    for piece in ("is", " and", " ", "more", '"'):
        partial.feed(piece)
        _ = partial.value
    assert (kept, partial.value) == ("Par", ["Paris and more"])
