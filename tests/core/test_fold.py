"""Merging of fields that nobody knew beforehand."""

from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_kit._core.fold import behind, fold, unfold


def folded(*values):
    node = None
    for value in values:
        node = fold(node, value)
    return unfold(node)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], None),
        ([None], None),
        (["a", "b"], "ab"),
        ([1, 2], 2),
        ([1, None], 1),
        ([True, False], False),
        ([{"a": "x"}, {"a": "y"}], {"a": "xy"}),
        ([{"a": 1}, {"b": 2}], {"a": 1, "b": 2}),
        ([{"a": {"b": "x"}}, {"a": {"b": "y"}}], {"a": {"b": "xy"}}),
        ([MappingProxyType({"a": "x"}), {"a": "y"}], {"a": "xy"}),
        ([[1], [2, 3]], [1, 2, 3]),
        ([["a"], ["b"]], ["a", "b"]),
        (
            [[{"index": 1, "t": "x"}], [{"index": 0, "t": "z"}], [{"index": 1, "t": "y"}]],
            [{"index": 1, "t": "xy"}, {"index": 0, "t": "z"}],
        ),
        ([[{"t": "x"}], [{"t": "y"}]], [{"t": "x"}, {"t": "y"}]),
        (
            [[{"index": "0", "t": "x"}], [{"index": "0", "t": "y"}]],
            [{"index": "0", "t": "x"}] * 1 + [{"index": "0", "t": "y"}],
        ),
        ([[{"index": True}], [{"index": True}]], [{"index": True}, {"index": True}]),
        (
            [{"content": [{"token": "a"}]}, {"content": [{"token": "b"}]}],
            {"content": [{"token": "a"}, {"token": "b"}]},
        ),
        # A label names; it does not continue.
        ([{"type": "text", "id": "1"}, {"type": "text", "id": "1"}], {"type": "text", "id": "1"}),
        ([[{"index": 0, "type": "t"}], [{"index": 0, "type": "t"}]], [{"index": 0, "type": "t"}]),
        # A change of kind: the newer counts.
        (["a", {"b": 1}], {"b": 1}),
        ([{"a": 1}, "b"], "b"),
        ([["a"], "b"], "b"),
        (["a", ["b"]], ["b"]),
        (["a", 5], 5),
        ([5, "a"], "a"),
        (["a", None], "a"),
        ([{"a": "x"}, {"a": None}], {"a": "x"}),
        ([0.5, {"content": []}], {"content": []}),
    ],
)
def test_merging(values, expected):
    assert folded(*values) == expected


def test_what_is_given_is_free_to_change():
    node = fold(None, {"a": [{"b": "x"}]})
    first = unfold(node)
    first["a"][0]["b"] = "changed"
    first["a"].append(1)
    assert unfold(node) == {"a": [{"b": "x"}]}


def test_reading_in_the_middle_changes_nothing():
    node = fold(None, {"a": "x"})
    assert unfold(node) == {"a": "x"}
    assert unfold(fold(node, {"a": "y"})) == {"a": "xy"}


def test_what_was_fed_is_left_alone():
    value = {"a": [{"index": 0, "b": "x"}]}
    folded(value, value)
    assert value == {"a": [{"index": 0, "b": "x"}]}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "b", "index", "id"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.lists(JSON, max_size=5))
def test_any_values_can_be_merged(values):
    folded(*values)


@given(st.lists(st.text(max_size=5)))
def test_no_character_is_lost(texts):
    assert folded({"a": ""}, *({"a": text} for text in texts)) == {"a": "".join(texts)}


def sent_again(before, *later):
    """Give what an attempt's values and those of one behind it are folded to."""
    return folded(before, *(behind(before, value) for value in later))


def test_what_two_attempts_number_alike_stays_apart():
    first = {"details": [{"index": 0, "s": "a"}, {"index": 2, "s": "b"}, {"s": "c"}]}
    pieces = [{"details": [{"index": 0, "s": "d"}]}, {"details": [{"index": 0, "s": "e"}, 5]}]
    assert sent_again(first, *pieces) == {
        "details": [*first["details"], {"index": 3, "s": "de"}, 5],
    }
    assert pieces[0] == {"details": [{"index": 0, "s": "d"}]}  # it is somebody else's


@pytest.mark.parametrize("before", [None, {}, {"details": None}, {"details": [{"s": "c"}]}, []])
def test_numbers_stay_where_none_are_taken(before):
    later = {"details": [{"index": 0, "s": "d"}], "flag": True}
    assert behind(before, later) == later


@pytest.mark.parametrize("name", ["annotations", "citations", "search_results"])
def test_a_source_that_is_named_again_is_left_out(name):
    first = {"context": {name: ["u", {"url": "v"}]}}
    again = {"context": {name: [{"url": "v"}, "w", "u"]}}
    assert sent_again(first, again) == {"context": {name: ["u", {"url": "v"}, "w"]}}


def test_pieces_of_a_text_may_be_the_same():
    assert sent_again({"thoughts": [{"text": "ha"}]}, {"thoughts": [{"text": "ha"}]}) == {
        "thoughts": [{"text": "ha"}, {"text": "ha"}]
    }
