"""What a shadow would tell: episodes of its own over the batches that the champion scored."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forewarn.features.definitions import HORIZON_STEPS
from forewarn.risk.catalogue import failure_mode
from forewarn.risk.episodes import Episode, step
from forewarn.risk.records import Risk, episode_of
from forewarn.risk.scorer import PAGING_HORIZON, Scorer, Scores
from forewarn.services.prediction_stream import Latest
from forewarn.stores.model_health import CHAMPION, SHADOW
from forewarn.stores.shadow_predictions import SAMPLE, SAMPLE_STEPS, ShadowPrediction
from forewarn.telemetry.samples import Series

Key = tuple[str, str]  # entity and signal


@dataclass(frozen=True, slots=True)
class _Open:
    state: Episode
    identity: str


class ShadowEpisodes:
    """The shadow's state for each signal of which it says anything, as the engine keeps the champion's.

    told_before: what the shadow would have told before a restart, or where another process watched.
    """

    def __init__(self, told_before: Sequence[ShadowPrediction] = ()) -> None:
        self._states: dict[Series, _Open] = {}
        self._before: dict[Key, ShadowPrediction] = {}
        for prediction in told_before:  # in order of time: the last one counts
            self._before[(prediction.entity, prediction.signal)] = prediction
        self._before = {key: p for key, p in self._before.items() if p.state != "withdrawn"}

    def step(self, latest: Latest, scores: Scores, scorer: Scorer) -> list[ShadowPrediction]:
        """What the shadow would tell at this scoring: 'open', 'update', 'withdrawn'."""
        cell = round(latest.at.timestamp() / latest.step_seconds)
        at_limit = (latest.values >= latest.limits) & (latest.limits > 0)
        self._forget(latest, at_limit)
        probability, told = scores.probability, []
        for i in self._concerned(latest, probability >= scorer.threshold):
            series = latest.series[i]
            before = self._states.get(series) or self._taken_up(series, latest.step_seconds)
            left = float(scores.quantiles[i, 1])
            state, what = step(before.state, cell, float(probability[i]), left, scorer.threshold)
            identity = before.identity
            if what == "open":
                identity = episode_of(series.entity, series.name, failure_mode(series.signal).mode, latest.at)
            if state.open or state.above:
                self._states[series] = _Open(state, identity)
            else:
                self._states.pop(series, None)
            if what:
                told.append(_row(latest, i, scores, scorer, SHADOW, what, identity, before.state.revision + 1))
        return told

    def _concerned(self, latest: Latest, above: NDArray[np.bool_]) -> list[int]:
        """Rows above the threshold, and those with a state, of which something is predicted."""
        chosen = latest.predicted & above
        if self._states or self._before:
            ids = {id(series) for series in self._states}  # the engine keeps one object a series
            for i, series in enumerate(latest.series):
                if id(series) in ids or (self._before and (series.entity, series.name) in self._before):
                    chosen[i] = latest.predicted[i]
        return [int(i) for i in np.flatnonzero(chosen)]

    def _forget(self, latest: Latest, at_limit: NDArray[np.bool_]) -> None:
        """What was predicted has come: the next word about the signal begins a new episode."""
        for i in np.flatnonzero(at_limit).tolist():
            series = latest.series[i]
            self._states.pop(series, None)
            self._before.pop((series.entity, series.name), None)

    def _taken_up(self, series: Series, step_seconds: float) -> _Open:
        told = self._before.pop((series.entity, series.name), None)
        if told is None:
            return _Open(Episode(), "")
        cell = round(told.predicted_at.timestamp() / step_seconds)
        left = np.inf if told.p50_seconds is None else told.p50_seconds / step_seconds
        state = Episode(0, 0, cell, cell, cell + left, told.probability, told.revision)
        return _Open(state, told.episode or "")


def samples(latest: Latest, scores: Scores, scorer: Scorer, role: str) -> list[ShadowPrediction]:
    """Every signal with a value, at each SAMPLE_STEPS-th cell; [] at the cells between them."""
    if round(latest.at.timestamp() / latest.step_seconds) % SAMPLE_STEPS:
        return []
    rows = np.flatnonzero(np.isfinite(latest.values)).tolist()
    return [_row(latest, i, scores, scorer, role, SAMPLE, None, 0) for i in rows]


def told_by_champion(risks: Sequence[Risk], threshold_of: Callable[[str], float]) -> list[ShadowPrediction]:
    """The champion's risks as they left."""
    told = []
    for risk in risks:
        p10, p50, p90 = (_seconds(q) for q in (getattr(risk.time_to_failure, n) for n in ("p10", "p50", "p90")))
        told.append(
            ShadowPrediction(
                risk.model_version, CHAMPION, risk.state, risk.entity, risk.signal, risk.mode, risk.predicted_at,
                risk.horizon_seconds, risk.probability, threshold_of(risk.model_version), p10, p50, p90,
                risk.episode, risk.revision,
            )
        )  # fmt: skip
    return told


def _row(
    latest: Latest, i: int, scores: Scores, scorer: Scorer, role: str, state: str, episode: str | None, revision: int
) -> ShadowPrediction:
    series = latest.series[i]
    p10, p50, p90 = (_seconds(q) for q in (scores.quantiles[i] * latest.step_seconds).tolist())
    return ShadowPrediction(
        scorer.version, role, state, series.entity, series.name, failure_mode(series.signal).mode, latest.at,
        HORIZON_STEPS[PAGING_HORIZON] * latest.step_seconds, float(scores.probability[i]), scorer.threshold,
        p10, p50, p90, episode, revision,
    )  # fmt: skip


def _seconds(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else float(value)
