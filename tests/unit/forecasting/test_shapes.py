"""Random shapes: reproducible, within bounds, and failing as often as their kind says."""

import numpy as np

from forewarn.forecasting.shapes import HIGHEST, WEIGHTS, draw


def _drawn(seed: int, count: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.stack([draw(rng, 600) for _ in range(count)])


def test_the_same_seed_draws_the_same_shapes_and_another_seed_others() -> None:
    np.testing.assert_array_equal(_drawn(3, 5), _drawn(3, 5))
    assert not np.array_equal(_drawn(3, 5), _drawn(4, 5), equal_nan=True)


def test_shapes_are_finite_or_missing_and_never_negative() -> None:
    drawn = _drawn(0, 200)
    assert not np.isinf(drawn).any()
    assert np.nanmin(drawn) >= 0
    assert np.isfinite(drawn).mean() > 0.95


def test_some_fail_and_more_do_not() -> None:
    share = float((_drawn(1, 300) >= 1).any(1).mean())
    assert 0.1 < share < 0.45
    assert abs(sum(WEIGHTS.values()) - 1) < 1e-9


def test_what_does_not_fail_keeps_below_its_limit() -> None:
    drawn = _drawn(2, 200)
    calm = drawn[~(drawn >= 1).any(1)]
    assert np.nanmax(calm) <= max(HIGHEST, 0.9999)
