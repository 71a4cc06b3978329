"""How PagerDuty's alerts and Slack's threads are found again, whatever was told together and deleted meanwhile."""

import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from slack_sdk.errors import SlackApiError

from forewarn.alerting.channel import Digest, Links, Notification, Receipt, Undelivered
from forewarn.alerting.messages import Message
from forewarn.alerting.pagerduty import PagerDutyChannel
from forewarn.alerting.sample import sample_notification
from forewarn.alerting.slack import SlackChannel
from forewarn.services.alerter.compose import shared_receipts
from forewarn.stores.in_memory.incidents import InMemoryIncidents
from forewarn.stores.in_memory.outbox import InMemoryOutbox

NOW = datetime(2026, 6, 2, 12, 0, tzinfo=UTC)
A, B, C, GROUP, OTHER = (str(uuid.uuid5(uuid.NAMESPACE_DNS, name)) for name in ("a", "b", "c", "group", "other"))
SIGNER: Any = SimpleNamespace(links=lambda *_: Links())


def of(reason: str, incident_id: str = A, receipts: tuple[Receipt, ...] = ()) -> Notification:
    sample = sample_notification("opened", incident_id, "https://x.example", "test", SIGNER, receipts)
    state = {"resolved": "resolved", "failed": "firing"}.get(reason, "predicted")
    return replace(sample, reason=reason, incident=replace(sample.incident, state=state))


class Paging:
    """PagerDuty's alerts by their keys, and an outbox whose messages are sent as the sender sends them."""

    def __init__(self) -> None:
        self.outbox, self.incidents = InMemoryOutbox(lambda: NOW), InMemoryIncidents()
        self.alerts: dict[str, str] = {}
        self._channel = PagerDutyChannel("pager", "R" * 32, "https://events.example.org")
        self._channel._client = SimpleNamespace(send_event=self._take)  # type: ignore[assignment]

    def tell(self, reason: str, *incident_ids: str, batch: str | None = None) -> None:
        """Together where there is a batch."""
        told = [self._noted(reason, incident_id, batch) for incident_id in incident_ids]
        made = tuple(self._made(reason, message) for message in told)
        receipt = (
            self._channel.send_digest(Digest(batch, made, False, "", "https://x.example"))
            if batch is not None
            else self._channel.send(made[0])
        )
        for message in told:
            self.outbox.mark(message.message_id, "sent", receipt=receipt)

    def _noted(self, reason: str, incident_id: str, batch: str | None) -> Message:
        incident = of(reason, incident_id).incident
        before = self.incidents.get(incident_id)
        self.incidents.put(replace(incident, version=before.version + 1 if before else 1))
        message = Message(
            str(uuid.uuid4()), incident_id, 1, "pager", reason, "pending", created_at=NOW, batch_id=batch,
        )  # fmt: skip
        self.outbox.put(message)
        return message

    def _made(self, reason: str, message: Message) -> Notification:
        earlier = self.outbox.sent(message.incident_id, "pager")
        made = of(reason, message.incident_id, tuple(m.receipt for m in earlier))
        return replace(made, shared=shared_receipts(self.incidents, self.outbox, earlier))

    def _take(self, action: str, dedup_key: str, **event: Any) -> None:
        self.alerts[dedup_key] = action


def test_an_incident_that_was_told_alone_and_in_a_group_leaves_no_alert_open() -> None:
    world = Paging()
    world.tell("opened", A)
    world.tell("opened", B)
    world.tell("failed", A, B, batch=GROUP)
    world.tell("resolved", A)
    assert world.alerts == {A: "resolve", B: "trigger", GROUP: "trigger"}, "the group's ends with its last incident"
    world.tell("resolved", B)
    assert set(world.alerts.values()) == {"resolve"}


def test_an_incident_of_two_groups_keeps_neither_alert_open() -> None:
    world = Paging()
    world.tell("opened", A, B, batch=GROUP)
    world.tell("failed", A, C, batch=OTHER)
    world.tell("resolved", C)
    world.tell("resolved", A)
    assert world.alerts == {GROUP: "trigger", OTHER: "resolve"}
    world.tell("resolved", B)
    assert set(world.alerts.values()) == {"resolve"}


class SlackClient:
    """Takes what is posted; what it is told to refuse, it refuses."""

    def __init__(self, **refused: str) -> None:
        self.refused, self.posted, self.updated = refused, list[str | None](), list[str]()

    def chat_update(self, ts: str, **_: Any) -> None:
        self._check("update", ts)
        self.updated.append(ts)

    def chat_postMessage(self, thread_ts: str | None = None, **_: Any) -> dict[str, str]:  # noqa: N802
        if thread_ts is not None:
            self._check("reply", thread_ts)
        self.posted.append(thread_ts)
        return {"channel": "C012345678", "ts": "2.0"}

    def files_upload_v2(self, **_: Any) -> None:
        pass

    def _check(self, what: str, ts: str) -> None:
        if ts == "1.0" and what in self.refused:
            raise SlackApiError("refused", {"ok": False, "error": self.refused[what]})


def slack(client: SlackClient) -> SlackChannel:
    channel = SlackChannel("chat", "xoxb-1", "C012345678", "https://slack.example.org/api/")
    channel._client = client  # type: ignore[assignment]
    return channel


FIRST: Receipt = {"channel": "C012345678", "ts": "1.0"}
ANEW: Receipt = {"channel": "C012345678", "ts": "2.0"}


@pytest.mark.parametrize("reason", ["failed", "resolved"])
@pytest.mark.parametrize(
    "refused", [{"update": "message_not_found"}, {"update": "cant_update_message"}, {"reply": "thread_not_found"}]
)
def test_what_is_to_be_told_is_posted_anew_where_the_first_message_is_gone(
    reason: str, refused: dict[str, str]
) -> None:
    client = SlackClient(**refused)
    assert slack(client).send(of(reason, receipts=(FIRST,))) == ANEW
    assert client.posted == [None]


@pytest.mark.parametrize("told", [(FIRST, ANEW), (FIRST, ANEW, {**FIRST, "digest": True})])
def test_what_follows_stands_under_what_was_posted_anew(told: Sequence[Receipt]) -> None:
    client = SlackClient(update="message_not_found")
    assert slack(client).send(of("resolved", receipts=tuple(told))) == ANEW
    assert (client.updated, client.posted) == (["2.0"], ["2.0"])


def test_what_slack_refuses_for_another_reason_is_tried_again() -> None:
    client = SlackClient(update="ratelimited")
    with pytest.raises(Undelivered, match="ratelimited") as caught:
        slack(client).send(of("failed", receipts=(FIRST,)))
    assert not caught.value.permanent and client.posted == []
