"""Evaluates a team's own rules in a thread, and enters what follows in the alerter's transaction."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

import psycopg
import structlog

from forewarn.alerting.policy import Policy
from forewarn.alerting.rules.condition import Verdict
from forewarn.alerting.rules.firing import Key, Standing, Step, fired, over, step, subjects, why_over
from forewarn.alerting.rules.rule import Rule, with_rules
from forewarn.config.settings import Settings
from forewarn.incidents.episodes import OPEN_STATES
from forewarn.services.alerter.dispatcher import AlertStores, Dispatcher
from forewarn.services.alerter.rules_file import RulesInForce
from forewarn.stores.rule_facts import SeriesOfRules, TooManySeriesError, all_needs, read_facts, series_of_rules
from forewarn.stores.rule_states import RuleStates
from forewarn.telemetry.samples import namespace_of

logger = structlog.get_logger(__name__)

ACTOR = "rules"
MOST_FIRING = 100  # of one rule at a time: a rule that holds for everything is a mistake, not a thousand messages
_SERIES_SECONDS = 60.0
_QUERY_SECONDS = 10
_KEEP_SECONDS = timedelta(seconds=15)  # how far behind what is stored of a standing may be
_GONE = Verdict(None)
_NO_SERIES = SeriesOfRules({}, {})


@dataclass(frozen=True, slots=True)
class Judged:
    """A verdict about a series, and the event time that it holds for."""

    rule: Rule
    verdict: Verdict
    at: datetime


@dataclass(frozen=True, slots=True)
class Round:
    """All rules evaluated once; clocks: the event time of each namespace."""

    judged: Mapping[Key, Judged]
    rules: tuple[Rule, ...]
    clocks: Mapping[str, datetime]


class RuleWatcher:
    """Takes up the rules file and evaluates it every few seconds, on a connection of its own that only reads."""

    def __init__(self, settings: Settings, policy: Callable[[], Policy], count: Callable[[str], None]) -> None:
        options = f"-c statement_timeout={_QUERY_SECONDS * 1000} -c default_transaction_read_only=on"
        url = settings.postgres_url.get_secret_value()
        self._url = psycopg.conninfo.make_conninfo(url, application_name="rules", options=options, connect_timeout=5)
        self._policy, self._count = policy, count
        self._enabled, self._every = settings.rules is not None, settings.rules_seconds
        self.file = RulesInForce(settings.rules)
        self.file.refresh(set(policy().channels))
        self._series, self._series_at = _NO_SERIES, float("-inf")
        self._newest: Round | None = None
        self._said = ""
        self._routed: tuple[Policy, tuple[Rule, ...], Policy] | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="rules", daemon=True)

    def policy(self) -> Policy:
        """The alerting file's, with a route for each rule that names its channels."""
        policy, rules = self._policy(), self.file.rules
        if self._routed is None or self._routed[0] is not policy or self._routed[1] is not rules:
            self._routed = policy, rules, with_rules(policy, rules)
        return self._routed[2]

    def start(self) -> None:
        """Begin to evaluate; without a file nothing is done."""
        if self._enabled:
            self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(_QUERY_SECONDS)

    def take(self) -> Round | None:
        """The newest round that was not taken yet."""
        found, self._newest = self._newest, None
        return found

    def evaluate(self, connection: psycopg.Connection[Any], now: datetime | None = None) -> Round:
        """All rules once. Raises psycopg.Error, TooManySeriesError."""
        rules, policy = self.file.rules, self._policy()
        needs = [rule.condition.needs for rule in rules]
        if time.monotonic() - self._series_at > _SERIES_SECONDS:
            self._series, self._series_at = series_of_rules(connection, all_needs(needs)[0]), time.monotonic()
        facts = read_facts(connection, self._series, needs, now)
        labels = lru_cache(maxsize=None)(policy.own_labels)
        judged = {}
        for rule in rules:
            for subject in subjects(rule, facts, labels):
                key = Key(rule.name, subject.entity, subject.series_name)
                judged[key] = Judged(rule, rule.condition.verdict(subject), subject.at)
        return Round(judged, rules, facts.clocks)

    def _run(self) -> None:
        while not self._stopped.is_set():
            started = time.monotonic()
            try:
                with psycopg.connect(self._url, autocommit=True) as connection:
                    self._watch(connection)
            except (psycopg.Error, TooManySeriesError) as error:
                self._failed(str(error).strip())
            except Exception as error:  # of one rule or file: the others must go on
                logger.exception("rules: a look broke off")
                self._failed(f"{type(error).__name__}: {error}")
            self._stopped.wait(max(self._every, time.monotonic() - started))

    def _failed(self, error: str) -> None:
        self._count("rule_errors_total")
        logger.warning("rules cannot be evaluated, trying again", error=error)
        if error != self._said:
            self._said = error
            self.file.notes.append(("cannot evaluate the rules", error[:2000]))

    def _watch(self, connection: psycopg.Connection[Any]) -> None:
        while not self._stopped.is_set():
            started = time.monotonic()
            if self.file.refresh(set(self._policy().channels)):
                self._series_at = float("-inf")
            if self.file.known:
                self._newest = self.evaluate(connection)
                self._count("rule_rounds_total")
            # never more than a tenth of the time
            self._stopped.wait(max(self._every, 10 * (time.monotonic() - started)))


class RuleDesk:
    """Enters what follows from a round; it runs in its caller's transaction and lives for one term."""

    def __init__(self, stores: AlertStores, states: RuleStates, dispatcher: Dispatcher) -> None:
        self._stores, self._states, self._dispatcher = stores, states, dispatcher
        self._standing = states.all()
        self._stored = dict(self._standing)
        self._firing: Counter[str] = Counter()
        self._too_many: set[str] = set()

    def apply(self, found: Round | None, notes: list[tuple[str, str]]) -> int:
        """How many rules fired or ended."""
        while notes:
            action, reason = notes.pop(0)
            self._stores.audit.write(ACTOR, action, "rules file", reason)
        if found is None:
            return 0
        self._firing = Counter(k.rule for k, s in self._standing.items() if s.incident_id is not None)
        told = sum(self._judge(key, judged) for key, judged in found.judged.items())
        told += sum(self._gone(key, found) for key in set(self._standing) - set(found.judged))
        self._persist()
        return told

    def _judge(self, key: Key, judged: Judged) -> bool:
        before = self._standing.get(key)
        taken = step(judged.rule, key, before, judged.verdict, judged.at)
        if taken.event == "fire":
            return self._fire(key, judged, taken)
        self._set(key, taken.standing)
        if taken.event == "resolve" and before is not None:
            self._resolve(before, why_over(judged.verdict), judged.at)
            return True
        return False

    def _fire(self, key: Key, judged: Judged, taken: Step) -> bool:
        assert taken.standing is not None
        rule = judged.rule
        if self._firing[key.rule] >= MOST_FIRING:
            self._set(key, replace(taken.standing, incident_id=None))
            if key.rule not in self._too_many:
                self._too_many.add(key.rule)
                reason = f"it is told of {MOST_FIRING} at a time at most: make the condition narrower"
                self._stores.audit.write(ACTOR, "withhold", f"rule {rule.name}", reason)
            return False
        self._too_many.discard(key.rule)
        incident = fired(rule, key, taken.standing, judged.verdict, judged.at)
        self._set(key, taken.standing)
        self._firing[key.rule] += 1
        self._stores.incidents.put(incident)
        self._stores.audit.write(ACTOR, "fired", incident.incident_id, f"severity {rule.severity}: {incident.summary}")
        self._dispatcher.note(incident, True)
        return True

    def _gone(self, key: Key, found: Round) -> bool:
        """The rule or what it was about is not there any more; the latter may come back while the rule holds on."""
        before = self._standing[key]
        rule = next((rule for rule in found.rules if rule.name == key.rule), None)
        at = found.clocks.get(namespace_of(key.entity))
        if rule is not None and at is not None and step(rule, key, before, _GONE, at).standing is not None:
            return False
        self._set(key, None)
        if before.incident_id is not None:
            self._resolve(before, why_over(None), before.last_true)
        return before.incident_id is not None

    def _resolve(self, standing: Standing, why: str, at: datetime) -> None:
        incident = self._stores.incidents.get(standing.incident_id or "")
        if incident is None or incident.state not in OPEN_STATES:
            return
        ended = over(incident, why, max(at, incident.updated_at))
        self._stores.incidents.put(ended)
        self._stores.audit.write(ACTOR, "ended", ended.incident_id, ended.summary)
        self._dispatcher.note(ended, True)

    def _set(self, key: Key, standing: Standing | None) -> None:
        if standing is None:
            self._standing.pop(key, None)
        else:
            self._standing[key] = standing

    def _persist(self) -> None:
        gone = [key for key in self._stored if key not in self._standing]
        changed = {k: s for k, s in self._standing.items() if _differs(self._stored.get(k), s)}
        if gone:
            self._states.forget(gone)
        if changed:
            self._states.keep(changed)
        self._stored = {k: s for k, s in self._stored.items() if k in self._standing} | changed


def _differs(stored: Standing | None, now: Standing) -> bool:
    if stored is None or (stored.incident_id, stored.since) != (now.incident_id, now.since):
        return True
    return now.last_true - stored.last_true > _KEEP_SECONDS
