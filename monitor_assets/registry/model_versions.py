"""The table of model versions: which there are, which serves, and why."""

import psycopg
from psycopg.types.json import Jsonb

from forewarn.risk.bundle import Manifest

_INSERT = """
insert into model_versions (version, stage, feature_version, trained_at, data_from, data_to, metrics, reason)
values (%s, 'candidate', %s, %s, %s, %s, %s, %s)
on conflict (version) do nothing
"""
_STAGE = "update model_versions set stage = %s, reason = %s, changed_at = now() where version = %s"
_AUDIT = "insert into audit (actor, action, subject, reason) values (%s, %s, %s, %s)"


def register_candidate(postgres_url: str, manifest: Manifest, reason: str) -> None:
    """Add a version as candidate."""
    m = manifest
    row = (m.version, m.feature_version, m.trained_at, m.data_from, m.data_to, Jsonb(m.metrics), reason)
    with psycopg.connect(postgres_url) as connection:
        connection.execute(_INSERT, row)
        connection.execute(_AUDIT, ("dagster", "register", m.version, reason))


def champion(postgres_url: str) -> str | None:
    """Version of the champion."""
    with psycopg.connect(postgres_url) as connection:
        row = connection.execute("select version from model_versions where stage = 'champion'").fetchone()
    return row[0] if row else None


def promote(postgres_url: str, version: str, reason: str) -> str | None:
    """Make a version the champion and retire the one before, in one transaction; returns the one before."""
    with psycopg.connect(postgres_url) as connection:
        connection.execute("lock table model_versions in share row exclusive mode")
        row = connection.execute("select version from model_versions where stage = 'champion'").fetchone()
        before: str | None = row[0] if row else None
        if before and before != version:
            connection.execute(_STAGE, ("retired", f"replaced by {version}", before))
            connection.execute(_AUDIT, ("dagster", "retire", before, f"replaced by {version}"))
        connection.execute(_STAGE, ("champion", reason, version))
        connection.execute(_AUDIT, ("dagster", "promote", version, reason))
    return before if before != version else None


def withhold(postgres_url: str, version: str, reason: str) -> None:
    """Leave a version a candidate and say why."""
    with psycopg.connect(postgres_url) as connection:
        connection.execute(_STAGE, ("candidate", reason, version))
        connection.execute(_AUDIT, ("dagster", "withhold", version, reason))
