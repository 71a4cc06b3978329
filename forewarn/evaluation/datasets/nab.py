"""The Numenta Anomaly Benchmark: streaming alarms on every file, scored by NAB's rules, beside simple detectors.

The threshold is NAB's: one for the corpus, the best; the second report shows what the detector's own alarms earn,
whose level was fixed beforehand. Files may be any part of the corpus.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from forewarn.detection.streaming_alarms import StreamingAlarms
from forewarn.evaluation.datasets import univariate_baselines as baselines
from forewarn.evaluation.datasets.nab_score import NabResult, ScoredFile, Window, at_threshold, best, prepare
from forewarn.evaluation.datasets.report import DatasetError, DatasetReport, Options

METRIC = "NAB standard profile score"
GOAL = 75.0
WINDOWS = "combined_windows.json"
PUBLISHED = "Published for all 58 files: ARTime 74.9, HTM 70.1, CAD OSE 69.9, windowed Gaussian 39.6, random 11.0."

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class NabFile:
    """One file of the corpus: times [n] in seconds, values [n], and how alarms on it are scored."""

    name: str
    times: Floats
    values: Floats
    scored: ScoredFile


def evaluate(name: str, data: Path, options: Options) -> list[DatasetReport]:
    """The score at NAB's threshold, then that of alarms whose level was fixed beforehand. Raises DatasetError."""
    files = read(data)
    scored = [file.scored for file in files]
    detector = StreamingAlarms()
    alarms = []
    for file in files:
        alarms.append(detector.score(file.times, file.values, file.scored.probation))
        options.say(f"{file.name}: {np.count_nonzero(alarms[-1][file.scored.probation :])} alarms")
    others = {key: best(scored, scores) for key, scores in _baselines(files, options.seed).items()}
    beside = {key: result.score for key, result in others.items()}
    optimised, fixed = best(scored, alarms), at_threshold(scored, alarms, np.nextafter(0.0, 1.0))
    parts, notes = _rows(files, optimised, others), _notes(optimised)
    return [
        DatasetReport(METRIC, optimised.score, beside, parts, goal=GOAL, notes=notes),
        DatasetReport(f"{METRIC}, level of alarms fixed beforehand", fixed.score, beside, _rows(files, fixed, others)),
    ]


def _notes(result: NabResult) -> list[str]:
    return [
        f"{result.found} windows found, {result.false_alarms} false alarms at a threshold of {result.threshold:.2f}.",
        "A part's value is what it adds to the score. The threshold is the best for these files: NAB's rule.",
        PUBLISHED,
    ]


def _rows(files: Sequence[NabFile], result: NabResult, others: Mapping[str, NabResult]) -> list[dict[str, Any]]:
    return [
        {
            "part": file.name,
            "value": float(points),
            "baselines": {name: float(other.per_file[k]) for name, other in others.items()},
            "windows": file.scored.windows,
        }
        for k, (file, points) in enumerate(zip(files, result.per_file, strict=True))
    ]


def _baselines(files: Sequence[NabFile], seed: int) -> dict[str, list[Floats]]:
    """Scores [n] of each file by simple detectors."""
    draw = np.random.default_rng(seed)
    return {
        "windowed Gaussian": [baselines.windowed_gaussian(file.values) for file in files],
        "static threshold": [baselines.static_threshold(file.values, file.scored.probation) for file in files],
        "Isolation Forest": [baselines.isolation_forest(file.values, file.scored.probation, seed) for file in files],
        "random": [draw.random(len(file.values)) for file in files],
    }


def read(data: Path) -> list[NabFile]:
    """Every .csv or .csv.gz below `data` with timestamp and value; windows from its JSON file. Raises DatasetError."""
    windows = _windows(data)
    paths = {_key(path, data): path for path in sorted([*data.rglob("*.csv"), *data.rglob("*.csv.gz")])}
    if not paths:
        raise DatasetError(f"{data} holds no .csv or .csv.gz files: name the folder of the data set")
    files = [_file(key, path, windows) for key, path in sorted(paths.items())]
    if not any(file.scored.windows for file in files):
        raise DatasetError(f"no file in {data} has a labelled window: there is nothing to measure")
    return files


def _key(path: Path, data: Path) -> str:
    return path.relative_to(data).as_posix().removesuffix(".gz")


def _windows(data: Path) -> dict[str, list[tuple[str, str]]]:
    path = data / WINDOWS
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, list[tuple[str, str]]])
    except FileNotFoundError as error:
        raise DatasetError(f"{path} is missing: it names the labelled windows of each file") from error
    except msgspec.DecodeError as error:
        raise DatasetError(f"{path} cannot be read: {error}") from error


def _file(key: str, path: Path, windows: Mapping[str, Sequence[tuple[str, str]]]) -> NabFile:
    if key not in windows:
        raise DatasetError(f"{WINDOWS} says nothing of {key}: give its windows, or [] if there are none")
    frame = pd.read_csv(path)
    if missing := {"timestamp", "value"} - set(frame.columns):
        raise DatasetError(f"{path} has no column {', '.join(sorted(missing))}")
    try:
        times = pd.to_datetime(frame["timestamp"]).to_numpy(dtype="datetime64[ns]")
        limits = [_window(times, np.datetime64(a, "ns"), np.datetime64(b, "ns")) for a, b in windows[key]]
    except (ValueError, TypeError) as error:
        raise DatasetError(f"{path}: a time or a window cannot be read: {error}") from error
    seconds = times.astype(np.int64) / 1e9
    return NabFile(key, seconds, frame["value"].to_numpy(dtype=np.float64), prepare(len(times), sorted(limits)))


def _window(times: NDArray[np.datetime64], first: np.datetime64, last: np.datetime64) -> Window:
    """Places of the first sample in a window and of the first that has its end's time, else the last within."""
    inside = np.flatnonzero((times >= first) & (times <= last))
    if len(inside) == 0:
        raise ValueError(f"no sample lies between {first} and {last}")
    at_end = np.flatnonzero(times == last)
    at_end = at_end[at_end >= inside[0]]
    return int(inside[0]), int(at_end[0] if len(at_end) else inside[-1])
