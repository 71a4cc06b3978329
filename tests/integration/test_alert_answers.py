"""Answers by link: a look changes nothing, the button does, once; and what the command line says of alerts."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alert_receivers import Receiver
from incident_records import risk
from starlette.applications import Starlette
from starlette.testclient import TestClient
from typer.testing import CliRunner

from forewarn.alerting.links import LinkSigner, read_key
from forewarn.cli.alerts import app as alerts
from forewarn.cli.failure import CommandError
from forewarn.config.settings import Settings
from forewarn.incidents.records import Incident
from forewarn.services.gateway.answer_door import AnswerDoor
from forewarn.stores.feedback import PostgresFeedback
from forewarn.stores.incidents import PostgresIncidents
from forewarn.stores.ledger import PostgresLedger

ID = "00000000-0000-4000-8000-000000000001"
EVIL = "<script>alert(1)</script>"


@pytest.fixture
def settings(postgres_url: str, tmp_path: Path) -> Settings:
    return Settings.model_validate({"postgres_url": postgres_url, "home": tmp_path, "answer_url": "https://fw.example"})


@pytest.fixture
def database(postgres_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        one = risk(0)
        PostgresLedger(connection).add_risk(one)
        incident = Incident(
            ID, 1, "predicted", "warning", f"shop/db: {EVIL}", "shop/db", one.signal, one.mode, [one.episode],
            one.predicted_at, one.predicted_at, one.time_to_failure, None, [], [], EVIL,
        )  # fmt: skip
        PostgresIncidents(connection).put(incident)
        yield connection


@pytest.fixture
def page(settings: Settings, database: psycopg.Connection[Any]) -> TestClient:
    return TestClient(Starlette(routes=AnswerDoor(settings).routes()))


def path_of(url: str) -> str:
    assert url.startswith("https://fw.example/")
    return url.removeprefix("https://fw.example")


def test_looking_changes_nothing_and_the_button_answers_once(
    page: TestClient, settings: Settings, database: psycopg.Connection[Any]
) -> None:
    path = path_of(LinkSigner.of(settings).links(ID, 1, "email").dismiss)
    feedback = PostgresFeedback(database)
    for _ in range(3):
        look = page.get(path)
        assert look.status_code == 200 and "<form method=post>" in look.text and "false alarm" in look.text
    assert page.head(path).status_code in (200, 405) and feedback.of(ID) == []
    done = page.post(path, data={"author": "Ada \x00<b>", "note": "a test\r\nrun"})
    assert done.status_code == 200 and "Dismissed as a false alarm" in done.text
    (said,) = feedback.of(ID)
    assert (said.verdict, said.author, said.note) == ("dismissed", "Ada <b> (by link, email)", "a test run")
    assert "used before" in page.post(path).text and len(feedback.of(ID)) == 1
    assert "Already dismissed by Ada &lt;b&gt; (by link, email)" in page.get(path).text


def test_the_page_cannot_be_framed_scripted_or_kept(page: TestClient, settings: Settings) -> None:
    look = page.get(path_of(LinkSigner.of(settings).links(ID, 1, "email").confirm))
    assert "<script" not in look.text and "&lt;script&gt;" in look.text
    assert look.headers["x-frame-options"] == "DENY" and look.headers["cache-control"] == "no-store"
    assert "default-src 'none'" in look.headers["content-security-policy"]
    assert re.findall(r'href="([^"]+)"', look.text) == [f"http://127.0.0.1:5006/risk?incident={ID}"]


@pytest.mark.parametrize("method", ["get", "post"])
def test_a_link_that_is_forged_old_or_about_nothing_is_refused(
    page: TestClient, settings: Settings, database: psycopg.Connection[Any], method: str
) -> None:
    def asked(signer: LinkSigner, incident: str = ID) -> Any:
        return getattr(page, method)(path_of(signer.links(incident, 1, "email").confirm))

    key = read_key(settings.home / "link.key")
    assert asked(LinkSigner("another key", "https://fw.example", 72)).status_code == 403
    assert asked(LinkSigner(key, "https://fw.example", 72)).status_code == 200
    assert asked(LinkSigner(key, "https://fw.example", 72), "00000000-0000-4000-8000-00000000dead").status_code == 404
    assert getattr(page, method)("/answer/nonsense").status_code == 403
    picture = path_of(LinkSigner.of(settings).links(ID, 1, "email").picture)
    assert getattr(page, method)(picture.replace("/forecast/", "/answer/").removesuffix(".png")).status_code == 403
    assert len(PostgresFeedback(database).of(ID)) == (method == "post")


def test_a_link_expires(page: TestClient, settings: Settings, database: psycopg.Connection[Any]) -> None:
    short = TestClient(Starlette(routes=AnswerDoor(settings.model_copy(update={"link_hours": -1.0})).routes()))
    path = path_of(LinkSigner.of(settings).links(ID, 1, "email").confirm)
    answer = short.post(path)
    assert answer.status_code == 403 and "has expired" in answer.text
    assert PostgresFeedback(database).of(ID) == []


def test_the_picture_behind_a_signed_link(page: TestClient, settings: Settings) -> None:
    picture = page.get(path_of(LinkSigner.of(settings).links(ID, 1, "slack").picture))
    assert picture.status_code == 200 and picture.content.startswith(b"\x89PNG")
    assert page.get("/forecast/forged.png").status_code == 403


def test_without_a_database_nothing_is_promised(settings: Settings, tmp_path: Path) -> None:
    from pydantic import SecretStr

    away = settings.model_copy(update={"postgres_url": SecretStr("postgresql://127.0.0.1:1/none")})
    page = TestClient(Starlette(routes=AnswerDoor(away).routes()))
    answer = page.post(path_of(LinkSigner.of(settings).links(ID, 1, "email").confirm))
    assert answer.status_code == 503 and "Nothing was recorded" in answer.text


def test_the_key_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "home" / "link.key"
    assert read_key(path) == read_key(path) and len(read_key(path)) > 40
    assert path.stat().st_mode & 0o777 == 0o600 and [p.name for p in path.parent.iterdir()] == ["link.key"]


def run(*arguments: str) -> tuple[int, str]:
    """Exit status and what was said, a user's error included."""
    result = CliRunner().invoke(alerts, list(arguments))
    error = f"\n{result.exception}" if isinstance(result.exception, CommandError) else ""
    return result.exit_code, result.output + error


def test_check_says_what_a_file_does_or_what_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "alerting.yaml"
    file.write_text("channels: {pd: {kind: pagerduty, secret: team}}\nroute: {channels: [pd]}\n")
    status, said = run("check", str(file), "--home", str(tmp_path))
    assert status == 0 and "everything → pd" in said and "no secret named 'team'" in said
    file.write_text("channels: {pd: {kind: pagerduty}}\nroute: {channels: [dp]}\n")
    status, said = run("check", str(file), "--home", str(tmp_path))
    assert status == 1 and "alerting.yaml:2:20: route.channels.0: there is no channel 'dp' (there are: pd)" in said
    assert run("check", str(tmp_path / "none.yaml"), "--home", str(tmp_path))[0] == 1


def test_test_sends_a_message_and_says_what_happened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (receiver := Receiver()).running():
        monkeypatch.setenv("FOREWARN_WEBHOOK_URL", receiver.url)
        status, said = run("test", "webhook", "--home", str(tmp_path))
        assert status == 0 and "webhook took the message 'opened'" in said
        assert [r.json["event"] for r in receiver.requests] == ["opened", "withdrawn"]
        assert "nothing is wrong" in receiver.requests[0].json["incident"]["title"]
        receiver.refuse = (500, b"no", {})
        status, said = run("test", "webhook", "--home", str(tmp_path))
        assert status == 1 and "did not take the message 'opened': webhook: 500 no" in said
    status, said = run("test", "pigeon", "--home", str(tmp_path))
    assert status == 1 and "there is no channel 'pigeon'" in said


def test_route_shows_the_way_of_an_incident(tmp_path: Path) -> None:
    file = tmp_path / "alerting.yaml"
    file.write_text(
        "channels: {chat: {kind: console}, pd: {kind: console}}\nlabels: [{match: {entity: shop/*}, set: {team: x}}]\n"
        "route: {channels: [chat], routes: [{name: x, match: {team: x}, channels: [pd]}]}\n"
    )
    assert "route.x → pd" in run("route", "entity=shop/db", "--file", str(file))[1]
    assert "route → chat" in run("route", "entity=other/db", "--file", str(file))[1]
    assert run("route", "nonsense", "--file", str(file))[0] == 1
