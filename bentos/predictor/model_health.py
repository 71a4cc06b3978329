"""Counts how champion, shadow and who steps in are doing: minutes for the database, numbers for the heartbeat."""

import threading
from collections import deque
from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np

from forewarn.risk.records import Risk
from forewarn.risk.scorer import Scorer, Scores
from forewarn.services.prediction_stream import Latest
from forewarn.stores.model_health import CHAMPION, SHADOW, HealthMinute

FALLBACK = "fallback"  # the role of who scores what the champion fails on
_LATENCIES = 4096  # of a minute, and of the champion's last batches
_ERROR_CHARACTERS = 300


@dataclass(slots=True)
class _Tally:
    batches: int = 0
    rows: int = 0
    abstained: int = 0
    alerts: int = 0
    opened: int = 0
    errors: int = 0
    dropped: int = 0
    last_error: str = ""
    seconds: deque[float] = field(default_factory=lambda: deque(maxlen=_LATENCIES))


class ModelHealth:
    """Told by whoever scores, from any thread; `drain` hands over the minutes that changed.

    instance: names this process. counters: where the champion's numbers are kept up to date (`champion_…` since it
    was taken up, `shadow_…` likewise).
    """

    def __init__(
        self, instance: str, counters: MutableMapping[str, float], clock: Callable[[], datetime] | None = None
    ) -> None:
        self._instance, self._counters = instance, counters
        self._clock = clock or (lambda: datetime.now(UTC))
        self._lock = threading.Lock()
        self._minutes: dict[tuple[str, str, datetime], _Tally] = {}
        self._changed: set[tuple[str, str, datetime]] = set()
        self._since: dict[str, _Tally] = {CHAMPION: _Tally(), SHADOW: _Tally(), FALLBACK: _Tally()}
        self._version: dict[str, str] = {CHAMPION: "", SHADOW: ""}
        self._thresholds: dict[str, float] = {}

    def serve(self, champion: Scorer, shadow: Scorer | None, revision: int) -> None:
        """From now on these serve. What the counters tell begins anew for a model that is new."""
        with self._lock:
            for role, scorer in ((CHAMPION, champion), (SHADOW, shadow)):
                version = scorer.version if scorer else ""
                if version != self._version[role]:
                    self._version[role], self._since[role] = version, _Tally()
                if scorer:
                    self._thresholds[version] = scorer.threshold
            self._counters["model_revision"] = revision
            self._publish()

    def scored(self, scorer: Scorer, rows: int, seconds: float) -> None:
        """A batch of the stream was scored by the champion, or by who stepped in for it."""
        with self._lock:
            self._thresholds[scorer.version] = scorer.threshold
            for tally in self._tallies(scorer.version, self._role(scorer.version)):
                tally.batches += 1
                tally.rows += rows
                tally.seconds.append(seconds)

    def failed(self, scorer: Scorer, error: Exception) -> bool:
        """A model failed on a batch of the stream. Returns whether it is its first failure in this minute."""
        with self._lock:
            tallies = self._tallies(scorer.version, self._role(scorer.version))
            for tally in tallies:
                tally.batches += 1
                tally.errors += 1
                tally.last_error = _text(error)
            self._publish()
            return tallies[0].errors == 1

    def refused(self, version: str, role: str, error: Exception) -> None:
        """A model that should serve cannot be loaded."""
        with self._lock:
            for tally in self._tallies(version, role)[:1]:
                tally.errors += 1
                tally.last_error = _text(error)

    def told(self, latest: Latest, risks: Sequence[Risk]) -> None:
        """What the stream made of a batch: what it abstained from, what it told."""
        version = latest.model_version
        alerts = _alerts(latest, latest.scores, self._thresholds.get(version, 1.0))
        with self._lock:
            for tally in self._tallies(version, self._role(version)):
                tally.abstained += int(np.count_nonzero(~latest.predicted))
                tally.alerts += alerts
                tally.opened += sum(risk.state == "open" for risk in risks)
            self._publish()

    def shadow_scored(self, scorer: Scorer, latest: Latest, scores: Scores, seconds: float, opened: int) -> None:
        """The shadow scored the batch; `opened`: risks that it would have told for the first time."""
        with self._lock:
            for tally in self._tallies(scorer.version, SHADOW):
                tally.batches += 1
                tally.rows += len(latest.series)
                tally.abstained += int(np.count_nonzero(~latest.predicted))
                tally.alerts += _alerts(latest, scores, scorer.threshold)
                tally.opened += opened
                tally.seconds.append(seconds)
            self._publish()

    def shadow_failed(self, scorer: Scorer, error: Exception) -> bool:
        """The shadow failed on a batch. Returns whether it is its first failure in this minute."""
        with self._lock:
            tallies = self._tallies(scorer.version, SHADOW)
            for tally in tallies:
                tally.batches += 1
                tally.errors += 1
                tally.last_error = _text(error)
            self._publish()
            return tallies[0].errors == 1

    def shadow_dropped(self, version: str) -> None:
        """The shadow is too slow: it leaves out a batch."""
        with self._lock:
            for tally in self._tallies(version, SHADOW):
                tally.dropped += 1

    def drain(self) -> list[HealthMinute]:
        """The minutes that changed since the last call; those that have ended are forgotten."""
        with self._lock:
            found = [self._minute(key) for key in sorted(self._changed)]
            self._changed.clear()
            now = self._clock().replace(second=0, microsecond=0)
            self._minutes = {key: tally for key, tally in self._minutes.items() if key[2] >= now}
            return found

    def _role(self, version: str) -> str:
        return CHAMPION if version == self._version[CHAMPION] else FALLBACK

    def _tallies(self, version: str, role: str) -> list[_Tally]:
        """The tally of this minute and, for who serves now, the one since it was taken up."""
        key = version, role, self._clock().replace(second=0, microsecond=0)
        self._changed.add(key)
        minute = self._minutes.setdefault(key, _Tally())
        return [minute, self._since[role]] if version == self._version.get(role, version) else [minute]

    def _minute(self, key: tuple[str, str, datetime]) -> HealthMinute:
        version, role, at = key
        t = self._minutes[key]
        p50, p99 = _percentiles(t.seconds)
        return HealthMinute(
            version, role, self._instance, at, t.batches, t.rows, t.abstained, t.alerts, t.opened, t.errors, t.dropped,
            p50, p99, t.last_error,
        )  # fmt: skip

    def _publish(self) -> None:
        champion, shadow, fallback = (self._since[role] for role in (CHAMPION, SHADOW, FALLBACK))
        self._counters["champion_batches_total"] = champion.batches
        self._counters["champion_errors_total"] = champion.errors
        self._counters["champion_risks_opened_total"] = champion.opened
        self._counters["champion_abstained_share"] = champion.abstained / max(champion.rows, 1)
        self._counters["fallback_batches_total"] = fallback.batches
        self._counters["shadow_batches_total"] = shadow.batches
        self._counters["shadow_errors_total"] = shadow.errors
        self._counters["shadow_dropped_total"] = shadow.dropped

    def latencies(self) -> None:
        """Bring the champion's median and 99th percentile seconds of a batch up to date; dearer than counting."""
        with self._lock:
            p50, p99 = _percentiles(self._since[CHAMPION].seconds)
        if p50 is not None and p99 is not None:
            self._counters["champion_score_seconds_p50"], self._counters["champion_score_seconds_p99"] = p50, p99


def _alerts(latest: Latest, scores: Scores, threshold: float) -> int:
    return int(np.count_nonzero(latest.predicted & (scores.probability >= threshold)))


def _percentiles(seconds: Sequence[float]) -> tuple[float | None, float | None]:
    if not seconds:
        return None, None
    p50, p99 = np.percentile(np.array(seconds), [50, 99])
    return float(p50), float(p99)


def _text(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:_ERROR_CHARACTERS]
