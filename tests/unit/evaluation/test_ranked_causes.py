"""Nezha's and PetShop's folders of small made-up incidents, and the real ones where they are."""

import gzip
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from forewarn.evaluation.datasets.registry import evaluate
from forewarn.evaluation.datasets.report import DatasetError, Options

NODES = ["site", "search", "store", "pay"]
CALLS = {("site", "search"), ("search", "store"), ("site", "pay")}
STEP = 300


def petshop(root: Path, cause: str, chain: list[str]) -> Path:
    """A scenario in which `cause`, and what calls it, take longer from the symptom on; no noissue folder."""
    issue = root / "any_traffic/test/issue_7"
    issue.mkdir(parents=True)
    graph = pd.DataFrame([[float((a, b) in CALLS) for b in NODES] for a in NODES], NODES, NODES)
    (root / "any_traffic/graph.csv.gz").write_bytes(gzip.compress(graph.to_csv().encode()))
    rng, times = np.random.default_rng(0), 1_000_000 + STEP * np.arange(6)
    columns = {}
    for k, node in enumerate(NODES):
        extra = np.where(np.arange(6) >= 4, 0.5 if node in chain else 0.0, 0.0)
        columns[node, "latency", "Average"] = 0.1 * (4 - k) + 0.002 * rng.random(6) + extra
        columns[node, "requests", "Sum"] = np.full(6, 900.0)
        columns[node, "availability", "Average"] = np.full(6, 100.0)
    table = pd.DataFrame(columns, index=pd.Index(times, name="unix_timestamp"))
    table.to_csv(issue / "metrics.csv")
    target = {"node": "site", "metric": "latency", "agg": "Average", "timestamp": int(times[4])}
    (issue / "target.json").write_text(json.dumps({"target": target, "root_cause": {"node": cause, "metric": None}}))
    return root


@pytest.mark.parametrize("chain", [["site"], ["site", "search"], ["site", "search", "store"], ["site", "pay"]])
def test_petshop_names_the_deepest_slow_node(tmp_path: Path, chain: list[str]) -> None:
    top1, top3 = evaluate("petshop", petshop(tmp_path, chain[-1], chain), Options())
    assert (top1.value, top3.value) == (100.0, 100.0), top1.parts
    assert top1.parts[0]["named"][0] == chain[-1]
    assert top1.baselines["random"] == pytest.approx(25.0)


def test_petshop_wrong_truth_is_a_miss(tmp_path: Path) -> None:
    top1, top3 = evaluate("petshop", petshop(tmp_path, "pay", ["site", "search"]), Options())
    assert top1.value == 0.0
    assert top3.parts[0]["cause"] == "pay"


METRICS = "Time,TimeStamp,PodName,CpuUsage(m),CpuUsageRate(%),MemoryUsage(Mi),MemoryUsageRate(%),PodServerLatencyP90(s)"


def nezha(root: Path) -> Path:
    """A day of metrics alone, in which b's processor is used up from 10:30 to 10:34 and then c's."""
    folder = root / "rca_data/2024-05-06"
    (folder / "metric").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for k, service in enumerate("abc"):
        rows = [METRICS, *(row(rng, service, 30 * (k + 0), minute) for minute in range(100))]
        (folder / f"metric/{service}-svc-5f-x{k}_metric.csv").write_text("\n".join(rows) + "\n")
    faults = [
        {"inject_timestamp": str(1714989600 + 60 * 30 * k), "inject_pod": f"{s}-svc-5f-x{k}", "inject_type": "cpu"}
        for k, s in enumerate("abc")
        if k
    ]
    (folder / "2024-05-06-fault_list.json").write_text(json.dumps({"10": faults}))
    return root


def row(rng: np.random.Generator, service: str, fault: int, minute: int) -> str:
    bad = fault and fault <= minute < fault + 4
    cpu, latency = (90.0, 0.4) if bad else (5.0 + rng.random(), 0.05 + 0.002 * rng.random())
    time = pd.Timestamp(1714989600 + 60 * minute, unit="s").strftime("%Y-%m-%d %H:%M:%S.500")
    return f"{time} +0000 UTC m=+1,{1714989600 + 60 * minute},{service},{cpu * 10},{cpu},100,10,{latency}"


def test_nezha_finds_days_whatever_their_names(tmp_path: Path) -> None:
    top1, top3 = evaluate("nezha", nezha(tmp_path), Options())
    assert (top1.value, top3.value) == (100.0, 100.0), top1.parts
    assert len([p for p in top1.parts if "named" in p]) == 2
    assert "rose by" in top1.parts[0]["reason"]
    assert top1.goal == 90.0


@pytest.mark.parametrize("name", ["nezha", "petshop"])
def test_says_what_is_missing(tmp_path: Path, name: str) -> None:
    with pytest.raises(DatasetError, match="holds no"):
        evaluate(name, tmp_path, Options())


@pytest.mark.parametrize(("name", "some", "least"), [("nezha", "*metrics.tar.xz", 90), ("petshop", "low_traffic", 90)])
def test_real_incidents(tmp_path: Path, name: str, some: str, least: float) -> None:
    data = Path(os.environ.get("FOREWARN_DATA", "nowhere")) / name
    if not data.is_dir():
        pytest.skip(f"FOREWARN_DATA names no folder with {name}/: the real data set is not here")
    for path in data.glob(some):
        shutil.copytree(path, tmp_path / path.name) if path.is_dir() else shutil.copy(path, tmp_path)
    top1, _ = evaluate(name, tmp_path, Options())
    assert top1.value >= least
    assert top1.value > top1.baselines["best ranked z-score"]
