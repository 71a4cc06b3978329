"""The dashboard's questions give the right answers on a real PostgreSQL, full and empty."""

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from dashboard_state import EDGES, NOW, add_failure, add_incident, add_risk, fill, incident_of, resolve, risk

from forewarn.incidents.records import Incident
from forewarn.risk.records import AnomalyObserved
from forewarn.stores import views
from forewarn.stores.ledger import PostgresLedger


@pytest.fixture
def incident(postgres_url: str, tmp_path: Path) -> Incident:
    return fill(postgres_url, tmp_path)


def test_every_view_answers_on_empty_tables(postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as db:
        assert views.now_view(db).nodes == ()
        assert views.risk_view(db, incident_id=incident_of(risk("disk_full", NOW, 2)).incident_id) is None
        ledger = views.ledger_view(db)
        assert (ledger.record.came_true, ledger.misses, ledger.interval.judged) == (None, (), 0)
        assert views.models_view(db).versions == ()
        assert views.data_view(db).services == ()


def test_now_names_the_open_incident_and_its_time_left(postgres_url: str, incident: Incident) -> None:
    with psycopg.connect(postgres_url) as db:
        now = views.now_view(db)
    (shown,) = now.incidents
    assert (shown.incident_id, shown.entity, shown.severity) == (incident.incident_id, "shop/api", "critical")
    assert shown.clock == NOW and shown.affected == 2
    # The newest prediction said 2.2 h and is 6 min old.
    assert shown.left(shown.p50_seconds) == pytest.approx(2.1 * 3600)
    assert shown.probability == pytest.approx(0.88)


def test_now_draws_every_service_with_its_worst_state(postgres_url: str, incident: Incident) -> None:
    with psycopg.connect(postgres_url) as db:
        add_failure(db, "error_climb", NOW - timedelta(minutes=5), True, None)
        add_risk(db, risk("queue_backlog", NOW - timedelta(minutes=10), 4))
        nodes = {n.entity: n for n in views.now_view(db).nodes}
    assert set(nodes) == {n for c, s, *_ in EDGES for n in (c, s)} | {"build-7"}
    states = {name: node.state for name, node in nodes.items()}
    assert states["shop/api"] == "critical" and nodes["shop/api"].incident_id == incident.incident_id
    assert states["shop/payment"] == "failing"
    assert states["shop/worker"] == "watch"
    assert states["shop/cache"] == "calm" and nodes["shop/cache"].silent_signals > 0


def test_an_anomaly_of_the_last_hour_is_a_change(postgres_url: str, incident: Incident) -> None:
    with psycopg.connect(postgres_url) as db:
        ledger = PostgresLedger(db)
        for minutes in (7, 70):
            since = NOW - timedelta(minutes=minutes)
            ledger.note_anomaly(AnomalyObserved("shop/api", since, since, "open", 0.001, [], f"odd {minutes}"))
        changes = [c for c in views.now_view(db).changes if (c.kind, c.entity) == ("anomaly", "shop/api")]
        assert [(c.entity, c.at, c.text) for c in changes] == [("shop/api", NOW - timedelta(minutes=7), "odd 7")]
        ledger.note_anomaly(AnomalyObserved("shop/api", since, NOW, "ended", 0.5, [], "as usual"))
        lasting = db.execute("select since from anomalies where ended_at is null and entity = 'shop/api'").fetchall()
        assert lasting == [(NOW - timedelta(minutes=7),)]


def test_changes_are_those_of_the_last_hour_of_event_time(postgres_url: str, incident: Incident) -> None:
    with psycopg.connect(postgres_url) as db:
        found = views.now_view(db).changes
        assert [(c.kind, c.entity) for c in found] == [
            ("recovery", "shop/checkout-db"),
            ("anomaly", "shop/cache"),
            ("deploy", "shop/api"),
            ("failure", "shop/checkout-db"),
        ]
        wider = views.now_view(db, timedelta(hours=3)).changes
    assert ("incident", "shop/api") in [(c.kind, c.entity) for c in wider]


def test_silences_are_grouped_by_reason(postgres_url: str, incident: Incident) -> None:
    with psycopg.connect(postgres_url) as db:
        found = {s.reason: (s.signals, s.entities) for s in views.now_view(db).silences}
    assert found == {"too little history: 3 h of 8 h": (5, 3), "late data": (2, 2), "counter reset": (1, 1)}


def test_a_risk_is_found_by_incident_and_by_episode(postgres_url: str, incident: Incident) -> None:
    with psycopg.connect(postgres_url) as db:
        view = views.risk_view(db, incident_id=incident.incident_id)
        same = views.risk_view(db, episode=incident.episodes[0])
        symptom = views.risk_view(db, episode=incident.episodes[1])
    assert view is not None and same is not None and symptom is not None
    assert view == same
    assert view.risk.revision == 5 and [r.revision for r in view.revisions] == [1, 2, 3, 4, 5]
    assert view.incident == incident
    assert [s.entity for s in view.symptoms] == ["shop/gateway"]
    assert symptom.risk.entity == "shop/gateway" and symptom.incident == incident
    assert len(view.times) == len(view.values) > 100
    assert view.times[-1] <= NOW


def test_the_track_record_is_that_of_the_mode_and_namespace(postgres_url: str, incident: Incident) -> None:
    with psycopg.connect(postgres_url) as db:
        view = views.risk_view(db, incident_id=incident.incident_id)
        expected = db.execute(
            "select count(*) filter (where outcome in ('hit', 'late')), count(*)"
            " from outcomes join risks using (risk_id)"
            " where mode = 'connection_exhaustion' and outcome <> 'averted' and state = 'open'"
        ).fetchone()
    assert view is not None and expected is not None
    assert view.track.came_true == expected
    assert expected[1] > expected[0] > 0


def test_a_failure_that_nobody_predicted_is_an_incident_without_a_risk(postgres_url: str) -> None:
    miss = incident_of(risk("disk_full", NOW, 1), "firing", failed_at=NOW)
    with psycopg.connect(postgres_url) as db:
        add_incident(db, miss)
        assert views.risk_view(db, incident_id=miss.incident_id) is None
        assert views.incident_about(db, incident_id=miss.incident_id) == miss
        assert views.incident_about(db, episode=miss.episodes[0]) == miss


def test_the_ledger_counts_episodes_and_shows_the_first_warning(postgres_url: str, incident: Incident) -> None:
    with psycopg.connect(postgres_url) as db:
        ledger = views.ledger_view(db)
    record = ledger.record
    assert (record.hits, record.late, record.expired, record.averted, record.dismissed) == (17, 2, 4, 2, 1)
    assert record.missed == len(ledger.misses) == 2
    ended = {"hit": 17, "late": 2, "expired": 4, "averted": 2, "dismissed": 1}
    assert Counter(r.outcome for r in ledger.resolved) == ended
    assert ledger.open_predictions == 3
    hit = next(r for r in ledger.resolved if r.outcome == "hit")
    assert hit.failed_at is not None and hit.incident_id is not None and hit.revisions == 2
    assert hit.lead_seconds == pytest.approx((hit.failed_at - hit.predicted_at).total_seconds())
    assert ledger.interval.judged == 38 >= ledger.interval.inside > 0


def test_a_warning_withdrawn_before_the_failure_is_a_false_alarm(postgres_url: str) -> None:
    first = risk("disk_full", NOW, 2)
    taken_back = replace(first, revision=2, state="withdrawn", predicted_at=NOW + timedelta(minutes=20))
    with psycopg.connect(postgres_url) as db:
        for r in (first, taken_back):
            add_risk(db, r)
        resolve(db, first, "hit", NOW + timedelta(hours=2))
        ledger = views.ledger_view(db)
    assert [r.outcome for r in ledger.resolved] == ["expired"]
    assert ledger.record.expired == 1 and ledger.record.hits == 0


def test_models_come_champion_first_with_reports_and_decisions(postgres_url: str, incident: Incident) -> None:
    with psycopg.connect(postgres_url) as db:
        found = views.models_view(db)
        assert [v.stage for v in found.versions] == ["champion", "shadow", "candidate", "retired"]
        assert found.versions[0].metrics["average_precision"]["baselines"]["base rate"] == 0.07
        assert {d.action for d in found.decisions} == {"promote", "register", "retire", "shadow"}
        assert views.report_path(db, found.reports[0].report_id) == "reports/drift.html"
        assert views.report_path(db, incident.incident_id) is None


def test_data_shows_series_that_stopped(postgres_url: str, incident: Incident) -> None:
    with psycopg.connect(postgres_url) as db:
        data = views.data_view(db)
    (gap,) = data.gaps
    assert (gap.entity, gap.name) == ("shop/cache", "process.cpu.utilization")
    assert gap.behind_seconds == pytest.approx(32 * 60)
    assert {s.service: s.age_seconds > 60 for s in data.services} == {
        "alerter": False,
        "archiver": True,
        "gateway": False,
        "predictor": False,
    }
    assert data.series_total == sum(e.series for e in data.entities)
