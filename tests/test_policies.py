"""Settings that make no sense are refused when they are made, with the field's name."""

from math import inf, nan

import attrs
import pytest

from llm_kit import Deadlines, Limits, Recovery, RetryPolicy

TOO_LONG = [366 * 24 * 3600 + 1, 1e300, 10**400]
NO_NUMBERS = ["1", True, nan, [1], 1j]


@pytest.mark.parametrize("field", ["event", "response"])
@pytest.mark.parametrize("value", [0, -1, 1.5, inf, *NO_NUMBERS])
def test_bytes_that_make_no_sense(field, value):
    with pytest.raises(ValueError, match=rf"Limits\.{field} must be a positive number of bytes"):
        Limits(**{field: value})


def test_bytes_that_do():
    assert Limits() == Limits(event=16 * 2**20, response=256 * 2**20)
    assert Limits(event=None, response=None).event is None


# Deadlines


@pytest.mark.parametrize("field", ["connect", "first_chunk", "idle", "total"])
@pytest.mark.parametrize("value", [0, 0.0, -1, -0.5, inf, -inf, *TOO_LONG, *NO_NUMBERS])
def test_deadlines_that_make_no_sense(field, value):
    with pytest.raises(ValueError, match="must be") as caught:
        Deadlines(**{field: value})
    assert str(caught.value) == (
        f"Deadlines.{field} must be a positive number of seconds, a year at most, or None for"
        f" no limit; got {value!r}"
    )


def test_deadlines_that_do():
    assert Deadlines() == Deadlines(connect=10, first_chunk=300, idle=60, total=None)
    none = Deadlines(connect=None, first_chunk=None, idle=None, total=None)
    assert attrs.astuple(none) == (None,) * 4
    some = Deadlines(connect=5, first_chunk=0.001, idle=10**6, total=10**6)
    assert attrs.astuple(some) == (5, 0.001, 10**6, 10**6)
    assert Deadlines(total=1).idle == 60  # the defaults are nobody's wish: the total is shorter


@pytest.mark.parametrize("field", ["connect", "first_chunk", "idle"])
def test_deadlines_that_contradict_each_other(field):
    with pytest.raises(ValueError, match="could never pass") as caught:
        Deadlines(**{field: 5, "total": 4.5})
    assert str(caught.value) == (
        f"Deadlines.{field} (5) could never pass: Deadlines.total (4.5) is shorter"
    )


def test_deadlines_are_named():
    with pytest.raises(TypeError):
        Deadlines(5)  # of what?


# RetryPolicy


@pytest.mark.parametrize("value", [0, -1, 1.5, 2.0, inf, None, *NO_NUMBERS])
def test_attempts_that_make_no_sense(value):
    with pytest.raises(ValueError, match="must be") as caught:
        RetryPolicy(attempts=value)
    assert str(caught.value) == (
        f"RetryPolicy.attempts must be a whole number of requests, 1 (no retry) or more;"
        f" got {value!r}"
    )


@pytest.mark.parametrize("field", ["pause", "max_pause", "max_retry_after"])
@pytest.mark.parametrize("value", [-1, -0.001, inf, -inf, None, *TOO_LONG, *NO_NUMBERS])
def test_pauses_that_make_no_sense(field, value):
    with pytest.raises(ValueError, match="must be") as caught:
        RetryPolicy(**{field: value})
    assert str(caught.value) == (
        f"RetryPolicy.{field} must be a number of seconds from zero to a year; got {value!r}"
    )


@pytest.mark.parametrize("policy", [{"pause": 2, "max_pause": 0.5}, {"pause": 50, "max_pause": 40}])
def test_pauses_that_contradict_each_other(policy):
    with pytest.raises(
        ValueError, match=r"RetryPolicy\.max_pause \(.*\) is shorter than"
    ) as caught:
        RetryPolicy(**policy)
    assert f"RetryPolicy.pause ({policy['pause']})" in str(caught.value)


@pytest.mark.parametrize("policy", [{"pause": 31}, {"max_pause": 0.5}])
def test_a_default_pause_contradicts_nobody(policy):
    RetryPolicy(**policy)


def test_retries_that_do():
    assert RetryPolicy() == RetryPolicy(3, 1.0, 30.0, 60.0)
    assert attrs.astuple(RetryPolicy(1, 0, 0, 0)) == (1, 0, 0, 0)
    assert RetryPolicy(pause=5, max_pause=5).max_pause == 5


# Recovery


@pytest.mark.parametrize("value", ["", "retry", "Continue", None, 1, True, ["restart"], nan])
def test_actions_that_there_are_not(value):
    with pytest.raises(ValueError, match="must be") as caught:
        Recovery(value)
    assert str(caught.value) == (
        f'Recovery.action must be "raise" or "restart" or "continue"; got {value!r}'
    )


@pytest.mark.parametrize("value", ["", "none", None, 1, {}])
def test_modes_that_there_are_not(value):
    with pytest.raises(ValueError, match=r'Recovery\.mode must be "auto" or "instruct"') as caught:
        Recovery("continue", mode=value)
    assert str(caught.value).endswith(f"; got {value!r}")


@pytest.mark.parametrize("value", ["", " \n", None, 1, b"go on"])
def test_instructions_that_say_nothing(value):
    with pytest.raises(ValueError, match=r"Recovery\.instruction must be a text that is not empty"):
        Recovery("continue", instruction=value)


@pytest.mark.parametrize("action", ["raise", "restart", "continue"])
def test_recoveries_that_there_are(action):
    assert Recovery(action).action == action
    assert (Recovery().action, Recovery().mode) == ("raise", "auto")
    assert "Go on exactly where it stops" in Recovery().instruction
    assert "Go on" not in repr(Recovery())


@pytest.mark.parametrize("value", [Limits(), RetryPolicy(), Recovery(), Deadlines()], ids=repr)
def test_settings_can_be_shared(value):
    name = attrs.fields(type(value))[0].name
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(value, name, None)
    assert hash(value) == hash(attrs.evolve(value))


@pytest.mark.parametrize("action", ["raise", "restart"])
def test_a_mode_is_for_continuing(action):
    with pytest.raises(ValueError, match=r'write Recovery\("continue", mode="prefix"\)') as caught:
        Recovery(action, mode="prefix")
    assert f'Recovery.action is "{action}"' in str(caught.value)
