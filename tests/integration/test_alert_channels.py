"""Channels against servers that check the published schemas, and a real Alertmanager."""

import json
import logging
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
from alert_receivers import PagerDuty, Receiver, Slack, SlackWebhook, certificate
from alerter_stack import eventually
from incident_records import POOL, at, risk
from servers import free_port, wait_for_port

from forewarn.alerting.channel import Channel, Digest, Notification, Receipt, Undelivered
from forewarn.alerting.links import LinkSigner
from forewarn.alerting.policy import ChannelSpec
from forewarn.alerting.registry import make_channel
from forewarn.alerting.sample import sample_notification
from forewarn.alerting.webhook import verify
from forewarn.config.settings import Settings
from forewarn.incidents.assembly import assemble
from forewarn.incidents.episodes import Episode
from forewarn.incidents.graph import ServiceGraph
from forewarn.risk.records import Action, Driver, Risk

KEY = "0123456789abcdef0123456789abcdef"
HOOK = "/services/T000/B000/verysecrethook"
EVIL = "<!channel> <https://evil.example|click> *bold* `code` & \x1b[2J\r\n</section>" + "x" * 400
SIGNER = LinkSigner("key", "https://forewarn.example.org", 72)
SCHEMA = Path(__file__).parents[2] / "docs" / "alerting-webhook.schema.json"


def evil_risk() -> Risk:
    return replace(
        risk(0), entity=f"shop/{EVIL}", signal=f"{POOL}{{pool={EVIL}}}", evidence=[EVIL] * 20, model_version=EVIL,
        drivers=[Driver("x", "y", EVIL, 1.0)] * 20, actions=[Action(EVIL, "javascript:alert(1)")] * 20,
    )  # fmt: skip


def of(risk: Risk, reason: str = "opened", number: int = 1, **more: Any) -> Notification:
    """A notification about one prediction."""
    from datetime import timedelta

    cause = Episode(risk.episode, risk.entity, risk.signal, risk.mode, risk.predicted_at, risk, risk,
                    limit=risk.limit, unit=risk.unit)  # fmt: skip
    incident_id = f"00000000-0000-4000-8000-{number:012d}"
    incident, _ = assemble(
        incident_id, None, [cause], ServiceGraph(), at(0), timedelta(minutes=30), lambda _: "Track record."
    )
    if reason not in ("opened", "raised", "updated", "acknowledged"):
        incident = replace(incident, state=reason)
    labels = {"entity": risk.entity, "severity": incident.severity, "team-name": "ops"}
    given = {"links": SIGNER.links(incident_id, 1, "test"), "why": EVIL, "labels": labels, **more}
    return Notification(
        f"m-{reason}-{number}", (), reason, incident, incident.title, cause, (cause,) * 3,
        f"https://forewarn.example.org/risk?incident={incident_id}", **given,
    )  # fmt: skip


def settings(**given: Any) -> Settings:
    return Settings.model_validate({"pagerduty_routing_key": KEY, "slack_bot_token": Slack.token, **given})


def made(kind: str, **given: Any) -> Channel:
    return make_channel(kind, ChannelSpec(kind=kind), settings(**given))  # type: ignore[arg-type]


@pytest.fixture
def slack() -> Iterator[Slack]:
    with (receiver := Slack()).running():
        yield receiver


@pytest.fixture
def tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A certificate that the test's clients trust: PagerDuty's speaks https only."""
    path = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    return path


@pytest.fixture
def pagerduty(tls: Path) -> Iterator[PagerDuty]:
    with (receiver := PagerDuty(certificate=tls)).running():
        yield receiver


def test_slack_keeps_one_thread_whose_first_message_is_up_to_date(slack: Slack) -> None:
    channel = made("slack", slack_url=f"{slack.url}/api/")
    receipt = channel.send(of(risk(0)))
    assert receipt == {"channel": Slack.channel, "ts": slack.roots[0]["ts"]}
    assert slack.files[0][1].startswith(b"\x89PNG")
    assert slack.shared[0]["thread_ts"] == receipt["ts"] and slack.shared[0]["channel_id"] == Slack.channel
    channel.send(of(risk(0), "updated", receipts=(receipt,)))
    assert len(slack.posted) == 1 and slack.roots[0]["updated"], "new numbers disturb nobody"
    channel.send(of(risk(0), "raised", receipts=(receipt,)))
    channel.send(of(risk(0), "resolved", receipts=(receipt, receipt)))
    (root,), replies = slack.roots, slack.replies
    assert root["text"].startswith("Resolved: shop/db: connection pool")
    assert [m["text"].partition(":")[0] for m in replies] == ["It got worse", "Resolved"]
    assert [m["reply_broadcast"] for m in replies] == [True, False]
    assert slack.errors == []


def test_slack_buttons_open_and_answer(slack: Slack) -> None:
    made("slack", slack_url=f"{slack.url}/api/").send(of(risk(0)))
    (actions,) = [b for b in slack.roots[0]["blocks"] if b["type"] == "actions"]
    texts = {e["text"]["text"]: e["url"] for e in actions["elements"]}
    assert list(texts) == ["Open", "Confirm", "False alarm"]
    answer = SIGNER.read_answer(texts["False alarm"].rpartition("/")[2])
    assert (answer.verdict, answer.channel) == ("dismissed", "test")


@pytest.mark.parametrize("kind", ["slack", "slack_webhook"])
def test_slack_buttons_answer_in_slack_once_the_gateway_can_tell_who_pressed(kind: str) -> None:
    with (receiver := Slack() if kind == "slack" else SlackWebhook()).running():
        url, answering = receiver.url, {"slack_signing_secret": "8f742231b10e"}
        channel = made(kind, slack_url=f"{url}/api/", slack_webhook_url=url + HOOK, **answering)
        channel.send(of(evil_risk()))
        channel.send(of(evil_risk(), "resolved"))
        sent = [r.json["blocks"] for r in receiver.requests if b'"blocks"' in r.body]
    assert receiver.errors == [] and len(sent) == 2
    (actions,) = [b["elements"] for b in sent[0] if b["type"] == "actions"]
    assert [e["text"]["text"] for e in actions] == ["Open", "Acknowledge", "Confirm", "False alarm"]
    assert [e.get("value") for e in actions] == [None, *["00000000-0000-4000-8000-000000000001"] * 3]
    assert [e["text"]["text"] for e in actions if "url" in e] == ["Open"]
    assert [e["text"]["text"] for e in actions if "confirm" in e] == ["False alarm"], "what closes it asks once more"
    assert not [b for b in sent[1] if b["type"] == "actions"], "what is over is not answered"


def test_slack_finds_what_it_posted_before_it_was_killed(slack: Slack) -> None:
    channel = made("slack", slack_url=f"{slack.url}/api/", slack_channel=Slack.channel)
    first = channel.send(of(risk(0)))
    assert channel.send(of(risk(0), in_doubt=True)) == first and len(slack.posted) == 1
    channel.send(of(risk(0), "resolved", receipts=(first or {},)))
    channel.send(of(risk(0), "resolved", receipts=(first or {},), in_doubt=True))
    assert len(slack.posted) == 2
    channel.send(of(risk(0), number=2, in_doubt=True))
    assert len(slack.roots) == 2, "what is not there is posted"


def blocks_text(blocks: list[dict[str, Any]]) -> str:
    return json.dumps(blocks, ensure_ascii=False)


def test_what_telemetry_says_cannot_mention_or_link_in_slack(slack: Slack) -> None:
    channel = made("slack", slack_url=f"{slack.url}/api/")
    receipt = channel.send(of(evil_risk())) or {}
    channel.send(of(evil_risk(), "resolved", receipts=(receipt,)))
    digest = Digest(
        "d", tuple(of(evil_risk(), number=n) for n in range(60)), True, EVIL, "https://forewarn.example.org"
    )
    channel.send_digest(digest)
    assert slack.errors == [] and len(slack.posted) == 3
    for message in slack.posted.values():
        text = blocks_text(message["blocks"]) + message["text"]
        assert "<!channel>" not in text and "<https://evil" not in text and "javascript:" not in text
        assert "*bold*" not in text and "\\u001b" not in text
        assert "&lt;!channel&gt;" in text


def test_a_slack_webhook_takes_messages_and_digests() -> None:
    with (hook := SlackWebhook()).running():
        channel = made("slack_webhook", slack_webhook_url=hook.url + HOOK)
        channel.send(of(evil_risk()))
        channel.send_digest(Digest("d", (of(risk(0)), of(risk(0), number=2)), False, "group", "https://x.example"))
        assert hook.errors == [] and len(hook.requests) == 2
        image = next(b for b in hook.requests[0].json["blocks"] if b["type"] == "image")
        token = image["image_url"].rpartition("/")[2].removesuffix(".png")
        assert SIGNER.read_picture(token)[1] == 1
        hook.refuse = (429, b"rate_limited", {"Retry-After": "17"})
        with pytest.raises(Undelivered) as caught:
            channel.send(of(risk(0)))
        assert caught.value.retry_seconds == 17 and not caught.value.permanent


def test_pagerduty_has_one_alert_from_trigger_to_resolve(pagerduty: PagerDuty) -> None:
    channel = made("pagerduty", pagerduty_url=pagerduty.url)
    receipt = channel.send(of(evil_risk())) or {}
    again = channel.send(of(evil_risk(), in_doubt=True))
    assert receipt == again and list(pagerduty.alerts.values()) == ["trigger"], "the same alert, whoever was killed"
    channel.send(of(evil_risk(), "acknowledged", receipts=(receipt,)))
    assert list(pagerduty.alerts.values()) == ["acknowledge"]
    channel.send(of(evil_risk(), "resolved", receipts=(receipt,)))
    assert list(pagerduty.alerts.values()) == ["resolve"] and pagerduty.errors == []
    event = pagerduty.requests[0].json
    assert [link["text"] for link in event["links"]] == ["Open in Forewarn", "Confirm", "False alarm"]
    assert event["images"][0]["src"].startswith("https://forewarn.example.org/forecast/")
    assert event["payload"]["custom_details"]["what to do"] and "\x1b" not in json.dumps(event)
    channel.close()


def test_a_group_is_one_page_that_ends_with_its_last_incident(pagerduty: PagerDuty) -> None:
    channel = made("pagerduty", pagerduty_url=pagerduty.url)
    both = Digest("batch", (of(risk(0)), of(risk(0), number=2)), False, "group", "https://x.example")
    receipt = channel.send_digest(both) or {}
    assert pagerduty.alerts == {"batch": "trigger"}
    channel.send(of(risk(0), "resolved", receipts=(receipt,), shared=(receipt,)))
    assert pagerduty.alerts == {"batch": "trigger"}
    channel.send(of(risk(0), "resolved", number=2, receipts=(receipt,)))
    assert pagerduty.alerts == {"batch": "resolve"} and pagerduty.errors == []
    channel.close()


def test_a_webhook_gets_signed_json_of_the_documented_schema() -> None:
    schema = json.loads(SCHEMA.read_text())
    with (receiver := Receiver()).running():
        channel = made("webhook", webhook_url=receiver.url + "/hook", webhook_secret="whsec")
        for reason in ("opened", "resolved"):
            channel.send(of(evil_risk(), reason))
        for request in receiver.requests:
            jsonschema.Draft202012Validator(schema).validate(request.json)
            signature = request.headers["x-forewarn-signature"]
            assert verify("whsec", request.body, signature, time.time())
            assert not verify("whsec", request.body + b" ", signature, time.time())
            assert not verify("other", request.body, signature, time.time())
            assert not verify("whsec", request.body, signature, time.time() + 3600), "an old one is not taken again"
        assert [r.headers["idempotency-key"] for r in receiver.requests] == ["m-opened-1", "m-resolved-1"]
        assert [r.json["open"] for r in receiver.requests] == [True, False]
        channel.close()


@pytest.mark.parametrize(
    ("kind", "answer", "permanent"),
    [
        ("webhook", (500, b"oops", {}), False), ("webhook", (404, b"", {}), True), ("webhook", (429, b"", {}), False),
        ("pagerduty", (500, b"", {}), False), ("pagerduty", (400, b"bad key", {}), True),
        ("pagerduty", (429, b"", {}), False), ("pagerduty", (401, b"", {}), False),
        ("slack", (200, b'{"ok":false,"error":"invalid_blocks"}', {"Content-Type": "application/json"}), True),
        ("slack", (200, b'{"ok":false,"error":"not_in_channel"}', {"Content-Type": "application/json"}), False),
        ("slack", (500, b"<html>", {}), False), ("slack_webhook", (403, b"invalid_token", {}), False),
        ("alertmanager", (503, b"", {}), False), ("alertmanager", (400, b"bad label", {}), True),
    ],
)  # fmt: skip
def test_what_a_server_refuses_is_tried_again_or_not(kind: str, answer: Any, permanent: bool, tls: Path) -> None:
    with (receiver := Receiver(refuse=answer, certificate=tls if kind == "pagerduty" else None)).running():
        url = receiver.url
        channel = made(
            kind, webhook_url=url, pagerduty_url=url, slack_url=url, slack_webhook_url=url + HOOK, alertmanager_url=url
        )
        started = time.monotonic()
        with pytest.raises(Undelivered) as caught:
            channel.send(of(risk(0)))
        assert caught.value.permanent is permanent
        assert time.monotonic() - started < 5, "the outbox waits, not the channel"
        channel.close()


@pytest.mark.parametrize("kind", ["slack", "slack_webhook", "pagerduty", "webhook", "alertmanager"])
@pytest.mark.parametrize("echo", [True, False])
def test_secrets_are_in_no_error_log_or_receipt(
    kind: str, echo: bool, caplog: pytest.LogCaptureFixture, tls: Path
) -> None:
    """Also where a server repeats what it got, or nobody listens, with everything logged."""
    secrets = {
        "slack_bot_token": "xoxb-SECRET-1", "pagerduty_routing_key": "SECRET2" + KEY[7:], "webhook_secret": "SECRET-3",
        "alertmanager_user": "u", "alertmanager_password": "SECRET-4",
    }  # fmt: skip
    caplog.set_level(logging.DEBUG)
    said: list[str] = []
    text = " ".join([*secrets.values(), "SECRET-5"]).encode()
    with (receiver := Receiver(refuse=(500, text, {}), certificate=tls if kind == "pagerduty" else None)).running():
        url = receiver.url if echo else receiver.url.replace(str(receiver.port), str(free_port()))
        hook = f"{url}/services/SECRET-5"
        channel = made(
            kind,
            **secrets,
            webhook_url=url,
            pagerduty_url=url,
            slack_url=url,
            slack_webhook_url=hook,
            alertmanager_url=url,
        )
        try:
            said.append(str(channel.send(of(risk(0)))))
        except Undelivered as error:
            said += [str(error), str(error.__cause__)]
        channel.close()
    mine = {"slack": "SECRET-1", "slack_webhook": "/services/SECRET-5", "pagerduty": "SECRET2", "webhook": "SECRET-3"}
    secret = mine.get(kind, "SECRET-4")
    assert said and secret not in " ".join(said) and secret not in caplog.text


@pytest.fixture
def alertmanager(tmp_path: Path) -> Iterator[str]:
    """A real Alertmanager."""
    binary = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
    if binary is None:
        pytest.skip("needs Alertmanager: apt-get install prometheus-alertmanager")
    port = free_port()
    config = tmp_path / "alertmanager.yml"
    config.write_text("route: {receiver: none, group_wait: 0s}\nreceivers: [{name: none}]\n")
    process = subprocess.Popen(
        [binary, f"--config.file={config}", f"--storage.path={tmp_path}", f"--web.listen-address=127.0.0.1:{port}",
         "--cluster.listen-address="],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_for_port(port, 30)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def active(url: str) -> list[dict[str, Any]]:
    answer = httpx.get(f"{url}/api/v2/alerts", params={"active": "true"}, timeout=10)
    return [a for a in answer.json() if a["status"]["state"] == "active"]


def test_alertmanager_has_the_alert_as_long_as_it_is_open(alertmanager: str) -> None:
    channel = made("alertmanager", alertmanager_url=alertmanager)
    opened = of(evil_risk())
    receipt = channel.send(opened) or {}
    (alert,) = eventually(lambda: active(alertmanager))
    assert alert["labels"] == receipt["labels"] and alert["labels"]["team_name"] == "ops"
    assert alert["annotations"]["description"].startswith("shop/<!channel>")
    time.sleep(0.01)
    channel.refresh([opened])  # type: ignore[attr-defined]
    (again,) = active(alertmanager)
    assert again["fingerprint"] == alert["fingerprint"] and again["endsAt"] > alert["endsAt"]
    worse = replace(
        opened, incident=replace(opened.incident, severity="critical"), reason="raised", receipts=(receipt,)
    )
    new = channel.send(worse) or {}
    (alert,) = active(alertmanager)
    assert alert["labels"]["severity"] == "critical", "the alert under the old labels has ended"
    over = replace(
        worse, reason="resolved", incident=replace(worse.incident, state="resolved"), receipts=(receipt, new)
    )
    channel.send(over)
    assert eventually(lambda: active(alertmanager) == [])
    channel.close()


def test_the_sample_passes_every_check(slack: Slack, pagerduty: PagerDuty) -> None:
    incident = "00000000-0000-4000-8000-000000000001"
    for channel in (made("slack", slack_url=f"{slack.url}/api/"), made("pagerduty", pagerduty_url=pagerduty.url)):
        receipts: tuple[Receipt, ...] = ()
        for reason in ("opened", "withdrawn"):
            message = sample_notification(reason, incident, "https://x.example", "c", SIGNER, receipts)
            receipts = (*receipts, channel.send(message) or {})
        channel.close()
    assert slack.errors == pagerduty.errors == [] and list(pagerduty.alerts.values()) == ["resolve"]
