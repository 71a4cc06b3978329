"""What PagerDuty's webhooks (v3) say: somebody acknowledged or resolved there what we had opened."""

import uuid
from dataclasses import dataclass

import msgspec

from forewarn.alerting.wording import one_line

# A person is on it, in both. That somebody closed it there does not say whether it fails: telemetry tells that.
_NOTES = {"incident.acknowledged": "", "incident.resolved": "resolved in PagerDuty"}
_NAMESPACE = uuid.UUID("e2f5d5b7-37f0-4a0c-8f3c-6f0a1e5b9c2d")


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """Somebody took it on. event_id: the same at each delivery. key: the dedup key under which we had opened it."""

    event_id: str
    key: str
    author: str
    note: str

    def answer_id(self, incident_id: str) -> str:
        """Identity of the answer about an incident: one page may be about several."""
        return str(uuid.uuid5(_NAMESPACE, f"{self.event_id}/{incident_id}"))


class _Agent(msgspec.Struct):
    id: str = ""
    type: str = ""
    summary: str | None = None


class _Data(msgspec.Struct):
    incident_key: str | None = None


class _Event(msgspec.Struct):
    id: str
    event_type: str
    agent: _Agent | None = None
    data: _Data | None = None


class _Body(msgspec.Struct):
    event: _Event


def read_event(body: bytes) -> Acknowledgement | str:
    """What somebody did, or why it is nothing to us. Raises ValueError: not from PagerDuty."""
    try:
        event = msgspec.json.decode(body, type=_Body).event
    except ValueError as error:
        raise ValueError(f"the body is no event of PagerDuty: {error}") from None
    if event.event_type not in _NOTES:
        return "another event"
    agent, data = event.agent or _Agent(), event.data or _Data()
    if agent.type != "user_reference":  # else what we tell PagerDuty would come back as an answer
        return "not by a person"
    author = f"{one_line(agent.summary or '', 60) or 'somebody'} (PagerDuty {one_line(agent.id, 30)})"
    return Acknowledgement(event.id, data.incident_key or "", author, _NOTES[event.event_type])
