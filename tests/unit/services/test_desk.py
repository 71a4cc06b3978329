"""What the alerter makes of a sequence of records, on in-memory stores."""

import itertools
from datetime import timedelta

import pytest
from incident_records import DISK, ERRORS, LATENCY, SHOP_EDGES, at, clock, failure, recovery, risk

from forewarn.incidents.graph import ServiceGraph
from forewarn.incidents.records import Incident
from forewarn.risk.records import Risk, Watermark
from forewarn.services.alerter.casebook import Past
from forewarn.services.alerter.desk import Desk, Rules, Stores
from forewarn.stores.feedback import Feedback
from forewarn.stores.in_memory.audit import InMemoryAudit
from forewarn.stores.in_memory.feedback import InMemoryFeedback
from forewarn.stores.in_memory.incidents import InMemoryIncidents
from forewarn.stores.in_memory.ledger import InMemoryLedger
from forewarn.stores.in_memory.outbox import InMemoryOutbox


class Shop:
    """A desk on in-memory stores with the shop's service graph."""

    def __init__(self) -> None:
        self.ledger, self.audit = InMemoryLedger(), InMemoryAudit()
        self.incidents, self.outbox = InMemoryIncidents(SHOP_EDGES), InMemoryOutbox()
        self.feedback = InMemoryFeedback()
        stores = Stores(self.ledger, self.incidents, self.outbox, self.feedback, self.audit)
        self.desk = Desk(stores, Rules(channels=("email",), window=timedelta(minutes=30)))

    def take(self, *records: object) -> None:
        for record in records:
            if isinstance(record, Risk):
                self.desk.take_risk(record)
            else:
                self.desk.take_observation(record)
                if isinstance(record, Watermark):
                    self.desk.expire(record.namespace, record.at)

    def rewire(self, edges: list[tuple[str, str]]) -> None:
        """The service graph becomes another, and the desk hears of it."""
        self.incidents._edges = sorted(edges)
        self.desk.refresh_graph()

    @property
    def all(self) -> list[Incident]:
        return self.incidents.open_incidents(closed_since=at(-10_000))

    @property
    def one(self) -> Incident:
        (incident,) = self.all
        return incident

    def told(self) -> list[str]:
        return self.outbox.told(self.one.incident_id)


@pytest.fixture
def shop() -> Shop:
    return Shop()


def test_a_prediction_that_comes_true_is_told_three_times_in_all(shop: Shop) -> None:
    shop.take(risk(0), risk(30, revision=1, opened=0, left_hours=1.6), failure(120), recovery(150))
    assert shop.one.state == "resolved"
    assert shop.told() == ["opened", "failed", "resolved"]
    assert [o.outcome for o in shop.ledger.outcomes_since(at(0))] == ["hit"]
    assert "as predicted 2 h before: said 2.1 h, came 6 min earlier, inside the 80 % interval" in shop.one.summary


def test_what_a_response_has_averted_is_neither_true_nor_false(shop: Shop) -> None:
    acted = at(40)
    shop.desk = Desk(shop.desk._stores, Rules(channels=("email",)), past=Past(acted=lambda e: dict.fromkeys(e, acted)))
    shop.take(risk(0), clock(360.5))
    assert shop.one.state == "averted"
    assert [(o.outcome, o.resolved_at) for o in shop.ledger.outcomes_since(at(0))] == [("averted", acted)]
    assert shop.ledger.track_record("connection_exhaustion", "shop").came_true is None


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_pool_errors_and_latency_are_one_incident_titled_by_the_pool(shop: Shop, order: tuple[int, ...]) -> None:
    risks = [risk(0), risk(12, "shop/api", ERRORS), risk(20, "shop/gateway", LATENCY)]
    shop.take(*(risks[i] for i in order))
    assert shop.one.title == "shop/db: connection pool reaches its limit of 100"
    assert shop.one.entity == "shop/db" and len(shop.one.episodes) == 3
    assert shop.one.episodes[0] == risks[0].episode
    assert shop.told() == ["opened"]


def test_a_disk_that_fills_is_not_taken_for_a_consequence_of_the_database(shop: Shop) -> None:
    shop.take(risk(0), risk(5, "shop/api", DISK))
    assert sorted(i.entity for i in shop.all) == ["shop/api", "shop/db"]


def test_namespaces_are_never_grouped(shop: Shop) -> None:
    shop.take(risk(0), risk(0, "replay/db"))
    assert len(shop.all) == 2


def test_a_record_twice_is_one(shop: Shop) -> None:
    records = [risk(0), failure(120), recovery(150)]
    shop.take(*records)
    versions = shop.one.version
    shop.take(*records, *records)
    assert shop.one.version == versions
    assert len(shop.ledger.outcomes_since(at(0))) == 1


def test_a_failure_without_prediction_is_a_miss_and_says_so(shop: Shop) -> None:
    shop.take(failure(10))
    assert shop.one.state == "firing" and shop.one.severity == "critical"
    assert "not predicted" in shop.one.summary
    assert shop.told() == ["failed"]
    assert shop.ledger.track_record().missed == 1
    shop.take(recovery(20), failure(25), recovery(30))
    assert shop.one.state == "resolved", "a relapse within the window is the same incident"
    assert shop.ledger.track_record().missed == 1


def test_a_prediction_that_is_read_after_its_failure_still_counts(shop: Shop) -> None:
    shop.take(failure(120), risk(0))
    assert [o.outcome for o in shop.ledger.outcomes_since(at(0))] == ["hit"]
    assert shop.ledger.track_record().missed == 0
    assert "as predicted" in shop.one.summary


def test_what_did_not_come_expires_and_is_told_to_those_who_were_warned(shop: Shop) -> None:
    shop.take(risk(0), clock(359))
    assert shop.one.state == "predicted"
    shop.take(clock(361))
    assert shop.one.state == "expired" and "the prediction was wrong" in shop.one.summary
    assert shop.told() == ["opened", "expired"]
    assert shop.ledger.track_record("connection_exhaustion", "shop").came_true == (0, 1)


def test_a_clock_of_another_namespace_expires_nothing(shop: Shop) -> None:
    shop.take(risk(0), clock(10_000, "replay"))
    assert shop.one.state == "predicted"


def test_severity_info_is_stored_and_not_told_until_it_rises(shop: Shop) -> None:
    shop.take(risk(0, left_hours=30, horizon_hours=48, probability=0.7))
    assert shop.one.severity == "info" and shop.told() == []
    assert any("severity info: stored, not sent" in reason for *_, reason in shop.audit.about(shop.one.incident_id))
    shop.take(risk(1200, revision=1, opened=0, left_hours=1))
    assert shop.told() == ["opened"]


def test_a_withdrawn_prediction_is_taken_back_and_its_failure_is_a_miss(shop: Shop) -> None:
    shop.take(risk(0), risk(40, revision=1, state="withdrawn", opened=0, probability=0.08))
    assert shop.one.state == "withdrawn" and "8 %" in shop.one.summary
    shop.take(failure(60))
    assert shop.one.state == "firing" and "had been withdrawn" in shop.one.summary
    assert shop.told() == ["opened", "withdrawn", "failed"]
    record = shop.ledger.track_record()
    assert (record.missed, record.came_true) == (1, (0, 1))


def test_a_new_episode_soon_after_a_withdrawn_one_is_told_once_more(shop: Shop) -> None:
    shop.take(risk(0), risk(40, revision=1, state="withdrawn", opened=0), risk(50))
    assert shop.one.state == "predicted"
    shop.take(risk(60, revision=1, state="withdrawn", opened=50), risk(70))
    assert shop.told() == ["opened", "withdrawn", "reopened"]


def test_what_fails_again_after_it_was_told_to_come_back_is_told(shop: Shop) -> None:
    shop.take(risk(0), failure(60), recovery(70), risk(80), failure(100))
    assert shop.one.state == "firing"
    messages = shop.outbox.of([shop.one.incident_id])[shop.one.incident_id]
    assert [m.reason for m in messages] == ["opened", "failed", "resolved", "reopened", "failed"]
    shop.take(recovery(110), failure(115))
    messages = shop.outbox.of([shop.one.incident_id])[shop.one.incident_id]
    assert [m.reason for m in messages][5:] == ["resolved"], "it flaps: told twice, not every time"


@pytest.mark.parametrize(("verdict", "state"), [("averted", "averted"), ("dismissed", "withdrawn")])
def test_a_verdict_of_an_engineer_resolves_it(shop: Shop, verdict: str, state: str) -> None:
    shop.take(risk(0))
    shop.feedback.add(Feedback("f1", None, risk(0).episode, verdict, "rolled back", "ada"))
    assert shop.desk.take_feedback() == 1 and shop.desk.take_feedback() == 0
    assert shop.one.state == state
    assert ("ada", verdict, f"{verdict} by ada: rolled back") in shop.audit.about(shop.one.incident_id)
    shop.take(risk(30, revision=1, opened=0), clock(10_000))
    assert [o.outcome for o in shop.ledger.outcomes_since(at(0))] == [verdict]
    assert shop.one.state == state


def test_an_averted_prediction_that_fails_nonetheless_fires(shop: Shop) -> None:
    shop.take(risk(0))
    shop.feedback.add(Feedback("f1", shop.one.incident_id, None, "averted", "", "ada"))
    shop.desk.take_feedback()
    shop.take(failure(100))
    assert shop.one.state == "firing" and shop.told() == ["opened", "averted", "failed"]


def test_the_track_record_is_part_of_the_sentence(shop: Shop) -> None:
    for day in range(3):
        start = day * 1440.0
        shop.take(risk(start))
        if day:
            shop.take(failure(start + 100), recovery(start + 110))
        shop.take(clock(start + 1400))
    shop.take(risk(3 * 1440))
    newest = shop.all[-1]
    assert newest.summary.endswith("Predictions like this one came true 2 times of 3 here.")


def test_the_sentence(shop: Shop) -> None:
    shop.take(risk(0))
    assert shop.one.summary == (
        "shop/db: connection pool reaches its limit of 100 in 2.1 h (80 %: 1.4–3.3 h; 12 %: never), driven by request "
        "rate of shop/api (+38 %/h) and slow queries; raise the pool to 140 or add a read replica. "
        "No predictions of this kind have been resolved yet."
    )


def test_incidents_that_turn_out_to_be_one_are_merged_and_the_younger_says_so_once(shop: Shop) -> None:
    shop.take(risk(0, "shop/mailer", ERRORS), risk(5))
    first, second = shop.all
    shop.rewire([*SHOP_EDGES, ("shop/mailer", "shop/db")])
    stays, ended = shop.incidents.get(first.incident_id), shop.incidents.get(second.incident_id)
    assert stays is not None and ended is not None
    assert (stays.state, stays.entity, len(stays.episodes)) == ("predicted", "shop/db", 2)
    assert (ended.state, ended.merged_into) == ("merged", stays.incident_id)
    assert "Shop/mailer depends on shop/db (1 calls away)" in ended.summary
    assert shop.outbox.told(ended.incident_id) == ["opened", "merged"]
    assert shop.outbox.told(stays.incident_id) == ["opened"]
    shop.desk.refresh_graph()
    shop.take(risk(20, revision=1, opened=5, left_hours=1.5), failure(100), recovery(120))
    assert shop.incidents.get(ended.incident_id) == ended, "what is merged does not change"
    assert shop.outbox.told(stays.incident_id) == ["opened", "failed", "resolved"]
    reasons = [reason for _, action, reason in shop.audit.about(ended.incident_id) if action == "merged"]
    assert reasons == [f"merged into {stays.incident_id}: shop/mailer depends on shop/db (1 calls away)"]


def test_a_verdict_on_a_merged_incident_is_one_on_its_members(shop: Shop) -> None:
    shop.take(risk(0, "shop/mailer", ERRORS), risk(5))
    first, second = shop.all
    shop.rewire([*SHOP_EDGES, ("shop/mailer", "shop/db")])
    shop.feedback.add(Feedback("f1", second.incident_id, None, "averted", "", "ada"))
    shop.desk.take_feedback()
    going_on = shop.incidents.get(first.incident_id)
    assert going_on is not None and going_on.state == "predicted" and going_on.entity == "shop/mailer"


def test_a_bridge_joins_two_incidents(shop: Shop) -> None:
    shop.take(risk(0, "shop/gateway", LATENCY), risk(0.5, "shop/worker", ERRORS))
    assert len(shop.all) == 2
    shop.take(risk(3))
    open_ones = [i for i in shop.all if i.state == "predicted"]
    assert [(i.entity, len(i.episodes)) for i in open_ones] == [("shop/db", 3)]


def test_what_goes_on_after_its_cause_is_over_is_an_incident_of_its_own(shop: Shop) -> None:
    shop.take(risk(0), risk(5, "shop/api", ERRORS), failure(100), failure(101, "shop/api", ERRORS))
    together = shop.one
    shop.take(recovery(120), clock(149))
    assert shop.one.state == "firing"
    shop.take(clock(151))
    db, api = shop.all
    assert (db.incident_id, db.state, db.entity) == (together.incident_id, "resolved", "shop/db")
    assert (api.state, api.entity, len(api.episodes)) == ("firing", "shop/api", 1)
    assert shop.outbox.told(api.incident_id) == ["failed"]
    assert shop.outbox.told(db.incident_id) == ["opened", "failed", "resolved"]
    shop.take(recovery(160, "shop/api", ERRORS))
    assert [i.state for i in shop.all] == ["resolved", "resolved"]


def test_what_was_merged_wrongly_comes_back_in_its_own_thread(shop: Shop) -> None:
    shop.take(risk(0), risk(2, "shop/mailer", ERRORS))
    db, mailer = shop.all
    shop.rewire([*SHOP_EDGES, ("shop/mailer", "shop/db")])
    shop.take(failure(100), failure(101, "shop/mailer", ERRORS), recovery(110), clock(141))
    again = shop.incidents.get(mailer.incident_id)
    assert again is not None and (again.state, again.merged_into) == ("firing", "")
    assert shop.outbox.told(mailer.incident_id) == ["opened", "merged", "failed"]
    assert shop.outbox.told(db.incident_id)[-1] == "resolved"


def test_nothing_is_kept_of_incidents_that_are_over(shop: Shop) -> None:
    """Their namespace may never be heard of again."""
    cases = shop.desk._cases
    shop.take(failure(0), failure(3, "shop/api", ERRORS), recovery(10))
    assert list(cases._look_again) == [shop.one.incident_id]  # its symptom goes on without its cause
    shop.take(recovery(20, "shop/api", ERRORS))
    assert shop.one.state == "resolved"
    assert not cases._look_again


def test_another_namespace_says_nothing_of_what_goes_on_without_its_cause(shop: Shop) -> None:
    shop.take(failure(0), failure(3, "shop/api", ERRORS), recovery(10))
    shop.desk.expire("bank", at(60))
    assert len(shop.all) == 1
    shop.desk.expire("shop", at(60))
    assert len(shop.all) == 2  # it was split


def test_entities_that_call_nobody_are_not_remembered_one_by_one() -> None:
    graph = ServiceGraph(SHOP_EDGES)
    for number in range(100):
        pod = f"shop/pod-{number}"
        assert graph.servers(pod) == {pod: 0}
        assert graph.dependants(pod) == set()
        assert graph.hops(pod, pod) == 0
    assert graph.dependants("shop/db") == {"shop/api", "shop/gateway", "shop/worker"}
    assert len(graph._below) + len(graph._above) <= 6
