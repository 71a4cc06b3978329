"""What readers wait for: `make bench-dashboard` or `python -m benchmarks.dashboard [part …]`; results/dashboard.json.

A real dashboard process and a headless Chromium on the same machine, with a PostgreSQL that holds 1,000 entities,
10,000 risks and what belongs to them, and goes on changing meanwhile.
"""

import statistics
import sys
import time
from collections.abc import Callable, Sequence

import numpy as np
import psycopg
from playwright.sync_api import Browser, Page

from benchmarks.dashboard_sessions.predictions import incident
from benchmarks.dashboard_sessions.processes import (
    Dashboard,
    Life,
    World,
    alerter,
    dashboard,
    new_risk,
    store_risk,
    world,
)
from benchmarks.dashboard_sessions.readers import Paint, chromium, expect_text, shown_at, visit
from benchmarks.report import Result, at_most, show, write
from forewarn.incidents.records import encode_incident
from forewarn.risk.records import Risk, encode
from forewarn.stores.log import producer
from forewarn.telemetry import topics

FIRST_PAINT_SECONDS, UPDATE_SECONDS = 2.0, 1.0
ROUNDS, UPDATES, SESSIONS, WATCHED_SECONDS = 5, 20, 10, 30.0
LOST = 20.0  # seconds after which an update counts as lost


def addresses(here: World) -> dict[str, str]:
    """Each page with what a reader looks at."""
    return {
        "now": "", "risk": f"risk?incident={here.history.open_incidents[0].incident_id}", "timeline": "timeline",
        "timeline of 90 d": "timeline?span=90d", "ledger": "ledger", "models": "models", "data": "data",
        "settings": "settings",
    }  # fmt: skip


def pages(here: World, board: Dashboard) -> list[Result]:
    """First paint and own content of every page: a reader who was never here, five times each; the worst counts."""
    results = []
    for name, path in addresses(here).items():
        paints = [_alone(f"{board.url}/{path}") for _ in range(ROUNDS)]
        results += _paints(name, paints)
    return results


def _alone(url: str) -> Paint:
    with chromium() as browser:
        return visit(browser, url)[1]


def _paints(name: str, paints: Sequence[Paint]) -> list[Result]:
    def seconds(part: str) -> list[float]:
        return [getattr(p, part) / 1000 for p in paints]

    names = {"median of the first paint": "first", "of the largest": "largest", "of live, with charts": "drawn"}
    beside = {name: statistics.median(seconds(part)) for name, part in names.items()}
    note = f"median {statistics.median(seconds('content')):.2f} s; worst of {len(paints)}, browser started anew"
    return [
        at_most(f"first paint: {name}", max(seconds("first")), "s", FIRST_PAINT_SECONDS),
        at_most(f"own content: {name}", max(seconds("content")), "s", FIRST_PAINT_SECONDS, baselines=beside, note=note),
    ]


def updates(here: World, board: Dashboard) -> list[Result]:
    """From a risk to the open page: after it is committed, and after it was put on the topic, through the alerter."""
    with chromium() as browser:
        page, _ = visit(browser, board.url)
        committed = _latencies(page, 10_000, lambda risk: _commit(here, risk))
        with alerter(here):
            told = _latencies(page, 20_000, lambda risk: _send(here, risk))
    return [
        *_update_rows("from commit to page", committed, "the page's next frame after the transaction"),
        *_update_rows("from risk on its topic to page", told, "through a real broker and alerter"),
    ]


def _commit(here: World, risk: Risk) -> float:
    """As the alerter would do; the wall clock afterwards."""
    case = incident(risk, risk.predicted_at, "critical", [risk.episode])
    row = (case.incident_id, case.version, case.state, case.severity, case.entity, case.mode, case.title,
           case.opened_at, case.updated_at, encode_incident(case).decode())  # fmt: skip
    with psycopg.connect(here.postgres) as connection:
        store_risk(connection, risk)
        connection.execute(_INCIDENT, row)
        connection.execute("insert into incident_episodes values (%s, %s)", (risk.episode, case.incident_id))
    return time.time()


def _send(here: World, risk: Risk) -> float:
    """As the predictor does; the wall clock when the broker has it."""
    out = producer(here.broker, 30)
    out.produce(topics.RISKS, encode(risk), risk.entity)
    out.flush(10)
    return time.time()


def _latencies(page: Page, first: int, write_one: Callable[[Risk], float]) -> list[float]:
    """Seconds from each of UPDATES writes until the page shows the entity of the risk; LOST where it never does."""
    rng, found = np.random.default_rng(3), []
    for number in range(first, first + UPDATES):
        risk = new_risk(number)
        expect_text(page, risk.entity)
        page.wait_for_timeout(float(rng.uniform(300, 1300)))  # no beat in common with the dashboard's
        at = write_one(risk)
        shown = shown_at(page, risk.entity, LOST)
        found.append(LOST if shown is None else shown - at)
    return found


def _update_rows(name: str, seconds: Sequence[float], note: str) -> list[Result]:
    return [
        at_most(f"p99 {name}", float(np.quantile(seconds, 0.99)), "s", UPDATE_SECONDS, note=f"{len(seconds)}: {note}"),
        Result(f"median {name}", statistics.median(seconds), "s"),
    ]


def sessions(here: World, board: Dashboard) -> list[Result]:
    """Ten readers, each with a page that stays live, and an eleventh who comes; all browse on the same cores."""
    paths = list(addresses(here).values())
    with chromium() as browser:
        watched, _ = visit(browser, board.url)
        for n in range(1, SESSIONS):
            visit(browser, f"{board.url}/{paths[n % len(paths)]}")
        cpu, began = board.cpu_seconds(), time.monotonic()
        watched.wait_for_timeout(WATCHED_SECONDS * 1000)
        busy = (board.cpu_seconds() - cpu) / (time.monotonic() - began)
        seconds = _latencies(watched, 30_000, lambda risk: _commit(here, risk))
        lag, opened, memory = board.counter("loop_lag_seconds_p99"), board.counter("open_pages"), board.megabytes()
        eleventh = {name: _eleventh(browser, f"{board.url}/{path}") for name, path in addresses(here).items()}
    with_ten = f"{opened:.0f} pages open in a browser on the same cores"
    return [
        *(row for name, paints in eleventh.items() for row in _paints(f"{name}, as an eleventh", paints)),
        *_update_rows(f"from commit to page, {SESSIONS} open", seconds, with_ten),
        Result(f"processor of the dashboard, {SESSIONS} open", busy, "cores", note=f"over {WATCHED_SECONDS:.0f} s"),
        Result(f"memory of the dashboard, {SESSIONS} open", memory, "MB", note=with_ten),
        Result(f"p99 of the event loop's lag, {SESSIONS} open", lag, "s", note="of calls every 50 ms over a minute"),
    ]


def _eleventh(browser: Browser, url: str) -> list[Paint]:
    paints = []
    for _ in range(3):
        page, paint = visit(browser, url)
        page.context.close()
        paints.append(paint)
    return paints


_INCIDENT = """
insert into incidents (incident_id, version, state, severity, entity, mode, title, opened_at, updated_at, payload)
values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""
PARTS = {"pages": pages, "updates": updates, "sessions": sessions}


def main(wanted: Sequence[str]) -> int:
    """Exit code 0; 2 where there is no such part."""
    if unknown := set(wanted) - set(PARTS):
        print(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}", file=sys.stderr)
        return 2
    results: list[Result] = []
    with world() as here, dashboard(here) as board, Life(here):
        print(f"{len(here.company.entities)} entities, {here.history.count('risks')} risks", flush=True)
        for name in wanted or PARTS:
            print(f"{name} …", flush=True)
            results += PARTS[name](here, board)
            write("dashboard", results)
    show("Dashboard", results)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
