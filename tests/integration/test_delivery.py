"""A broker that stood still for longer than the gateway waits: afterwards the gateway delivers again, by itself."""

import asyncio
import signal
import time
from collections.abc import Callable

import psutil
import pytest
from confluent_kafka import KafkaError, Producer

from forewarn.services.gateway.delivery import Delivery, Undelivered
from forewarn.stores.log import create_topics
from forewarn.telemetry import topics

MESSAGES = [(topics.METRICS, f"shop/svc-{i}", b"x" * 100) for i in range(20)]


def broker_process(address: str) -> psutil.Process:
    """The broker that listens at this address."""
    url = f"tcp://{address}"
    return next(p for p in psutil.process_iter(["cmdline"]) if url in (p.info["cmdline"] or []))


def test_after_messages_timed_out_the_broker_takes_others(own_broker: str) -> None:
    create_topics(own_broker, 2)
    delivery, broker = Delivery(own_broker, 2, seconds=1.0), broker_process(own_broker)
    try:
        until_delivered(delivery)
        broker.send_signal(signal.SIGSTOP)
        for _ in range(3):
            with pytest.raises(Undelivered):
                asyncio.run(delivery.send(MESSAGES))
        broker.send_signal(signal.SIGCONT)
        until_delivered(delivery)
    finally:
        broker.send_signal(signal.SIGCONT)
        delivery.close()


def until_delivered(delivery: Delivery) -> None:
    """Return once requests are taken; on a busy machine one of them may take longer than the second it has."""
    deadline = time.monotonic() + 30
    while not delivered(delivery):
        assert time.monotonic() < deadline, "the broker takes nothing from this producer any more"


def delivered(delivery: Delivery) -> bool:
    """Whether five requests in a row are taken."""
    try:
        for _ in range(5):
            asyncio.run(delivery.send(MESSAGES))
    except Undelivered:
        return False
    return True


class Hesitating:
    """A producer that is found useless while the first request is being given to it."""

    def __init__(self, real: Producer, found_useless: Callable[[], None]) -> None:
        self._real, self._found_useless, self._given = real, found_useless, 0

    def produce(self, *message: object, **more: object) -> None:
        self._given += 1
        if self._given == 2:
            self._found_useless()
            time.sleep(0.5)  # others may act meanwhile
        self._real.produce(*message, **more)

    def __len__(self) -> int:
        return len(self._real)

    def __getattr__(self, name: str) -> object:
        return getattr(self._real, name)


def test_a_request_under_way_while_the_producer_is_replaced_is_answered() -> None:
    delivery = Delivery("127.0.0.1:9", 1, seconds=60.0)  # nobody is there: nothing is delivered, or given up soon
    fenced = KafkaError(KafkaError.PRODUCER_FENCED)
    delivery._producer = Hesitating(delivery._producer, lambda: delivery._note(fenced))
    try:
        with pytest.raises(Undelivered):
            asyncio.run(asyncio.wait_for(delivery.send(MESSAGES), 10))
    finally:
        delivery._seconds = 0.0  # nothing to wait for
        delivery.close()
