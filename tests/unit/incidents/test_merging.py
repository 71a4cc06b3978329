"""Which incidents turn out to be one, which members turn out to be strangers, and what is learned from the past."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from incident_records import DISK, ERRORS, LATENCY, POOL, SHOP_EDGES, at, risk

from forewarn.incidents.assembly import assemble
from forewarn.incidents.co_occurrence import Opening, learn
from forewarn.incidents.episodes import Episode
from forewarn.incidents.graph import ServiceGraph
from forewarn.incidents.grouping import Group, assign, cause_of, correlation
from forewarn.incidents.merging import merge_of, merges_by_graph, strangers
from forewarn.incidents.records import Incident
from forewarn.incidents.similar import PastIncident, SimilarIncident, similar
from forewarn.risk.records import Forecast

GRAPH = ServiceGraph(SHOP_EDGES)
WINDOW = timedelta(minutes=30)


def episode(minutes: float = 0, entity: str = "shop/db", signal: str = POOL, **known: object) -> Episode:
    r = risk(minutes, entity, signal)
    one = Episode(r.episode, entity, signal, r.mode, at(minutes), first=r, risk=r, limit=r.limit, unit=r.unit)
    return replace(one, **known)  # type: ignore[arg-type]


def group(name: str, *episodes: Episode) -> Group:
    incident, _ = assemble(name, None, episodes, GRAPH, episodes[0].onset_at, WINDOW, lambda _: "")
    by_id = {e.episode: e for e in episodes}
    return Group(incident, tuple(by_id[e] for e in incident.episodes))


def test_incidents_are_one_where_the_cause_of_one_explains_the_cause_of_the_other() -> None:
    symptom, cause = group("a", episode(0, "shop/gateway", LATENCY)), group("b", episode(9))
    for one, other in ((symptom, cause), (cause, symptom)):
        merge = merge_of(one, [other], GRAPH, WINDOW)
        assert merge is not None and merge.other == other.incident.incident_id
        assert merge.reason == "shop/gateway depends on shop/db (2 calls away)"
    assert merge_of(symptom, [cause], ServiceGraph(), WINDOW) is None
    late = group("c", episode(5000, "shop/gateway", LATENCY))
    assert merge_of(late, [cause], GRAPH, WINDOW) is None


def test_two_causes_with_a_symptom_in_common_stay_two() -> None:
    graph = ServiceGraph([*SHOP_EDGES, ("shop/api", "shop/cache")])
    db = group("db", episode(0), episode(3, "shop/api", ERRORS))
    cache = episode(5, "shop/cache")
    assert assign(cache, [db], graph, WINDOW).incident_id is None
    assert merge_of(group("cache", cache), [db], graph, WINDOW) is None
    assert assign(episode(6, "shop/api", DISK), [db], graph, WINDOW).incident_id is None, "memory of its own"
    assert assign(episode(6, "shop/api", LATENCY), [db], graph, WINDOW).incident_id == "db"


def test_a_new_edge_shows_which_are_one() -> None:
    groups = [group("a", episode(0, "shop/mailer", ERRORS)), group("b", episode(4)), group("c", episode(5, "live/db"))]
    assert merges_by_graph(groups, GRAPH, WINDOW) is None
    merge = merges_by_graph(groups, ServiceGraph([*SHOP_EDGES, ("shop/mailer", "shop/db")]), WINDOW)
    assert merge is not None and {merge.one, merge.other} == {"a", "b"}


def test_what_an_entity_uses_up_is_the_cause_of_its_slowness() -> None:
    slow, full = episode(0, "shop/api", LATENCY), episode(5, "shop/api", DISK)
    assert cause_of([slow, full], GRAPH) is full


def test_a_pool_that_is_gone_before_its_server_fails_is_no_consequence_of_it() -> None:
    r = risk(0, "shop/api", POOL, left_hours=0.5)
    early = replace(episode(0, "shop/api"), risk=r)
    assert assign(early, [group("db", episode(0))], GRAPH, WINDOW).incident_id is None
    assert assign(episode(0, "shop/api"), [group("db", episode(0))], GRAPH, WINDOW).incident_id == "db"


def test_a_disk_that_is_not_full_yet_uses_up_no_pool_but_may_slow() -> None:
    pool, filling = episode(10, "shop/api"), episode(0, "shop/db", DISK)
    full = replace(filling, failed_at=at(9))
    assert assign(pool, [group("db", filling)], GRAPH, WINDOW).incident_id is None
    assert assign(pool, [group("db", full)], GRAPH, WINDOW).incident_id == "db"
    assert assign(episode(10, "shop/api", LATENCY), [group("db", filling)], GRAPH, WINDOW).incident_id == "db"


def test_members_that_go_on_long_after_the_cause_is_over_leave() -> None:
    cause = episode(0, failed_at=at(100), recovered_at=at(120))
    api = episode(5, "shop/api", ERRORS, failed_at=at(101))
    gateway = episode(6, "shop/gateway", LATENCY, failed_at=at(102))
    done = episode(7, "shop/worker", ERRORS, failed_at=at(102), recovered_at=at(110))
    members = [cause, api, gateway, done]
    assert strangers(members, GRAPH, at(149), WINDOW) == []
    assert strangers(members, GRAPH, at(150), WINDOW) == [(api, gateway)]
    alone = [cause, done, episode(6, "shop/mailer", LATENCY, failed_at=at(102)), gateway]
    assert [[e.entity for e in part] for part in strangers(alone, GRAPH, at(150), WINDOW)] == [
        ["shop/gateway"], ["shop/mailer"],
    ]  # fmt: skip
    only_predicted = [cause, episode(6, "shop/api", ERRORS)]
    assert strangers(only_predicted, GRAPH, at(200), WINDOW) == [], "not predicted again since"
    again = replace(only_predicted[1], risk=risk(151, "shop/api", ERRORS, 1, opened=6))
    assert strangers([cause, again], GRAPH, at(151), WINDOW) == [(again,)]
    slow = episode(8, "shop/db", LATENCY, failed_at=at(101))
    assert strangers([*members, slow], GRAPH, at(200), WINDOW) == [], "the cause's entity is still in trouble"


def openings(*minutes: float, entities: tuple[str, ...] = ("shop/a", "shop/b")) -> list[Opening]:
    return [Opening(e, "latency_breach", at(m + i)) for m in minutes for i, e in enumerate(entities)]


def test_what_began_together_again_and_again_is_learned() -> None:
    pair = ("shop/a", "latency_breach"), ("shop/b", "latency_breach")
    noise = [Opening("shop/c", "latency_breach", at(m)) for m in (700, 1700)]
    often = learn([*openings(0, 1000, 2000, 3000), *noise], WINDOW)
    assert often.reason(*pair) == (
        "shop/a (latency_breach) and shop/b (latency_breach) began together 4 of 4 times so far"
    )
    assert often.reason(*reversed(pair)) is not None
    assert learn(openings(0, 1000), WINDOW).reason(*pair) is None, "twice is chance"
    alone = openings(4000, 5000, 6000, entities=("shop/a",))
    assert learn([*openings(0, 1000, 2000), *alone], WINDOW).reason(*pair) is None, "as often without the other"
    crowd = tuple(f"shop/{n}" for n in "abcdefghijklmnop")
    assert learn(openings(0, 1000, 2000, 3000, entities=crowd), WINDOW).reason(*pair) is None, "all began at once"
    assert learn([], WINDOW).pairs == {}


def test_what_was_learned_joins_what_the_graph_does_not_know() -> None:
    learned = learn(
        [o for m in (-9000, -7000, -5000) for o in (
            Opening("shop/db", "connection_exhaustion", at(m)), Opening("shop/mailer", "error_rate_climb", at(m + 5)),
        )], WINDOW,
    )  # fmt: skip
    mailer = episode(5, "shop/mailer", ERRORS)
    assert assign(mailer, [group("db", episode())], GRAPH, WINDOW).incident_id is None
    decision = assign(mailer, [group("db", episode())], GRAPH, WINDOW, learned)
    assert decision.incident_id == "db" and "began together 3 of 3 times" in decision.reason
    assert (
        assign(episode(45, "shop/mailer", ERRORS), [group("db", episode())], GRAPH, WINDOW, learned).incident_id is None
    )


def moving(like: int, entity: str, signal: str = POOL, minutes: float = 0) -> Episode:
    r = risk(minutes, entity, signal)
    times = [60.0 * (i - 60) for i in range(61)]
    shape = np.random.default_rng(like).normal(size=61)
    return replace(episode(minutes, entity, signal), risk=replace(
        r, forecast=Forecast(times, [float(v) * r.limit for v in shape], [], [], [], [])
    ))  # fmt: skip


def test_of_two_causes_equally_near_the_one_that_moves_alike_is_joined() -> None:
    graph = ServiceGraph([("shop/api", "shop/db"), ("shop/api", "shop/cache")])
    db, cache = group("db", moving(1, "shop/db")), group("cache", moving(2, "shop/cache"))
    for like, name in ((1, "db"), (2, "cache")):
        decision = assign(moving(like, "shop/api", LATENCY), [db, cache], graph, WINDOW)
        assert decision.incident_id == name and "moves with the cause's (1.00)" in decision.reason
    assert correlation(moving(1, "shop/a"), moving(1, "shop/b", minutes=500)) == 0.0, "no moment in common"
    assert correlation(moving(1, "shop/a"), episode(risk=None)) == 0.0


def test_a_pool_is_a_consequence_only_where_it_moves_with_what_is_below() -> None:
    db, alike, apart = group("db", moving(1, "shop/db")), moving(1, "shop/api"), moving(2, "shop/api")
    assert assign(alike, [db], GRAPH, WINDOW).incident_id == "db"
    assert assign(apart, [db], GRAPH, WINDOW).incident_id is None
    assert merge_of(group("api", apart), [db], GRAPH, WINDOW) is None
    assert cause_of([moving(1, "shop/db"), alike], GRAPH).entity == "shop/db"
    gone = group("db", replace(moving(1, "shop/db"), failed_at=at(-1)))
    assert assign(apart, [gone], GRAPH, WINDOW).incident_id == "db", "without a database everybody waits"
    assert assign(moving(2, "shop/api", LATENCY), [db], GRAPH, WINDOW).incident_id == "db", "a promise may break anyhow"


def test_two_pools_over_one_server_are_joined_only_where_they_move_together() -> None:
    api = group("api", moving(1, "shop/api"))
    assert assign(moving(1, "shop/worker"), [api], GRAPH, WINDOW).incident_id == "api"
    assert assign(moving(2, "shop/worker"), [api], GRAPH, WINDOW).incident_id is None


def test_a_slowness_that_is_explained_does_not_explain_a_pool_beside_it() -> None:
    memory = episode(0, "shop/db", DISK)
    explained = group("db", memory, episode(1, "shop/api", LATENCY))
    assert assign(episode(2, "shop/api"), [explained], GRAPH, WINDOW).incident_id is None
    alone = group("api", episode(1, "shop/api", LATENCY))
    assert assign(episode(2, "shop/api"), [alone], GRAPH, WINDOW).incident_id == "api", "it is the cause of it"


def test_signals_are_compared_cell_by_cell_of_the_clock() -> None:
    late = moving(1, "shop/api")
    shifted = replace(late, risk=replace(late.risk, predicted_at=at(0) + timedelta(seconds=25)))
    assert correlation(moving(1, "shop/db"), shifted) == pytest.approx(1.0)


def past(number: int, minutes: float, entity: str = "shop/db", signal: str = POOL, **known: object) -> PastIncident:
    incident = group(str(number), episode(minutes, entity, signal)).incident
    said = {k: known.pop(k) for k in ("verdict", "note", "author") if k in known}
    incident = replace(incident, **({"state": "resolved"} | known))  # type: ignore[arg-type]
    return PastIncident(incident, at(minutes + 60), **said)  # type: ignore[arg-type]


@pytest.fixture
def now() -> Incident:
    return group("now", episode(9000)).incident


def test_similar_incidents_are_ranked_by_what_they_share(now: Incident) -> None:
    history = [
        past(1, 0, "shop/mailer", DISK, drivers=[]),
        past(2, 100),
        past(3, 200),
        past(4, 300, "live/db"),
        past(5, 400, state="merged"),
    ]
    found = similar(now, history)
    assert [s.past.incident.incident_id for s in found] == ["3", "2", "4"]
    assert found[0].similarity == 1.0 and found[0].shared[:2] == ("entity shop/db", "mode connection_exhaustion")
    assert found[2].similarity == pytest.approx(5 / 9, abs=0.001)
    assert [s.past.incident.incident_id for s in similar(now, history, limit=1)] == ["3"]


def test_a_similar_incident_says_how_it_ended(now: Incident) -> None:
    def sentence(**known: object) -> str:
        return SimilarIncident(past(1, 0, **known), 1.0, ()).sentence  # type: ignore[arg-type]

    start = "The last one like it (2026-03-02 12:00 UTC)"
    assert sentence(failed_at=at(35), verdict="confirmed", note="raised the pool", author="ada") == (
        f"{start} was over 25 min after it failed: raised the pool."
    )
    assert sentence(state="expired") == f"{start} did not come true."
    assert sentence(state="averted", verdict="averted") == f"{start} was averted."
    assert past(1, 0, state="expired").mended_after_seconds is None
