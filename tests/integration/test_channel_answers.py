"""Answers given inside Slack and PagerDuty: what is signed counts as an answer by link does, nothing else does."""

import asyncio
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import psycopg
import pytest
from alert_receivers import Receiver
from incident_records import at, risk
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.testclient import TestClient

from forewarn.alerting.links import LinkSigner
from forewarn.alerting.messages import Message, message_id_of
from forewarn.alerting.policy_file import parse_policy
from forewarn.alerting.slack_answers import answer_buttons
from forewarn.config.settings import Settings
from forewarn.incidents.assembly import merged
from forewarn.incidents.records import Incident
from forewarn.services.alerter.desk import Desk, Rules, Stores
from forewarn.services.alerter.dispatcher import Dispatcher, Sources
from forewarn.services.gateway import app as gateway_app
from forewarn.services.gateway.answer_door import AnswerDoor
from forewarn.services.gateway.channel_doors import MAX_BODY_BYTES, ChannelDoors
from forewarn.services.gateway.delivery import Delivery
from forewarn.services.gateway.meters import Meters
from forewarn.services.gateway.rate_limit import RateLimit
from forewarn.stores.audit import PostgresAudit
from forewarn.stores.feedback import Feedback, PostgresFeedback
from forewarn.stores.incidents import PostgresIncidents
from forewarn.stores.ledger import PostgresLedger
from forewarn.stores.outbox import PostgresOutbox

ID, OTHER, GROUP = (f"00000000-0000-4000-8000-{n:012d}" for n in (1, 2, 3))
SLACK, PAGERDUTY = "8f742231b10e8888abcd99yyyzzz85a5", "PD+webhook/secret"
EVIL = "<!channel> <https://evil.example|click> *bold*"
SLACK_PATH, PAGERDUTY_PATH = "/v1/answers/slack", "/v1/answers/pagerduty"
PERSON = {"id": "PXPGF42", "type": "user_reference", "summary": "Earline Greenholt"}


doors = partial(ChannelDoors, patience=60)  # a busy machine is no fault of the doors


class World:
    """Doors on a database with one incident, and what they counted and stored."""

    def __init__(self, settings: Settings, connection: psycopg.Connection[Any]) -> None:
        self.settings, self.connection, self.meters = settings, connection, Meters()
        self.feedback, self.incidents = PostgresFeedback(connection), PostgresIncidents(connection)
        self.outbox, self.ledger = PostgresOutbox(connection), PostgresLedger(connection)
        self.doors = self.client()

    def client(self, rate: RateLimit | None = None, **changes: Any) -> TestClient:
        settings = self.settings.model_copy(update=changes)
        return TestClient(Starlette(routes=doors(settings, self.meters, rate or RateLimit(0, 0)).routes()))

    def incident(self, incident_id: str = ID, minutes: float = 0) -> Incident:
        one = risk(minutes)
        self.ledger.add_risk(one)
        incident = Incident(
            incident_id, 1, "predicted", "warning", f"shop/db: {EVIL}", "shop/db", one.signal, one.mode, [one.episode],
            one.predicted_at, one.predicted_at, one.time_to_failure, None, [], [], "summary",
        )  # fmt: skip
        self.incidents.put(incident)
        return incident

    def told(self, channel: str, key: str | None, *incidents: str) -> None:
        """A channel took the first message about these incidents, under a dedup key."""
        for incident in incidents:
            message = Message(
                message_id_of(incident, channel, "opened"), incident, 1, channel, "opened", batch_id=GROUP,
                route="route", group_key="g",
            )  # fmt: skip
            self.outbox.put(message)
            self.outbox.mark(message.message_id, "sent", receipt={"dedup_key": key} if key else {})

    @property
    def said(self) -> list[tuple[str, str, str]]:
        return [(f.verdict, f.author, f.note) for f in self.feedback.of(ID)]

    def counted(self, name: str, **labels: str) -> float:
        families = text_string_to_metric_families(self.meters.text().decode())
        samples = (s for family in families for s in family.samples if s.name == name)
        return sum(s.value for s in samples if labels.items() <= s.labels.items())


@pytest.fixture
def world(postgres_url: str, tmp_path: Path) -> Iterator[World]:
    settings = Settings(
        postgres_url=SecretStr(postgres_url), home=tmp_path, answer_url="https://fw.example",
        slack_signing_secret=SecretStr(f"old-one, {SLACK}"), pagerduty_webhook_secret=SecretStr(PAGERDUTY),
    )  # fmt: skip
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        world = World(settings, connection)
        world.incident()
        yield world


def press(verdict: str = "acknowledged", incident: str = ID, ts: str = "1700000001.1", **more: Any) -> bytes:
    """What Slack sends when a button of our message is pressed."""
    button = next(b for b in answer_buttons(incident) if b["action_id"].endswith(verdict))
    action = {k: v for k, v in button.items() if k in ("action_id", "value", "type", "text")} | {"action_ts": ts}
    payload = {
        "type": "block_actions", "team": {"id": "T1", "domain": "shop"},
        "user": {"id": "U012AB3CD", "name": "mia", "username": "mia", "team_id": "T1"}, "trigger_id": "1.2.3",
        "channel": {"id": "C1", "name": "ops"}, "message": {"ts": "1.1", "blocks": []}, "actions": [action], **more,
    }  # fmt: skip
    return urlencode({"payload": json.dumps(payload)}).encode()


def slack_headers(body: bytes, secret: str = SLACK, age: float = 0) -> dict[str, str]:
    stamp = str(int(time.time() - age))
    made = hmac.new(secret.encode(), b"v0:" + stamp.encode() + b":" + body, hashlib.sha256).hexdigest()
    form = "application/x-www-form-urlencoded"
    return {"X-Slack-Request-Timestamp": stamp, "X-Slack-Signature": f"v0={made}", "Content-Type": form}


def slack(client: TestClient, body: bytes, **signed: Any) -> httpx.Response:
    return client.post(SLACK_PATH, content=body, headers=slack_headers(body, **signed))


def event(kind: str = "incident.acknowledged", key: str = ID, agent: Any = PERSON, number: str = "01EV") -> bytes:
    """What PagerDuty sends, as its documentation shows it."""
    data = {
        "id": "PT4KHLK", "type": "incident", "number": 1234, "status": "acknowledged", "incident_key": key,
        "title": "shop/db", "assignees": [], "service": {"id": "PIJ90N7", "type": "service_reference"},
    }  # fmt: skip
    told = {"id": number, "event_type": kind, "resource_type": "incident", "occurred_at": "2026-05-20T14:00:00.000Z"}
    return json.dumps({"event": told | {"agent": agent, "client": None, "data": data}}).encode()


def pagerduty_signature(body: bytes, secret: str = PAGERDUTY) -> str:
    return "v1=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def pagerduty(client: TestClient, body: bytes, signature: str | None = None) -> httpx.Response:
    signature = pagerduty_signature(body) if signature is None else signature
    return client.post(PAGERDUTY_PATH, content=body, headers={"X-PagerDuty-Signature": signature})


@pytest.mark.parametrize("verdict", ["acknowledged", "confirmed", "dismissed"])
def test_a_button_pressed_in_slack_is_an_answer_once(world: World, verdict: str) -> None:
    body = press(verdict)
    for _ in range(3):
        answer = slack(world.doors, body)
        assert answer.status_code == 200 and answer.content == b""
    assert world.said == [(verdict, "mia (Slack U012AB3CD)", "")]
    slack(world.doors, press("confirmed", ts="1700000009.9"))
    assert len(world.said) == 2, "another press is another answer"
    assert world.counted("forewarn_gateway_requests_total", door="slack", status="200") == 4


def test_whoever_pressed_is_told_what_came_of_it_and_nobody_else_is_called(world: World) -> None:
    with (api := Receiver()).running(), (elsewhere := Receiver()).running():
        client = world.client(slack_url=f"{api.url}/api/")
        slack(client, press(response_url=f"{api.url}/actions/T1/1/x"))
        slack(client, press(incident=OTHER, response_url=f"{api.url}/actions/T1/1/x"))
        slack(client, press(ts="1700000002.2", response_url=f"{elsewhere.url}/actions"))
        api.refuse = (500, b"no", {})
        assert slack(client, press(ts="1700000003.3", response_url=f"{api.url}/x")).status_code == 200
    replies = [r.json for r in api.requests]
    assert [(r["response_type"], r["replace_original"]) for r in replies] == [("ephemeral", False)] * 2
    assert replies[0]["text"].startswith("Acknowledged: shop/db: &lt;!channel&gt;") and "<" not in replies[0]["text"]
    assert "not known any more" in replies[1]["text"]
    assert elsewhere.requests == [] and len(world.said) == 3
    assert world.counted("forewarn_gateway_dropped_total", door="slack", reason="unknown incident") == 1


def test_what_is_no_answer_changes_nothing(world: World) -> None:
    link = {"type": "button", "action_id": "forewarn-confirm", "action_ts": "1", "value": ID}
    for more in ({"actions": [link]}, {"actions": []}, {"type": "view_submission"}, {"user": None}):
        assert slack(world.doors, press(**more)).status_code == 200
    assert world.said == []
    assert world.counted("forewarn_gateway_dropped_total", door="slack", reason="no answer") == 4


def test_slack_must_have_signed_it_lately(world: World) -> None:
    body = press()
    good = slack_headers(body)
    wrong = [
        slack_headers(body, secret="guessed"), slack_headers(body, age=301), slack_headers(body, age=-301),
        slack_headers(body + b"&x=1"), {}, good | {"X-Slack-Signature": ""}, good | {"X-Slack-Signature": "v0="},
        good | {"X-Slack-Request-Timestamp": "yesterday"}, good | {"X-Slack-Request-Timestamp": "9" * 400},
        good | {"X-Slack-Signature": "v0=\xe4"}, good | {"X-Slack-Request-Timestamp": str(int(time.time()) + 1)},
    ]  # fmt: skip
    for headers in wrong:
        packed = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        refused = world.doors.post(SLACK_PATH, content=body, headers=packed)
        assert refused.status_code == 403 and "FOREWARN_SLACK_SIGNING_SECRET" in refused.json()["error"], headers
    assert world.doors.post(SLACK_PATH, content=b"\xff\xfe", headers=good).status_code == 403
    assert world.said == []
    assert slack(world.doors, body, secret="old-one").status_code == 200, "while a secret is changed, both hold"
    assert len(world.said) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"", b"payload=", b"payload={}", b"payload=[1]", b"payload=%7B%22type%22%3A1%7D", b"{}", b"a=1&" * 50,
        b"payload={}&payload={}", press(actions=[{"action_id": "forewarn-answer-confirmed", "value": "1 or 1=1"}]),
        press(actions=[{"action_id": "forewarn-answer-confirmed"}]), press(actions={"x": 1}), press(user={"id": 1}),
        urlencode({"payload": "[" * 100_000}).encode(),
    ],
)  # fmt: skip
def test_signed_garbage_is_said_to_be_garbage(world: World, body: bytes) -> None:
    assert slack(world.doors, body).status_code == 400
    assert pagerduty(world.doors, body).status_code == 400
    assert world.said == []


@pytest.mark.parametrize("path", [SLACK_PATH, PAGERDUTY_PATH])
def test_a_door_without_its_secret_is_closed_and_a_long_body_is_refused(world: World, path: str) -> None:
    closed = world.client(slack_signing_secret=None, pagerduty_webhook_secret=SecretStr(" "))
    body = press() if path == SLACK_PATH else event()
    signed = slack_headers(body, secret="") | {"X-PagerDuty-Signature": pagerduty_signature(body, "")}
    answer = closed.post(path, content=body, headers=signed)
    assert answer.status_code == 404 and "_SECRET" in answer.json()["error"]
    assert closed.get(path).status_code == 405
    long = world.doors.post(path, content=b"x" * (MAX_BODY_BYTES + 1))
    assert long.status_code == 413 and world.said == []


def test_an_acknowledgement_in_pagerduty_is_one_here_once(world: World) -> None:
    for _ in range(3):
        assert pagerduty(world.doors, event()).status_code == 202
    assert world.said == [("acknowledged", "Earline Greenholt (PagerDuty PXPGF42)", "")]
    assert world.counted("forewarn_gateway_requests_total", door="pagerduty", status="202") == 3


def test_what_is_resolved_there_is_neither_true_nor_false_here(world: World) -> None:
    pagerduty(world.doors, event("incident.resolved"))
    (said,) = world.feedback.of(ID)
    assert (said.verdict, said.note) == ("acknowledged", "resolved in PagerDuty")
    stores = Stores(
        world.ledger, world.incidents, world.outbox, world.feedback, PostgresAudit(world.connection)
    )  # fmt: skip
    Desk(stores, Rules()).take_feedback()
    audited = [(actor, action) for actor, action, _ in stores.audit.about(ID) if actor != "alerter"]
    assert audited == [("Earline Greenholt (PagerDuty PXPGF42)", "acknowledged")]
    assert world.incidents.get(ID).state == "predicted", "telemetry tells how it ended"  # type: ignore[union-attr]
    assert world.ledger.outcomes_since(at(-10_000)) == []


def test_one_of_several_signatures_is_enough_and_it_must_be_of_the_body(world: World) -> None:
    body, other = event(), pagerduty_signature(event(), "another subscription")
    for shown in ("", "v1=", other, pagerduty_signature(event(number="02")), pagerduty_signature(body)[3:],
                  pagerduty_signature(body).replace("v1", "v2"), "v1=\xe4"):  # fmt: skip
        headers = [(b"X-PagerDuty-Signature", shown.encode("latin-1"))]
        refused = world.doors.post(PAGERDUTY_PATH, content=body, headers=headers)
        assert refused.status_code == 403 and "FOREWARN_PAGERDUTY_WEBHOOK_SECRET" in refused.json()["error"]
    assert world.said == []
    assert pagerduty(world.doors, body, f"{other},{pagerduty_signature(body)}").status_code == 202
    assert len(world.said) == 1


def test_what_is_nothing_to_us_is_taken_and_counted(world: World) -> None:
    integration = {"id": "PXMQRWJ", "type": "inbound_integration_reference", "summary": "Events API V2"}
    ignored = {
        "another event": [event("incident.triggered"), event("incident.unacknowledged"), event("pagey.ping")],
        "not by a person": [event(agent=integration), event("incident.resolved", agent=None)],
        "unknown incident": [
            event(key=OTHER), event(key="baf7cf21b1da41b4b0221008339ff357"), event(key=""), event(key="'; drop"),
        ],
    }  # fmt: skip
    for reason, bodies in ignored.items():
        for body in bodies:
            answer = pagerduty(world.doors, body)
            assert (answer.status_code, answer.json()) == (202, {"ignored": reason})
        counted = world.counted("forewarn_gateway_dropped_total", door="pagerduty", reason=reason)
        assert counted == len(bodies)
    assert world.said == []


def test_a_page_about_a_group_acknowledges_what_is_open_of_it(world: World) -> None:
    over = replace(world.incident(OTHER, 1), version=2, state="resolved")
    world.incidents.put(over)
    world.told("team-pager", GROUP, ID, OTHER)
    for _ in range(2):
        assert pagerduty(world.doors, event(key=GROUP)).json() == {}
    assert len(world.said) == 1 and world.feedback.of(OTHER) == []


def test_who_answers_a_merged_incident_answers_the_one_that_goes_on(world: World) -> None:
    into = world.incident(OTHER, 1)
    world.incidents.put(merged(world.incidents.get(ID), into, at(2), "they are one"))  # type: ignore[arg-type]
    pagerduty(world.doors, event())
    slack(world.doors, press("confirmed"))
    links = TestClient(Starlette(routes=AnswerDoor(world.settings).routes()))
    path = LinkSigner.of(world.settings).links(ID, 1, "email").dismiss.removeprefix("https://fw.example")
    assert "Already confirmed by mia" in links.get(path).text
    assert links.post(path, data={"author": "Ada"}).status_code == 200
    assert [f.verdict for f in world.feedback.of(OTHER)] == ["acknowledged", "confirmed", "dismissed"]
    assert world.said == []


@pytest.mark.parametrize("where", ["nowhere", "slack", "pagerduty"])
def test_an_answer_ends_escalation_and_its_absence_does_not(world: World, where: str) -> None:
    policy = parse_policy(
        "channels: {chat: {kind: slack}, pd: {kind: pagerduty}, boss: {kind: email}}\n"
        "route: {channels: [chat, pd], group_wait: 0s, escalate: [{after: 15m, to: [boss]}]}"
    )
    stores = Stores(
        world.ledger, world.incidents, world.outbox, world.feedback, PostgresAudit(world.connection)
    )  # fmt: skip
    world.told("chat", None, ID)
    world.told("pd", ID, ID)
    if where != "nowhere":
        slack(world.doors, press()) if where == "slack" else pagerduty(world.doors, event())
    late = Sources(now=lambda: datetime.now(UTC) + timedelta(minutes=20))
    dispatcher = Dispatcher(stores, lambda: policy, late)
    Desk(stores, Rules(), dispatcher).take_feedback()
    dispatcher.sweep()
    told = [(m.channel, m.reason) for m in world.outbox.of([ID])[ID] if m.status == "pending"]
    if where == "nowhere":
        assert told == [("boss", "opened")]
    else:
        assert sorted(told) == [("chat", "acknowledged"), ("pd", "acknowledged")]


def test_without_a_database_both_are_asked_to_come_again(world: World) -> None:
    away = world.client(postgres_url=SecretStr("postgresql://127.0.0.1:1/none"))
    for answer in (slack(away, press()), pagerduty(away, event())):
        assert answer.status_code == 503 and answer.headers["Retry-After"] == "5"
    assert slack(away, press(type="shortcut")).status_code == 200


def test_a_flood_is_bounded_and_stores_each_answer_once(world: World) -> None:
    limited = world.client(RateLimit(1, 0))
    codes = [limited.post(PAGERDUTY_PATH, content=b"x").status_code for _ in range(50)]
    assert set(codes) == {403, 429} and codes.count(403) < 10
    assert slack(limited, press()).status_code == 200, "one door's flood does not close the other"
    app = Starlette(routes=doors(world.settings, world.meters, RateLimit(0, 0)).routes())

    async def flood() -> list[int]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://fw") as client:
            body = press(ts="1700000007.7")
            signed = {"X-PagerDuty-Signature": pagerduty_signature(event())}
            asked = [client.post(SLACK_PATH, content=body, headers=slack_headers(body)) for _ in range(60)]
            asked += [client.post(PAGERDUTY_PATH, content=event(), headers=signed) for _ in range(60)]
            return [answer.status_code for answer in await asyncio.gather(*asked)]

    assert asyncio.run(flood()) == [200] * 60 + [202] * 60
    assert sorted(author for _, author, _ in world.said) == [
        "Earline Greenholt (PagerDuty PXPGF42)", "mia (Slack U012AB3CD)", "mia (Slack U012AB3CD)",
    ]  # fmt: skip


def test_the_gateway_has_the_doors_and_counts_them(world: World, broker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway_app, "ChannelDoors", doors)
    settings = world.settings.model_copy(update={"gateway_token": SecretStr("t"), "gateway_grpc_port": 0})
    gateway = gateway_app.Gateway(settings, Delivery(broker, 1), world.meters)
    with TestClient(gateway.app()) as client:
        assert slack(client, press()).status_code == 200
        assert pagerduty(client, event(number="03")).status_code == 202
        assert pagerduty(client, event(), "v1=00").status_code == 403
        text = client.get("/metrics").text
    assert 'forewarn_gateway_requests_total{door="pagerduty",status="403"} 1.0' in text
    assert [verdict for verdict, _, _ in world.said] == ["acknowledged"] * 2


def test_an_answer_is_the_same_answer_by_its_identity_alone(world: World) -> None:
    """The path of links: what they store and what the doors store is of one kind."""
    world.feedback.add(Feedback(str(uuid.uuid4()), ID, None, "averted", "", "Ada"))
    pagerduty(world.doors, event())
    assert [f.verdict for f in world.feedback.unhandled()] == ["averted", "acknowledged"]
