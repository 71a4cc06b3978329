"""Channel 'alertmanager': alerts over Alertmanager's v2 API, so that a team's own routing goes on working."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from forewarn.alerting import wording
from forewarn.alerting.channel import Digest, Notification, Receipt, Undelivered, redacted
from forewarn.incidents.paging import CLOSINGS

TIMEOUT_SECONDS = 10.0
ALIVE = timedelta(minutes=5)  # without news from us, Alertmanager takes the alert for over after this
_NAME = re.compile(r"[^a-zA-Z0-9_]")


class AlertmanagerChannel:
    """Posts each incident as an alert and again while it is open; its end sets `endsAt`. An alert twice is one."""

    refresh_seconds = 60.0

    def __init__(self, name: str, url: str, user: str | None = None, password: str | None = None) -> None:
        import httpx

        self.name = name
        self._password = password
        auth = httpx.BasicAuth(user, password or "") if user else None
        self._client = httpx.Client(base_url=url.rstrip("/"), timeout=TIMEOUT_SECONDS, auth=auth)

    def send(self, notification: Notification) -> Receipt:
        """See Channel. Where the labels became others, the alert under the old ones ends."""
        now = datetime.now(UTC)
        alert = alert_of(notification, now)
        before = notification.receipts[-1].get("labels") if notification.receipts else None
        alerts = [alert]
        if isinstance(before, Mapping) and dict(before) != alert["labels"]:
            alerts.append({**alert, "labels": dict(before), "endsAt": _time(now)})
        self._post(alerts)
        return {"labels": alert["labels"]}

    def send_digest(self, digest: Digest) -> Receipt | None:
        """See Channel: grouping is Alertmanager's own work."""
        for notification in digest.notifications:
            self.send(notification)
        return None

    def refresh(self, notifications: Sequence[Notification]) -> None:
        """See KeepsAlive."""
        now = datetime.now(UTC)
        if notifications:
            self._post([alert_of(n, now) for n in notifications])

    def close(self) -> None:
        """See Channel."""
        self._client.close()

    def _post(self, alerts: list[dict[str, Any]]) -> None:
        import httpx

        try:
            answer = self._client.post("/api/v2/alerts", json=alerts)
        except httpx.HTTPError as error:
            raise Undelivered(f"Alertmanager: {redacted(f'{type(error).__name__}: {error}', self._password)}") from None
        if not answer.is_success:
            said = redacted(answer.text, self._password)
            raise Undelivered(f"Alertmanager: {answer.status_code} {said}", permanent=answer.status_code == 400)


def alert_of(notification: Notification, now: datetime) -> dict[str, Any]:
    """A postable alert of the v2 API."""
    incident, left = notification.incident, wording.countdown(notification)
    closed = notification.reason in CLOSINGS
    annotations = {
        "summary": wording.one_line(incident.title),
        "description": wording.sentence(notification),
        "time_left": f"{left[0]} ({left[1]})" if left else "",
        "what_to_do": "; ".join(text for text, _ in wording.advice(incident.actions)),
        "state": incident.state,
        "why": wording.plain_why(notification),
    }
    # Event time may lie in a replayed past: an alert that begins after it ends is refused, one of long ago is not.
    return {
        "labels": labels_of_alert(notification),
        "annotations": {name: text for name, text in annotations.items() if text},
        "startsAt": _time(min(incident.opened_at, now)),
        "endsAt": _time(now if closed else now + ALIVE),
        "generatorURL": notification.url,
    }


def labels_of_alert(notification: Notification) -> dict[str, str]:
    """`alertname`, ours and those of the alerting file, with names that Prometheus allows."""
    labels = {_NAME.sub("_", name): wording.one_line(value, 500) for name, value in notification.labels.items()}
    labels.pop("state", None)  # it changes; an alert is known by its labels
    incident = notification.incident
    own = {"entity": incident.entity, "mode": incident.mode, "severity": incident.severity, "signal": incident.signal}
    labels |= {name: wording.one_line(value, 500) for name, value in own.items()}
    return {"alertname": "Forewarn", **{k: v for k, v in labels.items() if v}, "incident": incident.incident_id}


def _time(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
