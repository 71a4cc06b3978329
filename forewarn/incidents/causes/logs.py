"""What logs say: lines never seen before and kinds of lines that surge, by service; errors count most."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from forewarn.incidents.causes.findings import Finding, Window
from forewarn.telemetry.queries import logql
from forewarn.telemetry.recording import Logs

_VARIABLE = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|\b[0-9a-f]{16,}\b|0x[0-9a-f]+|\d+")
_QUOTED = re.compile(r"\"[^\"]*\"|'[^']*'")
_LONGEST = 160
_WEIGHT = {"ERROR": 1.0, "FATAL": 1.0, "WARN": 0.3}  # others tell little of a failure
_NOISE = 3.0


@dataclass(frozen=True, slots=True, eq=False)
class Lines:
    """Log lines in rows: entity, start (ns), kind (the text without what varies), weight (0 to 1)."""

    table: pd.DataFrame


def lines(logs: Logs) -> Lines:
    """Lines by kind. What varies is masked: numbers, ids and what is quoted."""
    table = pd.DataFrame(
        {
            "entity": np.array(logs.entities, dtype=object)[logs.index],
            "start": logs.times,
            "kind": [_kind(body) for body in logs.bodies],
            "weight": [_WEIGHT.get(severity, 0.05) for severity in logs.severities],
        }
    )
    return Lines(table)


def findings(seen: Lines, window: Window) -> list[Finding]:
    """Kinds of lines that come more often than usual, by entity, errors before others."""
    table = seen.table
    before, during = (table[mask(table["start"].to_numpy())] for mask in (window.before, window.during))
    if before.empty or during.empty:
        return []
    surges = _surges(before, during)
    rows: Iterable[Any] = surges.itertuples()
    found = []
    for row in rows:
        text = f"{row.entity} logged {row.now} times '{row.kind[:80]}', {row.expected:.1f} were usual"
        query = logql(row.entity, _longest_part(row.kind), range_seconds=(window.end - window.start) / 1e9)
        found.append(Finding(row.entity, "log", row.amount, row.deviation, row.weight, text, query))
    return found


def _surges(before: pd.DataFrame, during: pd.DataFrame) -> pd.DataFrame:
    """Kinds that came more often than Poisson noise about what is usual for the entity's number of lines."""
    keys = ["entity", "kind"]
    now = during.groupby(keys).agg(now=("start", "size"), weight=("weight", "max"))
    usual = before.groupby(keys).size().rename("usual")
    counts = now.join(usual).fillna({"usual": 0}).reset_index()
    scale = during.groupby("entity").size() / before.groupby("entity").size()
    counts["expected"] = counts["usual"] * counts["entity"].map(scale).fillna(1.0)
    counts["deviation"] = 2.0 * (np.sqrt(counts["now"] + 0.375) - np.sqrt(counts["expected"] + 0.375))  # Anscombe
    counts["amount"] = counts["weight"] * (counts["deviation"] - _NOISE).clip(lower=0.0)
    return counts[counts["amount"] > 0]


def _kind(body: str) -> str:
    return _VARIABLE.sub("*", _QUOTED.sub("*", body[:_LONGEST]))


def _longest_part(kind: str) -> str:
    """The longest text of a kind of lines in which nothing varies: what to search for."""
    return max(kind.split("*"), key=len).strip()
