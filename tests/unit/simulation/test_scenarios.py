"""Every scenario reaches its limit when it is due, hurts others, and is repaired; near misses do not reach it."""

from collections import Counter
from datetime import UTC, datetime

import numpy as np
import pytest

from forewarn.simulation.recording import Recording
from forewarn.simulation.scenarios import SCENARIOS, SHAPES, VARIANTS, draw, growth
from forewarn.simulation.schedule import live_day
from forewarn.simulation.simulate import Plan, simulate

START = datetime(2026, 11, 17, tzinfo=UTC)
ALL_VARIANTS = [(name, i) for name, variants in VARIANTS.items() for i in range(len(variants))]


@pytest.mark.parametrize(("name", "variant"), ALL_VARIANTS, ids=[VARIANTS[n][i].name for n, i in ALL_VARIANTS])
def test_every_variant_reaches_its_limit_in_its_window_and_is_repaired(name: str, variant: int) -> None:
    for seed in (1, 2):
        rng = np.random.default_rng(seed)
        onset, duration = rng.uniform(2, 14) * 3600, rng.uniform(2, 7) * 3600
        recording = simulate(START, 34, 60, seed, [draw(name, onset, duration, rng, variant)])
        (outcome,) = recording.outcomes
        assert outcome.failed_at is not None and outcome.repaired_at is not None
        share = ((outcome.failed_at - START).total_seconds() - onset) / duration
        assert 0.3 < share < 1.8
        chosen = VARIANTS[name][variant]
        first = recording.failures()[0].begin
        assert (first - START).total_seconds() > onset  # nothing was at its limit before
        own = [f for f in recording.failures() if (f.entity, f.signal) == (f"shop/{chosen.service}", chosen.signal)]
        assert own[0].begin == outcome.failed_at
        assert all((f.end - outcome.repaired_at).total_seconds() < 3 * 3600 for f in recording.failures())


@pytest.mark.parametrize("name", SCENARIOS)
def test_near_misses_reach_no_limit(name: str) -> None:
    for variant in range(len(VARIANTS[name])):
        rng = np.random.default_rng(variant)
        near = draw(name, 5 * 3600, 5 * 3600, rng, variant, near_miss=True)
        recording = simulate(START, 16, 60, variant, [near])
        assert recording.failures() == []
        assert "averted" in [h.kind for h in recording.happenings]


@pytest.mark.parametrize("shape", SHAPES)
def test_growth_never_falls_and_is_due_at_its_duration(shape: str) -> None:
    from dataclasses import replace

    one = replace(draw("disk-filling", 0, 3600 * 5, np.random.default_rng(1)), shape=shape, severity=1.0)
    since = np.arange(0, 3600 * 8, 60.0)
    grown = growth(one, since, 100 + since / 500)
    assert np.all(np.diff(grown) >= 0)
    assert grown[300] == pytest.approx(1)
    assert grown.max() <= 2.5


def test_no_two_ramps_are_alike() -> None:
    since = np.arange(0, 3600 * 5, 60.0)
    ramps = [
        growth(draw("disk-filling", 0, 3600 * 4, np.random.default_rng(seed)), since, np.ones(300))
        for seed in range(12)
    ]
    halfway = np.array([ramp[120] for ramp in ramps])
    assert len(np.unique(halfway)) == 12
    assert np.ptp(halfway) > 0.1


def test_history_has_incidents_of_every_scenario_and_near_misses(two_weeks: Recording) -> None:
    past = [o for o in two_weeks.outcomes if o.injection.onset_seconds < 14 * 86_400]
    incidents = Counter(o.injection.variant.scenario for o in past if o.injection.stop_at is None)
    assert set(incidents) == set(SCENARIOS)
    assert all(2 <= count <= 3 for count in incidents.values())
    assert all(o.failed_at for o in past if o.injection.stop_at is None)
    near = [o for o in past if o.injection.stop_at is not None]
    assert len(near) >= 6 and all(o.failed_at is None for o in near)
    assert len({o.entity for o in past}) >= 5
    onsets = sorted(o.injection.onset_seconds for o in past)
    assert onsets[0] > 12 * 3600 - 1  # first some normal life
    assert np.diff(onsets).max() < 40 * 3600  # spread over the days


def test_the_live_day_begins_healthy_and_its_failure_some_hours_later(two_weeks: Recording) -> None:
    live = two_weeks.outcomes[-1]
    assert live.injection.variant == VARIANTS["pool-exhaustion"][0]
    onset = live.injection.onset_seconds - 14 * 86_400
    assert 2 * 3600 < onset < 5 * 3600
    assert live.failed_at is not None
    before = two_weeks.time_of(14 * 86_400 - 3600)
    assert not [f for f in two_weeks.failures() if before < f.end < two_weeks.time_of(14 * 86_400 + onset)]


def test_a_short_live_day_has_its_failure_too() -> None:
    recording = Plan(START, history_days=0, live_hours=8, scenario="memory-leak").record()
    assert recording.outcomes[0].failed_at is not None
    assert live_day("none", 0, 24, 1) == []


def test_the_plan_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    one, two, other = (Plan(START, 14, 24, "disk-filling", seed).injections() for seed in (1, 1, 2))
    assert one == two != other


def test_an_unknown_scenario_is_refused() -> None:
    with pytest.raises(KeyError):
        Plan(START, scenario="gremlins").injections()
