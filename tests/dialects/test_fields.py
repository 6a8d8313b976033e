"""Fields of strangers' objects: read with their type, or refused by name."""

from datetime import UTC, datetime
from types import MappingProxyType

import pytest

from llm_kit import Chunk, StreamProtocolError, ToolCallDelta, Usage
from llm_kit.dialects.fields import (
    add_extra,
    append_extra,
    as_arguments,
    as_finish_reason,
    as_label,
    as_object,
    as_objects,
    as_seconds,
    as_text,
    as_whole,
    as_word,
    count_in,
    rest_of,
    says_something,
)

NOON = 1785837600


@pytest.mark.parametrize(
    ("read", "value", "given"),
    [
        (as_text, "a", "a"),
        (as_text, "", ""),
        (as_text, None, ""),
        (as_label, "a", "a"),
        (as_label, "", ""),
        (as_label, None, None),
        (as_object, {}, {}),
        (as_objects, None, []),
        (as_objects, "", []),
        (as_objects, {}, []),
        (as_objects, [{"a": 1}], [{"a": 1}]),
        (as_arguments, None, ""),
        (as_arguments, '{"a"', '{"a"'),
        (as_arguments, {"é": [None]}, '{"é": [null]}'),
        (as_finish_reason, "end_turn", "stop"),
        (as_finish_reason, "of tomorrow", "of tomorrow"),
        (as_finish_reason, "null", None),
    ],
)
def test_what_has_its_type_is_given(read, value, given):
    assert read("field", value) == given


def test_any_mapping_is_an_object():
    fields = MappingProxyType({"a": 1})
    assert as_object("field", fields) is fields
    assert as_arguments("field", fields.copy()) == '{"a": 1}'


@pytest.mark.parametrize(
    ("read", "value", "words"),
    [
        (as_text, 5, "`field` is a int where a string"),
        (as_text, {}, "`field` is a dict where a string"),
        (as_label, ["a"], "`field` is a list where a string"),
        (as_object, None, "`field` is a NoneType where an object"),
        (as_object, [], "`field` is a list where an object"),
        (as_objects, {"a": 1}, "`field` is a dict where a list"),
        (as_objects, [{}, "a"], r"`field\[1\]` is a str where an object"),
        (as_arguments, [1], "`field` is a list where a string"),
        (as_finish_reason, None, "`field` is a NoneType where a string"),
        (as_finish_reason, {"a": 1}, "`field` is a dict where a string"),
    ],
)
def test_what_has_another_type_is_named(read, value, words):
    with pytest.raises(StreamProtocolError, match=words):
        read("field", value)


@pytest.mark.parametrize(
    ("value", "word"), [("a", "a"), ("", None), (None, None), (5, None), (["a"], None)]
)
def test_a_word_is_absent_where_it_is_none(value, word):
    assert as_word(value) == word


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (0, 0),
        (12, 12),
        (12.0, 12),
        (12.5, None),
        (float("nan"), None),
        (float("inf"), None),
        (True, None),
        ("12", None),
        (None, None),
    ],
)
def test_a_number_is_whole_or_absent(value, number):
    assert as_whole(value) == number
    assert type(as_whole(value)) is type(number)
    assert count_in({"n": value}, "n") == number


@pytest.mark.parametrize("fields", [None, {}, "n", ["n"]])
def test_where_there_are_no_fields_nothing_is_counted(fields):
    assert count_in(fields, "n") is None


@pytest.mark.parametrize(
    ("moment", "seconds"),
    [
        ("2026-08-04T10:00:00Z", NOON),
        ("2026-08-04T12:00:00.123456789+02:00", NOON),
        (datetime(2026, 8, 4, 10, tzinfo=UTC), NOON),
        (NOON, NOON),
        ("2026-08-04T10:00:00", None),
        (datetime(2026, 8, 4, 10), None),
        ("noon", None),
        (None, None),
        (1.5, None),
        (True, None),
    ],
)
def test_a_moment_is_in_seconds_since_the_epoch(moment, seconds):
    assert as_seconds(moment) == seconds


def test_the_rest_is_what_is_unknown_and_says_something():
    fields = {"a": 1, "b": None, "c": "", "d": [], "e": {}, "f": 0, "g": False, "h": "x"}
    assert rest_of(fields, {"a", "z"}) == {"f": 0, "g": False, "h": "x"}
    assert rest_of(fields, fields.keys()) == {}


@pytest.mark.parametrize(
    "fields",
    [
        {"delta": " "},
        {"reasoning": "a"},
        {"refusal": "a"},
        {"tool_calls": (ToolCallDelta(),)},
        {"extra": {"a": None}},
        {"role": "assistant"},
        {"finish_reason": ""},
        {"usage": Usage()},
        {"logprobs": {}},
    ],
)
def test_any_of_these_says_something(fields):
    assert says_something(Chunk(**fields)) is True


@pytest.mark.parametrize(
    "fields",
    [{}, {"extra": {}}, {"id": "a", "model": "m", "created": 1, "raw": {"a": 1}, "index": 2}],
)
def test_labels_alone_say_nothing(fields):
    assert says_something(Chunk(**fields)) is False


def test_what_is_added_stands_beside_what_is_there():
    chunk, given = Chunk(), {"a": 1}
    add_extra(chunk, {})
    assert chunk.extra is None
    add_extra(chunk, given)
    add_extra(chunk, {"b": 2})
    append_extra(chunk, "c", {"x": 1})
    append_extra(chunk, "c", {"y": 2})
    assert chunk.extra == {"a": 1, "b": 2, "c": [{"x": 1}, {"y": 2}]}
    assert given == {"a": 1}
