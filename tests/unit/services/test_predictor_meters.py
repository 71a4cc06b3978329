"""What the stream counts can be read by Prometheus."""

from prometheus_client.parser import text_string_to_metric_families

from bentos.predictor.meters import exposition


def test_counters_and_gauges_are_told_with_their_types() -> None:
    found = {f.name: f for f in text_string_to_metric_families(exposition({"late_total": 3, "lag_messages": 7.0}))}
    late, lag = found["forewarn_predictor_late"], found["forewarn_predictor_lag_messages"]
    assert (late.type, [(s.name, s.value) for s in late.samples]) == ("counter", [("forewarn_predictor_late_total", 3)])
    assert (lag.type, lag.samples[0].value) == ("gauge", 7)
    assert "too late" in late.documentation
