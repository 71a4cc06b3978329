"""Messages on every topic that nobody can read, or should not."""

import time

import numpy as np

from benchmarks.faults.load import entities_of
from benchmarks.faults.ramps import NAMESPACE as RAMPS
from benchmarks.faults.scene import NotRecovered, Report, Scene
from forewarn.stores.log import producer
from forewarn.stores.log_ends import end_offsets
from forewarn.telemetry import topics
from forewarn.telemetry.otlp_encode import encode_logs, encode_metrics
from forewarn.telemetry.samples import Series

_CENTURY_NS = 100 * 365 * 86_400 * 10**9
_KINDS = (
    "random",
    "empty",
    "no value",
    "zeros",
    "cut",
    "absurd metrics",
    "absurd logs",
    "deep JSON",
    "other JSON",
    "large",
)


def poison(scene: Scene, report: Report) -> None:
    """Every kind on every topic, under keys that load and ramps use, so that it stands between their messages."""
    bootstrap = scene.stack.settings.kafka_bootstrap
    before = _dead_letters(bootstrap)
    to, sent = producer(bootstrap), 0
    for topic in topics.ALL:
        if topic == topics.DEAD_LETTERS:
            continue
        for key in (entities_of("00")[0], f"{RAMPS}/svc-00"):
            for value in _payloads():
                to.produce(topic, value, key)
                sent += 1
    if to.flush(30):
        raise NotRecovered("the broker did not take the poison")
    report.ended = time.monotonic()
    time.sleep(5)
    report.told = f"{sent} messages on all topics, {_dead_letters(bootstrap) - before} dead letters"


def _payloads() -> list[bytes | None]:
    rng = np.random.default_rng(1)
    now = np.array([time.time_ns()])
    good = encode_metrics(
        "load/lane-00-0", [Series("load/lane-00-0", f"chaos.{i}") for i in range(20)], now, np.ones((20, 1))
    )
    absurd = encode_metrics(
        "poison/\0bad", [Series("poison/\0bad", "x\0y" * 300, (("k\0", "v\0" * 500),), unit="\0")],
        np.array([now[0] - _CENTURY_NS // 3, now[0], now[0] + _CENTURY_NS]), np.array([[1e308, -np.inf, 5e-324]]),
    )  # fmt: skip
    lines = encode_logs("poison/\0bad", [2**63 - 1], ["\0"], ["a\0b" * 10_000])
    return [
        rng.bytes(1000), b"", None, bytes(500), good[: len(good) * 2 // 3], absurd, lines, b"[" * 50_000,
        b'{"schema_version": 999, "type": "open", "entity": null}', rng.bytes(900_000),
    ]  # fmt: skip


def _dead_letters(bootstrap: str) -> int:
    return sum(end_offsets(bootstrap, [topics.DEAD_LETTERS]).values())
