"""What Spark is told besides what the settings say."""

from pathlib import Path
from typing import Any

import pytest

from feature_repo import spark
from forewarn.config.settings import Settings


def settings_of(home: Path, **values: Any) -> Settings:
    return Settings(home=home, offline_store="spark", _env_file=None, **values)


@pytest.mark.parametrize("side", ["driver", "executor"])
def test_native_libraries_are_unpacked_where_they_may_be_run(side: str, tmp_path: Path) -> None:
    key = f"spark.{side}.extraJavaOptions"
    assert spark.spark_conf(settings_of(tmp_path))[key] == f"-Djava.io.tmpdir={tmp_path}/spark/tmp"
    yours = settings_of(tmp_path, spark_conf={key: "-Xss4m"})
    assert spark.spark_conf(yours)[key] == "-Xss4m"


def test_the_folder_is_there_before_java_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spark, "find_spec", lambda name: name)
    spark.offline_config(settings_of(tmp_path))
    assert (tmp_path / "spark/tmp").is_dir()
