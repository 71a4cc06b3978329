"""What the stores say about a demo: incidents, pages, predictions and what became of them. Reads only."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from forewarn.incidents.records import Incident, decode_incident

_VERSIONS = b"""
select h.payload::text, h.recorded_at from incident_history h
where h.payload->>'entity' like %s and h.recorded_at > %s order by h.recorded_at, h.version
"""
_PREDICTIONS = b"""
select r.entity, r.signal, r.mode, r.predicted_at, r.p10_seconds, r.p50_seconds, r.p90_seconds, r.probability,
       o.outcome, o.failed_at, o.lead_seconds, o.inside_80
from risks r left join outcomes o using (risk_id)
where r.revision = 0 and r.entity like %s order by r.predicted_at
"""
_WARNINGS = b"""
select entity, signal, predicted_at from risks where entity like %s and state <> 'withdrawn' order by predicted_at
"""
_PAGED = b"""
select distinct i.payload::text from incidents i join outbox o using (incident_id)
where o.status = 'sent' and i.entity like %s
"""
_FAILURES = b"select entity, signal, failed_at, predicted from failures where entity like %s order by failed_at"


@dataclass(frozen=True, slots=True)
class Told:
    """The first prediction of an episode and what became of it; seconds, event times."""

    entity: str
    signal: str
    mode: str
    predicted_at: datetime
    p10: float | None
    p50: float | None
    p90: float | None
    probability: float
    outcome: str | None
    failed_at: datetime | None
    lead: float | None
    inside_80: bool | None


@dataclass(frozen=True, slots=True)
class Failed:
    """A failure that the predictor saw in the telemetry."""

    entity: str
    signal: str
    failed_at: datetime
    predicted: bool


class Facts:
    """Queries about one namespace on a connection of their own."""

    def __init__(self, postgres_url: str, namespace: str) -> None:
        self._connection: psycopg.Connection[Any] = psycopg.connect(postgres_url, autocommit=True)
        self._of = f"{namespace}/%"
        self._namespace = namespace

    def close(self) -> None:
        """Give the connection back."""
        self._connection.close()

    def incident_versions(self, after: datetime) -> list[tuple[Incident, datetime]]:
        """Versions of incidents recorded after a wall-clock time, oldest first."""
        rows = self._connection.execute(_VERSIONS, (self._of, after)).fetchall()
        return [(decode_incident(payload.encode()), at) for payload, at in rows]

    def told(self) -> list[Told]:
        """Every episode's first prediction."""
        return [Told(*row) for row in self._connection.execute(_PREDICTIONS, (self._of,)).fetchall()]

    def warnings(self) -> list[tuple[str, str, datetime]]:
        """Entity, signal and time of every prediction, each renewal of an open one included."""
        rows = self._connection.execute(_WARNINGS, (self._of,)).fetchall()
        return [(entity, signal, at) for entity, signal, at in rows]

    def paged(self) -> list[Incident]:
        """Incidents of which people were told."""
        rows = self._connection.execute(_PAGED, (self._of,)).fetchall()
        return [decode_incident(payload.encode()) for (payload,) in rows]

    def failures(self) -> list[Failed]:
        """What failed."""
        return [Failed(*row) for row in self._connection.execute(_FAILURES, (self._of,)).fetchall()]

    def clock(self) -> datetime | None:
        """The event clock of the namespace."""
        row = self._connection.execute(b"select at from watermarks where namespace = %s", (self._namespace,)).fetchone()
        return row[0] if row else None

    def samples(self) -> int:
        """Samples in the archive."""
        row = self._connection.execute(
            b"select count(*) from metric_samples s join metric_series m using (series_id) where m.entity like %s",
            (self._of,),
        ).fetchone()
        return int(row[0]) if row else 0

    def champion(self) -> str | None:
        """Version of the model that serves."""
        row = self._connection.execute(b"select version from model_versions where stage = 'champion'").fetchone()
        return str(row[0]) if row else None

    def withheld(self) -> str:
        """Why the newest model was not promoted."""
        row = self._connection.execute(b"select reason from model_versions order by trained_at desc limit 1").fetchone()
        return str(row[0]) if row else "there is none"
