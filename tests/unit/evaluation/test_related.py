"""Pages and incidents of a backtest: only what hangs together is one."""

import numpy as np

from forewarn.evaluation.model_metrics import EventMetrics, Told, event_metrics, incident_cells, together
from forewarn.evaluation.related import Related
from forewarn.incidents.graph import ServiceGraph

ENTITIES = ["shop/gateway", "shop/api", "shop/db", "shop/db", "shop/mail", "shop/host-7"]
GRAPH = ServiceGraph([("gateway", "api"), ("api", "db"), ("gateway", "mail")])
NEVER = np.array([], np.int64)


def test_what_depends_on_the_other_or_calls_the_same_is_related() -> None:
    related = Related.by(ENTITIES, GRAPH)
    near = [[k for k in range(6) if related.are(i, k)] for i in range(6)]
    assert near == [[0, 1, 2, 3, 4], [0, 1, 2, 3], [0, 1, 2, 3], [0, 1, 2, 3], [0, 4], [5]]
    assert related.rows([3]).tolist() == [0, 1, 2, 3] and related.rows([4, 5]).tolist() == [0, 4, 5]
    both = Related.by(["shop/a", "shop/b"], ServiceGraph([("shop/a", "shop/db"), ("shop/b", "shop/db")]))
    assert both.are(0, 1)


def test_where_no_call_is_known_time_alone_decides() -> None:
    for graph in (ServiceGraph(), ServiceGraph([("other/a", "other/b")])):
        related = Related.by(ENTITIES, graph)
        assert related.are(0, 5) and len(related.rows([5])) == 6


def test_unrelated_warnings_are_pages_of_their_own() -> None:
    """The warning of the database comes true; those of mail and of the host beside it are false alarms."""
    warnings = [Told(2, 100, 200), Told(1, 110, 200), Told(4, 120, 130), Told(5, 130, 140)]
    onsets = [NEVER, NEVER, np.array([201]), NEVER, NEVER, NEVER]
    by_time = event_metrics(warnings, onsets, 5000)
    by_calls = event_metrics(warnings, onsets, 5000, related=Related.by(ENTITIES, GRAPH))
    assert (by_time.pages, by_time.true_pages) == (1, 1)
    assert (by_calls.pages, by_calls.true_pages) == (3, 1)
    failing = np.zeros((6, 5000), bool)
    failing[2, 90:110] = True  # what depends on it belongs to its incident; mail and host do not
    seen = event_metrics(warnings[1:], onsets, 5000, failing, related=Related.by(ENTITIES, GRAPH))
    assert (seen.pages, seen.true_pages) == (2, 0)


def test_failures_become_one_incident_by_what_hangs_on_both() -> None:
    onsets = [np.array([550]), np.array([500]), NEVER, NEVER, np.array([510, 4000]), np.array([505])]
    related = Related.by(ENTITIES, GRAPH)
    assert incident_cells(onsets) == [500, 4000]
    assert incident_cells(onsets, related) == [500, 505, 4000]  # the gateway calls both api and mail
    onsets[0] = np.array([650])  # more than INCIDENT_STEPS after them
    assert incident_cells(onsets, related) == [500, 505, 510, 650, 4000]


def fleet(shops: int, seed: int) -> tuple[list[Told], list[np.ndarray]]:
    rng = np.random.default_rng(seed)
    onsets = [np.sort(rng.choice(np.arange(500, 19_000), 4, replace=False)) for _ in range(3 * shops)]
    warned = [Told(row, int(at) - 60, int(at)) for row, came in enumerate(onsets) for at in came[::2]]
    false = [Told(row, int(at), int(at) + 5) for row in range(3 * shops) for at in rng.integers(0, 19_000, 2)]
    return [*warned, *false], onsets


def test_many_that_do_not_hang_together_are_measured_as_each_alone() -> None:
    """By time alone a page of one of them comes true when another fails."""
    shops = 20
    warnings, onsets = fleet(shops, 1)
    entities = [f"all/{kind}-{k}" for k in range(shops) for kind in ("web", "api", "db")]
    graph = ServiceGraph([(f"{a}-{k}", f"{b}-{k}") for k in range(shops) for a, b in (("web", "api"), ("api", "db"))])

    def alone(k: int) -> EventMetrics:
        own = [Told(w.row - 3 * k, w.start, w.end) for w in warnings if w.row // 3 == k]
        return event_metrics(own, onsets[3 * k : 3 * k + 3], 20_000)

    each = together([alone(k) for k in range(shops)])
    one = event_metrics(warnings, onsets, 20_000, related=Related.by(entities, graph))
    counted = ("incidents", "predicted_incidents", "warnings", "true_warnings", "pages", "true_pages")
    assert [getattr(one, n) for n in counted] == [getattr(each, n) for n in counted]
    assert event_metrics(warnings, onsets, 20_000).precision > one.precision
