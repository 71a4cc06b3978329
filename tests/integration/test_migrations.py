"""Databases of every age come to the tables of this code, with what stands in them."""

import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
import structlog
from psycopg import sql
from table_rows import fill_all, table_names
from typer.testing import CliRunner

from forewarn.cli.migrate import app
from forewarn.services.lifecycle import wait_for_tables
from forewarn.services.stack.postgres import programs
from forewarn.stores.schema import VERSIONS, SchemaIsNewerError, create_tables, known_revisions

FIRST = (VERSIONS / "r0001_first_release.sql").read_bytes()
NEXT = '''"""A step of a test."""
from alembic import op
revision = "9001"
down_revision = "{before}"
def upgrade() -> None:
    op.execute("alter table risks add column team text not null default ''")
    op.execute("update risks set team = split_part(entity, '/', 1)")
    {then}
'''


@pytest.fixture
def empty_database(postgres_server: str) -> Iterator[Callable[[str], str]]:
    """Makes databases without tables."""
    names = []
    with psycopg.connect(postgres_server, autocommit=True) as admin:

        def make(name: str) -> str:
            names.append(f"migrations_{name}")
            admin.execute(sql.SQL("create database {}").format(sql.Identifier(names[-1])))
            return psycopg.conninfo.make_conninfo(postgres_server, dbname=names[-1])

        yield make
        for name in names:
            admin.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


@pytest.fixture
def first_release(empty_database: Callable[[str], str]) -> str:
    """A database as it was made before there were revisions, with a row in every table."""
    url = empty_database("first")
    with psycopg.connect(url) as connection:
        connection.execute(FIRST)
        fill_all(connection)
    return url


def _rows(url: str) -> dict[str, list[dict[str, Any]]]:
    with psycopg.connect(url) as connection:
        return {
            table: [row for (row,) in connection.execute(sql.SQL("select to_jsonb(t) from {} t").format(
                sql.Identifier(table))).fetchall()]
            for table in table_names(connection)
        }  # fmt: skip


def _shape(url: str) -> set[str]:
    """Statements that make the database, columns in any order; partitions come with samples."""
    command = [programs() / "pg_dump", "--schema-only", "--no-owner", "--exclude-table=metric_samples_2*", "-d", url]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    lines = [line for line in text.splitlines() if line and not line.startswith(("--", "\\"))]
    statements = re.split(r";\n", "\n".join(lines) + "\n")
    return {"\n".join(sorted(line.strip().rstrip(",") for line in each.splitlines())) for each in statements}


def test_the_first_release_with_rows_in_all_tables_comes_to_what_a_fresh_database_has(
    first_release: str, postgres_url: str
) -> None:
    before = _rows(first_release)
    assert all(before.values()) and len(before) > 35
    assert create_tables(first_release) == known_revisions()[-1]
    after = _rows(first_release)
    for table, rows in before.items():
        assert [old.items() <= new.items() for old, new in zip(rows, after[table], strict=True)] == [True], table
    assert _shape(first_release) == _shape(postgres_url), "schema.sql and the revisions differ: docs/upgrading.md"
    assert create_tables(first_release) is None


def test_a_column_that_only_the_schema_has_is_seen(first_release: str, postgres_url: str) -> None:
    create_tables(first_release)
    with psycopg.connect(postgres_url) as connection:
        connection.execute("alter table risks add column forgotten text")
    assert _shape(first_release) != _shape(postgres_url)


@pytest.mark.parametrize("age", ["fresh", "first"])
def test_processes_that_start_at_once_share_the_work(
    age: str, empty_database: Callable[[str], str], request: pytest.FixtureRequest
) -> None:
    url = empty_database("race") if age == "fresh" else request.getfixturevalue("first_release")
    with ThreadPoolExecutor(6) as pool:
        came_to = list(pool.map(create_tables, [url] * 6))
    assert sorted(str(r) for r in came_to) == [known_revisions()[-1], *["None"] * 5]


def _versions(folder: Path, then: str = "") -> Path:
    shutil.copytree(VERSIONS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "r9001_teams.py").write_text(NEXT.format(before=known_revisions()[-1], then=then))
    return folder


def test_a_revision_changes_what_stands_in_the_tables(first_release: str, tmp_path: Path) -> None:
    create_tables(first_release)
    assert create_tables(first_release, _versions(tmp_path / "next")) == "9001"
    assert _rows(first_release)["risks"][0]["team"] == "shop"
    with pytest.raises(SchemaIsNewerError, match=r"at revision 9001.*knows revisions up to 0.*backup"):
        create_tables(first_release)
    with pytest.raises(SystemExit, match="at revision 9001"):
        wait_for_tables(first_release, threading.Event())


def test_a_revision_that_fails_leaves_no_half_of_itself(first_release: str, tmp_path: Path) -> None:
    with pytest.raises(psycopg.errors.UndefinedTable):
        create_tables(first_release, _versions(tmp_path / "wrong", then='op.execute("drop table no_such")'))
    assert "team" not in _rows(first_release)["risks"][0]
    assert create_tables(first_release) is None  # those before it hold
    assert create_tables(first_release, _versions(tmp_path / "right")) == "9001"


def test_a_table_in_use_is_waited_for_and_not_for_ever(
    first_release: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_tables(first_release)
    monkeypatch.setattr("forewarn.stores.migrations.upgrade._LOCK_TIMEOUT", "100ms")
    folder = _versions(tmp_path / "next")
    with psycopg.connect(first_release) as reader:
        reader.execute("select count(*) from risks")
        with pytest.raises(psycopg.OperationalError, match="lock timeout"):  # services say so and try again
            create_tables(first_release, folder)
    assert create_tables(first_release, folder) == "9001"


def test_a_service_waits_for_a_database_that_is_not_there_yet_and_says_so(
    postgres_server: str, empty_database: Callable[[str], str]
) -> None:
    stop = threading.Event()
    url = psycopg.conninfo.make_conninfo(postgres_server, dbname="migrations_late")
    with structlog.testing.capture_logs() as logs, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(wait_for_tables, url, stop)
        try:
            while not any("waiting for PostgreSQL" in each["event"] for each in logs):
                time.sleep(0.01)
            empty_database("late")
            waiting.result(timeout=60)
        finally:
            stop.set()
    assert create_tables(url) is None


def test_revisions_are_one_line_and_named_by_their_numbers() -> None:
    from alembic.script import ScriptDirectory

    script = ScriptDirectory(VERSIONS.parent, version_locations=[str(VERSIONS)])
    assert [each.revision for each in script.walk_revisions()][::-1] == known_revisions()
    assert len(script.get_heads()) == 1
    names = {Path(each.path).name[1:5] for each in script.walk_revisions()}
    assert sorted(names) == known_revisions()


def test_a_start_on_a_database_that_is_up_to_date_loads_no_alembic(postgres_url: str) -> None:
    code = (
        "import sys; from forewarn.stores.schema import create_tables; assert create_tables(sys.argv[1]) is None;"
        "sys.exit(bool({'alembic', 'sqlalchemy'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code, postgres_url], check=True)


def test_the_command_tells_and_upgrades(first_release: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FOREWARN_POSTGRES_URL", first_release)
    monkeypatch.setenv("FOREWARN_HOME", str(tmp_path))
    asked = CliRunner().invoke(app, ["status"])
    assert asked.exit_code == 1 and "made before there were revisions" in asked.output
    shown = CliRunner().invoke(app, ["upgrade", "--sql"])
    assert "create table if not exists metric_series" in shown.output and "Running upgrade" in shown.output
    assert "at revision" in CliRunner().invoke(app, ["upgrade"]).output
    assert CliRunner().invoke(app, ["upgrade"]).output == "nothing to do\n"
    assert CliRunner().invoke(app, ["status"]).exit_code == 0


def test_the_sql_that_is_shown_is_what_a_fresh_database_needs(
    empty_database: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    url = empty_database("shown")
    monkeypatch.setenv("FOREWARN_POSTGRES_URL", url)
    monkeypatch.setenv("FOREWARN_HOME", str(tmp_path))
    shown = CliRunner().invoke(app, ["upgrade", "--sql"])
    with psycopg.connect(url) as connection:
        connection.execute(shown.output.encode())
    assert create_tables(url) is None
