"""The scorer that serves: the promoted model as soon as there is one, the first-day model until then."""

import threading

import psycopg
import structlog

from bentos import model_store
from forewarn.risk.bundle import BundleError, load_bundle
from forewarn.risk.first_day import FirstDayScorer
from forewarn.risk.scorer import Scorer

logger = structlog.get_logger(__name__)

_CHAMPION = "select version from model_versions where stage = 'champion'"


class Champion:
    """Looks for a new champion every few seconds and takes it up between two scorings.

    A champion that cannot be loaded is told once and the one before goes on serving.
    """

    def __init__(self, postgres_url: str, period_seconds: float = 2.0) -> None:
        self._url = psycopg.conninfo.make_conninfo(postgres_url, connect_timeout=3)
        self._period = period_seconds
        self._scorer: Scorer = FirstDayScorer()
        self._refused = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="champion", daemon=True)

    def start(self) -> None:
        """Look once now, then in the background."""
        self._look()
        self._thread.start()

    def stop(self) -> None:
        """End the background thread."""
        self._stop.set()
        if self._thread.ident:
            self._thread.join(timeout=5)

    def scorer(self) -> Scorer:
        """The scorer to use now."""
        return self._scorer

    def _watch(self) -> None:
        while not self._stop.wait(self._period):
            self._look()

    def _look(self) -> None:
        try:
            with psycopg.connect(self._url) as connection:
                row = connection.execute(_CHAMPION).fetchone()
        except psycopg.Error as error:
            logger.warning("champion unknown, PostgreSQL cannot be reached", error=str(error).strip())
            return
        if row and row[0] not in (self._scorer.version, self._refused):
            self._take_up(row[0])

    def _take_up(self, version: str) -> None:
        try:
            scorer = load_bundle(model_store.get(version).path).scorer()
        except (BundleError, OSError, ValueError) as error:
            self._refused = version
            logger.error("champion refused, the one before goes on", version=version, reason=str(error))
            return
        self._scorer = scorer
        logger.info("champion taken up", version=version, threshold=scorer.threshold)
