"""Feast offline store over Parquet whose point-in-time join is DuckDB's ASOF JOIN.

Feast's own file store joins every row of an entity with every other before it filters by time: some thousand rows
of a few dozen series exhaust the memory. This one keeps all else of it and replaces the join; a test holds both
against each other.
"""

from collections.abc import Callable
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa
from feast.feature_view import FeatureView
from feast.infra.offline_stores.dask import DaskOfflineStore, DaskOfflineStoreConfig
from feast.infra.offline_stores.file_source import FileSource
from feast.infra.offline_stores.offline_store import RetrievalJob, RetrievalMetadata
from feast.infra.registry.base_registry import BaseRegistry
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.repo_config import RepoConfig
from feast.utils import _get_requested_feature_views_to_features_dict

EVENT_TIMESTAMP = "event_timestamp"
_ORDER = "__row"


class AsofOfflineStoreConfig(DaskOfflineStoreConfig):
    """`offline_store: {type: feature_repo.asof_store.AsofOfflineStore}`."""

    type: str = "feature_repo.asof_store.AsofOfflineStore"


class AsofOfflineStore(DaskOfflineStore):
    """The file store with another join."""

    @staticmethod
    def get_historical_features(
        config: RepoConfig,
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: pd.DataFrame | str,
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,
    ) -> RetrievalJob:
        """The newest features of each entity row that are not later than its `event_timestamp` nor older than the
        view's ttl; missing where there are none. Raises ValueError without that column."""
        if not isinstance(entity_df, pd.DataFrame) or EVENT_TIMESTAMP not in entity_df.columns:
            raise ValueError(f"entity_df must be a DataFrame with a column {EVENT_TIMESTAMP}")
        wanted, _ = _get_requested_feature_views_to_features_dict(
            feature_refs, feature_views, registry.list_on_demand_feature_views(project)
        )

        def evaluate() -> pa.Table:
            table = _in_microseconds(pa.Table.from_pandas(entity_df, preserve_index=False))
            table = table.append_column(_ORDER, pa.array(range(table.num_rows), pa.int64()))
            for view, features in wanted.items():
                table = _asof_join(table, view, features, config.repo_path, full_feature_names)
            return table.sort_by(_ORDER).drop_columns([_ORDER])

        times = pd.to_datetime(entity_df[EVENT_TIMESTAMP], utc=True)
        keys = [c for c in entity_df.columns if c != EVENT_TIMESTAMP]
        metadata = RetrievalMetadata(feature_refs, keys, times.min().to_pydatetime(), times.max().to_pydatetime())
        on_demand = OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry)
        return AsofRetrievalJob(evaluate, full_feature_names, on_demand, metadata)


class AsofRetrievalJob(RetrievalJob):
    """Evaluates the join when its result is asked for."""

    def __init__(
        self,
        evaluate: Callable[[], pa.Table],
        full_feature_names: bool,
        on_demand: list[OnDemandFeatureView],
        metadata: RetrievalMetadata,
    ) -> None:
        self._evaluate = evaluate
        self._full_feature_names = full_feature_names
        self._on_demand = on_demand
        self._metadata = metadata

    @property
    def full_feature_names(self) -> bool:
        """Whether features carry their view's name."""
        return self._full_feature_names

    @property
    def on_demand_feature_views(self) -> list[OnDemandFeatureView]:
        """Views that are computed from the result."""
        return self._on_demand

    @property
    def metadata(self) -> RetrievalMetadata:
        """What was asked for."""
        return self._metadata

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        return self._evaluate()

    def _to_df_internal(self, timeout: int | None = None) -> pd.DataFrame:
        return self._evaluate().to_pandas()


def _asof_join(
    table: pa.Table, view: FeatureView, features: list[str], repo_path: Path | None, full_names: bool
) -> pa.Table:
    """`table` with the view's features as they were known at each row's time."""
    source = view.batch_source
    if not isinstance(source, FileSource):
        raise ValueError(f"view {view.name} reads {type(source).__name__}; this store reads Parquet files alone")
    keys = {view.projection.join_key_map.get(c.name, c.name): c.name for c in view.entity_columns}
    back = {feature: column for column, feature in source.field_mapping.items()}
    prefix = f"{view.projection.name_to_use()}__" if full_names else ""
    time = _quoted(source.timestamp_field)
    equal = [f"e.{_quoted(left)} = f.{_quoted(right)}" for left, right in keys.items()]
    known = "true"
    if view.ttl and view.ttl.total_seconds() > 0:  # ASOF takes the newest row; where it is too old nothing is known
        age = f"epoch_us(e.{EVENT_TIMESTAMP}) - epoch_us(f.{time})"  # differences of times need an extension
        known = f"{age} <= {int(view.ttl.total_seconds() * 1e6)}"
    columns = [f"case when {known} then f.{_quoted(back.get(n, n))} end as {_quoted(prefix + n)}" for n in features]
    query = (
        f"select e.*, {', '.join(columns)} from entity_rows e "  # noqa: S608  names are of our own registry, quoted
        f"asof left join read_parquet($files) f on {' and '.join(equal)} and e.{EVENT_TIMESTAMP} >= f.{time}"
    )
    with duckdb.connect() as connection:
        connection.register("entity_rows", table)
        return connection.execute(query, {"files": _files(source.path, repo_path)}).to_arrow_table()


def _in_microseconds(table: pa.Table) -> pa.Table:
    """Event times as the Parquet files have them; cut, not rounded, so that none moves into its future."""
    position = table.schema.get_field_index(EVENT_TIMESTAMP)
    times = table.column(position).cast(pa.timestamp("us", tz="UTC"), safe=False)
    return table.set_column(position, EVENT_TIMESTAMP, times)


def _files(path: str, repo_path: Path | None) -> str:
    """A pattern that finds the source's files."""
    absolute = Path(FileSource.get_uri_for_file_path(repo_path, path))
    return str(absolute / "**" / "*.parquet") if absolute.is_dir() else str(absolute)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
