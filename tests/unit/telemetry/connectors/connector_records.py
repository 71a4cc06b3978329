"""Log lines for the connector's tests, and how its samples are read."""

from forewarn.telemetry.connectors.stream import EntitySignals
from forewarn.telemetry.otlp_logs import LogRecord

START = 1_700_000_000


def line(second: float, body: str = "hello", entity: str = "shop/api", severity: str = "INFO") -> LogRecord:
    return LogRecord(int((START + second) * 1e9), entity, severity, body)


def read(told: list[EntitySignals], name: str, entity: str = "shop/api") -> dict[int, float]:
    """Second of the bucket's end -> value."""
    found: dict[int, float] = {}
    for one in told:
        for series, row in zip(one.series, one.values, strict=True):
            if series.name == name and one.entity == entity:
                known = {int(t // 10**9) - START: float(v) for t, v in zip(one.times, row, strict=True) if v == v}
                assert not found.keys() & known.keys()
                found |= known
    return found
