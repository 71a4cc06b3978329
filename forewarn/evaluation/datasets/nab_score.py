"""The score of the Numenta Anomaly Benchmark (Lavin and Ahmad 2015), profile 'standard', for a corpus of files.

One alarm in a window of labels is worth 1 at its start and falls along a sigmoid to 0 at its end; only the earliest
counts. A window without an alarm costs 1, an alarm outside costs up to 0.11, less shortly after a window. The first
15 % of a file (at most 750 samples) are not scored. One threshold holds for the whole corpus, the one that scores
best. 0 is what a detector earns that never alarms, 100 one that alarms at the start of each window and never else.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

PROBATION, LONGEST_PROBATION = 0.15, 750
TRUE_POSITIVE, FALSE_POSITIVE, FALSE_NEGATIVE = 1.0, 0.11, 1.0  # profile 'standard'
STEEPNESS = 5.0
FAR_PAST_A_WINDOW = 3.0  # in lengths of the window: from there on a false alarm costs all of its weight

Floats = NDArray[np.float64]
Window = tuple[int, int]  # first and last index, both within


@dataclass(frozen=True, slots=True, eq=False)
class ScoredFile:
    """What an alarm at each sample is worth. worth [n]; window [n], -1 outside; windows: how many can be found."""

    worth: Floats
    window: NDArray[np.int64]
    probation: int
    windows: int


@dataclass(frozen=True, slots=True, eq=False)
class NabResult:
    """`score` of the corpus at `threshold` (alarm where a score is at least so high), 0 to 100 and below 0."""

    score: float
    threshold: float
    per_file: Floats  # points of each file; they add up to `score`
    found: int  # windows with an alarm
    false_alarms: int


def probation(n: int) -> int:
    """Samples at the start of a file of `n` that are not scored."""
    return min(int(PROBATION * n), LONGEST_PROBATION)


def prepare(n: int, windows: Sequence[Window]) -> ScoredFile:
    """Worth of an alarm at each of `n` samples, given the labelled windows in order, apart from each other."""
    place = np.arange(n, dtype=np.float64)
    distance, window = np.full(n, FAR_PAST_A_WINDOW), np.full(n, -1, dtype=np.int64)
    for k, (first, last) in enumerate(windows):
        length = last - first + 1
        distance[last + 1 :] = (place[last + 1 :] - last) / max(length - 1, 1)
        distance[first : last + 1] = (place[first : last + 1] - last - 1) / length
        window[first : last + 1] = k
    value = _falling(distance)
    worth = np.where(window >= 0, value * TRUE_POSITIVE / _falling(np.array([-1.0])), value * FALSE_POSITIVE)
    begin = probation(n)
    return ScoredFile(worth, window, begin, len(np.unique(window[begin:][window[begin:] >= 0])))


def _falling(distance: Floats) -> Floats:
    """Scaled sigmoid: 1 far inside, 0 at the end of a window, -1 far past it."""
    value = 2.0 / (1.0 + np.exp(STEEPNESS * np.minimum(distance, FAR_PAST_A_WINDOW))) - 1.0
    return np.where(distance >= FAR_PAST_A_WINDOW, -1.0, value)


def best(files: Sequence[ScoredFile], scores: Sequence[NDArray[np.floating[Any]]]) -> NabResult:
    """The result at the one threshold that scores best over all files. Raises ValueError where lengths differ."""
    gains, values = zip(*(_gains(file, score) for file, score in zip(files, scores, strict=True)), strict=True)
    gain, value = np.concatenate(gains), np.concatenate(values)
    order = np.argsort(-value, kind="stable")
    ordered = value[order]
    last_of_its_value = np.append(ordered[1:] != ordered[:-1], True) if len(ordered) else np.zeros(0, dtype=bool)
    total = np.where(last_of_its_value, np.cumsum(gain[order]), -np.inf)
    top = int(np.argmax(total)) if len(total) else -1
    silent = top < 0 or total[top] <= 0.0
    return at_threshold(files, scores, np.inf if silent else float(ordered[top]))


def _gains(file: ScoredFile, score: NDArray[np.floating[Any]]) -> tuple[Floats, Floats]:
    """What each scored sample adds when the threshold sinks to its score, and these scores."""
    values = np.asarray(score, dtype=np.float64)
    if values.shape != file.worth.shape:
        raise ValueError(f"{len(values)} scores for {len(file.worth)} samples")
    gain = file.worth.copy()
    for k in np.unique(file.window[file.window >= 0]):
        inside = np.flatnonzero(file.window == k)
        inside = inside[inside >= file.probation]
        falling = inside[np.argsort(-values[inside], kind="stable")]
        best_so_far = np.maximum.accumulate(file.worth[falling])
        gain[falling] = np.diff(best_so_far, prepend=-FALSE_NEGATIVE)
    return gain[file.probation :], values[file.probation :]


def at_threshold(
    files: Sequence[ScoredFile], scores: Sequence[NDArray[np.floating[Any]]], threshold: float
) -> NabResult:
    """The result of alarming wherever a score reaches `threshold`. NaN where no file has a window."""
    parts = [_points(file, np.asarray(score) >= threshold) for file, score in zip(files, scores, strict=True)]
    gained, found, false_alarms = (np.array(column, dtype=np.float64) for column in zip(*parts, strict=True))
    possible = sum(file.windows for file in files) * (TRUE_POSITIVE + FALSE_NEGATIVE)
    per_file = 100.0 * gained / possible if possible else np.full(len(files), np.nan)
    return NabResult(float(per_file.sum()), threshold, per_file, int(found.sum()), int(false_alarms.sum()))


def _points(file: ScoredFile, alarm: NDArray[np.bool_]) -> tuple[float, int, int]:
    """Points above those of a silent detector, windows found, false alarms."""
    scored = alarm.copy()
    scored[: file.probation] = False
    outside = scored & (file.window < 0)
    points, found = float(file.worth[outside].sum()), 0
    for k in np.unique(file.window[scored & (file.window >= 0)]):
        points += FALSE_NEGATIVE + float(file.worth[scored & (file.window == k)].max())
        found += 1
    return points, found, int(outside.sum())
