"""Counters of our processes, as Prometheus reads them."""

import re
import socket
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from forewarn.config.settings import Settings
from forewarn.services.gateway.meters import Meters
from forewarn.services.metrics import MEANING, MetricsServer, exposition, meaning_of, reference

ROOT = Path(__file__).parents[3]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def test_counters_are_served_with_their_meaning_while_they_grow() -> None:
    settings = Settings(metrics_port=free_port(), _env_file=None)
    counters = {"lag_messages": 3.0, "samples_total": 10.0}
    with MetricsServer(settings, "archiver", counters):
        counters["samples_total"] = 12.0
        counters["logs_total"] = 1.0
        text = urllib.request.urlopen(f"http://127.0.0.1:{settings.metrics_port}/metrics", timeout=5).read().decode()
    families = {f.name: f for f in text_string_to_metric_families(text)}
    assert families["forewarn_archiver_samples"].samples[0].value == 12
    assert families["forewarn_archiver_samples"].documentation == "Samples stored."
    assert families["forewarn_archiver_lag_messages"].type == "gauge"
    assert families["forewarn_build_info"].samples[0].labels["service"] == "archiver"
    assert "process_resident_memory_bytes" in families
    with pytest.raises(OSError):
        urllib.request.urlopen(f"http://127.0.0.1:{settings.metrics_port}/metrics", timeout=1)


def test_a_port_that_is_taken_is_named() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        settings = Settings(metrics_port=other.getsockname()[1], _env_file=None)
        with pytest.raises(SystemExit, match="FOREWARN_METRICS_PORT"), MetricsServer(settings, "alerter", {}):
            pass


def test_without_a_port_nothing_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[object] = []
    monkeypatch.setattr("forewarn.services.metrics.start_http_server", lambda *arguments: served.append(arguments))
    with MetricsServer(Settings(metrics_port=0, _env_file=None), "alerter", {}):
        assert served == []


def test_what_the_code_counts_has_a_meaning() -> None:
    places = {
        "archiver": "services/archiver",
        "connector": "services/connector",
        "kafka_source": "services/kafka_source",
    }
    for service, place in places.items():
        text = "".join(f.read_text() for f in (ROOT / "forewarn" / place).glob("*.py"))
        counted = set(re.findall(r'_counters\["(\w+)"\]', text))
        assert counted, service
        for name in counted:
            assert meaning_of(service, name) != name.replace("_", " "), (service, name)


def test_the_reference_is_what_the_code_says() -> None:
    assert (ROOT / "docs/metrics.md").read_text() == reference(), "run: make metrics-reference"


def test_exposition_says_what_every_counter_is() -> None:
    for service, meanings in MEANING.items():
        families = text_string_to_metric_families(exposition(service, dict.fromkeys(meanings, 1.0)))
        told = {f.documentation for f in families if f.name.startswith(f"forewarn_{service}_")}
        assert told == set(meanings.values())


@pytest.mark.parametrize("service", ["gateway", "predictor"])
def test_gateway_and_predictor_tell_when_they_started_and_which_version_they_are(service: str) -> None:
    text = Meters().text().decode() if service == "gateway" else exposition(service, {})
    families = {f.name: f for f in text_string_to_metric_families(text)}
    assert families["process_start_time_seconds"].samples[0].value > 0
    assert families["forewarn_build_info"].samples[0].labels["service"] == service
