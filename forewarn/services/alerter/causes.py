"""Asks the archive where an incident began, beside the alerter: it never holds up a message."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg
import structlog

from forewarn.config.settings import Settings
from forewarn.incidents.causes.findings import Window
from forewarn.incidents.causes.ranking import Suspect
from forewarn.incidents.records import Incident
from forewarn.risk.quantities import format_share
from forewarn.risk.records import Risk, decode_risk
from forewarn.stores.incident_causes import LocatedCauses, PostgresIncidentCauses, RankedCause, Unlocated
from forewarn.stores.incidents import PostgresIncidents
from forewarn.stores.observed import Stretch, read_observed
from forewarn.telemetry.samples import namespace_of

logger = structlog.get_logger(__name__)

POLL_SECONDS = 2.0
PATIENCE_SECONDS = 30.0  # of wall time, for telemetry to arrive and for the first message to be sent
QUERY_SECONDS = 10.0
MOST_ENTITIES, HOPS = 60, 2
MOST_SUSPECTS, MOST_REASONS = 5, 4
_WATCHED_STEPS, _WATCHED_SECONDS = 4, 30.0  # what an incident's beginning is judged by, whichever is longer
_USUAL = 15  # times as much before it tells what is usual
_CLEAR = 1.5  # times the score of the named cause that another must have
_MUCH = 0.25  # of all that is unusual


@dataclass(frozen=True, slots=True)
class Beginning:
    """start to end (event time) is held against what came in `usual` before; samples are read in cells."""

    start: datetime
    end: datetime
    usual: timedelta
    cell_seconds: float


def beginning(at: datetime, failed: bool, risk: Risk | None, step_seconds: float) -> Beginning:
    """When an incident began: where its signal began to rise, at most an hour of steps ago, else shortly before.

    risk: the newest prediction of its cause. Of a failure a little of what came after is looked at, too.
    """
    watched = timedelta(seconds=max(_WATCHED_STEPS * step_seconds, _WATCHED_SECONDS))
    usual = _USUAL * watched
    end = at + (watched / 4 if failed else timedelta(0))
    start = at - watched
    onset = _onset(risk) if risk is not None else None
    if onset is not None:
        start = min(max(onset, at - usual), start)
    return Beginning(start, end, usual, max(step_seconds, watched.total_seconds() / 6))


def _onset(risk: Risk) -> datetime | None:
    """When the signal was last within a tenth of its rise above its lowest; None where it does not rise."""
    known = [(s, v) for s, v in zip(risk.forecast.history_seconds, risk.forecast.history_values, strict=True) if v]
    if len(known) < 3:
        return None
    low = min(v for _, v in known)
    last = [s for s, v in known if v <= low + 0.1 * (risk.value - low)]
    return risk.predicted_at + timedelta(seconds=last[-1]) if risk.value > low and last else None


def nearest(entities: Sequence[str], edges: Sequence[tuple[str, str]], most: int = MOST_ENTITIES) -> list[str]:
    """These entities and those within HOPS calls of them, either way, the nearest first."""
    around: dict[str, set[str]] = {}
    for client, server in edges:
        around.setdefault(client, set()).add(server)
        around.setdefault(server, set()).add(client)
    found = dict.fromkeys(entities)
    wave = list(found)
    for _ in range(HOPS):
        wave = [n for one in wave for n in sorted(around.get(one, ())) if n not in found]
        found.update(dict.fromkeys(wave))
    return list(found)[:most]


def verdict(incident: Incident, suspects: Sequence[Suspect]) -> tuple[str, str]:
    """How a ranking stands to the cause that the incident names, and what it adds in a sentence ('': nothing).

    It contradicts only where another entity is clearly ahead. It is a hypothesis: nothing was taken away and tested.
    """
    if not suspects or suspects[0].score <= 0 or not suspects[0].reasons:
        return "none", ""
    first, own = suspects[0], next((s for s in suspects if s.entity == incident.entity), None)
    score = own.score if own is not None else 0.0
    if first.entity != incident.entity and first.score >= max(_MUCH, _CLEAR * score):
        why = f"{format_share(first.score)} of what is unusual is there, {format_share(score)} at {incident.entity}"
        return "other", (
            f"Not proven: telemetry around it points to {first.entity} rather than {incident.entity} ({why}): "
            f"{first.reasons[0]}."
        )
    signal = incident.signal.partition("{")[0]
    news = [reason for reason in (own.reasons if own is not None else ()) if signal not in reason]
    return "same", f"Telemetry around it points to {incident.entity}, too: {news[0]}." if news else ""


class CauseFinder:
    """Looks at one incident after the other in a thread with a connection of its own.

    What is done is a function of the tables: killed in between, the same is done again.
    """

    def __init__(self, postgres_url: str, settings: Settings, count: Callable[[str], None]) -> None:
        options = f"-c statement_timeout={int(QUERY_SECONDS * 1000)}"
        self._url = psycopg.conninfo.make_conninfo(postgres_url, application_name="causes", options=options)
        self._settings = settings
        self._count = count
        self._noticed: dict[tuple[str, str], float] = {}
        self._wake, self._stopped = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="causes", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def wake(self) -> None:
        """There may be something new."""
        self._wake.set()

    def stop(self, seconds: float = 5.0) -> None:
        """End; what is being looked at is looked at again by whoever comes next."""
        self._stopped.set()
        self._wake.set()
        self._thread.join(timeout=seconds)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                with psycopg.connect(self._url, autocommit=True) as connection:
                    self._follow(connection)
            except psycopg.Error as error:
                logger.warning("causes: PostgreSQL cannot be asked, trying again", error=str(error).strip())
                self._stopped.wait(POLL_SECONDS)

    def _follow(self, connection: psycopg.Connection[Any]) -> None:
        while not self._stopped.is_set():
            self.look(connection)
            self._wake.wait(POLL_SECONDS)
            self._wake.clear()
            self._stopped.wait(POLL_SECONDS / 4)  # what comes together is looked at together

    def look(self, connection: psycopg.Connection[Any]) -> int:
        """Rank the causes of all incidents whose telemetry is here; how many."""
        pending = PostgresIncidentCauses(connection).pending(PATIENCE_SECONDS)
        now = time.monotonic()
        self._noticed = {(p.incident_id, p.about): self._noticed.get((p.incident_id, p.about), now) for p in pending}
        done = 0
        for one in pending:
            patient = now - self._noticed[one.incident_id, one.about] < PATIENCE_SECONDS
            if self._stopped.is_set() or not self._locate(connection, one, patient):
                continue
            done += 1
        return done

    def _locate(self, connection: psycopg.Connection[Any], one: Unlocated, patient: bool) -> bool:
        incident = PostgresIncidents(connection).get(one.incident_id)
        if incident is None:
            return False
        began = time.monotonic()
        step = self._settings.step_of(namespace_of(one.entity))
        when = beginning(one.at, one.about == "failure", _newest_risk(connection, incident), step)
        if patient and not _arrived(connection, namespace_of(one.entity), when.end):
            return False
        try:
            suspects = _suspects(connection, incident, when)
        except psycopg.errors.QueryCanceled as error:
            logger.warning("causes: the archive took too long", incident=one.incident_id, error=str(error).strip())
            suspects = []
        except psycopg.Error:
            raise
        except Exception:  # one ranking that cannot be made must not hold up the others, nor be tried for ever
            logger.exception("causes: could not be ranked", incident=one.incident_id)
            suspects = []
        relation, sentence = verdict(incident, suspects)
        ranked = [
            RankedCause(s.entity, float(s.score), list(s.reasons[:MOST_REASONS]), list(s.queries[:MOST_REASONS]))
            for s in suspects[:MOST_SUSPECTS]
            if s.reasons
        ]
        took = time.monotonic() - began
        located = LocatedCauses(
            one.incident_id, one.about, relation, sentence, ranked, when.start, when.end, round(took, 3)
        )
        if PostgresIncidentCauses(connection).put(located):
            self._count("causes_located_total")
            logger.info("causes ranked", incident=one.incident_id, about=one.about, relation=relation, seconds=took)
        return True


def _suspects(connection: psycopg.Connection[Any], incident: Incident, when: Beginning) -> list[Suspect]:
    from forewarn.incidents.causes.locate import locate  # pandas is heavy

    edges = PostgresIncidents(connection).edges()
    involved = connection.execute(_INVOLVED, (incident.episodes, incident.episodes)).fetchall()
    entities = nearest(list(dict.fromkeys([incident.entity, *(row[0] for row in involved)])), edges)
    near = [(client, server) for client, server in edges if client in entities and server in entities]
    stretch = Stretch(when.start - when.usual, when.end, when.cell_seconds)
    observed = read_observed(connection, entities, near, stretch)
    earlier = connection.execute(_EARLIER, (entities, stretch.start, when.start)).fetchall()
    lasts = when.end - when.start
    unusual = [(_ns(failed - lasts), _ns(recovered or failed + lasts)) for failed, recovered in earlier]
    return locate(observed, Window(_ns(when.start), _ns(when.end), tuple(unusual)), entities)


def _newest_risk(connection: psycopg.Connection[Any], incident: Incident) -> Risk | None:
    row = connection.execute(_NEWEST, (incident.episodes[:1],)).fetchone()
    return decode_risk(row[0].encode()) if row else None


def _arrived(connection: psycopg.Connection[Any], namespace: str, end: datetime) -> bool:
    """Whether the event clock of the namespace has passed the end of what is to be looked at."""
    row = connection.execute(b"select at >= %s from watermarks where namespace = %s", (end, namespace)).fetchone()
    return row is not None and bool(row[0])


def _ns(at: datetime) -> int:
    return round(at.timestamp() * 1e6) * 1_000


_INVOLVED = b"""
select entity from risks where episode = any(%s::uuid[]) union
select entity from failures where episode = any(%s::uuid[])
"""

_EARLIER = b"""
select failed_at, recovered_at from failures where entity = any(%s) and failed_at >= %s and failed_at < %s
order by failed_at limit 50
"""

_NEWEST = b"""
select payload::text from risks where episode = any(%s::uuid[]) and state <> 'withdrawn' order by predicted_at desc
limit 1
"""
