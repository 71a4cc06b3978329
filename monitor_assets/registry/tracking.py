"""MLflow: a run for each training, a registered version for each bundle, and aliases that follow the registry.

The table `model_versions` is the switch; MLflow shows it. Every step here can be repeated, so whatever a crash left
half done is completed by the next `reconcile`.
"""

import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from forewarn.config.settings import Settings
from forewarn.features.definitions import FEATURE_NAMES, HORIZON_STEPS
from forewarn.stores.locks import Lock
from forewarn.stores.model_versions import Stage, Version

NAME = "forewarn"  # of the experiment and of the registered model
SCHEMA = "mlflow"
ALIASES = {"champion": Stage.CHAMPION, "shadow": Stage.SHADOW}
_VERSION, _RUN, _STAGE, _REASON = "forewarn.version", "dagster.run_id", "stage", "reason"
_TAG_LENGTH = 500


class TrackingError(RuntimeError):
    """MLflow cannot be reached or used; the message says where and why."""


@dataclass(frozen=True, slots=True)
class Tracking:
    """MLflow's client and where it keeps artifacts; '' where a server decides."""

    client: Any
    artifacts: str
    postgres_url: str


def tracking_uri(settings: Settings) -> str:
    """Where MLflow keeps runs and versions: as configured, or the schema 'mlflow' of our PostgreSQL."""
    if settings.mlflow_tracking_uri is not None:
        return settings.mlflow_tracking_uri.get_secret_value()
    from psycopg.conninfo import conninfo_to_dict
    from sqlalchemy import URL

    found = {k: str(v) for k, v in conninfo_to_dict(settings.postgres_url.get_secret_value()).items()}
    user, password, database = (found.pop(name, None) for name in ("user", "password", "dbname"))
    query = {**found, "options": f"-csearch_path={SCHEMA}"}  # host and port, too: a host may be a socket's folder
    url = URL.create("postgresql+psycopg2", user, password, database=database, query=query)
    return url.render_as_string(hide_password=False)


def open_tracking(settings: Settings) -> Tracking:
    """MLflow's client; its tables are made where they are missing. Raises TrackingError."""
    url, uri = settings.postgres_url.get_secret_value(), tracking_uri(settings)
    remote = uri.startswith(("http://", "https://"))
    artifacts = "" if remote else (settings.home.absolute() / "mlflow" / "artifacts").as_uri()
    with _alone(url), _told():
        if settings.mlflow_tracking_uri is None:
            with psycopg.connect(url) as connection:
                connection.execute(f"create schema if not exists {SCHEMA}".encode())
        client = _client(uri)  # makes its tables
        _registered_model(client)
    return Tracking(client, artifacts, url)


def log_version(
    tracking: Tracking,
    version: Version,
    parameters: Mapping[str, Any] | None = None,
    artifacts: Sequence[Path] = (),
    dagster_run: str = "",
) -> str:
    """A run with what a version was trained on and what it reached, registered as a version; the run's id.

    What is there already is kept: called again after a crash, it completes what is missing. Raises TrackingError.
    """
    with _alone(tracking.postgres_url), _told():
        return _log(tracking, version, parameters or {}, artifacts, dagster_run)


def reconcile(tracking: Tracking, versions: Sequence[Version]) -> list[str]:
    """Make MLflow say what the registry says; what was done, nothing if it did. Raises TrackingError."""
    with _alone(tracking.postgres_url), _told():
        done = []
        there = _registered(tracking.client)
        for version in reversed(versions):
            if version.version not in there:
                _log(tracking, version, {}, (), "")
                done.append(f"registered {version.version}")
        there = _registered(tracking.client)
        done += _tags(tracking.client, there, versions)
        return done + _aliases(tracking.client, there, versions)


def _log(
    tracking: Tracking, version: Version, parameters: Mapping[str, Any], artifacts: Sequence[Path], dagster_run: str
) -> str:
    client = tracking.client
    run = _unfinished_run(tracking, version, dagster_run)
    if run.info.status != "FINISHED":
        _fill(client, run.info.run_id, version, parameters, artifacts)
        client.set_terminated(run.info.run_id)
    if version.version not in _registered(client):
        client.create_model_version(
            NAME,
            source=f"{run.info.artifact_uri}/model",
            run_id=run.info.run_id,
            tags={_VERSION: version.version, _STAGE: version.stage, "bentoml": f"{NAME}:{version.version}",
                  "feature_version": version.feature_version},
            description=f"Served from BentoML's model store as {NAME}:{version.version}.",
        )  # fmt: skip
    return str(run.info.run_id)


def _unfinished_run(tracking: Tracking, version: Version, dagster_run: str) -> Any:
    """The run of a version, or a new one."""
    client = tracking.client
    experiment = client.get_experiment_by_name(NAME)
    number = experiment.experiment_id if experiment else client.create_experiment(NAME, tracking.artifacts or None)
    found = client.search_runs([number], f"tags.`{_VERSION}` = '{version.version}'", max_results=1)
    if found:
        return found[0]
    started = int(version.trained_at.timestamp() * 1000)
    tags = {_VERSION: version.version, _RUN: dagster_run} if dagster_run else {_VERSION: version.version}
    return client.create_run(number, started, tags, version.version)


def _fill(client: Any, run: str, version: Version, parameters: Mapping[str, Any], artifacts: Sequence[Path]) -> None:
    from mlflow.entities import Metric, Param

    at = int(version.trained_at.timestamp() * 1000)
    told = {
        "data_from": version.data_from.isoformat(),
        "data_to": version.data_to.isoformat(),
        "feature_version": version.feature_version,
        **{k: v for k, v in version.trained_on.items() if k != "signals"},
        **parameters,
    }
    metrics = [Metric(name, value, at, 0) for name, value in flat_metrics(version.metrics).items()]
    client.log_batch(run, metrics, [Param(name, str(value)[:_TAG_LENGTH]) for name, value in told.items()])
    client.log_dict(run, {"signals": version.trained_on.get("signals", [])}, "trained_on.json")
    client.log_text(run, _signature(version, run), "model/MLmodel")
    for path in artifacts:
        client.log_artifact(run, str(path), "reports" if path.suffix == ".html" else "model")


def flat_metrics(metrics: Mapping[str, Any]) -> dict[str, float]:
    """{'recall': 0.9, 'recall/predict_linear': 0.5}: each value, and each baseline below its name."""
    found: dict[str, float] = {}
    for name, entry in metrics.items():
        values = {"": entry.get("value"), **(entry.get("baselines") or {})} if isinstance(entry, dict) else {"": entry}
        for beside, value in values.items():
            if isinstance(value, int | float):
                found[re.sub(r"[^\w\-. :/]", "_", f"{name}/{beside}".rstrip("/"))] = float(value)
    return found


def _signature(version: Version, run: str) -> str:
    """MLflow's MLmodel file: the features that the model reads and what it answers; BentoML's store loads it."""
    from mlflow.models import Model, ModelSignature
    from mlflow.types.schema import ColSpec, Schema

    read = Schema([ColSpec("double", name, required=False) for name in FEATURE_NAMES])
    answers = [f"probability_{steps}_steps" for steps in HORIZON_STEPS]
    quantiles = [f"steps_to_failure_{name}" for name in ("p10", "p50", "p90")]
    said = Schema([ColSpec("double", name) for name in (*answers, *quantiles)])
    model = Model(artifact_path="model", run_id=run, signature=ModelSignature(read, said))
    model.add_flavor(NAME, bentoml=f"{NAME}:{version.version}", feature_version=version.feature_version)
    return str(model.to_yaml())


def _tags(client: Any, there: Mapping[str, Any], versions: Sequence[Version]) -> list[str]:
    done = []
    for version in versions:
        own = there[version.version]
        for name, value in ((_STAGE, version.stage), (_REASON, version.reason[:_TAG_LENGTH])):
            if value and own.tags.get(name) != value:
                client.set_model_version_tag(NAME, own.version, name, value)
                done.append(f"{version.version} is {value}") if name == _STAGE else None
    return done


def _aliases(client: Any, there: Mapping[str, Any], versions: Sequence[Version]) -> list[str]:
    held = {alias: str(number) for alias, number in _registered_model(client).aliases.items()}
    done = []
    for alias, stage in ALIASES.items():
        wanted = next((v.version for v in versions if v.stage == stage), None)
        number = str(there[wanted].version) if wanted else None
        if number is None and alias in held:
            client.delete_registered_model_alias(NAME, alias)
            done.append(f"no {alias}")
        elif number is not None and held.get(alias) != number:
            client.set_registered_model_alias(NAME, alias, number)
            done.append(f"{alias} is {wanted}")
    return done


def _registered(client: Any) -> dict[str, Any]:
    """MLflow's versions by ours; of one that is there twice the first."""
    found: dict[str, Any] = {}
    token = None
    while True:
        page = client.search_model_versions(f"name='{NAME}'", max_results=200, page_token=token)
        for each in sorted(page, key=lambda v: -int(v.version)):
            if _VERSION in each.tags:
                found[each.tags[_VERSION]] = each
        token = page.token
        if not token:
            return found


def _registered_model(client: Any) -> Any:
    from mlflow.exceptions import MlflowException

    try:
        return client.get_registered_model(NAME)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
    return client.create_registered_model(NAME, description="Predicts which signals reach their limits, and when.")


def _client(uri: str) -> Any:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    for name in ("mlflow.store.db.utils", "mlflow.store.model_registry.abstract_store", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    from mlflow import MlflowClient

    return MlflowClient(uri, uri)


@contextmanager
def _alone(postgres_url: str) -> Iterator[None]:
    """Two that write at a time could register a version twice, or make the tables twice."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("select pg_advisory_lock(%s)", (Lock.TRACK_MODELS.value,))
        yield  # the lock ends with the connection


@contextmanager
def _told() -> Iterator[None]:
    """MLflow's errors, those of its database and of its server, in one sentence."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        text = " ".join(str(error).split())[:300]
        raise TrackingError(f"MLflow cannot be used ({text}); see FOREWARN_MLFLOW_TRACKING_URI") from error
