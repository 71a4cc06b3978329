"""The job `train` on a real archive: from samples to a champion that can be loaded, and every fact that it checks."""

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from forewarn.evaluation.model_metrics import incident_cells
from forewarn.evaluation.split import Part
from forewarn.features.batch import features_at
from forewarn.features.context import context_of
from forewarn.risk.bundle import load_bundle
from forewarn.stores.archive import SampleWriter
from forewarn.stores.schema import create_tables
from forewarn.telemetry.samples import Kind, SampleBatch, Series
from monitor_assets.definitions import defs
from monitor_assets.history import History
from monitor_assets.scope import TrainingScope
from monitor_assets.training import simulated_incidents
from monitor_assets.training.parts import matrix, stretch_of
from monitor_assets.training.training_set import labels_end_with_their_part, training_set_sees_no_future

ROOT = Path(__file__).parents[2]
START = datetime(2026, 3, 2, tzinfo=UTC)
DAYS, STEP = 5, 60
NAMESPACE = "yard"


def leaking(cells: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Memory [cells] that leaks to its limit of 1e9 within hours and restarts half an hour later; requests total."""
    rng = np.random.default_rng(seed)
    memory, k = np.full(cells, 3e8), 0
    while k < cells:
        calm, ramp = int(rng.uniform(100, 500)), int(rng.uniform(150, 420))
        memory[k + calm : k + calm + ramp] = np.linspace(3e8, 1e9, ramp)[: max(cells - k - calm, 0)]
        memory[k + calm + ramp : k + calm + ramp + 30] = 1.01e9
        k += calm + ramp + 30
    rate = 50 * (1 + 0.5 * np.sin(2 * np.pi * np.arange(cells) / 1440)) * rng.lognormal(0, 0.05, cells)
    return memory * rng.normal(1, 0.004, cells), np.cumsum(rate * STEP)


def fill_archive(url: str) -> None:
    """Five days of four leaking services, of which one calls another, and of one that never fails."""
    cells = DAYS * 1440
    times = np.int64(START.timestamp()) * 10**9 + np.arange(cells, dtype=np.int64) * STEP * 10**9
    writer = SampleWriter()
    with psycopg.connect(url) as connection:
        for k in range(5):
            entity = f"{NAMESPACE}/service{k}"
            series = (
                Series(entity, "process.memory.usage", unit="By"),
                Series(entity, "process.memory.usage.limit", unit="By"),
                Series(entity, "http.server.request.count", kind=Kind.CUMULATIVE),
            )
            memory, requests = leaking(cells, k)
            if k == 4:
                memory = 5e8 * np.random.default_rng(9).normal(1, 0.02, cells)
            values = np.stack([memory, np.full(cells, 1e9), requests])
            index = np.repeat(np.arange(3, dtype=np.int32), cells)
            writer.write(connection, [SampleBatch(series, index, np.tile(times, 3), values.ravel())])
        edge = (f"{NAMESPACE}/service0", f"{NAMESPACE}/service1")
        connection.execute("insert into service_edges values (%s, %s, 1, 0, now())", edge)


@pytest.fixture(scope="module")
def environment(postgres_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home of its own, a database with five days of samples, and one small simulated shop."""
    home = tmp_path_factory.mktemp("home")
    url = psycopg.conninfo.make_conninfo(postgres_server, dbname="pipeline")
    with psycopg.connect(postgres_server, autocommit=True) as admin:
        admin.execute('create database "pipeline"')
    create_tables(url)
    fill_archive(url)
    (home / "bentoml" / "models").mkdir(parents=True)
    from bentoml._internal.configuration.containers import BentoMLContainer
    from bentoml._internal.models import ModelStore

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FOREWARN_HOME", str(home))
        patch.setenv("FOREWARN_POSTGRES_URL", url)
        patch.setattr(simulated_incidents, "SEEDS", (9001,))
        patch.setattr(simulated_incidents, "DAYS", 2.0)
        BentoMLContainer.model_store.set(ModelStore(home / "bentoml" / "models"))
        yield home
        BentoMLContainer.model_store.reset()
    with psycopg.connect(postgres_server, autocommit=True) as admin:
        admin.execute('drop database "pipeline" with (force)')


def train(namespace: str = NAMESPACE, **scope: str) -> dg.ExecuteInProcessResult:
    """Run the job here."""
    config = {"resources": {"scope": {"config": {"namespace": namespace, **scope}}}}
    return defs.resolve_job_def("train").execute_in_process(
        run_config=config, instance=dg.DagsterInstance.ephemeral(), raise_on_error=False
    )


@pytest.fixture(scope="module")
def run(environment: Path) -> dg.ExecuteInProcessResult:
    """The first training."""
    return train()


def scope() -> TrainingScope:
    """The scope of the runs here."""
    return TrainingScope(namespace=NAMESPACE)


def row(query: str, *values: object) -> tuple[Any, ...]:
    """One row of the database."""
    with psycopg.connect(os.environ["FOREWARN_POSTGRES_URL"]) as connection:
        found = connection.execute(query.encode(), values).fetchone()
    assert found is not None
    return found


def test_the_job_succeeds_and_its_blocking_checks_hold(run: dg.ExecuteInProcessResult) -> None:
    assert run.success
    checks = {e.check_name: e.passed for e in run.get_asset_check_evaluations()}
    for name in (
        "windows_have_no_gaps",
        "some_signals_have_limits",
        "training_set_sees_no_future",
        "labels_end_with_their_part",
        "contributions_are_shap_values",
        "raw_metrics_are_of_their_day",
        "actions_end_what_was_watched",
        "the_model_keeps_its_latency_budget",
    ):
        assert checks[name], name


def test_the_champion_is_registered_with_reasons_and_can_be_loaded(run: dg.ExecuteInProcessResult) -> None:
    from bentos import model_store

    version, stage, metrics, reason = row("select version, stage, metrics, reason from model_versions")
    assert stage == "champion", reason
    assert metrics["recall"]["value"] >= 0.5 and "predict_linear" in metrics["recall"]["baselines"]
    stored = model_store.get(version)
    bundle = load_bundle(stored.path)
    assert bundle.version == version and 0 < bundle.manifest.threshold < 1
    assert bundle.manifest.data_from <= START and bundle.manifest.data_to >= START + timedelta(days=DAYS)
    decision = row("select action, reason from audit where subject = %s order by audit_id desc limit 1", version)
    assert decision == ("promote", reason)
    (trained_on,) = row("select trained_on from model_versions where version = %s", version)
    assert trained_on["namespace"] == NAMESPACE and trained_on["signals"] == ["process.memory.usage"]


def test_services_that_do_not_call_each_other_fail_in_incidents_of_their_own(run: dg.ExecuteInProcessResult) -> None:
    history = scope().history()
    windows = history.read_windows()
    stretch = stretch_of(history, windows, Part(*history.read_json("split")["train"]))
    names = [windows.series[i].entity for i in windows.limited]
    assert stretch.related is not None and len(names) == 5
    near = {(a, b) for i, a in enumerate(names) for j, b in enumerate(names) if i != j and stretch.related.are(i, j)}
    assert {frozenset(pair) for pair in near} == {frozenset({f"{NAMESPACE}/service0", f"{NAMESPACE}/service1"})}
    assert len(incident_cells(stretch.onsets, stretch.related)) > len(incident_cells(stretch.onsets))


def test_the_training_is_a_run_in_mlflow(run: dg.ExecuteInProcessResult) -> None:
    from mlflow.models import Model

    from monitor_assets.registry.tracking import NAME, open_tracking

    client = open_tracking(scope().settings()).client
    version, metrics = row("select version, metrics from model_versions where stage = 'champion'")
    champion = client.get_model_version_by_alias(NAME, "champion")
    assert champion.tags["forewarn.version"] == version and champion.tags["stage"] == "champion"
    found = client.get_run(champion.run_id)
    assert found.data.metrics["recall"] == pytest.approx(metrics["recall"]["value"])
    assert "recall/predict_linear" in found.data.metrics
    assert found.data.params["namespace"] == NAMESPACE and found.data.params["feature_service"] == "failure_v1"
    assert found.data.params["data_from"] < found.data.params["data_to"] and "threshold" in found.data.params
    there = {f.path for folder in ("model", "reports") for f in client.list_artifacts(champion.run_id, folder)}
    assert {"model/MLmodel", "model/manifest.json"} <= there and any(p.startswith("reports/backtest") for p in there)
    signature = Model.load(client.download_artifacts(champion.run_id, "model")).signature
    assert "ratio" in signature.inputs.input_names()


def test_features_through_the_store_are_those_of_the_engine(run: dg.ExecuteInProcessResult) -> None:
    history = scope().history()
    windows, rows = history.read_windows(), history.read_table("training_set")
    at = np.unique(rows.column("cell").to_numpy())
    whole = features_at(windows.cells, windows.limits, at, context_of(windows.series))[windows.limited]
    position = np.searchsorted(at, rows.column("cell").to_numpy())
    np.testing.assert_allclose(matrix(rows), whole[rows.column("row").to_numpy(), position], rtol=1e-9, atol=1e-12)


def test_the_leak_checks_can_fail(run: dg.ExecuteInProcessResult) -> None:
    history = scope().history()
    path = history.folder / "training_set.parquet"
    honest = path.read_bytes()
    try:
        rows = history.read_table("training_set")
        ahead = pa.array(rows.column("ratio").to_numpy() + 1e-3)
        pq.write_table(rows.set_column(rows.schema.get_field_index("ratio"), "ratio", ahead), path)
        assert not training_set_sees_no_future(scope()).passed
        later = pa.array(np.full(rows.num_rows, 9e9))
        pq.write_table(rows.set_column(rows.schema.get_field_index("steps"), "steps", later), path)
        assert not labels_end_with_their_part(scope()).passed
    finally:
        path.write_bytes(honest)


def test_reports_are_written_and_told(run: dg.ExecuteInProcessResult, environment: Path) -> None:
    with psycopg.connect(os.environ["FOREWARN_POSTGRES_URL"]) as connection:
        reports = dict(connection.execute("select kind, path from reports").fetchall())
    backtest = (environment / reports["backtest"]).read_text()
    assert "predict_linear" in backtest and backtest.count("data:image/png") == 3
    assert (environment / reports["drift"]).stat().st_size > 100_000
    assert list((environment / "reports").glob("*.shap.png"))
    assert "Calibration of yard" in (environment / reports["calibration"]).read_text()


def test_the_retraining_sensor_reads_the_registry(run: dg.ExecuteInProcessResult) -> None:
    from sensors.retraining import retrain

    with dg.DagsterInstance.ephemeral() as instance:
        tick = retrain(dg.build_sensor_context(instance=instance))
        assert isinstance(tick, dg.SkipReason) and "again after 6.0 h" in str(tick.skip_message)
        with psycopg.connect(os.environ["FOREWARN_POSTGRES_URL"]) as connection:
            connection.execute("update model_versions set trained_at = now() - interval '9 days'")
            connection.execute("delete from reports where kind = 'drift'")
            connection.commit()
            tick = retrain(dg.build_sensor_context(instance=instance))
            assert isinstance(tick, dg.RunRequest) and "9.0 days ago" in tick.tags["forewarn/reason"]
            assert tick.run_config["resources"]["scope"]["config"] == {"namespace": NAMESPACE}
            connection.execute("update model_versions set trained_at = now()")


def test_an_unknown_namespace_is_told(environment: Path) -> None:
    result = train("nowhere")
    assert not result.success
    failure = result.failure_data_for_node("raw_metrics")
    assert failure is not None and failure.error is not None
    assert "no metrics of namespace 'nowhere'" in str(failure.error.to_string())


def test_history_keeps_namespaces_apart(environment: Path) -> None:
    ours, other = History(environment, "yard"), History(environment, "")
    assert ours.folder != other.folder
    with pytest.raises(FileNotFoundError, match="materialise the asset 'signal_windows' of namespace ''"):
        other.write_series([])
        other.read_windows()
    with pytest.raises(FileNotFoundError, match="no features of namespace ''"):
        other.read_features()


def test_the_workspace_is_valid(tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    command = [sys.executable, "-m", "dagster", "definitions", "validate", "-w", "workspace.yaml"]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "DAGSTER_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
