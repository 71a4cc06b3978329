"""Reasons say what is true of the numbers, in a person's words, with the query that shows them."""

import numpy as np
import pytest

from forewarn.features.batch import features_at
from forewarn.features.definitions import FEATURE_COUNT, INDEX
from forewarn.risk.deletion import attribute, delete
from forewarn.risk.drivers import COLUMNS, Roles, Subject, companions, own_drivers
from forewarn.risk.first_day import FirstDayScorer, load
from forewarn.risk.narrative import evidence_of
from forewarn.risk.scorer import TrainedScorer, score
from forewarn.telemetry.samples import Series

MEMORY = Series("shop/api", "process.memory.usage", unit="By")
RATIO = Series("shop/api", "http.server.request.error_ratio", unit="1")
ALL, NONE = np.ones(len(COLUMNS)), np.full(len(COLUMNS), np.nan)


def _subject(y: np.ndarray, series: Series = MEMORY, limit: float = 1e9, left: float = 600.0) -> Subject:
    grid = (y / limit).astype(np.float32)[None]
    features = features_at(grid, np.ones_like(grid), np.array([len(y)]))[:, 0]
    roles = Roles(Series("shop/api", "http.server.request.rate"), RATIO, Series("shop/api", "http.server.duration"))
    return Subject(series, features[0], float(y[-1]), limit, roles, left)


def _texts(subject: Subject, step: float = 60.0) -> list[str]:
    return [d.text for d in own_drivers(subject, ALL, NONE, step)]


def test_growth_is_told_in_the_pace_of_the_time_left() -> None:
    leak = 3e8 + 1e6 * np.arange(400)
    assert _texts(_subject(leak, left=1800))[0].startswith("its growth of 977 KiB per minute over the last 60 min")
    assert "57.2 MiB per hour" in _texts(_subject(leak, left=10_000))[0]
    assert "1.34 GiB per day" in _texts(_subject(leak, left=500_000))[0]


def test_after_a_fall_no_growth_is_told() -> None:
    fell = 3e8 + 1e6 * np.arange(400)
    fell[-20:] = 1e7  # restarted
    assert not any("growth" in text for text in _texts(_subject(fell)))
    assert any("growth" in text for text in _texts(_subject(3e8 + 1e6 * np.arange(400))))


def test_a_high_is_the_highest_of_what_is_known() -> None:
    text = next(t for t in _texts(_subject(3e8 + 1e6 * np.arange(400))) if "limit" in t)
    assert text == "70 % of the memory's limit already in use, higher than at any time in the 6.7 h before"


def test_shares_change_by_percentage_points() -> None:
    ratio = np.linspace(0.01, 0.05, 200)
    subject = _subject(ratio, RATIO, 0.1)
    assert any("percentage points per minute" in t for t in _texts(subject))
    said = evidence_of(subject, 60.0)
    assert said[0].text == "http.server.request.error_ratio is 5 % of 10 % (50 %)"
    assert said[0].query == 'http_server_request_error_ratio{job=~"(shop/)?api"} / 0.1'
    assert said[1].text.startswith("it rose by 1.2") and said[1].text.endswith("percentage points in the last 60 min")
    assert said[1].query.endswith("offset 1h")


def test_what_stands_still_is_said_so() -> None:
    said = evidence_of(_subject(np.full(200, 5e8)), 60.0)
    assert said[1].text == "it did not change in the last 60 min"


def test_load_is_the_reason_of_its_own_signal_and_comes_after_ones_own() -> None:
    subject = _subject(3e8 + 1e6 * np.arange(400))
    subject.features[INDEX["load_day_ratio"]] = np.log(1.38)
    drivers = own_drivers(subject, np.array([0.2, 0.1, 0.0, 0.9, 0.04, 0.0]), NONE, 60.0)
    assert [d.signal for d in drivers] == ["process.memory.usage", "process.memory.usage", "http.server.request.rate"]
    assert drivers[-1].text == "a request rate of shop/api 38 % above yesterday's"
    assert all(d.query and not d.hypothesis for d in drivers)


def test_what_fails_the_deletion_test_is_left_out() -> None:
    assert own_drivers(_subject(3e8 + 1e6 * np.arange(400)), np.full(len(COLUMNS), 0.04), NONE, 60.0) == []


def test_the_same_thing_measured_otherwise_is_no_companion() -> None:
    rise = np.linspace(1, 2, 180, dtype=np.float32)
    wavy = rise + 0.05 * np.sin(np.arange(180)).astype(np.float32)
    found = companions(rise, np.stack([3 * rise, wavy]), [Series("api", "same"), Series("api", "other")], "api", 1.0)
    assert [d.signal for d in found] == ["other"]
    elsewhere = companions(rise, 3 * rise[None], [Series("batch", "same")], "api", 1.0)
    assert [d.entity for d in elsewhere] == ["batch"]  # it may well be where the rise comes from
    assert "which rose by" in found[0].text and found[0].query == 'other{job="api"}'


def test_shares_by_shap_values_are_rolled_up_and_add_up() -> None:
    features = np.vstack([_subject(3e8 + slope * 1e6 * np.arange(400)).features for slope in (1.0, 1.5)])
    trained = TrainedScorer("t", 0.5, load()[0], load()[1])
    shares = attribute(features, trained)
    assert shares.shape == (2, len(COLUMNS)) and (shares >= 0).all()
    assert shares.sum(1) == pytest.approx([1.0, 1.0])
    assert np.isnan(attribute(features, FirstDayScorer())).all()
    probability = score(trained, features).probability
    without = delete(features, probability, [[], []], trained).without
    told = own_drivers(_subject(3e8 + 1.5e6 * np.arange(400)), without[1], shares[1], 60.0)
    assert told and all(d.attributed is not None and 0 <= d.attributed <= 1 for d in told)


def test_nothing_is_said_of_what_is_missing() -> None:
    empty = Subject(MEMORY, np.full(FEATURE_COUNT, np.nan), 5e8, 1e9, Roles(), 600.0)
    assert _texts(empty) == ["50 % of the memory's limit already in use"]
