"""Who scores: champion, shadow and who steps in for the champion, kept as the registry says, without a restart."""

import time
from dataclasses import dataclass

import numpy as np
import psycopg
import structlog

from bentos import model_store
from bentos.predictor.model_health import ModelHealth
from bentos.predictor.periodic import Periodic
from forewarn.features.definitions import FEATURE_COUNT
from forewarn.risk import first_day
from forewarn.risk.bundle import BundleError, load_bundle
from forewarn.risk.first_day import FirstDayScorer
from forewarn.risk.guard import GuardedScorer, check
from forewarn.risk.scorer import Scorer, score
from forewarn.stores import alarm_control, model_health, model_versions
from forewarn.stores.model_versions import Served

logger = structlog.get_logger(__name__)

_AGAIN_SECONDS = 60.0  # after which a model that could not be loaded is tried again


@dataclass(frozen=True, slots=True, eq=False)
class Models:
    """champion: serves. fallbacks: who scores, in this order, what the champion fails on. shadow: scores beside it."""

    champion: Scorer
    fallbacks: tuple[Scorer, ...] = ()
    shadow: Scorer | None = None
    revision: int = -1  # of the registry


class ServedModels(Periodic):
    """Follows the registry every few seconds; the stream takes up a change between two scorings.

    A model that cannot be loaded, or cannot score, is refused: that is told once, and the one before goes on. While
    PostgreSQL is away, everybody stays.
    """

    def __init__(self, postgres_url: str, health: ModelHealth, period_seconds: float = 2.0) -> None:
        super().__init__("served-models", period_seconds)
        self._url = psycopg.conninfo.make_conninfo(postgres_url, connect_timeout=3)
        self._health = health
        self.models = Models(FirstDayScorer())
        self._seen = Served(None, None, -1)
        self._refused: dict[str, float] = {}  # version -> when it may be tried again
        self._away = False
        self._raised = 0.0  # log-odds above the models' own thresholds, see forewarn.evaluation.alarm_control

    def scorer(self) -> GuardedScorer:
        """What scores one batch now: the champion, or who steps in for it. Ask anew for each batch."""
        models = self.models
        return GuardedScorer((models.champion, *models.fallbacks), self._failed, self._health.scored, self._raised)

    def answering(self) -> GuardedScorer:
        """What answers questions: as `scorer`, but what is asked from outside says nothing about the model's health."""
        models = self.models
        return GuardedScorer((models.champion, *models.fallbacks), _unanswered, lambda *_: None, self._raised)

    def _failed(self, scorer: Scorer, error: Exception) -> None:
        if self._health.failed(scorer, error):
            logger.error("the champion failed, another model scores", version=scorer.version, reason=str(error))

    def _prepare(self) -> None:
        first_day.load()  # some seconds; before anybody waits for it

    def _look(self) -> None:
        try:
            with psycopg.connect(self._url, autocommit=True) as connection:
                now = model_versions.served(connection)
                raised = alarm_control.current(connection).raised
        except psycopg.Error as error:
            if not self._away:
                logger.warning("who serves is unknown, PostgreSQL cannot be reached", error=str(error).strip())
            self._away = True
            return
        self._away = False
        if raised != self._raised:
            logger.info("threshold of paging moved", raised=round(raised, 3), before=round(self._raised, 3))
            self._raised = raised
        wanted = (now.champion, now.shadow)
        self._refused = {version: at for version, at in self._refused.items() if version in wanted}
        if now != self._seen or any(at <= time.monotonic() for at in self._refused.values()):
            self._follow(now)
            self._seen = now

    def _follow(self, now: Served) -> None:
        before = self.models
        champion: Scorer = FirstDayScorer()
        if now.champion:
            champion = self._scorer_of(now.champion, model_health.CHAMPION) or before.champion
        shadow = self._scorer_of(now.shadow, model_health.SHADOW) if now.shadow else None
        self.models = Models(champion, _fallbacks(champion, before), shadow, now.revision)
        self._health.serve(champion, shadow, now.revision)
        for role, scorer, previous in (
            ("champion", champion, before.champion),
            ("shadow", shadow, before.shadow),
        ):
            if scorer is not None and (previous is None or scorer.version != previous.version):
                logger.info(f"{role} taken up", version=scorer.version, threshold=scorer.threshold)

    def _scorer_of(self, version: str, role: str) -> Scorer | None:
        """The model of a version; None where it is refused."""
        known = (self.models.champion, *self.models.fallbacks, self.models.shadow)
        loaded = next((scorer for scorer in known if scorer is not None and scorer.version == version), None)
        if loaded is not None:
            return loaded
        if self._refused.get(version, 0.0) > time.monotonic():
            return None
        told = version in self._refused
        try:
            scorer = load_bundle(model_store.get(version).path).scorer()
            check(score(scorer, np.full((2, FEATURE_COUNT), np.nan)), 2)  # it must be able to score nothing, too
        except Exception as error:
            self._refused[version] = time.monotonic() + _AGAIN_SECONDS
            self._health.refused(version, role, error)
            if not told:
                again = not isinstance(error, BundleError)
                logger.error(
                    "model refused, the one before goes on", version=version, reason=str(error), exc_info=again
                )
            return None
        self._refused.pop(version, None)
        return scorer


def _unanswered(scorer: Scorer, error: Exception) -> None:
    logger.warning(
        "the champion cannot answer a question, another model does", version=scorer.version, reason=str(error)
    )


def _fallbacks(champion: Scorer, before: Models) -> tuple[Scorer, ...]:
    """The champion before it, unless it was rolled back, and then the first-day model."""
    if isinstance(champion, FirstDayScorer):
        return ()
    if champion is before.champion:
        return before.fallbacks
    chain = before.fallbacks if champion in before.fallbacks else (before.champion,)
    trained = [s for s in chain if s is not champion and not isinstance(s, FirstDayScorer)]
    return (*trained[:1], FirstDayScorer())
