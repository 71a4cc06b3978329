"""A capacity is told once, after two hours above the threshold, and an answer of an engineer is respected."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from forewarn.forecasting.capacity.model import packaged
from forewarn.risk.capacity import CapacityForecast, CapacityHistory, forecast_capacities
from forewarn.risk.capacity_telling import Telling, evidence_of, is_capacity, tell
from forewarn.risk.records import decode_risk, encode
from forewarn.telemetry.samples import Series

AT = datetime(2026, 5, 1, 12, tzinfo=UTC)
GIB = 2.0**30
DISK = Series("shop/db", "system.filesystem.usage", (("mountpoint", "/data"),), unit="By")


def history(maxima: np.ndarray, limit: float = 100 * GIB) -> CapacityHistory:
    known = maxima[np.isfinite(maxima)]
    return CapacityHistory(DISK, maxima, limit, known[-1] if len(known) else np.nan, np.full(len(maxima), np.nan))


@pytest.fixture(scope="module")
def filling() -> CapacityForecast:
    """A disk of 100 GiB at 70 that grows by 10 a day."""
    hours = np.arange(73)
    values = (40 + 10 * hours / 24 + 0.1 * np.random.default_rng(0).normal(size=73)) * GIB
    (forecast,) = forecast_capacities([history(values)], AT, packaged()).forecasts
    return forecast


def later(forecast: CapacityForecast, hours: int, probability: float | None = None) -> CapacityForecast:
    changed = replace(forecast, made_at=AT + timedelta(hours=hours))
    within = {**forecast.within, "7d": forecast.probability if probability is None else probability}
    return replace(changed, within=within)


def test_a_steady_growth_is_told_with_its_day(filling: CapacityForecast) -> None:
    assert filling.within["24h"] < 0.2 < 0.7 < filling.probability
    assert filling.p10 is not None and filling.p10 < 3 * 86_400 < filling.given[2]
    assert filling.p50 == pytest.approx(3 * 86_400, rel=0.25)
    assert filling.raised[0] < filling.probability
    assert any("a day" in sentence for sentence in evidence_of(filling))


def test_it_takes_two_hours_and_the_same_hour_counts_once(filling: CapacityForecast) -> None:
    state, risk = tell(filling, Telling(), elsewhere=False)
    assert risk is None and tell(filling, state, elsewhere=False) == (state, None)
    state, risk = tell(later(filling, 1), state, elsewhere=False)
    assert risk is not None and (risk.state, risk.revision) == ("open", 0) and is_capacity(risk.model_version)
    assert decode_risk(encode(risk)) == risk
    for hour in range(2, 6):
        state, risk = tell(later(filling, hour), state, elsewhere=False)
        assert risk is None


def test_it_is_withdrawn_once_it_has_calmed_down(filling: CapacityForecast) -> None:
    state = Telling()
    for hour in range(2):
        state, opened = tell(later(filling, hour), state, elsewhere=False)
    told = [tell_all(state, filling, range(2, 8), 0.05)]
    assert opened is not None
    assert [(r.state, r.episode, r.revision) for r in told[0]] == [("withdrawn", opened.episode, 1)]


def tell_all(state: Telling, forecast: CapacityForecast, hours: range, probability: float, ended: str = "") -> list:
    risks = []
    for hour in hours:
        state, risk = tell(later(forecast, hour, probability), state, elsewhere=False, ended=ended)
        risks += [risk] if risk else []
    return risks


def test_nothing_is_opened_beside_the_minute_path(filling: CapacityForecast) -> None:
    state = Telling()
    for hour in range(4):
        state, risk = tell(later(filling, hour), state, elsewhere=True)
        assert risk is None
    assert tell(later(filling, 4), state, elsewhere=False)[1] is not None


def test_what_an_engineer_dismissed_is_not_told_again(filling: CapacityForecast) -> None:
    state = Telling()
    for hour in range(2):
        state, _ = tell(later(filling, hour), state, elsewhere=False)
    assert tell_all(state, filling, range(2, 90), 0.95, ended="dismissed") == []
    assert tell_all(state, filling, range(2, 90), 0.95, ended="") != []


def test_what_came_true_makes_room_for_a_new_episode(filling: CapacityForecast) -> None:
    state = Telling()
    for hour in range(2):
        state, opened = tell(later(filling, hour), state, elsewhere=False)
    state, risk = tell(later(filling, 2), state, elsewhere=False, ended="hit")
    assert risk is None and state.identity == ""
    state, risk = tell(later(filling, 3), state, elsewhere=False)
    assert opened is not None and risk is not None and risk.episode != opened.episode


@pytest.mark.parametrize(
    ("maxima", "limit", "reason"),
    [
        (np.linspace(1, 2, 23), 10.0, "less than 24 hours"),
        (np.append(np.linspace(1, 2, 80), np.full(6, np.nan)), 10.0, "no data in the last 6"),
        (np.where(np.arange(96) % 2, np.nan, 1.0), 10.0, "of the history is missing"),
        (np.linspace(1, 2, 80), 0.0, "not a positive number"),
    ],
)
def test_it_says_why_it_is_silent(maxima: np.ndarray, limit: float, reason: str) -> None:
    made = forecast_capacities([history(maxima, limit)], AT, packaged())
    assert made.forecasts == []
    ((said, count),) = made.silent.items()
    assert reason in said and count == 1


def test_what_was_at_its_limit_lately_does_not_fill_up(filling: CapacityForecast) -> None:
    past = replace(filling.fan, history_values=[*filling.fan.history_values[:-1], 101 * GIB])
    state = Telling()
    for hour in range(4):
        state, risk = tell(replace(later(filling, hour), fan=past), state, elsewhere=False)
        assert risk is None
