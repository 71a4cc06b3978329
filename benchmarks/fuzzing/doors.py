"""The doors as a table: a line is a door. Another joins with a line."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal

import cramjam

from benchmarks.fuzzing import cases, facts, seeds
from benchmarks.fuzzing.cases import Case
from benchmarks.fuzzing.facts import Fact
from forewarn.telemetry import topics
from forewarn.telemetry.otlp_split import Signal

LIMIT = 16 * 2**20  # bytes of a body that the gateway takes


@dataclass(frozen=True)
class Door:
    """A way in.

    path: of HTTP, or the full name of a gRPC method. good: bodies (unpacked) that it takes. sent: facts of an unpacked
    body, read: facts of a message of `topic`. body_kind: what is damaged.
    """

    name: str
    path: str
    media_type: str
    topic: str
    good: tuple[bytes, ...]
    sent: Callable[[bytes], list[Fact]]
    read: Callable[[bytes], list[Fact]]
    body_kind: Literal["protobuf", "json"] = "protobuf"
    encoding: str = ""

    @property
    def over_grpc(self) -> bool:
        """Whether it is a method of gRPC."""
        return not self.media_type

    def pack(self, body: bytes) -> bytes:
        """The body as this door expects it on the wire."""
        return bytes(cramjam.snappy.compress_raw(body)) if self.encoding == "snappy" else body

    def cases(self, sample: int | None) -> Iterator[Case]:
        """All that is sent to it; of what is damaged byte by byte `sample` cases, all without one."""
        rng = random.Random(self.name)
        for i, body in enumerate(self.good):
            yield Case(f"good {i}", self.pack(body))
        smallest = min(self.good, key=len)
        many = [*cases.damaged(smallest, rng), *cases.groups()]
        if self.body_kind == "json":
            many += cases.odd_json(smallest)
        few = many if sample is None else rng.sample(many, min(sample, len(many)))
        yield from (Case(name, self.pack(body)) for name, body in few)
        if not self.over_grpc:
            yield from cases.lies(smallest)


def _otlp(signal: Signal, topic: str, good: tuple[bytes, ...], in_json: tuple[bytes, ...], service: str) -> list[Door]:
    sent, read = partial(facts.otlp_sent, signal), partial(facts.otlp_read, signal)
    from_json = partial(facts.json_sent, signal)
    deep = tuple(seeds.deep_json(signal, depth) for depth in (20, 30, 32, 45, 48, 90))
    path, method = f"/v1/{signal}", f"/opentelemetry.proto.collector.{service}/Export"
    return [
        Door(f"{signal} protobuf", path, "application/x-protobuf", topic, good, sent, read),
        Door(f"{signal} JSON", path, "application/json", topic, in_json + deep, from_json, read, "json"),
        Door(f"{signal} gRPC", method, "", topic, good, sent, read),
    ]


_METRICS = (
    seeds.metrics(), seeds.metrics((seeds.NOON, 1), seeds.VALUES), seeds.metrics(seeds.TIMES), seeds.metrics((), ()),
    *(seeds.metrics(depth=d) for d in (10, 25, 30)),
)  # fmt: skip
_LOGS = (seeds.logs(), seeds.logs(seeds.TIMES), *(seeds.logs(depth=d) for d in (10, 25, 30)))
_TRACES = (seeds.traces(), seeds.traces(seeds.TIMES), *(seeds.traces(depth=d) for d in (10, 25, 30)))


def _bytes(messages: tuple[object, ...]) -> tuple[bytes, ...]:
    return tuple(message.SerializeToString() for message in messages)  # type: ignore[attr-defined]


def _jsons(messages: tuple[object, ...]) -> tuple[bytes, ...]:
    return tuple(seeds.as_json(message) for message in messages)  # type: ignore[arg-type]


_WRITES = (
    seeds.write_request(), seeds.write_request(values=seeds.VALUES),
    *(seeds.write_request((time,)) for time in (0, 1, -1, 2**63 - 1, 2**63 // 10**6)),
)  # fmt: skip

_READ_LOGS = partial(facts.otlp_read, "logs")
_LOG_DOORS = (
    Door(
        "lines JSON",
        "/v1/logs/json",
        "application/json",
        topics.LOGS,
        (seeds.log_lines(),),
        facts.log_lines,
        _READ_LOGS,
        "json",
    ),
    Door(
        "Loki JSON",
        "/loki/api/v1/push",
        "application/json",
        topics.LOGS,
        (seeds.loki_json(),),
        partial(facts.loki, True),
        _READ_LOGS,
        "json",
    ),
    Door(
        "Loki protobuf",
        "/loki/api/v1/push",
        "application/x-protobuf",
        topics.LOGS,
        (seeds.loki(),),
        partial(facts.loki, False),
        _READ_LOGS,
        encoding="snappy",
    ),
)
DOORS: tuple[Door, ...] = (
    *_LOG_DOORS,
    *_otlp("metrics", topics.METRICS, _bytes(_METRICS), _jsons(_METRICS), "metrics.v1.MetricsService"),
    *_otlp("logs", topics.LOGS, _bytes(_LOGS), _jsons(_LOGS), "logs.v1.LogsService"),
    *_otlp("traces", topics.SPANS, _bytes(_TRACES), _jsons(_TRACES), "trace.v1.TraceService"),
    Door(
        "remote write", "/api/v1/write", "application/x-protobuf", topics.METRICS, _WRITES, facts.written,
        partial(facts.otlp_read, "metrics"), encoding="snappy",
    ),
    Door("activity", "/v1/activity", "application/json", topics.ACTIVITY, (seeds.activity(),), facts.events,
         facts.events, "json"),
)  # fmt: skip
