"""PetShop: issues injected into services on AWS; which node of the service graph is the cause, from its metrics."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from forewarn.evaluation.datasets.ranked_causes import Case, Ranking, by_score, reports, z_rankings
from forewarn.evaluation.datasets.report import DatasetError, DatasetReport, Options
from forewarn.incidents.causes.findings import F64
from forewarn.incidents.causes.graph_flow import Load, flow_findings
from forewarn.incidents.causes.ranking import rank

_STEP = 300.0  # seconds of a row
_NOTES = (
    "The node and metric of the symptom, its time and the service graph are given; the true cause is not.",
    "Nothing is learned: what is usual comes from the rows before the symptom and, where the scenario has it, from "
    "noissue/metrics.csv.",
)

Frame = pd.DataFrame


@dataclass(frozen=True, slots=True, eq=False)
class _Issue:
    """One issue: usual and now are rows of (node, metric, statistic)."""

    part: str
    target: dict[str, Any]
    cause: str
    usual: Frame
    before: Frame
    now: Frame


def evaluate(name: str, data: Path, options: Options) -> list[DatasetReport]:
    """Top-1 and top-3 over all issues of all scenarios found in `data`. Raises DatasetError."""
    cases: list[Case] = []
    for scenario in sorted({path.parent for path in data.glob("**/graph.csv*")}):
        options.say(f"{name}: {scenario.relative_to(data)}")
        edges, nodes = _graph(scenario)
        noissue = next(iter(sorted(scenario.glob("noissue/metrics.csv*"))), None)
        usual = _metrics(noissue) if noissue is not None else None
        for target in sorted(scenario.glob("**/target.json")):
            cases.append(_case(_issue(scenario, target, usual), edges, nodes, scenario.name))
    if not cases:
        raise DatasetError(f"{data} holds no scenario with graph.csv(.gz) and <split>/<issue>/target.json")
    return reports(cases, {1: None, 3: None}, _NOTES)


def _case(issue: _Issue, edges: Sequence[tuple[str, str]], nodes: Sequence[str], group: str) -> Case:
    node, metric = issue.target["node"], issue.target["metric"]
    loads = _loads(issue, metric)
    suspects = rank(flow_findings(loads, edges, node), nodes)
    ranking = [s.entity for s in suspects if s.entity in nodes]
    why = next((s.reasons[0] for s in suspects if s.reasons), "")
    return Case(issue.part, group, issue.cause, ranking, nodes, _baselines(issue, edges, nodes), why)


def _issue(scenario: Path, path: Path, usual: Frame | None) -> _Issue:
    told = json.loads(path.read_bytes())
    table = _metrics(next(iter(sorted(path.parent.glob("metrics.csv*")))))
    rows = table.index.to_numpy(np.float64)
    begins = float(told["target"]["timestamp"])
    ended = max(int((rows + _STEP <= begins).sum()), 1)  # a row tells of the time that follows it
    before, now = table.iloc[:ended], table.iloc[ended:]
    part = f"{scenario.name}/{path.parent.parent.name}/{path.parent.name} {told['target']['metric']}"
    return _Issue(part, told["target"], told["root_cause"]["node"], before if usual is None else usual, before, now)


def _metrics(path: Path) -> Frame:
    return pd.read_csv(path, header=[0, 1, 2], index_col=0).astype(float).sort_index()


def _graph(scenario: Path) -> tuple[list[tuple[str, str]], list[str]]:
    """Calls (client, server) and nodes."""
    table = pd.read_csv(next(iter(sorted(scenario.glob("graph.csv*")))), index_col=0)
    nodes = [str(node) for node in table.index]
    rows, columns = np.nonzero(table.to_numpy() > 0)
    return [(nodes[i], str(table.columns[j])) for i, j in zip(rows, columns, strict=True)], nodes


def _loads(issue: _Issue, metric: str) -> list[Load]:
    """Requests, and seconds or failures a request, of every node, before and in the issue."""
    found = []
    for node in dict.fromkeys(str(c[0]) for c in issue.now.columns):
        cost = "availability" if metric == "availability" else "latency"
        column, requests = (node, cost, "Average"), (node, "requests", "Sum")
        if column not in issue.now or requests not in issue.now:
            continue
        found.append(
            Load(
                node,
                "errors" if cost == "availability" else "time",
                usual=_costs(issue.usual, column),
                before=_costs(issue.before, column),
                now=_costs(issue.now, column),
                requests_before=_values(issue.before, requests) / _STEP,
                requests=_values(issue.now, requests) / _STEP,
            )
        )
    return found


def _costs(table: Frame, column: tuple[str, str, str]) -> F64:
    values = _values(table, column)
    return 1.0 - values / 100.0 if column[1] == "availability" else values


def _values(table: Frame, column: tuple[str, str, str]) -> F64:
    if column not in table:
        return np.empty(0)
    return np.asarray(table[column].to_numpy(), dtype=np.float64)


def _columns(table: Frame) -> list[tuple[str, str, str]]:
    return [(str(column[0]), str(column[1]), str(column[2])) for column in table.columns]


def _baselines(issue: _Issue, edges: Sequence[tuple[str, str]], nodes: Sequence[str]) -> dict[str, Ranking]:
    """Ranked z-scores over all metrics and over the symptom's metric alone; nearest to the symptom."""
    rankings: dict[str, Ranking] = {}
    for wanted, suffix in ((None, ", all metrics"), (issue.target["metric"], ", the symptom's metric")):
        usual: dict[str, list[F64]] = {node: [] for node in nodes}
        now: dict[str, list[F64]] = {node: [] for node in nodes}
        for column in _columns(issue.now):
            if column[0] in usual and column in issue.usual and wanted in (None, column[1]):
                before, during = _values(issue.usual, column), _values(issue.now, column)
                before, during = before[np.isfinite(before)], during[np.isfinite(during)]
                if len(before) > 2 and len(during):
                    usual[column[0]].append(before)
                    now[column[0]].append(during)
        rankings |= z_rankings(usual, now, suffix)
    called = {server for client, server in edges if client == issue.target["node"]}
    rankings["nearest to the symptom"] = by_score({n: 2.0 * (n == issue.target["node"]) + (n in called) for n in nodes})
    return rankings
