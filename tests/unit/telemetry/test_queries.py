"""Queries name what a Prometheus, Loki or Tempo beside us would hold; Prometheus itself reads them."""

import shutil
import subprocess
from pathlib import Path

import pytest

from forewarn.telemetry.queries import compared, logql, promql, promql_range, query_of, traceql
from forewarn.telemetry.samples import Kind, Series

MEMORY = Series("shop/api", "process.memory.usage", unit="By")
SIGNALS = [
    (MEMORY, 'process_memory_usage_bytes{job=~"(shop/)?api"}'),
    (
        Series("api", "http.server.requests", (("http.route", '/cart/"x"'),), Kind.CUMULATIVE, "{request}"),
        'rate(http_server_requests_total{job="api", http_route="/cart/\\"x\\""}[5m])',
    ),
    (
        Series("shop/a.b", "http.server.request.duration.p99", unit="s"),
        "histogram_quantile(0.99, sum by (le) "
        '(rate(http_server_request_duration_seconds_bucket{job=~"(shop/)?a\\\\.b"}[5m])))',
    ),
    (Series("api", "system.cpu.utilization", unit="1"), 'system_cpu_utilization_ratio{job="api"}'),
    (Series("api", "postgresql.backends", unit="1"), 'postgresql_backends{job="api"}'),
    (Series("api", "http.client.error_ratio.30s", unit="1"), 'http_client_error_ratio_30s{job="api"}'),
    (Series("api", "node_filesystem_used_bytes"), 'node_filesystem_used_bytes{job="api"}'),
    (Series("api", "node_network_receive_bytes_total", (), Kind.CUMULATIVE), None),
]


@pytest.mark.parametrize(("series", "expected"), [s for s in SIGNALS if s[1]], ids=lambda v: getattr(v, "signal", ""))
def test_names_follow_the_specification(series: Series, expected: str) -> None:
    assert promql(series) == expected


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool (Debian: prometheus) is not installed")
def test_prometheus_reads_them(tmp_path: Path) -> None:
    rules = "".join(
        f"  - record: r{i}\n    expr: {_yaml(query)}\n"
        for i, (series, _) in enumerate(SIGNALS)
        for query in (promql(series), compared(series, "-", 5400.0))
    )
    (tmp_path / "rules.yml").write_text(f"groups:\n- name: g\n  rules:\n{rules}")
    found = subprocess.run(
        ["promtool", "check", "rules", str(tmp_path / "rules.yml")], capture_output=True, text=True, timeout=60
    )
    assert found.returncode == 0, found.stderr + found.stdout


def _yaml(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def test_logs_and_spans_have_their_own_languages() -> None:
    errors = Series("shop/api", "log.severity.rate", (("log.severity", "ERROR"),))
    expected = 'sum(count_over_time({namespace="shop", entity="shop/api", level="error"} [1m]))'
    assert query_of(errors, 60) == expected
    assert logql("db", 'said "no"') == 'sum(count_over_time({entity="db"} |= "said \\"no\\"" [5m]))'
    assert query_of(Series("shop/api", "traces.service.duration.p99")) == (
        '{ resource.service.name = "api" && resource.service.namespace = "shop" }'
    )
    assert traceql("api", "GET /", 0.25) == ('{ resource.service.name = "api" && name = "GET /" && duration > 250ms }')
    assert query_of(Series("shop/api", "activity.events.rate")) == ""


def test_a_signal_is_compared_with_itself_some_time_ago() -> None:
    gauge = 'process_memory_usage_bytes{job=~"(shop/)?api"}'
    assert compared(MEMORY, "-", 3600) == f"{gauge} - {gauge} offset 1h"
    lines = 'sum(count_over_time({entity="db"} [1m]{ago}))'
    expected = " / ".join(lines.replace("{ago}", ago) for ago in ("", " offset 1d"))
    assert compared(Series("db", "log.records.rate"), "/", 86_400, 60) == expected
    assert compared(Series("db", "traces.service.calls.rate"), "-", 60) == '{ resource.service.name = "db" }'


def test_ranges_are_exact() -> None:
    assert [promql_range(s) for s in (1, 60, 90, 3600, 86_400, 0.2)] == ["1s", "1m", "90s", "1h", "1d", "1s"]
