"""`forewarn models` on a real registry: what it shows, what it changes, and what it says when it cannot."""

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from lifecycle_world import HOUR, NOON, actions, add_failure, add_versions, both_score, set_clock, stages

from forewarn.cli.app import app
from forewarn.cli.failure import run_to_exit
from forewarn.stores import model_versions as registry


@pytest.fixture
def db(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[psycopg.Connection[Any]]:
    """A registry with a champion, a shadow and a candidate."""
    monkeypatch.setenv("FOREWARN_POSTGRES_URL", postgres_url)
    monkeypatch.setenv("COLUMNS", "240")
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        add_versions(connection, "1", "2", "3")
        registry.promote(connection, "1", "dagster", "first model")
        registry.begin_shadow(connection, "2", "dagster", "gate passed")
        yield connection


@pytest.fixture
def forewarn(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs the command; returns its exit status, output and errors on one line."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["forewarn", "models", *arguments])
        try:
            run_to_exit(app)
            status = 0
        except SystemExit as ended:
            status = int(ended.code or 0)
        captured = capsys.readouterr()
        return status, captured.out, " ".join(captured.err.split())

    return run


def test_list_shows_who_serves_first(db: psycopg.Connection[Any], forewarn: Any) -> None:
    status, out, _ = forewarn("list")
    lines = out.splitlines()
    assert status == 0 and lines[1].split()[:2] == ["champion", "1"] and lines[2].split()[:2] == ["shadow", "2"]
    assert "first model" in lines[1] and "0.9" in lines[1]
    status, out, _ = forewarn("list", "--json")
    assert [row["stage"] for row in json.loads(out)] == ["champion", "shadow", "candidate"]


def test_show_tells_figures_and_decisions(db: psycopg.Connection[Any], forewarn: Any) -> None:
    add_failure(db, "shop/a", NOON + HOUR, predicted=False)
    status, out, _ = forewarn("show", "forewarn:1")
    assert status == 0 and "predict_linear 0.5" in out and "first model" in out and "signals" in out
    status, out, _ = forewarn("show", "1", "--json")
    found = json.loads(out)
    told = [(d["actor"], d["action"], d["reason"]) for d in found["decisions"]]
    assert told == [("dagster", "register", "trained"), ("dagster", "promote", "first model")]
    status, _, error = forewarn("show", "9")
    assert status == 1 and "there is no model version '9' (newest: 3, 2, 1); see `forewarn models list`" in error


def test_compare_tells_what_a_promotion_would_go_by(db: psycopg.Connection[Any], forewarn: Any) -> None:
    status, out, _ = forewarn("compare", "champion", "3")
    assert status == 0 and "have not scored the same live rows" in out
    both_score(db, "1", "2", incidents=10)
    status, out, _ = forewarn("compare", "champion", "shadow")
    assert status == 0 and "2 as shadow: promote, better than the champion" in out
    status, out, _ = forewarn("compare", "1", "2", "--json")
    assert json.loads(out)["paired"]["decision"] == "promote"
    assert stages(db)["2"] == "shadow"  # it only tells


def test_promote_and_rollback_by_hand(db: psycopg.Connection[Any], forewarn: Any) -> None:
    status, out, error = forewarn("promote", "3")
    assert status == 1 and "Promote 3 (candidate: trained) in place of 1? Give --yes" in error
    assert stages(db) == {"1": "champion", "2": "shadow", "3": "candidate"}
    status, out, _ = forewarn("promote", "3", "-m", "seen in staging", "--yes")
    assert status == 0 and "champion 1 → 3" in " ".join(out.split())
    assert "@" in actions(db, "3")[-1] and registry.find(db, "3").reason == "seen in staging"
    assert "is the champion already" in forewarn("promote", "3", "--yes")[2]
    status, out, _ = forewarn("rollback", "--yes", "--json", "-m", "pages for nothing")
    assert json.loads(out)["after"]["champion"] == "1"
    assert stages(db) == {"1": "champion", "2": "shadow", "3": "broken"}
    assert "was rolled back (pages for nothing)" in forewarn("promote", "3", "--yes")[2]
    status, out, _ = forewarn("withhold", "shadow", "--yes")
    assert status == 0 and "shadow 2 → none" in " ".join(out.split())
    assert "there is no shadow now" in forewarn("promote", "shadow", "--yes")[2]
    status, out, _ = forewarn("rollback", "--yes")
    assert "the first-day model" in out
    assert "no champion to roll back" in forewarn("rollback", "--yes")[2]


def test_an_empty_registry_and_none_at_all(
    db: psycopg.Connection[Any], forewarn: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    db.execute("truncate model_versions")
    set_clock(db, NOON)
    assert "No models yet" in forewarn("list")[1]
    db.execute("drop table model_versions")
    assert "no tables yet" in forewarn("list")[2]
    monkeypatch.setenv("FOREWARN_POSTGRES_URL", "postgresql://nobody@127.0.0.1:9/none")
    assert "PostgreSQL cannot be reached" in forewarn("list")[2]
    monkeypatch.delenv("FOREWARN_POSTGRES_URL")
    status, _, error = forewarn("list", "--home", str(tmp_path))
    assert status == 3 and "start one with `forewarn up`" in error
