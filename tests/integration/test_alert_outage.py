"""All channels at once, with an alerter that is killed while it sends: each state is told once."""

import json
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alert_receivers import PagerDuty, Receiver, Slack, certificate
from alerter_stack import Stack, eventually, stack_on
from incident_records import clock, failure, recovery, risk
from servers import free_port

SECRETS = {
    "slack_bot_token": Slack.token, "pagerduty_routing_key": "feedfacefeedfacefeedfacefeedface",
    "webhook_secret": "whsec-very-secret", "alertmanager_password": "am-very-secret",
    "smtp_password": "smtp-very-secret",
}  # fmt: skip
CHANNELS = ("email", "slack", "pagerduty", "webhook", "alertmanager")
FILE = """\
channels:
  email: {kind: email}
  slack: {kind: slack}
  pagerduty: {kind: pagerduty}
  webhook: {kind: webhook}
  alertmanager: {kind: alertmanager}
route: {channels: [email, slack, pagerduty, webhook, alertmanager], group_wait: 100ms}
"""


class Servers:
    """One server a channel. While `hold` is set, nobody is answered, as in the moment in which a process is killed."""

    def __init__(self, tls: Path) -> None:
        self.slack, self.pagerduty = Slack(), PagerDuty(certificate=tls)
        self.webhook, self.alertmanager = Receiver(), Receiver()
        self.taken: set[str] = set()
        self.hold = threading.Event()
        self.go_on = threading.Event()

    def named(self) -> dict[str, Receiver]:
        return {
            "slack": self.slack, "pagerduty": self.pagerduty, "webhook": self.webhook,
            "alertmanager": self.alertmanager,
        }  # fmt: skip

    def note(self, channel: str) -> None:
        self.taken.add(channel)
        if self.hold.is_set():
            self.go_on.wait(60)


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    servers = Servers(certificate(tmp_path))
    with ExitStack() as running:
        for name, server in servers.named().items():
            server.on_request = lambda request, name=name: servers.note(name)  # type: ignore[misc]
            running.enter_context(server.running())
        yield servers


@pytest.fixture
def stack(own_broker: str, postgres_url: str, tmp_path: Path, servers: Servers) -> Iterator[Stack]:
    file = tmp_path / "alerting.yaml"
    file.write_text(FILE)
    stack = stack_on(
        own_broker, postgres_url, free_port(), tmp_path, alerting=file, slack_url=f"{servers.slack.url}/api/",
        slack_channel=Slack.channel, pagerduty_url=servers.pagerduty.url, webhook_url=servers.webhook.url,
        alertmanager_url=servers.alertmanager.url, alertmanager_user="u", log_level="DEBUG", **SECRETS,
    )  # fmt: skip
    stack.environment["SSL_CERT_FILE"] = str(tmp_path / "server.pem")
    stack.inbox.start()
    yield stack
    stack.inbox.stop()


def rows(url: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(query.encode()).fetchall()


def sent(url: str) -> int:
    return len(rows(url, "select from outbox where status = 'sent'"))


def test_killed_while_every_channel_takes_a_message_each_state_is_told_once(
    stack: Stack, servers: Servers, postgres_url: str
) -> None:
    stack.inbox.on_mail = lambda: servers.note("email")
    servers.hold.set()
    with stack.process() as first:
        stack.send(risk(0))
        eventually(lambda: servers.taken == set(CHANNELS), 90)
        first.send_signal(signal.SIGKILL)
        first.wait()
    servers.hold.clear()
    servers.go_on.set()
    assert sent(postgres_url) == 0, "all have it, and nobody has written down that they have"
    with stack.process():
        eventually(lambda: sent(postgres_url) == 5, 90)
        stack.send(failure(110), clock(111))
        eventually(lambda: sent(postgres_url) >= 10, 60)
        stack.send(recovery(130), clock(131))
        eventually(
            lambda: len(rows(postgres_url, "select from outbox where reason='resolved' and status='sent'")) == 5, 60
        )
    _each_state_once(stack, servers)
    _no_secret_is_kept(stack, servers, postgres_url)


def _each_state_once(stack: Stack, servers: Servers) -> None:
    assert len({m["Message-ID"] for m in stack.inbox.mails}) == 3 and len(stack.inbox.mails) <= 4
    assert len(servers.slack.roots) == 1, "found again by its metadata, not posted again"
    assert [m["text"].partition(",")[0] for m in servers.slack.replies if m["text"].startswith("It has failed")] != []
    assert len(servers.slack.replies) == len({json.dumps(m["metadata"]) for m in servers.slack.replies})
    assert list(servers.pagerduty.alerts.values()) == ["resolve"]
    told = [(r.headers["idempotency-key"], r.json["event"]) for r in servers.webhook.requests]
    once = sorted(event for _, event in set(told) if event != "updated")
    assert once == ["failed", "opened", "resolved"]
    labels = {json.dumps(a["labels"], sort_keys=True) for r in servers.alertmanager.requests for a in r.json}
    assert len({json.loads(one)["incident"] for one in labels}) == 1
    assert servers.slack.errors == servers.pagerduty.errors == []


def _no_secret_is_kept(stack: Stack, servers: Servers, postgres_url: str) -> None:
    for table in ("outbox", "audit", "incidents", "service_status"):
        text = str(rows(postgres_url, f"select to_jsonb(t)::text from {table} t"))  # noqa: S608
        assert not [name for name, secret in SECRETS.items() if secret in text], table


def test_a_file_that_changes_is_taken_up_and_a_wrong_one_is_not(
    stack: Stack, servers: Servers, postgres_url: str
) -> None:
    file = stack.settings.alerting
    assert file is not None
    file.write_text("channels: {webhook: {kind: webhook}}\nroute: {channels: [webhook], group_wait: 0s}\n")
    with stack.alerter():
        stack.send(risk(0))
        eventually(lambda: len(servers.webhook.requests) == 1)
        file.write_text("channels: {webhook: {kind: wbhook}}\nroute: {channels: [webhook]}\n")
        eventually(lambda: rows(postgres_url, "select from audit where action = 'keep the old alerting file'"))
        stack.send(risk(0, "shop/cache"))
        eventually(lambda: len(servers.webhook.requests) == 2)
        file.write_text("channels: {email: {kind: email}}\nroute: {channels: [email], group_wait: 0s}\n")
        eventually(lambda: rows(postgres_url, "select from audit where action = 'take up the alerting file'"))
        stack.send(risk(0, "shop/other"))
        eventually(lambda: any("shop/other" in subject for subject in stack.inbox.subjects))
    assert len(servers.webhook.requests) == 2
    (reason,) = rows(postgres_url, "select reason from audit where action = 'keep the old alerting file'")[0]
    assert "alerting.yaml:1:28: channels.webhook.kind" in reason
