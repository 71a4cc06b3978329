"""SMD and ASD: anomalies in many metrics of one machine, scored by VUS-PR; and which metrics are behind an event.

Models learn on the training part of each machine alone and never see a label; a score looks at no later row.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forewarn.detection.detector import AnomalyDetector
from forewarn.detection.series_detector import SeriesDetector
from forewarn.evaluation.datasets.machines import Machine, read_asd, read_split
from forewarn.evaluation.datasets.report import DatasetError, DatasetReport, Options

Floats = NDArray[np.float64]

GOALS = {"smd": 0.45}
STEP_SECONDS = {"smd": 60.0, "asd": 300.0, "jumpstarter": 300.0}
TOP = 3


def evaluate(name: str, data: Path, options: Options) -> list[DatasetReport]:
    """VUS-PR over the machines in `data`, and how often a metric named first is one behind the event."""
    machines = list(read_asd(data) if name == "asd" else read_split(data))
    if not machines:
        files = "NAME_train.parquet and NAME_test.parquet" if name == "asd" else "NAME.parquet"
        raise DatasetError(f"{data} holds no files of {name}: {files} are expected")
    return anomaly_reports(machines, options, STEP_SECONDS[name], GOALS.get(name))


def anomaly_reports(
    machines: Sequence[Machine], options: Options, step_seconds: float, goal: float | None = None
) -> list[DatasetReport]:
    """VUS-PR; alarms at a budget of one false page a machine and week; where labels tell causes, their hit rate.

    step_seconds: time between rows. Raises DatasetError where no machine has an anomaly.
    """
    rows, alarms, hits = [], [], []
    for machine in machines:
        if not machine.label.any():
            options.say(f"{machine.name}: no anomaly is labelled in its test part, left out")
            continue
        detector = default_detector(options.seed)
        detector.learn(machine.train)
        rows.append(_scored(machine, detector, options))
        alarms.append(_alarms(machine, detector, options.seed, step_seconds))
        hits += _explained(machine, detector)
        options.say(f"{machine.name}: {rows[-1]['value']:.3f}")
    if not rows:
        raise DatasetError("no machine has a labelled anomaly in its test part: VUS-PR cannot be computed")
    left_out = [f"{len(machines) - len(rows)} left out: no anomaly is labelled"] * (len(rows) < len(machines))
    notes = (
        "Forewarn learns on the training part and scores each row from it and earlier rows alone (causal).",
        "pca_offline and isolation_forest_offline see the whole test part before they score it, as in TSB-AD; the "
        "other baselines learn on the training part. Baselines have their usual settings; pca_smoothed is pca_offline "
        "smoothed as our scores are.",
        "Window: period of the first metric of the test part (TSB-AD's rule). Mean over machines.",
        *left_out,
    )
    return [_report("VUS-PR", rows, goal, notes), *_alarm_reports(alarms), *_cause_reports(hits)]


def default_detector(seed: int) -> SeriesDetector:
    """The detector that is on (see docs/adr/0006-detectors-by-benchmark.md)."""
    from forewarn.detection.forecast_error import AutoregressionDetector

    return AutoregressionDetector(seed=seed)


def score_after(detector: AnomalyDetector, train: Floats, test: Floats) -> Floats:
    """[n] scores of `test`, whose first rows are judged with the end of `train` before them."""
    before = train[len(train) - min(detector.context, len(train)) :]
    return detector.score(np.concatenate([before, test]))[len(before) :]


def _scored(machine: Machine, detector: SeriesDetector, options: Options) -> dict[str, Any]:
    from forewarn.evaluation.datasets.anomaly_baselines import baseline_scores
    from forewarn.evaluation.datasets.vus_pr import period_of, vus_pr

    window = period_of(machine.test[:, 0])
    own = score_after(detector, machine.train, machine.test)
    beside = baseline_scores(machine.train, machine.test, options.seed, detector.smoothing)
    return {
        "part": machine.name,
        "value": vus_pr(machine.label, own, window),
        "baselines": {name: vus_pr(machine.label, scores, window) for name, scores in beside.items()},
        "rows": len(machine.test),
        "anomalous_share": float(machine.label.mean()),
        "window": window,
    }


def _alarms(machine: Machine, detector: SeriesDetector, seed: int, step_seconds: float) -> dict[str, Any]:
    """Alarms of one machine at the budget, beside those of the largest |z|, with the same rule for its threshold."""
    from forewarn.evaluation.datasets.anomaly_baselines import absolute_z
    from forewarn.evaluation.datasets.budgeted_alarms import alarms_at_budget, held_out_scores

    usual = held_out_scores(default_detector(seed), machine.train)
    own = alarms_at_budget(usual, score_after(detector, machine.train, machine.test), machine.label, step_seconds)
    usual_z, z = (part.max(axis=1) for part in absolute_z(machine.train, machine.test))
    beside = alarms_at_budget(usual_z, z, machine.label, step_seconds)
    return {"part": machine.name, "own": own, "max_z": beside}


def _alarm_reports(rows: Sequence[Mapping[str, Any]]) -> list[DatasetReport]:
    """Two figures of the same alarms: false ones, and events found."""
    titles = {
        "false_per_week": "false alarms per machine and week, budget: one",
        "found": "events with an alarm in them at that budget (share, mean over machines)",
    }
    note = "The threshold comes from the last quarter of the training part; where that is short it is extrapolated."
    reports = []
    for key, title in titles.items():
        parts = [{"part": r["part"], "value": r["own"][key], "baselines": {"max_z": r["max_z"][key]}} for r in rows]
        report = _report(title, parts, None, (note,))
        reports.append(replace(report, higher_is_better=key == "found"))
    return reports


def _explained(machine: Machine, detector: SeriesDetector) -> list[dict[str, Any]]:
    """One row an event: whether one of the metrics that weigh most in it is one that the label names."""
    from forewarn.evaluation.datasets.anomaly_baselines import absolute_z

    if not machine.causes:
        return []
    before = machine.train[len(machine.train) - min(detector.context, len(machine.train)) :]
    parts = detector.contributions(np.concatenate([before, machine.test]))[len(before) :]
    _, distance = absolute_z(machine.train, machine.test)
    rows = []
    for start, end, columns in machine.causes:
        rows.append(
            {
                "part": f"{machine.name} {start}–{end}",
                "value": _hit(parts[start : end + 1].sum(axis=0), columns),
                "baselines": {
                    "max_z": _hit(distance[start : end + 1].max(axis=0), columns),
                    "random": len(columns) / machine.test.shape[1],
                },
                f"top_{TOP}": float(bool(set(np.argsort(-parts[start : end + 1].sum(axis=0))[:TOP]) & columns)),
            }
        )
    return rows


def _hit(weight: Floats, columns: frozenset[int]) -> float:
    return float(int(np.argmax(weight)) in columns)


def _cause_reports(rows: Sequence[Mapping[str, Any]]) -> list[DatasetReport]:
    if not rows:
        return []
    top = float(np.mean([row[f"top_{TOP}"] for row in rows]))
    note = f"Of {len(rows)} events; one of the first {TOP} metrics is one that the label names in {top:.1%}."
    return [_report("metric named first is behind the event (share of events)", rows, None, (note,))]


def _report(metric: str, rows: Sequence[Mapping[str, Any]], goal: float | None, notes: Sequence[str]) -> DatasetReport:
    beside = {name: float(np.mean([row["baselines"][name] for row in rows])) for name in rows[0]["baselines"]}
    return DatasetReport(metric, float(np.mean([row["value"] for row in rows])), beside, rows, goal=goal, notes=notes)
