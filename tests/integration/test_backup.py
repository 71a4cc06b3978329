"""What is saved comes back as it was, beside what is there; what is damaged, newer or in the way is refused."""

import json
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
import typer
from psycopg import sql
from psycopg.conninfo import make_conninfo
from table_rows import MARCH, fill_all, table_names
from typer.testing import CliRunner

from forewarn.cli.backup import backup as backup_command
from forewarn.risk.bundle import Manifest as BundleManifest
from forewarn.risk.bundle import sha256
from forewarn.services.stack.postgres import programs
from forewarn.stores.backup import PARTS, Restored, back_up, restore
from forewarn.stores.backup_archive import DATABASE, MANIFEST, ArchiveReader, BackupError, Manifest
from forewarn.stores.backup_files import Source
from forewarn.stores.backup_programs import program
from forewarn.stores.retention import drop_days
from forewarn.stores.schema import VERSIONS, SchemaIsNewerError, create_tables, known_revisions, state_of

VERSION = "20260101-120000"
PROGRAMS = [programs()]


def quiet(label: str, count: int) -> None:
    """Nobody looks."""


@pytest.fixture(scope="module")
def make_database(postgres_server: str) -> Iterator[Callable[[], str]]:
    """Makes empty databases that live as long as the tests of this module."""
    made = []
    with psycopg.connect(postgres_server, autocommit=True) as admin:

        def make() -> str:
            made.append(f"backup_{time.monotonic_ns()}")
            admin.execute(sql.SQL("create database {}").format(sql.Identifier(made[-1])))
            return make_conninfo(postgres_server, dbname=made[-1])

        yield make
        names = admin.execute("select datname from pg_database where datname ~ '^(backup_|forewarn_restoring)'")
        left = [name for (name,) in names.fetchall()]
        for name in left:
            admin.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))
        assert not [name for name in left if name.startswith("forewarn_restoring")]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a model, a report, MLflow's files and keys."""
    folder = tmp_path_factory.mktemp("home")
    bundle = folder / "bentoml" / "models" / "forewarn" / VERSION / "bundle"
    (bundle / "hazard").mkdir(parents=True)
    (bundle / "hazard" / "hazard.txt").write_text("tree")
    digests = {"hazard/hazard.txt": sha256(bundle / "hazard" / "hazard.txt")}
    about = BundleManifest(VERSION, MARCH, MARCH, MARCH, 0.4, files=digests)
    (bundle / "manifest.json").write_bytes(msgspec.json.encode(asdict(about)))
    (bundle.parent / "model.yaml").write_text("name: forewarn")
    for name in ("reports/drift.html", "mlflow/artifacts/run/model.txt", "history/namespaces/shop/day.parquet"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text(name)
    (folder / "link.key").write_text("key of links")
    return folder


@pytest.fixture(scope="module")
def filled(make_database: Callable[[], str], home: Path) -> str:
    """A database with a row in every table and what MLflow would have there."""
    url = make_database()
    create_tables(url)
    with psycopg.connect(url) as connection:
        fill_all(connection, model_versions__version=VERSION, stage="champion", path="reports/drift.html")
        connection.execute("create schema mlflow; create table mlflow.runs (artifact_uri text)")
        connection.execute("insert into mlflow.runs values (%s)", ((home / "mlflow/artifacts/run").as_uri(),))
    return url


def source_of(home: Path, *without: str) -> Source:
    return Source(home, home / "bentoml", frozenset(PARTS) - set(without), {"settings.env": b"FOREWARN_X=1\n"}, {})


@pytest.fixture(scope="module")
def saved(filled: str, home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of both, made while a row comes and the retention would drop a day."""
    target = tmp_path_factory.mktemp("saved") / "saved.zip"
    dropped = []

    def meanwhile(label: str, count: int) -> None:
        if label == "database" and not dropped:
            with psycopg.connect(filled) as connection:
                connection.execute("insert into audit (actor, action, subject, reason) values ('a', 'late', 's', 'r')")
                connection.execute("delete from rollup_pending")
                connection.commit()
                dropped.append(drop_days(connection, datetime(2026, 6, 1, tzinfo=UTC)))

    manifest = back_up(target, filled, source_of(home), PROGRAMS, meanwhile)
    assert dropped == [[]], "a day that is being saved is in use"
    with psycopg.connect(filled) as connection:
        assert manifest.tables["public.audit"] == len(rows_of(filled)["audit"]) - 1
        connection.execute("delete from audit where action = 'late'")
        connection.execute("insert into rollup_pending values (%s, %s)", (MARCH, MARCH))
    return target


def put_back(file: Path, url: str, home: Path, force: bool = False) -> Restored:
    home.mkdir(exist_ok=True)
    with ArchiveReader(file) as archive:
        return restore(archive, url, home, home / "bentoml", PROGRAMS, force, quiet)


def rows_of(url: str) -> dict[str, list[Any]]:
    with psycopg.connect(url) as connection:
        queries = {
            t: sql.SQL("select to_jsonb(t) from {} t").format(sql.Identifier(t)) for t in table_names(connection)
        }
        return {table: connection.execute(query).fetchall() for table, query in queries.items()}


def elsewhere(url: str) -> str:
    """A database that is not there yet."""
    return make_conninfo(url, dbname=f"backup_{time.monotonic_ns()}")


def edited(file: Path, target: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """A copy with another manifest."""
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == MANIFEST:
                told = json.loads(content)
                change(told)
                content = json.dumps(told).encode()
            new.writestr(name, content)
    return target


def test_all_comes_back_as_it_was_when_it_was_saved(saved: Path, filled: str, home: Path, tmp_path: Path) -> None:
    url = elsewhere(filled)
    done = put_back(saved, url, tmp_path / "new")
    before = rows_of(filled)
    assert all(before.values()) and rows_of(url) == before
    for name in ("reports/drift.html", "mlflow/artifacts/run/model.txt", "history/namespaces/shop/day.parquet"):
        assert (tmp_path / "new" / name).read_text() == name
    models = Path("bentoml/models/forewarn")
    assert (tmp_path / "new" / models / VERSION / "bundle/hazard/hazard.txt").read_text() == "tree"
    assert (tmp_path / "new" / models / "latest").read_text() == VERSION
    with psycopg.connect(url) as connection:
        moved = (tmp_path / "new/mlflow/artifacts/run").as_uri()
        assert connection.execute("select artifact_uri from mlflow.runs").fetchall() == [(moved,)]
    assert done.manifest.models == (VERSION,) and done.kept_database is None
    assert saved.stat().st_mode & 0o077 == 0
    assert not list((tmp_path / "new").glob(".restoring*"))


def test_a_back_up_of_the_first_release_is_upgraded(make_database: Callable[[], str], tmp_path: Path) -> None:
    old = make_database()
    with psycopg.connect(old) as connection:
        connection.execute((VERSIONS / "r0001_first_release.sql").read_bytes())
        fill_all(connection)
    back_up(tmp_path / "old.zip", old, source_of(tmp_path), PROGRAMS, quiet)
    put_back(tmp_path / "old.zip", url := elsewhere(old), tmp_path / "new")
    with psycopg.connect(url) as connection:
        assert state_of(connection).revision == known_revisions()[-1]
    assert rows_of(url)["incidents"] == rows_of(old)["incidents"]


@pytest.mark.parametrize("place", [0.2, 0.9])
def test_a_damaged_archive_is_refused_before_anything_changes(
    saved: Path, filled: str, tmp_path: Path, place: float
) -> None:
    content = bytearray(saved.read_bytes())
    with zipfile.ZipFile(saved) as archive:
        packed = archive.getinfo(DATABASE)
    content[packed.header_offset + 100 + int(packed.compress_size * place)] ^= 0xFF
    (tmp_path / "damaged.zip").write_bytes(content)
    with pytest.raises(BackupError, match=r"is damaged: database\.dump"):
        put_back(tmp_path / "damaged.zip", elsewhere(filled), tmp_path / "new")
    assert not any((tmp_path / "new").iterdir())


def test_what_is_no_whole_archive_is_refused(saved: Path, tmp_path: Path) -> None:
    half = tmp_path / "half.zip"
    half.write_bytes(saved.read_bytes()[:-200])
    for file, told in (
        (half, "not whole"),
        (tmp_path / "none.zip", "there is no file"),
        (Path(__file__), "no back-up"),
    ):
        with pytest.raises(BackupError, match=told):
            ArchiveReader(file)


def test_what_is_newer_is_refused(saved: Path, filled: str, tmp_path: Path) -> None:
    newer = edited(saved, tmp_path / "revision.zip", lambda told: told.update(revision="9999"))
    with pytest.raises(SchemaIsNewerError, match="revision 9999"):
        put_back(newer, elsewhere(filled), tmp_path / "new")
    newer = edited(saved, tmp_path / "format.zip", lambda told: told.update(format=99))
    with pytest.raises(BackupError, match="format 99"):
        ArchiveReader(newer)


def test_an_archive_that_names_files_outside_of_the_home_is_refused(saved: Path, filled: str, tmp_path: Path) -> None:
    evil = tmp_path / "evil.zip"
    shutil.copy(saved, evil)
    with zipfile.ZipFile(evil, "a") as archive:
        archive.writestr("reports/../../../evil.txt", "")
    member = {"bytes": 0, "sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}
    told = edited(evil, tmp_path / "e.zip", lambda m: m["members"].update({"reports/../../../evil.txt": member}))
    with pytest.raises(BackupError, match="outside"):
        put_back(told, elsewhere(filled), tmp_path / "new")


def test_what_is_there_is_overwritten_only_by_force_and_kept(
    saved: Path, filled: str, make_database: Callable[[], str], tmp_path: Path
) -> None:
    url = make_database()
    create_tables(url)
    with psycopg.connect(url) as connection:
        connection.execute("insert into service_edges values ('ours', 'b', 1, 0, now())")
    with pytest.raises(BackupError, match=r"holds something already \(service_edges\).*--force"):
        put_back(saved, url, tmp_path / "new")
    wrong = edited(saved, tmp_path / "w.zip", lambda told: told["tables"].update({"public.risks": 2}))
    with pytest.raises(BackupError, match=r"not all rows came back \(public.risks: 1 of 2\)"):
        put_back(wrong, url, tmp_path / "new", force=True)
    with psycopg.connect(url) as user:
        with pytest.raises(BackupError, match="in use"):
            put_back(saved, url, tmp_path / "new", force=True)
        assert user.execute("select client from service_edges").fetchall() == [("ours",)]
    assert not (tmp_path / "new" / "reports").exists()
    kept = put_back(saved, url, tmp_path / "new", force=True).kept_database
    assert rows_of(url) == rows_of(filled)
    assert kept is not None
    with psycopg.connect(make_conninfo(url, dbname=kept)) as connection:
        assert connection.execute("select client from service_edges").fetchall() == [("ours",)]


def test_files_that_differ_are_overwritten_only_by_force(home: Path, tmp_path: Path) -> None:
    back_up(tmp_path / "b.zip", "", source_of(home, "database"), PROGRAMS, quiet)
    report = tmp_path / "new" / "reports" / "drift.html"
    report.parent.mkdir(parents=True)
    report.write_text("another")
    with pytest.raises(BackupError, match="1 files are there already"):
        put_back(tmp_path / "b.zip", "", tmp_path / "new")
    assert report.read_text() == "another"
    put_back(tmp_path / "b.zip", "", tmp_path / "new", force=True)
    assert report.read_text() == "reports/drift.html"


def test_a_model_that_is_not_what_was_stored_is_left_out_and_told(home: Path, tmp_path: Path) -> None:
    shutil.copytree(home, tmp_path / "home")
    (tmp_path / "home/bentoml/models/forewarn" / VERSION / "bundle/hazard/hazard.txt").write_text("bitten")
    manifest = back_up(tmp_path / "b.zip", "", source_of(tmp_path / "home", "database"), PROGRAMS, quiet)
    assert manifest.models == () and "hazard.txt is not what was put there" in manifest.warnings[0]


def test_a_back_up_that_fails_leaves_nothing(filled: str, home: Path, tmp_path: Path) -> None:
    fake = tmp_path / "bin" / "pg_dump"
    fake.parent.mkdir()
    told = "[ $1 = --version ] && echo 'pg_dump (PostgreSQL) 18.0' && exit"
    fake.write_text(f"#!/bin/sh\n{told}\necho half; echo no room >&2; exit 1\n")
    fake.chmod(0o755)
    (tmp_path / "to").mkdir()
    with pytest.raises(BackupError, match="no room"):
        back_up(tmp_path / "to" / "b.zip", filled, source_of(home), [fake.parent], quiet)
    assert not any((tmp_path / "to").iterdir())


def test_programs_of_the_servers_version_come_first(tmp_path: Path) -> None:
    for major in (42, 41, 44):
        folder = tmp_path / str(major)
        folder.mkdir()
        (folder / "pg_dump").write_text(f"#!/bin/sh\necho 'pg_dump (PostgreSQL) {major}.3 (Debian)'\n")
        (folder / "pg_dump").chmod(0o755)
    folders = sorted(tmp_path.iterdir())
    assert program("pg_dump", 42, folders).major == 42
    assert program("pg_dump", 43, folders).major == 44
    with pytest.raises(BackupError, match=r"45 or newer is needed; there is .*42"):
        program("pg_dump", 45, folders)


def test_secrets_are_saved_only_when_told(
    filled: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOREWARN_POSTGRES_URL", filled)
    monkeypatch.setenv("FOREWARN_SMTP_PASSWORD", "very-secret")
    monkeypatch.setenv("FOREWARN_MAIL_TO", "team@example.org")
    monkeypatch.setenv("BENTOML_HOME", str(home / "bentoml"))
    monkeypatch.chdir(tmp_path)
    command = typer.Typer()
    command.command()(backup_command)
    common = ["--home", str(home), "--without", "database,history"]
    plain = CliRunner().invoke(command, ["plain.zip", *common])
    assert plain.exit_code == 0, plain.output
    assert CliRunner().invoke(command, ["secret.zip", "--with-secrets", *common]).exit_code == 0
    assert CliRunner().invoke(command, ["plain.zip", *common]).exit_code != 0  # it is there already
    with zipfile.ZipFile(tmp_path / "plain.zip") as archive:
        content = b"".join(archive.read(name) for name in archive.namelist())
        assert b"very-secret" not in content and b"key of links" not in content
        assert b"FOREWARN_MAIL_TO=team@example.org" in archive.read("config/settings.env")
    with zipfile.ZipFile(tmp_path / "secret.zip") as archive:
        assert b"FOREWARN_SMTP_PASSWORD=very-secret" in archive.read("secrets/secrets.env")
        assert archive.read("secrets/link.key") == b"key of links"


def test_the_manifest_tells_what_is_in_it(saved: Path, home: Path) -> None:
    with ArchiveReader(saved) as archive:
        told: Manifest = archive.manifest
    assert told.revision == known_revisions()[-1] and told.home == str(home)
    assert told.tables["public.risks"] == 1 and told.server >= 14 and told.dumper >= told.server
    assert set(told.members) >= {DATABASE, "config/settings.env", "reports/drift.html"}
    assert list(saved.parent.iterdir()) == [saved]
