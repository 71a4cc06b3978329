"""Nezha's metric tables as samples with OpenTelemetry's names, and the limits that they imply."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from forewarn.telemetry.recording import Limit
from forewarn.telemetry.recording_errors import RecordingError
from forewarn.telemetry.samples import SampleBatch, Series

CLIENT = "client"  # the entity that stands for the users, as in other recordings
_MEBI = 2.0**20


class _Signal(NamedTuple):
    name: str
    unit: str
    scale: float = 1.0
    attributes: tuple[tuple[str, str], ...] = ()


def _latency(side: str, quantile: int) -> _Signal:
    return _Signal(f"http.{side}.request.duration.p{quantile}", "s")


# All values of the tables are gauges: what is a counter elsewhere was written down as a rate.
_POD = {
    "CpuUsage(m)": _Signal("container.cpu.usage", "{cpu}", 1e-3),
    "CpuUsageRate(%)": _Signal("k8s.container.cpu_limit_utilization", "1", 1e-2),
    "MemoryUsage(Mi)": _Signal("container.memory.usage", "By", _MEBI),
    "SyscallRead": _Signal("process.syscall.rate", "{call}/s", attributes=(("syscall", "read"),)),
    "SyscallWrite": _Signal("process.syscall.rate", "{call}/s", attributes=(("syscall", "write"),)),
    "NetworkReceiveBytes": _Signal(
        "container.network.io.rate", "By/s", attributes=(("network.io.direction", "receive"),)
    ),
    "NetworkTransmitBytes": _Signal(
        "container.network.io.rate", "By/s", attributes=(("network.io.direction", "transmit"),)
    ),
    **{f"PodClientLatencyP{q}(s)": _latency("client", q) for q in (90, 95, 99)},
    **{f"PodServerLatencyP{q}(s)": _latency("server", q) for q in (90, 95, 99)},
    "PodWorkload(Ops)": _Signal("http.server.request.rate", "{request}/s"),
    "NodeCpuUsageRate(%)": _Signal("k8s.node.cpu.utilization", "1", 1e-2),
    "NodeMemoryUsageRate(%)": _Signal("k8s.node.memory.utilization", "1", 1e-2),
    "NodeNetworkReceiveBytes": _Signal("k8s.node.network.io.rate", "By/s"),
}
_FRONT = {
    f"Latency{q}(s)": _Signal(f"http.client.request.duration.{q.lower()}", "s") for q in ("P50", "P90", "P95", "P99")
}

_Column = tuple[Series, NDArray[np.int64], NDArray[np.float64]]


def read(folder: Path) -> tuple[SampleBatch, tuple[Limit, ...], list[str]]:
    """Samples of all pods and of the users, limits of memory, and notes on what was left out."""
    columns: list[_Column] = []
    limits: list[Limit] = []
    notes: list[str] = []
    for path in _pod_files(folder):
        table = _table(path, notes)
        entity = _service(path)
        columns += _columns(entity, table, _POD)
        limits += _memory_limit(entity, table, notes)
    columns += _users(folder, notes)
    columns += _calls(folder)
    return _batch(columns), tuple(limits), notes


def pods(folder: Path) -> dict[str, str]:
    """The pod of each service."""
    return {_service(path): path.name.removesuffix("_metric.csv") for path in _pod_files(folder)}


def dependencies(folder: Path) -> tuple[tuple[str, str], ...]:
    """Calls that `dependency.csv` tells of; its lines about nodes and load generators are left out."""
    services = set(pods(folder))
    front = tuple((CLIENT, name) for name in ("frontend", "ts-gateway-service") if name in services)
    path = folder / "dependency.csv"
    if not path.exists():
        return front
    pairs = pd.read_csv(path)[["Source", "Target"]].itertuples(index=False, name=None)
    return (*front, *((str(a), str(b)) for a, b in pairs if {a, b} <= services))


def _pod_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*_metric.csv"))


def _service(path: Path) -> str:
    return path.name.removesuffix("_metric.csv").rsplit("-", 2)[0]


def _table(path: Path, notes: list[str]) -> pd.DataFrame:
    """A table with `time_ns` from its column Time.

    Column TimeStamp is not used: in one published file it lies six years ahead.
    """
    table = pd.read_csv(path)
    time = next((name for name in ("Time", "time") if name in table), None)
    if time is None:
        raise RecordingError(f"{path} has no column Time: it is not a metric table of Nezha")
    instants = pd.to_datetime(table[time].str.extract(r"^(\S+ \S+)")[0], format="%Y-%m-%d %H:%M:%S.%f", utc=True)
    table["time_ns"] = instants.astype("int64")
    stamps = next((table[name] for name in ("TimeStamp", "timestamp") if name in table), None)
    if stamps is not None and (stamps - table["time_ns"] / 1e9).abs().max() > 3600:
        notes.append(f"{path.name}: TimeStamp disagrees with Time by hours; Time is taken")
    return table.drop_duplicates("time_ns", keep="last").sort_values("time_ns")


def _columns(entity: str, table: pd.DataFrame, signals: dict[str, _Signal]) -> Iterator[_Column]:
    times = table["time_ns"].to_numpy(np.int64)
    for column, signal in signals.items():
        if column not in table:
            continue
        values = table[column].to_numpy(np.float64) * signal.scale
        there = np.isfinite(values)
        if there.any():
            yield Series(entity, signal.name, signal.attributes, unit=signal.unit), times[there], values[there]


def _users(folder: Path, notes: list[str]) -> Iterator[_Column]:
    """What users see. A success rate that is always 0 was not measured."""
    path = folder / "front_service.csv"
    if not path.exists():
        return
    table = _table(path, notes)
    yield from _columns(CLIENT, table, _FRONT)
    if not table["SuccessRate(%)"].any():
        notes.append(f"{path.name}: SuccessRate(%) is 0 throughout, so it was not measured; left out")
        return
    table["errors"] = 100.0 - table["SuccessRate(%)"]
    yield from _columns(CLIENT, table, {"errors": _Signal("http.client.request.error_ratio", "1", 1e-2)})


def _calls(folder: Path) -> Iterator[_Column]:
    """Median durations of calls by caller and callee, as the caller (`source_50`) and the callee (`destination_50`)
    see them."""
    for name, side in (("source_50.csv", "client"), ("destination_50.csv", "server")):
        path = folder / name
        if not path.exists():
            continue
        table = _table(path, [])
        for column in (name for name in table if "_" in str(name) and name != "time_ns"):
            client, _, server = str(column).partition("_")
            seen_by, peer = (
                (client, ("server.address", server)) if side == "client" else (server, ("client.address", client))
            )
            signal = _Signal(f"http.{side}.request.duration.p50", "s", attributes=(peer,))
            yield from _columns(seen_by, table, {str(column): signal})


def _memory_limit(entity: str, table: pd.DataFrame, notes: list[str]) -> Iterator[Limit]:
    """Usage over its share of the limit gives the limit, where that is one number."""
    rate = table["MemoryUsageRate(%)"].to_numpy(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        implied = table["MemoryUsage(Mi)"].to_numpy(np.float64) / rate * 100
    implied = implied[np.isfinite(implied)]
    if not len(implied):
        return
    low, limit, high = np.quantile(implied, [0.05, 0.5, 0.95])
    if high - low > 0.01 * limit:
        notes.append(f"{entity}: usage and share imply memory limits from {low:.0f} to {high:.0f} MiB; no limit taken")
        return
    yield Limit(Series(entity, "container.memory.usage", unit="By"), float(limit * _MEBI))


def _batch(columns: list[_Column]) -> SampleBatch:
    times = np.concatenate([times for _, times, _ in columns])
    values = np.concatenate([values for _, _, values in columns])
    index = np.repeat(np.arange(len(columns), dtype=np.int32), [len(times) for _, times, _ in columns])
    order = np.argsort(times, kind="stable")
    return SampleBatch(tuple(series for series, _, _ in columns), index[order], times[order], values[order])
