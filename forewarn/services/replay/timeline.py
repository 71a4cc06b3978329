"""Where and when a recording is replayed: its namespace, its shift in time, and its chunks of event time."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from forewarn.telemetry.recording import Recording
from forewarn.telemetry.samples import SampleBatch, namespace_of

SECOND = 1_000_000_000
_LONGEST_CHUNK_SECONDS = 60.0  # entities are sent in turn: well within the lateness that a predictor allows


@dataclass(frozen=True, slots=True)
class Chunk:
    """A stretch of event time [start, end) in nanoseconds, and the rows of each part that lie in it."""

    start: int
    end: int
    metrics: slice
    logs: slice
    spans: slice


def in_namespace(recording: Recording, namespace: str | None) -> Recording:
    """The recording with its entities moved into a namespace.

    Without `namespace`, entities that have one keep it, the others get the one that `default_namespace` makes.
    """
    default = default_namespace(recording)

    def moved(entity: str) -> str:
        if namespace is None and namespace_of(entity):
            return entity
        return f"{namespace or default}/{entity.rpartition('/')[2]}"

    metrics, logs, spans = recording.metrics, recording.logs, recording.spans
    series = tuple(replace(s, entity=moved(s.entity)) for s in metrics.series)
    limits = recording.limits
    return replace(
        recording,
        metrics=SampleBatch(series, metrics.index, metrics.times, metrics.values),
        logs=replace(logs, entities=tuple(map(moved, logs.entities))) if logs is not None else None,
        spans=replace(spans, entities=tuple(map(moved, spans.entities))) if spans is not None else None,
        limits=tuple(replace(x, series=replace(x.series, entity=moved(x.series.entity))) for x in limits),
        topology=tuple((moved(a), moved(b)) for a, b in recording.topology),
        failures=tuple(
            replace(f, entity=moved(f.entity), cause_entity=moved(f.cause_entity) if f.cause_entity else "")
            for f in recording.failures
        ),
    )


def default_namespace(recording: Recording) -> str:
    """`namespace` of meta.json, else the folder's name in letters, digits, '-', '_' and '.'."""
    name = str(recording.meta.get("namespace") or recording.name)
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-") or "recording"


def shift_to_end_at(recording: Recording, end_ns: int) -> int:
    """Nanoseconds to add to event times so that the last event is at `end_ns`."""
    return end_ns - recording.span_ns[1]


def step_seconds(metrics: SampleBatch) -> float:
    """The usual distance of the samples of a series: median over up to 50 series of their median distance."""
    distances = []
    for number in range(min(len(metrics.series), 50)):
        gaps = np.diff(metrics.times[metrics.index == number])
        distances += [float(np.median(gaps)) / SECOND] if len(gaps) else []
    return max(float(np.median(distances)), 0.001) if distances else 1.0


def chunk_seconds(step: float, speed: float | None) -> float:
    """Length of a chunk: what passes in a second, at least a step, and no more than a minute otherwise."""
    longest = max(_LONGEST_CHUNK_SECONDS, step)
    return longest if speed is None else min(max(speed, step), longest)


def chunks(recording: Recording, seconds: float) -> Iterator[Chunk]:
    """The recording in the order of event time; stretches without any event are left out."""
    first, last = recording.span_ns
    width = max(int(seconds * SECOND), 1)
    edges = first + width * np.arange((last - first) // width + 2, dtype=np.int64)
    rows = [_rows(times, edges) for times in _times(recording)]
    for i in range(len(edges) - 1):
        metrics, logs, spans = (slice(int(r[i]), int(r[i + 1])) for r in rows)
        if metrics.stop + logs.stop + spans.stop > metrics.start + logs.start + spans.start:
            yield Chunk(int(edges[i]), int(edges[i + 1]), metrics, logs, spans)


def _times(recording: Recording) -> list[NDArray[np.int64]]:
    none = np.empty(0, np.int64)
    logs = recording.logs.times if recording.logs is not None else none
    spans = recording.spans.starts if recording.spans is not None else none
    return [recording.metrics.times, logs, spans]


def _rows(times: NDArray[np.int64], edges: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.searchsorted(times, edges).astype(np.int64)
