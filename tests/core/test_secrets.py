"""Keys don't show in what people read."""

import pytest

from llm_kit import APIStatusError, StreamAPIError
from llm_kit._core.secrets import Secrets

KEY = "sk-secret-1"


def knowing(*values):
    secrets = Secrets()
    for value in values:
        secrets.add(value)
    return secrets


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("nothing here", "nothing here"),
        (KEY, "[key removed]"),
        (f"Bearer {KEY}, {KEY}!", "Bearer [key removed], [key removed]!"),
        ("", ""),
    ],
)
def test_a_key_is_masked(text, clean):
    assert knowing(KEY).clean(text) == clean


@pytest.mark.parametrize("value", [None, "", "x", "none", "12345"])
def test_placeholders_are_no_secrets(value):
    assert knowing(value).clean("x none 12345") == "x none 12345"


@pytest.mark.parametrize(
    ("name", "value", "hidden"),
    [
        ("Authorization", f"Bearer {KEY}", True),
        ("x-api-key", KEY, True),
        ("X-Token", KEY, True),
        ("client-secret", KEY, True),
        ("Cookie", KEY, True),
        ("user-agent", KEY, False),
    ],
)
def test_headers_whose_names_tell(name, value, hidden):
    secrets = Secrets()
    secrets.add_headers({name: value})
    assert (KEY not in secrets.clean(f"the key is {KEY}")) is hidden


def test_one_key_within_another():
    # So many that chance alone can't find the right order.
    keys = ["secret-" + "x" * length for length in range(40)]
    assert [knowing(*keys).clean(key) for key in keys] == ["[key removed]"] * len(keys)


def test_every_word_of_an_error_is_cleaned():
    error = APIStatusError(f"no {KEY}", body=f"echo {KEY}", request_id=KEY, status_code=401)
    knowing(KEY).scrub(error)
    assert KEY not in repr(vars(error)) + str(error) + repr(error)
    assert (error.status_code, error.body) == (401, "echo [key removed]")


def test_causes_and_contexts_are_cleaned():
    root, middle = ValueError(KEY, 5), OSError(KEY)
    outer = StreamAPIError("m", code=KEY)
    middle.__context__ = root
    outer.__cause__ = middle
    knowing(KEY).scrub(outer)
    assert outer.code == "[key removed]"
    assert KEY not in repr(root) + repr(middle) + str(middle)
    assert root.args[1] == 5


def test_errors_in_a_ring_come_to_an_end():
    one, two = ValueError(KEY), ValueError(KEY)
    one.__context__, two.__context__ = two, one
    knowing(KEY).scrub(one)
    assert KEY not in repr(one) + repr(two)


def test_without_secrets_nothing_is_touched():
    error = ValueError(KEY)
    knowing().scrub(error)
    knowing(KEY).scrub(None)
    assert error.args == (KEY,)
