"""Whether it was Slack or PagerDuty who handed over what somebody answered there: their signatures."""

import hashlib
import hmac
from collections.abc import Mapping, Sequence

from pydantic import SecretStr


def secrets_of(setting: SecretStr | None) -> tuple[str, ...]:
    """The secrets of a setting, separated by commas: an old and a new one, or those of several senders."""
    text = setting.get_secret_value() if setting is not None else ""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def signed_by_slack(secrets: Sequence[str], body: bytes, headers: Mapping[str, str]) -> bool:
    """Whether one of the secrets made `X-Slack-Signature`, at most five minutes ago by `X-Slack-Request-Timestamp`."""
    from slack_sdk.signature import SignatureVerifier

    try:
        return any([SignatureVerifier(secret).is_valid_request(body, dict(headers)) for secret in secrets])  # noqa: C419
    except (ValueError, TypeError, OverflowError):  # no time, no UTF-8 in the body, no ASCII in the signature
        return False


def signed_by_pagerduty(secrets: Sequence[str], body: bytes, shown: str) -> bool:
    """Whether one of the secrets made one of the signatures of `X-PagerDuty-Signature`: `v1=<hex>,v1=<hex>`."""
    signatures = [part.strip().encode() for part in shown.split(",")]
    known = [b"v1=" + hmac.new(s.encode(), body, hashlib.sha256).hexdigest().encode() for s in secrets]
    return any([hmac.compare_digest(one, other) for one in known for other in signatures])  # noqa: C419  no timing
