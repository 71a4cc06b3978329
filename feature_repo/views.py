"""The feature store's objects: entity, sources, view and service, made from the engine's list of features."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from feast import Entity, FeatureService, FeatureView, Field, FileSource, PushSource, ValueType
from feast.data_source import DataSource
from feast.types import Float64

from feature_repo.spark import STORE as SPARK
from feature_repo.spark import spark_source
from forewarn.features.definitions import FEATURE_NAMES, FEATURE_VERSION

JOIN_KEY = "series_id"  # forewarn.telemetry.samples.Series.id
TIMESTAMP = "event_timestamp"
VIEW = "signal_features"
PUSH_SOURCE = "signal_features_push"
SERVICE = "failure_v1"
FRESH = timedelta(days=1)  # older features are unknown rather than known


@dataclass(frozen=True, slots=True)
class FeatureObjects:
    """Everything that is registered."""

    series: Entity
    view: FeatureView
    push: PushSource
    service: FeatureService

    def all(self) -> list[Entity | FeatureView | PushSource | FeatureService]:
        """In the order of registration."""
        return [self.series, self.push, self.view, self.service]


def feature_objects(folder: Path, offline_store: str = "asof") -> FeatureObjects:
    """The objects over Parquet files below `folder`, partitioned by `day=…`, one file a namespace and day.

    offline_store: who reads the files, 'asof' or 'spark'; all else is the same.
    """
    series = Entity(
        name="series",
        join_keys=[JOIN_KEY],
        value_type=ValueType.STRING,
        description="One time series: entity|signal{attributes}",
    )
    history = _history(folder, offline_store)
    push = PushSource(name=PUSH_SOURCE, batch_source=history, description="The newest features, for online reads")
    view = FeatureView(
        name=VIEW,
        entities=[series],
        schema=[Field(name=name, dtype=Float64) for name in FEATURE_NAMES],
        source=push,
        ttl=FRESH,
        online=True,
        tags={"feature_version": FEATURE_VERSION},
        description="Dimensionless features of a signal with a limit, from what was known at the time",
    )
    service = FeatureService(
        name=SERVICE,
        features=[view],
        tags={"feature_version": FEATURE_VERSION},
        description="What the failure model reads",
    )
    return FeatureObjects(series, view, push, service)


def _history(folder: Path, offline_store: str) -> DataSource:
    name, description = "signal_features_history", "Features of limited signals, computed from the archive"
    if offline_store == SPARK:
        return spark_source(name, folder, TIMESTAMP, description)
    return FileSource(name=name, path=str(folder.absolute()), timestamp_field=TIMESTAMP, description=description)
