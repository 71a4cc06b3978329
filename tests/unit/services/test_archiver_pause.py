"""An archiver that waits for PostgreSQL pauses its partitions; a rebalance meanwhile does not leave them paused."""

import threading
from typing import Any

import pytest
from confluent_kafka import TopicPartition

from forewarn.config.settings import Settings
from forewarn.services.archiver import service
from forewarn.services.archiver.service import Archiver
from forewarn.stores.offsets import Place
from forewarn.telemetry import topics

MINE = [TopicPartition(topics.LOGS, 0), TopicPartition(topics.METRICS, 0)]


class Member:
    """A consumer that keeps a partition's pause over assignments, as librdkafka does."""

    def __init__(self, assigned: Any, revoked: Any) -> None:
        self.assigned, self.revoked = assigned, revoked
        self.mine: list[TopicPartition] = []
        self.paused: set[Place] = set()
        self.rebalances = 0

    def assignment(self) -> list[TopicPartition]:
        return self.mine

    def assign(self, partitions: list[TopicPartition]) -> None:
        self.mine = partitions

    def pause(self, partitions: list[TopicPartition]) -> None:
        self.paused |= {Place(p.topic, p.partition) for p in partitions}

    def resume(self, partitions: list[TopicPartition]) -> None:
        self.paused -= {Place(p.topic, p.partition) for p in partitions}

    def get_watermark_offsets(self, partition: TopicPartition, timeout: float) -> tuple[int, int]:
        return 0, 100

    def poll(self, timeout: float) -> None:
        if self.rebalances:
            self.rebalances -= 1
            self.revoked(self, self.mine)
            self.mine = []
            self.assigned(self, MINE)


@pytest.mark.parametrize("rebalances", [0, 1, 2])
def test_nothing_is_paused_after_waiting(rebalances: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service.log, "producer", lambda *_, **__: None)
    monkeypatch.setattr(service.log, "consumer", lambda bootstrap, group, names, *calls: Member(*calls))
    archiver = Archiver(Settings(_env_file=None), threading.Event(), {})
    monkeypatch.setattr(archiver._store, "offsets", dict)
    member: Any = archiver._consumer
    member.assigned(member, MINE)
    for _ in range(max(rebalances, 1)):
        member.rebalances = min(rebalances, 1)
        archiver._idle(0.06)
    assert member.assignment() == MINE
    assert member.paused == set()
