"""Parts of a namespace's history as rows: labels and features of the training, calibration or test interval."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from forewarn.evaluation.backtest import Stretch
from forewarn.evaluation.split import Part, censored
from forewarn.features.definitions import FEATURE_NAMES
from monitor_assets.features.incident_labels import failing_of
from monitor_assets.features.service_calls import related
from monitor_assets.features.told_episodes import acted_cells, kept
from monitor_assets.history import History, SignalWindows


def labels_of_part(labels: pa.Table, part: Part) -> pa.Table:
    """Labels of a part as they were known when it ended."""
    cell = labels.column("cell").to_numpy()
    rows = labels.filter(pa.array(part.holds(cell)))
    steps, observed, at = (rows.column(name).to_numpy() for name in ("steps", "observed", "cell"))
    steps, observed = censored(steps, observed, at, part.stop)
    for name, values in (("steps", steps), ("observed", observed)):
        rows = rows.set_column(rows.schema.get_field_index(name), name, pa.array(values))
    return rows


def stretch_of(history: History, windows: SignalWindows, part: Part) -> Stretch:
    """Every row of a part, features read from the feature store's history, labels as known when the part ended."""
    labels = labels_of_part(history.read_table("incident_labels"), part)
    first, stop = windows.time_of(part.first), windows.time_of(part.stop)
    within = (pc.field("event_timestamp") >= first) & (pc.field("event_timestamp") < stop)
    features = history.read_features(where=within)
    keys = ["series_id", "event_timestamp"]
    position = features.select(keys).append_column("position", pa.array(np.arange(features.num_rows)))
    joined = labels.join(position, keys, join_type="inner").sort_by([("row", "ascending"), ("cell", "ascending")])
    episodes = kept(history)
    failing = failing_of(windows, episodes)
    return Stretch(
        part=part,
        features=matrix(features)[joined.column("position").to_numpy()],
        row=joined.column("row").to_numpy(),
        at=joined.column("cell").to_numpy(),
        steps=joined.column("steps").to_numpy(),
        observed=joined.column("observed").to_numpy(),
        failing=failing,
        acted=acted_cells(episodes, len(failing)),
        related=related(history, windows),
    )


def matrix(rows: pa.Table) -> NDArray[np.float64]:
    """Feature columns as float64 [n, F]; nulls become NaN."""
    return np.column_stack([rows.column(name).to_numpy() for name in FEATURE_NAMES]).astype(np.float64)
