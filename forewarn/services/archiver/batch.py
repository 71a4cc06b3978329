"""What the archiver has read and not yet stored."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import structlog
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

logger = structlog.get_logger("forewarn.services.archiver")

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
    parts: list["Batch"] = field(default_factory=list)  # what each message gave

    @classmethod
    def skipping(cls, message: Message) -> "Batch":
        """A batch that only moves past a message."""
        return cls(messages=[message], reached={Place(message.topic(), message.partition()): message.offset() + 1})

    def take(self, part: "Batch") -> None:
        """Add what one message gave."""
        self.messages += part.messages
        self.samples += part.samples
        self.logs += part.logs
        self.spans += part.spans
        self.activity += part.activity
        merge(self.edges, part.edges)
        self.unreadable += part.unreadable
        self.reached |= part.reached
        self.sample_count += part.sample_count
        self.parts.append(part)

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
        self._readers: dict[str, Callable[[Batch, Message], None]] = {
            topics.METRICS: self._metrics,
            topics.LOGS: self._logs,
            topics.SPANS: self._spans,
            topics.ACTIVITY: self._activity,
        }

    def add(self, batch: Batch, message: Message) -> None:
        """Decode a message into the batch, or put it among the unreadable."""
        part = Batch.skipping(message)
        try:
            self._readers[message.topic()](part, message)
        except TelemetryError as error:
            part = replace(Batch.skipping(message), unreadable=[(message, str(error))])
        except Exception as error:  # whatever is in a message, the archive goes on
            logger.exception("a message cannot be read, for no reason that is known")
            part = replace(Batch.skipping(message), unreadable=[(message, f"{type(error).__name__}: {error}")])
        batch.take(part)

    def warm_up(self, message: Message) -> None:
        """Take what histograms and counts of calls were from a message of metrics that is stored already."""
        with contextlib.suppress(Exception):  # it is on dead_letters
            self._metric_edges.of(decode_metrics(message.value() or b"", self._of_partition(message)))

    @property
    def histograms_refused(self) -> int:
        """Points of histograms for which there was no room."""
        return sum(state.refused for state in self._histograms.values())

    @property
    def terms_refused(self) -> int:
        """Series that others follow from, for which there was no room."""
        return self._derivation.refused

    def restart(self) -> None:
        """Forget what histograms and edges were: the log is read from another place on."""
        self._histograms.clear()
        self._span_edges, self._metric_edges = SpanEdges(), MetricEdges()

    def _of_partition(self, message: Message) -> HistogramState:
        return self._histograms.setdefault(message.partition(), HistogramState())

    def _metrics(self, part: Batch, message: Message) -> None:
        samples = self._derivation.extend(decode_metrics(message.value() or b"", self._of_partition(message)))
        days = len(np.unique(samples.times // _DAY_NANOSECONDS))
        if days > _MOST_DAYS:
            raise TelemetryError(f"one message has samples of {days} days, more than {_MOST_DAYS}: check its times")
        part.samples.append(samples)
        part.sample_count = len(samples)
        part.edges = self._metric_edges.of(samples)

    def _logs(self, part: Batch, message: Message) -> None:
        part.logs = decode_logs(message.value() or b"")

    def _spans(self, part: Batch, message: Message) -> None:
        part.spans = decode_spans(message.value() or b"")
        part.edges = self._span_edges.of(part.spans)

    def _activity(self, part: Batch, message: Message) -> None:
        part.activity = decode_activity(message.value() or b"")
