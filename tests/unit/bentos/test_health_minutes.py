"""Minutes of health: who did what, and what the counters tell."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from bentos.predictor.model_health import ModelHealth
from forewarn.features.definitions import FEATURE_COUNT, HORIZON_STEPS
from forewarn.risk.scorer import Scores
from forewarn.services.prediction_stream import Latest
from forewarn.telemetry.samples import Series

NOON = datetime(2026, 1, 1, 12, 0, 30, tzinfo=UTC)


@dataclass
class Model:
    version: str
    threshold: float = 0.5


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


def latest(version: str, probability: list[float], predicted: list[bool]) -> Latest:
    n = len(probability)
    survival = 1 - np.repeat(np.array(probability)[:, None], len(HORIZON_STEPS), 1)
    series = [Series("shop/api", f"signal.{i}") for i in range(n)]
    return Latest(
        NOON, 60.0, series, np.ones(n), np.full(n, 2.0), np.zeros((n, FEATURE_COUNT)),
        Scores(survival, np.ones((n, 3))), version, np.array(predicted),
    )  # fmt: skip


def test_a_minute_tells_what_champion_and_fallback_did() -> None:
    counters: dict[str, float] = {}
    clock = Clock()
    health = ModelHealth("a", counters, clock)
    champion, other = Model("m-2"), Model("m-1", 0.9)
    health.serve(champion, None, 7)  # type: ignore[arg-type]
    health.scored(champion, 4, 0.01)  # type: ignore[arg-type]
    health.told(latest("m-2", [0.6, 0.6, 0.1, 0.9], [True, False, True, True]), [])
    assert health.failed(champion, ValueError("boom"))  # type: ignore[arg-type]
    health.scored(other, 4, 0.02)  # type: ignore[arg-type]
    health.told(latest("m-1", [0.6, 0.95], [True, True]), [])
    assert not health.failed(champion, ValueError("boom"))  # type: ignore[arg-type]
    minutes = {(m.model_version, m.role): m for m in health.drain()}
    mine, theirs = minutes[("m-2", "champion")], minutes[("m-1", "fallback")]
    assert (mine.batches, mine.rows, mine.abstained, mine.alerts, mine.errors) == (3, 4, 1, 2, 2)
    assert (mine.last_error, mine.p99_seconds, mine.minute) == ("ValueError: boom", 0.01, NOON.replace(second=0))
    assert (theirs.batches, theirs.alerts, theirs.errors) == (1, 1, 0)
    assert counters["champion_errors_total"] == 2
    assert counters["champion_abstained_share"] == 0.25
    assert (counters["fallback_batches_total"], counters["model_revision"]) == (1, 7)
    assert health.drain() == []


def test_a_new_champion_begins_anew_and_ended_minutes_are_told_once_more() -> None:
    counters: dict[str, float] = {}
    clock = Clock()
    health = ModelHealth("a", counters, clock)
    health.serve(Model("m-1"), None, 1)  # type: ignore[arg-type]
    health.scored(Model("m-1"), 4, 0.01)  # type: ignore[arg-type]
    health.drain()
    health.scored(Model("m-1"), 4, 0.01)  # type: ignore[arg-type]
    clock.now += timedelta(minutes=1)
    health.scored(Model("m-1"), 4, 0.01)  # type: ignore[arg-type]
    assert [(m.minute.minute, m.batches) for m in health.drain()] == [(0, 2), (1, 1)]
    assert counters["champion_batches_total"] == 0  # told with the next batch
    health.serve(Model("m-2"), Model("m-3"), 2)  # type: ignore[arg-type]
    health.scored(Model("m-2"), 4, 0.5)  # type: ignore[arg-type]
    health.shadow_dropped("m-3")
    assert health.shadow_failed(Model("m-3"), RuntimeError("no"))  # type: ignore[arg-type]
    health.latencies()
    assert counters["champion_batches_total"] == 1
    assert counters["champion_score_seconds_p99"] == 0.5
    assert (counters["shadow_dropped_total"], counters["shadow_errors_total"]) == (1, 1)
