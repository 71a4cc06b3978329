"""Every feature can be said in words, with its number."""

import math

import pytest

from forewarn.classification.explanation import phrase
from forewarn.features.definitions import FEATURE_NAMES


@pytest.mark.parametrize("name", FEATURE_NAMES)
def test_every_feature_has_words(name: str) -> None:
    said = phrase(name, 0.25)
    assert said and "{" not in said and not said.startswith(name.replace("_", " ") + " is")
    assert any(c.isdigit() for c in said)


def test_numbers_are_in_the_words() -> None:
    assert phrase("ratio", 0.913) == "stands at 91% of its limit"
    assert phrase("change_6h", 0.12) == "moved by +12.0% of the limit in 360 steps"
    assert (
        phrase("log_steps_to_limit_6h", math.log1p(123)) == "at the pace of the last 360 steps 123 steps to the limit"
    )
    assert phrase("load_day_ratio", math.log(1.38)) == "load of its entity +38% against yesterday"


def test_missing_says_nothing_and_a_new_feature_its_name() -> None:
    assert phrase("ratio", math.nan) == ""
    assert phrase("moon_phase", 0.5) == "moon phase is 0.5"
