"""Messages with hypothesis: built from valid parts with odd contents, then damaged."""

import json
from typing import Any

from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

from benchmarks.fuzzing import seeds
from benchmarks.fuzzing.cases import Case
from benchmarks.fuzzing.doors import Door
from forewarn.telemetry.proto.prometheus_remote_write_pb2 import Label, WriteRequest

TIMES = st.integers(0, 2**64 - 1) | st.sampled_from(seeds.TIMES)
VALUES = st.floats(width=64)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.sampled_from(
    ["", "é" * 300, "a\x00b", "a/b"]
)
EDITS = st.lists(st.tuples(st.integers(0, 2**16), st.binary(max_size=6), st.integers(0, 6)), max_size=4)
_BUILDERS = {
    "metrics": lambda times, values, depth: seeds.metrics(times, values or (1.0,), depth),
    "logs": lambda times, values, depth: seeds.logs(times, depth),
    "traces": lambda times, values, depth: seeds.traces(times, depth),
}


@st.composite
def requests(draw: Any, signal: str) -> Any:
    """An OTLP request whose times, values, names and depth are drawn."""
    times, values = tuple(draw(st.lists(TIMES, max_size=3))), tuple(draw(st.lists(VALUES, max_size=3)))
    request = _BUILDERS[signal](times, values, draw(st.integers(0, 30)))
    for entry in getattr(
        request, {"metrics": "resource_metrics", "logs": "resource_logs", "traces": "resource_spans"}[signal]
    ):
        del entry.resource.attributes[draw(st.integers(0, 3)) :]
        if draw(st.booleans()):
            entry.resource.attributes.append(KeyValue(key=draw(TEXTS), value=seeds.nested(draw(st.integers(0, 3)))))
            entry.resource.attributes.add(key="service.name").value.string_value = draw(TEXTS)
    return request


@st.composite
def _writes(draw: Any) -> bytes:
    request = WriteRequest()
    for _ in range(draw(st.integers(0, 3))):
        labels = draw(st.dictionaries(TEXTS | st.sampled_from(["job", "namespace", "instance"]), TEXTS, max_size=4))
        labels["__name__"] = draw(TEXTS | st.sampled_from(["x_bucket", "x_sum", "x_count", "x_total"]))
        if draw(st.booleans()):
            labels["le"] = draw(st.sampled_from(["0.5", "+Inf", "x", "NaN"]))
        series = request.timeseries.add(labels=[Label(name=k, value=v).SerializeToString() for k, v in labels.items()])
        for time in draw(st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(1, 2**43), max_size=3)):
            series.samples.add(timestamp=time, value=draw(VALUES))
    return request.SerializeToString()


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
_events = st.fixed_dictionaries(
    {"service": TEXTS | _json, "action": TEXTS | _json},
    optional={
        "time": st.floats() | st.datetimes().map(str) | _json,
        "count": st.integers() | _json,
        "user_hash": _json,
    },
)


@st.composite
def cases_of(draw: Any, door: Door) -> Case:
    """A request to a door: a message with odd contents, damaged in up to four places."""
    body = draw(_body(door))
    for at, new, gone in draw(EDITS):
        at %= len(body) + 1
        body = body[:at] + new + body[at + gone :]
    return Case("drawn", door.pack(body))


def _body(door: Door) -> st.SearchStrategy[bytes]:
    signal = door.name.split()[0]
    if signal in _BUILDERS:
        made = requests(signal)
        return made.map(seeds.as_json if door.body_kind == "json" else lambda request: request.SerializeToString())
    if door.name == "remote write":
        return _writes()
    if door.name == "activity":
        return (_events | st.lists(_events, max_size=3) | _json).map(lambda value: json.dumps(value).encode())
    return st.sampled_from(door.good)  # a door without a strategy of its own: its good bodies, damaged
