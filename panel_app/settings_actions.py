"""What editors do on the settings page: make and end silences, send a test to a channel; each is audited."""

import re
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from forewarn.alerting.channel import Receipt, Undelivered
from forewarn.alerting.durations import parse_duration
from forewarn.alerting.links import LinkSigner
from forewarn.alerting.matching import describe
from forewarn.alerting.policy_file import PolicyError
from forewarn.alerting.registry import ChannelError, make_channel
from forewarn.alerting.sample import sample_notification
from forewarn.config.settings import Settings
from forewarn.stores.audit import PostgresAudit
from forewarn.stores.feedback import PostgresFeedback, Silence, check_silence, new_id
from panel_app.alerting_file import policy_in_force

Fields = Mapping[str, str]
LONGEST = timedelta(days=90)
TEST_EVERY_SECONDS = 10.0
_PAIR = re.compile(r"([A-Za-z_.][\w.-]*)\s*=\s*(.+)")
_tested: dict[str, float] = {}


def act(settings: Settings, author: str, action: str, fields: Fields) -> str:
    """Do it and say what was done. Raises ValueError that says what is wrong, psycopg.Error."""
    if action == "test":
        return _test(settings, author, fields.get("channel", ""))
    with psycopg.connect(settings.postgres_url.get_secret_value(), connect_timeout=3) as connection:
        if action == "silence":
            return _silence(connection, author, fields)
        if action == "end-silence":
            return _end(connection, author, fields.get("silence", ""))
    raise ValueError(f"'{action}' is not known here")


def silence_of(author: str, fields: Fields, now: datetime) -> Silence:
    """The silence that a form asks for. Raises ValueError."""
    matcher = {name: fields[name].strip() for name in ("entity", "mode", "severity") if fields.get(name, "").strip()}
    for part in filter(None, (p.strip() for p in fields.get("others", "").split(","))):
        pair = _PAIR.fullmatch(part)
        if pair is None:
            raise ValueError(f"'{part}' is no matcher: write name=value, such as label.team=checkout")
        matcher[pair[1]] = pair[2].strip()
    span = parse_duration(fields.get("duration", "").strip())
    if not timedelta(0) < span <= LONGEST:
        raise ValueError("a silence lasts longer than nothing and at most 90 days")
    reason = fields.get("reason", "").strip()
    if not reason:
        raise ValueError("say why: whoever misses an alert will want to know")
    return check_silence(Silence(new_id(), matcher, now, now + span, reason, author))


def _silence(connection: psycopg.Connection[Any], author: str, fields: Fields) -> str:
    silence = silence_of(author, fields, datetime.now(UTC))
    PostgresFeedback(connection).add_silence(silence)
    about = describe(silence.matcher)
    PostgresAudit(connection).write(author, "silence", silence.silence_id, f"{about}: {silence.reason}")
    return f"Nobody is told of {about} for {fields['duration'].strip()}."


def _end(connection: psycopg.Connection[Any], author: str, silence_id: str) -> str:
    if not PostgresFeedback(connection).end_silence(str(uuid.UUID(silence_id)), datetime.now(UTC)):
        raise ValueError("this silence is over already")
    PostgresAudit(connection).write(author, "end silence", silence_id, "ended on the dashboard")
    return "The silence is over."


def _test(settings: Settings, author: str, channel: str) -> str:
    """As `forewarn alerts test`: a message that says that it is a test, and its end."""
    try:
        spec = policy_in_force(settings).channels.get(channel)
    except (PolicyError, OSError, UnicodeDecodeError) as error:
        raise ValueError(f"the alerting file cannot be used: {error}") from None
    if spec is None:
        raise ValueError(f"there is no channel '{channel}'")
    left = _tested.get(channel, -1e9) + TEST_EVERY_SECONDS - time.monotonic()
    if left > 0:
        raise ValueError(f"{channel} was tested just now; wait {left:.0f} s")
    _tested[channel] = time.monotonic()
    try:
        sender = make_channel(channel, spec, settings)
    except ChannelError as error:
        raise ValueError(str(error)) from None
    incident_id, signer, receipts = str(uuid.uuid4()), LinkSigner.of(settings), list[Receipt]()
    try:
        for reason in ("opened", "withdrawn"):
            url = settings.public_url.rstrip("/")
            message = sample_notification(reason, incident_id, url, channel, signer, tuple(receipts))
            receipts.append(sender.send(message) or {})
    except Undelivered as error:
        raise ValueError(f"{channel} did not take the message '{reason}': {error}") from None
    finally:
        sender.close()
    with psycopg.connect(settings.postgres_url.get_secret_value(), connect_timeout=3) as connection:
        PostgresAudit(connection).write(author, "test channel", channel, "a test message and its end were taken")
    return f"{channel} took a test message and its end."
