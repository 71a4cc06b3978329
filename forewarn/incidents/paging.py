"""Decides whether people are told about an incident now."""

from collections.abc import Sequence
from dataclasses import dataclass

from forewarn.incidents.records import Incident

CLOSINGS = ("resolved", "averted", "expired", "withdrawn", "merged")


@dataclass(frozen=True, slots=True)
class Verdict:
    """page: tell them. message: the kind of message ('opened', 'failed', 'resolved' …). reason: why or why not."""

    page: bool
    message: str
    reason: str


def should_page(incident: Incident, told: Sequence[str], last_state: str = "") -> Verdict:
    """Tell about each state once, and about the end once each time it opens.

    told: messages about this incident so far, oldest first. last_state: the incident's when the last of them left.
    """
    if incident.state == "predicted":
        return _predicted(incident, told)
    if incident.state == "firing":
        return _firing(told, last_state)
    if not told:
        return Verdict(False, incident.state, f"{incident.state}, and nobody was told that it was open")
    if incident.state in _since_opened(told):
        return Verdict(False, incident.state, f"'{incident.state}' was told already")
    return Verdict(True, incident.state, f"it was told as '{told[-1]}' and is {incident.state} now")


def _since_opened(told: Sequence[str]) -> Sequence[str]:
    """What came after the last opening: an end before it was another."""
    return told[max((n + 1 for n, reason in enumerate(told) if reason not in CLOSINGS), default=0) :]


def _predicted(incident: Incident, told: Sequence[str]) -> Verdict:
    if told and told[-1] in CLOSINGS:
        return _again(told)
    if told:
        return Verdict(False, "opened", f"told as '{told[-1]}' already")
    if incident.severity == "info":
        return Verdict(False, "opened", "severity info: stored, not sent")
    return Verdict(True, "opened", f"opened with severity {incident.severity}")


def _firing(told: Sequence[str], last_state: str) -> Verdict:
    if "failed" not in told:
        return Verdict(True, "failed", "it has failed")
    if told[-1] == "reopened" and last_state == "predicted":
        return Verdict(True, "failed", "it was told that it comes back, and it has failed again")
    return _again(told) if told[-1] in CLOSINGS else Verdict(False, "failed", "'failed' was told already")


def _again(told: Sequence[str]) -> Verdict:
    """A trouble that flaps is told twice, not every time."""
    if "reopened" in told:
        return Verdict(False, "reopened", "it flaps: 'reopened' was told already")
    return Verdict(True, "reopened", f"it is back after '{told[-1]}'")
