"""Parts of time that do not see each other, labels as they were known, samples whose weights undo them."""

import numpy as np
import pytest

from forewarn.evaluation.split import EMBARGO_STEPS, balanced_sample, blocks, censored, split_time


def test_parts_follow_each_other_with_a_gap() -> None:
    s = split_time(14 * 1440)
    assert s.train.first == 0 and s.test.stop == 14 * 1440
    assert s.calibration.first - s.train.stop == s.test.first - s.calibration.stop == EMBARGO_STEPS
    assert s.train.stop == round(0.7 * 14 * 1440)


def test_short_history_is_told() -> None:
    with pytest.raises(ValueError, match="1440 are needed"):
        split_time(600)


def test_labels_are_cut_at_what_was_known() -> None:
    steps, observed = np.array([50.0, 150.0, np.inf, np.nan]), np.array([500.0, 500.0, 500.0, np.nan])
    cut, seen = censored(steps, observed, np.full(4, 900), 1000)
    assert cut[0] == 50 and np.isinf(cut[1]) and np.isinf(cut[2]) and np.isnan(cut[3])
    assert seen[:3].tolist() == [100, 100, 100]


def test_blocks_are_predicted_from_others() -> None:
    part = split_time(9000).train
    at = np.arange(0, 9000, 5)
    cut = blocks(part, 3)
    assert [b.first for b in cut] == [0, 2100, 4200] and cut[-1].stop == part.stop
    for block in cut:
        others, own = at[block.far_from(at)], at[block.holds(at)]
        assert np.abs(others[:, None] - own[None]).min() > EMBARGO_STEPS - 5


@pytest.mark.parametrize(("positives", "n", "most"), [(5000, 20000, 3000), (100, 20000, 3000), (50, 200, 3000)])
def test_weights_undo_the_sampling(positives: int, n: int, most: int) -> None:
    positive = np.arange(n) < positives
    rows, weight = balanced_sample(positive, most, seed=1)
    assert len(rows) == min(most, n) == len(np.unique(rows))
    assert weight[positive[rows]].sum() == pytest.approx(positives)
    assert weight[~positive[rows]].sum() == pytest.approx(n - positives)
