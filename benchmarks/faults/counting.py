"""Counts what came of everything that was accepted: in the archive, the ledger, the incidents and the mailbox."""

import email
import email.policy
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from benchmarks.faults.load import LINES, NAMESPACE, SAMPLES, Lane, Load, entities_of
from benchmarks.faults.ramps import CELL_NS, Ramps

_SAMPLES = """
select m.value::bigint, count(*) from metric_series s join metric_samples m using (series_id)
where s.entity = any(%s) and s.signal = 'chaos.sequence' group by 1
"""
_LINES = """
select split_part(body, ' ', 2)::bigint, count(*) from log_records where entity = %s group by 1
"""

_OPENINGS = b"select entity, predicted_at from risks where revision = 0 and entity like 'ramps/%'"
_WITHOUT_INCIDENT = b"""
select count(*) from (select distinct episode from risks where entity like 'ramps/%') r
left join incident_episodes using (episode) where incident_id is null
"""
_SCORED_CELLS = 5  # after which a cell is surely scored

Counted = list[tuple[float, int]]  # when a request was accepted (monotonic seconds), and how many of it


@dataclass(slots=True)
class Archived:
    """What came of requests of one kind. lost, twice: samples (lines) that are missing, or there again.

    repeated: samples that are there again of requests that were sent again, because an answer had left it open.
    """

    accepted: int = 0  # requests
    samples: int = 0
    lost: Counted = field(default_factory=list)
    twice: Counted = field(default_factory=list)
    sent_again: int = 0  # requests
    repeated: int = 0
    refused: int = 0  # requests


def count_samples(url: str, load: Load) -> Archived:
    """Of the lanes with metrics."""
    total = Archived()
    with psycopg.connect(url) as connection:
        for lane in load.metrics:
            found = dict(connection.execute(_SAMPLES, (entities_of(lane.name),)).fetchall())
            _count(total, lane, found, SAMPLES)
    return total


def count_lines(url: str, load: Load) -> Archived:
    """Of the lane with logs."""
    total = Archived()
    with psycopg.connect(url) as connection:
        found = dict(connection.execute(_LINES, (f"{NAMESPACE}/lines",)).fetchall())
    _count(total, load.logs, found, LINES)
    return total


def _count(total: Archived, lane: Lane, found: dict[int, int], expected: int) -> None:
    for one in lane.accepted:
        there = found.get(one.number, 0)
        total.accepted += 1
        total.samples += there
        total.sent_again += one.attempts > 1
        if there < expected:
            total.lost.append((one.at, expected - there))
        elif there > expected and one.attempts == 1:
            total.twice.append((one.at, there - expected))
        elif there > expected:
            total.repeated += there - expected
    total.refused += lane.refused


@dataclass(slots=True)
class Told:
    """What was said of rises. untold: nobody was told of before; again: of which more than one risk was opened; unseen:
    whose failure was not observed (entity and event time)."""

    rises: int = 0
    untold: list[tuple[str, datetime]] = field(default_factory=list)
    again: list[tuple[str, datetime]] = field(default_factory=list)
    unseen: list[tuple[str, datetime]] = field(default_factory=list)
    without_incident: int = 0


def count_told(url: str, ramps: Ramps, forgotten: float) -> tuple[Told, Told]:
    """Of the rises that ended before a moment (monotonic seconds), and of those that ended later."""
    before, after = Told(), Told()
    with psycopg.connect(url) as connection:
        openings = connection.execute(_OPENINGS).fetchall()
        failures = connection.execute(b"select entity, failed_at from failures where entity like 'ramps/%'").fetchall()
        row = connection.execute(_WITHOUT_INCIDENT).fetchone()
    before.without_incident = row[0] if row else 0
    for rise in ramps.rises:
        ended = ramps.moment_of(rise.ends + _SCORED_CELLS * CELL_NS)
        if ended is None:
            continue
        told = before if ended < forgotten else after
        begin, end = (datetime.fromtimestamp(ns / 1e9, UTC) for ns in (rise.begins, rise.ends + 2 * CELL_NS))
        times = sorted(at for entity, at in openings if entity == rise.entity and begin <= at <= end)
        told.rises += 1
        if not times:
            told.untold.append((rise.entity, begin))
        if len(times) > 1:
            told.again.append((rise.entity, times[1]))
        if not any(entity == rise.entity and begin <= at <= end for entity, at in failures):
            told.unseen.append((rise.entity, end))
    return before, after


@dataclass(slots=True)
class Mailed:
    """Mails of incidents. again: mails with an identity that came before, or second pages of an incident."""

    mails: int = 0
    pages: int = 0
    again: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)  # marked as sent, and there is no mail
    waiting: int = 0  # that nothing withholds


def count_mails(url: str, folder: Path) -> Mailed:
    """Mails in the mailbox against what the outbox says was sent."""
    mailed = Mailed()
    identities: Counter[str] = Counter()
    pages: Counter[str] = Counter()
    incidents = set()
    for path in sorted(folder.glob("*.eml")):
        mail = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
        identities[str(mail["Message-ID"])] += 1
        incident = str(mail["X-Forewarn-Incident"] or "")
        incidents.add(incident)
        if not str(mail["Subject"]).startswith("Re: "):
            pages[incident] += 1
    mailed.mails, mailed.pages = sum(identities.values()), sum(pages.values())
    mailed.again = [m for m, n in identities.items() if n > 1] + [i for i, n in pages.items() if n > 1]
    with psycopg.connect(url) as connection:
        sent = connection.execute(
            b"select distinct incident_id::text from outbox where channel = 'email' and status = 'sent'"
        ).fetchall()
        row = connection.execute(
            b"select count(*) from outbox where channel = 'email' and status = 'pending'"
        ).fetchone()
    mailed.waiting = row[0] if row else 0
    mailed.missing = [incident for (incident,) in sent if incident not in incidents]
    return mailed
