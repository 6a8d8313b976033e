"""Arguments of Gemini's calls that come as values with their paths."""

import json

import pytest

from llm_kit import StreamProtocolError
from llm_kit.dialects.gemini_arguments import StreamedCall


def piece(path, value=None, **more):
    kind = {str: "stringValue", bool: "boolValue", float: "numberValue", int: "numberValue"}
    said = {kind[type(value)]: value} if value is not None else {"nullValue": None}
    return {"jsonPath": path, **said, **more}


def written(*pieces):
    """The arguments that these pieces add up to, one after the other."""
    call = StreamedCall(0, None, "f")
    return "".join(call.arguments({}, [one]) for one in pieces) + call.close()


def test_values_of_any_form_are_written_as_json():
    arguments = {
        "a": {"b": [1, {"c": None}, [True, "x"]], "d e": "y"},
        "f": 0.5,
        "it's": {"g": "z"},
    }
    text = written(
        piece("$.a.b[0]", 1),
        piece("$.a.b[1].c"),
        piece("$.a.b[2][0]", True),
        piece("$.a.b[2][1]", "x"),
        piece("$.a['d e']", "y"),
        piece("$.f", 0.5),
        piece(r"$['it\'s'].g", willContinue=True, value=""),
        piece(r"$['it\'s'].g", "z", willContinue=True),
    )
    assert text == json.dumps(arguments)


def test_several_pieces_may_come_at_once():
    call = StreamedCall(0, "1", "f")
    assert call.arguments({}, [piece("$.a", 1), piece("$.b", 'é "')]) == '{"a": 1, "b": "é \\""'
    assert call.close() == "}"


def test_a_string_may_begin_without_a_value_and_end_so():
    start = {"jsonPath": '$["a b"]', "willContinue": True}
    more = piece('$["a b"]', "x", willContinue=True)
    assert written(start, more, {"jsonPath": '$["a b"]'}) == '{"a b": "x"}'


def test_a_string_that_was_left_open_ends_before_the_next_value():
    assert written(piece("$.a", "x", willContinue=True), piece("$.b", 2)) == '{"a": "x", "b": 2}'


def test_arguments_may_come_as_a_whole_or_not_at_all():
    assert written() == "{}"
    call = StreamedCall(0, None, "f")
    assert call.arguments({"a": "é"}, []) + call.close() == '{"a": "é"}'


def test_a_whole_that_comes_again_is_not_written_again():
    call = StreamedCall(0, None, "f")
    texts = [call.arguments({"a": 1}, []), call.arguments({"a": 1}, []), call.close()]
    assert texts == ['{"a": 1}', "", ""]
    call = StreamedCall(0, None, "f")
    texts = [call.arguments({}, [piece("$.a", 1)]), call.arguments({"a": 1}, []), call.close()]
    assert texts == ['{"a": 1', "", "}"]


@pytest.mark.parametrize(
    ("ident", "name", "answer"),
    [
        (None, None, True),
        ("1", None, True),
        ("1", "f", True),
        (None, "f", True),
        ("2", None, False),
        ("1", "g", False),
        (None, "g", False),
    ],
)
def test_a_piece_belongs_to_the_call_that_it_does_not_contradict(ident, name, answer):
    assert StreamedCall(0, "1", "f").goes_on(ident, name) is answer


@pytest.mark.parametrize(
    "paths",
    [
        ["$.a", "$.a"],
        ["$.a", "$.a.b"],
        ["$.a.b", "$.a"],
        ["$.a", "$.b", "$.a"],
        ["$.a[0]", "$.b", "$.a[1]"],
        ["$.a[1]"],
        ["$.a[0]", "$.a[2]"],
        ["$.a[0]", "$.a.b"],
    ],
)
def test_values_that_go_back_are_an_error(paths):
    with pytest.raises(StreamProtocolError, match="come back to"):
        written(*(piece(path, 1) for path in paths))


@pytest.mark.parametrize("path", ["", "$", "a", "$.", "$..a", "$.*", "$[a]", "$[-1]", "x.a"])
def test_a_path_that_names_no_argument_is_an_error(path):
    with pytest.raises(StreamProtocolError, match="is no path to one argument"):
        written(piece(path, 1))


@pytest.mark.parametrize(
    ("one", "where"),
    [
        ({}, "jsonPath"),
        ({"jsonPath": 1}, "jsonPath"),
        ({"jsonPath": "$.a", "stringValue": 1}, "stringValue"),
    ],
)
def test_a_field_of_an_impossible_type_is_named(one, where):
    with pytest.raises(StreamProtocolError, match=rf"`partialArgs\[\]\.{where}` is a "):
        written(one)
