"""Maintenance windows that people set beside those of the alerting file; silences are in forewarn.stores.feedback."""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from forewarn.alerting.calendars import Maintenance
from forewarn.alerting.silences import Silence, check_silence

__all__ = ["MaintenanceRow", "PostgresMaintenance", "Silence", "check_silence"]


@dataclass(frozen=True, slots=True)
class MaintenanceRow:
    """A window with its identity and author."""

    window_id: str
    author: str
    window: Maintenance


class PostgresMaintenance:
    """Windows on a connection; the caller begins and ends the transaction."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def add(self, window: Maintenance, author: str) -> str:
        """Keep a window; its identity. Raises ValueError for one that matches everything."""
        if not window.match:
            raise ValueError("maintenance of everything is not allowed: name at least one label")
        window_id, w = str(uuid.uuid4()), window
        self._connection.execute(
            b"insert into maintenance_windows (window_id, name, matcher, timezone, starts, until, duration_seconds,"
            b" rrule, comment, author) values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            (window_id, w.name, Jsonb(dict(w.match)), w.timezone, w.starts.isoformat(sep=" "),
             w.until.isoformat() if w.until else None, w.duration.total_seconds() if w.duration else None, w.rrule,
             w.comment, author),
        )  # fmt: skip
        return window_id

    def end(self, window_id: str, at: datetime) -> bool:
        """Call a window off; False where there is none that is still kept."""
        done = self._connection.execute(
            b"update maintenance_windows set ended_at = %s where window_id = %s and ended_at is null", (at, window_id)
        )
        return done.rowcount == 1

    def windows(self) -> list[MaintenanceRow]:
        """Those that are kept, by name."""
        cursor = self._connection.cursor(row_factory=dict_row)
        rows = cursor.execute(
            b"select window_id::text, name, matcher, timezone, starts, until, duration_seconds, rrule, comment, author"
            b" from maintenance_windows where ended_at is null order by name, window_id"
        )
        return [MaintenanceRow(row["window_id"], row["author"], _window(row)) for row in rows]


def _window(row: dict[str, Any]) -> Maintenance:
    seconds = row["duration_seconds"]
    return Maintenance.read(
        row["name"], row["matcher"], row["timezone"], row["starts"], row["until"],
        timedelta(seconds=seconds) if seconds is not None else None, row["rrule"], row["comment"],
    )  # fmt: skip
