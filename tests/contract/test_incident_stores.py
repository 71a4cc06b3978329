"""One contract for both stores of incidents: PostgreSQL and memory."""

from collections.abc import Iterator
from dataclasses import replace

import psycopg
import pytest
from incident_records import SHOP_EDGES, at, risk

from forewarn.incidents.records import Incident
from forewarn.stores.in_memory.incidents import InMemoryIncidents
from forewarn.stores.incidents import IncidentStore, PostgresIncidents

ID, OTHER = "b2f6d0f8-53f1-4f3b-8f6e-000000000001", "b2f6d0f8-53f1-4f3b-8f6e-000000000002"


def incident(**changes: object) -> Incident:
    one = Incident(
        incident_id=ID, version=1, state="predicted", severity="warning", title="t", entity="shop/db", signal="s",
        mode="m", episodes=[risk(0).episode], opened_at=at(0), updated_at=at(0), time_to_failure=None, failed_at=None,
        drivers=[], actions=[], summary="s",
    )  # fmt: skip
    return replace(one, **changes)  # type: ignore[arg-type]


@pytest.fixture(params=["postgres", "memory"])
def incidents(request: pytest.FixtureRequest) -> Iterator[IncidentStore]:
    if request.param == "memory":
        yield InMemoryIncidents(SHOP_EDGES, ({"shop/api": 1, "shop/gateway": 2}, 2))
        return
    with psycopg.connect(request.getfixturevalue("postgres_url")) as connection:
        for edge in SHOP_EDGES:
            connection.execute("insert into service_edges (client, server, last_seen) values (%s, %s, now())", edge)
        connection.execute("insert into watermarks values ('shop', %s)", (at(0),))
        seen = [("gateway", -5, "anna"), ("gateway", -5, "ben"), ("api", -5, "anna"), ("api", -90, "carl")]
        for name, minutes, user in [*seen, ("api", -5, None)]:
            row = (at(minutes), f"shop/{name}", "view", user)
            connection.execute(
                "insert into activity_events (time, service, action, user_hash) values (%s,%s,%s,%s)", row
            )
        yield PostgresIncidents(connection)


def test_versions_are_kept_and_the_newest_is_current(incidents: IncidentStore) -> None:
    first, second = incident(), incident(version=2, state="firing")
    incidents.put(first)
    incidents.put(second)
    incidents.put(replace(first, title="another of the same version"))
    assert incidents.get(ID) == second
    assert incidents.get(ID, 1) == first
    assert incidents.get(OTHER) is None and incidents.get(ID, 7) is None


def test_open_and_lately_closed_ones_of_a_namespace(incidents: IncidentStore) -> None:
    incidents.put(incident())
    closed = incident(incident_id=OTHER, state="resolved", updated_at=at(50), opened_at=at(-5))
    incidents.put(closed)
    assert incidents.open_incidents() == [incident()]
    assert incidents.open_incidents("shop", closed_since=at(50)) == [closed, incident()]
    assert incidents.open_incidents("shop", closed_since=at(51)) == [incident()]
    assert incidents.open_incidents("", closed_since=at(0)) == []


def test_an_episode_belongs_to_one_incident(incidents: IncidentStore) -> None:
    episode = risk(0).episode
    incidents.link(episode, ID)
    incidents.link(episode, OTHER)
    assert incidents.incidents_of([episode, OTHER]) == {episode: ID}


def test_episodes_move_to_another_incident(incidents: IncidentStore) -> None:
    one, two = risk(0).episode, risk(1).episode
    incidents.link(one, ID)
    incidents.move([one, two], OTHER)
    assert incidents.incidents_of([one, two]) == {one: OTHER, two: OTHER}


def test_a_merged_incident_names_the_one_that_goes_on(incidents: IncidentStore) -> None:
    incidents.put(incident())
    last = incident(version=2, state="merged", merged_into=OTHER)
    incidents.put(last)
    assert incidents.get(ID) == last and incidents.open_incidents() == []


def test_versions_are_published_in_order(incidents: IncidentStore) -> None:
    versions = [incident(version=v) for v in (1, 2, 3)]
    for version in versions:
        incidents.put(version)
    assert incidents.unpublished(limit=2) == versions[:2]
    incidents.mark_published(versions[:2])
    assert incidents.unpublished() == versions[2:]


def test_users_of_the_last_hour_count_once(incidents: IncidentStore) -> None:
    assert incidents.users() == ({"shop/api": 1, "shop/gateway": 2}, 2)


def test_the_service_graph(incidents: IncidentStore) -> None:
    assert incidents.edges() == sorted(SHOP_EDGES)
