"""Tokens of PostgreSQL as a door asks for them: from memory, read anew every few seconds."""

import threading
import time
from datetime import UTC, datetime
from types import TracebackType

import psycopg
import structlog

from forewarn.stores.tokens import PostgresTokens, Token, token_hash

logger = structlog.get_logger(__name__)

_NOTE_SECONDS = 60.0  # how often the last use is written


class TokenCache:
    """Knows live tokens; what PostgreSQL said last holds while it is away. Use it as a context manager.

    A token that is made, changed or revoked counts at every door after about `period_seconds`.
    """

    def __init__(self, postgres_url: str, period_seconds: float = 3.0) -> None:
        self._url = psycopg.conninfo.make_conninfo(postgres_url, connect_timeout=3, application_name="tokens")
        self._period = period_seconds
        self._tokens: dict[bytes, Token] = {}
        self._used: set[str] = set()
        self._noted = time.monotonic()
        self._reached: bool | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tokens", daemon=True)
        self.known = False  # whether PostgreSQL has ever answered

    def __enter__(self) -> "TokenCache":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stopped.set()
        self._thread.join(timeout=5)

    def find(self, token: str) -> Token | None:
        """The live token that was shown; None where there is none.

        It is found by its hash: how long that takes tells nothing of the tokens that there are.
        """
        found = self._tokens.get(token_hash(token)) if token else None
        if found is None or not found.live(datetime.now(UTC)):
            return None
        self._used.add(found.token_id)
        return found

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                with psycopg.connect(self._url, autocommit=True) as connection:
                    while not self._stopped.is_set():
                        self._read(PostgresTokens(connection))
                        self._stopped.wait(self._period)
            except psycopg.Error as error:
                if self._reached is not False:
                    logger.warning("tokens: PostgreSQL cannot be read, the last known hold", error=str(error).strip())
                self._reached = False
                self._stopped.wait(self._period)

    def _read(self, stored: PostgresTokens) -> None:
        self._tokens = stored.live()
        self.known = True
        if self._reached is False:
            logger.info("tokens: PostgreSQL is back")
        self._reached = True
        if self._used and time.monotonic() - self._noted > _NOTE_SECONDS:
            used, self._used, self._noted = self._used, set(), time.monotonic()
            stored.used(used)
