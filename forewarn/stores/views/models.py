"""The registry as people see it: which model serves and why, how it compares, which reports there are."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from forewarn.stores.views.now import rows


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """A registered model. `metrics` is {"metric": {"value": …, "baselines": {…}}}."""

    version: str
    stage: str
    feature_version: str
    trained_at: datetime
    data_from: datetime
    data_to: datetime
    metrics: dict[str, Any]
    reason: str
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class Report:
    """An HTML report on disk."""

    report_id: str
    kind: str
    created_at: datetime
    summary: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Decision:
    """A line of the audit log."""

    at: datetime
    actor: str
    action: str
    subject: str
    reason: str


@dataclass(frozen=True, slots=True)
class ModelsView:
    """Everything the models page shows."""

    versions: tuple[ModelVersion, ...]  # champion first, then the shadow, then the newest
    reports: tuple[Report, ...]  # newest first
    decisions: tuple[Decision, ...]  # about these versions, newest first


def models_view(connection: psycopg.Connection[Any]) -> ModelsView:
    """The newest 30 versions, their reports and the decisions about them."""
    versions = tuple(rows(connection, ModelVersion, _VERSIONS))
    return ModelsView(
        versions=versions,
        reports=tuple(rows(connection, Report, _REPORTS)),
        decisions=tuple(rows(connection, Decision, _DECISIONS, ([v.version for v in versions],))),
    )


def report_path(connection: psycopg.Connection[Any], report_id: str) -> str | None:
    """Where a report lies, below FOREWARN_HOME; None where there is no such report."""
    row = connection.execute(b"select path from reports where report_id = %s", (report_id,)).fetchone()
    return str(row[0]) if row else None


_VERSIONS = """
select version, stage, feature_version, trained_at, data_from, data_to, metrics, reason, changed_at
from model_versions order by (stage = 'champion') desc, (stage = 'shadow') desc, trained_at desc limit 30
"""

_REPORTS = "select report_id::text, kind, created_at, summary from reports order by created_at desc limit 30"

_DECISIONS = """
select at, actor, action, subject, reason from audit where subject = any(%s) order by at desc, audit_id desc limit 30
"""
