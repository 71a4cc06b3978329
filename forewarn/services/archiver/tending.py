"""Tends the archive while it is filled: rolls up what came, drops what is too old. One archiver does it for all."""

import threading
import time
from datetime import datetime

import psycopg
import structlog

from forewarn.config.settings import Settings
from forewarn.stores.locks import Lock
from forewarn.stores.record_retention import delete_derived, delete_records, delete_reports, delete_unused
from forewarn.stores.retention import cutoff, delete_events, delete_rollups, drop_days
from forewarn.stores.rollups import name_all_pending, roll_up_due

logger = structlog.get_logger(__name__)

_EVERY_SECONDS = 30.0
_RECORDS_EVERY_SECONDS = 3600.0


class Tending:
    """A thread that tends the archive every half minute if no other archiver does. Use as a context manager."""

    def __init__(self, settings: Settings, counters: dict[str, float], every_seconds: float = _EVERY_SECONDS) -> None:
        self._settings, self._counters, self._every = settings, counters, every_seconds
        self._stop = threading.Event()
        self._next_records = 0.0
        self._thread = threading.Thread(target=self._run, name="tending", daemon=True)
        counters.update({"cells_rolled_up_total": 0, "days_dropped_total": 0})

    def __enter__(self) -> "Tending":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._stop.wait(self._every):
            try:
                self.tend_once()
            except psycopg.Error as error:
                logger.warning("the archive could not be tended, trying again", error=str(error).strip())

    def tend_once(self) -> bool:
        """Roll up and drop; False where another archiver is at it. Raises psycopg.Error."""
        url = self._settings.postgres_url.get_secret_value()
        address = psycopg.conninfo.make_conninfo(url, connect_timeout=5, application_name="archive tending")
        with psycopg.connect(address) as connection:
            led = connection.execute("select pg_try_advisory_lock(%s)", (Lock.TEND_ARCHIVE.value,)).fetchone()
            connection.commit()
            if not led or not led[0]:
                return False
            self._tend(connection)
        return True

    def _tend(self, connection: psycopg.Connection) -> None:
        kept_from = cutoff(self._settings.retention_days)
        name_all_pending(connection)
        while (rolled := roll_up_due(connection, kept_from)) and not self._stop.is_set():
            self._counters["cells_rolled_up_total"] += rolled
        if kept_from is not None:
            dropped = drop_days(connection, kept_from)
            self._counters["days_dropped_total"] += len(dropped)
            delete_events(connection, kept_from)
            if dropped:
                logger.info("dropped days of samples", partitions=dropped, kept_from=kept_from.isoformat())
        rollups_from = cutoff(self._settings.rollup_retention_days)
        if rollups_from is not None:
            delete_rollups(connection, rollups_from)
        if time.monotonic() >= self._next_records:
            self._next_records = time.monotonic() + _RECORDS_EVERY_SECONDS
            self._tend_records(connection, rollups_from)

    def _tend_records(self, connection: psycopg.Connection, rollups_from: datetime | None) -> None:
        deleted = delete_derived(connection, rollups_from) if rollups_from is not None else 0
        before = cutoff(self._settings.record_retention_days)
        if before is not None:
            deleted += delete_records(connection, before)
            home = self._settings.home.resolve()
            for path in delete_reports(connection, before):
                report = (home / path).resolve()
                if report.is_relative_to(home):
                    report.unlink(missing_ok=True)
        deleted += delete_unused(connection)
        if deleted:
            logger.info("deleted what is older than it is kept", rows=deleted)
