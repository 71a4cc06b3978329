"""Cards of a risk that are there without a prediction, too: its responses, and who is silenced about it."""

from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import psycopg

from forewarn.alerting.matching import describe, labels_of
from forewarn.alerting.policy import Policy
from forewarn.alerting.policy_file import PolicyError, load_policy
from forewarn.alerting.responses.plan import lines_of
from forewarn.incidents.episodes import OPEN_STATES
from forewarn.incidents.records import Incident
from forewarn.stores.feedback import PostgresFeedback
from forewarn.stores.responses import PostgresResponses, StoredResponse
from panel_app.pages.settings import DURATIONS, STATE_WORDS, settings_here
from panel_app.rendering import render
from panel_app.risk_actions import exactly

SECTIONS = ("responses", "silence")


def extras(connection: psycopg.Connection[Any], incident: Incident | None) -> dict[str, str]:
    """HTML by section; '' where there is nothing to show or to do."""
    if incident is None:
        return dict.fromkeys(SECTIONS, "")
    responses = [shown(row) for row in PostgresResponses(connection).of_incident(incident.incident_id)]
    now, labels = datetime.now(UTC), labels_of(incident, own_labels(incident.entity))
    silences = [s for s in PostgresFeedback(connection).silences(now) if s.covers(labels, now)]
    variables = {
        "incident": incident,
        "responses": responses,
        "silences": silences,
        "describe": describe,
        "durations": DURATIONS,
        "exact": {"entity": exactly(incident.entity), "mode": exactly(incident.mode)},
        "open": incident.state in OPEN_STATES,
    }
    return {name: render(f"risk_{name}.html", **variables) for name in SECTIONS}


def own_labels(entity: str) -> dict[str, str]:
    """Labels that the alerting file gives to an entity; none while the file cannot be used."""
    path = settings_here().alerting
    try:
        return _policy(path, path.stat().st_mtime_ns).own_labels(entity) if path is not None else {}
    except (PolicyError, OSError, UnicodeDecodeError):
        return {}


@lru_cache(maxsize=2)
def _policy(path: Path, written: int) -> Policy:
    return load_policy(path)


def shown(row: StoredResponse) -> dict[str, Any]:
    """A response with its plan in lines and its state in words."""
    return {"row": row, "lines": lines_of(row.plan) if row.plan else [], "words": STATE_WORDS[row.status]}
