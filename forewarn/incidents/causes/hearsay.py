"""Trouble that travels to those who call: of two that show it, the one that is called is believed."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from forewarn.incidents.causes.findings import Finding, Kind

_HEARSAY = 0.3  # what is left of a caller's finding
_ENOUGH = 0.5  # of a caller's amount, at what it calls, explains the caller's
TRAVELS: frozenset[Kind] = frozenset({"errors", "work", "log"})


def believe_the_called(findings: Sequence[Finding], edges: Iterable[tuple[str, str]]) -> list[Finding]:
    """Findings of kinds that travel, at 30 % where something that the entity calls shows at least half as much.

    A request that fails behind a service fails in the service, too: it logs an error and does less. Time does not
    need this: it is measured without the calls.
    """
    amounts: dict[tuple[str, Kind], float] = defaultdict(float)
    for finding in findings:
        amounts[finding.entity, finding.kind] += finding.amount
    servers: dict[str, set[str]] = defaultdict(set)
    for client, server in edges:
        if client != server:
            servers[client].add(server)

    def explained(finding: Finding) -> bool:
        enough = _ENOUGH * amounts[finding.entity, finding.kind]
        return any(amounts.get((server, finding.kind), 0.0) >= enough for server in servers[finding.entity])

    return [
        replace(f, amount=_HEARSAY * f.amount) if f.kind in TRAVELS and f.amount > 0 and explained(f) else f
        for f in findings
    ]
