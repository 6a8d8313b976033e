"""Which piece belongs to which tool call."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_kit import ToolCallDelta as Piece
from llm_kit._core.tool_calls import ToolCalls
from llm_kit.partial_json import PartialJSON


def calls_of(*pieces):
    calls = ToolCalls()
    for piece in pieces:
        calls.add(piece)
    return calls


def told(calls):
    """Each call as its id, name and arguments."""
    return [(c["id"], c["function"]["name"], c["function"]["arguments"]) for c in calls.as_list()]


X, Y = '{"x": 1}', '{"y": 2}'  # the arguments of two calls, and in halves
X1, X2, Y1, Y2 = X[:5], X[5:], Y[:5], Y[5:]
TWO = [("a", "f", X), ("b", "g", Y)]
NAMELESS_IDS = [(None, "f", X), (None, "f", Y)]

# name: pieces, calls, quirks of the finished calls
CASES = {
    # As it should be
    "nothing": ([], [], ""),
    "as OpenAI sends it": (
        [Piece(0, "a", "f"), Piece(0, arguments=X1), Piece(0, arguments=X2)],
        [("a", "f", X)],
        "",
    ),
    "two, interleaved": (
        [
            *(Piece(0, "a", "f"), Piece(1, "b", "g")),
            *(Piece(0, arguments=X1), Piece(1, arguments=Y1)),
            *(Piece(1, arguments=Y2), Piece(0, arguments=X2)),
        ],
        TWO,
        "",
    ),
    "two, whole": ([Piece(0, "a", "f", X), Piece(1, "b", "g", Y)], TWO, ""),
    "the first index is 1": ([Piece(1, "a", "f", X1), Piece(1, arguments=X2)], [("a", "f", X)], ""),
    "order of appearance, not of index": (
        [Piece(3, "a", "f"), Piece(0, "b", "g")],
        [("a", "f", ""), ("b", "g", "")],
        "",
    ),
    "objects inside of the arguments": (
        [
            Piece(0, "a", "f", "{"),
            *(Piece(0, arguments=t) for t in ('"k":', "{}", ', "l":', X, "}")),
        ],
        [("a", "f", '{"k":{}, "l":{"x": 1}}')],
        "",
    ),
    "an object inside that is like what came before": (
        [Piece(0, "a", "f", '{"x":'), Piece(0, arguments='{"x":1}'), Piece(0, arguments="}")],
        [("a", "f", '{"x":{"x":1}}')],
        "",
    ),
    "quotation marks are no repetition": (
        [Piece(0, "a", "f", '{"k": '), Piece(0, arguments='"'), *[Piece(0, arguments='""}')]],
        [("a", "f", '{"k": """}')],
        "",
    ),
    # No index
    "no index, by id": (
        [
            *(Piece(None, "a", "f", X1), Piece(None, "b", "g", Y1)),
            *(Piece(None, "a", None, X2), Piece(None, "b", None, Y2)),
        ],
        TWO,
        "tool_index_missing",
    ),
    "no index, whole": (
        [Piece(None, "a", "f", X), Piece(None, "b", "g", Y)],
        TWO,
        "tool_index_missing",
    ),
    "no index, and an id that comes after the name": (
        [
            Piece(None, None, "f"),
            Piece(None, "a", None, X),
            Piece(None, "b", None, Y),
            Piece(name="g"),
        ],
        TWO,
        "tool_index_missing",
    ),
    "no index, and an id that comes before anything else": (
        [
            Piece(None, "a"),
            Piece(name="f", arguments=X),
            Piece(None, "b"),
            Piece(name="g", arguments=Y),
        ],
        TWO,
        "tool_index_missing",
    ),
    "no index, and ids that change in the middle": (
        [Piece(None, "a", "f", X1), Piece(None, "a2", None, "{}"), Piece(None, "a2", "f", "}")],
        [("a", "f", X1 + "{}}")],
        "tool_id_changed tool_index_missing tool_name_repeated",
    ),
    "no index and no id in later pieces": (
        [Piece(None, "a", "f"), Piece(arguments=X1), Piece(arguments=X2)],
        [("a", "f", X)],
        "tool_index_missing",
    ),
    "the index is missing in later pieces only": (
        [
            *(Piece(0, "a", "f"), Piece(arguments=X1), Piece(arguments=X2)),
            *(Piece(1, "b", "g"), Piece(arguments=Y1), Piece(arguments=Y2)),
        ],
        TWO,
        "tool_index_missing",
    ),
    "the last call is the last that was spoken of": (
        [Piece(0, "a", "f"), Piece(1, "b", "g", Y), Piece(0, arguments=X1), Piece(arguments=X2)],
        TWO,
        "tool_index_missing",
    ),
    "the index is missing in first pieces only": (
        [
            *(Piece(None, "a", "f"), Piece(0, arguments=X1), Piece(0, arguments=X2)),
            *(Piece(None, "b", "g"), Piece(1, arguments=Y)),
        ],
        TWO,
        "tool_index_missing",
    ),
    # No id either
    "one whole call without index and id": (
        [Piece(None, None, "f", X)],
        [(None, "f", X)],
        "tool_id_missing",
    ),
    "no index and no id at all": (
        [Piece(None, None, "f", X), Piece(None, None, "f", Y)],
        NAMELESS_IDS,
        "tool_id_missing tool_index_missing",
    ),
    "no index and no id, equal calls": (
        [Piece(None, None, "f", X), Piece(None, None, "f", X)],
        [(None, "f", X), (None, "f", X)],
        "tool_id_missing tool_index_missing",
    ),
    "no index and no id, in fragments": (
        [
            *(Piece(name="f"), Piece(arguments=X1), Piece(arguments=X2)),
            *(Piece(name="f"), Piece(arguments=Y1), Piece(arguments=Y2)),
        ],
        NAMELESS_IDS,
        "tool_id_missing tool_index_missing",
    ),
    "no index and no id, the name in every fragment": (
        [
            *(Piece(name="f"), Piece(name="f", arguments=X1), Piece(name="f", arguments=X2)),
            *(Piece(name="f", arguments=Y1), Piece(name="f", arguments=Y2)),
        ],
        NAMELESS_IDS,
        "tool_id_missing tool_index_missing tool_name_repeated",
    ),
    "no index and no id, other functions without arguments": (
        [Piece(name="f"), Piece(name="g")],
        [(None, "f", ""), (None, "g", "")],
        "tool_id_missing tool_index_missing",
    ),
    "no index and no id, and an id only for the second": (
        [Piece(name="f", arguments=X), Piece(None, "b", "f", Y)],
        [(None, "f", X), ("b", "f", Y)],
        "tool_id_missing tool_index_missing",
    ),
    "nothing but arguments": (
        [Piece(arguments=X), Piece(arguments=Y)],
        [(None, "", X), (None, "", Y)],
        "tool_id_missing tool_index_missing tool_name_missing",
    ),
    # An index used twice
    "index 0 for every call, whole": (
        [Piece(0, "a", "f", X), Piece(0, "b", "g", Y)],
        TWO,
        "tool_index_reused",
    ),
    "index 0 for every call, in fragments": (
        [
            *(Piece(0, "a", "f"), Piece(0, arguments=X1), Piece(0, arguments=X2)),
            *(Piece(0, "b", "g"), Piece(0, arguments=Y1), Piece(0, arguments=Y2)),
        ],
        TWO,
        "tool_index_reused",
    ),
    "index 0 for every call, interleaved by id": (
        [
            *(Piece(0, "a", "f"), Piece(0, "b", "g"), Piece(0, "a", None, X1)),
            *(Piece(0, "b", None, Y1), Piece(0, "a", None, X2), Piece(0, "b", "", Y2)),
        ],
        TWO,
        "tool_index_reused",
    ),
    "index 0 and no id, whole": (
        [Piece(0, None, "f", X), Piece(0, None, "f", Y)],
        NAMELESS_IDS,
        "tool_id_missing tool_index_reused",
    ),
    "index 0 and no id, in fragments": (
        [
            *(Piece(0, None, "f"), Piece(0, arguments=X1), Piece(0, arguments=X2)),
            *(Piece(0, None, "f"), Piece(0, arguments=Y1), Piece(0, arguments=Y2)),
        ],
        NAMELESS_IDS,
        "tool_id_missing tool_index_reused tool_name_repeated",
    ),
    "index 0 and no id, another name": (
        [Piece(0, None, "get", X), Piece(0, None, "get_y"), Piece(0, arguments=Y)],
        [(None, "get", X), (None, "get_y", Y)],
        "tool_id_missing tool_index_reused",
    ),
    "index 0, no name yet but a new id and a new value": (
        [Piece(0, "a", "f", X), Piece(0, "b", None, Y), Piece(0, None, "g")],
        TWO,
        "tool_index_reused",
    ),
    "index 0, and nothing but a new id": (
        [
            *(Piece(0, "a"), Piece(0, None, "f", X)),
            *(Piece(0, "b"), Piece(0, None, None, Y1), Piece(0, None, "g", Y2)),
        ],
        TWO,
        "tool_index_reused",
    ),
    "index 0, a new id, and no name at all": (
        [Piece(0, "a", "f", X), Piece(0, "b"), Piece(0, None, None, Y)],
        [("a", "f", X), ("b", "", Y)],
        "tool_index_reused tool_name_missing",
    ),
    "index 0, a new id, and nothing behind it": (
        [Piece(0, "a", "f", X), Piece(0, "a2"), Piece(0, "a3")],
        [("a", "f", X)],
        "tool_id_changed",
    ),
    "index 0 and no id, with the name at the end": (
        [
            *(Piece(0, None, None, X1), Piece(0, None, "f", X2)),
            *(Piece(0, None, None, Y1), Piece(0, None, "f", Y2)),
            *(Piece(0, None, None, X1), Piece(0, None, "g", X2)),
        ],
        [*NAMELESS_IDS, (None, "g", X)],
        "tool_id_missing tool_index_reused",
    ),
    # An id used twice
    "one id for all calls, whole": (
        [Piece(0, "a", "f", X), Piece(0, "a", "f", Y)],
        [("a", "f", X), ("a", "f", Y)],
        "tool_id_reused tool_index_reused",
    ),
    "one id for all calls, in fragments": (
        [
            *(Piece(0, "a", "f"), Piece(0, "a", None, X1), Piece(0, "a", None, X2)),
            *(Piece(0, "a", "f"), Piece(0, "a", None, Y1), Piece(0, "a", None, Y2)),
        ],
        [("a", "f", X), ("a", "f", Y)],
        "tool_id_reused tool_index_reused tool_name_repeated",
    ),
    "one id for all calls, no index": (
        [Piece(None, "a", "f", X), Piece(None, "a", "g", Y1), Piece(None, "a", None, Y2)],
        [("a", "f", X), ("a", "g", Y)],
        "tool_id_reused tool_index_missing",
    ),
    "one id for all calls, with the name at the end": (
        [
            *(Piece(0, "a", None, X1), Piece(0, "a", "f", X2)),
            *(Piece(0, "a", None, Y1), Piece(0, "a", "f", Y2)),
        ],
        [("a", "f", X), ("a", "f", Y)],
        "tool_id_reused tool_index_reused",
    ),
    "one id for all calls, with the name at the end, no index": (
        [
            *(Piece(None, "a"), Piece(None, "a", None, X1), Piece(None, "a", "f", X2)),
            *(Piece(None, "a"), Piece(None, "a", None, Y1), Piece(None, "a", "f", Y2)),
        ],
        [("a", "f", X), ("a", "f", Y)],
        "tool_id_reused tool_index_missing",
    ),
    "one id for all calls, with the name at the end, and then an index": (
        [Piece(None, "a", "f", X), Piece(None, "a", None, Y1), Piece(0, "a", "f", Y2)],
        [("a", "f", X), ("a", "f", Y)],
        "tool_id_reused tool_index_missing",
    ),
    "one id for all calls, with the name at the end, but each with its index": (
        [
            *(Piece(0, "a"), Piece(0, "a", None, X1), Piece(0, "a", "f", X2)),
            *(Piece(1, "a"), Piece(1, "a", None, Y1), Piece(1, "a", "f", Y2)),
        ],
        [("a", "f", X), ("a", "f", Y)],
        "tool_id_reused tool_index_changed tool_index_reused",
    ),
    "one id for all calls, but each with its index": (
        [
            *(Piece(0, "a", "f"), Piece(1, "a", "f"), Piece(0, "a", None, X1)),
            *(Piece(1, "a", None, Y1), Piece(0, "a", None, X2), Piece(1, "a", None, Y2)),
        ],
        [("a", "f", X), ("a", "f", Y)],
        "tool_id_reused",
    ),
    "one id for all calls, but each with its index and name": (
        [Piece(0, "a", "f", X1), Piece(1, "a", "g", Y), Piece(0, arguments=X2)],
        [("a", "f", X), ("a", "g", Y)],
        "tool_id_reused",
    ),
    "one id, another index, a new value": (
        [Piece(0, "a", "f", X), Piece(1, "a", None, Y)],
        [("a", "f", X), ("a", "", Y)],
        "tool_id_reused tool_name_missing",
    ),
    # Keys that change on the way
    "the index counts the pieces": (
        [Piece(0, "a", "f", X1), Piece(1, "a", "f", X2), Piece(2, "b", "g", Y)],
        TWO,
        "tool_index_changed tool_name_repeated",
    ),
    "another index for the end of a call": (
        [Piece(0, "a", "f"), Piece(0, arguments=X1), Piece(1, "a", None, X2)],
        [("a", "f", X)],
        "tool_index_changed",
    ),
    "an id at the place of another call": (
        [Piece(0, "a", "f", X), Piece(1, "b", "g", Y1), Piece(0, "b", None, Y2)],
        TWO,
        "tool_index_changed",
    ),
    "another id in every fragment": (
        [Piece(0, "a", "f"), Piece(0, "a2", None, X1), Piece(0, "a3", None, X2)],
        [("a", "f", X)],
        "tool_id_changed",
    ),
    "another id and the name in every fragment": (
        [Piece(0, "a", "f", X1), Piece(0, "a2", "f", X2)],
        [("a", "f", X)],
        "tool_id_changed tool_name_repeated",
    ),
    "empty and null in later pieces": (
        [Piece(0, "a", "f"), Piece(0, "", "", X1), Piece(0, None, None, X2), Piece(0, "", "")],
        [("a", "f", X)],
        "",
    ),
    "empty pieces begin no call": ([Piece(0), Piece(), Piece(1, "", "")], [], ""),
    "id after the name": ([Piece(0, "", "f"), Piece(0, "a", None, X)], [("a", "f", X)], ""),
    "an id after everything": (
        [Piece(0, None, "f", X), Piece(0, "a", "f")],
        [("a", "f", X)],
        "tool_name_repeated",
    ),
    "an empty id stays": ([Piece(0, "", "f", X)], [("", "f", X)], "tool_id_missing"),
    # Names
    "id and name repeated": (
        [Piece(0, "a", "f", X1), Piece(0, "a", "f", X2), Piece(0, "a", "f", "")],
        [("a", "f", X)],
        "tool_name_repeated",
    ),
    "name after the arguments": (
        [Piece(0, "a", None, X), Piece(0, None, "f")],
        [("a", "f", X)],
        "",
    ),
    "name after the arguments, no index and no id": (
        [Piece(arguments=X1), Piece(arguments=X2), Piece(name="f")],
        [(None, "f", X)],
        "tool_id_missing tool_index_missing",
    ),
    "a name that grows": (
        [Piece(0, "a", "get_"), Piece(0, "a", "get_x"), Piece(0, arguments=X)],
        [("a", "get_x", X)],
        "tool_name_changed",
    ),
    "names are not joined": (
        [Piece(0, "a", "f"), Piece(0, "a", "g", X1), Piece(0, "a", "h", X2)],
        [("a", "f", X)],
        "tool_name_changed",
    ),
    "a name announced once more, and then the rest": (
        [Piece(0, "a", "f", X1), Piece(0, "a", "f"), Piece(0, arguments=X2)],
        [("a", "f", X)],
        "tool_name_repeated",
    ),
    # Arguments said more than once
    "the whole call again": (
        [Piece(0, "a", "f"), Piece(0, arguments=X1), Piece(0, arguments=X2), Piece(0, "a", "f", X)],
        [("a", "f", X)],
        "tool_arguments_restated",
    ),
    "the arguments again": (
        [Piece(0, "a", "f", X), Piece(0, arguments=X), Piece(0, arguments=X)],
        [("a", "f", X)],
        "tool_arguments_restated",
    ),
    "the arguments again, and the name at last": (
        [Piece(0, "a", None, X), Piece(0, "a", "f", X)],
        [("a", "f", X)],
        "tool_arguments_restated",
    ),
    "the whole call again, without an id": (
        [Piece(0, None, "f", X1), Piece(0, None, None, X2), Piece(0, None, "f", X)],
        [(None, "f", X)],
        "tool_arguments_restated tool_id_missing",
    ),
    "the same arguments for another function": (
        [Piece(0, None, "f", X1), Piece(0, None, None, X2), Piece(0, None, "g", X)],
        [(None, "f", X), (None, "g", X)],
        "tool_id_missing tool_index_reused",
    ),
    "the same arguments for another id": (
        [Piece(0, "a", "f", X), Piece(0, "b", "f", X)],
        [("a", "f", X), ("b", "f", X)],
        "tool_index_reused",
    ),
    "every piece is all so far": (
        [Piece(0, "a", "f", X[:end]) for end in range(1, len(X) + 1)],
        [("a", "f", X)],
        "tool_arguments_cumulative tool_name_repeated",
    ),
    "all so far, but in the end it is no JSON": (
        [Piece(0, "a", "f", X1), Piece(0, arguments=X1)],
        [("a", "f", X1 + X1)],
        "",
    ),
    "a placeholder first": (
        [Piece(0, "a", "f", "{}"), Piece(0, arguments=X1), Piece(0, arguments=X2)],
        [("a", "f", X)],
        "tool_arguments_placeholder",
    ),
    "a placeholder first, no index": (
        [Piece(None, "a", "f", "{}"), Piece(arguments=X1), Piece(arguments=X2)],
        [("a", "f", X)],
        "tool_arguments_placeholder tool_index_missing",
    ),
    "a placeholder first, and the call again at the end": (
        [
            *(Piece(0, "a", "f", "{}"), Piece(0, arguments=X1), Piece(0, arguments=X2)),
            *(Piece(0, "a", "f"), Piece(0, "a", "f", X)),
        ],
        [("a", "f", X)],
        "tool_arguments_placeholder tool_arguments_restated",
    ),
    "a placeholder first, then every piece is all so far": (
        [
            Piece(0, "a", "f", "{}"),
            *(Piece(0, arguments=X[:end]) for end in range(1, len(X) + 1)),
        ],
        [("a", "f", X)],
        "tool_arguments_cumulative tool_arguments_placeholder",
    ),
    "a placeholder first, and more than its call": (
        [Piece(0, "a", "f", "{}"), Piece(0, arguments=X), Piece(0, arguments=Y)],
        [("a", "f", X + Y)],
        "tool_arguments_overflow tool_arguments_placeholder",
    ),
    "a call without arguments, and a new id behind it": (
        [Piece(0, "a", "f", "{}"), Piece(0, "a2")],
        [("a", "f", "{}")],
        "tool_id_changed",
    ),
    "a call without arguments, and one whose name comes late": (
        [Piece(0, None, "f", "{}"), Piece(0, None, None, Y1), Piece(0, None, "g", Y2)],
        [(None, "f", "{}"), (None, "g", Y)],
        "tool_id_missing tool_index_reused",
    ),
    "a call without arguments, and one with another id": (
        [Piece(0, "a", "f", "{}"), Piece(0, "b", None, Y)],
        [("a", "f", "{}"), ("b", "", Y)],
        "tool_index_reused tool_name_missing",
    ),
    "more arguments behind their end": (
        [Piece(0, "a", "f", X), Piece(0, arguments=Y), Piece(0, arguments="}")],
        [("a", "f", X + Y + "}")],
        "tool_arguments_overflow",
    ),
    "more arguments behind their end, by the id": (
        [Piece(0, "a", "f", X), Piece(0, "a", None, Y1), Piece(0, "a", None, Y2)],
        [("a", "f", X + Y)],
        "tool_arguments_overflow",
    ),
    "more arguments behind their end, at two indexes": (
        [Piece(0, "a", "f", X), Piece(1, "a"), Piece(0, arguments=Y), Piece(1, arguments=Y)],
        [("a", "f", X + Y + Y)],
        "tool_arguments_overflow tool_index_changed",
    ),
    "blanks behind the end are nothing": (
        [Piece(0, "a", "f", X), Piece(0, arguments=" \n")],
        [("a", "f", X + " \n")],
        "",
    ),
    "arguments that are no JSON": (
        [Piece(0, "a", "f", "{print("), Piece(0, arguments="1)}"), Piece(0, arguments=X)],
        [("a", "f", "{print(1)}" + X)],
        "",
    ),
    "arguments too deep for the parser": (
        [Piece(0, "a", "f", '{"x":' + "[" * 200_000), Piece(0, arguments="]" * 200_000 + "}")],
        [("a", "f", '{"x":' + "[" * 200_000 + "]" * 200_000 + "}")],
        "",
    ),
}


@pytest.mark.parametrize(("pieces", "expected", "quirks"), CASES.values(), ids=CASES)
def test_pieces_find_their_call(pieces, expected, quirks):
    calls = calls_of(*pieces)
    assert told(calls) == expected
    assert sorted(calls.quirks(finished=True)) == quirks.split()


def test_what_is_missing_is_not_told_before_the_end():
    calls = calls_of(Piece(0, None, None, X), Piece(0, arguments=Y))
    assert calls.quirks(finished=False) == set()
    assert len(calls.quirks(finished=True)) == 3


def test_there_are_calls_as_soon_as_one_began():
    assert not calls_of()
    assert not calls_of(Piece(0, None, None, ""))
    assert calls_of(Piece(0, "a"))


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


def test_fields_of_a_provider_behind_the_end_of_the_arguments_stay_too():
    calls = calls_of(Piece(0, "a", "f", X, extra={"p": 1}), Piece(0, "a2", extra={"q": 2}))
    assert [(call.get("p"), call.get("q")) for call in calls.as_list()] == [(1, 2)]


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


def test_arguments_that_are_written_behind_a_placeholder():
    calls = calls_of(Piece(0, "a", "f", "{}"))
    assert calls.partial_arguments(0) == {}
    calls.add(Piece(0, arguments='{"city": "Pa'))
    assert calls.partial_arguments(0) == {"city": "Pa"}
    assert calls.partial_arguments(1) is None


# Whatever is said, and however it is cut

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)
ARGUMENTS = st.dictionaries(st.text(max_size=3), VALUES, max_size=3).map(json.dumps)
MEANT = st.lists(st.tuples(st.sampled_from(["f", "g", "get_x"]), ARGUMENTS), max_size=4)


def in_fragments(data, text):
    cuts = sorted(data.draw(st.sets(st.integers(1, len(text) - 1), max_size=6)))
    return [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]


def interleaved(data, calls):
    """The pieces of several calls, the calls in order but for that in any."""
    waiting, running, pieces = list(calls), [], []
    while waiting or running:
        which = data.draw(st.integers(0, len(running) if waiting else len(running) - 1))
        if which == len(running):
            running.append(list(waiting.pop(0)))
        pieces.append(running[which].pop(0))
        running = [call for call in running if call]
    return pieces


def one_after_the_other(data, calls):
    return [piece for call in calls for piece in call]


# name: index, id and whether the name is said, of a piece by its call and whether it is the first
# or the last; and the order
STYLES = {
    "as it should be": (
        lambda n, first, last: (n, f"id{n}" if first else None, first),
        interleaved,
    ),
    "by index": (lambda n, first, last: (n, None, first), interleaved),
    "by index, with all in every piece": (lambda n, first, last: (n, f"id{n}", True), interleaved),
    "by id": (lambda n, first, last: (None, f"id{n}", first), interleaved),
    "by id, with the name in every piece": (
        lambda n, first, last: (None, f"id{n}", True),
        interleaved,
    ),
    "by id at one index": (lambda n, first, last: (0, f"id{n}", first), interleaved),
    "by first id": (
        lambda n, first, last: (None, f"id{n}" if first else "", first),
        one_after_the_other,
    ),
    "by first id at one index": (
        lambda n, first, last: (0, f"id{n}" if first else None, first),
        one_after_the_other,
    ),
    "by name": (lambda n, first, last: (None, None, first), one_after_the_other),
    "by the end of the JSON": (lambda n, first, last: (None, None, True), one_after_the_other),
    "by index, with the name at the end": (
        lambda n, first, last: (n, None, last),
        one_after_the_other,
    ),
    "by index and first id, with the name at the end": (
        lambda n, first, last: (n, f"id{n}" if first else None, last),
        interleaved,
    ),
    "by id, with the name at the end": (
        lambda n, first, last: (None, f"id{n}", last),
        one_after_the_other,
    ),
    "by id at one index, with the name at the end": (
        lambda n, first, last: (0, f"id{n}", last),
        one_after_the_other,
    ),
    "by first id, with the name at the end": (
        lambda n, first, last: (None, f"id{n}" if first else None, last),
        one_after_the_other,
    ),
    "by first id at one index, with the name at the end": (
        lambda n, first, last: (0, f"id{n}" if first else None, last),
        one_after_the_other,
    ),
    "by the name at the end": (lambda n, first, last: (None, None, last), one_after_the_other),
}


@pytest.mark.parametrize(("key", "order"), STYLES.values(), ids=STYLES)
@settings(max_examples=40, deadline=None)
@given(data=st.data(), meant=MEANT)
def test_what_arrives_is_what_was_meant(key, order, data, meant):
    calls = []
    for n, (name, arguments) in enumerate(meant):
        fragments = in_fragments(data, arguments)
        if data.draw(st.booleans()):
            fragments.insert(0, "")
        pieces = []
        for place, fragment in enumerate(fragments):
            index, ident, named = key(n, place == 0, place == len(fragments) - 1)
            pieces.append(Piece(index, ident, name if named else None, fragment))
        calls.append(pieces)
    assert [call[1:] for call in told(calls_of(*order(data, calls)))] == meant


@pytest.mark.parametrize(
    ("ident", "name"),
    [(None, None), (None, "f"), ("a", None), ("a", "f"), ("another in every piece", None)],
)
@pytest.mark.parametrize("index", [None, 0])
def test_nothing_is_judged_twice(index, ident, name, monkeypatch):
    judged = []
    feed = PartialJSON.feed
    monkeypatch.setattr(PartialJSON, "feed", lambda it, text: judged.append(text) or feed(it, text))
    rows = json.dumps([{"x": {}, "y": f"{{{n}}}"} for n in range(300)])
    text = f'{{"rows": {rows}}}'
    calls = calls_of(Piece(index, "a", "f", text[:3]))
    for at in range(3, len(text), 3):
        this = ident if ident in (None, "a") else f"a{at}"
        calls.add(Piece(index, this, name, text[at : at + 3]))
    assert told(calls) == [("a", "f", text)]
    assert text.startswith("".join(judged))


def test_what_comes_as_it_should_is_not_judged_at_all(monkeypatch):
    monkeypatch.delattr(PartialJSON, "feed")
    text = json.dumps({"rows": [{"x": {"y": [{}]}}] * 3})
    calls = calls_of(Piece(0, "a", "f"), *(Piece(0, arguments=char) for char in text))
    assert told(calls) == [("a", "f", text)]
