"""Predictions of champion and shadow, resolved by the ledger's rules, as cases that can be compared."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from forewarn.evaluation.ledger import Prediction, episode_of_failure, outcome_on_arrival
from forewarn.evaluation.lifecycle.shadow import Pairs, Told
from forewarn.risk.records import FailureObserved
from forewarn.telemetry.samples import namespace_of


@dataclass(frozen=True, slots=True)
class PairedRow:
    """A signal at a time that both models scored. failed_at: its first failure within the horizon; None: none came."""

    entity: str
    signal: str
    mode: str
    predicted_at: datetime
    horizon_seconds: float
    shadow: float
    champion: float
    failed_at: datetime | None


class Incidents:
    """Numbers incidents: failures of a namespace that begin within `window` of the one before are one incident."""

    def __init__(self, failures: Iterable[tuple[str, datetime]], window: timedelta) -> None:
        """failures: entity and time of each."""
        self._number: dict[tuple[str, datetime], int] = {}
        number, before = 0, ("", datetime.min)
        for at in sorted({(namespace_of(entity), time) for entity, time in failures}):
            if at[0] != before[0] or at[1].replace(tzinfo=None) - before[1].replace(tzinfo=None) > window:
                number += 1
            self._number[at] = number
            before = at

    def __len__(self) -> int:
        return max(self._number.values(), default=0)

    def of(self, entity: str, failed_at: datetime) -> int:
        """The number of the incident that a failure belongs to, from 1. Raises KeyError for an unknown one."""
        return self._number[namespace_of(entity), failed_at]


def pairs_of(rows: Sequence[PairedRow], incidents: Incidents) -> Pairs:
    """Cases to compare: rows before a failure belong to its incident, calm ones to a stretch of their entity.

    A calm stretch is as long as the horizon: rows closer than that are about the same future.
    """
    calm: dict[tuple[str, int], int] = {}
    cluster = np.empty(len(rows), np.int64)
    for k, row in enumerate(rows):
        if row.failed_at is not None:
            cluster[k] = incidents.of(row.entity, row.failed_at)
        else:
            stretch = int(row.predicted_at.timestamp() // row.horizon_seconds)
            cluster[k] = -1 - calm.setdefault((row.entity, stretch), len(calm))
    times = [row.predicted_at for row in rows]
    return Pairs(
        shadow=np.array([row.shadow for row in rows], np.float64),
        champion=np.array([row.champion for row in rows], np.float64),
        failed=np.array([row.failed_at is not None for row in rows], np.bool_),
        cluster=cluster,
        groups={"entity": np.array([row.entity for row in rows]), "mode": np.array([row.mode for row in rows])},
        span=max(times) - min(times) if times else timedelta(0),
    )


def told_of(
    predictions: Sequence[Prediction],
    failures: Sequence[FailureObserved],
    watermarks: dict[str, datetime],
    incidents: Incidents,
    min_lead_seconds: float,
) -> Told:
    """What came of the episodes that a model told or would have told; the rules are those of the ledger.

    watermarks: event clock of each namespace. Episodes that are not resolved yet count nowhere.
    """
    about: dict[tuple[str, str], list[Prediction]] = {}
    for p in predictions:
        about.setdefault((p.entity, p.signal), []).append(p)
    predicted, spoke = set(), set()
    for failure in failures:
        episode, open_before = episode_of_failure(failure, about.get((failure.entity, failure.signal), ()))
        if open_before and episode is not None:
            predicted.add(incidents.of(failure.entity, failure.at))
            spoke.add(episode)
    first = {p.episode: p for p in sorted(predictions, key=lambda p: -p.revision)}
    false = 0
    for episode, p in first.items():
        times = [f.at for f in failures if (f.entity, f.signal) == (p.entity, p.signal)]
        outcome = outcome_on_arrival(p, times, watermarks.get(namespace_of(p.entity)), None, min_lead_seconds)
        # a failure that came after the warning was withdrawn had been called off
        false += outcome is not None and episode not in spoke
    return Told(frozenset(predicted), false)
