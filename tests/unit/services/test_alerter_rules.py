"""What follows from rules about predictions alone, which come and go."""

from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from forewarn.alerting.defaults import policy_of
from forewarn.alerting.rules.facts import Facts, OpenRisk
from forewarn.alerting.rules.firing import Key, subjects
from forewarn.alerting.rules.rule import Rule
from forewarn.config.settings import Settings
from forewarn.risk.records import TimeToFailure
from forewarn.services.alerter import rules as service
from forewarn.services.alerter.desk import Stores
from forewarn.services.alerter.dispatcher import Dispatcher
from forewarn.services.alerter.rules import Judged, Round, RuleDesk, RuleWatcher
from forewarn.services.alerter.rules_file import RulesInForce
from forewarn.stores.in_memory.audit import InMemoryAudit
from forewarn.stores.in_memory.feedback import InMemoryFeedback
from forewarn.stores.in_memory.incidents import InMemoryIncidents
from forewarn.stores.in_memory.ledger import InMemoryLedger
from forewarn.stores.in_memory.outbox import InMemoryOutbox

NOW = datetime(2026, 5, 5, 10, tzinfo=UTC)
SOON = Rule.model_validate({"name": "soon", "when": "time_to_failure(p50) < 2h", "keep_firing_for": "10m"})
RISK = OpenRisk("pool", "disk_full", NOW, 21_600.0, 0.9, TimeToFailure(3000.0, 5000.0, 7000.0, 0.1))


class NoStates:
    """Standings that are kept nowhere."""

    def all(self) -> dict[Key, Any]:
        return {}

    def keep(self, standings: object) -> None:
        pass

    def forget(self, keys: object) -> None:
        pass


class World:
    """A desk on in-memory stores, and rounds over one entity whose prediction is there or not."""

    def __init__(self) -> None:
        self.incidents = InMemoryIncidents()
        stores = Stores(
            InMemoryLedger(), self.incidents, InMemoryOutbox(lambda: NOW), InMemoryFeedback(), InMemoryAudit()
        )
        states: Any = NoStates()
        self.desk = RuleDesk(stores, states, Dispatcher(stores, lambda: policy_of(("console",))))

    def look(self, minutes: float, there: bool, *rules: Rule) -> int:
        """One round at so many minutes of event time; how many incidents are open after it."""
        at = NOW + timedelta(minutes=minutes)
        facts = Facts({"shop": at}, {}, {"shop/db": [RISK]} if there else {})
        judged = {
            Key(rule.name, s.entity, s.series_name): Judged(rule, rule.condition.verdict(s), s.at)
            for rule in rules
            for s in subjects(rule, facts, lambda entity: {})
        }
        self.desk.apply(Round(judged, rules, facts.clocks), [])
        return len(self.incidents.open_incidents())


def test_a_prediction_that_is_away_for_a_moment_ends_no_rule_before_its_keep_firing_for() -> None:
    world = World()
    rounds = [(0, True), (1, False), (2, True), (3, False), (12, True), (21, False)]
    assert [world.look(minutes, there, SOON) for minutes, there in rounds] == [1] * 6
    assert len(world.incidents.open_incidents(closed_since=NOW - timedelta(days=1))) == 1, "it is one firing"
    assert world.look(22, False, SOON) == 0


def test_a_rule_that_was_taken_out_ends_at_once() -> None:
    world = World()
    assert [world.look(0, True, SOON), world.look(1, True)] == [1, 0]


def test_rules_that_name_a_channel_are_taken_up_when_it_comes(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    file = RulesInForce(path)
    assert not file.refresh({"console"})
    assert file.known and file.notes == []
    path.write_text("rules: [{name: soon, when: time_to_failure(p50) < 2h, channels: [oncall]}]")
    assert not file.refresh({"console"})
    assert not file.known
    assert not file.refresh({"console"}), "said twice"
    assert file.refresh({"console", "oncall"})
    assert file.known and [rule.name for rule in file.rules] == ["soon"]
    assert not file.refresh({"console", "oncall", "mail"})
    assert not file.refresh({"console"})
    assert [rule.name for rule in file.rules] == ["soon"], "the old ones hold on"
    assert [action for action, _ in file.notes] == ["keep the old rules", "take up the rules", "keep the old rules"]


def test_the_watcher_goes_on_after_an_error_that_nobody_expected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[int] = []

    def look(connection: object) -> None:
        looked.append(1)
        if len(looked) == 2:
            watcher._stopped.set()
        raise ZeroDivisionError

    settings = Settings(rules=tmp_path / "rules.yaml", rules_seconds=0.001)
    watcher = RuleWatcher(settings, lambda: policy_of(("console",)), lambda name: None)
    monkeypatch.setattr(service.psycopg, "connect", lambda *_, **__: nullcontext())
    monkeypatch.setattr(watcher, "_watch", look)
    watcher._run()
    assert len(looked) == 2 and watcher.file.notes[-1][0] == "cannot evaluate the rules"
