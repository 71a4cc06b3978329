"""What the stream counts, for Prometheus: BentoML's `/metrics` tells it after its own."""

from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

_HELP = {
    "samples_total": "Samples read from the log.",
    "late_total": "Samples that came too late for their cell, or twice, and were left out.",
    "stale_total": "Staleness markers: series that ended.",
    "counter_resets_total": "Counters that began anew.",
    "histogram_late_total": "Points of cumulative histograms that came late or twice: nothing is told of them.",
    "histogram_resets_total": "Histograms that began anew.",
    "histogram_refused_total": "Points of histograms for which there was no room.",
    "series_refused_total": "Samples' series for which there was no room (FOREWARN_MAX_SERIES and …_PER_ENTITY).",
    "dead_letters_total": "Messages that could not be read; they are on dead_letters.",
    "scored_rows_total": "Signals scored, each time counted.",
    "risks_total": "Risks told.",
    "lag_messages": "Messages on the log that were not read yet.",
    "series": "Series in the windows.",
}


def exposition(counters: Mapping[str, float]) -> str:
    """`forewarn_predictor_…` of each counter in Prometheus' text format; what ends in `_total` is a counter."""
    registry = CollectorRegistry()
    registry.register(_Counted(counters))
    return generate_latest(registry).decode()


class _Counted(Collector):
    def __init__(self, counters: Mapping[str, float]) -> None:
        self._counters = dict(counters)

    def collect(self) -> Iterator[Metric]:
        for name, value in sorted(self._counters.items()):
            family = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
            yield family(f"forewarn_predictor_{name}", _HELP.get(name, name.replace("_", " ")), value=value)
