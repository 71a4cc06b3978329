"""Runs faults one after the other against one stack under load, and counts at the end."""

import time
from collections.abc import Sequence

from rich.console import Console

from benchmarks.faults import counting
from benchmarks.faults.catalogue import Fault
from benchmarks.faults.load import Load
from benchmarks.faults.ramps import Ramps
from benchmarks.faults.scene import NotRecovered, Report, Scene
from benchmarks.faults.stack import Stack, home
from benchmarks.report import Result, at_most

CALM_SECONDS = 3.0  # between two faults


def run(
    faults: Sequence[Fault],
    rate: float,
    hold_seconds: float,
    console: Console,
    only: str = "",
    warm_seconds: float = 10,
) -> list[Result]:
    """Start, load, do each fault and wait for recovery, count. Raises what the start raises."""
    with home(own_disk=True) as (folder, own_disk):
        console.print(f"A stack on {folder}" + (", its database on a disk of its own" if own_disk else ""))
        stack = Stack(folder, only=only, own_disk=own_disk)
        try:
            console.print(f"  ready after {stack.start():.0f} s: {', '.join(stack.services())}")
            return _under_load(stack, faults, rate, hold_seconds, console, warm_seconds)
        finally:
            console.print(f"  stopped in {stack.stop():.0f} s")


def _under_load(
    stack: Stack, faults: Sequence[Fault], rate: float, hold_seconds: float, console: Console, warm_seconds: float
) -> list[Result]:
    load, ramps = Load(lambda: stack.gateway, rate), Ramps(lambda: stack.gateway)
    scene = Scene(stack, load, ramps, hold_seconds)
    ramps.start()
    load.start()
    try:
        _await_live(ramps)
        time.sleep(warm_seconds)
        reports = []
        for fault in faults:
            reports.append(_do(fault, scene, console))
            time.sleep(CALM_SECONDS)
        time.sleep(warm_seconds)
    finally:
        load.stop()
        ramps.stop()
    scene.settle()
    return [*_recoveries(reports), *_counts(scene, reports, faults, console)]


def _await_live(ramps: Ramps, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not ramps.live:
        if time.monotonic() > deadline:
            raise NotRecovered(f"the gateway took only {ramps.cells} cells within {seconds:.0f} s")
        time.sleep(0.1)


def _do(fault: Fault, scene: Scene, console: Console) -> Report:
    report = Report(fault.name, fault.title, time.monotonic())
    if fault.needs and fault.needs not in scene.stack.services():
        report.problem = f"{fault.needs} is not part of this stack"
        console.print(f"  {fault.title}: left out, {report.problem}")
        return report
    restarts = scene.stack.restarts()
    try:
        fault.act(scene, report)
    except NotRecovered as error:
        report.problem = str(error)
    report.ended = report.ended or time.monotonic()
    if not report.problem:
        scene.await_recovery(report)
    report.restarts = scene.stack.restarts() - restarts
    parts = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in report.parts.items())
    outcome = report.problem or f"recovered in {report.recovery_seconds:.1f} s"
    console.print(f"  {fault.title}: {outcome} ({parts}; restarts {report.restarts}) {report.told}", highlight=False)
    return report


def _recoveries(reports: Sequence[Report]) -> list[Result]:
    results = []
    for r in reports:
        seconds = r.recovery_seconds
        parts = {name: round(value, 1) for name, value in r.parts.items()}
        results.append(
            Result(f"recovery, {r.title}", seconds, "s", "≤ 60", seconds is not None and seconds <= 60, parts,
                   note="; ".join(n for n in (r.problem, r.told, f"{r.restarts} restarts") if n))
        )  # fmt: skip
    return results


def _counts(scene: Scene, reports: Sequence[Report], faults: Sequence[Fault], console: Console) -> list[Result]:
    stack = scene.stack
    samples, lines = counting.count_samples(stack.url, scene.load), counting.count_lines(stack.url, scene.load)
    told, mailed = counting.count_told(stack.url, scene.ramps), counting.count_mails(stack.url, stack.home / "mail")
    console.print(f"  samples {samples.accepted:,} requests, {samples.samples:,} archived")
    console.print("  lost:", where(samples.lost, reports), "twice:", where(samples.twice, reports))
    console.print("  told:", told)
    console.print("  mails:", mailed)
    return [
        at_most(
            "acknowledged samples lost",
            samples.lost_samples,
            "samples",
            0,
            note=f"of {samples.samples:,}; {where(samples.lost, reports)}",
        ),
        at_most(
            "acknowledged requests stored twice",
            len(samples.twice),
            "requests",
            0,
            note=f"of {samples.accepted:,}; {where(samples.twice, reports)}",
        ),
        Result(
            "requests stored twice that the sender had repeated",
            samples.repeated,
            "requests",
            note=f"of {samples.sent_again:,} that were sent again",
        ),
        at_most(
            "acknowledged log lines lost",
            lines.lost_samples,
            "lines",
            0,
            note=f"of {lines.samples:,}; {where(lines.lost, reports)}",
        ),
        at_most("log requests stored twice", len(lines.twice), "requests", 0, note=f"of {lines.accepted:,}"),
        at_most("good requests refused for good", samples.refused + lines.refused, "requests", 0),
        at_most("failures that nobody was told of before", len(told.untold), "failures", 0, note=f"of {told.rises}"),
        at_most("risks told twice", len(told.again), "risks", 0, note=f"of {told.rises}"),
        at_most("failures that were not observed", len(told.unseen), "failures", 0, note=f"of {told.rises}"),
        at_most("risks without an incident", told.without_incident, "risks", 0),
        at_most(
            "incidents told twice", len(mailed.again), "mails", 0, note=f"of {mailed.pages} pages, {mailed.mails} mails"
        ),
        at_most("incidents marked as told without a mail", len(mailed.missing), "incidents", 0),
        at_most("messages still waiting at the end", mailed.waiting, "messages", 0),
    ]


def where(moments: Sequence[float], reports: Sequence[Report]) -> str:
    """How many of the moments fall into each fault and its recovery."""
    counts: dict[str, int] = {}
    for moment in moments:
        name = next(
            (r.name for r in reports if r.began - 3 <= moment <= max(r.recovered, r.ended) + 3), "between faults"
        )
        counts[name] = counts.get(name, 0) + 1
    return ", ".join(f"{name}: {n}" for name, n in counts.items()) or "none"
