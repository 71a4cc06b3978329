"""Imports history from a Prometheus into the archive, in pieces of bounded size; goes on where it was stopped."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from forewarn.services.importing.prometheus_api import MOST_POINTS, PrometheusApi, Stretch, TooMuchError
from forewarn.stores.imports import ImportKey, Imports, Span, missing_spans
from forewarn.telemetry.prometheus_series import series_of_labels
from forewarn.telemetry.samples import SampleBatch, Series

_PIECE_SAMPLES = 400_000  # about 15 MB of JSON
_LONGEST_MS = 86_400_000
_SHORTEST_MS = 1_000
_COUNT_WIDTH_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Wanted:
    """selectors: such as `{job="api"}`. step: None for samples as scraped. namespace: None for what labels say."""

    selectors: tuple[str, ...]
    start: datetime
    stop: datetime
    step: timedelta | None = None
    namespace: str | None = None


@dataclass(slots=True)
class Progress:
    """How far an import is; the same object is updated all the time. expected: an estimate by Prometheus' counts."""

    expected: int = 0
    read: int = 0
    new: int = 0
    pieces: int = 0
    at: datetime | None = None
    selector: str = ""
    without_series: int = 0
    seconds: float = 0.0
    done: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """What is left to do of a selector. per_cell: samples expected in each cell of `width_ms` from span[0] on."""

    selector: str
    span: Span
    width_ms: int
    per_cell: NDArray[np.int64]

    def piece_ms(self, at_ms: int, most: int) -> int:
        """How long a piece from here on may be so that it has at most `most` samples."""
        cell = min(max((at_ms - _ms(self.span[0])) // self.width_ms, 0), len(self.per_cell) - 1)
        ahead = self.per_cell[cell : cell + max(1, _LONGEST_MS // self.width_ms)]
        busiest = int(ahead.max(initial=0))
        return _LONGEST_MS if busiest == 0 else int(min(_LONGEST_MS, self.width_ms * most / busiest))


class PrometheusImport:
    """Imports what is wanted. on_progress: called after each piece."""

    def __init__(
        self,
        api: PrometheusApi,
        imports: Imports,
        wanted: Wanted,
        on_progress: Callable[[Progress], None] | None = None,
        piece_samples: int = _PIECE_SAMPLES,
    ) -> None:
        self._api, self._imports, self._wanted, self.on_progress = api, imports, wanted, on_progress
        self._most = piece_samples
        self._step_ms = int(wanted.step.total_seconds() * 1000) if wanted.step else 0
        self._series = _KnownSeries(wanted.namespace)
        self.progress = Progress()

    def plan(self) -> list[Part]:
        """What is left to do, and how much it is. Raises PrometheusError."""
        span = self._span()
        parts = [
            self._part(selector, each)
            for selector in self._wanted.selectors
            for each in missing_spans(span, self._imports.done(self._key(selector)))
        ]
        self.progress.expected = sum(int(part.per_cell.sum()) for part in parts)
        return parts

    def run(self, parts: Sequence[Part], stop: threading.Event) -> Progress:
        """Import the parts, or until `stop` is set. Raises PrometheusError, psycopg.Error."""
        began = time.monotonic()
        for part in parts:
            for span in self._pieces(part, stop):
                self.progress.pieces += 1
                self.progress.at, self.progress.selector = span[1], part.selector
                self.progress.seconds = time.monotonic() - began
                if self.on_progress is not None:
                    self.on_progress(self.progress)
        self.progress.done = not stop.is_set()
        return self.progress

    def count_series(self) -> dict[str, int]:
        """How many series each selector has in the interval. Raises PrometheusError."""
        start, stop = self._span()
        return {s: self._api.count_series(s, _ms(start), _ms(stop)) for s in self._wanted.selectors}

    def _span(self) -> Span:
        """The interval, on the step's grid where there is one, so that a repetition asks for the same instants."""
        unit = self._step_ms or 1
        start, stop = (_ms(time) // unit * unit for time in (self._wanted.start, self._wanted.stop))
        return _datetime(start), _datetime(stop)

    def _key(self, selector: str) -> ImportKey:
        return ImportKey(self._api.address, selector, self._wanted.namespace or "", self._step_ms)

    def _part(self, selector: str, span: Span) -> Part:
        start, stop = _ms(span[0]), _ms(span[1])
        width = max(_COUNT_WIDTH_MS, self._step_ms)
        if self._step_ms:
            counts = self._api.count_alive(selector, start, stop, width) * (width // self._step_ms)
        else:
            counts = self._api.count_samples(selector, start, stop, width)
        return Part(selector, span, width, counts)

    def _pieces(self, part: Part, stop: threading.Event) -> Iterator[Span]:
        at, end, most = _ms(part.span[0]), _ms(part.span[1]), self._most
        while at < end and not stop.is_set():
            length = self._length(part.piece_ms(at, most))
            until = min(at + length, end)
            try:
                self._piece(part.selector, at, until)
            except TooMuchError:
                if length <= max(_SHORTEST_MS, self._step_ms):
                    raise
                most = max(most // 2, 1)
                continue
            yield _datetime(at), _datetime(until)
            at, most = until, min(most * 2, self._most)

    def _length(self, milliseconds: int) -> int:
        if not self._step_ms:
            return max(milliseconds, _SHORTEST_MS)
        steps = min(max(milliseconds // self._step_ms, 1), MOST_POINTS)
        return steps * self._step_ms

    def _piece(self, selector: str, start: int, stop: int) -> None:
        found = (
            self._api.grid(selector, start, stop, self._step_ms)
            if self._step_ms
            else self._api.raw(selector, start, stop)
        )
        batch = self._series.batch(found)
        new = self._imports.store([batch], self._key(selector), (_datetime(start), _datetime(stop)))
        self.progress.read += len(batch)
        self.progress.new += new
        self.progress.without_series = self._series.without


class _KnownSeries:
    """Series by their labels. All batches share one tuple of series while no new one comes."""

    def __init__(self, namespace: str | None) -> None:
        self._namespace = namespace
        self._numbers: dict[tuple[tuple[str, str], ...], int] = {}
        self._list: list[Series] = []
        self._tuple: tuple[Series, ...] = ()
        self.without = 0  # label sets that are no series of their own

    def batch(self, stretches: Iterator[Stretch]) -> SampleBatch:
        """Samples that are numbers."""
        index, times, values = [], [], []
        for stretch in stretches:
            number = self._number(stretch.labels)
            known = ~np.isnan(stretch.values)
            if number >= 0 and known.any():
                index.append(np.full(int(known.sum()), number, np.int32))
                times.append(stretch.times[known] * 1_000_000)
                values.append(stretch.values[known])
        if len(self._tuple) != len(self._list):
            self._tuple = tuple(self._list)
        if not index:
            return SampleBatch(self._tuple, np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0, np.float64))
        return SampleBatch(self._tuple, np.concatenate(index), np.concatenate(times), np.concatenate(values))

    def _number(self, labels: dict[str, str]) -> int:
        key = tuple(sorted(labels.items()))
        number = self._numbers.get(key)
        if number is None:
            series = series_of_labels(self._placed(labels)) if labels.get("__name__") else None
            self.without += series is None
            number = self._numbers[key] = len(self._list) if series else -1
            if series:
                self._list.append(series)
        return number

    def _placed(self, labels: dict[str, str]) -> dict[str, str]:
        """Labels in the namespace that was asked for; the one that `job` may name gives way."""
        if not self._namespace:
            return labels
        service = labels.get("job", "").rpartition("/")[2]
        return labels | {"namespace": self._namespace} | ({"job": service} if service else {})


def _ms(time: datetime) -> int:
    return (time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def _datetime(milliseconds: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)
