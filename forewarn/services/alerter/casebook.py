"""Keeps the incidents: which episodes belong to which, the next version of each, what merges and what splits."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from forewarn.incidents.assembly import assemble, incident_id_of, is_news, merged, split_id_of
from forewarn.incidents.co_occurrence import CoOccurrence, Opening, learn
from forewarn.incidents.episodes import OPEN_STATES, Episode
from forewarn.incidents.graph import ServiceGraph
from forewarn.incidents.grouping import Group, assign
from forewarn.incidents.merging import merge_of, merges_by_graph, strangers, strangers_due
from forewarn.incidents.records import Incident
from forewarn.services.alerter.dispatcher import AlertStores, Dispatcher
from forewarn.services.alerter.episode_cache import EpisodeCache
from forewarn.telemetry.samples import namespace_of

ACTOR = "alerter"
_LEARN_SECONDS = 600.0
_AT_ONCE = datetime(1, 1, 1, tzinfo=UTC)


def _no_openings() -> Sequence[Opening]:
    return ()


def _nothing_like_it(entity: str, mode: str, before: datetime, but: str) -> str:
    return ""


def _nothing_done(episodes: Sequence[str]) -> Mapping[str, datetime]:
    return {}


@dataclass(frozen=True, slots=True)
class Past:
    """Where the casebook gets what was before.

    openings: what began when. last_like: a sentence on the last closed incident of an entity and mode that opened
    before a time and is not a certain one; '' where there is none. acted: episodes that something was done about that
    changes what happens, and when (event time).
    """

    openings: Callable[[], Sequence[Opening]] = _no_openings
    last_like: Callable[[str, str, datetime, str], str] = _nothing_like_it
    acted: Callable[[Sequence[str]], Mapping[str, datetime]] = _nothing_done


class Casebook:
    """Incidents of one alerter, in its caller's transaction."""

    def __init__(
        self, stores: AlertStores, episodes: EpisodeCache, window: timedelta, dispatcher: Dispatcher, past: Past
    ) -> None:
        self._stores, self._episodes, self._window, self._dispatcher = stores, episodes, window, dispatcher
        self._past = past
        self._edges = stores.incidents.edges()
        self._merged_by: list[tuple[str, str]] | None = None  # edges by which merges were looked for
        self._graph = ServiceGraph(self._edges)
        self._learned, self._learned_at = CoOccurrence(), float("-inf")
        self._users: tuple[dict[str, int], int] = {}, 0
        self._look_again = {  # of open incidents: their namespace, and when (event time)
            i.incident_id: (namespace_of(i.entity), _AT_ONCE) for i in stores.incidents.open_incidents()
        }
        self._track: dict[tuple[str, str], str] = {}
        self._like: dict[tuple[str, str, datetime, str], str] = {}
        dispatcher.use_graph(self._graph)

    def refresh_graph(self) -> None:
        """Read the service graph again and merge what it shows to be one; learn what begins together."""
        self._edges = self._stores.incidents.edges()
        if self._edges != self._merged_by:
            self._graph = ServiceGraph(self._edges)
            self._dispatcher.use_graph(self._graph)
            self._merge_by_graph()
            self._merged_by = self._edges
        if time.monotonic() - self._learned_at > _LEARN_SECONDS:
            self._users = self._stores.incidents.users()
            self._learned, self._learned_at = learn(self._past.openings(), self._window), time.monotonic()
        self._graph.users, self._graph.all_users = self._users
        self.forget_track_records()

    def forget_track_records(self) -> None:
        """A prediction has got its outcome."""
        self._track.clear()
        self._like.clear()

    def refresh_all(self, episodes: Sequence[str], at: datetime) -> None:
        """Bring the incidents of these episodes up to date; an episode without one gets one."""
        distinct = list(dict.fromkeys(episodes))
        linked = self._stores.incidents.incidents_of(distinct)
        for incident_id in dict.fromkeys(linked.values()):
            self.refresh(incident_id, at)
        for episode in distinct:
            if episode not in linked:
                self.open_or_join(episode, at)

    def open_or_join(self, episode_id: str, at: datetime) -> None:
        """The incident that the episode belongs to, or one of its own."""
        (episode,) = self._episodes.get([episode_id])
        if not episode.is_open and episode.failed_at is None:
            reason = f"{episode.state} before it belonged to an incident"
            self._stores.audit.write(ACTOR, "ignored", episode_id, reason)
            return
        groups = self._groups(namespace_of(episode.entity), at - self._window)
        decision = assign(episode, groups, self._graph, self._window, self._learned)
        incident_id = decision.incident_id or incident_id_of(episode)
        action = "grouped" if decision.incident_id else "opened"
        self.join(episode_id, incident_id, at, f"{episode.entity} {episode.signal}: {decision.reason}", action)

    def join(self, episode: str, incident_id: str, at: datetime, reason: str, action: str = "grouped") -> None:
        """Make an episode a member of an incident, which may be new."""
        self._stores.incidents.link(episode, incident_id)
        self._stores.audit.write(ACTOR, action, incident_id, reason)
        previous = self._stores.incidents.get(incident_id)
        self.refresh(incident_id, at, [*(previous.episodes if previous else ()), episode])

    def refresh(self, incident_id: str, at: datetime, members: Sequence[str] | None = None) -> None:
        """Make the next version of an incident, if there is news. members: where they are others than before."""
        previous = self._stores.incidents.get(incident_id)
        if members is None:
            if previous is None or previous.state == "merged":
                return
            members = previous.episodes
        ids = list(dict.fromkeys(members))
        episodes = self._episodes.get(ids)
        parts = strangers(episodes, self._graph, at, self._window)
        if parts:
            self._split(incident_id, episodes, parts, at)
        elif episodes:
            self._put(incident_id, previous, episodes, at)

    def look_again(self, namespace: str, until: datetime) -> None:
        """Split incidents whose cause has been over for long enough by now."""
        for incident_id in [i for i, (name, due) in self._look_again.items() if name == namespace and due <= until]:
            self._look_again.pop(incident_id, None)
            incident = self._stores.incidents.get(incident_id)
            if incident is not None and incident.state in OPEN_STATES:
                self.refresh(incident_id, until)

    def _put(self, incident_id: str, previous: Incident | None, episodes: Sequence[Episode], at: datetime) -> None:
        def before(cause: Episode) -> str:
            return self._before(cause, incident_id)

        incident, why = assemble(incident_id, previous, episodes, self._graph, at, self._window, before)
        due = strangers_due(episodes, self._graph, self._window)
        if incident.state not in OPEN_STATES:
            self._look_again.pop(incident_id, None)  # its namespace may be silent from now on
        elif due is not None and due > at:
            self._look_again[incident_id] = namespace_of(incident.entity), due
        if not is_news(previous, incident):
            return
        self._stores.incidents.put(incident)
        changed = previous is None or (previous.state, previous.severity) != (incident.state, incident.severity)
        if changed:
            self._stores.audit.write(ACTOR, incident.state, incident_id, f"severity {incident.severity}: {why}")
        self._dispatcher.note(incident, changed)
        if incident.state in OPEN_STATES and (previous is None or previous.episodes[0] != incident.episodes[0]):
            self._merge_with_others(Group(incident, tuple(self._episodes.get(incident.episodes))), at)

    def _merge_with_others(self, group: Group, at: datetime) -> None:
        """Its cause is new: it may explain others, or others explain it."""
        groups = {g.incident.incident_id: g for g in self._groups(namespace_of(group.incident.entity))}
        groups.pop(group.incident.incident_id, None)
        merge = merge_of(group, list(groups.values()), self._graph, self._window)
        if merge is not None:
            self._merge(group, groups[merge.other], merge.reason, at)

    def _merge_by_graph(self) -> None:
        """Each merge leaves one incident fewer."""
        while True:
            groups = {g.incident.incident_id: g for g in self._groups()}
            merge = merges_by_graph(list(groups.values()), self._graph, self._window)
            if merge is None:
                return
            one, other = groups[merge.one], groups[merge.other]
            self._merge(one, other, merge.reason, max(one.incident.updated_at, other.incident.updated_at))

    def _merge(self, one: Group, other: Group, reason: str, at: datetime) -> None:
        """The one that people know, else the older, goes on with the members of both; the other ends."""

        def order(group: Group) -> tuple[bool, datetime, str]:
            incident = group.incident
            return not self._stores.outbox.told(incident.incident_id), incident.opened_at, incident.incident_id

        stays, ends = sorted((one, other), key=order)
        keeps, goes, stores = stays.incident, ends.incident, self._stores
        last = merged(goes, keeps, at, reason)
        stores.incidents.put(last)
        self._look_again.pop(goes.incident_id, None)
        stores.incidents.move(goes.episodes, keeps.incident_id)
        stores.audit.write(ACTOR, "merged", goes.incident_id, f"merged into {keeps.incident_id}: {reason}")
        stores.audit.write(ACTOR, "merged", keeps.incident_id, f"took in {goes.incident_id}: {reason}")
        self._dispatcher.note(last, True)
        self.refresh(keeps.incident_id, at, [*keeps.episodes, *goes.episodes])

    def _split(
        self, incident_id: str, episodes: Sequence[Episode], parts: Sequence[tuple[Episode, ...]], at: datetime
    ) -> None:
        """What goes on by itself gets incidents of its own; the rest ends as it would have without them."""
        stores, gone = self._stores, {e.episode for part in parts for e in part}
        self._put(incident_id, stores.incidents.get(incident_id), [e for e in episodes if e.episode not in gone], at)
        for cause, *others in parts:
            new_id = split_id_of(cause, incident_id)
            members = [cause.episode, *(e.episode for e in others)]
            stores.incidents.move(members, new_id)
            reason = f"{cause.entity} {cause.signal} goes on although the cause is over for {self._window}"
            stores.audit.write(ACTOR, "split", incident_id, f"{reason}: now incident {new_id}")
            stores.audit.write(ACTOR, "split", new_id, f"{reason}: was part of {incident_id}")
            self.refresh(new_id, at, members)

    def _groups(self, namespace: str | None = None, closed_since: datetime | None = None) -> list[Group]:
        """Open incidents with their episodes, and those that closed since then."""
        incidents = self._stores.incidents.open_incidents(namespace, closed_since=closed_since)
        self._episodes.get([e for i in incidents for e in i.episodes])  # in one query
        found = ((i, self._episodes.get(i.episodes)) for i in incidents if i.state != "merged")
        return [Group(incident, tuple(episodes)) for incident, episodes in found if episodes]

    def _before(self, cause: Episode, incident_id: str) -> str:
        """How predictions like this one ended, and how the last incident like it did."""
        key = (cause.mode, namespace_of(cause.entity))
        if key not in self._track:
            self._track[key] = self._stores.ledger.track_record(*key).sentence
        if not cause.is_open:
            return self._track[key]
        like = (cause.entity, cause.mode, cause.onset_at, incident_id)
        if like not in self._like:
            self._like[like] = self._past.last_like(*like)
        return f"{self._track[key]} {self._like[like]}".strip()
