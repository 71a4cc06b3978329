"""What was imported, by source, selector and interval: stored with the samples, so that imports go on after a stop."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import psycopg

from forewarn.stores.archive import SampleWriter
from forewarn.telemetry.samples import SampleBatch

Span = tuple[datetime, datetime]

_DONE = """
select start_at, stop_at from imported_spans
where source = %s and selector = %s and namespace = %s and step_ms = %s order by start_at
"""
_JOIN = """
with touching as (
    delete from imported_spans where source = %(source)s and selector = %(selector)s and namespace = %(namespace)s
    and step_ms = %(step_ms)s and start_at <= %(stop)s and stop_at >= %(start)s returning start_at, stop_at, samples
)
insert into imported_spans (source, selector, namespace, step_ms, start_at, stop_at, samples)
select %(source)s, %(selector)s, %(namespace)s, %(step_ms)s, least(%(start)s, min(start_at)),
       greatest(%(stop)s, max(stop_at)), %(samples)s + coalesce(sum(samples), 0) from touching
"""


@dataclass(frozen=True, slots=True)
class ImportKey:
    """What an import is about. step_ms: 0 for raw samples."""

    source: str
    selector: str = ""
    namespace: str = ""
    step_ms: int = 0


class Imports:
    """Pieces of imports into the archive, each with its mark in one transaction."""

    def __init__(self, postgres_url: str) -> None:
        self._connection = psycopg.connect(postgres_url, connect_timeout=5, application_name="import")
        self._writer = SampleWriter()

    def __enter__(self) -> "Imports":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def done(self, key: ImportKey) -> list[Span]:
        """Intervals that were imported, in order."""
        rows = self._connection.execute(_DONE, (key.source, key.selector, key.namespace, key.step_ms)).fetchall()
        self._connection.commit()
        return [(start, stop) for start, stop in rows]

    def store(self, batches: Iterable[SampleBatch], key: ImportKey | None = None, span: Span | None = None) -> int:
        """Keep the samples that are not there yet and mark the interval as done; returns how many were new."""
        prepared = self._writer.prepare(self._connection, batches)
        with self._connection.transaction():
            new = self._writer.copy_missing(self._connection, prepared) if prepared else 0
            if key is not None and span is not None:
                names = {"source": key.source, "selector": key.selector, "namespace": key.namespace}
                more = {"step_ms": key.step_ms, "start": span[0], "stop": span[1], "samples": new}
                self._connection.execute(_JOIN, {**names, **more})
        return new


def missing_spans(wanted: Span, done: Iterable[Span]) -> list[Span]:
    """`wanted` without what is done."""
    left, start = [], wanted[0]
    for first, last in sorted(done):
        if first > start:
            left.append((start, min(first, wanted[1])))
        start = max(start, last)
        if start >= wanted[1]:
            break
    if start < wanted[1]:
        left.append((start, wanted[1]))
    return [(a, b) for a, b in left if a < b]
