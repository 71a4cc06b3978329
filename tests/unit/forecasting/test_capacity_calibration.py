"""Intervals by own errors and those of the class: who is never wrong stays narrow, one that jumped widens no other."""

import numpy as np

from forewarn.forecasting.capacity.calibration import offsets, width, with_offsets
from forewarn.forecasting.capacity.contest import CapacityContest
from forewarn.forecasting.capacity.horizons import HIGH, HOURS, LEVELS, LOW
from forewarn.forecasting.capacity.model import packaged

ORIGINS = list(range(100, 420, 20))


def errors(seed: int = 0, series: int = 12) -> np.ndarray:
    """[O, s, K] of paths, of one size."""
    return np.random.default_rng(seed).normal(size=(len(ORIGINS), series, len(HOURS)))


def test_a_series_that_is_never_wrong_gets_no_interval_of_others() -> None:
    given = errors()
    given[:, 0] = 0.0
    own, pooled = offsets(given, ORIGINS)
    spread = own[..., HIGH] - own[..., LOW]
    assert (spread[0] < 0.5 * np.median(spread[1:], axis=0)).all()
    assert spread[0, 0] < 0.1 * np.median(spread[1:, 0])
    assert pooled.shape == (len(HOURS), len(LEVELS)) and (np.diff(pooled, axis=1) >= 0).all()


def test_series_that_are_a_million_times_as_wrong_widen_no_other() -> None:
    given = errors()
    alone, _ = offsets(given, ORIGINS)
    given[:, :3] *= 1e6
    beside, _ = offsets(given, ORIGINS)
    ratio = (beside[3:, :, HIGH] - beside[3:, :, LOW]) / (alone[3:, :, HIGH] - alone[3:, :, LOW])
    assert ratio.max() < 2
    assert (beside[:3, 0, HIGH] > 1e5).all()  # their own errors stay theirs


def test_offsets_hold_their_share_of_what_they_were_learned_from() -> None:
    given = errors(1, 40)
    own, _ = offsets(given, ORIGINS)
    inside = (own[..., LOW] <= given) & (given <= own[..., HIGH])
    assert 0.74 < inside.mean() < 0.9


def test_direct_quantiles_that_hardly_open_are_not_counted_in_millions_of_widths() -> None:
    said = np.zeros((1, 2, len(HOURS), len(LEVELS)))
    assert width(said).min() >= 0.1
    np.testing.assert_array_equal(with_offsets(None, said), said)


def test_a_signal_that_stood_still_and_jumped_leaves_the_others_alone() -> None:
    rng = np.random.default_rng(3)
    values = rng.normal(size=(6, 500))
    still = np.where(np.arange(500) < 300, 5.0, 5.0 + rng.normal(size=500))[None]
    said = []
    for past in (values, np.concatenate([values, still])):
        contest = CapacityContest(packaged())
        contest.learn(past)
        said.append(contest.quantiles(past)[:6])
    before, beside = (one[..., -1] - one[..., 0] for one in said)
    assert (beside < 5 * before).all()
