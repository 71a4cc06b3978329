"""Rows of the table of reports."""

import uuid
from pathlib import Path
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from monitor_assets.scope import TrainingScope


def record_report(scope: TrainingScope, kind: str, path: Path, summary: dict[str, Any]) -> None:
    """Tell the dashboard of a report below FOREWARN_HOME."""
    row = (uuid.uuid4(), kind, Jsonb(summary), str(path.relative_to(scope.home)))
    with psycopg.connect(scope.postgres_url) as connection:
        connection.execute("insert into reports (report_id, kind, summary, path) values (%s, %s, %s, %s)", row)
