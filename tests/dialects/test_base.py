"""What every dialect is made of: reported errors, and the defaults of one that asks."""

import pytest

from llm_kit import ChatDialect, Chunk, ToolCallDelta
from llm_kit._core.accumulator import Accumulator
from llm_kit.dialects.base import FAILED_REASONS, FINISH_REASONS, api_error, wrong_type


@pytest.mark.parametrize(
    ("error", "whole", "told"),
    [
        ("boom", None, ("boom", None, None)),
        ({"message": "no", "code": 5, "type": "t"}, None, ("no", 5, "t")),
        ({"detail": "no"}, {"code": "c", "type": "t"}, ("no", "c", "t")),
        ({"message": "no", "code": None}, {"code": 7}, ("no", None, None)),
        (None, {"message": "no", "type": "error"}, ("no", None, None)),
        ("Not Found", {"message": "no such page"}, ("no such page", None, None)),
        ("boom", {"message": {"role": "assistant"}}, ("boom", None, None)),
        ("boom", {"message": ""}, ("boom", None, None)),
        ("boom", {"code": ["x"], "type": 5}, ("boom", None, None)),
        ([1], None, ("[1]", None, None)),
        ({"reason": "x"}, None, ("{'reason': 'x'}", None, None)),
    ],
)
def test_an_error_is_told_in_any_of_its_shapes(error, whole, told):
    made = api_error(error, whole=whole)
    assert (made.message, made.code, made.type) == told


def test_a_wrong_type_is_told_with_what_can_be_done():
    message = str(wrong_type("choices", 5, "a list"))
    assert message.startswith("`choices` is a int where a list is expected;")
    assert 'on_malformed="skip"' in message


def test_no_ending_is_a_good_and_a_failed_one():
    assert not FAILED_REASONS & (FINISH_REASONS.keys() | set(FINISH_REASONS.values()))


@pytest.mark.parametrize("reason", sorted(FAILED_REASONS))
def test_a_call_before_a_failure_may_be_cut(reason):
    total = Accumulator()
    call = ToolCallDelta(0, "c", "f", "{}")
    total.feed(Chunk(tool_calls=(call,), finish_reason=reason), 0.0)
    result = total.result()
    assert (result.tool_calls, len(result.incomplete_tool_calls)) == ([], 1)
    assert total.failed_reason == reason


def test_a_dialect_that_says_no_more_leaves_nothing_out_and_goes_on_with_nothing():
    class Mine(ChatDialect):
        name = "mine"

    assert Mine.root == ""
    assert Mine.refused_option({"a": 1}, 400, "a") is None
    assert Mine.can_be_continued({}) is False
    with pytest.raises(NotImplementedError):
        Mine.continued_body({}, "a", "http://h", "auto", "Go on.")
