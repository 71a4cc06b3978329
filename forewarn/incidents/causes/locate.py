"""The likely causes of an incident, from everything that a recording of its beginning holds."""

from collections.abc import Iterable
from dataclasses import dataclass

from forewarn.incidents.causes import logs as log_lines
from forewarn.incidents.causes import metrics, spans
from forewarn.incidents.causes.findings import Finding, Window
from forewarn.incidents.causes.hearsay import believe_the_called
from forewarn.incidents.causes.ranking import Suspect, rank
from forewarn.telemetry.samples import SampleBatch


@dataclass(frozen=True, slots=True, eq=False)
class Observed:
    """Telemetry around an incident. edges: pairs (client, server); visits and lines where there are spans and logs."""

    samples: SampleBatch
    edges: tuple[tuple[str, str], ...] = ()
    visits: spans.Visits | None = None
    lines: log_lines.Lines | None = None


def locate(observed: Observed, window: Window, candidates: Iterable[str] = ()) -> list[Suspect]:
    """Suspects, the most likely first, each with reasons that carry their numbers.

    Time lost is taken from spans, which tell a service's own time from that of what it calls; from metrics where
    there are no spans in the window.
    """
    return rank(findings_of(observed, window), candidates)


def findings_of(observed: Observed, window: Window) -> list[Finding]:
    """All that is unusual in the window."""
    found: list[Finding] = []
    if observed.visits is not None:
        found += spans.time_findings(observed.visits, window)
        found += spans.work_findings(observed.visits, window)
    if observed.lines is not None:
        found += log_lines.findings(observed.lines, window)
    by_spans = any(finding.kind == "time" for finding in found)
    seen = metrics.changes(observed.samples, window)
    found += metrics.findings(seen, observed.edges, with_time=not by_spans)
    found += metrics.limit_findings(observed.samples, window)
    if not by_spans:
        found += metrics.work_findings(observed.samples, observed.edges, window)
    return believe_the_called(found, observed.edges)
