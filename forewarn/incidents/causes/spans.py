"""Where requests lost their time: each service's own time and the way between two services, from spans."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from forewarn.incidents.causes.findings import F64, Finding, Kind, Window, spread
from forewarn.telemetry.queries import traceql
from forewarn.telemetry.recording import Spans

_DEPTH = 8  # 2^8 spans above each other within one service
_NOISE = 3.0  # deviations that count as noise
_FEW = 5  # calls below which no usual time is known
_SHIFTS: tuple[tuple[str, Kind, str], ...] = (
    ("missing", "work", "{what} of {entity} did {share:.0%} less per request than usual"),
    ("failure", "errors", "{what} of {entity} failed in {share:.0%} more of its requests than usual"),
)


@dataclass(frozen=True, slots=True, eq=False)
class Visits:
    """What requests did at services. Columns of `own`: entity, what, start, seconds (without the calls that it
    waited for), spans, failed; of `calls`: entity, peer, start, seconds (of the caller less those of the called);
    of both: whole (seconds of the whole request, divided by how often it did the same)."""

    own: pd.DataFrame
    calls: pd.DataFrame


def visits(spans: Spans) -> Visits:
    """Own time of each visit of a request to a service, and the time on the way of each call between two."""
    table = _with_parents(spans)
    entity, parent = table["entity"].to_numpy(), table["parent"].to_numpy()
    remote = (parent >= 0) & (entity[parent] != entity)
    visit = _visit_of(parent, remote)
    calls = _calls(table, remote, visit)
    waited = pd.Series(_covered(calls)).groupby(calls["visit"].to_numpy()).sum()
    count = np.bincount(visit, minlength=len(table))
    failed = np.bincount(visit, weights=table["error"], minlength=len(table)) > 0
    entry = np.flatnonzero(visit == np.arange(len(table)))
    own = table.iloc[entry][["entity", "what", "start", "seconds", "whole", "trace"]].copy()
    own["seconds"] = (own["seconds"] - waited.reindex(entry).fillna(0.0).to_numpy()).clip(lower=0.0)
    own["spans"], own["failed"] = count[entry], failed[entry]
    for done, what in ((own, "what"), (calls, "peer")):
        done["whole"] /= done.groupby(["trace", "entity", what])["start"].transform("size")
    return Visits(own.drop(columns="trace"), calls[["entity", "peer", "start", "seconds", "whole"]])


def time_findings(seen: Visits, window: Window) -> list[Finding]:
    """Extra time per second of the incident, at services and between them.

    Time lost between two is shared by both ends: by the share of each end's calls that are slow, so that the one
    all of whose traffic is slow gets more.
    """
    seconds = (window.end - window.start) / 1e9
    own = _excess(seen.own, ["entity", "what"], window)
    found = [
        Finding(
            str(entity),
            "time",
            rows["excess"].sum() / seconds,
            rows["deviation"].max(),
            _size(rows["excess"].sum(), rows["whole"].sum()),
            *_own_text(str(entity), rows),
        )
        for entity, rows in own.groupby("entity")
    ]
    way = _excess(seen.calls, ["entity", "peer"], window)
    return found + _way_findings(way, seconds)


def work_findings(seen: Visits, window: Window) -> list[Finding]:
    """Services whose requests do less, or fail, there: amounts are shares of the spans that are missing, and of the
    visits in which a span failed."""
    table = seen.own.assign(missing=-np.log(seen.own["spans"].clip(lower=1)), failure=seen.own["failed"].astype(float))
    found = []
    for column, kind, text in _SHIFTS:
        for row in _rows(_shift(table, column, window)):
            share = 1.0 - float(np.exp(-row.excess)) if kind == "work" else row.excess
            words = text.format(what=row.what, entity=row.entity, share=share)
            found.append(
                Finding(row.entity, kind, share * row.weight, row.deviation, share * row.weight, words, _query(row))
            )
    return found


def _shift(table: pd.DataFrame, column: str, window: Window) -> pd.DataFrame:
    """Rise of the mean of a column beyond its noise, by entity and what; weight: share of the entity's visits."""
    keys = ["entity", "what"]
    times = table["start"].to_numpy()
    usual = table[window.before(times)].groupby(keys)[column].agg(["mean", "std", "size"])
    now = table[window.during(times)].groupby(keys)[column].agg(["mean", "size"])
    both = now.join(usual, lsuffix="_now", rsuffix="_usual", how="inner").reset_index()
    both = both[(both["size_usual"] >= _FEW) & (both["size_now"] >= _FEW)]
    error = both["std"].clip(lower=0.05) * np.sqrt(1.0 / both["size_now"] + 1.0 / both["size_usual"])
    both["deviation"] = (both["mean_now"] - both["mean_usual"]) / error
    both["excess"] = (both["mean_now"] - both["mean_usual"] - _NOISE * error).clip(lower=0.0)
    both["weight"] = both["size_now"] / both.groupby("entity")["size_now"].transform("sum")
    return both[both["excess"] > 0]


def _way_findings(way: pd.DataFrame, seconds: float) -> list[Finding]:
    ends = pd.concat(
        [way[["entity", "slow", "calls"]], way[["peer", "slow", "calls"]].set_axis(["entity", "slow", "calls"], axis=1)]
    )
    sums = ends.groupby("entity")[["slow", "calls"]].sum()
    share = sums["slow"] / sums["calls"].clip(lower=1)
    found = []
    for row in _rows(way[way["excess"] > 0]):
        blame = {row.entity: share[row.entity], row.peer: share[row.peer]}
        total = sum(blame.values()) or 1.0
        text = f"calls from {row.entity} to {row.peer} took {row.excess / row.calls:.3g} s longer on the way"
        size = _size(row.excess, row.whole)
        for end, slow in blame.items():
            amount = row.excess / seconds * slow / total
            found.append(Finding(end, "time", amount, row.deviation, size, text, traceql(row.entity)))
    return found


def _size(excess: float, whole: float) -> float:
    """The share of the requests' time: a call that takes ten times longer matters where the request feels it."""
    return min(float(excess / whole), 1.0) if whole > 0 else 0.0


def _rows(table: pd.DataFrame) -> Iterable[Any]:
    return table.itertuples()


def _own_text(entity: str, rows: pd.DataFrame) -> tuple[str, str]:
    worst = rows.sort_values("excess").iloc[-1]
    more = worst["excess"] / worst["calls"]
    text = f"{worst['what']} spent {more:.3g} s more in {entity} itself, calls not counted"
    return text, traceql(entity, str(worst["what"]), float(more))


def _query(row: Any) -> str:
    return traceql(row.entity, str(row.what))


def _excess(table: pd.DataFrame, keys: list[str], window: Window) -> pd.DataFrame:
    """Per key: calls, excess (seconds in all beyond the usual and its noise), whole (seconds of the requests in
    all), slow (how many), deviation."""
    times = table["start"].to_numpy()
    usual = (
        table[window.before(times)]
        .groupby(keys)["seconds"]
        .agg(level="median", spread=lambda s: spread(s.to_numpy(), 1e-3), n="size")
    )
    now = table[window.during(times)].merge(usual[usual["n"] >= _FEW].reset_index(), on=keys)
    above = now["seconds"] - now["level"]
    now["slow"] = above > _NOISE * now["spread"]
    now["excess"] = above.where(now["slow"], 0.0)
    now["deviation"] = above / now["spread"]
    grouped = now.groupby(keys)
    return grouped.agg(
        calls=("excess", "size"),
        excess=("excess", "sum"),
        whole=("whole", "sum"),
        slow=("slow", "sum"),
        deviation=("deviation", "mean"),
    ).reset_index()


def _with_parents(spans: Spans) -> pd.DataFrame:
    """Spans in rows, each once, with the row of its parent (-1 without one)."""
    table = pd.DataFrame(
        {
            "entity": np.array(spans.entities, dtype=object)[spans.index],
            "what": spans.operations,
            "start": spans.starts,
            "seconds": spans.durations,
            "error": spans.errors,
            "trace": pd.factorize(spans.trace_ids)[0],
            "id": spans.span_ids,
            "above": spans.parent_span_ids,
        }
    )
    table = table.drop_duplicates("id", ignore_index=True)
    table["whole"] = table.groupby("trace")["seconds"].transform("max")
    table["parent"] = pd.Index(table["id"]).get_indexer(pd.Index(table["above"]))
    return table


def _visit_of(parent: NDArray[np.int64], remote: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Row of the span with which the request came into the service."""
    rows = np.arange(len(parent))
    visit = np.where((parent >= 0) & ~remote, parent, rows)
    for _ in range(_DEPTH):
        visit = visit[visit]
    return visit


def _calls(table: pd.DataFrame, remote: NDArray[np.bool_], visit: NDArray[np.int64]) -> pd.DataFrame:
    """Spans that called another service: whom, in which visit, from when to when, and the time on the way."""
    served = table[remote].sort_values("seconds").drop_duplicates("parent", keep="last")
    calls = table.iloc[served["parent"]].copy()
    calls["peer"], calls["visit"] = served["entity"].to_numpy(), visit[served["parent"]]
    calls["until"] = calls["start"] + (calls["seconds"] * 1e9).astype(np.int64)
    calls["seconds"] = (calls["seconds"].to_numpy() - served["seconds"].to_numpy()).clip(min=0.0)
    return calls.sort_values(["visit", "start"], kind="stable")


def _covered(calls: pd.DataFrame) -> F64:
    """Seconds that each call adds to the time in which its visit waited for any; calls may overlap."""
    latest = calls.groupby("visit")["until"].cummax().groupby(calls["visit"]).shift(fill_value=0)
    begin = np.maximum(calls["start"].to_numpy(), latest.to_numpy())
    return np.maximum(calls["until"].to_numpy() - begin, 0) / 1e9
