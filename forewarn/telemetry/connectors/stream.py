"""Records of one partition in event-time buckets: counted, closed when their time has passed, told as samples."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from types import GenericAlias
from typing import Any, Generic, TypeVar

import msgspec
import numpy as np
from ddsketch import DDSketch
from ddsketch.pb.ddsketch_pb2 import DDSketch as SketchMessage
from ddsketch.pb.proto import DDSketchProto
from numpy.typing import NDArray

from forewarn.telemetry.connectors.meter import Key, Meter, Values, unit_of
from forewarn.telemetry.connectors.options import NANOSECONDS, Options
from forewarn.telemetry.connectors.templates import Templates
from forewarn.telemetry.samples import Series, namespace_of

R = TypeVar("R")

_MOST_ENTITIES = 5_000  # of a partition; beyond it the one silent for longest is forgotten
_LATEST = 2**63 - 1 - 366 * 86_400 * NANOSECONDS  # of times in nanoseconds: in the year 2261
_CLOCKS = ""  # the name under which a stream's clocks are dumped; no entity has it


@dataclass(frozen=True, slots=True, eq=False)
class EntitySignals:
    """Samples of one entity.

    series: [S]; times: int64 [T], the ends of the buckets (ns); values: float64 [S, T], NaN where there is none.
    """

    entity: str
    series: tuple[Series, ...]
    times: NDArray[np.int64]
    values: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Kind(Generic[R]):
    """A kind of records: how they are read, and what counts them. buckets: the type of the meter's buckets."""

    decode: Callable[[bytes], list[R]]
    entity: Callable[[R], str]
    time: Callable[[R], int]
    meter: type[Meter[R, Any]]
    buckets: type


class _Entity(msgspec.Struct):
    """State of an entity. Buckets before `frontier` are closed; `filled` is the last closed one that held a record."""

    meter: Any
    frontier: int
    newest: int
    filled: int
    open: dict[int, Any]


class _Clock(msgspec.Struct):
    """Event clock of a namespace (ns), and up to which bucket its quiet entities were closed."""

    now: int = 0
    swept: int = 0


class SignalStream(Generic[R]):
    """Turns the messages of one partition, in their order, into samples.

    Everything is a function of the messages: what is `dump`ed after some of them and `restore`d gives the same samples
    for those that follow. A bucket of an entity is closed when the entity's own records, or the clock of its namespace,
    have passed its end by the allowance. The clock is the oldest time in the newest message: several entities' pieces
    of the same hours, one after the other, are none of them late.
    """

    def __init__(self, kind: Kind[R], options: Options, step_of: Callable[[str], float] = lambda _: 0.0) -> None:
        self.counters = {"records": 0, "late": 0}
        self._kind, self._options, self._step_of = kind, options, step_of
        self._per_namespace: dict[str, Options] = {}
        self._entities: dict[str, _Entity] = {}
        self._clocks: dict[str, _Clock] = {}
        self._dirty: set[str] = set()
        self.forgotten: set[str] = set()
        types: dict[str, Any] = {"meter": kind.meter, "open": GenericAlias(dict, (int, kind.buckets))}
        made: Any = type("State", (_Entity,), {"__annotations__": types})
        self._decode_entity: Callable[[bytes], _Entity] = msgspec.msgpack.Decoder(made, dec_hook=_from_bytes).decode

    @property
    def entity_count(self) -> int:
        """Entities that are known."""
        return len(self._entities)

    def take(self, records: Iterable[R]) -> list[EntitySignals]:
        """Count the records of one message; samples of the buckets that are over."""
        parts: dict[str, list[R]] = {}
        for record in records:
            if self._kind.time(record) > _LATEST:
                self.counters["late"] += 1  # no bucket can end after it: an absurd clock, left out like what is late
                continue
            parts.setdefault(self._kind.entity(record), []).append(record)
        told: list[EntitySignals] = []
        for entity, part in parts.items():
            told += self._take(entity, part)
        return told

    def close_idle(self) -> list[EntitySignals]:
        """Close what is open: nothing has come for so long that nothing that belongs to it will."""
        waiting = [(entity, state) for entity, state in self._entities.items() if state.open]
        told = [self._close(entity, state, max(state.open) + 1) for entity, state in waiting]
        return [one for one in told if one is not None]

    def templates(self) -> Iterator[tuple[str, Templates]]:
        """The log templates of the entities that changed since the last dump."""
        for entity in sorted(self._dirty & self._entities.keys()):
            templates = getattr(self._entities[entity].meter, "templates", None)
            if templates is not None:
                yield entity, templates

    def dump(self) -> dict[str, bytes]:
        """State, by entity, that changed since the last `saved`."""
        found = {
            n: msgspec.msgpack.encode(self._entities[n], enc_hook=_to_bytes) for n in self._dirty & set(self._entities)
        }
        return {**found, _CLOCKS: msgspec.msgpack.encode(self._clocks)} if found else {}

    def saved(self) -> None:
        """What was dumped is kept: it need not be dumped again."""
        for _, templates in self.templates():
            templates.touched.clear()
        self._dirty.clear()
        self.forgotten.clear()

    def restore(self, dumped: dict[str, bytes]) -> None:
        """Go on from a dump. Raises msgspec.MsgspecError for what is none."""
        clocks = dumped.get(_CLOCKS)
        if clocks is not None:
            self._clocks = msgspec.msgpack.decode(clocks, type=dict[str, _Clock])
        self._entities = {n: self._decode_entity(state) for n, state in sorted(dumped.items()) if n != _CLOCKS}

    def _take(self, entity: str, records: list[R]) -> Iterator[EntitySignals]:
        namespace = namespace_of(entity)
        options, times = self._options_of(namespace), [self._kind.time(r) for r in records]
        state = self._state(entity, min(times), options)
        self._count(state, records, times, options)
        state.newest = max(state.newest, max(times))
        clock = self._clocks.setdefault(namespace, _Clock())
        clock.now = max(clock.now, min(times))
        told = self._close(entity, state, self._target(max(state.newest, clock.now), options))
        if told is not None:
            yield told
        yield from self._sweep(namespace, clock, options)

    def _count(self, state: _Entity, records: list[R], times: list[int], options: Options) -> None:
        width, count, open_buckets = int(options.bucket * NANOSECONDS), state.meter.count, state.open
        self.counters["records"] += len(records)
        for record, time in zip(records, times, strict=True):
            index = time // width
            bucket = open_buckets.get(index)
            if bucket is None:
                if index < state.frontier:
                    self.counters["late"] += 1
                    continue
                bucket = open_buckets[index] = state.meter.bucket()
            count(bucket, record, options)

    def _sweep(self, namespace: str, clock: _Clock, options: Options) -> Iterator[EntitySignals]:
        """Close the buckets of the namespace's other entities, once a bucket."""
        target = self._target(clock.now, options)
        if target <= clock.swept:
            return
        clock.swept = target
        for entity, state in self._entities.items():
            if namespace_of(entity) == namespace:
                told = self._close(entity, state, target)
                if told is not None:
                    yield told

    def _close(self, entity: str, state: _Entity, target: int) -> EntitySignals | None:
        """Samples of the buckets before `target`: those with records, and zeros while the source counts as alive."""
        if target <= state.frontier:
            return None
        options = self._options_of(namespace_of(entity))
        width, rows = int(options.bucket * NANOSECONDS), []
        for index in _due(state, target, max(1, round(options.alive / options.bucket))):
            bucket = state.open.pop(index, None)
            state.filled = state.filled if bucket is None else index
            end = (index + 1) * width
            rows.append((end, state.meter.close(state.meter.bucket() if bucket is None else bucket, end, options)))
        state.frontier = target
        self._dirty.add(entity)
        return _signals(entity, rows) if rows else None

    def _state(self, entity: str, time: int, options: Options) -> _Entity:
        self._dirty.add(entity)
        state = self._entities.get(entity)
        if state is None:
            first = time // int(options.bucket * NANOSECONDS)
            state = self._entities[entity] = _Entity(self._kind.meter.begin(entity, time), first, time, first - 1, {})
            self.forgotten.discard(entity)
            if len(self._entities) > _MOST_ENTITIES:
                self._forget(min(self._entities, key=lambda name: self._entities[name].newest))
        return state

    def _forget(self, entity: str) -> None:
        del self._entities[entity]
        self.forgotten.add(entity)

    def _options_of(self, namespace: str) -> Options:
        """Buckets are no narrower than the namespace's window cells."""
        options = self._per_namespace.get(namespace)
        if options is None:
            bucket = max(self._options.bucket, self._step_of(namespace))
            options = self._per_namespace[namespace] = replace(self._options, bucket=bucket)
        return options

    @staticmethod
    def _target(now: int, options: Options) -> int:
        """The first bucket that stays open at this time."""
        return int((now - options.allowance * NANOSECONDS) // (options.bucket * NANOSECONDS))


def _due(state: _Entity, target: int, alive: int) -> Iterator[int]:
    """Buckets to close, in order: the open ones, and the empty ones of at most `alive` after each of them."""
    before, following = state.filled, state.frontier
    for index in [*sorted(i for i in state.open if i < target), target]:
        yield from range(max(following, before + 1), min(index, before + 1 + alive))
        if index < target:
            yield index
        before, following = index, index + 1


def _signals(entity: str, rows: list[tuple[int, Values]]) -> EntitySignals:
    keys: dict[Key, int] = {}
    for _, values in rows:
        for key in values:
            keys.setdefault(key, len(keys))
    matrix = np.full((len(keys), len(rows)), np.nan)
    for column, (_, values) in enumerate(rows):
        for key, value in values.items():
            matrix[keys[key], column] = value
    series = tuple(Series(entity, signal, attributes, unit=unit_of(signal)) for signal, attributes in keys)
    return EntitySignals(entity, series, np.array([end for end, _ in rows], np.int64), matrix)


def _to_bytes(value: object) -> bytes:
    if isinstance(value, Templates):
        return value.dump()
    return bytes(DDSketchProto.to_proto(value).SerializeToString())


def _from_bytes(kind: type, dumped: Any) -> Any:
    if kind is Templates:
        return Templates.load(dumped)
    restored, plain = DDSketch(0.01), DDSketchProto.from_proto(SketchMessage.FromString(dumped))
    restored.merge(plain)
    return restored
