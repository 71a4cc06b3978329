"""What a fault has before it: a running stack under load; and how long it takes until all is as it was before."""

import time
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psycopg

from benchmarks.faults.load import Load, entities_of
from benchmarks.faults.ramps import NAMESPACE as RAMPS
from benchmarks.faults.ramps import Ramps
from benchmarks.faults.stack import Stack

if TYPE_CHECKING:
    from benchmarks.faults.clock import Clock

PATIENCE_SECONDS = 180.0


class NotRecovered(Exception):  # noqa: N818
    """What was awaited did not come."""


@dataclass(slots=True)
class Report:
    """What a fault came to. Moments are monotonic seconds; recovery_seconds: None where it did not recover."""

    name: str
    title: str
    began: float
    ended: float = 0.0
    recovered: float = 0.0
    problem: str = ""
    restarts: int = 0
    told: str = ""  # what else was seen
    left_out: bool = False
    parts: dict[str, float] = field(default_factory=dict)  # seconds until each part was as before

    @property
    def recovery_seconds(self) -> float | None:
        """From the end of the fault until all was as before."""
        return None if self.problem else self.recovered - self.ended


@dataclass
class Scene:
    """A stack, its load, and how long faults last that last (seconds)."""

    stack: Stack
    load: Load
    ramps: Ramps
    hold_seconds: float
    clock: "Clock | None" = None
    _connection: psycopg.Connection[Any] | None = None

    def hold(self, share: float = 1.0) -> None:
        """Wait while the fault lasts."""
        time.sleep(self.hold_seconds * share)

    def await_recovery(self, report: Report) -> None:
        """Wait until all services are ready, requests of after the fault are accepted and archived, and cells of after
        it are scored and their clock is in the ledger; enters the moments in the report."""
        clock_ns = self.ramps.clock_ns
        waited_for = {
            "services ready": self.stack.all_ready,
            "load accepted": lambda: self.load.accepted_since(report.ended) == len(self.load.metrics),
            "load archived": lambda: self._archived(report.ended),
            "cells scored": lambda: self._scored_ns() > clock_ns,
        }
        while waited_for:
            for name in [n for n, done in waited_for.items() if done()]:
                report.parts[name] = time.monotonic() - report.ended
                del waited_for[name]
            if time.monotonic() - report.ended > PATIENCE_SECONDS:
                report.problem = f"after {PATIENCE_SECONDS:.0f} s still awaited: {', '.join(waited_for)}"
                return
            time.sleep(0.1)
        report.recovered = max(report.ended, *(report.ended + s for s in report.parts.values()))

    def _archived(self, moment: float) -> bool:
        """Whether a request of each lane that was accepted after the moment is in the archive."""
        for lane in self.load.metrics:
            after = bisect_right(lane.accepted, moment, key=lambda a: a.at)
            if after == len(lane.accepted):
                return False
            now = time.time()
            if self._ask(_NEWEST, (entities_of(lane.name)[0], now, now), -1) < lane.accepted[after].number:
                return False
        return True

    def _scored_ns(self) -> int:
        """Event clock of the ramps in the ledger."""
        seconds = self._ask("select extract(epoch from at) from watermarks where namespace = %s", (RAMPS,), 0)
        return int(float(seconds) * 1e9)

    def _ask(self, question: str, given: tuple[object, ...], otherwise: float) -> float:
        """One number; `otherwise` where there is none or the database does not answer."""
        try:
            if self._connection is None or self._connection.closed:
                self._connection = psycopg.connect(self.stack.url, autocommit=True)
            row = self._connection.execute(question.encode(), given).fetchone()
        except (psycopg.Error, RuntimeError):
            self._connection = None
            return otherwise
        return otherwise if row is None or row[0] is None else row[0]

    def settle(self) -> None:
        """Wait until nothing on the log is unread. Raises NotRecovered."""
        deadline, lags = time.monotonic() + PATIENCE_SECONDS, 1.0
        quiet = 0
        while quiet < 3:
            lags = self._ask(_LAG, (), 1.0)
            quiet = quiet + 1 if lags == 0 else 0
            if time.monotonic() > deadline:
                raise NotRecovered(f"{lags:.0f} messages are still unread after {PATIENCE_SECONDS:.0f} s")
            time.sleep(2.1)  # counters are written every 2 s


_NEWEST = """
select max(value) from metric_samples join metric_series using (series_id)
where entity = %s and time > to_timestamp(%s) - interval '200 s' and time < to_timestamp(%s)
"""
_LAG = """
select sum((counters->>'lag_messages')::float) from service_status
where service in ('archiver', 'predictor', 'alerter', 'connector') and seen_at > now() - interval '10 s'
"""
