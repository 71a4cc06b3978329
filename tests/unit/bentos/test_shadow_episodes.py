"""What a shadow would tell, and what is kept of both models."""

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pytest

from bentos.predictor.shadow_episodes import ShadowEpisodes, samples
from forewarn.features.definitions import FEATURE_COUNT, HORIZON_STEPS
from forewarn.risk.episodes import CONFIRM, WITHDRAW
from forewarn.risk.scorer import Scores
from forewarn.services.prediction_stream import Latest
from forewarn.stores.shadow_predictions import SAMPLE_STEPS
from forewarn.telemetry.samples import Series

SERIES = [Series(f"shop/api-{i}", "process.memory.usage", unit="By") for i in range(3)]
FIRST = 1_000 * SAMPLE_STEPS


@dataclass
class Model:
    version: str = "m-2"
    threshold: float = 0.5


def latest(
    cell: int, values: tuple[float, ...] = (5, 5, 5), predicted: tuple[bool, ...] = (True, True, True)
) -> Latest:
    return Latest(
        datetime.fromtimestamp(cell * 60, UTC), 60.0, SERIES, np.array(values, float), np.full(3, 10.0),
        np.zeros((3, FEATURE_COUNT)), scores(0.0), "m-1", np.array(predicted),
    )  # fmt: skip


def scores(*probability: float, steps: float = 100.0) -> Scores:
    risk = np.array([*probability, *[0.0] * (3 - len(probability))])
    return Scores(1 - np.repeat(risk[:, None], len(HORIZON_STEPS), 1), np.full((3, 3), steps))


def run(episodes: ShadowEpisodes, cells: range, *probability: float, **seen: object) -> list[tuple[str, str, int]]:
    told = []
    for cell in cells:
        told += episodes.step(latest(cell, **seen), scores(*probability), Model())  # type: ignore[arg-type]
    return [(t.entity, t.state, t.revision) for t in told]


def test_a_shadow_opens_and_withdraws_as_the_engine_does() -> None:
    episodes = ShadowEpisodes()
    assert run(episodes, range(CONFIRM - 1), 0.9) == []
    assert run(episodes, range(CONFIRM - 1, CONFIRM), 0.9) == [("shop/api-0", "open", 0)]
    assert run(episodes, range(CONFIRM, CONFIRM + WITHDRAW), 0.0, 0.4) == [("shop/api-0", "withdrawn", 1)]
    assert run(episodes, range(20, 20 + CONFIRM), 0.9, 0.9) == [("shop/api-0", "open", 0), ("shop/api-1", "open", 0)]


def test_nothing_is_told_of_what_is_abstained_from_and_a_failure_ends_the_episode() -> None:
    episodes = ShadowEpisodes()
    assert run(episodes, range(5), 0.9, predicted=(False, True, True)) == []
    assert run(episodes, range(5, 5 + CONFIRM), 0.9) == [("shop/api-0", "open", 0)]
    assert run(episodes, range(8, 10), 0.9, values=(10, 5, 5), predicted=(False, True, True)) == []
    assert run(episodes, range(10, 10 + CONFIRM), 0.9) == [("shop/api-0", "open", 0)]


def test_a_restart_goes_on_with_what_was_told() -> None:
    episodes, told = ShadowEpisodes(), []
    for cell in range(CONFIRM):
        told += episodes.step(latest(cell), scores(0.9, 0.9), Model())  # type: ignore[arg-type]
    again = ShadowEpisodes(told)
    assert run(again, range(CONFIRM, CONFIRM + 4), 0.9, 0.9) == []
    [withdrawn, *_] = [t for c in range(9, 9 + WITHDRAW) for t in again.step(latest(c), scores(0.0, 0.9), Model())]  # type: ignore[arg-type]
    assert (withdrawn.state, withdrawn.revision, withdrawn.episode) == ("withdrawn", 1, told[0].episode)


@pytest.mark.parametrize(("cell", "expected"), [(FIRST, 2), (FIRST + 1, 0), (FIRST + SAMPLE_STEPS, 2)])
def test_samples_are_of_every_signal_with_a_value_now_and_then(cell: int, expected: int) -> None:
    found = samples(latest(cell, (5, np.nan, 5)), scores(0.2, 0.3, 0.4, steps=np.nan), Model(), "shadow")  # type: ignore[arg-type]
    assert len(found) == expected
    if found:
        assert [(f.entity, round(f.probability, 9)) for f in found] == [("shop/api-0", 0.2), ("shop/api-2", 0.4)]
        assert found[0].p50_seconds is None
        assert (found[0].role, found[0].state, found[0].episode) == ("shadow", "sample", None)
