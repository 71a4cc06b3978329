"""Channel 'webhook': the message as JSON (docs/alerting-webhook.schema.json), signed."""

import hashlib
import hmac
import json
import time
from typing import Any

import msgspec

from forewarn.alerting import wording
from forewarn.alerting.channel import Digest, Notification, Receipt, Undelivered, redacted
from forewarn.alerting.slack import retry_after
from forewarn.incidents.paging import CLOSINGS

TIMEOUT_SECONDS = 10.0
SCHEMA_VERSION = 1
_AGAIN = (408, 425, 429)


class WebhookChannel:
    """Posts to one address. A repetition has the same Idempotency-Key."""

    def __init__(self, name: str, url: str, secret: str | None) -> None:
        import httpx

        self.name = name
        self._url, self._secret = url, secret
        self._client = httpx.Client(timeout=TIMEOUT_SECONDS, follow_redirects=False)

    def send(self, notification: Notification) -> Receipt | None:
        """See Channel."""
        import httpx

        body = json.dumps(payload_of(notification), ensure_ascii=False, separators=(",", ":")).encode()
        headers = {
            "Content-Type": "application/json", "User-Agent": "forewarn", "Idempotency-Key": notification.message_id,
        }  # fmt: skip
        if self._secret:
            headers["X-Forewarn-Signature"] = signature(self._secret, body, int(time.time()))
        try:
            answer = self._client.post(self._url, content=body, headers=headers)
        except httpx.HTTPError as error:
            text = redacted(f"{type(error).__name__}: {error}", self._secret, self._url)
            raise Undelivered(f"webhook: {text}") from None
        if not answer.is_success:
            again = answer.status_code >= 500 or answer.status_code in _AGAIN
            said = redacted(answer.text, self._secret, self._url)
            raise Undelivered(f"webhook: {answer.status_code} {said}", not again, retry_after(answer.headers))
        return None

    def send_digest(self, digest: Digest) -> Receipt | None:
        """See Channel: a machine gets one request for each incident."""
        for notification in digest.notifications:
            self.send(notification)
        return None

    def close(self) -> None:
        """See Channel."""
        self._client.close()


def signature(secret: str, body: bytes, at: int) -> str:
    """`t=<unix seconds>,v1=<hex HMAC-SHA256 of "<t>." and the body>`."""
    mac = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256)
    return f"t={at},v1={mac.hexdigest()}"


def verify(secret: str, body: bytes, header: str, now: float, tolerance_seconds: float = 300.0) -> bool:
    """Whether a body is ours and not old; what a receiver does."""
    parts = dict(part.split("=", 1) for part in header.split(",") if "=" in part)
    at = parts.get("t", "")
    if not at.isdigit() or abs(now - int(at)) > tolerance_seconds:
        return False
    return hmac.compare_digest(signature(secret, body, int(at)), header)


def payload_of(notification: Notification) -> dict[str, Any]:
    """What is sent, as data."""
    incident = notification.incident
    return {
        "schema_version": SCHEMA_VERSION,
        "message_id": notification.message_id,
        "event": notification.reason,
        "open": notification.reason not in CLOSINGS,
        "headline": wording.headline(notification),
        "why": notification.why,
        "url": notification.url,
        "labels": dict(notification.labels),
        "evidence": wording.evidence(notification),
        "others": wording.affected(notification.others),
        "incident": msgspec.to_builtins(incident),
    }
