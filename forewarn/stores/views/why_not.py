"""Why nothing was predicted or told of an entity: what is known of it, and every decision, at one moment."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import psycopg

from forewarn.alerting.calendars import Maintenance
from forewarn.alerting.matching import OWN_PREFIX, describe, matches
from forewarn.risk.quantities import format_duration, format_share
from forewarn.stores.feedback import PostgresFeedback
from forewarn.stores.metric_series import stored_series
from forewarn.stores.silences import PostgresMaintenance
from forewarn.stores.views import why_not_statements as statements
from forewarn.telemetry.limits import limit_pairs, limited_signal
from forewarn.telemetry.samples import namespace_of

GAP = timedelta(minutes=5)
LOOK_BACK = timedelta(days=1)
_MOST = 20
_ABOUT_ENTITY = ("entity", "namespace", "name")


@dataclass(frozen=True, slots=True)
class Reason:
    """One sentence. kind: 'unknown', 'gap', 'no_limit', 'abstains', 'below_threshold', 'risk', 'failure', 'incident',
    'told', 'held', 'undelivered', 'response', 'silence', 'maintenance', 'threshold', 'decision', 'calm'.
    at: since when, or when.
    """

    kind: str
    text: str
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class WhyNot:
    """verdict: the answer in one sentence. at: event time that was asked about. near: names like an unknown one."""

    entity: str
    at: datetime
    verdict: str
    reasons: tuple[Reason, ...] = ()
    near: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Question:
    """now: wall clock. at: the moment that is asked about, None: now. labels and windows: of the alerting file."""

    entity: str
    now: datetime
    at: datetime | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    windows: Sequence[Maintenance] = ()


def why_not(connection: psycopg.Connection[Any], question: Question) -> WhyNot:
    """What is known and what was decided. Event time is the namespace's clock, else the wall clock. Reads only."""
    q = question
    entities = [name for (name,) in connection.execute(statements.KNOWN.encode())]
    if q.entity not in entities:
        return _unknown(q, entities)
    clock = _one(connection, "select at from watermarks where namespace = %s", namespace_of(q.entity))
    at = q.at or clock or q.now
    values = {"entity": q.entity, "at": at, "since": at - LOOK_BACK, "now": q.at or q.now}
    incidents = connection.execute(statements.INCIDENTS.encode(), values).fetchall()
    ids = [row[0] for row in incidents]
    predicting = [*_telemetry(connection, q.entity, at), *_abstentions(connection, q.entity, at)]
    about = [*_risks(connection, values, at), *_failures(connection, values)]
    telling = [
        *(Reason("incident", f"incident '{title}' is {state}, severity {severity}", when)
          for _, title, state, severity, when in incidents),
        *_messages(connection, ids, q.at or q.now),
        *_responses(connection, ids, q),
        *_hushed(connection, q),
        *_threshold(connection, q.at or q.now),
        *_decisions(connection, ids, values),
    ]  # fmt: skip
    reasons = (*predicting, *about, *telling)
    return WhyNot(q.entity, at, _verdict(q.entity, reasons), reasons)


def _verdict(entity: str, reasons: Sequence[Reason]) -> str:
    kinds = {r.kind for r in reasons}
    told = [r for r in reasons if r.kind == "told"]
    if told:
        return f"{entity} was told of: {told[0].text}."
    words = {
        "held": "what was to be told of it is held back",
        "undelivered": "a channel did not take what was to be told of it",
        "incident": "there is an incident about it, but no message was decided on",
        "failure": "it has failed, but that became no incident that people are told of",
        "risk": "it has predictions, but none became an incident that people are told of",
        "gap": "it has sent nothing, so nothing can be predicted",
        "no_limit": "none of its signals has a limit, and without one nothing is predicted",
        "abstains": "some of its signals cannot be judged",
        "below_threshold": "what is predicted lies below the threshold of telling",
    }
    found = next((text for kind, text in words.items() if kind in kinds), None)
    return f"Nothing was told of {entity}: {found or 'nothing is predicted for it within the horizon, all is calm'}."


def _unknown(q: Question, entities: Sequence[str]) -> WhyNot:
    names = {e.rpartition("/")[2]: e for e in entities}
    near = difflib.get_close_matches(q.entity, entities, 3, 0.5)
    near += [names[n] for n in difflib.get_close_matches(q.entity.rpartition("/")[2], names, 3) if names[n] not in near]
    hint = f"did you mean {' or '.join(near)}?" if near else f"{len(entities)} entities are known"
    text = f"nothing was ever received of '{q.entity}': {hint}"
    return WhyNot(q.entity, q.at or q.now, text[0].upper() + text[1:], (Reason("unknown", text),), tuple(near))


def _telemetry(connection: psycopg.Connection[Any], entity: str, at: datetime) -> list[Reason]:
    series = [s for s in stored_series(connection, namespace_of(entity)).values() if s.entity == entity]
    if not series:
        return [Reason("gap", f"{entity} sends no metrics: only logs, spans or calls of others are known of it")]
    reasons = []
    last = _one(connection, statements.LAST_SAMPLE, {"entity": entity, "at": at})
    if last is None:
        reasons.append(Reason("gap", "the archive holds no samples of it from before"))
    elif at - last > GAP:
        silent = format_duration((at - last).total_seconds())
        reasons.append(Reason("gap", f"its last sample came {_time(last)}, {silent} before", last))
    limited = {series[i].name for i in limit_pairs(series)}
    free = sorted({s.signal for s in series if s.name not in limited and limited_signal(s.signal) is None})
    if not limited:
        text = f"no limit is known of any of its {len(free)} signals ({_some(free)}): send {free[0]}.limit, say"
        reasons.append(Reason("no_limit", text if free else "it sends limits alone, and no signal that they are of"))
    elif free:
        text = (
            f"{len(limited)} of its series have a limit; nothing is predicted for {_some(free)}, of which none is known"
        )
        reasons.append(Reason("watched", text))
    return reasons


def _abstentions(connection: psycopg.Connection[Any], entity: str, at: datetime) -> list[Reason]:
    rows = connection.execute(statements.ABSTENTIONS.encode(), {"entity": entity, "at": at}).fetchall()
    found = [Reason("abstains", f"of {signal} nothing is said since {_time(when)}: {reason}", when)
             for signal, reason, when in rows[:_MOST]]  # fmt: skip
    more = len(rows) - _MOST
    return [*found, Reason("abstains", f"and of {more} more signals")] if more > 0 else found


def _risks(connection: psycopg.Connection[Any], values: Mapping[str, Any], at: datetime) -> list[Reason]:
    found = []
    for signal, mode, state, when, expires, p, outcome, resolved in connection.execute(
        statements.RISKS.encode(), values
    ):
        became = f"{outcome} at {_time(resolved)}" if outcome else "withdrawn" if state == "withdrawn" else ""
        became = became or ("open" if expires > at else "past its horizon")
        text = f"{mode} of {signal} was predicted {_time(when)} with {format_share(p)}: {became}"
        found.append(Reason("risk", text, when))
    for signal, mode, when, horizon, p, threshold in connection.execute(statements.BELOW.encode(), values):
        if p < threshold:
            text = (
                f"{mode} of {signal} within {format_duration(horizon)} had a probability of {format_share(p)} at "
                f"{_time(when)}: it is told from {format_share(threshold)} on"
            )
            found.append(Reason("below_threshold", text, when))
    return sorted(found, key=lambda r: r.at or at, reverse=True)[:_MOST]


def _failures(connection: psycopg.Connection[Any], values: Mapping[str, Any]) -> list[Reason]:
    found = []
    for signal, mode, failed_at, recovered_at, predicted in connection.execute(statements.FAILURES.encode(), values):
        end = f", over since {_time(recovered_at)}" if recovered_at else ""
        foreseen = "as predicted" if predicted else "not predicted"
        found.append(Reason("failure", f"{signal} ({mode}) failed {_time(failed_at)}, {foreseen}{end}", failed_at))
    return found[:_MOST]


def _messages(connection: psycopg.Connection[Any], ids: Sequence[str], now: datetime) -> list[Reason]:
    sent = [Reason("told", f"'{reason}' on {channel}, {_time(when)}", when)
            for channel, reason, when in connection.execute(statements.SENT.encode(), (list(ids), now))]  # fmt: skip
    held = [
        Reason("held", f"'{reason}' on {channel} is held ({code}): {why}" + _until(due))
        for channel, reason, code, why, due in connection.execute(statements.HELD.encode(), (list(ids),))
    ]
    failed = [Reason("undelivered", f"{channel} did not take '{reason}': {error or 'no reason was given'}")
              for channel, reason, error in connection.execute(statements.FAILED.encode(), (list(ids),))]  # fmt: skip
    return [*sent, *held, *failed]


def _responses(connection: psycopg.Connection[Any], ids: Sequence[str], q: Question) -> list[Reason]:
    """What was proposed, and why it was not done or is not done yet."""
    values = {"ids": list(ids), "entity": q.entity, "now": q.at or q.now}
    found = []
    for name, status, code, why, outcome, by, at, expires in connection.execute(statements.RESPONSES.encode(), values):
        held = f" and is held ({code}): {why}" if code else ""
        said = {
            "proposed": f"waits for an approval until {_time(expires)}{held}",
            "approved": f"is approved by {by}{held}",
        }
        words = said.get(status, f"is {status.replace('_', ' ')}" + (f": {outcome}" if outcome else ""))
        found.append(Reason("response", f"the response '{name}', proposed {_time(at)}, {words}", at))
    return found


def _hushed(connection: psycopg.Connection[Any], q: Question) -> list[Reason]:
    """Silences and maintenance in force, by what of them is about the entity."""
    at = q.at or q.now
    own = {"entity": q.entity, "namespace": namespace_of(q.entity), "name": q.entity.rpartition("/")[2], **q.labels}
    found = []
    for silence in PostgresFeedback(connection).silences(at):
        if matches(_of_entity(silence.matcher), own):
            what = f"silenced ({describe(silence.matcher)}) by {silence.author}"
            text = f"{what} until {_time(silence.ends_at)}: {silence.reason}"
            found.append(Reason("silence", text, silence.starts_at))
    for window in [*q.windows, *(row.window for row in PostgresMaintenance(connection).windows())]:
        ends = window.ends_at(at) if matches(_of_entity(window.match), own) else None
        if ends is not None:
            comment = f": {window.comment}" if window.comment else ""
            text = f"maintenance '{window.name}' ({describe(window.match)}) until {_time(ends)}{comment}"
            found.append(Reason("maintenance", text))
    return found


def _of_entity(match: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in match.items() if k in _ABOUT_ENTITY or k.startswith(OWN_PREFIX)}


def _threshold(connection: psycopg.Connection[Any], now: datetime) -> list[Reason]:
    row = connection.execute(statements.CONTROL.encode(), (now,)).fetchone()
    if row is None or row[1] <= 0.0:
        return []
    return [Reason("threshold", f"the threshold of paging is raised since {_time(row[0])}: {row[2]}", row[0])]


def _decisions(connection: psycopg.Connection[Any], ids: Sequence[str], values: Mapping[str, Any]) -> list[Reason]:
    episodes = [episode for (episode,) in connection.execute(statements.EPISODES.encode(), values)]
    rows = connection.execute(
        statements.DECISIONS.encode(), {"subjects": [*ids, *episodes], "now": values["now"]}
    ).fetchall()
    return [Reason("decision", f"{actor}: {action}: {reason}", at) for at, actor, action, reason in rows]


def _one(connection: psycopg.Connection[Any], query: str, values: Any) -> Any:
    row = connection.execute(query.encode(), values if isinstance(values, dict) else (values,)).fetchone()
    return row[0] if row else None


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def _until(due: datetime | None) -> str:
    return f", until {_time(due)} at the latest" if due is not None and due.year < 9999 else ""


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
