"""One recording through the real engine, cell by cell, as the stream would see it; nothing from the future."""

import numpy as np
from numpy.typing import NDArray

from forewarn.evaluation.walk_forward.pages import Estimate, Page
from forewarn.risk.engine import RiskEngine
from forewarn.risk.records import FailureObserved, Risk
from forewarn.risk.scorer import Scorer
from forewarn.telemetry.recording import Recording
from forewarn.telemetry.samples import SampleBatch, Series

SECOND = 1_000_000_000
_USUAL_STEPS = (1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 3600)
_FINE_STEP = 10.0  # seconds; below it, signals are scored every fifth cell


def usual_step(metrics: SampleBatch) -> float:
    """Seconds between the samples of a series (median of medians), as the nearest of the usual intervals."""
    medians = []
    for number in range(len(metrics.series)):
        times = metrics.times[metrics.index == number]
        medians += [float(np.median(np.diff(times))) / SECOND] if len(times) > 2 else []
    distance = float(np.median(medians)) if medians else 60.0
    return float(min(_USUAL_STEPS, key=lambda s: abs(np.log(s / max(distance, 1e-3)))))


def walk(recording: Recording, scorer: Scorer, step: float) -> list[Page]:
    """Pages of the engine. step: seconds of a cell; limits become known with the first sample of their signal."""
    engine = RiskEngine("", step, 0.0, 5 if step < _FINE_STEP else 1)
    engine.calls = _calls(recording.topology)
    metrics = with_limits(recording)
    cells = metrics.times // int(step * SECOND)
    edges = np.flatnonzero(np.diff(cells)) + 1
    open_pages: dict[Series, Page] = {}
    pages: list[Page] = []
    for part in np.split(np.arange(len(metrics)), edges):
        engine.ingest(_batch(metrics, part))
        end = engine.due()
        if end is not None:
            _assess(engine, end, scorer, open_pages, pages)
    return pages


def _batch(metrics: SampleBatch, part: NDArray[np.int64]) -> SampleBatch:
    """Some samples, with the series that they are of and no others: the rest is not known yet."""
    present, index = np.unique(metrics.index[part], return_inverse=True)
    series = tuple(metrics.series[int(i)] for i in present)
    return SampleBatch(series, index.astype(np.int32), metrics.times[part], metrics.values[part])


def _assess(engine: RiskEngine, end: int, scorer: Scorer, open_pages: dict[Series, Page], pages: list[Page]) -> None:
    risks, observations, seen, scores = engine.assess(end, scorer)
    now = end * engine.step_seconds
    series_of = {(s.entity, s.name): s for s in engine.windows.series}
    for risk in risks:
        series = series_of[risk.entity, risk.signal]
        if risk.state == "open":
            page = Page(risk.entity, series.signal, risk.mode, now, now, _causes(risk))
            open_pages[series] = page
            pages.append(page)
        elif risk.state == "withdrawn":
            open_pages.pop(series, None)
    rows = {engine.windows.series[int(r)]: i for i, r in enumerate(seen.rows)}
    for series, page in open_pages.items():
        page.end = now
        quantiles = scores.quantiles[rows[series]] * engine.step_seconds
        page.estimates.append(Estimate(now, *(float(q) for q in quantiles)))
    for seen_failure in observations:
        if isinstance(seen_failure, FailureObserved):
            open_pages.pop(series_of[seen_failure.entity, seen_failure.signal], None)


def _causes(risk: Risk) -> list[tuple[str, str]]:
    named = [(d.entity, d.signal.partition("{")[0]) for d in risk.drivers]
    return list(dict.fromkeys([*named, (risk.entity, risk.signal.partition("{")[0])]))


def _calls(topology: tuple[tuple[str, str], ...]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for client, server in topology:
        found.setdefault(client, set()).add(server)
    return found


def with_limits(recording: Recording) -> SampleBatch:
    """The metrics and, at the first sample of each limited signal, its limit as a signal of its own."""
    m = recording.metrics
    position = {s: i for i, s in enumerate(m.series)}
    series, index, times, values = list(m.series), [m.index], [m.times], [m.values]
    for limit in recording.limits:
        if limit.series not in position:
            continue
        first = m.times[int(np.argmax(m.index == position[limit.series]))]
        own = limit.series
        index.append(np.array([len(series)], np.int32))
        times.append(np.array([first], np.int64))
        values.append(np.array([limit.value]))
        series.append(Series(own.entity, f"{own.signal}.limit", own.attributes, unit=own.unit))
    joined = np.concatenate(times)
    order: NDArray[np.int64] = np.argsort(joined, kind="stable")
    return SampleBatch(tuple(series), np.concatenate(index)[order], joined[order], np.concatenate(values)[order])
