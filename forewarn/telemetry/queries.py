"""Queries with which a reader can look for himself: PromQL of a signal, LogQL of lines, TraceQL of spans.

Names follow the OpenTelemetry specification's 'Prometheus and OpenMetrics Compatibility': dots become underscores,
units become suffixes, `service.namespace/service.name` becomes `job`. A scraped target has its job without the
namespace, so both are matched. Labels of LogQL are those under which Forewarn pushes to Loki.
"""

import json
import re

from forewarn.telemetry.connectors.names import SERVICE_SPANS, SPANS, is_derived
from forewarn.telemetry.samples import Kind, Series, namespace_of

_UNITS = {"By": "bytes", "s": "seconds", "ms": "milliseconds", "us": "microseconds", "%": "percent", "Cel": "celsius"}
_SHARES = ("utilization", "ratio")  # of a plain number it is not known whether its sender had a gauge or a sum
_QUANTILE = re.compile(r"\.p(\d+)$")
_UNFIT = re.compile(r"[^a-zA-Z0-9_:]")


def promql(series: Series, range_seconds: float = 300.0, ago_seconds: float = 0.0) -> str:
    """The query whose value is the signal's: a counter as its rate, a quantile from its histogram.

    What Forewarn itself derives from logs and spans is told by `logql` and `traceql`: ''. range_seconds: over what
    rates are taken; ago_seconds: how long ago the value was.
    """
    if is_derived(series.signal):
        return ""
    quantile, labels, ago = _QUANTILE.search(series.signal), _matchers(series), _offset(ago_seconds)
    over = f"[{promql_range(range_seconds)}]{ago}"
    if quantile:
        name = metric_name(series.signal[: quantile.start()], series.unit, Kind.GAUGE)
        share = int(quantile[1]) / 10 ** len(quantile[1])
        return f"histogram_quantile({share:g}, sum by (le) (rate({name}_bucket{labels}{over})))"
    name = metric_name(series.signal, series.unit, series.kind)
    return f"{name}{labels}{ago}" if series.kind is Kind.GAUGE else f"rate({name}{labels}{over})"


def metric_name(signal: str, unit: str, kind: Kind) -> str:
    """`process.memory.usage` in By is `process_memory_usage_bytes`; a Prometheus name stays as it is."""
    if "." not in signal and not unit:
        return _UNFIT.sub("_", signal)
    name = _UNFIT.sub("_", signal)
    base, _, per = unit.partition("/")
    words = name.split("_")
    is_share = base == "1" and not per and kind is Kind.GAUGE and any(word in words for word in _SHARES)
    suffix = _UNITS.get(base, "ratio" if is_share else "")
    if suffix and suffix not in words:
        name = f"{name}_{suffix}"
    name = f"{name}_per_second" if per == "s" and "second" not in words else name
    return name if kind is Kind.GAUGE or name.endswith("_total") else f"{name}_total"


def logql(
    entity: str, contains: str = "", level: str = "", range_seconds: float = 300.0, ago_seconds: float = 0.0
) -> str:
    """How many lines an entity logged in so many seconds, of those that contain a text or have a level."""
    labels = {"namespace": namespace_of(entity), "entity": entity, "level": level}
    chosen = ", ".join(f"{name}={_quoted(value)}" for name, value in labels.items() if value)
    text = f" |= {_quoted(contains)}" if contains else ""
    return f"sum(count_over_time({{{chosen}}}{text} [{promql_range(range_seconds)}]{_offset(ago_seconds)}))"


def traceql(entity: str, operation: str = "", slower_seconds: float = 0.0) -> str:
    """Spans of an entity, of those that do one thing or take longer than so many seconds."""
    namespace, _, name = entity.rpartition("/")
    parts = [f"resource.service.name = {_quoted(name)}"]
    parts += [f"resource.service.namespace = {_quoted(namespace)}"] if namespace else []
    parts += [f"name = {_quoted(operation)}"] if operation else []
    parts += [f"duration > {slower_seconds * 1000:.0f}ms"] if slower_seconds > 0 else []
    return f"{{ {' && '.join(parts)} }}"


def query_of(series: Series, range_seconds: float = 300.0, ago_seconds: float = 0.0) -> str:
    """The query for a signal, wherever it comes from; '' where none is known (user activity)."""
    if series.signal.startswith("log."):
        level = dict(series.attributes).get("log.severity", "").lower()
        return logql(series.entity, level=level, range_seconds=range_seconds, ago_seconds=ago_seconds)
    if series.signal.startswith((SERVICE_SPANS, SPANS)):
        return traceql(series.entity, dict(series.attributes).get("span.name", ""))
    return promql(series, range_seconds, ago_seconds)


def compared(series: Series, operator: str, ago_seconds: float, range_seconds: float = 300.0) -> str:
    """The signal against itself so many seconds ago: `x - x offset 1h`; spans, which cannot be subtracted, alone."""
    now, before = query_of(series, range_seconds), query_of(series, range_seconds, ago_seconds)
    return f"{now} {operator} {before}" if now != before else now


def promql_range(seconds: float) -> str:
    """`90s`, `5m`, `6h`, `1d`: the largest unit that is exact."""
    whole = max(round(seconds), 1)
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if whole % size == 0:
            return f"{whole // size}{unit}"
    return f"{whole}s"


def _offset(seconds: float) -> str:
    return f" offset {promql_range(seconds)}" if seconds > 0 else ""


def _matchers(series: Series) -> str:
    namespace, _, name = series.entity.rpartition("/")
    job = f'job=~"({_literal(namespace)}/)?{_literal(name)}"' if namespace else f"job={_quoted(name)}"
    labels = [job, *(f"{_UNFIT.sub('_', key)}={_quoted(value)}" for key, value in series.attributes)]
    return f"{{{', '.join(labels)}}}"


def _literal(text: str) -> str:
    """A text inside a quoted RE2 expression that matches itself."""
    return re.sub(r"([.+*?()|\[\]{}^$\\])", r"\\\\\1", text).replace('"', '\\"')


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
