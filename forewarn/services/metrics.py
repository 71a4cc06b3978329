"""What each of our processes counts, for Prometheus: `/metrics` on FOREWARN_METRICS_PORT, with what each name means."""

import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from types import TracebackType

from prometheus_client import CollectorRegistry, Info, ProcessCollector, generate_latest, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from forewarn.config.settings import Settings

_HEAD = """\
# What Forewarn's processes count

Prometheus finds it at `/metrics`: of the gateway and the predictor on their own ports, of every other process \
on FOREWARN_METRICS_PORT (0: not served; the containers of `docker-compose.yml` use 9464). What ends in `_total` \
is a counter, the rest are gauges; `process_…` and `forewarn_build_info` stand beside them. The gateway's own \
are labelled by `door`: `forewarn_gateway_requests_total{door,status}`, `…_body_bytes_total`, \
`…_messages_total`, `…_dropped_total{door,reason}`, `…_scrubbed_total{rule}`, \
`…_request_duration_seconds`; `slack` and `pagerduty` are doors for answers ([alerting.md](alerting.md#channels)). \
Alert rules over them: \
`deploy/prometheus/forewarn-alerts.yml`, each with a section in [runbook.md](runbook.md).

This page is written by `make metrics-reference`."""
_ANYWHERE = {
    "lag_messages": "Messages on the log that were not read yet.",
    "dead_letters_total": "Messages that could not be read or stored; they are on dead_letters, with the reason.",
    "messages_total": "Messages taken.",
    "series_refused_total": "Series for which there was no room (FOREWARN_MAX_SERIES and …_PER_ENTITY).",
    "histogram_refused_total": "Points of histograms for which there was no room.",
}
MEANING: dict[str, dict[str, str]] = {
    "predictor": {
        "samples_total": "Samples read from the log.",
        "late_total": "Samples that came too late for their cell, or twice, and were left out.",
        "stale_total": "Staleness markers: series that ended.",
        "counter_resets_total": "Counters that began anew.",
        "histogram_late_total": "Points of cumulative histograms that came late or twice: nothing is told of them.",
        "histogram_resets_total": "Histograms that began anew.",
        "assessments_total": "Scorings of a namespace's cells, also where nothing in them has a limit.",
        "scored_rows_total": "Signals with a limit scored, each time counted.",
        "risks_total": "Risks told.",
        "anomalies_total": "Anomalies told.",
        "entities_watched": "Entities that the anomaly watch has learned.",
        "series": "Series in the windows.",
        "model_revision": "Revision of the registry that is followed.",
        "champion_batches_total": "Scorings by the champion since it was taken up, those that failed among them.",
        "champion_errors_total": "Scorings on which the champion failed; another model made them.",
        "champion_risks_opened_total": "Risks that the champion told for the first time.",
        "champion_abstained_share": "Share of the champion's rows of which nothing is predicted.",
        "champion_score_seconds_p50": "Median seconds of the champion's last scorings.",
        "champion_score_seconds_p99": "99th percentile of the seconds of the champion's last scorings.",
        "fallback_batches_total": "Scorings by a model that stepped in for the champion.",
        "shadow_batches_total": "Scorings by the shadow.",
        "shadow_errors_total": "Scorings on which the shadow failed.",
        "shadow_dropped_total": "Scorings that were left out because the shadow is too slow.",
        "shadow_predictions_lost_total": "Rows of the comparison that PostgreSQL was away for too long to take.",
    },
    "archiver": {
        "samples_total": "Samples stored.",
        "logs_total": "Log records stored.",
        "spans_total": "Spans stored.",
        "activity_total": "Activity events stored.",
        "batches_total": "Transactions.",
        "cells_rolled_up_total": "5-minute cells rolled up.",
        "days_dropped_total": "Days dropped because they are older than FOREWARN_RETENTION_DAYS.",
    },
    "connector": {
        "logs_total": "Log records counted.",
        "spans_total": "Spans counted.",
        "activity_total": "Activity events counted.",
        "samples_total": "Samples made of them and put on the log.",
        "late_total": "Records that came after their bucket was closed.",
        "unreadable_total": "Messages that could not be read.",
        "checkpoints_total": "States stored, with their offsets.",
        "entities": "Entities followed.",
    },
    "alerter": {
        "risks_total": "Predictions entered in the ledger.",
        "rule_errors_total": "Evaluations of rules of a team's own that failed.",
        "rule_rounds_total": "Evaluations of all rules of a team's own.",
        "rules_told_total": "Rules of a team's own that fired or ended.",
        "observations_total": "Failures, recoveries, abstentions and clocks entered in the ledger.",
        "duplicates_total": "Records that were known already.",
        "incident_versions_total": "Changes of incidents.",
        "responses_proposed_total": "Responses proposed, dry runs among them.",
        "responses_begun_total": "Responses that were begun.",
        "responses_succeeded_total": "Responses that succeeded.",
        "responses_failed_total": "Responses that failed.",
        "responses_unknown_total": "Responses of which it is not known whether they were done.",
        "response_errors_total": "Looks at what may be done that broke off.",
        "messages_sent_total": "Messages that a channel took.",
        "messages_retried_total": "Attempts that a channel did not take; they come again.",
        "messages_failed_total": "Messages given up.",
    },
    "kafka_source": {
        "records_total": "Records taken over from foreign topics.",
        "rejected_total": "Records of foreign topics that were left out.",
        "scrubbed_total": "Secrets and personal data replaced (FOREWARN_SCRUB).",
    },
    "collector": {
        "samples_total": "Readings of this host and of the stack that were sent.",
        "failed_requests_total": "Requests that the gateway did not take.",
    },
    "dashboard": {
        "open_pages": "Pages that readers have open.",
        "loop_lag_seconds_p99": "99th percentile, over a minute, of how late the event loop is: what readers wait.",
    },
}


def meaning_of(service: str, counter: str) -> str:
    """A sentence about a counter; its name in words where none is written."""
    return MEANING.get(service, {}).get(counter) or _ANYWHERE.get(counter) or counter.replace("_", " ")


def process_registry(service: str) -> CollectorRegistry:
    """A new registry that tells of this process: `process_…` (its start, memory, files) and `forewarn_build_info`."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    Info("forewarn_build", "The version that runs.", registry=registry).info(
        {"version": version("forewarn"), "service": service}
    )
    return registry


def exposition(service: str, counters: Mapping[str, float]) -> str:
    """This process and `forewarn_SERVICE_…` of each counter in Prometheus' text format; `…_total` is a counter."""
    registry = process_registry(service)
    registry.register(_Counted(service, counters))
    return generate_latest(registry).decode()


class MetricsServer:
    """Serves a process's counters to Prometheus until it is left; nothing is served where the port is 0.

    Ends the process, naming the setting to change, where the port is taken.
    """

    def __init__(self, settings: Settings, service: str, counters: Mapping[str, float]) -> None:
        self._address = settings.bind_host, settings.metrics_port
        self._registry = process_registry(service)
        self._registry.register(_Counted(service, counters))

    def __enter__(self) -> "MetricsServer":
        host, port = self._address
        if port:
            try:
                self._server, self._thread = start_http_server(port, host, self._registry)
            except OSError as error:
                sys.exit(f"metrics cannot be served on {host}:{port}, set FOREWARN_METRICS_PORT: {error}")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._address[1]:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join(timeout=5)


class _Counted(Collector):
    def __init__(self, service: str, counters: Mapping[str, float]) -> None:
        self._service, self._counters = service, counters

    def collect(self) -> Iterator[Metric]:
        for name, value in sorted(dict(self._counters).items()):
            family = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
            yield family(f"forewarn_{self._service}_{name}", meaning_of(self._service, name), value=value)


def reference() -> str:
    """The text of docs/metrics.md."""
    lines = [_HEAD]
    for service, meanings in MEANING.items():
        lines += [f"\n## {service}", "| Metric | Meaning |", "|---|---|"]
        lines += [f"| `forewarn_{service}_{name}` | {meaning} |" for name, meaning in sorted(meanings.items())]
    lines += ["\n## In several of them", "| Metric | Meaning |", "|---|---|"]
    lines += [f"| `forewarn_…_{name}` | {meaning} |" for name, meaning in sorted(_ANYWHERE.items())]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(reference())
