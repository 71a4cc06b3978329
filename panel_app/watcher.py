"""Asks PostgreSQL on behalf of all open pages: each question once a period, however many sessions show its answer."""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import psycopg
import structlog

logger = structlog.get_logger(__name__)

KEPT_SECONDS = 60.0  # an answer nobody watches is kept so long: the next visitor sees it at once
RETRY_SECONDS = 2.0
Produce = Callable[[psycopg.Connection[Any]], Any]


@dataclass(frozen=True, slots=True)
class Reading:
    """The newest answer to a question, None before the first; `problem` says why it is not fresh."""

    answer: Any = None
    problem: str | None = None
    at: float = 0.0  # wall clock of the answer, seconds since 1970


@dataclass(slots=True)
class _Question:
    produce: Produce
    every: float
    due: float = 0.0
    left_at: float = 0.0
    asked_at: float = -math.inf
    reading: Reading = field(default_factory=Reading)
    listeners: list[Callable[[Reading], None]] = field(default_factory=list)
    waiting: list[threading.Event] = field(default_factory=list)  # of readers who have nothing to look at yet

    @property
    def wanted(self) -> bool:
        """Whether somebody looks at the answer or waits for it."""
        return bool(self.listeners or self.waiting)


class Watcher:
    """One thread and one connection; listeners are called from that thread and must return at once."""

    def __init__(self, postgres_url: str) -> None:
        self._url = psycopg.conninfo.make_conninfo(
            postgres_url,
            connect_timeout=3,
            application_name="dashboard",
            options="-c statement_timeout=8000 -c default_transaction_read_only=on",
        )
        self._questions: dict[str, _Question] = {}
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopped = threading.Event()
        self._connection: psycopg.Connection[Any] | None = None
        self._problem: str | None = "not asked yet"
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def stop(self) -> None:
        """Stop asking and close the connection."""
        self._stopped.set()
        self._wake.set()
        self._thread.join(timeout=10)

    @property
    def problem(self) -> str | None:
        """Why the database does not answer; None where it does."""
        return self._problem

    def watch(
        self, key: str, produce: Produce, every: float, listener: Callable[[Reading], None]
    ) -> tuple[Reading, Callable[[], None]]:
        """Ask `produce` every so many seconds and tell `listener` when its answer changed.

        Returns what is known now and a function that ends the watching. Questions with one key are one question.
        """
        with self._lock:
            question = self._questions.setdefault(key, _Question(produce, every))
            question.listeners.append(listener)
            reading = question.reading
        self._wake.set()

        def leave() -> None:
            with self._lock:
                if listener in question.listeners:
                    question.listeners.remove(listener)
                    question.left_at = time.monotonic()

        return reading, leave

    def first(self, key: str, produce: Produce, every: float, seconds: float) -> Reading:
        """What to show to a reader who comes: an answer that is not older than a period, or what is known by then.

        Blocks its thread for `seconds` at most. Such a question goes before all that are only due again.
        """
        answered = threading.Event()
        with self._lock:
            question = self._questions.setdefault(key, _Question(produce, every, left_at=time.monotonic()))
            if time.monotonic() - question.asked_at <= every:
                return question.reading
            question.waiting.append(answered)
        self._wake.set()
        answered.wait(seconds)
        with self._lock:
            if answered in question.waiting:
                question.waiting.remove(answered)
            return question.reading

    def known(self, key: str) -> Reading:
        """The newest reading of a question."""
        with self._lock:
            return self._questions[key].reading if key in self._questions else Reading()

    def ask_now(self, key: str) -> None:
        """Ask this question again at once, because its answer has just been changed."""
        with self._lock:
            if key in self._questions:
                self._questions[key].due = 0.0
        self._wake.set()

    def _run(self) -> None:
        while not self._stopped.is_set():
            question = self._most_urgent()
            if question is not None:
                self._ask(question)
                continue
            self._wake.wait(self._pause())
            self._wake.clear()
        self._disconnect()

    def _most_urgent(self) -> _Question | None:
        """One for which a reader waits, else the one that is due for longest."""
        now = time.monotonic()
        with self._lock:
            gone = [k for k, q in self._questions.items() if not q.wanted and now - q.left_at > KEPT_SECONDS]
            for key in gone:
                del self._questions[key]
            due = [q for q in self._questions.values() if q.waiting or (q.listeners and q.due <= now)]
        return min(due, key=lambda q: (not q.waiting, q.due), default=None)

    def _pause(self) -> float:
        with self._lock:
            wanted = [q for q in self._questions.values() if q.wanted]
            next_due = min((0.0 if q.waiting else q.due for q in wanted), default=time.monotonic() + 5)
        return max(0.01, next_due - time.monotonic())

    def _ask(self, question: _Question) -> None:
        old = question.reading
        try:
            with self._connected().transaction():
                answer = question.produce(self._connected())
            self._answered()
            reading = Reading(answer, None, time.time())
            question.due = time.monotonic() + question.every
        except psycopg.Error as error:
            reading = Reading(old.answer, self._lost(error), old.at)
            question.due = time.monotonic() + max(RETRY_SECONDS, question.every)
        except Exception:
            logger.exception("a page could not be made")
            reading = Reading(old.answer, "This page could not be made; the dashboard's log says why.", old.at)
            question.due = time.monotonic() + 5 * RETRY_SECONDS
        self._tell(question, reading, changed=(reading.answer, reading.problem) != (old.answer, old.problem))

    def _tell(self, question: _Question, reading: Reading, changed: bool) -> None:
        with self._lock:
            question.reading, question.asked_at = reading, time.monotonic()
            waiting, question.waiting = question.waiting, []
            listeners = list(question.listeners) if changed else []
        for answered in waiting:
            answered.set()
        for listener in listeners:
            listener(reading)

    def _connected(self) -> psycopg.Connection[Any]:
        if self._connection is None or self._connection.closed:
            self._connection = psycopg.connect(self._url, autocommit=True)
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _answered(self) -> None:
        if self._problem not in (None, "not asked yet"):
            logger.info("PostgreSQL answers again")
        self._problem = None

    def _lost(self, error: psycopg.Error) -> str:
        if isinstance(error, psycopg.OperationalError):
            self._disconnect()
        if isinstance(error, psycopg.errors.UndefinedTable):
            problem = "The database has no Forewarn tables yet. They are created when `forewarn up` starts."
        elif isinstance(error, psycopg.errors.QueryCanceled):
            problem = "The database took longer than 8 s to answer. It may be overloaded; the page tries again."
        elif isinstance(error, psycopg.OperationalError):
            problem = "The database cannot be reached."
        else:
            problem = "The database refused a question; the dashboard's log says which."
        if self._problem != problem:
            logger.warning("the database does not answer", error=str(error).strip().splitlines()[0])
        self._problem = problem
        return problem
