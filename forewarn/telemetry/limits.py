"""A known capacity belongs to its signal: which series tells the limit of which."""

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
