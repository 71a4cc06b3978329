"""Rows of a stretch of history that are told, and what each of them counts."""

import numpy as np

from forewarn.evaluation.backtest import Stretch
from forewarn.evaluation.split import Part


def stretch() -> Stretch:
    """Series 0 fails at cell 100 (rows at 40, 60, 80), series 1 at cell 100 as well (row at 90) and at 900."""
    row, at = np.array([0, 0, 0, 1, 1, 1]), np.array([40, 60, 80, 90, 200, 700])
    steps = np.array([60.0, 40.0, 20.0, 10.0, 700.0, np.inf])
    return Stretch(Part(0, 1000), np.zeros((6, 1)), row, at, steps, np.full(6, 500.0), np.zeros((2, 1000), bool))


def test_told_are_rows_above_the_threshold_that_fail_within_the_paging_horizon() -> None:
    told = stretch().told(np.array([0.9, 0.2, 0.9, 0.5, 0.9, 0.9]), 0.5)
    assert told.tolist() == [True, False, True, True, False, False]


def test_every_failure_counts_the_same_however_many_rows_lead_to_it() -> None:
    weight = stretch().failure_weight(np.array([True, True, True, True, False, False]))
    assert weight.tolist() == [1 / 3, 1 / 3, 1 / 3, 1.0]
    assert stretch().failure_weight(np.zeros(6, bool)).shape == (0,)
