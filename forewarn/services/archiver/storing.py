"""Stores a batch and its offsets in one transaction, and keeps trying while PostgreSQL is away."""

from collections.abc import Callable

import psycopg
import structlog

from forewarn.config.settings import Settings
from forewarn.features.series_budget import SeriesBudget
from forewarn.services.archiver.batch import Batch
from forewarn.stores.archive import PreparedSamples, SampleWriter
from forewarn.stores.event_rows import add_edges, copy_activity, copy_logs, copy_spans
from forewarn.stores.loki import LokiLogs, LokiRefusedError
from forewarn.stores.metric_series import SeriesNumbers
from forewarn.stores.offsets import Place, advance, read_offsets

logger = structlog.get_logger(__name__)

REFUSALS = (psycopg.Error, LokiRefusedError)
# Classes of SQLSTATE that another attempt will not mend: bad data, a broken constraint, a value beyond a limit.
_POISON_CLASSES = ("22", "23", "54")


class Store:
    """A connection to PostgreSQL that is made anew after an error, and the offsets stored over it."""

    def __init__(
        self,
        postgres_url: str,
        group: str,
        loki: LokiLogs | None = None,
        budget: Callable[[], SeriesBudget] | None = None,
    ) -> None:
        self._url = psycopg.conninfo.make_conninfo(postgres_url, connect_timeout=5, application_name="archiver")
        self._group = group
        self._loki = loki
        self._connection: psycopg.Connection | None = None
        self._samples = SampleWriter(budget)
        self._expected: dict[Place, int] = {}

    def offsets(self) -> dict[Place, int]:
        """The stored offsets of the group. Raises psycopg.Error."""
        try:
            connection = self._connected()
            self._expected = read_offsets(connection, self._group)
            connection.commit()
        except psycopg.Error:
            self.disconnect()
            raise
        return dict(self._expected)

    def write(self, batch: Batch) -> None:
        """Store the batch and its offsets, or nothing. Raises psycopg.Error, Overtaken, Loki…Error.

        Loki has the logs before the offsets are stored; it keeps once what it gets twice.
        """
        if self._loki is not None:
            self._loki.push(batch.logs)
        try:
            connection = self._connected()
            rows = self._samples.prepare(connection, batch.samples)
            with connection.transaction():
                self._write(connection, batch, rows)
        except psycopg.Error:
            self.disconnect()
            raise
        self._expected |= batch.reached

    @property
    def series(self) -> SeriesNumbers:
        """The series it knows, and those that it refused."""
        return self._samples.numbers

    def reached(self, place: Place) -> int:
        """Up to where a partition is stored, as far as it knows."""
        return self._expected.get(place, 0)

    def disconnect(self) -> None:
        """Close the connection to PostgreSQL; the next use makes another."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _write(self, connection: psycopg.Connection, batch: Batch, rows: PreparedSamples | None) -> None:
        advance(connection, self._group, self._expected, batch.reached)
        if rows is not None:
            self._samples.copy(connection, rows)
        copy_logs(
            connection, batch.logs if self._loki is None else [r for r in batch.logs if "event.name" in r.attributes]
        )
        copy_spans(connection, batch.spans)
        copy_activity(connection, batch.activity)
        add_edges(connection, batch.edges)

    def _connected(self) -> psycopg.Connection:
        if self._connection is None:
            self._connection = psycopg.connect(self._url)
            # Data and offsets are lost or kept together, and the log still has what is lost.
            self._connection.execute("set synchronous_commit = off")
            self._connection.commit()
        return self._connection


def loki_of(settings: Settings) -> LokiLogs | None:
    """Loki where logs go there."""
    token = settings.loki_token.get_secret_value() if settings.loki_token else None
    return LokiLogs(settings.loki_url, settings.loki_tenant, token) if settings.loki_url else None


def refuser(error: Exception) -> str:
    """Who does not take the data."""
    return "PostgreSQL" if isinstance(error, psycopg.Error) else "Loki"


def is_poison(error: Exception) -> bool:
    """Whether the data is at fault, not the database: it would fail again."""
    if not isinstance(error, psycopg.Error):
        return isinstance(error, LokiRefusedError)
    if isinstance(error, psycopg.errors.CheckViolation) and "no partition" in str(error):
        return False  # retention dropped the day's partition; the next attempt makes it
    if error.sqlstate is None:
        return isinstance(error, psycopg.DataError)
    return error.sqlstate.startswith(_POISON_CLASSES)
