"""Dagster's instance is made once, not at every tick."""

import dagster as dg
import pytest
from dagster._core.instance.ref import InstanceRef

from sensors import connection
from sensors.connection import instance_of


def _tick(reference: InstanceRef) -> dg.SensorEvaluationContext:
    return dg.SensorEvaluationContext(
        instance_ref=reference,
        last_tick_completion_time=None,
        last_run_key=None,
        cursor=None,
        log_key=None,
        repository_name="forewarn",
        sensor_name="retrain",
    )


def test_two_ticks_share_one_instance(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_kept", {})
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        reference = instance.get_ref()
    with _tick(reference) as one:
        first = instance_of(one)
    with _tick(reference) as two:
        second = instance_of(two)
    assert first is second
    assert first.get_run_records(limit=1) == []  # it is open still


def test_another_home_is_another_instance(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_kept", {})
    found = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        with dg.DagsterInstance.local_temp(str(tmp_path / name)) as instance:
            reference = instance.get_ref()
        with _tick(reference) as tick:
            found.append(instance_of(tick).root_directory)
    assert found == [str(tmp_path / "a"), str(tmp_path / "b")]


def test_an_instance_that_was_given_is_used() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        assert instance_of(dg.build_sensor_context(instance=instance)) is instance
