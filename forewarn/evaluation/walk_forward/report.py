"""A backtest over a folder of recordings, and its result as the JSON that docs/backtest.md describes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from forewarn.evaluation.walk_forward.baselines import BASELINES, baseline_pages
from forewarn.evaluation.walk_forward.outcome import Outcome, outcome
from forewarn.evaluation.walk_forward.pages import Page
from forewarn.evaluation.walk_forward.summary import by_mode, summarise
from forewarn.evaluation.walk_forward.walk import usual_step, walk
from forewarn.risk.scorer import Scorer
from forewarn.telemetry.recording import TELEMETRY, Failure, Recording, read_recording
from forewarn.telemetry.recording_errors import RecordingError


@dataclass(frozen=True, slots=True, eq=False)
class Walked:
    """One recording, what the engine told about it, and every method's outcome (`model` is the engine's)."""

    recording: Recording
    step: float
    pages: list[Page]
    outcomes: dict[str, Outcome]


def recordings_in(folder: Path) -> list[Path]:
    """The folder itself if it is a recording, else those in it. Raises RecordingError without any."""
    if (folder / TELEMETRY).is_file():
        return [folder]
    found = sorted(p.parent for p in folder.glob(f"*/{TELEMETRY}"))
    if not found:
        raise RecordingError(f"{folder} holds no recording: expected {TELEMETRY} in it, or in the folders in it")
    return found


def backtest_recording(
    path: Path, scorer: Scorer, step: float | None = None, failures: tuple[Failure, ...] | None = None
) -> Walked:
    """Walk one recording. The labels are taken away while the engine walks. Raises RecordingError."""
    recording = read_recording(path)
    if failures is not None:
        recording = replace(recording, failures=failures)
    width = step or usual_step(recording.metrics)
    unlabelled = replace(recording, failures=(), meta={})
    pages = walk(unlabelled, scorer, width)
    told = {"model": pages} | {name: baseline_pages(unlabelled, width, m) for name, m in BASELINES.items()}
    return Walked(recording, width, pages, {name: outcome(recording, p, width) for name, p in told.items()})


def backtest_folder(
    folder: Path,
    scorer: Scorer,
    step: float | None = None,
    failures: tuple[Failure, ...] | None = None,
    on_run: Callable[[Walked], None] = lambda _: None,
    on_unread: Callable[[Path, RecordingError], None] | None = None,
) -> list[Walked]:
    """Walk every recording of a folder, in the order of their names.

    on_unread: told of each that cannot be read, and the others are walked; raises RecordingError where it is not
    given, or where none can be read.
    """
    walked: list[Walked] = []
    paths = recordings_in(folder)
    for path in paths:
        try:
            walked.append(backtest_recording(path, scorer, step, failures))
        except RecordingError as error:
            if on_unread is None or len(paths) == 1:
                raise
            on_unread(path, error)
            continue
        on_run(walked[-1])
    if not walked:
        raise RecordingError(f"none of the {len(paths)} recordings in {folder} can be read")
    return walked


def as_json(walked: list[Walked], version: str, unread: Mapping[str, str] | None = None) -> dict[str, Any]:
    """`{"overall": figures, "baselines": {name: figures}, "modes": {mode: figures}, "runs": [row], "unread": {…}}`.

    unread: recordings that were left out, with the reason of each.
    """
    model = [w.outcomes["model"] for w in walked]
    return {
        "model": version,
        "overall": summarise(model),
        "baselines": {name: summarise([w.outcomes[name] for w in walked]) for name in BASELINES},
        "modes": by_mode(model),
        "runs": [_row(w) for w in walked],
        "unread": dict(unread or {}),
    }


def _row(walked: Walked) -> dict[str, Any]:
    told = [{"entity": p.entity, "signal": p.signal, "start": p.start, "end": p.end} for p in walked.pages]
    beside = {name: o.row() for name, o in walked.outcomes.items() if name != "model"}
    return {**walked.outcomes["model"].row(), "step_seconds": walked.step, "told": told, "baselines": beside}
