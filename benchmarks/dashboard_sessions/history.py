"""Fills a database with what a large company's Forewarn knows after three months: 10,000 risks and all around them."""

import json
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import psycopg
from psycopg import sql

from benchmarks.dashboard_sessions.company import NAMESPACES, SIGNALS, Company
from benchmarks.dashboard_sessions.predictions import incident, prediction, revised
from forewarn.evaluation.ledger import Prediction
from forewarn.incidents.records import Incident, encode_incident
from forewarn.risk.records import Risk, encode
from forewarn.stores.schema import create_tables

RISKS = 10_000  # stored predictions, revisions counted
OPEN, FIRING, WATCHED = 60, 4, 40  # open incidents, those of them that have failed, open risks of no incident
DAYS = 90
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
OUTCOMES = {"hit": 0.55, "late": 0.1, "expired": 0.2, "averted": 0.1, "dismissed": 0.05}
ENDED = {"hit": "resolved", "late": "resolved", "averted": "averted"}

Rows = list[Sequence[Any]]


@dataclass
class History:
    """Rows by table, and the open incidents, the first of them with the longest history."""

    rows: dict[str, Rows] = field(default_factory=dict)
    open_incidents: list[Incident] = field(default_factory=list)
    looked_at: list[Risk] = field(default_factory=list)  # of which the archive holds samples

    def add(self, table: str, *row: Any) -> None:
        """Another row of a table."""
        self.rows.setdefault(table, []).append(row)

    def count(self, table: str) -> int:
        """How many there are."""
        return len(self.rows.get(table, []))


COLUMNS = {
    "risks": "risk_id episode revision state entity signal mode predicted_at expires_at probability p10_seconds"
             " p50_seconds p90_seconds model_version payload",
    "outcomes": "risk_id episode outcome resolved_at failed_at lead_seconds error_seconds inside_80",
    "incidents": "incident_id version state severity entity mode title opened_at updated_at failed_at payload",
    "incident_history": "incident_id version payload published",
    "incident_episodes": "episode incident_id",
    "failures": "entity signal mode failed_at recovered_at value limit_value predicted episode",
    "feedback": "feedback_id incident_id verdict note author given_at handled",
    "audit": "at actor action subject reason",
    "outbox": "message_id incident_id version channel reason status created_at sent_at",
    "service_edges": "client server calls errors last_seen",
    "watermarks": "namespace at",
    "abstentions": "entity signal reason at code",
    "anomalies": "entity since ended_at p_value text drivers",
    "log_records": "time entity severity body attributes",
    "silences": "silence_id matcher starts_at ends_at reason author",
}  # fmt: skip


def fill(url: str, company: Company, now: datetime, seed: int = 1) -> History:
    """Make the tables and what is in them; `now` is the event clock and the wall clock. Some 20 s."""
    rng, history = np.random.default_rng(seed), History()
    _open(history, company, now, rng)
    _watched(history, company, now, rng)
    while history.count("risks") < RISKS:
        _past(history, company, now, rng)
    _around(history, company, now, rng)
    create_tables(url)
    with psycopg.connect(url) as connection:
        for table, rows in history.rows.items():
            copy(connection, table, COLUMNS[table], rows)
    return history


def copy(connection: psycopg.Connection[Any], table: str, columns: str, rows: Iterable[Sequence[Any]]) -> None:
    """Add rows to a table."""
    names = sql.SQL(", ").join(map(sql.Identifier, columns.split()))
    statement = sql.SQL("copy {} ({}) from stdin").format(sql.Identifier(table), names)
    with connection.cursor() as cursor, cursor.copy(statement) as to:
        for row in rows:
            to.write_row(row)


def _open(history: History, company: Company, now: datetime, rng: np.random.Generator) -> None:
    callers: dict[str, list[str]] = {}
    for client, server in company.edges:
        callers.setdefault(server, []).append(client)
    causes = rng.choice([s for s in company.services if s in callers], OPEN, replace=False)
    for number, entity in enumerate(causes):
        opened = now - float(rng.uniform(5, 150)) * MINUTE
        first = prediction(
            str(entity), _signal(rng, 5), opened, float(rng.uniform(2.7, 6)), float(rng.uniform(0.6, 0.93))
        )
        newest = _told(history, first, now, revisions=12 if not number else int(rng.integers(1, 6)))
        symptoms = [
            prediction(client, SIGNALS[5 + int(rng.integers(2))], opened + MINUTE, 5.5, 0.7)
            for client in callers[str(entity)][: int(rng.integers(0, 4))]
        ]
        for symptom in symptoms:
            _told(history, symptom, now, revisions=2)
        severity = ("critical", "warning", "warning", "info")[number % 4]
        case = incident(newest, opened, severity, [first.episode, *(s.episode for s in symptoms)])
        if number >= OPEN - FIRING:
            failed = now - 3 * MINUTE
            case = replace(case, state="firing", severity="critical", failed_at=failed)
            _failed(history, newest, failed, None)
        _tell(history, case)
        history.open_incidents.append(case)
        history.looked_at.append(newest)


def _watched(history: History, company: Company, now: datetime, rng: np.random.Generator) -> None:
    for entity in rng.choice(company.services, WATCHED, replace=False):
        first = prediction(str(entity), _signal(rng), now - float(rng.uniform(1, 60)) * MINUTE, 5.0, 0.45)
        _told(history, first, now, revisions=2)


def _past(history: History, company: Company, now: datetime, rng: np.random.Generator) -> None:
    """An episode that is over; of two in three an incident told."""
    entity = company.services[int(rng.beta(1, 3) * len(company.services))]  # some fail often, most never
    hours, opened = float(rng.uniform(0.5, 5.0)), now - float(rng.uniform(8, 24 * DAYS)) * HOUR
    first = prediction(entity, _signal(rng), opened, hours, float(rng.uniform(0.5, 0.97)))
    last = opened + min(hours, 5) * HOUR * 0.8
    outcome = str(rng.choice(list(OUTCOMES), p=list(OUTCOMES.values())))
    failed = opened + hours * HOUR * float(rng.lognormal(0, 0.3)) if outcome in ("hit", "late") else None
    newest = _told(history, first, last, revisions=int(rng.integers(1, 5)), outcome=outcome, failed=failed)
    if failed is not None:
        _failed(history, newest, failed, failed + float(rng.uniform(4, 90)) * MINUTE)
    if rng.random() > 0.66:
        return
    ended = failed or first.expires_at
    severity = str(rng.choice(["critical", "warning", "info"]))
    case = incident(newest, opened, severity, [first.episode], ENDED.get(outcome, "expired"))
    _tell(history, replace(case, failed_at=failed, updated_at=ended + 30 * MINUTE))
    if rng.random() < 0.2:
        verdict = {"averted": "averted", "dismissed": "dismissed"}.get(outcome, "confirmed")
        note = f"raised the limit of {entity}; it was the nightly import"
        history.add("feedback", uuid.uuid4(), case.incident_id, verdict, note, "mia", ended, True)


def _signal(rng: np.random.Generator, first: int = len(SIGNALS)) -> Any:
    return SIGNALS[int(rng.integers(first))]


def _told(
    history: History, first: Risk, until: datetime, revisions: int, outcome: str = "", failed: datetime | None = None
) -> Risk:
    """Rows of an episode's predictions, evenly spaced until `until`; the newest is returned."""
    newest = first
    for number in range(revisions):
        at = first.predicted_at + (until - first.predicted_at) * (number / revisions)
        newest = revised(first, number, at) if number else first
        p = Prediction.of(newest)
        history.add(
            "risks", p.risk_id, p.episode, p.revision, p.state, p.entity, p.signal, p.mode, p.predicted_at,
            p.expires_at, p.probability, p.p10, p.p50, p.p90, newest.model_version, encode(newest).decode(),
        )  # fmt: skip
        if outcome:
            _resolve(history, p, outcome, failed)
    return newest


def _resolve(history: History, p: Prediction, outcome: str, failed: datetime | None) -> None:
    lead = (failed - p.predicted_at).total_seconds() if failed else None
    error = p.p50 - lead if lead is not None and p.p50 is not None else None
    inside = (p.p10 or 0.0) <= lead <= (p.p90 or float("inf")) if lead is not None else None
    history.add("outcomes", p.risk_id, p.episode, outcome, failed or p.expires_at, failed, lead, error, inside)


def _failed(history: History, risk: Risk, at: datetime, recovered: datetime | None) -> None:
    values = (risk.limit * 1.01, risk.limit, True, risk.episode)
    history.add("failures", risk.entity, risk.signal, risk.mode, at, recovered, *values)


def _tell(history: History, case: Incident) -> None:
    payload = encode_incident(case).decode()
    history.add(
        "incidents", case.incident_id, case.version, case.state, case.severity, case.entity, case.mode, case.title,
        case.opened_at, case.updated_at, case.failed_at, payload,
    )  # fmt: skip
    for episode in case.episodes:
        history.add("incident_episodes", episode, case.incident_id)
    for version in range(1, case.version + 1):
        history.add("incident_history", case.incident_id, version, payload, True)
    for channel in ("email", "slack"):
        when = case.opened_at + MINUTE
        history.add("outbox", uuid.uuid4(), case.incident_id, 1, channel, "opened", "sent", when, when)
    for action in ("open", "route", "send", "send"):
        history.add("audit", case.opened_at, "alerter", action, case.incident_id, f"{case.severity}: {case.title}")


def _around(history: History, company: Company, now: datetime, rng: np.random.Generator) -> None:
    for client, server in company.edges:
        calls = int(rng.lognormal(9, 2))
        history.add("service_edges", client, server, calls, int(calls * rng.beta(1, 400)), now)
    for namespace in NAMESPACES:
        history.add("watermarks", namespace, now)
    _quiet(history, company, now, rng)
    _moments(history, company, now, rng)
    for n in range(25):
        ends = now + (n - 15) * 4 * HOUR
        matcher = json.dumps({"entity": company.entities[n * 31], "mode": "latency_breach"})
        history.add("silences", uuid.uuid4(), matcher, ends - 24 * HOUR, ends, "planned work on the store", "mia")


def _quiet(history: History, company: Company, now: datetime, rng: np.random.Generator) -> None:
    """Signals of which nothing is said, and failures that nobody foretold."""
    reasons = (("too_little_history", "too little history: 3 h of 8 h"), ("no_data", "no data for 12 min"),
               ("no_limit", "no limit is known"), ("counter_reset", "counter reset"))  # fmt: skip
    for entity in company.entities:
        for signal in rng.choice(len(SIGNALS), 2, replace=False):
            code, reason = reasons[int(rng.integers(len(reasons)))]
            at = now - float(rng.exponential(600)) * MINUTE
            history.add("abstentions", entity, SIGNALS[int(signal)][0], reason, at, code)
    for _ in range(400):
        entity, (signal, mode, limit, _unit) = str(rng.choice(company.services)), _signal(rng)
        at = now - float(rng.uniform(0.2, 24 * DAYS)) * HOUR
        ends = at + float(rng.uniform(3, 60)) * MINUTE
        ended = ends if ends < now else None
        history.add("failures", entity, signal, mode, at, ended, limit * 1.02, limit, False, uuid.uuid4())


def _moments(history: History, company: Company, now: datetime, rng: np.random.Generator) -> None:
    """Anomalies, deploys and other lines of logs."""
    taken = set()
    for _ in range(2000):
        entity, since = str(rng.choice(company.entities)), now - float(rng.uniform(0.01, 24 * DAYS)) * HOUR
        lasts = since > now - HOUR
        text = f"CPU of {entity} is 0.92 where it usually is 0.21 to 0.44 at this hour"
        if (entity, since) not in taken:
            history.add("anomalies", entity, since, None if lasts else since + 40 * MINUTE, 0.002, text, "[]")
        taken.add((entity, since))
    for n in range(30_000):
        entity, at = str(rng.choice(company.services)), now - float(rng.uniform(0, 24 * DAYS)) * HOUR
        deploy = n % 10 == 0
        body = f"deployed {entity.partition('/')[2]} 2.{n}.0" if deploy else "slow query: select * from orders"
        attributes = {"event.name": "deployment"} if deploy else {"log.template.id": "7f3a"}
        history.add("log_records", at, entity, "INFO", body, json.dumps(attributes))


def utc_now() -> datetime:
    """Now, to the second."""
    return datetime.now(UTC).replace(microsecond=0)
