"""The feature store of a FOREWARN_HOME: registry and online store in SQLite, history in Parquet."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from feature_repo import spark
from forewarn.config.settings import Settings
from forewarn.features.definitions import FEATURE_NAMES

if TYPE_CHECKING:
    from feast import FeatureStore

PROJECT = "forewarn"
_DIGEST = b"content"
_ORDER = "__position"
_KEYS_AT_ONCE = 5_000  # SQLite takes some 32,000 values in a statement
JOIN_KEY = "series_id"
TIMESTAMP = "event_timestamp"
SCHEMA = pa.schema(
    [
        (JOIN_KEY, pa.string()),
        (TIMESTAMP, pa.timestamp("us", tz="UTC")),  # nanoseconds are read wrongly by Feast
        *((name, pa.float64()) for name in FEATURE_NAMES),
    ]
)


def history_folder(home: Path) -> Path:
    """Where the features of the past are."""
    return home / "history" / "features"


def open_store(home: Path, offline_store: str | None = None) -> "FeatureStore":
    """The store below `home`; `apply` registers what it holds.

    offline_store: 'asof' or 'spark', FOREWARN_OFFLINE_STORE without it. Online reads and pushes need none of both.
    """
    from feast import FeatureStore, RepoConfig

    folder = (home / "feast").absolute()
    folder.mkdir(parents=True, exist_ok=True)
    config = RepoConfig(
        project=PROJECT,
        provider="local",
        registry=str(folder / "registry.db"),
        online_store={"type": "sqlite", "path": str(folder / "online.db")},
        offline_store=_offline_config(offline_store),
        entity_key_serialization_version=3,
        repo_path=folder,
    )
    return FeatureStore(config=config)


def _offline_config(offline_store: str | None) -> dict[str, Any]:
    settings = Settings()
    if (offline_store or settings.offline_store) == spark.STORE:
        return spark.offline_config(settings)
    return {"type": "feature_repo.asof_store.AsofOfflineStore"}


def apply(home: Path) -> "FeatureStore":
    """Register entity, view, push source and service over the history below `home`; may be repeated.

    The history must hold at least one file: Feast reads its columns.
    """
    from feature_repo.views import feature_objects

    store = open_store(home)
    if store.config.offline_store.type == spark.STORE:
        spark.spark_session(Settings())  # Feast asks for the columns of the history, but starts no session for it
    store.apply(feature_objects(history_folder(home), Settings().offline_store).all())
    return store


def features_table(series_ids: list[str], times_us: NDArray[np.int64], features: NDArray[np.float64]) -> pa.Table:
    """Rows for the history as `SCHEMA`: times int64 [n] in microseconds, features [n, F]."""
    columns = [pa.array(series_ids, pa.string()), pa.array(times_us, pa.timestamp("us", tz="UTC"))]
    columns += [pa.array(np.ascontiguousarray(column)) for column in features.T]
    return pa.Table.from_arrays(columns, schema=SCHEMA)


def write_history(home: Path, namespace: str, table: pa.Table) -> list[Path]:
    """Make `table` the features of a namespace: one file a day, `day=2026-01-05/<namespace>.parquet`.

    Days whose rows are as they were are left alone, days without rows are removed; a file appears at once. Rows are
    sorted by series and time. Returns the files that were written.
    """
    folder, name = history_folder(home), f"{namespace or '_'}.parquet"
    (folder / name).unlink(missing_ok=True)  # as it was before there were days
    days = table.column(TIMESTAMP).cast(pa.timestamp("us")).cast(pa.date32())
    wanted = {day: folder / f"day={day.isoformat()}" / name for day in pc.unique(days).to_pylist()}
    for path in set(folder.glob(f"day=*/{name}")) - set(wanted.values()):
        path.unlink()
    rows = ((path, table.filter(pc.equal(days, pa.scalar(day)))) for day, path in sorted(wanted.items()))
    return [path for path, of_day in rows if _write_changed(path, of_day.combine_chunks())]


def read_history(
    home: Path, namespace: str, columns: list[str] | None = None, where: pc.Expression | None = None
) -> pa.Table:
    """Features of a namespace, by day. Raises FileNotFoundError where there are none."""
    files = sorted(history_folder(home).glob(f"day=*/{namespace or '_'}.parquet"))
    if not files:
        raise FileNotFoundError(
            f"{history_folder(home)} holds no features of namespace '{namespace}': materialise the asset "
            "'signal_features' first"
        )
    return pq.read_table([str(path) for path in files], columns=columns, filters=where, partitioning=None)


def _write_changed(path: Path, table: pa.Table) -> bool:
    """Write a file unless it holds these rows already."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    digest = hashlib.blake2b(sink.getvalue(), digest_size=16).hexdigest().encode()
    if path.exists() and (pq.read_schema(path).metadata or {}).get(_DIGEST) == digest:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    pq.write_table(table.replace_schema_metadata({_DIGEST: digest}), partial, compression="zstd", row_group_size=50_000)
    partial.rename(path)
    return True


def historical_features(store: "FeatureStore", rows: pd.DataFrame) -> pd.DataFrame:
    """Features of `rows` (series_id, event_timestamp and any other columns) as they were known at each row's time.

    In the order of `rows`, times in UTC, whichever offline store joins.
    """
    from feature_repo.views import SERVICE

    asked = rows.assign(**{_ORDER: np.arange(len(rows))})
    known = store.get_historical_features(asked, store.get_feature_service(SERVICE)).to_df()
    known = known.sort_values(_ORDER, ignore_index=True).drop(columns=_ORDER)
    known[TIMESTAMP] = pd.to_datetime(known[TIMESTAMP], utc=True)
    return known


def push_newest(store: "FeatureStore", table: pa.Table) -> int:
    """Put the newest row of each series into the online store; returns how many are new there.

    A row that is older than what the online store holds is left out: Feast would let it overwrite.
    """
    from feast.data_source import PushMode

    from feature_repo.views import PUSH_SOURCE

    newest = table.to_pandas().sort_values(TIMESTAMP).groupby(JOIN_KEY, as_index=False).tail(1)
    known = online_times(store, newest[JOIN_KEY].tolist())
    unknown = pd.Timestamp(0, tz="UTC")
    fresh = newest[
        [at > known.get(name, unknown) for name, at in zip(newest[JOIN_KEY], newest[TIMESTAMP], strict=True)]
    ]
    if len(fresh):
        store.push(PUSH_SOURCE, fresh, to=PushMode.ONLINE)
    return len(fresh)


def online_times(store: "FeatureStore", series_ids: list[str]) -> dict[str, pd.Timestamp]:
    """Event time of what the online store holds of each series."""
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    from feast.protos.feast.types.Value_pb2 import Value

    from feature_repo.views import VIEW

    view = store.get_feature_view(VIEW)
    keys = [EntityKey(join_keys=[JOIN_KEY], entity_values=[Value(string_val=name)]) for name in series_ids]
    provider = store._get_provider()
    found = [
        row
        for first in range(0, len(keys), _KEYS_AT_ONCE)
        for row in provider.online_read(store.config, view, keys[first : first + _KEYS_AT_ONCE], [FEATURE_NAMES[0]])
    ]
    times = {name: pd.Timestamp(at) for name, (at, _) in zip(series_ids, found, strict=True) if at}
    return {name: at.tz_convert("UTC") if at.tz else at.tz_localize("UTC") for name, at in times.items()}
