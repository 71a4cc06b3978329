"""Nezha: faults injected into microservices; which service is the cause, from metrics, logs and traces."""

import re
import tarfile
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from forewarn.evaluation.datasets.ranked_causes import Case, Ranking, by_score, reports, z_rankings
from forewarn.evaluation.datasets.report import DatasetError, DatasetReport, Options
from forewarn.incidents.causes import logs, spans
from forewarn.incidents.causes.findings import F64, Window
from forewarn.incidents.causes.locate import Observed, locate
from forewarn.incidents.causes.spans import Visits
from forewarn.telemetry.converters import nezha, nezha_events
from forewarn.telemetry.converters.nezha_metrics import CLIENT
from forewarn.telemetry.recording import Recording
from forewarn.telemetry.samples import SampleBatch

_MINUTE = 60 * 10**9
_WATCHED = 4 * _MINUTE  # of an incident, when the cause is asked for
_LASTS = 5 * _MINUTE  # what follows an earlier fault is no baseline
_GOALS = {1: 90.0, 3: 95.0}
_NOTES = (
    "Granularity: the service. The start of each incident is given (as in the paper); what came before it is usual.",
    "Nothing is learned: every incident is ranked by the same rules, from its own day's telemetry before and 4 min "
    "after its start.",
)


def evaluate(name: str, data: Path, options: Options) -> list[DatasetReport]:
    """Top-1 and top-3 over all faults of all days found in `data` (archives or folders). Raises DatasetError."""
    cases: list[Case] = []
    notes = list(_NOTES)
    for source in _sources(data):
        with _opened(source) as root:
            for day in _days(root):
                options.say(f"{name}: {day.name} of {source.name}")
                found, note = _cases(root, day)
                cases += found
                notes += note
    if not cases:
        raise DatasetError(f"{data} holds no day of Nezha with metric/*_metric.csv and a *-fault_list.json")
    return reports(cases, _GOALS, notes)


def _sources(data: Path) -> list[Path]:
    """Archives in the folder; the folder itself where data lie unpacked in it."""
    archives = sorted(path for path in data.iterdir() if re.search(r"\.(tar(\.\w+)?|tgz)$", path.name))
    return [*archives, data] if any(data.glob("**/metric")) else archives


@contextmanager
def _opened(source: Path) -> Iterator[Path]:
    if source.is_dir():
        yield source
        return
    with tempfile.TemporaryDirectory(prefix="forewarn-nezha-") as folder:
        try:
            with tarfile.open(source) as archive:
                archive.extractall(folder, filter="data")
        except tarfile.TarError as error:
            raise DatasetError(f"{source} is no tar archive: {error}") from error
        yield Path(folder)


def _days(root: Path) -> list[Path]:
    """Folders of days that have metrics and a list of faults, without those of fault-free operation."""
    days = sorted(path.parent for path in root.glob("**/metric") if path.is_dir())
    return [day for day in days if "construct_data" not in day.parts and any(day.glob("*-fault_list.json"))]


def _cases(root: Path, day: Path) -> tuple[list[Case], list[str]]:
    recording = nezha.read(day.parent, day.name)
    usual = next((path for path in root.glob(f"**/construct_data/{day.name}") if path.is_dir()), None)
    observed = _observed(recording, usual)
    services = [entity for entity in recording.entities if entity != CLIENT]
    kinds = [k for k, there in (("logs", observed.lines), ("traces", observed.visits)) if there is not None]
    notes = [f"{day.name}: metrics{''.join(f', {k}' for k in kinds)} of {len(services)} services"]
    starts = [int(fault.first_failure_at.timestamp()) * 10**9 for fault in recording.failures]
    found = []
    for fault, start in zip(recording.failures, starts, strict=True):
        if fault.cause_entity not in services:
            notes.append(f"{day.name}: no telemetry of {fault.cause_entity}; its fault is left out")
            continue
        window = Window(start, start + _WATCHED, tuple((s, s + _LASTS) for s in starts if s < start))
        suspects = locate(observed, window, services)
        ranking = [s.entity for s in suspects if s.entity in services]
        why = next((s.reasons[0] for s in suspects if s.reasons), "")
        part = f"{fault.first_failure_at:%F %H:%M} {fault.mode} {fault.cause_entity}"
        baselines = _baselines(recording.metrics, observed, window, services)
        found.append(Case(part, day.name, fault.cause_entity, ranking, services, baselines, why))
    return found, notes


def _observed(recording: Recording, usual: Path | None) -> Observed:
    """Telemetry of the day together with that of its fault-free operation before, where there is any."""
    seen = spans.visits(recording.spans) if recording.spans is not None else None
    lines = logs.lines(recording.logs) if recording.logs is not None else None
    before_spans = nezha_events.read_spans(usual / "trace") if usual is not None else None
    before_logs = nezha_events.read_logs(usual / "log") if usual is not None else None
    if seen is not None and before_spans is not None:
        earlier = spans.visits(before_spans)
        seen = Visits(pd.concat([earlier.own, seen.own]), pd.concat([earlier.calls, seen.calls]))
    if lines is not None and before_logs is not None:
        lines = replace(lines, table=pd.concat([logs.lines(before_logs).table, lines.table]))
    return Observed(recording.metrics, recording.topology, seen, lines)


def _baselines(samples: SampleBatch, observed: Observed, window: Window, services: Sequence[str]) -> dict[str, Ranking]:
    """Ranked z-scores over all signals of a pod and over its latencies alone; nearest to the users."""
    rankings: dict[str, Ranking] = {}
    for wanted, suffix in (("", ", all signals"), ("duration", ", latencies")):
        usual: dict[str, list[F64]] = {s: [] for s in services}
        now: dict[str, list[F64]] = {s: [] for s in services}
        for entity, before, during in _values(samples, window, wanted):
            if entity in usual:
                usual[entity].append(before)
                now[entity].append(during)
        rankings |= z_rankings(usual, now, suffix)
    rankings["nearest to the users"] = _nearest(observed, services)
    return rankings


def _values(samples: SampleBatch, window: Window, wanted: str) -> Iterator[tuple[str, F64, F64]]:
    order = np.argsort(samples.index, kind="stable")
    bounds = np.searchsorted(samples.index[order], np.arange(len(samples.series) + 1))
    for i, series in enumerate(samples.series):
        rows = order[bounds[i] : bounds[i + 1]]
        times, values = samples.times[rows], samples.values[rows]
        before, during = values[window.before(times)], values[window.during(times)]
        if wanted in series.signal and len(before) and len(during):
            yield series.entity, before, during


def _nearest(observed: Observed, services: Sequence[str]) -> Ranking:
    """By the number of calls from the users; those that are called by nobody come first."""
    servers: dict[str, list[str]] = defaultdict(list)
    for client, server in observed.edges:
        servers[client].append(server)
    near, wave = {CLIENT: 0}, [CLIENT]
    while wave:
        wave = [
            s for client in wave for s in servers[client] if near.setdefault(s, near[client] + 1) == near[client] + 1
        ]
        wave = list(dict.fromkeys(s for s in wave if s not in servers or near[s] < len(services)))
    return by_score({service: -float(near.get(service, len(services))) for service in services})
