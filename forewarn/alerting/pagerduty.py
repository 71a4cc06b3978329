"""Channel 'pagerduty': Events API v2, one alert an incident by its dedup key."""

from typing import Any

from forewarn.alerting import wording
from forewarn.alerting.channel import Digest, Notification, Receipt, Undelivered, redacted
from forewarn.alerting.picture import alt_text
from forewarn.incidents.paging import CLOSINGS
from forewarn.telemetry.samples import namespace_of

TIMEOUT_SECONDS = 10


class PagerDutyChannel:
    """Triggers, acknowledges and resolves. An event twice is one: PagerDuty tells them apart by the dedup key."""

    def __init__(self, name: str, routing_key: str, url: str) -> None:
        from pagerduty import EventsApiV2Client

        if not url.startswith("https://"):
            raise ValueError("FOREWARN_PAGERDUTY_URL must begin with https://")
        self.name = name
        self._key = routing_key
        self._client = EventsApiV2Client(routing_key, base_url=url.rstrip("/"))
        self._client.timeout = TIMEOUT_SECONDS
        # the outbox repeats, with backoff; a wait in here would hold up the other messages
        self._client.retry, self._client.max_network_attempts, self._client.sleep_timer = {429: 1}, 0, 0

    def send(self, notification: Notification) -> Receipt:
        """See Channel."""
        keys = list(dict.fromkeys(r["dedup_key"] for r in notification.receipts if r.get("dedup_key")))
        keys = keys or [notification.incident.incident_id]
        action = action_of(notification.reason)
        if action == "trigger":
            self._submit(action, keys[0], **event_of(notification))
        else:
            shared = {r.get("dedup_key") for r in notification.shared}
            for key in keys:  # told alone and in groups, it has an alert of each
                if key not in shared:  # an alert of a whole group ends with the last of its incidents
                    self._submit(action, key)
        return {"dedup_key": keys[0]}

    def send_digest(self, digest: Digest) -> Receipt:
        """See Channel. One alert for all of them; it is resolved when the last of them is over."""
        opened = [n for n in digest.notifications if action_of(n.reason) == "trigger"]
        for notification in (n for n in digest.notifications if n not in opened):
            self.send(notification)
        if opened:
            self._submit("trigger", digest.message_id, **digest_event(digest))
        return {"dedup_key": digest.message_id}

    def close(self) -> None:
        """See Channel."""
        self._client.close()

    def _submit(self, action: str, dedup_key: str, **properties: Any) -> None:
        from pagerduty import Error

        try:
            self._client.send_event(action, dedup_key, **properties)
        except Error as error:
            response = error.response
            if response is None:
                raise Undelivered(f"PagerDuty: {redacted(str(error), self._key)}") from None
            status = response.status_code
            said = redacted(response.text, self._key)
            hint = " (is FOREWARN_PAGERDUTY_ROUTING_KEY right?)" if status in (400, 401, 403) else ""
            raise Undelivered(f"PagerDuty: {status} {said}{hint}", permanent=status in (400, 413, 422)) from None


def action_of(reason: str) -> str:
    """PagerDuty's word for a message."""
    if reason in CLOSINGS:
        return "resolve"
    return "acknowledge" if reason == "acknowledged" else "trigger"


def event_of(notification: Notification) -> dict[str, Any]:
    """payload, links, images and client of a trigger."""
    incident = notification.incident
    images = []
    if notification.links.picture and notification.cause.risk is not None:
        alt = wording.one_line(alt_text(notification.cause.risk), 900)
        images = [{"src": notification.links.picture, "href": notification.url, "alt": alt}]
    return {
        "payload": {
            "summary": wording.one_line(f"{wording.headline(notification)}: {wording.sentence(notification)}", 1024),
            "source": wording.one_line(incident.entity, 250),
            "severity": incident.severity,
            "timestamp": incident.updated_at.isoformat(),
            "component": wording.one_line(incident.signal, 250),
            "group": wording.one_line(namespace_of(incident.entity), 250),
            "class": incident.mode,
            "custom_details": _details(notification),
        },
        "links": _links(notification),
        "images": images,
        "client": "Forewarn",
        "client_url": notification.url,
    }


def digest_event(digest: Digest) -> dict[str, Any]:
    """The same for several incidents."""
    first = digest.notifications[0].incident
    worst = "critical" if any(n.incident.severity == "critical" for n in digest.notifications) else first.severity
    lines = {f"incident {i + 1}": wording.told_line(n) for i, n in enumerate(digest.notifications[:100])}
    return {
        "payload": {
            "summary": wording.one_line(wording.digest_title(digest), 1024),
            "source": wording.one_line(first.entity, 250),
            "severity": worst, "custom_details": {**lines, "why": wording.one_line(digest.why, 400)},
        },
        "links": [{"href": digest.url, "text": "Open Forewarn"}], "client": "Forewarn", "client_url": digest.url,
    }  # fmt: skip


def _details(notification: Notification) -> dict[str, Any]:
    incident, left = notification.incident, wording.countdown(notification)
    details = {
        "time left": f"{left[0]} ({left[1]})" if left else "",
        "what to do": [text for text, _ in wording.advice(incident.actions)],
        "why": wording.reasons(incident.drivers),
        "evidence": wording.evidence(notification),
        "also affected": wording.affected(notification.others),
        "told because": wording.plain_why(notification),
        **{name: wording.one_line(value, 200) for name, value in notification.labels.items()},
        "incident": incident.incident_id,
    }
    return {name: value for name, value in details.items() if value}


def _links(notification: Notification) -> list[dict[str, str]]:
    links = notification.links
    wanted = ((notification.url, "Open in Forewarn"), (links.confirm, "Confirm"), (links.dismiss, "False alarm"))
    return [{"href": href, "text": text} for href, text in wanted if href]
