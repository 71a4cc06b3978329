"""The figures of a run: what was lost, what came twice, how long recovery took."""

from collections.abc import Callable, Sequence

from rich.console import Console

from benchmarks.faults.catalogue import Fault
from benchmarks.faults.counting import Archived, Told, count_lines, count_mails, count_samples, count_told
from benchmarks.faults.scene import Report, Scene
from benchmarks.report import Result, at_most

RECOVERY_GOAL_SECONDS = 60.0
_AROUND_SECONDS = 5.0  # before and after a fault that belong to it


def figures(scene: Scene, reports: Sequence[Report], faults: Sequence[Fault], console: Console) -> list[Result]:
    """Of a run that is over and whose stack runs again."""
    forgetful = {f.name for f in faults if f.forgets}
    forgotten = min((r.began for r in reports if r.name in forgetful), default=reports[-1].began)
    samples, lines = count_samples(scene.stack.url, scene.load), count_lines(scene.stack.url, scene.load)
    before, after = count_told(scene.stack.url, scene.ramps, forgotten)
    console.print("  lost:", where(samples.lost, reports), "; twice:", where(samples.twice, reports))
    console.print("  told:", before, highlight=False)
    return [
        *(_recovery(r) for r in reports if r.name != "stop"),
        *_archived(samples, lines, reports, forgetful),
        *_told(before, after),
        *_mailed(scene),
    ]


def _recovery(report: Report) -> Result:
    seconds = report.recovery_seconds
    note = "; ".join(n for n in (report.problem, report.told, f"{report.restarts} restarts") if n)
    parts = {name: round(value, 1) for name, value in report.parts.items()}
    if report.left_out:
        return Result(f"recovery, {report.title}", None, "s", note=note)
    met = seconds is not None and seconds <= RECOVERY_GOAL_SECONDS
    return Result(f"recovery, {report.title}", seconds, "s", f"≤ {RECOVERY_GOAL_SECONDS:g}", met, parts, note)


def _archived(samples: Archived, lines: Archived, reports: Sequence[Report], forgetful: set[str]) -> list[Result]:
    apart = [r for r in reports if r.name in forgetful or r.name == "stop"]

    def lost_in(report: Report, of: Archived) -> int:
        return sum(count for at, count in of.lost if _fault_of(at, reports) is report)

    kept_samples = sum(n for at, n in samples.lost if _fault_of(at, reports) not in apart)
    kept_lines = sum(n for at, n in lines.lost if _fault_of(at, reports) not in apart)
    rows = [
        at_most("acknowledged samples lost", kept_samples, "samples", 0,
                note=f"of {samples.samples:,}; {where(samples.lost, reports)}"),
        at_most("acknowledged samples stored twice", sum(n for _, n in samples.twice), "samples", 0,
                note=where(samples.twice, reports)),
        Result("samples stored twice that the sender had sent again", samples.repeated, "samples",
               note=f"{samples.sent_again:,} of {samples.accepted:,} requests were sent again"),
        at_most("acknowledged log lines lost", kept_lines, "lines", 0,
                note=f"of {lines.samples:,}; {where(lines.lost, reports)}"),
        at_most("acknowledged log lines stored twice", sum(n for _, n in lines.twice), "lines", 0,
                note=where(lines.twice, reports)),
        at_most("good requests refused for good", samples.refused + lines.refused, "requests", 0),
    ]  # fmt: skip
    for report in apart:
        lost, beside = lost_in(report, samples), {"log lines": float(lost_in(report, lines))}
        name = f"acknowledged samples lost, {report.title}"
        killed = report.name == "kill-broker"  # the one that is not promised: its log is in memory
        rows.append(
            Result(name, lost, "samples", baselines=beside, note="kept in memory only: docs/faults.md")
            if killed else at_most(name, lost, "samples", 0, baselines=beside, note=report.told)
        )  # fmt: skip
    return rows


def _told(before: Told, after: Told) -> list[Result]:
    rises = f"of {before.rises} rises"
    if not before.rises:  # too short a run to say anything
        return [Result("failures that nobody was told of before", None, "failures", note="no rise came to its end")]
    return [
        at_most("failures that nobody was told of before", len(before.untold), "failures", 0, note=rises),
        at_most("risks told twice", len(before.again), "risks", 0, note=rises),
        at_most("failures that were not observed", len(before.unseen), "failures", 0, note=rises),
        at_most("risks without an incident", before.without_incident, "risks", 0),
        Result("risks told twice, the broker's memory gone", len(after.again), "risks", note=f"of {after.rises} rises"),
        Result("failures that nobody was told of before, the broker's memory gone", len(after.untold), "failures",
               note=f"of {after.rises} rises"),
    ]  # fmt: skip


def _mailed(scene: Scene) -> list[Result]:
    mailed = count_mails(scene.stack.url, scene.stack.home / "mail")
    note = f"of {mailed.pages} pages; {mailed.mails} mails"
    return [
        at_most("incidents told twice", len(mailed.again), "mails", 0, note=note),
        at_most("incidents marked as told without a mail", len(mailed.missing), "incidents", 0, note=note),
        at_most("messages that still wait at the end", mailed.waiting, "messages", 0),
    ]


def where(counted: Sequence[tuple[float, int]], reports: Sequence[Report]) -> str:
    """How many fall into each fault and its recovery."""
    counts: dict[str, int] = {}
    for at, count in counted:
        report = _fault_of(at, reports)
        name = report.name if report else "between faults"
        counts[name] = counts.get(name, 0) + count
    return ", ".join(f"{name}: {n:,}" for name, n in counts.items()) or "none"


def _fault_of(moment: float, reports: Sequence[Report]) -> Report | None:
    """The fault, its recovery and a little around it that a moment falls into."""
    inside: Callable[[Report, float], bool] = lambda r, around: (  # noqa: E731
        not r.left_out and r.began - around <= moment <= max(r.recovered, r.ended) + around
    )
    exact = next((r for r in reports if inside(r, 0)), None)
    return exact or next((r for r in reversed(reports) if inside(r, _AROUND_SECONDS)), None)
