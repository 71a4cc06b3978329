"""A known capacity belongs to its signal: which series tells the limit of which."""

from collections.abc import Iterator, Sequence

from forewarn.telemetry.samples import Series

_ALIASES = {
    # OpenTelemetry
    "db.client.connections.max": "db.client.connections.usage",
    "db.client.connection.max": "db.client.connection.count",
    "process.open_file_descriptor.limit": "process.unix.file_descriptor.count",
    "container.memory.limit": "container.memory.usage",
    "k8s.container.memory_limit": "container.memory.usage",
    "system.memory.limit": "system.memory.usage",
    "postgresql.connection.max": "postgresql.backends",
    # node_exporter; …_used… is derived, see `derived`
    "node_filesystem_size_bytes": "node_filesystem_used_bytes",
    "node_filesystem_files": "node_filesystem_files_used",
    "node_memory_MemTotal_bytes": "node_memory_used_bytes",
    "node_memory_SwapTotal_bytes": "node_memory_swap_used_bytes",
    "node_filefd_maximum": "node_filefd_allocated",
    # windows_exporter
    "windows_logical_disk_size_bytes": "windows_logical_disk_used_bytes",
    "windows_memory_physical_total_bytes": "windows_memory_physical_used_bytes",
    # Prometheus client libraries and JVMs
    "process_max_fds": "process_open_fds",
    "process_virtual_memory_max_bytes": "process_virtual_memory_bytes",
    "process_files_max_files": "process_files_open_files",
    "jvm_memory_max_bytes": "jvm_memory_used_bytes",
    "jvm_memory_bytes_max": "jvm_memory_bytes_used",
    "hikaricp_connections_max": "hikaricp_connections_active",
    "tomcat_threads_config_max_threads": "tomcat_threads_busy_threads",
    # kubelet and cAdvisor
    "container_spec_memory_limit_bytes": "container_memory_working_set_bytes",
    "container_fs_limit_bytes": "container_fs_usage_bytes",
    "kubelet_volume_stats_capacity_bytes": "kubelet_volume_stats_used_bytes",
    "kubelet_volume_stats_inodes": "kubelet_volume_stats_inodes_used",
    # exporters of databases, queues and proxies
    "pg_settings_max_connections": "pg_connections_used",
    "mysql_global_variables_max_connections": "mysql_global_status_threads_connected",
    "redis_memory_max_bytes": "redis_memory_used_bytes",
    "redis_config_maxclients": "redis_connected_clients",
    "redis_max_clients": "redis_connected_clients",
    "memcached_max_connections": "memcached_current_connections",
    "elasticsearch_jvm_memory_max_bytes": "elasticsearch_jvm_memory_used_bytes",
    "elasticsearch_filesystem_data_size_bytes": "elasticsearch_filesystem_data_used_bytes",
    "rabbitmq_process_max_fds": "rabbitmq_process_open_fds",
    "rabbitmq_resident_memory_limit_bytes": "rabbitmq_process_resident_memory_bytes",
    "haproxy_frontend_limit_sessions": "haproxy_frontend_current_sessions",
    "haproxy_server_limit_sessions": "haproxy_server_current_sessions",
}
_SUFFIXES = (".limit", "_limit", ".max", "_max")
_STATES = ("state", "system.memory.state", "system.filesystem.state", "system.paging.state")
_NOT_IN_USE = frozenset(
    {"free", "available", "buffered", "buffers", "cached", "slab_reclaimable", "inactive", "reserved"}
)

Attributes = tuple[tuple[str, str], ...]


def limited_signal(signal: str) -> str | None:
    """The signal whose limit this signal tells, or None where it tells none.

    `system.filesystem.usage.limit` is the limit of `system.filesystem.usage`; names of the OpenTelemetry
    conventions and of well-known Prometheus exporters that do not follow the suffix rule are listed above.
    """
    if signal in _ALIASES:
        return _ALIASES[signal]
    return next((signal[: -len(s)] for s in _SUFFIXES if signal.endswith(s)), None)


def limit_names(signal: str) -> tuple[str, ...]:
    """Signals that may tell the limit of this one; the other way round of `limited_signal`."""
    aliases = (name for name, target in _ALIASES.items() if target == signal)
    return (*aliases, *(signal + suffix for suffix in _SUFFIXES if signal + suffix not in _ALIASES))


def limit_pairs(series: Sequence[Series]) -> dict[int, int]:
    """Index of each limited series -> index of the series that tells its limit.

    A limit is of the same entity and holds for every series of its signal that has all of its attributes (so one
    without attributes holds for all); of several the one with most attributes. What a state says is not in use
    (`state=free`) has no limit.
    """
    told: dict[tuple[str, str], _Limits] = {}
    for i, s in enumerate(series):
        target = limited_signal(s.signal)
        if target is not None:
            told.setdefault((s.entity, target), _Limits()).add(s.attributes, i)
    pairs = {}
    for i, s in enumerate(series):
        limits = told.get((s.entity, s.signal))
        source = limits.of(s.attributes) if limits and not _is_not_in_use(s.attributes) else None
        if source is not None:
            pairs[i] = source
    return pairs


class _Limits:
    """The limits of one signal, by their attributes."""

    def __init__(self) -> None:
        self._by_names: dict[tuple[str, ...], dict[Attributes, int]] = {}

    def add(self, attributes: Attributes, index: int) -> None:
        names = tuple(name for name, _ in attributes)
        self._by_names.setdefault(names, {})[attributes] = index

    def of(self, attributes: Attributes) -> int | None:
        """The limit with most attributes among those whose attributes are all there."""
        return next(self._fitting(attributes), None)

    def _fitting(self, attributes: Attributes) -> Iterator[int]:
        for names in sorted(self._by_names, key=len, reverse=True):
            shared = tuple(pair for pair in attributes if pair[0] in names)
            if shared in self._by_names[names]:
                yield self._by_names[names][shared]


def _is_not_in_use(attributes: Attributes) -> bool:
    return any(value in _NOT_IN_USE for name, value in attributes if name in _STATES)
