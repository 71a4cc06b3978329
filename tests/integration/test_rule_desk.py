"""What follows from rules, on PostgreSQL alone: risks, channels of a rule's own, limits of how much is told."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from incident_records import risk

from forewarn.alerting.defaults import policy_of
from forewarn.alerting.policy import Policy
from forewarn.alerting.rules.file import parse_rules
from forewarn.config.settings import Settings
from forewarn.incidents.records import Incident
from forewarn.services.alerter import rules as service
from forewarn.services.alerter.desk import Stores
from forewarn.services.alerter.dispatcher import Dispatcher
from forewarn.services.alerter.rules import RuleDesk, RuleWatcher
from forewarn.stores.audit import PostgresAudit
from forewarn.stores.feedback import PostgresFeedback
from forewarn.stores.incidents import PostgresIncidents
from forewarn.stores.ledger import PostgresLedger
from forewarn.stores.outbox import PostgresOutbox
from forewarn.stores.rule_history import try_rules
from forewarn.stores.rule_states import RuleStates
from forewarn.stores.views import now_view

RULES = """
rules:
  - name: pool
    when: probability(saturation, 6h) > 0.5 and entity.namespace == 'shop'
    keep_firing_for: 0s
    channels: [email]
"""


class World:
    """A database, a rules file, and a desk that can be replaced as after a kill."""

    def __init__(self, connection: psycopg.Connection[Any], url: str, path: Path) -> None:
        self.connection = connection
        self.path = path
        self.policy: Policy = policy_of(("console", "email"), group_wait=0)
        self.stores = Stores(
            PostgresLedger(connection), PostgresIncidents(connection), PostgresOutbox(connection),
            PostgresFeedback(connection), PostgresAudit(connection),
        )  # fmt: skip
        path.write_text(RULES)
        self.watcher = RuleWatcher(Settings(postgres_url=url, rules=path), lambda: self.policy, lambda name: None)
        self.restart()

    def restart(self) -> None:
        self.dispatcher = Dispatcher(self.stores, self.watcher.policy)
        self.desk = RuleDesk(self.stores, RuleStates(self.connection), self.dispatcher)

    def look(self) -> int:
        """One round and what follows from it."""
        self.watcher.file.refresh(set(self.policy.channels))
        with self.connection.transaction():
            told = self.desk.apply(self.watcher.evaluate(self.connection), self.watcher.file.notes)
            self.dispatcher.sweep()
        return told

    def messages(self) -> list[tuple[str, str]]:
        return self.connection.execute("select channel, reason from outbox order by created_at").fetchall()

    def incidents(self) -> list[Incident]:
        return self.stores.incidents.open_incidents()


@pytest.fixture
def world(postgres_url: str, tmp_path: Path) -> Any:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        yield World(connection, postgres_url, tmp_path / "rules.yaml")


def test_a_rule_over_risks_tells_its_own_channels_once_and_ends_when_the_risk_does(world: World) -> None:
    ledger, made = world.stores.ledger, risk(0)
    ledger.set_watermark("shop", made.predicted_at)
    assert world.look() == 0
    ledger.add_risk(made)
    assert world.look() == 1
    assert world.look() == 0
    world.restart()
    assert world.look() == 0
    assert world.messages() == [("email", "failed")]
    (incident,) = world.incidents()
    assert incident.labels == {"rule": "pool"}
    assert "the probability of saturation within 6 h is" in incident.summary
    assert [i.incident_id for i in now_view(world.connection).incidents] == [incident.incident_id]
    ledger.add_risk(risk(5, revision=1, opened=0, state="withdrawn"))
    ledger.set_watermark("shop", made.predicted_at + timedelta(minutes=5))
    assert world.look() == 1
    assert world.incidents() == []
    assert world.messages() == [("email", "failed"), ("email", "resolved")]


def test_a_rule_that_is_taken_out_ends_and_one_that_is_too_wide_is_bounded(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "MOST_FIRING", 2)
    for number in range(4):
        made = risk(0, f"shop/s{number}")
        world.stores.ledger.add_risk(made)
    world.stores.ledger.set_watermark("shop", made.predicted_at)
    assert world.look() == 2
    assert world.look() == 0
    assert world.stores.audit.about("rule pool")[0][:2] == ("rules", "withhold")
    world.path.write_text("rules: []")
    assert world.look() == 2
    assert world.incidents() == []


def test_history_of_risks_knows_when_they_were_taken_back(world: World) -> None:
    ledger, made = world.stores.ledger, risk(10)
    for each in (made, risk(40, revision=1, opened=10, state="withdrawn")):
        ledger.add_risk(each)
    ledger.set_watermark("shop", made.predicted_at + timedelta(hours=2))
    (trial,) = try_rules(world.connection, parse_rules(RULES).rules, lambda entity: {}, timedelta(hours=4))
    (firing,) = trial.firings
    assert timedelta(0) <= firing.fired_at - made.predicted_at <= timedelta(minutes=5)
    assert firing.ended_at is not None
    assert timedelta(minutes=25) <= firing.ended_at - firing.fired_at <= timedelta(minutes=35)
