"""Nezha's logs and traces as log lines, spans and the calls between services."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.csv as pa_csv
from numpy.typing import NDArray

from forewarn.telemetry.recording import Logs, Spans

_TEXTS = ("TraceID", "SpanID", "ParentID", "Timestamp")  # ids may look like numbers
_SEVERITY = r"\b(TRACE|DEBUG|INFO|WARN|ERROR|FATAL)\b"


def read_logs(folder: Path) -> Logs | None:
    """Log lines of all minutes, without those that are in two files; None where there are no logs."""
    table = _tables(folder)
    if table is None:
        return None
    # Column TimeUnixNano is not used: of some error lines it is a zero time, while Timestamp is right.
    table["time"] = pd.to_datetime(table["Timestamp"], format="ISO8601", utc=True).astype("int64")
    table = table.drop_duplicates(["time", "PodName", "Log"]).sort_values("time", kind="stable")
    bodies = [_body(text) for text in table["Log"]]
    severities = pd.Series([b[:80] for b in bodies]).str.extract(_SEVERITY)[0].fillna("")
    index, entities = pd.factorize(_services(table))
    return Logs(
        entities=tuple(entities),
        index=index.astype(np.int32),
        times=table["time"].to_numpy(np.int64),
        severities=severities.tolist(),
        bodies=bodies,
        trace_ids=_hex(table["TraceID"], 32),
        span_ids=_hex(table["SpanID"], 16),
        attributes=[],
    )


def read_spans(folder: Path) -> Spans | None:
    """Spans of all minutes; None where there are no traces. Durations come from start and end."""
    table = _spans(folder)
    if table is None:
        return None
    index, entities = pd.factorize(table["service"])
    starts = table["StartTimeUnixNano"].to_numpy(np.int64)
    return Spans(
        entities=tuple(entities),
        index=index.astype(np.int32),
        starts=starts,
        durations=np.maximum(table["EndTimeUnixNano"].to_numpy(np.int64) - starts, 0) / 1e9,
        trace_ids=table["TraceID"].to_numpy().astype("S32"),
        span_ids=table["SpanID"].to_numpy().astype("S16"),
        parent_span_ids=table["ParentID"].where(table["ParentID"] != "root", "").to_numpy().astype("S16"),
        operations=table["OperationName"].to_numpy(object),
        kinds=_kinds(table),
        errors=np.zeros(len(table), bool),  # the tables do not tell
    )


def edges(folder: Path) -> tuple[tuple[str, str], ...]:
    """Calls between services: a span and its parent in another service."""
    table = _spans(folder)
    if table is None:
        return ()
    calls = table[table["remote"]][["parent_service", "service"]].drop_duplicates()
    return tuple(sorted((str(a), str(b)) for a, b in calls.itertuples(index=False, name=None)))


def _spans(folder: Path) -> pd.DataFrame | None:
    """Spans with `service`, `parent_service` (missing for a root) and `remote`: the parent is in another service."""
    table = _tables(folder)
    if table is None:
        return None
    table = table.drop_duplicates(["TraceID", "SpanID"]).sort_values("StartTimeUnixNano", kind="stable")
    table = table.reset_index(drop=True)
    table["service"] = _services(table)
    parents = table.drop_duplicates("SpanID").set_index("SpanID")["service"]
    table["parent_service"] = table["ParentID"].map(parents)
    table["remote"] = table["parent_service"].notna() & (table["parent_service"] != table["service"])
    return table


def _kinds(table: pd.DataFrame) -> NDArray[np.object_]:
    """A root or the child of another service's span is a server's; the parent of one, and an HTTP call, a client's."""
    server = (table["ParentID"] == "root") | table["remote"]
    http = table["OperationName"].str.startswith("HTTP ")
    calls = table["SpanID"].isin(table.loc[table["remote"], "ParentID"]) | http
    return np.where(server, "server", np.where(calls, "client", "internal")).astype(object)


def _tables(folder: Path) -> pd.DataFrame | None:
    paths = sorted(folder.glob("*_*_*.csv"))
    if not paths:
        return None
    parse = pa_csv.ParseOptions(newlines_in_values=True)
    convert = pa_csv.ConvertOptions(column_types=dict.fromkeys(_TEXTS, "string"))
    tables = [pa_csv.read_csv(p, parse_options=parse, convert_options=convert).to_pandas() for p in paths]
    return pd.concat(tables, ignore_index=True)


def _services(table: pd.DataFrame) -> "pd.Series[str]":
    return table["PodName"].str.rsplit("-", n=2).str[0]


def _hex(column: "pd.Series[str]", length: int) -> list[str]:
    """Ids as they are; what is not one (a line outside any trace) becomes ''."""
    whole = re.compile(rf"[0-9a-f]{{{length}}}").fullmatch
    return [text if whole(text) else "" for text in map(str, column)]


def _body(text: str) -> str:
    """The line itself out of the container runtime's JSON; cut-off JSON stays as it is."""
    try:
        return str(json.loads(text)["log"]).rstrip("\n")
    except (ValueError, KeyError, TypeError):
        return text
