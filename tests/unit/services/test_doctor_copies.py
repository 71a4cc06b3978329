"""Topics of one copy in a cluster of brokers."""

from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from forewarn.cli import doctor as command
from forewarn.services.doctor.broker import _copies
from forewarn.telemetry import topics


def cluster(brokers: int, copies: int) -> Any:
    part = SimpleNamespace(replicas=list(range(copies)))
    of_all = {name: SimpleNamespace(partitions={0: part}) for name in topics.ALL}
    return SimpleNamespace(brokers=dict.fromkeys(range(brokers)), topics=of_all)


@pytest.mark.parametrize(("brokers", "copies", "warned"), [(3, 1, True), (3, 3, False), (1, 1, False)])
def test_a_cluster_that_keeps_one_copy_is_named(brokers: int, copies: int, warned: bool) -> None:
    found = list(_copies(cluster(brokers, copies)))
    assert [f.verdict for f in found] == ["warning"] * warned
    assert all("FOREWARN_KAFKA_REPLICATION" in f.mend for f in found)


def test_doctor_asks_dagster_where_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    import typer

    told: dict[str, str] = {}
    monkeypatch.setattr(command, "examine", lambda settings, elsewhere: told.update(elsewhere) or iter(()))
    app = typer.Typer()
    app.command()(command.doctor)
    assert CliRunner().invoke(app, ["--dagster", "http://dagster-webserver:3070"]).exit_code == 0
    assert told["dagster"] == "http://dagster-webserver:3070"
