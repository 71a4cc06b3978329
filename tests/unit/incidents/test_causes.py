"""The cause is named before what suffers from it: made-up requests through front → middle → back, and side → back."""

import numpy as np
import pytest

from forewarn.incidents.causes import logs as log_lines
from forewarn.incidents.causes.findings import Finding, Window, spread
from forewarn.incidents.causes.graph_flow import Load, flow_findings
from forewarn.incidents.causes.hearsay import believe_the_called
from forewarn.incidents.causes.locate import Observed, locate
from forewarn.incidents.causes.ranking import rank
from forewarn.incidents.causes.spans import Visits, visits
from forewarn.telemetry.recording import Logs, Spans
from forewarn.telemetry.samples import SampleBatch, Series

SECOND = 10**9
START, END = 600 * SECOND, 840 * SECOND
WINDOW = Window(START, END)
EDGES = (("front", "middle"), ("middle", "back"), ("side", "back"))
NOTHING = SampleBatch((), np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0))


class Trace:
    """Spans of requests, one row each: entity, operation, start, seconds, trace, id, parent, error."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, str, int, float, int, int, int, bool]] = []

    def add(self, entity: str, what: str, start: float, seconds: float, trace: int, parent: int, error: bool) -> int:
        self.rows.append((entity, what, int(start * SECOND), seconds, trace, len(self.rows) + 1, parent, error))
        return len(self.rows)

    def spans(self) -> Spans:
        entities, what, starts, seconds, trace, ids, parents, errors = zip(
            *sorted(self.rows, key=lambda r: r[2]), strict=True
        )
        names = sorted(set(entities))
        return Spans(
            entities=tuple(names),
            index=np.array([names.index(e) for e in entities], np.int32),
            starts=np.array(starts),
            durations=np.array(seconds),
            trace_ids=np.array([f"{t:032x}" for t in trace], "S32"),
            span_ids=np.array([f"{i:016x}" for i in ids], "S16"),
            parent_span_ids=np.array([f"{p:016x}" if p else "" for p in parents], "S16"),
            operations=np.array(what, object),
            kinds=np.array(["internal"] * len(what), object),
            errors=np.array(errors),
        )


def requests(fault: str = "", where: str = "") -> Spans:
    """One request a second; from START on `where` is 'slow', 'far' (slow to reach) or it 'fails' early."""
    rng, trace = np.random.default_rng(0), Trace()
    for t in range(0, END // SECOND):
        chain = ("front", "middle", "back") if t % 3 else ("side", "back")
        bad = t * SECOND >= START
        parent, at, budget = 0, float(t), 0.9
        for entity in chain:
            hit = bad and entity == where
            failing = bad and fault == "fails" and where in chain
            parent = trace.add(
                entity, "/do", at, budget, t, parent, failing and chain.index(entity) <= chain.index(where)
            )
            if hit and fault == "fails":
                break
            own = 0.05 + 0.005 * rng.random() + (0.3 if hit and fault == "slow" else 0.0)
            trace.add(entity, "query", at, own, t, parent, False)
            ahead = chain[chain.index(entity) + 1 :][:1]
            if not ahead:
                break
            far = bad and fault == "far" and where in (entity, *ahead)
            way = 0.01 + 0.001 * rng.random() + (0.2 if far else 0.0)
            parent = trace.add(entity, "call", at + own, budget - own, t, parent, False)
            at, budget = at + own + way / 2, budget - own - way
        trace = shrink(trace, t)
    return trace.spans()


def shrink(trace: Trace, t: int) -> Trace:
    """Spans end when what they wait for ends: durations from the innermost of trace t outwards."""
    rows = [r for r in trace.rows if r[4] == t]
    ends: dict[int, float] = {}
    for row in reversed(rows):
        inner = ends.get(row[5], row[2] / SECOND + (row[3] if row[1] == "query" else 0.0))
        away = [r[2] / SECOND for r in rows if r[6] == row[5]]
        way = (min(away) - row[2] / SECOND) if row[1] == "call" and away else 0.0
        end = inner + way
        trace.rows[row[5] - 1] = (*row[:3], end - row[2] / SECOND, *row[4:])
        ends[row[6]] = max(ends.get(row[6], 0.0), end)
    return trace


def observed(seen: Visits | None = None, samples: SampleBatch = NOTHING, lines: object = None) -> Observed:
    return Observed(samples, EDGES, seen, lines)  # type: ignore[arg-type]


@pytest.mark.parametrize("fault", ["slow", "far", "fails"])
@pytest.mark.parametrize("where", ["middle", "back"])
def test_spans_name_the_cause_before_its_callers(fault: str, where: str) -> None:
    suspects = locate(observed(visits(requests(fault, where))), WINDOW, ["front", "middle", "back", "side"])
    assert suspects[0].entity == where, [(s.entity, s.score, s.reasons[:2]) for s in suspects]
    assert where in suspects[0].reasons[0]


def test_nothing_is_blamed_when_nothing_changed() -> None:
    suspects = locate(observed(visits(requests())), WINDOW, ["front", "middle", "back"])
    assert max(s.score for s in suspects) == 0.0
    assert [s.entity for s in suspects] == ["back", "front", "middle"]


def test_own_time_leaves_out_calls_that_overlap() -> None:
    trace = Trace()
    root = trace.add("a", "/", 0.0, 1.0, 1, 0, False)
    for begin, seconds in ((0.1, 0.5), (0.4, 0.4)):
        call = trace.add("a", "call", begin, seconds, 1, root, False)
        trace.add("b", "/b", begin, seconds, 1, call, False)
    own = visits(trace.spans()).own
    assert own[own["entity"] == "a"]["seconds"].tolist() == pytest.approx([0.3])  # 1.0 less 0.1 … 0.8


def gauge(entity: str, signal: str, usual: float, now: float, **attributes: str) -> tuple[Series, float, float]:
    return Series(entity, signal, tuple((k.replace("_", "."), v) for k, v in attributes.items())), usual, now


def samples(*gauges: tuple[Series, float, float]) -> SampleBatch:
    """A sample each 20 s, with 1 % of noise."""
    rng, times = np.random.default_rng(1), np.arange(0, END, 20 * SECOND)
    values = [np.where(times < START, u, n) * (1 + 0.01 * rng.standard_normal(len(times))) for _, u, n in gauges]
    index = np.repeat(np.arange(len(gauges), dtype=np.int32), len(times))
    return SampleBatch(tuple(s for s, _, _ in gauges), index, np.tile(times, len(gauges)), np.concatenate(values))


RATES = [gauge(e, "http.server.request.rate", 5.0, 5.0) for e in ("front", "middle", "back")]
LATENCY = "http.server.request.duration.p90"


def test_metrics_blame_the_deepest_slow_service() -> None:
    slow = [gauge("front", LATENCY, 0.3, 0.8), gauge("middle", LATENCY, 0.2, 0.7), gauge("back", LATENCY, 0.1, 0.6)]
    calls = [
        gauge("front", "http.client.request.duration.p50", 0.2, 0.7, server_address="middle"),
        gauge("middle", "http.client.request.duration.p50", 0.1, 0.6, server_address="back"),
    ]
    suspects = locate(observed(samples=samples(*RATES, *slow, *calls)), WINDOW)
    assert suspects[0].entity == "back"
    assert "rose by 0.5" in suspects[0].reasons[0]


def test_metrics_blame_a_cpu_that_is_used_up() -> None:
    slow = [gauge("middle", LATENCY, 0.2, 0.7), gauge("front", LATENCY, 0.3, 0.8)]
    calls = [gauge("front", "http.client.request.duration.p50", 0.2, 0.7, server_address="middle")]
    cpu = [
        gauge("middle", "k8s.container.cpu_limit_utilization", 0.1, 0.95),
        gauge("back", "k8s.container.cpu_limit_utilization", 0.001, 0.004),  # far outside of the usual, and nothing
    ]
    suspects = locate(observed(samples=samples(*RATES, *slow, *calls, *cpu)), WINDOW)
    assert suspects[0].entity == "middle"
    assert suspects[0].score > 0.9


def test_who_stops_calling_is_blamed() -> None:
    rates = [gauge(e, "http.server.request.rate", 5.0, n) for e, n in (("front", 5.0), ("middle", 5.0), ("back", 0.2))]
    assert locate(observed(samples=samples(*rates)), WINDOW)[0].entity == "middle"


def test_errors_travel_to_callers_and_the_called_is_believed() -> None:
    rows = []
    for t in range(0, END // SECOND, 2):
        for k, entity in enumerate(("front", "middle", "back")):
            rows.append((t * SECOND + k, entity, "INFO", f"request {t} done"))
            if t * SECOND >= START:
                rows.append((t * SECOND + 10 + k, entity, "ERROR", f"request {t} failed: {entity}"))
    entities, severities = [r[1] for r in rows], [r[2] for r in rows]
    names = sorted(set(entities))
    logs = Logs(
        entities=tuple(names),
        index=np.array([names.index(e) for e in entities], np.int32),
        times=np.array([r[0] for r in rows]),
        severities=severities,
        bodies=[r[3] for r in rows],
        trace_ids=[""] * len(rows),
        span_ids=[""] * len(rows),
        attributes=[],
    )
    suspects = locate(observed(lines=log_lines.lines(logs)), WINDOW)
    assert suspects[0].entity == "back"
    assert "logged 120 times 'request * failed" in suspects[0].reasons[0]


def test_time_is_not_hearsay() -> None:
    found = [Finding(e, kind, 1.0, 20.0, 1.0, e) for e in ("front", "middle") for kind in ("time", "log")]  # type: ignore[arg-type]
    kept = {(f.entity, f.kind): f.amount for f in believe_the_called(found, EDGES)}
    assert kept == {("front", "time"): 1, ("front", "log"): 0.3, ("middle", "time"): 1, ("middle", "log"): 1}


def test_amounts_are_compared_within_a_kind_only() -> None:
    found = [Finding("a", "time", 1e6, 1.0, 0.01, "tiny"), Finding("b", "resource", 0.5, 100.0, 0.9, "large")]
    assert [s.entity for s in rank(found)] == ["b", "a"]


def test_an_unnoticed_fifth_of_trouble_does_not_widen_the_usual() -> None:
    values = np.concatenate([np.linspace(0.9, 1.1, 17), np.full(3, 50.0)])
    assert spread(values) < 0.2


def load(entity: str, cost: float, rate: float, usual: float = 0.1, kind: str = "time") -> Load:
    before = usual + 0.001 * np.sin(np.arange(30.0))
    return Load(entity, kind, before, before[:4], np.array([usual, cost]), np.full(4, rate), np.full(2, rate))  # type: ignore[arg-type]


def test_flow_gives_extra_time_to_whom_no_call_explains() -> None:
    loads = [load("front", 0.6, 5.0), load("middle", 0.6, 5.0), load("back", 0.1, 5.0), load("else", 3.0, 50.0)]
    suspects = rank(flow_findings(loads, EDGES, "front"), ["back"])
    assert suspects[0].entity == "else"  # not what the symptom depends on: a tenth, of very much
    suspects = rank(flow_findings(loads[:3], EDGES, "front"), ["back"])
    assert suspects[0].entity == "middle"


def test_flow_reads_a_call_that_is_new_as_its_callers_doing() -> None:
    new = Load("new", "time", np.empty(0), np.empty(0), np.array([2.0, 2.0]), np.zeros(4), np.full(2, 5.0))
    suspects = rank(flow_findings([load("front", 0.6, 5.0), new], [("front", "new")], "front"))
    assert [s.entity for s in suspects] == ["front"]
