"""A running alerter with a broker, a database and a mail server of its own, for tests."""

import email
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from confluent_kafka import Producer

from forewarn.config.settings import Settings
from forewarn.risk.records import AnyObservation, Risk, encode
from forewarn.services.alerter.__main__ import run
from forewarn.stores.log import create_topics, producer
from forewarn.telemetry import topics


class Inbox:
    """A real SMTP server that keeps what it is given; `refuse` is answered instead while it is set."""

    def __init__(self, port: int) -> None:
        self.mails: list[EmailMessage] = []
        self.times: dict[str, float] = {}
        self.refuse: str | None = None
        self.on_mail: Callable[[], None] = lambda: None  # called before the sender is told that the mail was taken
        self.port = port
        self._server: Controller | None = None

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        if self.refuse:
            return self.refuse
        mail = email.message_from_bytes(envelope.content, policy=default)
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        self.times[mail["X-Forewarn-Incident"]] = time.time()
        self.on_mail()
        return "250 OK"

    def start(self) -> None:
        self._server = Controller(self, hostname="127.0.0.1", port=self.port)
        self._server.start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop()
        self._server = None

    @property
    def subjects(self) -> list[str]:
        return [m["Subject"] for m in self.mails]


@dataclass
class Stack:
    """Addresses of what runs, and a producer."""

    settings: Settings
    inbox: Inbox
    out: Producer
    environment: dict[str, str]

    def send(self, *records: Risk | AnyObservation) -> None:
        """Put records on their topics, in this order."""
        out = self.out
        for record in records:
            topic = topics.RISKS if isinstance(record, Risk) else topics.OBSERVATIONS
            key = getattr(record, "entity", None) or getattr(record, "namespace", "")
            out.produce(topic, key=key, value=encode(record))
        assert out.flush(10) == 0

    def send_raw(self, topic: str, value: bytes) -> None:
        """Put bytes on a topic."""
        self.out.produce(topic, key="x", value=value)
        assert self.out.flush(10) == 0

    @contextmanager
    def alerter(self) -> Iterator[threading.Event]:
        """An alerter in a thread."""
        stop = threading.Event()
        thread = threading.Thread(target=run, args=(self.settings, stop))
        thread.start()
        try:
            yield stop
        finally:
            stop.set()
            thread.join(timeout=30)
            assert not thread.is_alive(), "the alerter does not stop"

    @contextmanager
    def process(self) -> Iterator[subprocess.Popen[bytes]]:
        """An alerter as the process that users run; killed at the end."""
        command = [sys.executable, "-m", "forewarn.services.alerter"]
        process = subprocess.Popen(command, env=os.environ | self.environment, stdout=subprocess.DEVNULL)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()


def stack_on(broker: str, postgres_url: str, smtp_port: int, home: Path, **settings: Any) -> Stack:
    """Topics and settings for an alerter."""
    given = {
        "kafka_bootstrap": broker, "postgres_url": postgres_url, "smtp_host": "127.0.0.1", "smtp_port": smtp_port,
        "home": home, "mail_to": "oncall@example.org", **settings,
    }  # fmt: skip
    create_topics(broker, 4)
    environment = {f"FOREWARN_{name.upper()}": str(value) for name, value in given.items()}
    return Stack(Settings(**given), Inbox(smtp_port), producer(broker), environment)


def eventually(check: Callable[[], Any], seconds: float = 30.0) -> Any:
    """The first true answer; AssertionError with the last one after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (answer := check()):
        assert time.monotonic() < deadline, f"still {answer!r} after {seconds} s"
        time.sleep(0.02)
    return answer
