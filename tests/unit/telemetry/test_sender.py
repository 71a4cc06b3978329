"""The sender waits for a gateway that is busy, gives up on one that is not there, and says why."""

import time

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from otlp_capture import capture_otlp
from servers import free_port

from forewarn.telemetry.sender import GatewayRefusedError, GatewayUnreachableError, OtlpSender

PROTOBUF = {"Content-Type": "application/x-protobuf"}


def test_each_signal_goes_through_its_own_door_with_the_token() -> None:
    with capture_otlp() as capture, OtlpSender(capture.url + "/", "secret") as sender:
        sender.send_metrics(b"m")
        sender.send_logs(b"l")
        sender.send_spans(b"s")
    assert [(path, body) for path, _, body in capture.requests] == [
        ("/v1/metrics", b"m"),
        ("/v1/logs", b"l"),
        ("/v1/traces", b"s"),
    ]
    assert {headers["Authorization"] for _, headers, _ in capture.requests} == {"Bearer secret"}
    assert {headers["Content-Type"] for _, headers, _ in capture.requests} == {"application/x-protobuf"}


def test_a_busy_gateway_is_asked_again_after_the_time_it_names() -> None:
    with capture_otlp() as capture, OtlpSender(capture.url) as sender:
        capture.answers.extend([(503, {"Retry-After": "1"}, b"the broker is away"), (429, {"Retry-After": "0"}, b"")])
        began = time.monotonic()
        sender.send_metrics(b"m")
        assert time.monotonic() - began >= 1.0
        assert (sender.retries, sender.requests) == (2, 1)
        assert capture.bodies("/v1/metrics") == [b"m"]


def test_a_gateway_that_stays_busy_is_given_up() -> None:
    with capture_otlp() as capture, OtlpSender(capture.url, first_patience_seconds=0.3) as sender:
        capture.answers.extend([(503, {}, b"the broker is away")] * 50)
        with pytest.raises(GatewayUnreachableError, match="503 the broker is away"):
            sender.send_metrics(b"m")


def test_no_gateway_is_said_with_what_to_do() -> None:
    sender = OtlpSender(f"http://127.0.0.1:{free_port()}", first_patience_seconds=0.3)
    with sender, pytest.raises(GatewayUnreachableError, match=r"no gateway answers at .*forewarn up"):
        sender.send_logs(b"l")


def test_a_gateway_that_comes_back_gets_everything() -> None:
    port = free_port()
    with OtlpSender(f"http://127.0.0.1:{port}") as sender:
        with capture_otlp(port) as first:
            sender.send_metrics(b"1")
        assert first.bodies("/v1/metrics") == [b"1"]
        with capture_otlp(port) as second:
            sender.send_metrics(b"2")
        assert second.bodies("/v1/metrics") == [b"2"]


@pytest.mark.parametrize(
    ("status", "reason"),
    [(401, "does not accept this token.*--token"), (404, "is this a Forewarn gateway"), (400, "400 not OTLP")],
)
def test_what_is_refused_is_not_sent_again(status: int, reason: str) -> None:
    with capture_otlp() as capture, OtlpSender(capture.url) as sender:
        capture.answers.append((status, {}, b"not OTLP"))
        with pytest.raises(GatewayRefusedError, match=reason):
            sender.send_metrics(b"m")
        assert capture.requests == [] and sender.retries == 0


def test_what_the_gateway_leaves_out_is_counted() -> None:
    answer = ExportMetricsServiceResponse()
    answer.partial_success.rejected_data_points = 7
    with capture_otlp() as capture, OtlpSender(capture.url) as sender:
        capture.answers.extend([(200, PROTOBUF, answer.SerializeToString()), (200, PROTOBUF, b"\xff\xff")])
        sender.send_metrics(b"m")
        sender.send_metrics(b"m")
        assert sender.rejected == 7
