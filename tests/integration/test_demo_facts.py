"""What the demo asks of the stores: every question is answered, on empty tables too."""

from datetime import UTC, datetime

import psycopg

from forewarn.cli.demo.facts import Facts
from forewarn.incidents.records import Incident, encode_incident

AT = datetime(2026, 5, 4, 12, tzinfo=UTC)
INCIDENT = Incident(
    "11111111-1111-4111-8111-111111111111", 1, "predicted", "warning", "t", "shop/api", "s", "disk_full", [], AT, AT,
    None, None, [], [], "s",
)  # fmt: skip


def test_an_empty_database_answers(postgres_url: str) -> None:
    facts = Facts(postgres_url, "shop")
    assert (facts.told(), facts.paged(), facts.failures(), facts.incident_versions(AT)) == ([], [], [], [])
    assert facts.warnings() == []
    assert (facts.clock(), facts.champion(), facts.samples()) == (None, None, 0)
    assert facts.withheld() == "there is none"
    facts.close()


def test_incidents_of_the_namespace_and_the_champion_are_found(postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as connection:
        for version, entity in ((1, "shop/api"), (2, "other/api")):
            payload = encode_incident(INCIDENT).decode().replace("shop/api", entity)
            connection.execute(
                "insert into incident_history (incident_id, version, payload) values (%s, %s, %s)",
                (INCIDENT.incident_id, version, payload),
            )
        connection.execute(
            "insert into model_versions"
            " (version, stage, feature_version, trained_at, data_from, data_to, metrics, reason)"
            " values ('v1', 'champion', '3', now(), now(), now(), '{}', 'first')"
        )
    facts = Facts(postgres_url, "shop")
    assert [incident for incident, _ in facts.incident_versions(AT)] == [INCIDENT]
    assert facts.champion() == "v1"
    assert facts.withheld() == "first"
    facts.close()
