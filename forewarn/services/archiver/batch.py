"""What the archiver has read and not yet stored."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from confluent_kafka import Message

from forewarn.services.archiver.edges import Edges, MetricEdges, SpanEdges, merge
from forewarn.stores.offsets import Place
from forewarn.telemetry import topics
from forewarn.telemetry.activity import ActivityEvent, decode_activity
from forewarn.telemetry.derived import Derivation
from forewarn.telemetry.errors import TelemetryError
from forewarn.telemetry.histograms import HistogramState
from forewarn.telemetry.otlp_logs import LogRecord, decode_logs
from forewarn.telemetry.otlp_metrics import decode_metrics
from forewarn.telemetry.otlp_traces import Span, decode_spans
from forewarn.telemetry.samples import SampleBatch

TOPICS = (topics.METRICS, topics.LOGS, topics.SPANS, topics.ACTIVITY)
_MOST_DAYS = 400  # each day is a table: a message that spans more has broken clocks
_DAY_NANOSECONDS = 86_400 * 10**9


@dataclass(slots=True)
class Batch:
    """Decoded messages, the messages that could not be decoded, and the offsets that storing them reaches."""

    messages: list[Message] = field(default_factory=list)
    samples: list[SampleBatch] = field(default_factory=list)
    logs: list[LogRecord] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    activity: list[ActivityEvent] = field(default_factory=list)
    edges: Edges = field(default_factory=dict)
    unreadable: list[tuple[Message, str]] = field(default_factory=list)
    reached: dict[Place, int] = field(default_factory=dict)
    sample_count: int = 0
    decoded: dict[int, SampleBatch] = field(default_factory=dict)  # by id of the message, held above

    @classmethod
    def skipping(cls, message: Message) -> "Batch":
        """A batch that only moves past a message."""
        return cls(messages=[message], reached={Place(message.topic(), message.partition()): message.offset() + 1})

    @property
    def rows(self) -> int:
        """Rows that storing it appends."""
        return self.sample_count + len(self.logs) + len(self.spans) + len(self.activity)


class Reader:
    """Decodes messages, in the order of the log; remembers what the service graph and histograms need."""

    def __init__(self) -> None:
        self._span_edges = SpanEdges()
        self._metric_edges = MetricEdges()
        self._derivation = Derivation()
        self._histograms: dict[int, HistogramState] = {}  # by partition
        self._readers: dict[str, Callable[[Batch, bytes], None]] = {
            topics.LOGS: lambda batch, payload: batch.logs.extend(decode_logs(payload)),
            topics.SPANS: self._spans,
            topics.ACTIVITY: lambda batch, payload: batch.activity.extend(decode_activity(payload)),
        }

    def add(self, batch: Batch, message: Message) -> None:
        """Decode a message into the batch, or put it among the unreadable."""
        batch.messages.append(message)
        batch.reached[Place(message.topic(), message.partition())] = message.offset() + 1
        try:
            if message.topic() == topics.METRICS:
                self._metrics(batch, message)
            else:
                self._readers[message.topic()](batch, message.value() or b"")
        except TelemetryError as error:
            batch.unreadable.append((message, str(error)))

    def again(self, message: Message, batch: Batch) -> Batch:
        """A batch of one message of a batch that was read: its metrics are not decoded again, that would be another
        step of the histograms."""
        single = Batch(decoded={k: v for k, v in batch.decoded.items() if k == id(message)})
        self.add(single, message)
        return single

    def warm_up(self, message: Message) -> None:
        """Take what histograms were from a message of metrics that is stored already."""
        with contextlib.suppress(TelemetryError):
            decode_metrics(message.value() or b"", self._of_partition(message))

    @property
    def histograms_refused(self) -> int:
        """Points of histograms for which there was no room."""
        return sum(state.refused for state in self._histograms.values())

    def restart(self) -> None:
        """Forget what histograms were: the log is read from another place on."""
        self._histograms.clear()

    def _of_partition(self, message: Message) -> HistogramState:
        return self._histograms.setdefault(message.partition(), HistogramState())

    def _metrics(self, batch: Batch, message: Message) -> None:
        samples = batch.decoded.get(id(message))
        if samples is None:
            samples = self._derivation.extend(decode_metrics(message.value() or b"", self._of_partition(message)))
        batch.decoded[id(message)] = samples
        days = len(np.unique(samples.times // _DAY_NANOSECONDS))
        if days > _MOST_DAYS:
            raise TelemetryError(f"one message has samples of {days} days, more than {_MOST_DAYS}: check its times")
        batch.samples.append(samples)
        batch.sample_count += len(samples)
        merge(batch.edges, self._metric_edges.of(samples))

    def _spans(self, batch: Batch, payload: bytes) -> None:
        spans = decode_spans(payload)
        batch.spans.extend(spans)
        merge(batch.edges, self._span_edges.of(spans))
