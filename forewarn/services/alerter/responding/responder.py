"""Proposes and runs responses in a thread: each is marked before it begins, and is never begun twice by itself."""

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import structlog

from forewarn.config.settings import Settings
from forewarn.services.alerter.alerting_file import AlertingFile
from forewarn.services.alerter.responding import command, webhook
from forewarn.services.alerter.responding.ended import Ended
from forewarn.services.alerter.responding.gate import Gate
from forewarn.services.alerter.responding.proposer import Proposer
from forewarn.services.alerter.responding.responses_file import ResponsesInForce
from forewarn.stores.audit import PostgresAudit
from forewarn.stores.incidents import PostgresIncidents
from forewarn.stores.locks import Lock
from forewarn.stores.responses import PostgresResponses, StoredResponse
from forewarn.stores.rule_facts import TooManySeriesError

logger = structlog.get_logger(__name__)

ACTOR = "responses"
MOST_AT_ONCE = 4
_EVERY_SECONDS = 0.2  # so that the first message about an incident can tell what waits
_LOOK_SECONDS = 2.0  # probabilities and conditions change without a new version of the incident
_RETRY_SECONDS = 2.0
_CUT_OFF_SECONDS = 12.0
_STOP_SECONDS = 10.0  # what runs may end by itself when the alerter is stopped


class Responder:
    """Of all alerters, the one that holds the lock proposes and runs; it lives as long as its process."""

    def __init__(self, settings: Settings, count: Callable[[str, int], None], every: float = _EVERY_SECONDS) -> None:
        """Raises PolicyError or OSError for an alerting file that cannot be used."""
        url = settings.postgres_url.get_secret_value()
        self._url = psycopg.conninfo.make_conninfo(url, application_name="responses", connect_timeout=5)
        self._enabled = settings.responses is not None
        self._alerting = AlertingFile(settings)
        self._proposer = Proposer(settings.public_url, lambda: self._alerting.policy)
        self._secrets = {name: secret.get_secret_value() for name, secret in settings.response_secrets.items()}
        self._gate = Gate(lambda: self._alerting.policy, settings.response_commands, frozenset(self._secrets))
        self._counted, self._every = count, every
        self._term = str(uuid.uuid4())
        self._running: dict[str, str] = {}  # identity -> name
        self._looked_at_stamp: object = None
        self._looked_at = float("-inf")
        self._stopped, self._cut_off = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="responses", daemon=True)
        if settings.responses is not None:
            self.file = ResponsesInForce(settings.responses)

    def start(self) -> None:
        """Begin; without a file nothing is done."""
        if self._enabled:
            self._thread.start()

    def stop(self) -> None:
        """Begin nothing more; a command that still runs after ten seconds is ended, and what ran is 'unknown'."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_SECONDS)
        self._wait_for_runs(_STOP_SECONDS)
        self._cut_off.set()
        self._wait_for_runs(_CUT_OFF_SECONDS)

    def _wait_for_runs(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while self._running and time.monotonic() < deadline:
            time.sleep(0.05)

    def _count(self, name: str, number: int = 1) -> None:
        self._counted(name, number)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                with psycopg.connect(self._url, autocommit=True) as connection:
                    self._serve(connection)
            except (psycopg.Error, TooManySeriesError) as error:
                self._failed(str(error).strip())
            except Exception as error:  # of one incident or file: the others must go on
                logger.exception("responses: a look broke off")
                self._failed(f"{type(error).__name__}: {error}")

    def _failed(self, why: str) -> None:
        self._count("response_errors_total")
        logger.warning("responses: trying again", error=why)
        self._stopped.wait(_RETRY_SECONDS)

    def _serve(self, connection: psycopg.Connection[Any]) -> None:
        while not self._stopped.is_set() and not _locked(connection):
            self._stopped.wait(_RETRY_SECONDS)
        if self._stopped.is_set():
            return
        abandoned = PostgresResponses(connection).abandon(list(self._running))
        if abandoned:
            logger.warning("responses: the end of some was not seen, they are 'unknown'", number=abandoned)
        while not self._stopped.is_set():
            started = time.monotonic()
            self.sweep(connection)
            self._stopped.wait(max(self._every, 10 * (time.monotonic() - started)))

    def sweep(self, connection: psycopg.Connection[Any]) -> None:
        """Look at everything once. Raises psycopg.Error, TooManySeriesError."""
        self._take_up(connection)
        if not self.file.known:
            return
        file, stored = self.file.file, PostgresResponses(connection)
        pending = stored.pending()
        stamp = (file, PostgresIncidents(connection).stamp(), tuple(row.response_id for row in pending))
        if stamp != self._looked_at_stamp or time.monotonic() - self._looked_at > _LOOK_SECONDS:
            self._looked_at_stamp, self._looked_at = stamp, time.monotonic()
            self._count("responses_proposed_total", self._proposer.propose(connection, file.responses))
            pending = stored.pending()
        for row in pending:
            if self._stopped.is_set() or len(self._running) >= MOST_AT_ONCE:
                return
            if self._gate.opens(connection, row, file):
                claimed = stored.claim(row, self._term)
                if claimed is not None:
                    self._begin(claimed)

    def _take_up(self, connection: psycopg.Connection[Any]) -> None:
        self._alerting.refresh()
        self.file.refresh(self._alerting.policy.known_labels())
        while self.file.notes:
            action, reason = self.file.notes[0]
            PostgresAudit(connection).write(ACTOR, action, "file of responses", reason)
            self.file.notes.pop(0)

    def _begin(self, row: StoredResponse) -> None:
        """It is marked already; from here on it is run at most once, whatever happens."""
        self._running[row.response_id] = row.response
        self._count("responses_begun_total")
        logger.info("a response begins", response=row.response, entity=row.entity, by=row.decided_by)
        threading.Thread(target=self._carry_out, args=(row,), name=f"response-{row.response}", daemon=True).start()

    def _carry_out(self, row: StoredResponse) -> None:
        try:
            ended = self._act(row)
        except Exception as error:
            logger.exception("a response broke off", response=row.response)
            ended = Ended("unknown", f"it broke off: {type(error).__name__}; look whether it was done")
        try:
            self._enter(row, ended)
        finally:
            self._running.pop(row.response_id, None)
        self._count(f"responses_{ended.status}_total")
        logger.info("a response has ended", response=row.response, status=ended.status, outcome=ended.outcome)

    def _act(self, row: StoredResponse) -> Ended:
        if row.plan["kind"] == "command":
            return command.run(row.plan, self._secrets, self._cut_off)
        return webhook.call(row.plan, self._secrets, row.response_id, self._cut_off)

    def _enter(self, row: StoredResponse, ended: Ended) -> None:
        """Again and again while the database is away; not entered before the process ends, it is 'unknown'."""
        while True:
            try:
                with psycopg.connect(self._url) as connection:
                    PostgresResponses(connection).finish(row, self._term, ended.status, ended.outcome, ended.output)
                return
            except psycopg.OperationalError as error:
                logger.warning("responses: an end cannot be stored, trying again", error=str(error).strip())
                if self._cut_off.wait(_RETRY_SECONDS):
                    return


def _locked(connection: psycopg.Connection[Any]) -> bool:
    row = connection.execute("select pg_try_advisory_lock(%s)", (Lock.RUN_RESPONSES.value,)).fetchone()
    return bool(row and row[0])


@contextmanager
def responding(settings: Settings, counters: dict[str, float]) -> Iterator[Responder]:
    """A responder that runs inside the block, whether this alerter leads or stands by: it has a lock of its own."""

    def count(name: str, number: int) -> None:
        counters[name] = counters.get(name, 0) + number

    responder = Responder(settings, count)
    responder.start()
    try:
        yield responder
    finally:
        responder.stop()
