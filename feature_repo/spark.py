"""Spark by configuration (FOREWARN_OFFLINE_STORE=spark): its session, and the history as a source that it reads."""

import os
import shlex
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forewarn.config.settings import Settings

if TYPE_CHECKING:
    from feast.data_source import DataSource
    from pyspark.sql import SparkSession

STORE = "spark"
_DAY = "day"  # folders of the history: Feast lets Spark read those alone that the rows need
# Times are instants; what Spark says of them as text or without a zone is meant in UTC, whatever the machine's zone.
_ALWAYS = {"spark.sql.session.timeZone": "UTC", "spark.sql.execution.arrow.pyspark.enabled": "true"}
_ONE_THREAD = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS")  # Spark runs a task a core


def offline_config(settings: Settings) -> dict[str, Any]:
    """Feast's `offline_store` section. Raises ModuleNotFoundError, with what to do, where PySpark is not installed."""
    if find_spec("pyspark") is None:
        raise ModuleNotFoundError(
            "FOREWARN_OFFLINE_STORE=spark needs PySpark and Java 8, 11 or 17: install `forewarn[spark]` where Dagster "
            "runs, or leave the setting out"
        )
    (_scratch(settings) / "tmp").mkdir(parents=True, exist_ok=True)  # Java does not make it
    return {"type": STORE, "spark_conf": spark_conf(settings)}


def spark_conf(settings: Settings) -> dict[str, str]:
    """Spark's settings: ours for this machine, FOREWARN_SPARK_CONF over them, and what must be so over both."""
    scratch = _scratch(settings)
    unpacked = f"-Djava.io.tmpdir={shlex.quote(str(scratch / 'tmp'))}"  # native libraries: /tmp may be noexec
    ours = {
        "spark.master": "local[*]",
        "spark.app.name": "forewarn",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.warehouse.dir": str(scratch / "warehouse"),
        "spark.sql.shuffle.partitions": "32",
        "spark.driver.extraJavaOptions": unpacked,
        "spark.executor.extraJavaOptions": unpacked,
        **{f"spark.executorEnv.{name}": "1" for name in _ONE_THREAD},
    }
    told = ours | settings.spark_conf
    if told["spark.master"].startswith("local"):  # nobody else is to reach it, and what it spills stays with our state
        alone = {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
        told = alone | {"spark.local.dir": str(scratch / "local")} | told
    return told | _ALWAYS


def _scratch(settings: Settings) -> Path:
    return settings.home.absolute() / "spark"


def spark_session(settings: Settings) -> "SparkSession":
    """The session that Feast uses too; started where there is none."""
    from feast.infra.offline_stores.contrib.spark_offline_store import spark

    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # else the first `python3` of the path, without Forewarn
    return spark.get_spark_session_or_start_new_with_repoconfig(
        spark.SparkOfflineStoreConfig(**offline_config(settings))
    )


def spark_source(name: str, folder: Path, timestamp: str, description: str) -> "DataSource":
    """The Parquet files below `folder` (`day=…/…`) as Spark reads them."""
    from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource

    return SparkSource(
        name=name,
        path=str(folder.absolute()),
        file_format="parquet",
        timestamp_field=timestamp,
        date_partition_column=_DAY,
        description=description,
    )
