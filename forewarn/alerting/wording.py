"""Lines that every channel shows in its own dress: headline, causes, advice, who is affected."""

import re
from collections.abc import Sequence

from forewarn.alerting.channel import Digest, Notification
from forewarn.alerting.matching import MODE_OF_RULES
from forewarn.incidents.episodes import Episode
from forewarn.incidents.modes import words_of
from forewarn.incidents.paging import CLOSINGS
from forewarn.risk.quantities import format_duration, format_interval, format_share, format_value
from forewarn.risk.records import Action, Driver

HEADLINES = {
    "opened": "Failure predicted",
    "failed": "It has failed",
    "resolved": "Resolved",
    "reopened": "It is back",
    "withdrawn": "Prediction withdrawn",
    "expired": "It did not happen",
    "averted": "Averted",
    "merged": "Part of another incident",
    "raised": "It got worse",
    "updated": "News",
    "acknowledged": "Someone is on it",
    "repeated": "Still open",
}
RULE_HEADLINES = {"failed": "Rule fired", "resolved": "Rule no longer holds"}
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")


def one_line(text: str, limit: int = 300) -> str:
    """Text from telemetry made harmless for headers and terminals: no control characters or line ends, not too long."""
    clean = " ".join(_CONTROL.sub(" ", text).split())
    return clean if len(clean) <= limit else f"{clean[: limit - 1]}…"


def headline(notification: Notification) -> str:
    """`Failure predicted`, `It has failed, as predicted`, `It has failed, not predicted`, …"""
    if notification.incident.mode == MODE_OF_RULES and notification.reason in RULE_HEADLINES:
        return RULE_HEADLINES[notification.reason]
    text = HEADLINES.get(notification.reason, notification.reason)
    if notification.reason != "failed":
        return text
    foreseen = notification.cause.first is not None and notification.cause.predicted
    return f"{text}, {'as predicted' if foreseen else 'not predicted'}"


def countdown(notification: Notification) -> tuple[str, str] | None:
    """The time left by now and its interval, for large letters: (`2.1 h`, `80 %: 1.4–3.3 h · 12 %: never`)."""
    ttf = notification.incident.time_left(notification.clock)
    if ttf is None or ttf.p50 is None:
        return None
    never = f" · {format_share(ttf.never)}: never" if ttf.never >= 0.005 else ""
    interval = "past the 80 % interval" if ttf.p90 == 0.0 else f"80 %: {format_interval(ttf.p10, ttf.p90)}"
    return format_duration(ttf.p50, ttf.p90) if ttf.p50 > 0.0 else "<1 min", interval + never


def sentence(notification: Notification) -> str:
    """The incident's sentence as it is now."""
    return one_line(notification.incident.summary_at(notification.clock), 2000)


def scorecard(notification: Notification) -> list[tuple[str, str]]:
    """Predicted against true, once it has failed: lead, what was said, error."""
    cause = notification.cause
    if notification.incident.failed_at is None or cause.failed_at is None or cause.first is None:
        return []
    ttf = cause.first.time_to_failure
    lead = (cause.failed_at - cause.first.predicted_at).total_seconds()
    rows = [("Lead", format_duration(lead))]
    if ttf.p50 is not None:
        rows.append(("Said", f"{format_duration(ttf.p50, ttf.p90)} (80 %: {format_interval(ttf.p10, ttf.p90)})"))
        error = lead - ttf.p50
        rows.append(("Error", f"came {format_duration(abs(error))} {'later' if error > 0 else 'earlier'} than said"))
    return rows


def reasons(drivers: Sequence[Driver]) -> list[str]:
    """Drivers as lines; what is not proven says so."""
    return [f"{one_line(d.text)}{' (not proven)' if d.hypothesis else ''}" for d in drivers]


def evidence(notification: Notification) -> list[str]:
    """Sentences with numbers behind the prediction, what the telemetry around it adds, what is done about it."""
    risk = notification.cause.risk
    lines = [*(risk.evidence if risk is not None else []), *([notification.located] if notification.located else [])]
    return [one_line(line) for line in (*lines, *notification.responses)]


def advice(actions: Sequence[Action]) -> list[tuple[str, str]]:
    """(text, link); a link that is not of the web is left out."""
    return [(one_line(a.text), a.link if a.link.startswith(("https://", "http://")) else "") for a in actions]


def affected(episodes: Sequence[Episode]) -> list[str]:
    """`shop/api: error ratio (limit 5 %), failed`, one line an episode."""
    return [one_line(_affected(e)) for e in episodes]


def _affected(episode: Episode) -> str:
    limit = episode.risk.limit if episode.risk is not None else episode.limit
    size = f" (limit {format_value(limit, episode.unit, episode.signal)})" if limit is not None else ""
    state = {"firing": "has failed", "resolved": "is over"}.get(episode.state, episode.state)
    return f"{episode.entity}: {words_of(episode.mode, episode.signal).noun}{size}, {state}"


def told_line(notification: Notification) -> str:
    """One line of a digest: `critical · shop/db: connection pool reaches its limit of 100 · 2.1 h left`."""
    incident = notification.incident
    closed = notification.reason in CLOSINGS
    left = countdown(notification)
    parts = [headline(notification) if closed else incident.severity, one_line(incident.title)]
    if not closed and incident.failed_at is not None:
        parts.append("has failed")
    elif not closed and left is not None:
        parts.append(f"{left[0]} left")
    return " · ".join(parts)


def digest_title(digest: Digest) -> str:
    """`4 incidents: 2 critical, 2 warning`, and that they were held back where they were."""
    counts: dict[str, int] = {}
    for notification in digest.notifications:
        word = "over" if notification.reason in CLOSINGS else notification.incident.severity
        counts[word] = counts.get(word, 0) + 1
    order = ("critical", "warning", "info", "over")
    number = len({n.incident.incident_id for n in digest.notifications})
    what = ", ".join(f"{counts[word]} {word}" for word in order if word in counts)
    held = "Held back by the rate limit: " if digest.held else ""
    return f"{held}{number} incident{'s' if number > 1 else ''}: {what}"


def plain_why(notification: Notification) -> str:
    """Why it is told now, for the small print."""
    return one_line(notification.why, 400)
