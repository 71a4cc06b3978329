"""One contract for both ledgers: PostgreSQL and memory."""

from collections.abc import Iterator

import psycopg
import pytest
from incident_records import at, failure, risk

from forewarn.evaluation.ledger import Prediction, outcome_of_failure, outcome_of_feedback, outcome_of_watermark
from forewarn.risk.records import Abstained, AnomalyObserved, Risk, UnusualSignal, episode_of
from forewarn.stores.in_memory.ledger import InMemoryLedger
from forewarn.stores.ledger import LedgerStore, PostgresLedger

OWN = episode_of("shop/db", "x", "y", at(0))


@pytest.fixture(params=["postgres", "memory"])
def ledger(request: pytest.FixtureRequest) -> Iterator[LedgerStore]:
    if request.param == "memory":
        yield InMemoryLedger()
        return
    with psycopg.connect(request.getfixturevalue("postgres_url")) as connection:
        yield PostgresLedger(connection)


def hit(ledger: LedgerStore, *risks: Risk, minutes: float = 100) -> None:
    for r in risks:
        ledger.add_risk(r)
    ledger.add_failure(failure(minutes), risks[0].episode, predicted=True)
    ledger.resolve([o for r in risks if (o := outcome_of_failure(Prediction.of(r), at(minutes), 60))])


def test_a_risk_is_appended_once_and_read_back_whole(ledger: LedgerStore) -> None:
    one = risk(0)
    assert ledger.add_risk(one) and not ledger.add_risk(one)
    (episode,) = ledger.episodes([one.episode])
    assert episode.first == one == episode.risk
    assert episode.state == "predicted" and episode.onset_at == at(0)
    assert ledger.episodes([OWN]) == []


def test_an_outcome_is_given_once(ledger: LedgerStore) -> None:
    one = risk(0)
    ledger.add_risk(one)
    prediction = Prediction.of(one)
    averted = outcome_of_feedback(prediction, "averted", at(5))
    expired = outcome_of_watermark(prediction, at(10_000))
    assert averted and expired
    assert ledger.resolve([averted]) == 1
    assert ledger.resolve([expired]) == 0
    assert [o.outcome for o in ledger.outcomes_since(at(0))] == ["averted"]


def test_outcomes_carry_predicted_and_true_times(ledger: LedgerStore) -> None:
    hit(ledger, risk(0), risk(30, revision=1, opened=0))
    (outcome,) = ledger.outcomes_since(at(0))
    assert outcome.prediction == Prediction.of(risk(0)), "one an episode, that of its first prediction"
    assert (outcome.lead_seconds, outcome.error_seconds, outcome.inside_80) == (6000, 2.1 * 3600 - 6000, True)
    assert ledger.outcomes_since(at(101)) == []
    assert ledger.outcomes_since(at(0), "replay") == [] and len(ledger.outcomes_since(at(0), "shop")) == 1


def test_predictions_about_a_moment_come_with_their_whole_episodes(ledger: LedgerStore) -> None:
    early, later = risk(0, horizon_hours=1), risk(50, revision=1, opened=0, horizon_hours=1)
    old, other = risk(-5000), risk(0, "shop/api")
    for r in (later, early, old, other):
        ledger.add_risk(r)
    assert ledger.predictions_about("shop/db", early.signal, at(30)) == [Prediction.of(early), Prediction.of(later)]
    assert ledger.predictions_about("shop/db", early.signal, at(200)) == []


def test_overdue_are_the_unresolved_of_a_namespace(ledger: LedgerStore) -> None:
    here, resolved, there, bare = risk(0), risk(1), risk(0, "replay/db"), risk(0, "host")
    for r in (here, resolved, there, bare):
        ledger.add_risk(r)
    expired = outcome_of_watermark(Prediction.of(resolved), at(400))
    assert expired
    ledger.resolve([expired])
    assert ledger.overdue("shop", None, at(400)) == [Prediction.of(here)]
    assert ledger.overdue("", None, at(400)) == [Prediction.of(bare)]
    assert ledger.overdue("shop", None, at(360)) == [], "expires_at itself is still inside the horizon"
    assert ledger.overdue("shop", at(361), at(400)) == []
    assert ledger.unresolved([here.episode, resolved.episode]) == [Prediction.of(here)]


def test_failures_and_recoveries(ledger: LedgerStore) -> None:
    one = risk(0)
    hit(ledger, one)
    assert not ledger.add_failure(failure(100), OWN, predicted=False)
    assert ledger.failure_times("shop/db", one.signal, at(100), at(100)) == [at(100)]
    assert ledger.episodes([one.episode])[0].state == "firing"
    assert ledger.relapse_of("shop/db", one.signal, at(110), at(120)) == (one.episode, True)
    assert ledger.recover("shop/db", one.signal, at(99)) == []
    assert ledger.recover("shop/db", one.signal, at(130)) == [one.episode]
    assert ledger.recover("shop/db", one.signal, at(140)) == []
    (episode,) = ledger.episodes([one.episode])
    assert (episode.failed_at, episode.recovered_at, episode.state) == (at(100), at(130), "resolved")
    assert ledger.relapse_of("shop/db", one.signal, at(131), at(140)) is None


def test_a_relapse_reopens_the_episode(ledger: LedgerStore) -> None:
    ledger.add_failure(failure(10), OWN, predicted=False)
    ledger.recover("shop/db", failure(10).signal, at(20))
    ledger.add_failure(failure(25), OWN, predicted=False)
    (episode,) = ledger.episodes([OWN])
    assert (episode.failed_at, episode.state, episode.risk, episode.predicted) == (at(10), "firing", None, False)
    assert ledger.track_record().missed == 1


def test_a_miss_can_be_claimed_by_a_prediction_that_was_read_later(ledger: LedgerStore) -> None:
    one = risk(0)
    ledger.add_failure(failure(100), OWN, predicted=False)
    assert [m.at for m in ledger.misses_since(at(0), "shop")] == [at(100)]
    ledger.add_risk(one)
    assert ledger.claim_failure("shop/db", one.signal, at(100), one.episode) == OWN
    assert ledger.claim_failure("shop/db", one.signal, at(100), one.episode) is None
    assert ledger.misses_since(at(0)) == [] and ledger.episodes([OWN]) == []


def test_the_clock_never_goes_back(ledger: LedgerStore) -> None:
    ledger.set_watermark("shop", at(10))
    ledger.set_watermark("shop", at(5))
    ledger.set_watermark("", at(1))
    assert ledger.watermarks() == {"shop": at(10), "": at(1)}


def test_abstaining_is_accepted(ledger: LedgerStore) -> None:
    ledger.abstain(Abstained("shop/db", "x", "too little history", at(1)))
    ledger.abstain(Abstained("shop/db", "x", "late data", at(0)))


def test_anomalies_are_accepted_again_and_out_of_order(ledger: LedgerStore) -> None:
    seen = [UnusualSignal("log.templates.new", 3.0, 0.0, None, 1.0)]
    opened = AnomalyObserved("shop/db", at(1), at(1), "open", 0.001, seen, "unlike 'usual' \u2265 1")
    ended = AnomalyObserved("shop/db", at(1), at(9), "ended", 0.4, [], "as usual")
    for anomaly in (ended, opened, opened, ended, ended):
        ledger.note_anomaly(anomaly)


def test_the_track_record_counts_episodes(ledger: LedgerStore) -> None:
    empty = ledger.track_record()
    assert empty.came_true is None
    hit(ledger, risk(0), risk(30, revision=1, opened=0))
    late, false, averted, withdrawn = risk(1000), risk(2000), risk(3000), risk(4000)
    hit(ledger, late, minutes=1000.5)
    for r in (false, averted):
        ledger.add_risk(r)
    hit(ledger, withdrawn, risk(4010, revision=1, state="withdrawn", opened=4000), minutes=4020)
    expired = outcome_of_watermark(Prediction.of(false), at(10_000))
    saved = outcome_of_feedback(Prediction.of(averted), "averted", at(3001))
    assert expired and saved
    ledger.resolve([expired, saved])
    ledger.add_failure(failure(9000), OWN, predicted=False)
    record = ledger.track_record("connection_exhaustion", "shop")
    assert (record.hits, record.late, record.expired, record.averted, record.missed) == (1, 1, 2, 1, 1)
    assert record.came_true == (2, 4)
    assert record.sentence == "Predictions like this one came true 2 times of 4 here."
    assert ledger.track_record("disk_full").came_true is None
    assert ledger.track_record(namespace="replay").missed == 0
