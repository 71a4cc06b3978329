"""Nezha's data sets (TrainTicket, OnlineBoutique on Kubernetes) as recordings.

Source: github.com/IntelligentDDS/Nezha, folders `rca_data/<day>/{metric,log,trace}` and `<day>-fault_list.json`, as
a folder or a .tar.xz of it. One pod runs each service, so the service is the entity and the pod is kept in `meta`.
"""

import json
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from forewarn.telemetry.converters import nezha_events, nezha_metrics
from forewarn.telemetry.recording import Failure, Recording
from forewarn.telemetry.recording_errors import RecordingError


def read(source: Path, day: str | None = None) -> Recording:
    """The recording of one day; `day` (such as 2023-01-30) is needed where the source has several.

    Raises RecordingError where the source is not Nezha's.
    """
    with _unpacked(source) as root:
        folder = _day_folder(source, root, day)
        pods = nezha_metrics.pods(folder / "metric")
        metrics, limits, notes = nezha_metrics.read(folder / "metric")
        logs = nezha_events.read_logs(folder / "log")
        spans = nezha_events.read_spans(folder / "trace")
        edges = nezha_metrics.dependencies(folder / "metric")
        if spans is not None:
            edges = tuple(dict.fromkeys((*edges, *nezha_events.edges(folder / "trace"))))
        return Recording(
            name=f"nezha-{folder.name}",
            metrics=metrics,
            logs=logs,
            spans=spans,
            limits=limits,
            topology=edges,
            failures=_faults(folder),
            meta={
                "source": "Nezha (github.com/IntelligentDDS/Nezha), MIT",
                "day": folder.name,
                "failures": "times of fault injection, not of a first failure",
                "pods": pods,
            },
            notes=tuple(notes),
        )


def service_of(pod: str) -> str:
    """The service of a pod: its name without the hashes of the replica set and the pod."""
    return pod.rsplit("-", 2)[0]


def _faults(folder: Path) -> tuple[Failure, ...]:
    path = folder / f"{folder.name}-fault_list.json"
    if not path.exists():
        return ()
    injected: list[dict[str, Any]] = [fault for hour in json.loads(path.read_bytes()).values() for fault in hour]
    faults = [
        Failure(
            entity=service_of(fault["inject_pod"]),
            mode=fault["inject_type"],
            first_failure_at=datetime.fromtimestamp(int(fault["inject_timestamp"]), UTC),
            cause_entity=service_of(fault["inject_pod"]),
        )
        for fault in injected
    ]
    return tuple(sorted(faults, key=lambda fault: fault.first_failure_at))


@contextmanager
def _unpacked(source: Path) -> Iterator[Path]:
    """The folder that holds the data; an archive is unpacked for as long as it is needed."""
    if source.is_dir():
        yield source
        return
    if not source.exists():
        raise RecordingError(f"{source} does not exist: name one of Nezha's .tar.xz files or an unpacked folder")
    with tempfile.TemporaryDirectory(prefix="forewarn-nezha-") as folder:
        try:
            with tarfile.open(source) as archive:
                archive.extractall(folder, filter="data")
        except tarfile.TarError as error:
            raise RecordingError(f"{source} is no tar archive: {error}") from error
        yield Path(folder)


def _day_folder(source: Path, root: Path, day: str | None) -> Path:
    days = sorted(p.parent for p in root.glob("**/metric") if p.is_dir() and p.parent.parent.name != "construct_data")
    found = [p for p in days if day in (None, p.name) and any(p.glob("metric/*_metric.csv"))]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(p.name for p in found)
        raise RecordingError(f"{source} has several days ({names}): name the folder of one of them")
    raise RecordingError(f"{source} has no folder with metric/*_metric.csv: it is not a data set of Nezha")
