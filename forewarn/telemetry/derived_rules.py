"""What is used where a source tells only what is free: which series are added, and from which they follow."""

from dataclasses import dataclass
from typing import NamedTuple

from forewarn.telemetry.samples import Kind, Series

Attributes = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """`signal` = the sum of coefficient × value over its terms.

    terms: signal (and state, where the source tells states) -> coefficient. without: attributes that the result does
    not have; series that differ in them only are added up. needed: how many terms must be there for a result.
    """

    signal: str
    terms: dict[tuple[str, str], float]
    without: frozenset[str] = frozenset()
    needed: int = 2


class Term(NamedTuple):
    """A series that others follow from: the series that it belongs to, and its part in it."""

    derived: Series
    coefficient: float
    needed: int


_SUMMED = frozenset(
    {"datname", "datid", "state", "usename", "application_name", "backend_type", "wait_event_type", "wait_event"}
)
_USED = (  # result, total, what is left of it
    ("node_filesystem_used_bytes", "node_filesystem_size_bytes", "node_filesystem_avail_bytes"),
    ("node_filesystem_files_used", "node_filesystem_files", "node_filesystem_files_free"),
    ("node_memory_used_bytes", "node_memory_MemTotal_bytes", "node_memory_MemAvailable_bytes"),
    ("node_memory_swap_used_bytes", "node_memory_SwapTotal_bytes", "node_memory_SwapFree_bytes"),
    ("windows_logical_disk_used_bytes", "windows_logical_disk_size_bytes", "windows_logical_disk_free_bytes"),
    ("windows_memory_physical_used_bytes", "windows_memory_physical_total_bytes", "windows_memory_available_bytes"),
    (
        "elasticsearch_filesystem_data_used_bytes",
        "elasticsearch_filesystem_data_size_bytes",
        "elasticsearch_filesystem_data_available_bytes",
    ),
)
_RULES = (
    *(Rule(used, {(total, ""): 1.0, (left, ""): -1.0}) for used, total, left in _USED),
    Rule("pg_connections_used", {("pg_stat_activity_count", ""): 1.0}, _SUMMED, needed=1),
    Rule(  # of the Collector's host metrics, which tell no size; what is reserved for root is out of reach
        "system.filesystem.usage.limit",
        {("system.filesystem.usage", "used"): 1.0, ("system.filesystem.usage", "free"): 1.0},
        frozenset({"state", "system.filesystem.state"}),
    ),
)
_BY_SIGNAL: dict[str, list[Rule]] = {}
for _rule in _RULES:
    for _signal, _ in _rule.terms:
        if _rule not in _BY_SIGNAL.setdefault(_signal, []):
            _BY_SIGNAL[_signal].append(_rule)
_STATES = ("state", "system.filesystem.state")
_TYPES = ("fstype", "type", "system.filesystem.type")
_FULL_BY_NATURE = frozenset({"squashfs", "iso9660", "erofs", "cramfs", "romfs", "udf"})  # images, written once


def term_of(series: Series) -> Term | None:
    """What follows from a series, None where nothing does (as from nearly all)."""
    rules = _BY_SIGNAL.get(series.signal)
    if rules is None or series.kind is not Kind.GAUGE or _is_image(series.attributes):
        return None
    for rule in rules:
        attributes = dict(series.attributes)
        state = (
            "" if (series.signal, "") in rule.terms else next((attributes[n] for n in _STATES if n in attributes), "")
        )
        coefficient = rule.terms.get((series.signal, state))
        if coefficient is not None:
            kept = tuple(pair for pair in series.attributes if pair[0] not in rule.without)
            return Term(Series(series.entity, rule.signal, kept, Kind.GAUGE, series.unit), coefficient, rule.needed)
    return None


def _is_image(attributes: Attributes) -> bool:
    return any(
        (name in _TYPES and value in _FULL_BY_NATURE) or ((name, value) == ("mode", "ro")) for name, value in attributes
    )
