"""Labelled metrics of machines, as SMD, ASD and JumpStarter store them: one machine is a train and a test part."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forewarn.evaluation.datasets.report import DatasetError

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Machine:
    """One machine's metrics: train [m, F] and test [n, F] in time order, label [n], and what labels say is behind.

    causes: (first row, last row, columns) of events in the test part; empty where nobody has told.
    """

    name: str
    train: Floats
    test: Floats
    label: Floats
    causes: Sequence[tuple[int, int, frozenset[int]]] = ()


def read_split(folder: Path) -> Iterator[Machine]:
    """Machines of `NAME.parquet` with columns `split` (train, test), `label` and metrics, in any depth of folders."""
    import pandas as pd

    for path in sorted(folder.rglob("*.parquet")):
        table = pd.read_parquet(path)
        _require(path, table.columns, ("split", "label"))
        test = (table["split"] == "test").to_numpy()
        values = table.drop(columns=["split", "label"]).to_numpy(dtype=np.float64)
        label = table["label"].to_numpy(dtype=np.float64)[test]
        name = str(path.relative_to(folder).with_suffix(""))
        yield Machine(name, values[~test], values[test], label, _causes(folder, name))


def read_asd(folder: Path) -> Iterator[Machine]:
    """Machines of `NAME_train.parquet` (metrics) and `NAME_test.parquet` (metrics and `label`)."""
    import pandas as pd

    for path in sorted(folder.glob("*_test.parquet")):
        name = path.name.removesuffix("_test.parquet")
        train_path = path.with_name(f"{name}_train.parquet")
        if not train_path.exists():
            raise DatasetError(f"{train_path} is missing: the models learn on it what is usual for {name}")
        test, train = pd.read_parquet(path), pd.read_parquet(train_path)
        _require(path, test.columns, ("label",))
        label = test.pop("label").to_numpy(dtype=np.float64)
        _require(train_path, train.columns, tuple(test.columns))
        metrics = train[list(test.columns)].to_numpy(dtype=np.float64)
        yield Machine(name, metrics, test.to_numpy(dtype=np.float64), label, _causes(folder, name))


def _require(path: Path, there: Any, names: Sequence[str]) -> None:
    missing = [name for name in names if name not in there]
    if missing:
        raise DatasetError(f"{path} has no column {', '.join(missing)}: see docs/evaluation/multivariate.md")


def _causes(folder: Path, name: str) -> list[tuple[int, int, frozenset[int]]]:
    """Events of `interpretation_label/NAME.txt`: lines `first-last:1,4,7`, metrics counted from 1."""
    path = folder / "interpretation_label" / f"{name}.txt"
    if not path.exists():
        return []
    events = []
    for line in filter(str.strip, path.read_text().splitlines()):
        try:
            rows, columns = line.split(":")
            first, last = (int(row) for row in rows.split("-"))
            events.append((first, last, frozenset(int(column) - 1 for column in columns.split(","))))
        except ValueError:
            raise DatasetError(f"{path}: {line!r} is not of the form 'first-last:metric,metric'") from None
    return events
