"""What callers pass: mistakes are told with what to write instead."""

import pytest

from llm_kit._core.arguments import (
    check_key,
    checked_choices,
    checked_headers,
    checked_messages,
)

HELLO = {"role": "user", "content": "Hello"}


@pytest.mark.parametrize("key", ["", "sk-x", "a b", "~!@#"])
def test_keys(key):
    assert check_key(key) is None


@pytest.mark.parametrize("key", ["sk-x\n", " sk-x", "sk-x ", "sk-\x00", "ключ"])
def test_keys_that_fit_no_header_are_not_shown(key):
    with pytest.raises(ValueError, match="can't stand in a header") as caught:
        check_key(key)
    assert key.strip() not in str(caught.value)


def test_the_names_of_headers_are_lowered():
    assert checked_headers({"X-A": "1", "b": ""}) == {"x-a": "1", "b": ""}


@pytest.mark.parametrize("headers", [{"a": "x\ny"}, {"a": "é"}, {"a": None}, {1: "a"}, {"\n": "a"}])
def test_headers_that_cannot_be_sent(headers):
    with pytest.raises(ValueError, match="strings of printable ASCII"):
        checked_headers(headers)


@pytest.mark.parametrize("messages", [[HELLO], (HELLO, HELLO), iter([HELLO])])
def test_messages(messages):
    assert checked_messages(messages)[0] is HELLO


@pytest.mark.parametrize(
    ("messages", "error", "says"),
    [
        ("Hello", TypeError, "not str: write"),
        (HELLO, TypeError, "not dict: write"),
        (5, TypeError, "not int: write"),
        ([HELLO, "Hello"], TypeError, r"messages\[1\] must be a dict, not str"),
        ([], ValueError, "messages is empty: write"),
    ],
)
def test_what_is_no_chat(messages, error, says):
    with pytest.raises(error, match=says):
        checked_messages(messages)


def test_choices():
    assert checked_choices(None) == 1
    assert checked_choices(3) == 3


@pytest.mark.parametrize("n", [0, -1, 1.5, "2", True])
def test_what_is_no_number_of_choices(n):
    with pytest.raises(ValueError, match="n must be a whole number"):
        checked_choices(n)
