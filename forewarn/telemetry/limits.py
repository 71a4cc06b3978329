"""A known capacity belongs to its signal: which series tells the limit of which."""

from collections.abc import Sequence

from forewarn.telemetry.samples import Series

_ALIASES = {
    "db.client.connections.max": "db.client.connections.usage",
    "db.client.connection.max": "db.client.connection.count",
    "process.open_file_descriptor.limit": "process.unix.file_descriptor.count",
    "container.memory.limit": "container.memory.usage",
    "k8s.container.memory_limit": "container.memory.usage",
    "system.memory.limit": "system.memory.usage",
    "postgresql.connection.max": "postgresql.backends",
}
_SUFFIXES = (".limit", "_limit", ".max", "_max")


def limited_signal(signal: str) -> str | None:
    """The signal whose limit this signal tells, or None where it tells none.

    `system.filesystem.usage.limit` is the limit of `system.filesystem.usage`; names of the OpenTelemetry
    conventions that do not follow the suffix rule are listed above.
    """
    if signal in _ALIASES:
        return _ALIASES[signal]
    return next((signal[: -len(s)] for s in _SUFFIXES if signal.endswith(s)), None)


def limit_pairs(series: Sequence[Series]) -> dict[int, int]:
    """Index of each limited series -> index of the series that tells its limit.

    The limit has the same entity and attributes; a limit without attributes holds for every series of its signal.
    """
    position = {(s.entity, s.signal, s.attributes): i for i, s in enumerate(series)}
    told: dict[tuple[str, str], dict[tuple[tuple[str, str], ...], int]] = {}
    for i, s in enumerate(series):
        target = limited_signal(s.signal)
        if target is not None:
            told.setdefault((s.entity, target), {})[s.attributes] = i
    pairs = {}
    for (entity, signal, attributes), i in position.items():
        limits = told.get((entity, signal))
        if limits:
            source = limits.get(attributes, limits.get(()))
            if source is not None:
                pairs[i] = source
    return pairs
