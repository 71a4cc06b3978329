"""Grouping, cause, severity and paging, decision by decision."""

from dataclasses import replace
from datetime import timedelta

import pytest
from incident_records import DISK, ERRORS, LATENCY, POOL, SHOP_EDGES, at, risk

from forewarn.incidents.assembly import assemble, state_of
from forewarn.incidents.episodes import Episode
from forewarn.incidents.graph import ServiceGraph
from forewarn.incidents.grouping import Group, assign, cause_of
from forewarn.incidents.paging import should_page
from forewarn.incidents.severity import severity_of
from forewarn.risk.records import Forecast

GRAPH = ServiceGraph(SHOP_EDGES)
WINDOW = timedelta(minutes=30)


def episode(minutes: float = 0, entity: str = "shop/db", signal: str = POOL, **known: object) -> Episode:
    r = risk(minutes, entity, signal)
    one = Episode(r.episode, entity, signal, r.mode, at(minutes), first=r, risk=r, limit=r.limit, unit=r.unit)
    return replace(one, **known)  # type: ignore[arg-type]


def group(*episodes: Episode, state: str | None = None) -> Group:
    incident, _ = assemble("i1", None, episodes, GRAPH, episodes[0].onset_at, WINDOW, lambda _: "")
    return Group(replace(incident, state=state or incident.state), episodes)


def joins(one: Episode, *groups: Group, graph: ServiceGraph = GRAPH) -> tuple[bool, str]:
    decision = assign(one, groups, graph, WINDOW)
    return decision.incident_id is not None, decision.reason


def test_a_symptom_joins_its_cause_and_the_reason_says_how() -> None:
    assert joins(episode(10, "shop/api", ERRORS), group(episode())) == (
        True,
        "shop/api depends on shop/db (1 calls away)",
    )
    assert joins(episode(), group(episode(10, "shop/gateway", LATENCY)))[0], "the cause may be seen after the symptom"


@pytest.mark.parametrize(
    "stranger",
    [
        episode(10, "shop/api", DISK),  # its own trouble
        episode(10, "shop/mailer", ERRORS),  # no call between them
        episode(10, "live/api", ERRORS),  # another namespace
        episode(5000, "shop/api", ERRORS),  # long after
    ],
)
def test_strangers_open_an_incident_of_their_own(stranger: Episode) -> None:
    joined, reason = joins(stranger, group(episode()))
    assert not joined and "nothing open in namespace" in reason


def test_without_a_graph_only_the_same_entity_is_joined() -> None:
    nothing = ServiceGraph()
    assert joins(episode(10, signal=LATENCY), group(episode()), graph=nothing)[0]
    assert not joins(episode(10, "shop/api", ERRORS), group(episode()), graph=nothing)[0]
    assert not joins(episode(10, signal=DISK), group(episode(signal=LATENCY, mode="memory_exhaustion")))[0]


def test_a_pool_two_calls_away_is_explained_only_by_trouble_in_between() -> None:
    unseen = replace(risk(10, "shop/gateway"), forecast=Forecast())  # no history tells whether they move together
    store, door = group(episode(0, "shop/db")), episode(10, "shop/gateway", POOL, risk=unseen)
    between = episode(5, "shop/api", LATENCY)
    assert not joins(door, store)[0], "the service in between is well"
    assert joins(between, store)[0]
    assert joins(door, group(*store.episodes, between)) == (True, "shop/gateway depends on shop/api (1 calls away)")
    assert joins(episode(10, "shop/gateway", LATENCY), store)[0], "a promise breaks however far below the cause is"


def test_clients_that_fail_alike_over_one_server_are_joined() -> None:
    assert joins(episode(10, "shop/worker", ERRORS), group(episode(0, "shop/api", ERRORS))) == (
        True,
        "shop/worker and shop/api fail alike and both call shop/db",
    )


def test_the_nearest_incident_is_joined() -> None:
    far, near = group(episode(0, "shop/db")), group(episode(0, "shop/api", LATENCY))
    near = Group(replace(near.incident, incident_id="near"), near.episodes)
    assert assign(episode(10, "shop/api", ERRORS), [far, near], GRAPH, WINDOW).incident_id == "near"


def test_the_same_signal_reopens_what_closed_lately() -> None:
    closed = group(episode(0), state="withdrawn")
    assert joins(episode(20), closed)[0]
    assert not joins(episode(31), closed)[0], "too late"
    assert not joins(episode(20), group(episode(0), state="expired"))[0]
    assert not joins(episode(20), group(episode(0, feedback="dismissed"), state="withdrawn"))[0]


def test_the_cause_is_the_deepest_service_in_trouble() -> None:
    shop = [episode(0, "shop/gateway", LATENCY), episode(5, "shop/api", ERRORS), episode(9)]
    assert cause_of(shop, GRAPH).entity == "shop/db"
    shop[2] = replace(shop[2], feedback="dismissed")
    assert cause_of(shop, GRAPH).entity == "shop/api", "what came to nothing is no cause"


def test_the_graph_knows_services_by_name_where_it_has_no_namespace() -> None:
    graph = ServiceGraph([("gateway", "api"), ("api", "db"), ("db", "api")])
    assert graph.hops("shop/gateway", "shop/db") == 2 and graph.hops("shop/db", "shop/gateway") is None
    assert graph.dependants("shop/db") == {"api", "gateway"}


def test_an_incident_is_resolved_when_all_that_failed_recovered() -> None:
    db = episode(0, failed_at=at(100))
    api = episode(5, "shop/api", ERRORS, failed_at=at(101), recovered_at=at(120))
    gateway = episode(9, "shop/gateway", LATENCY)
    assert state_of([db, api, gateway], WINDOW) == "firing"
    over = replace(db, recovered_at=at(130))
    assert state_of([over, api, gateway], WINDOW) == "resolved"
    assert state_of([over, api, replace(gateway, risk=risk(170))], WINDOW) == "predicted"
    assert state_of([over, episode(131)], WINDOW) == "predicted"


@pytest.mark.parametrize(
    ("probability", "hours", "dependants", "level"),
    [(0.88, 2.1, 3, "critical"), (0.7, 2.1, 0, "warning"), (0.7, 30, 0, "info"), (0.95, 0.2, 0, "critical")],
)
def test_severity_is_probability_times_time_left_times_impact(
    probability: float, hours: float, dependants: int, level: str
) -> None:
    severity = severity_of(probability, hours * 3600, dependants, False, None)
    assert severity.level == level and f"probability {probability:.2f}" in severity.reason


def test_what_many_users_hang_on_is_worse() -> None:
    graph = ServiceGraph(SHOP_EDGES)
    graph.users, graph.all_users = {"shop/gateway": 900, "shop/worker": 100}, 1000
    assert graph.users_share("shop/gateway") == graph.users_share("shop/db") == 0.9, "the gateway depends on the db"
    assert graph.users_share("shop/worker") == 0.1 and ServiceGraph(SHOP_EDGES).users_share("shop/db") == 0.0
    few, many = (severity_of(0.6, 3600, 0, False, None, share) for share in (0.0, 0.9))
    assert (few.level, many.level) == ("warning", "critical") and "90% of users" in many.reason


def test_severity_falls_only_clearly_below_its_threshold() -> None:
    assert severity_of(0.6, 0, 0, False, None).level == "warning"
    assert severity_of(0.6, 0, 0, False, "critical").level == "critical"
    assert severity_of(0.5, 0, 0, False, "critical").level == "warning"
    assert severity_of(0.25, 0, 0, False, "critical").level == "warning"
    assert severity_of(0.2, 0, 0, False, "critical").level == "info"
    assert severity_of(0.01, 1e9, 0, True, "info").level == "critical"


@pytest.mark.parametrize(
    ("state", "severity", "told", "message"),
    [
        ("predicted", "warning", [], "opened"),
        ("predicted", "info", [], None),
        ("predicted", "critical", ["opened"], None),
        ("firing", "critical", ["opened"], "failed"),
        ("firing", "critical", [], "failed"),
        ("firing", "critical", ["opened", "failed"], None),
        ("resolved", "critical", ["opened", "failed"], "resolved"),
        ("expired", "warning", ["opened"], "expired"),
        ("expired", "info", [], None),
        ("withdrawn", "warning", ["opened", "withdrawn"], None),
        ("predicted", "warning", ["opened", "withdrawn"], "reopened"),
        ("firing", "critical", ["failed", "resolved"], "reopened"),
        ("firing", "critical", ["failed", "resolved", "reopened"], None),
        ("resolved", "critical", ["failed", "resolved", "reopened"], "resolved"),
        ("resolved", "critical", ["failed", "resolved", "reopened", "resolved"], None),
        ("merged", "warning", ["opened", "merged", "reopened"], "merged"),
        ("firing", "critical", ["failed", "resolved", "reopened", "resolved"], None),
    ],
)
def test_each_state_is_told_once(state: str, severity: str, told: list[str], message: str | None) -> None:
    incident = replace(group(episode()).incident, state=state, severity=severity)
    verdict = should_page(incident, told)
    assert (verdict.message if verdict.page else None) == message and verdict.reason


def test_an_incident_without_episodes_is_an_error() -> None:
    with pytest.raises(ValueError, match="no episodes"):
        assemble("i1", None, [], GRAPH, at(0), WINDOW, lambda _: "")
