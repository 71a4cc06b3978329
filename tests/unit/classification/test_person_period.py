"""Person-period expansion: who was at risk in which bin, and how censoring counts."""

import numpy as np

from forewarn.classification.person_period import expand

HORIZONS = (10, 20, 40)


def periods(failure: float, seen: float) -> list[tuple[int, float, float]]:
    """(bin, event, exposure) of one subject."""
    p = expand(np.array([failure]), np.array([seen]), HORIZONS)
    return list(zip(p.bin.tolist(), p.event.tolist(), p.exposure.tolist(), strict=True))


def test_failure_ends_the_bins() -> None:
    assert periods(15, 15) == [(0, 0, 1), (1, 1, 1)]


def test_failure_on_an_edge_belongs_to_the_bin_that_ends_there() -> None:
    assert periods(10, 10) == [(0, 1, 1)]


def test_survivor_goes_through_all_bins() -> None:
    assert periods(np.inf, 500) == [(0, 0, 1), (1, 0, 1), (2, 0, 1)]


def test_failure_beyond_the_last_horizon_is_survival() -> None:
    assert periods(100, 100) == [(0, 0, 1), (1, 0, 1), (2, 0, 1)]


def test_censored_bin_counts_by_its_watched_share() -> None:
    assert periods(np.inf, 15) == [(0, 0, 1), (1, 0, 0.5)]


def test_failure_after_watching_ended_is_not_known() -> None:
    assert periods(35, 15) == [(0, 0, 1), (1, 0, 0.5)]


def test_failure_in_the_next_cell_is_an_event() -> None:
    assert periods(0, 300) == [(0, 1, 1)]


def test_rows_without_information_are_left_out() -> None:
    assert periods(np.nan, 50) == periods(5, np.nan) == periods(np.inf, 0) == []
