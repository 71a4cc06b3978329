"""Turns what is to be told at one scoring into risks: reasons, evidence, advice and pictures of all of them at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from forewarn.features.definitions import HORIZON_STEPS
from forewarn.features.windows import Snapshot, WindowStore
from forewarn.risk import narrative
from forewarn.risk.catalogue import failure_mode
from forewarn.risk.deletion import Deletions, attribute, delete
from forewarn.risk.drivers import Roles, Subject, companions, own_drivers
from forewarn.risk.load import LoadOutlook
from forewarn.risk.origin import Calls, Candidate, Nearby, callers, candidates, reached, tested
from forewarn.risk.records import Driver, Risk, TimeToFailure
from forewarn.risk.regime import Regimes
from forewarn.risk.scorer import PAGING_HORIZON, Scorer, Scores
from forewarn.telemetry.samples import Series

_COMPANION_CELLS = 180  # how far back signals are compared, in steps


@dataclass(frozen=True, slots=True)
class Telling:
    """One prediction that is to be told, without its explanation. index: its row in the snapshot."""

    series: Series
    index: int
    state: str
    episode: str
    revision: int


@dataclass(frozen=True, slots=True, eq=False)
class Surroundings:
    """What an explanation looks at beside the scores, at the start of cell `end`.

    windows: those of the signals; peers: those of the whole namespace, these among them; calls: client -> servers.
    """

    windows: WindowStore
    peers: Sequence[WindowStore]
    calls: Calls
    regimes: Regimes
    loads: LoadOutlook
    step_seconds: float
    end: int


@dataclass(frozen=True, slots=True, eq=False)
class _Looked:
    """What was found around one telling before anything was tested."""

    subject: Subject
    causes: list[Candidate]
    moved: list[Driver]


def explain(
    tellings: Sequence[Telling], seen: Snapshot, scores: Scores, around: Surroundings, scorer: Scorer
) -> list[Risk]:
    """The risks of these tellings. The scorer is asked once, for all of them: a call costs more than its rows."""
    if not tellings:
        return []
    rows = np.array([t.index for t in tellings])
    found = [_look(t, seen, scores, around) for t in tellings]
    rises = [[c.share for c in one.causes if c.share is not None] for one in found]
    deletions = delete(seen.features[rows], scores.probability[rows], rises, scorer)
    history = around.windows.medium_history(seen.rows[rows], around.end)
    attributed = attribute(seen.features[rows], scorer)
    risks = []
    for i, (telling, one) in enumerate(zip(tellings, found, strict=True)):
        most = around.loads.most_gone(telling.index)
        drivers = [
            *around.loads.reasons(telling.index, one.subject, around.step_seconds),
            *tested(one.causes, [min(gone, most) for gone in deletions.slowed[i]]),
            *own_drivers(one.subject, np.minimum(deletions.without[i], most), attributed[i], around.step_seconds),
            *one.moved,
        ]
        now = Scores(scores.survival[rows[i] : rows[i] + 1], scores.quantiles[rows[i] : rows[i] + 1])
        raised = _row(deletions, i)
        forecast = narrative.forecast_of(one.subject, history[i], now.quantiles[0], around.step_seconds)
        actions = narrative.actions_of(one.subject, now, raised, around.step_seconds)
        p10, p50, p90 = (float(q * around.step_seconds) for q in now.quantiles[0])
        shift = around.regimes.newest(telling.series)
        restarts = around.regimes.count(telling.series.entity, around.end)
        evidence = narrative.evidence_of(one.subject, around.step_seconds)
        regime = narrative.regime_of(shift, restarts, around.step_seconds)
        risk = Risk(
            episode=telling.episode,
            revision=telling.revision,
            state=telling.state,
            entity=telling.series.entity,
            signal=telling.series.name,
            mode=failure_mode(telling.series.signal).mode,
            predicted_at=datetime.fromtimestamp(around.end * around.step_seconds, UTC),
            horizon_seconds=HORIZON_STEPS[PAGING_HORIZON] * around.step_seconds,
            probability=float(now.probability[0]),
            time_to_failure=TimeToFailure(p10, p50, p90, float(now.survival[0, -1])),
            value=one.subject.value,
            limit=one.subject.limit,
            unit=telling.series.unit,
            drivers=drivers,
            evidence=[*(e.text for e in evidence), *regime],
            evidence_queries=[*(e.query for e in evidence), *[""] * len(regime)],
            actions=actions,
            forecast=forecast,
            model_version=scorer.version,
        )
        risks.append(risk)
    return risks


def _row(deletions: Deletions, i: int) -> Scores:
    raised = deletions.raised
    return Scores(raised.survival[i : i + 1], raised.quantiles[i : i + 1])


def _look(telling: Telling, seen: Snapshot, scores: Scores, around: Surroundings) -> _Looked:
    """Causes elsewhere in the service graph, and what moved with the signal."""
    i, series = telling.index, telling.series
    roles = Roles(*around.windows.roles(int(seen.rows[i])))
    left = float(scores.quantiles[i, 1]) * around.step_seconds
    subject = Subject(series, seen.features[i], float(seen.values[i]), float(seen.limits[i]), roles, left)
    cells = around.windows.history(seen.rows[i : i + 1], around.end, _COMPANION_CELLS)[0]
    entities = {series.entity, *reached(series.entity, around.calls), *callers(series.entity, around.calls)}
    nearby = _nearby(entities, series, around)
    causes = candidates(series, cells, nearby, around.calls)
    return _Looked(subject, causes, companions(cells, nearby.cells, nearby.series, series.entity, around.step_seconds))


def _nearby(entities: set[str], series: Series, around: Surroundings) -> Nearby:
    """The other series of these entities and their last cells."""
    cells, names = [np.empty((0, _COMPANION_CELLS), np.float32)], []
    for windows in around.peers:
        known = windows.series
        rows = [r for one in sorted(entities) for r in windows.entity_rows.get(one, ()) if known[r] != series]
        cells.append(windows.history(np.array(rows, np.int64), around.end, _COMPANION_CELLS))
        names += [known[r] for r in rows]
    return Nearby(names, np.vstack(cells))
