"""The stream of predictions: metrics from the log into windows, scores, and risks back onto the log."""

import threading
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, TopicPartition
from numpy.typing import NDArray

from forewarn.config.settings import Settings
from forewarn.features.series_budget import SeriesBudget
from forewarn.risk.drivers import compile_kernels
from forewarn.risk.engine import RiskEngine
from forewarn.risk.records import Observation, Risk, Watermark, encode
from forewarn.risk.scorer import Scorer, Scores
from forewarn.services.anomaly_stream import AnomalyStream
from forewarn.services.read_progress import ReadProgress
from forewarn.services.refusals import Refusals
from forewarn.services.told import Told, read_told
from forewarn.services.tracing import batch_span, trace_headers
from forewarn.stores.log import consumer, dead_letter, producer
from forewarn.stores.log_ends import end_offsets
from forewarn.telemetry import topics
from forewarn.telemetry.derived import Derivation
from forewarn.telemetry.errors import TelemetryError
from forewarn.telemetry.histograms import HistogramState
from forewarn.telemetry.otlp_metrics import decode_metrics
from forewarn.telemetry.samples import SampleBatch, Series, namespace_of

logger = structlog.get_logger(__name__)

F64 = NDArray[np.float64]

GROUP = "predictor"
_POLL_SECONDS = 0.05  # messages that come within it are taken and scored together
_QUIET_POLLS = 100  # without a message after which nothing more is awaited
_SETS_OF_SERIES_KEPT = 100_000
CATCHING_UP_MESSAGES = 200  # behind by more, windows are filled first and nothing is scored


@dataclass(frozen=True, slots=True, eq=False)
class Latest:
    """The newest scores of an engine: the series of each row, its value and limit, and when they were made.

    predicted: bool [R], rows that are neither abstained from nor failing.
    """

    at: datetime
    step_seconds: float
    series: list[Series]
    values: F64
    limits: F64
    features: F64
    scores: Scores
    model_version: str
    predicted: NDArray[np.bool_]


Scored = Callable[[tuple[int, str], Latest, list[Risk]], None]  # the engine, its newest scores, the risks told of them


class PredictionStream:
    """Consumes `otlp_metrics`, keeps one engine for each partition and namespace, tells risks and observations.

    State is a function of the log: when partitions are assigned, their metrics are read again from the start and
    what was told is read back, so a restart or a rebalance repeats nothing and forgets nothing.
    """

    def __init__(self, settings: Settings, scorer: Callable[[], Scorer], scored: Scored | None = None) -> None:
        """scorer: asked before each scoring. scored: told after each; it must return at once and never raise."""
        self.settings = settings
        self.counters: dict[str, float] = dict.fromkeys(
            (
                "samples_total",
                "late_total",
                "dead_letters_total",
                "assessments_total",
                "scored_rows_total",
                "risks_total",
                "anomalies_total",
                "entities_watched",
                "lag_messages",
            ),
            0,
        )
        self.latest: dict[tuple[int, str], Latest] = {}
        self.calls: dict[str, set[str]] = {}  # the service graph: client -> servers
        self._scorer, self._scored = scorer, scored
        self._engines: dict[tuple[int, str], RiskEngine] = {}
        self._told = Told()
        self._derivation = Derivation()
        self._histograms: dict[int, HistogramState] = {}  # by partition
        self._budget = SeriesBudget(settings.max_series_per_entity, settings.max_series)
        self._refusals = Refusals()
        self._anomalies = AnomalyStream(settings)
        self._namespaces: dict[int, tuple[tuple[Series, ...], str | None]] = {}  # by id of the tuple, held here
        self._watermarks: dict[str, int] = {}
        self._untold: dict[str, Watermark] = {}  # they wait until all that was told before is on the log
        self._progress = ReadProgress()
        self._headers: list[tuple[str, bytes]] = []  # of what is told: the trace of the batch that it comes of
        compile_kernels()
        self._producer = producer(settings.kafka_bootstrap, delivery_seconds=0)  # never given up: a risk is not lost
        self._rebuild_to: dict[int, int] = {}  # offset up to which each partition is read again
        self._quiet_polls = 0
        self._in_step = False  # all that is on the log has been read, or nearly
        self._stop = threading.Event()
        self.ready = threading.Event()  # partitions are assigned

    def run(self) -> None:
        """Until `stop`. Raises what the broker raises for good; retries what passes."""
        names = [topics.METRICS]
        member = consumer(self.settings.kafka_bootstrap, GROUP, names, on_assign=self._assign, on_revoke=self._revoke)
        try:
            while not self._stop.is_set():
                messages = member.consume(500, timeout=_POLL_SECONDS)
                with batch_span("predict", messages) if messages else nullcontext():
                    self._headers = trace_headers()
                    self._work(member, messages)
                if messages:
                    member.commit(asynchronous=True)
        finally:
            self._producer.flush(10)
            member.close()

    def _work(self, member: Consumer, messages: list[Message]) -> None:
        """Fill windows, and score them unless it is behind."""
        self.counters["lag_messages"] = lag = self._lag(member)
        self._in_step = lag <= CATCHING_UP_MESSAGES and not self._rebuild_to
        for message in _as_they_came(messages):
            self._take(message)
        self._progress.follow(self._offsets(member), self._engines)
        if lag <= CATCHING_UP_MESSAGES and self._rebuilt(member, quiet=not messages):
            self._assess_all()
        self._tell_watermarks()

    def stop(self) -> None:
        """End `run` after the batch at hand."""
        self._stop.set()

    def _assign(self, member: Consumer, partitions: list[TopicPartition]) -> None:
        self._told = read_told(self.settings.kafka_bootstrap)
        self._derivation = Derivation()  # a function of the log, which is read again
        self._progress.clear()
        self._watermarks.clear()  # those of the partitions that are new here are to be told, too
        for partition in partitions:
            partition.offset = OFFSET_BEGINNING
            self._histograms.pop(partition.partition, None)
        member.assign(partitions)
        ends = end_offsets(self.settings.kafka_bootstrap, [topics.METRICS])
        self._rebuild_to = {p.partition: ends.get((p.topic, p.partition), 0) for p in partitions}
        self._quiet_polls = 0
        self.ready.set()
        logger.info("rebuilding windows from the log", partitions=[p.partition for p in partitions])

    def _revoke(self, member: Consumer, partitions: list[TopicPartition]) -> None:
        self._producer.flush(10)  # who takes them over reads what was told
        self._tell_watermarks()
        self._producer.flush(10)
        gone = {p.partition for p in partitions}
        for key in [k for k in self._engines if k[0] in gone]:
            self._engines.pop(key).windows.release()
            self.latest.pop(key, None)
        self._anomalies.drop(gone)

    def _rebuilt(self, member: Consumer, quiet: bool) -> bool:
        """Whether all that was on the log at the assignment has been taken: partitions are read one after the other,
        and what is scored before is scored without the series of the others."""
        if not self._rebuild_to:
            return True
        for partition in member.position(member.assignment()):
            if partition.offset >= self._rebuild_to.get(partition.partition, 0):
                self._rebuild_to.pop(partition.partition, None)
        self._rebuild_to = {number: end for number, end in self._rebuild_to.items() if end > 0}
        self._quiet_polls = self._quiet_polls + 1 if quiet else 0
        if self._quiet_polls > _QUIET_POLLS:  # the last offsets are no messages (retention, compaction)
            self._rebuild_to = {}
        return not self._rebuild_to

    def _take(self, message: Message) -> None:
        if message.error():
            logger.warning("the broker reports an error", reason=str(message.error()))
            return
        try:
            state = self._histograms.setdefault(message.partition(), HistogramState())
            batch = self._derivation.extend(decode_metrics(message.value() or b"", state))
        except TelemetryError as error:
            self.counters["dead_letters_total"] += 1
            dead_letter(self._producer, message, str(error))
            return
        self.counters["samples_total"] += len(batch)
        namespace = self._namespace(batch.series)
        parts = _by_namespace(batch) if namespace is None else [(namespace, batch)]
        for name, part in parts:
            engine = self._engine(message.partition(), name)
            if self._in_step and engine.passes_over(part):
                self._assess_all()  # a pause let messages pile up: they are scored as if there had been none
            engine.ingest(part)

    def _namespace(self, series: tuple[Series, ...]) -> str | None:
        """The one namespace of the series, None where there are several or none; remembered for the same tuple."""
        known = self._namespaces.get(id(series))
        if known is None:
            names = {namespace_of(s.entity) for s in series}
            if len(self._namespaces) > _SETS_OF_SERIES_KEPT:
                self._namespaces.clear()
            known = self._namespaces[id(series)] = series, names.pop() if len(names) == 1 else None
        return known[1]

    def _engine(self, partition: int, namespace: str) -> RiskEngine:
        engine = self._engines.get((partition, namespace))
        if engine is None:
            s = self.settings
            engine = RiskEngine(namespace, s.step_of(namespace), s.lateness_seconds, s.score_every_steps, self._budget)
            past = self._told.past(namespace, partition)
            if past is not None:
                engine.restore(past)
            self._engines[(partition, namespace)] = engine
            peers = [e for (_, n), e in self._engines.items() if n == namespace]
            for each in peers:
                each.peers = peers
        return engine

    def _offsets(self, member: Consumer) -> dict[int, tuple[int, int]]:
        """Of each partition the offset that is taken next, and the one after the last that is known."""
        offsets = {}
        for partition in member.position(member.assignment()):
            _, high = member.get_watermark_offsets(partition, cached=True)
            if partition.offset >= 0 and high >= 0:
                offsets[partition.partition] = partition.offset, high
        return offsets

    def _lag(self, member: Consumer) -> int:
        """Messages that are on the log and not taken yet."""
        return sum(max(high - position, 0) for position, high in self._offsets(member).values())

    def _assess_all(self) -> None:
        for key, engine in list(self._engines.items()):
            for end in engine.pending():
                self._assess(key, engine, end, self._scorer())
        self._count()

    def _count(self) -> None:
        windows = [e.windows.tallies for e in self._engines.values()]
        histograms = self._histograms.values()
        self.counters |= {
            "late_total": sum(w["late"] for w in windows),
            "stale_total": sum(w["stale"] for w in windows),
            "counter_resets_total": sum(w["resets"] for w in windows),
            "histogram_late_total": sum(h.tallies["late"] for h in histograms),
            "histogram_resets_total": sum(h.tallies["resets"] for h in histograms),
            "histogram_refused_total": sum(h.refused for h in histograms),
            "series": sum(len(e.windows.series) for e in self._engines.values()),
        }
        self._refusals.tell(self._budget, self.counters)

    def _assess(self, key: tuple[int, str], engine: RiskEngine, end: int, scorer: Scorer) -> None:
        engine.calls = self.calls
        anomalies = self._anomalies.step(key, engine, end, self._told)
        risks, observations, seen, scores = engine.assess(end, scorer)
        series = [engine.windows.series[int(r)] for r in seen.rows]
        at = datetime.fromtimestamp(end * engine.step_seconds, UTC)
        self.latest[key] = latest = Latest(
            at, engine.step_seconds, series, seen.values, seen.limits, seen.features, scores, scorer.version,
            engine.predicted(seen.rows),
        )  # fmt: skip
        for risk in risks:
            self._produce(topics.RISKS, risk.entity, risk)
            logger.debug("risk told", episode=risk.episode, entity=risk.entity, signal=risk.signal, state=risk.state)
        for observation in [*observations, *anomalies]:
            self._produce(topics.OBSERVATIONS, getattr(observation, "entity", engine.namespace), observation)
        self.counters["assessments_total"] += 1
        self.counters["scored_rows_total"] += len(seen.rows)
        self.counters["risks_total"] += len(risks)
        self.counters["entities_watched"] = self._anomalies.watched
        self.counters["anomalies_total"] += sum(anomaly.state == "open" for anomaly in anomalies)
        self._move_watermark(engine.namespace)
        if self._scored is not None:
            self._scored(key, latest, risks)

    def _move_watermark(self, namespace: str) -> None:
        """The event clock of a namespace is that of its slowest engine."""
        engines = {partition: e for (partition, n), e in self._engines.items() if n == namespace}
        cell = min(e.scored_cell for e in engines.values())
        if cell > self._watermarks.get(namespace, -1):
            self._watermarks[namespace] = cell
            at = datetime.fromtimestamp(cell * next(iter(engines.values())).step_seconds, UTC)
            self._untold[namespace] = Watermark(namespace, at, sorted(engines))

    def _tell_watermarks(self) -> None:
        """A watermark says that nothing before it is still to be told: it follows what the broker has."""
        self._producer.poll(0)
        if self._untold and not len(self._producer):
            for namespace, watermark in self._untold.items():
                self._produce(topics.OBSERVATIONS, namespace, watermark)
            self._untold.clear()

    def _produce(self, topic: str, key: str, record: Risk | Observation) -> None:
        self._producer.produce(topic, key=key.encode(), value=encode(record), headers=self._headers)
        self._producer.poll(0)


def _as_they_came(messages: list[Message]) -> list[Message]:
    """Messages of several partitions by the time at which they were sent, those of a partition in their order."""
    newest: dict[int | None, int] = {}
    sent = []
    for message in messages:
        number, at = message.partition(), message.timestamp()[1]
        newest[number] = max(at, newest.get(number, at))
        sent.append(newest[number])
    return [messages[i] for i in sorted(range(len(messages)), key=sent.__getitem__)]


def _by_namespace(batch: SampleBatch) -> list[tuple[str, SampleBatch]]:
    """Parts of a batch by namespace; nearly always one, for a message has one entity."""
    names = [namespace_of(s.entity) for s in batch.series]
    if len(set(names)) <= 1:
        return [(names[0], batch)] if names else []
    parts = []
    for name in dict.fromkeys(names):
        keep = np.array([n == name for n in names])[batch.index]
        parts.append((name, SampleBatch(batch.series, batch.index[keep], batch.times[keep], batch.values[keep])))
    return parts
