"""One term of the alerter: what it begins with, and what it cannot take."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest

from forewarn.alerting.policy import Policy
from forewarn.config.settings import Settings
from forewarn.services.alerter import __main__ as service
from forewarn.services.alerter.alerting_file import AlertingFile
from forewarn.services.alerter.session import Session

FILE = "channels: {c: {kind: console}}\nroute: {channels: [c]}\n"
WINDOW = 'maintenance: [{name: backup, match: {entity: "shop/*"}, starts: "2026-05-05 09:00", duration: 5h}]\n'


def test_a_stand_by_begins_with_the_alerting_file_as_it_is_when_it_takes_the_lead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, stop, followed, steps = tmp_path / "alerting.yaml", threading.Event(), list[Policy](), list[Policy]()
    path.write_text(FILE)
    settings = Settings(alerting=path)
    monkeypatch.setattr("forewarn.services.alerter.alerting_file._LOOK_SECONDS", 0.0)
    file = AlertingFile(settings)

    @contextmanager
    def leadership(url: str, stopped: threading.Event) -> Iterator[Any]:
        path.write_text(FILE + WINDOW)
        os.utime(path, (1, 1))
        yield MagicMock()

    def step() -> None:
        steps.append(file.policy)
        stop.set()

    for name in ("Composer", "CauseFinder", "PostgresAudit", "_signer"):
        monkeypatch.setattr(service, name, MagicMock())
    monkeypatch.setattr(service, "leadership", leadership)
    monkeypatch.setattr(service, "RuleWatcher", MagicMock())
    monkeypatch.setattr(service, "Switchboard", lambda *_: MagicMock(follow=followed.append))
    monkeypatch.setattr(service, "Session", lambda *_: MagicMock(step=step))
    service.serve(settings, file, stop, {})
    assert [len(policy.maintenance) for policy in (followed[0], steps[0])] == [1, 1]


def test_a_time_out_of_all_bounds_is_refused_with_the_reason() -> None:
    class Alerter:
        _connection = SimpleNamespace(transaction=nullcontext)
        _graph_read = time.monotonic()

        def _take_one(self, record: object) -> None:
            raise OverflowError("date value out of range")

    alerter: Any = Alerter()
    record: Any = SimpleNamespace(message="the message")
    assert Session._take(alerter, [record]) == [("the message", "OverflowError: date value out of range")]
