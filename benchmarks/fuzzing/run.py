"""Sends garbage to a gateway and counts: answers that may not be, what was accepted, what the topics hold."""

import http.client
import threading
import urllib.parse
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import grpc
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from benchmarks.fuzzing.cases import Case
from benchmarks.fuzzing.doors import DOORS, LIMIT, Door
from benchmarks.fuzzing.facts import Fact, plain

ALLOWED = frozenset({200, 204, 400, 401, 413, 415, 503})
_GRPC = {"OK": 200, "INVALID_ARGUMENT": 400, "UNAUTHENTICATED": 401, "RESOURCE_EXHAUSTED": 413, "UNAVAILABLE": 503}
_THREADS = 8


@dataclass
class Tally:
    """What came of the requests. `wrong` and `accepted` name the cases."""

    requests: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    accepted: dict[str, Counter[Fact]] = field(default_factory=dict)  # by topic
    origin: dict[tuple[str, Fact], str] = field(default_factory=dict)
    messages: int = 0


class Fuzzer:
    """Senders to one gateway (`url`, gRPC at `over_grpc`) whose broker is `broker`. What it accepts is remembered."""

    def __init__(self, url: str, over_grpc: str, broker: str) -> None:
        self._host = urllib.parse.urlsplit(url).netloc
        self._channel = grpc.insecure_channel(over_grpc, [("grpc.max_send_message_length", -1)])
        self._broker, self._local, self._lock = broker, threading.local(), threading.Lock()
        self._pool = ThreadPoolExecutor(_THREADS)
        self.tally = Tally()

    def close(self) -> None:
        """End the senders."""
        self._pool.shutdown()
        self._channel.close()

    def send(self, door: Door, some: Iterable[Case]) -> list[int]:
        """Send the cases side by side; their HTTP statuses (of gRPC: what they correspond to)."""
        return list(self._pool.map(lambda case: self._one(door, case), some))

    def _one(self, door: Door, case: Case) -> int:
        name = f"{door.name}: {case.name}"
        try:
            status, told = (self._call if door.over_grpc else self._post)(door, case)
        except (OSError, http.client.HTTPException) as error:
            status, told = -1, f"{type(error).__name__}: {error}"
        with self._lock:
            self.tally.requests += 1
            self.tally.statuses[status] += 1
            if status not in ALLOWED or status == 503:  # the broker is there: nothing excuses a 503
                self.tally.wrong.append(f"{name}: answered {status} {told[:300]}")
            if 200 <= status < 300:
                self._remember(door, case, name)
        return status

    def _remember(self, door: Door, case: Case, name: str) -> None:
        encoding = case.headers.get("content-encoding", door.encoding)
        try:
            found = door.sent(plain(case.body, encoding, LIMIT))
        except Exception as error:  # noqa: BLE001  whatever it is, it is a finding
            self.tally.wrong.append(f"{name}: accepted, but cannot be read: {error}")
            return
        self.tally.accepted.setdefault(door.topic, Counter()).update(found)
        self.tally.origin.update({(door.topic, fact): name for fact in found})

    def _post(self, door: Door, case: Case) -> tuple[int, str]:
        headers = {"content-type": door.media_type}
        headers |= {"content-encoding": door.encoding} if door.encoding else {}
        fresh = getattr(self._local, "connection", None) is None
        connection = self._connection()
        try:
            connection.request("POST", door.path, case.body, {**headers, **case.headers})
            answer = connection.getresponse()
            told = answer.read().decode(errors="replace")
            if answer.status in (413, 500):  # the server may close after it
                connection.close()
            return answer.status, told
        except (OSError, http.client.HTTPException):
            self._local.connection = None
            if not fresh:  # the server may have closed what was idle: only a new connection tells
                return self._post(door, case)
            if len(case.body) > LIMIT:  # it need not read on to the end of what it refuses
                return 413, ""
            raise

    def _connection(self) -> http.client.HTTPConnection:
        if getattr(self._local, "connection", None) is None:
            self._local.connection = http.client.HTTPConnection(self._host, timeout=30)
        connection: http.client.HTTPConnection = self._local.connection
        return connection

    def _call(self, door: Door, case: Case) -> tuple[int, str]:
        try:
            self._channel.unary_unary(door.path)(case.body, timeout=30)
        except grpc.RpcError as error:
            return _GRPC.get(error.code().name, -1), f"{error.code().name} {error.details()}"
        return 200, ""

    def check_topics(self) -> list[str]:
        """What differs between what was accepted and what the topics hold; [] where nothing does."""
        wrong = []
        for topic in {door.topic for door in DOORS}:
            read = next(door.read for door in DOORS if door.topic == topic)
            held: Counter[Fact] = Counter()
            for value in _messages(self._broker, topic):
                self.tally.messages += 1
                try:
                    held.update(read(value))
                except Exception as error:  # noqa: BLE001  whatever it is, it is a finding
                    wrong.append(f"{topic}: a message of {len(value)} B cannot be read: {error}")
            accepted = self.tally.accepted.get(topic, Counter())
            for fact, times in (accepted - held).items():
                wrong.append(f"{topic}: accepted {times} × from {self.tally.origin[topic, fact]}, not held: {fact}")
            wrong += [f"{topic}: held {n} × more than accepted: {fact}" for fact, n in (held - accepted).items()]
        return wrong


def _messages(broker: str, topic: str) -> Iterable[bytes]:
    reader = Consumer({"bootstrap.servers": broker, "group.id": "fuzz", "enable.partition.eof": True})
    partitions = reader.list_topics(topic, timeout=10).topics[topic].partitions
    reader.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in partitions])
    unread = len(partitions)
    try:
        while unread:
            message = reader.poll(10)
            if message is None:
                raise TimeoutError(f"{topic} was not read to its end")
            if message.error():
                unread -= 1
            else:
                yield message.value()
    finally:
        reader.close()
