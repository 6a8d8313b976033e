"""OpenAI's parameters: moved, read, or refused with what to write instead."""

import pytest

from llm_kit import Chat
from llm_kit.dialects.request.parameters import (
    format_in,
    limit_in,
    moved,
    params_of,
    refuse_several_answers,
    texts_of_stop,
)

SCHEMA = {"type": "object"}


def test_what_is_not_the_apis_is_refused_with_what_to_write():
    chat = Chat([], params={"user": "u", "top_k": 1})
    words = "^the 'mine' dialect has no user: write me$"
    with pytest.raises(ValueError, match=words):
        params_of(chat, "mine", {"user": "write me"})


def test_parameters_are_free_to_change_and_none_says_nothing():
    given = {"user": None, "top_k": 1, "seed": None}
    params = params_of(Chat([], params=given), "mine", {"user": "write me"})
    assert params == {"top_k": 1, "seed": None}
    params.clear()
    assert given == {"user": None, "top_k": 1, "seed": None}


@pytest.mark.parametrize("value", [False, 0, "", []])
def test_a_value_that_is_not_none_says_something(value):
    with pytest.raises(ValueError, match="has no user"):
        params_of(Chat([], params={"user": value}), "mine", {"user": "write me"})


@pytest.mark.parametrize("n", [None, 1])
def test_one_answer_may_be_asked_for(n):
    refuse_several_answers(Chat([], n=n), "mine")


@pytest.mark.parametrize("n", [0, 2, "1"])
def test_several_answers_are_refused(n):
    with pytest.raises(ValueError, match=f"n is {n!r}, and the 'mine' dialect"):
        refuse_several_answers(Chat([], n=n), "mine")


@pytest.mark.parametrize(
    ("params", "limit"),
    [
        ({}, None),
        ({"max_tokens": 5}, 5),
        ({"max_completion_tokens": 0}, 0),
        ({"max_tokens": None, "max_completion_tokens": 7}, 7),
        ({"max_tokens": 0, "max_completion_tokens": None}, 0),
    ],
)
def test_the_limit_has_two_names(params, limit):
    params["seed"] = 1
    assert limit_in(params) == limit
    assert params == {"seed": 1}


def test_two_limits_are_refused():
    with pytest.raises(ValueError, match="name one limit: give one of them"):
        limit_in({"max_tokens": 5, "max_completion_tokens": 5})


def test_parameters_move_under_their_other_names():
    params = {"top_p": 0.5, "seed": 0, "temperature": None, "mine": 1}
    names = {"top_p": "topP", "seed": "seed", "temperature": "temp", "absent": "x"}
    assert moved(params, names) == {"topP": 0.5, "seed": 0}
    assert params == {"mine": 1}


@pytest.mark.parametrize(
    ("form", "meant"),
    [
        (None, None),
        ({"type": "text"}, None),
        ({"type": "json_object"}, "json"),
        ({"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}, SCHEMA),
    ],
)
def test_the_form_of_an_answer_is_text_json_or_a_schema(form, meant):
    params = {"response_format": form, "seed": 1}
    assert format_in(params) == meant
    assert params == {"seed": 1}


@pytest.mark.parametrize(
    "form",
    [
        "json",
        {"type": "grammar"},
        {"type": "json_schema"},
        {"type": "json_schema", "json_schema": {"type": "object"}},
        {"type": "json_schema", "json_schema": {"schema": "x"}},
    ],
)
def test_a_form_that_means_nothing_is_an_error(form):
    with pytest.raises(ValueError, match="response_format must be"):
        format_in({"response_format": form})


@pytest.mark.parametrize(
    ("stop", "texts"), [("END", ["END"]), (["a", "b"], ["a", "b"]), (("a",), ["a"]), ((), [])]
)
def test_texts_to_stop_at_are_a_list(stop, texts):
    assert texts_of_stop(stop) == texts
