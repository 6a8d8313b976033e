"""Which piece belongs to which tool call."""

import pytest

from llm_kit import ToolCallDelta as Piece
from llm_kit._core.tool_calls import ToolCalls


def calls_of(*pieces):
    calls = ToolCalls()
    for piece in pieces:
        calls.add(piece)
    return calls


def told(calls):
    """Each call as its id, name and arguments."""
    return [(c["id"], c["function"]["name"], c["function"]["arguments"]) for c in calls.as_list()]


CASES = {
    "as OpenAI sends it": (
        [Piece(0, "a", "f"), Piece(0, arguments='{"x"'), Piece(0, arguments=":1}")],
        [("a", "f", '{"x":1}')],
    ),
    "two, interleaved": (
        [Piece(0, "a", "f"), Piece(1, "b", "g"), Piece(0, arguments="1"), Piece(1, arguments="2")],
        [("a", "f", "1"), ("b", "g", "2")],
    ),
    "the first index is 1": (
        [Piece(1, "a", "f", "{"), Piece(1, arguments="}")],
        [("a", "f", "{}")],
    ),
    "order of appearance, not of index": (
        [Piece(3, "a", "f"), Piece(0, "b", "g")],
        [("a", "f", ""), ("b", "g", "")],
    ),
    "index 0 for every call": (
        [Piece(0, "a", "f", "1"), Piece(0, "b", "g", "2"), Piece(0, arguments="3")],
        [("a", "f", "1"), ("b", "g", "23")],
    ),
    "id and name repeated": (
        [Piece(0, "a", "f", "{"), Piece(0, "a", "f", "}")],
        [("a", "f", "{}")],
    ),
    "another id without a name is the same call": (
        [Piece(0, "a", "f", "{"), Piece(0, "b", arguments="}")],
        [("a", "f", "{}")],
    ),
    "empty and null in later pieces": (
        [Piece(0, "a", "f"), Piece(0, "", "", "{"), Piece(0, None, None, "}")],
        [("a", "f", "{}")],
    ),
    "id after the name": (
        [Piece(0, "", "f"), Piece(0, "a", None, "{}")],
        [("a", "f", "{}")],
    ),
    "name after the arguments": (
        [Piece(0, "a", None, "{}"), Piece(0, None, "f")],
        [("a", "f", "{}")],
    ),
    "no index, by id": (
        [Piece(None, "a", "f", "1"), Piece(None, "b", "g", "2"), Piece(None, "a", None, "3")],
        [("a", "f", "13"), ("b", "g", "2")],
    ),
    "no index, no id in later pieces": (
        [Piece(None, "a", "f"), Piece(arguments="{"), Piece(arguments="}")],
        [("a", "f", "{}")],
    ),
    "no index and no id at all": (
        [Piece(None, None, "f", "1"), Piece(None, None, "f", "2")],
        [(None, "f", "1"), (None, "f", "2")],
    ),
    "no index and no id, name repeated before arguments": (
        [Piece(None, None, "f"), Piece(None, None, "f", "1")],
        [(None, "f", "1")],
    ),
    "nothing but arguments": ([Piece(arguments="{}")], [(None, "", "{}")]),
    "an empty id stays": ([Piece(0, "", "f", "{}")], [("", "f", "{}")]),
    "nothing": ([], []),
}


@pytest.mark.parametrize(("pieces", "expected"), CASES.values(), ids=CASES)
def test_pieces_find_their_call(pieces, expected):
    assert told(calls_of(*pieces)) == expected


def test_a_call_in_the_form_of_the_api():
    assert calls_of(Piece(0, "a", "f", "{}")).as_list() == [
        {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    ]


def test_fields_of_a_provider_stay_on_their_call():
    signature = {"extra_content": {"google": {"thought_signature": "s"}}}
    calls = calls_of(Piece(0, "a", "f", extra=signature), Piece(1, "b", "g"))
    assert [call.get("extra_content") for call in calls.as_list()] == [
        signature["extra_content"],
        None,
    ]


def test_what_was_given_does_not_grow():
    calls = calls_of(Piece(0, "a", "f", "{"), Piece(0, arguments='"x"'))
    before = calls.as_list()
    calls.add(Piece(0, arguments=": 1}"))
    assert before[0]["function"]["arguments"] == '{"x"'
    assert told(calls) == [("a", "f", '{"x": 1}')]


def test_arguments_while_they_are_written():
    calls = calls_of(Piece(0, "a", "f", '{"city": "Pa'), Piece(1, "b", "g"))
    assert calls.partial_arguments(0) == {"city": "Pa"}
    calls.add(Piece(0, arguments='ris", "n'))
    calls.add(Piece(0, arguments='": 1'))
    assert calls.partial_arguments(0) == {"city": "Paris", "n": 1}
    calls.add(Piece(0, arguments="2}"))
    assert calls.as_list()[0]["function"]["arguments"] == '{"city": "Paris", "n": 12}'
    assert calls.partial_arguments(0) == calls.partial_arguments(0) == {"city": "Paris", "n": 12}
    assert calls.partial_arguments(1) is None
    assert calls.partial_arguments(2) is None
