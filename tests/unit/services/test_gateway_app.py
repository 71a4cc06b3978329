"""How the gateway works on a request: beside the event loop where it may take long, and with an answer in any case."""

import gzip
import threading
from typing import Any

import httpx
import pytest
from gateway_in_process import Broker
from gateway_in_process import post as post_to

from forewarn.services.gateway import app, log_doors
from forewarn.services.gateway.body import unpack
from forewarn.services.gateway.meters import Meters


def post(body: bytes, meters: Meters | None = None, **headers: str) -> httpx.Response:
    """The answer of the door for logs in JSON."""
    named = {"content-type": "application/json"} | {k.replace("_", "-"): v for k, v in headers.items()}
    return post_to("/v1/logs/json", body, named, Broker(), meters)


@pytest.mark.parametrize(("encoding", "inline"), [("", True), ("Identity", True), ("gzip", False)])
def test_what_is_compressed_is_never_worked_on_in_the_event_loop(
    monkeypatch: pytest.MonkeyPatch, encoding: str, inline: bool
) -> None:
    threads = []

    def watched(*arguments: Any) -> bytes:
        threads.append(threading.current_thread())
        return unpack(*arguments)

    monkeypatch.setattr(app, "unpack", watched)
    body = b'{"log": "x"}'
    answer = post(gzip.compress(body) if encoding == "gzip" else body, content_encoding=encoding)
    assert answer.json() == {"accepted": 1, "rejected": 0}
    assert (threads == [threading.current_thread()]) == inline


@pytest.mark.parametrize("fault", [ValueError, OverflowError])
def test_a_fault_in_reading_is_a_refusal_that_nobody_repeats(
    monkeypatch: pytest.MonkeyPatch, fault: type[Exception]
) -> None:
    def read(*arguments: Any) -> None:
        raise fault("an inner detail")

    monkeypatch.setattr(log_doors, "read_json_logs", read)
    meters = Meters()
    answer = post(b"{}", meters)
    assert answer.status_code == 400
    assert "the gateway's log says more" in answer.text
    assert "inner" not in answer.text
    assert meters.counters["refused_total"] == 1
