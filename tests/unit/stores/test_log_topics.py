"""How topics are made."""

from concurrent.futures import Future
from typing import Any

import pytest

from forewarn.stores import log
from forewarn.telemetry import topics


class Admin:
    made: list[Any]

    def __init__(self, settings: dict[str, Any]) -> None:
        Admin.made = []

    def list_topics(self, timeout: float) -> Any:
        return self

    topics: tuple[str, ...] = ()

    def create_topics(self, new: list[Any], operation_timeout: float) -> dict[str, Future[None]]:
        Admin.made = new
        done: Future[None] = Future()
        done.set_result(None)
        return {topic.topic: done for topic in new}


@pytest.mark.parametrize(("told", "copies"), [({}, -1), ({"replication": 3}, 3)])
def test_topics_have_the_copies_of_the_setting_or_the_brokers_default(
    told: dict[str, int], copies: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "AdminClient", Admin)
    log.create_topics("broker:9092", 4, **told)
    assert {t.topic: (t.num_partitions, t.replication_factor) for t in Admin.made} == dict.fromkeys(
        topics.ALL, (4, copies)
    )
