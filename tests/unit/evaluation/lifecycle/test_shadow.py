"""The comparison of shadow and champion: symmetrical, silent on few, honest about groups and about chance."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forewarn.evaluation.ledger import Prediction
from forewarn.evaluation.lifecycle.bootstrap import expanded, paired_difference
from forewarn.evaluation.lifecycle.pairing import Incidents, PairedRow, pairs_of, told_of
from forewarn.evaluation.lifecycle.shadow import (
    Decision,
    Pairs,
    ShadowPolicy,
    Told,
    judge_shadow,
    worse_group,
    worse_telling,
)
from forewarn.risk.records import FailureObserved

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def world(incidents: int = 12, shadow: float = 0.9, champion: float = 0.6, seed: int = 0, entities: int = 3) -> Pairs:
    """Each incident has ten rows before it, and ten calm stretches of eight rows beside it; mean probability given."""
    rng = np.random.default_rng(seed)
    rows = [(k, True, k % entities) for k in range(incidents) for _ in range(10)]
    rows += [(-1 - k, False, k % entities) for k in range(10 * incidents) for _ in range(8)]
    cluster, failed, entity = (np.array(column) for column in zip(*rows, strict=True))
    level = rng.normal(0, 0.05, 2000)[cluster]

    def said(mean: float) -> np.ndarray:
        return np.clip(np.where(failed, mean, 0.1) + level + rng.normal(0, 0.03, len(rows)), 0, 1)

    return Pairs(said(shadow), said(champion), failed, cluster, {"entity": entity}, timedelta(days=3))


def swapped(pairs: Pairs) -> Pairs:
    """The champion as shadow."""
    return replace(pairs, shadow=pairs.champion, champion=pairs.shadow)


def test_a_better_shadow_is_promoted_and_the_worse_is_withheld() -> None:
    better = judge_shadow(world(), Told(), Told())
    assert better.decision == Decision.PROMOTE and "no group worse" in better.reason
    worse = judge_shadow(swapped(world()), Told(), Told())
    assert worse.decision == Decision.WITHHOLD and "worse than the champion" in worse.reason


@settings(max_examples=12)
@given(st.integers(0, 10_000), st.floats(0.3, 0.95), st.floats(0.3, 0.95))
def test_the_comparison_is_symmetrical(seed: int, one: float, other: float) -> None:
    pairs = world(9, one, other, seed)
    d = paired_difference(pairs.excess, pairs.cluster, pairs.failed, 0.01, 7)
    e = paired_difference(swapped(pairs).excess, pairs.cluster, pairs.failed, 0.01, 7)
    assert (e.mean, e.low, e.high) == pytest.approx((-d.mean, -d.high, -d.low), abs=1e-12)
    assert (d.better, d.worse) == (e.worse, e.better) and not (d.better and d.worse)


@pytest.mark.parametrize("incidents", [0, 1, 4, 7])
def test_few_incidents_are_not_enough_however_clear(incidents: int) -> None:
    verdict = judge_shadow(world(incidents, 1.0, 0.0) if incidents else _nothing(), Told(), Told())
    assert verdict.decision == Decision.WAIT and f"{incidents} of 8 incidents" in verdict.reason


def test_a_shadow_that_is_no_better_waits_and_then_goes() -> None:
    same = world(12, 0.7, 0.7)
    assert judge_shadow(same, Told(), Told()).decision == Decision.WAIT
    late = judge_shadow(replace(same, span=timedelta(days=15)), Told(), Told())
    assert late.decision == Decision.WITHHOLD and "after 15 days in shadow" in late.reason


def test_a_shadow_as_good_as_the_champion_is_seldom_promoted() -> None:
    """At 1 % a side, of 30 comparisons at one look at most two."""
    promoted = sum(judge_shadow(world(10, 0.7, 0.7, seed), Told(), Told()).decision == "promote" for seed in range(30))
    assert promoted <= 2


def test_one_group_that_is_worse_keeps_it_out() -> None:
    pairs = world(24)
    own = (pairs.groups["entity"] == 1) & pairs.failed
    bad = replace(pairs, shadow=np.where(own, 0.45, pairs.shadow))
    assert paired_difference(bad.excess, bad.cluster, bad.failed, 0.01, 7).mean < 0
    assert "entity 1" in worse_group(bad) and worse_group(pairs) == ""
    verdict = judge_shadow(bad, Told(), Told(), ShadowPolicy(most=timedelta(days=99)))
    assert verdict.decision != Decision.PROMOTE


def test_lost_incidents_and_false_alarms_keep_it_out() -> None:
    many = frozenset(range(9))
    assert worse_telling(Told(many, 4), Told(many, 1)) == ""
    assert "5 false alarms" in worse_telling(Told(many, 5), Told(many, 1))
    assert "2 incidents" in worse_telling(Told(frozenset(range(7))), Told(many))
    assert worse_telling(Told(frozenset(range(2, 11))), Told(many)) == ""  # as many others
    assert judge_shadow(world(), Told(), Told(many)).decision == Decision.WITHHOLD


def test_the_interval_is_wider_for_few() -> None:
    assert expanded(0.025, 1) == 0.0
    assert expanded(0.025, 5) < expanded(0.025, 20) < expanded(0.025, 2000) == pytest.approx(0.025, rel=0.02)


def test_rows_belong_to_incidents_and_calm_stretches() -> None:
    failures = [("shop/a", NOON), ("shop/b", NOON + HOUR / 4), ("shop/a", NOON + 5 * HOUR), ("yard/a", NOON)]
    incidents = Incidents(failures, HOUR / 2)
    assert len(incidents) == 3
    assert incidents.of("shop/a", NOON) == incidents.of("shop/b", NOON + HOUR / 4) != incidents.of("yard/a", NOON)

    def row(entity: str, at: datetime, failed_at: datetime | None) -> PairedRow:
        return PairedRow(entity, "s", "m", at, 3600.0, 0.5, 0.4, failed_at)

    calm = [row("shop/a", NOON + k * HOUR / 4, None) for k in range(8)]
    pairs = pairs_of([row("shop/a", NOON - HOUR / 2, NOON), row("shop/b", NOON, NOON + HOUR / 4), *calm], incidents)
    assert pairs.cluster[0] == pairs.cluster[1] > 0 and pairs.incidents == 1
    assert len(set(pairs.cluster[2:].tolist())) == 2 and (pairs.cluster[2:] < 0).all()
    assert pairs_of([], incidents).incidents == 0


def test_what_was_told_is_resolved_as_in_the_ledger() -> None:
    def told(episode: str, revision: int, state: str, at: datetime) -> Prediction:
        return Prediction(f"{episode}{revision}", episode, revision, state, "shop/a", "s", "m", at, at + 6 * HOUR,
                          0.8, 60.0, 3600.0, 7200.0)  # fmt: skip

    def failure(at: datetime) -> FailureObserved:
        return FailureObserved("shop/a", "s", "m", at, 1.0, 1.0)

    failures = [failure(NOON + 2 * HOUR), failure(NOON + 30 * HOUR), failure(NOON + 60 * HOUR)]
    incidents = Incidents([(f.entity, f.at) for f in failures], HOUR)
    predictions = [
        told("hit", 1, "open", NOON),
        told("false", 1, "open", NOON + 12 * HOUR),
        told("taken back", 1, "open", NOON + 28 * HOUR),
        told("taken back", 2, "withdrawn", NOON + 29 * HOUR),
        told("pending", 1, "open", NOON + 70 * HOUR),
    ]
    found = told_of(predictions, failures, {"shop": NOON + 71 * HOUR}, incidents, 60.0)
    assert found.predicted == {incidents.of("shop/a", NOON + 2 * HOUR)}
    assert found.false == 2  # 'false', and 'taken back' before its failure


def _nothing() -> Pairs:
    return pairs_of([], Incidents([], HOUR))
