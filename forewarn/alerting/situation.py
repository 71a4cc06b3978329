"""What is known when it is decided who is told: incidents with what was told of them, and what holds for all."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from forewarn.alerting.calendars import Maintenance
from forewarn.alerting.fix_times import FixTimes
from forewarn.alerting.matching import labels_of
from forewarn.alerting.messages import OPENINGS, TOLD_ONCE, Message
from forewarn.alerting.policy import Inhibition, Policy
from forewarn.alerting.silences import Silence
from forewarn.incidents.episodes import OPEN_STATES
from forewarn.incidents.paging import CLOSINGS
from forewarn.incidents.records import Incident
from forewarn.telemetry.samples import namespace_of

TOLD = ("pending", "sent", "failed")


@dataclass(frozen=True, slots=True)
class Answer:
    """Somebody answered: 'acknowledged', 'confirmed', 'dismissed', 'averted'. at: wall clock."""

    verdict: str
    author: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Case:
    """An incident and its messages, oldest first. answer: the last one ever given, None where there is none."""

    incident: Incident
    labels: Mapping[str, str]
    messages: tuple[Message, ...] = ()
    answer: Answer | None = None

    @classmethod
    def of(
        cls, incident: Incident, policy: Policy, messages: Sequence[Message] = (), answer: Answer | None = None
    ) -> "Case":
        """With the labels that the policy gives."""
        return cls(incident, labels_of(incident, policy.own_labels(incident.entity)), tuple(messages), answer)

    @property
    def is_open(self) -> bool:
        """Predicted or firing."""
        return self.incident.state in OPEN_STATES

    def told(self, channel: str) -> list[Message]:
        """What a channel was told or is being told, follow-ups included."""
        return [m for m in self.messages if m.channel == channel and m.status in TOLD]

    def states_told(self, channel: str) -> list[str]:
        """The states among them."""
        return [m.reason for m in self.told(channel) if m.reason in TOLD_ONCE]

    def last_state_told(self, channel: str) -> str:
        """The incident's state when the last of them left; '' where that is not known."""
        told = [m for m in self.told(channel) if m.reason in TOLD_ONCE]
        return str(told[-1].told.get("state", "")) if told else ""

    def held(self, channel: str | None = None) -> list[Message]:
        """What waits for a decision."""
        return [m for m in self.messages if m.status == "held" and channel in (None, m.channel)]

    @property
    def channels_told(self) -> list[str]:
        """Channels that know of it, in the order in which they were told."""
        return list(dict.fromkeys(m.channel for m in self.messages if m.status in TOLD and m.reason in TOLD_ONCE))

    @property
    def opened_at(self) -> datetime | None:
        """Wall clock of the last time that it opened, failed or came back; None where no channel is to hear of it.

        A channel that joins later hears the same opening again, which is no other one.
        """
        times: dict[tuple[str, int], datetime] = {}
        for m in self.messages:
            if m.reason in OPENINGS and m.status in (*TOLD, "held") and m.created_at is not None:
                times[m.reason, m.sequence] = min(m.created_at, times.get((m.reason, m.sequence), m.created_at))
        return max(times.values(), default=None)

    @property
    def standing_answer(self) -> Answer | None:
        """The last answer, unless it was given to something before: who dismissed a prediction knew of no failure."""
        if self.answer is None or self.opened_at is None or self.answer.at >= self.opened_at:
            return self.answer
        return None

    def waiting_since(self, channels: Sequence[str]) -> datetime | None:
        """When one of these channels first heard what nobody has answered since: after the last end and answer."""
        ends = [m.created_at for m in self.messages if m.status in TOLD and m.reason in CLOSINGS and m.created_at]
        after = max([*ends, *([self.answer.at] if self.answer is not None else [])], default=None)
        heard = (m.sent_at for m in self.messages if m.channel in channels and m.reason in OPENINGS)
        return min((t for t in heard if t is not None and (after is None or t > after)), default=None)


@dataclass(frozen=True, slots=True)
class GroupState:
    """first_held_at: since when something waits in a group; flushed_at: when it was last told."""

    first_held_at: datetime | None = None
    flushed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ChannelState:
    """released: when messages were released to a channel, as far back as its limit looks; a batch counts once.

    digest_at: when the last digest was. rate_held_at: since when something waits for the next one.
    """

    released: tuple[datetime, ...] = ()
    digest_at: datetime | None = None
    rate_held_at: datetime | None = None


def _independent(client: str, server: str) -> int | None:
    return None


@dataclass(frozen=True, slots=True)
class Situation:
    """All that a decision needs beside the case. now: wall clock. clocks: event clocks of namespaces.

    open_cases: what can inhibit; inhibitors: by rule, see `with_inhibitors`. hops(client, server): calls between by the
    service graph, None where the one does not depend on the other. ended: (channel, entity, mode) and when its last
    incident was told to be over.
    """

    now: datetime
    policy: Policy
    silences: Sequence[Silence] = ()
    windows: Sequence[Maintenance] = ()
    open_cases: Sequence[Case] = ()
    inhibitors: Sequence[tuple[Inhibition, Sequence[Case]]] = ()
    hops: Callable[[str, str], int | None] = _independent
    clocks: Mapping[str, datetime] = field(default_factory=dict)
    fix_times: FixTimes = field(default_factory=FixTimes)
    groups: Mapping[str, GroupState] = field(default_factory=dict)
    channels: Mapping[str, ChannelState] = field(default_factory=dict)
    ended: Mapping[tuple[str, str, str], datetime] = field(default_factory=dict)

    def elapsed_seconds(self, incident: Incident) -> float:
        """Event time since the prediction that the incident's time to failure is of."""
        return incident.elapsed_seconds(self.clocks.get(namespace_of(incident.entity)))


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of a message. verdict: 'send', 'hold' or 'drop'.

    code: what holds it: 'silence', 'maintenance', 'inhibited', 'cooldown', 'working_hours', 'group_wait',
    'group_interval', 'rate_limit'; why it is sent or dropped is words alone. due: when it is worth deciding again.
    """

    incident_id: str
    version: int
    channel: str
    reason: str
    sequence: int
    verdict: str
    why: str
    code: str | None = None
    due: datetime | None = None
    route: str = ""
    group_key: str = ""
    batch_id: str | None = None
    told: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Decisions, and when the next one may be due without anything happening (None: never).

    withheld: why nothing is to be told of a case, by incident.
    """

    decisions: tuple[Decision, ...] = ()
    wake_at: datetime | None = None
    withheld: Mapping[str, str] = field(default_factory=dict)


def earliest(*times: datetime | None) -> datetime | None:
    """The first of these; None where there is none."""
    return min((t for t in times if t is not None), default=None)
