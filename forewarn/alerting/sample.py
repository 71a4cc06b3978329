"""A made-up incident, to test channels with."""

import math
import uuid
from datetime import UTC, datetime

from forewarn.alerting.channel import Notification, Receipt
from forewarn.alerting.links import LinkSigner
from forewarn.alerting.matching import labels_of
from forewarn.incidents.episodes import Episode
from forewarn.incidents.records import Incident
from forewarn.risk.records import Action, Driver, Forecast, Risk, TimeToFailure, episode_of

_ENTITY, _SIGNAL, _MODE, _LIMIT = "forewarn/test", "db.client.connections.usage", "connection_exhaustion", 100.0
_TITLE = "forewarn/test: a test message, nothing is wrong"


def sample_notification(
    reason: str, incident_id: str, url: str, channel: str, signer: LinkSigner, receipts: tuple[Receipt, ...] = ()
) -> Notification:
    """A message that says that it is a test. reason: 'opened' or 'withdrawn'."""
    now = datetime.now(UTC).replace(microsecond=0)
    risk = _risk(now)
    cause = Episode(risk.episode, _ENTITY, _SIGNAL, _MODE, now, risk, risk, limit=_LIMIT)
    is_open = reason == "opened"
    incident = Incident(
        incident_id=incident_id, version=1 if is_open else 2, state="predicted" if is_open else "withdrawn",
        severity="warning", title=_TITLE, entity=_ENTITY, signal=_SIGNAL, mode=_MODE, episodes=[risk.episode],
        opened_at=now, updated_at=now, time_to_failure=risk.time_to_failure if is_open else None, failed_at=None,
        drivers=risk.drivers, actions=risk.actions, summary=_summary(is_open),
    )  # fmt: skip
    return Notification(
        message_id=str(uuid.uuid5(uuid.UUID(incident_id), reason)), thread=tuple("" for _ in receipts), reason=reason,
        incident=incident, subject=_TITLE, cause=cause, others=(), url=url, why="someone ran `forewarn alerts test`",
        receipts=receipts, labels=labels_of(incident), links=signer.links(incident_id, 1, channel),
    )  # fmt: skip


def sample_incident(entity: str, now: datetime) -> Incident:
    """A made-up incident of an entity, to try responses with."""
    risk = _risk(now)
    return Incident(
        incident_id=str(uuid.uuid4()), version=1, state="predicted", severity="warning",
        title=f"{entity}: a made-up incident", entity=entity, signal=_SIGNAL, mode=_MODE, episodes=[risk.episode],
        opened_at=now, updated_at=now, time_to_failure=risk.time_to_failure, failed_at=None, drivers=risk.drivers,
        actions=risk.actions, summary=_summary(True),
    )  # fmt: skip


def _summary(is_open: bool) -> str:
    if is_open:
        return "This is a test of Forewarn's alerts. A real one says here what will fail, when, why and what to do."
    return "The test is over. What was opened for it is closed again."


def _risk(now: datetime) -> Risk:
    """History and a forecast that reaches its limit in two hours."""
    past, future = [60.0 * (i - 120) for i in range(121)], [300.0 * i for i in range(37)]
    middle = [60 + 40 * t / 7200 for t in future]
    forecast = Forecast(
        past, [40 + i / 6 + 2 * math.sin(i / 5) for i in range(121)], future,
        [m - t / 900 for m, t in zip(middle, future, strict=True)], middle,
        [m + t / 700 for m, t in zip(middle, future, strict=True)],
    )  # fmt: skip
    return Risk(
        episode_of(_ENTITY, _SIGNAL, _MODE, now), 0, "open", _ENTITY, _SIGNAL, _MODE, now, 6 * 3600.0, 0.9,
        TimeToFailure(5400.0, 7200.0, 10_800.0, 0.1), 60.0, _LIMIT, "", [Driver(_ENTITY, _SIGNAL, "a test", 1.0)],
        ["made up"], [Action("nothing: this is a test")], forecast, "test",
    )  # fmt: skip
