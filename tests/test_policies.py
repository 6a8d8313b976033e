"""Limits are refused when they are made, with the field's name."""

import pytest

from llm_kit import Limits


@pytest.mark.parametrize("field", ["event", "response"])
@pytest.mark.parametrize("value", [0, -1, 1.5, "1", True, float("nan")])
def test_values_that_make_no_sense(field, value):
    with pytest.raises(ValueError, match=rf"Limits\.{field} must be a positive number of bytes"):
        Limits(**{field: value})


def test_values_that_do():
    assert Limits() == Limits(event=16 * 2**20, response=256 * 2**20)
    assert Limits(event=None, response=None).event is None
