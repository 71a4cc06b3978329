"""Scores for the shadow beside the stream: same batches, other thread; whatever the shadow does, the stream goes on."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from bentos.predictor.model_health import ModelHealth
from bentos.predictor.served_models import Models
from bentos.predictor.shadow_episodes import ShadowEpisodes, samples, told_by_champion
from forewarn.risk.guard import check
from forewarn.risk.records import Risk
from forewarn.risk.scorer import Scorer, score
from forewarn.services.prediction_stream import Latest
from forewarn.stores.model_health import CHAMPION, SHADOW
from forewarn.stores.shadow_predictions import ShadowPrediction

logger = structlog.get_logger(__name__)

_WAITING_ROWS = 100_000  # of batches that wait for the shadow: some 60 MB; what does not fit is left out
BUDGET = (
    1.0  # seconds for a batch; beyond, the shadow rests for as long as it took: it never gets more than half a core
)


class Keeper(Protocol):
    """Where predictions go to be compared; it takes them at once."""

    def keep(self, predictions: Sequence[ShadowPrediction]) -> None:
        """Keep what was said of one batch together."""

    def told_before(self, version: str) -> Sequence[ShadowPrediction]:
        """What a shadow would have told before; () where that is not known now."""


@dataclass(frozen=True, slots=True, eq=False)
class _Batch:
    key: tuple[int, str]
    latest: Latest | None  # None: the shadow had no time for it
    risks: Sequence[Risk]
    models: Models


class ShadowScoring:
    """Takes each batch that the champion scored (`offer`, from the stream) and scores it in a thread of its own."""

    def __init__(self, models: Callable[[], Models], health: ModelHealth, keeper: Keeper) -> None:
        self._models, self._health, self._keeper = models, health, keeper
        self._waiting: deque[_Batch] = deque()
        self._rows = 0
        self._change = threading.Condition()
        self._stopped = False
        self._episodes: dict[tuple[int, str], ShadowEpisodes] = {}
        self._of = ""  # the version whose episodes they are
        self._idle = True
        self._thread = threading.Thread(target=self._run, name="shadow", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, seconds: float = 5.0) -> None:
        """Score what waits, for so many seconds at most, and end."""
        with self._change:
            self._stopped = True
            self._change.notify_all()
        if self._thread.ident:
            self._thread.join(seconds)

    def offer(self, key: tuple[int, str], latest: Latest, risks: Sequence[Risk]) -> None:
        """A batch that was scored and the risks that left. Returns at once."""
        models = self._models()
        if models.shadow is None:
            return
        with self._change:
            fits = self._rows + len(latest.series) <= _WAITING_ROWS or not self._waiting
            if fits:
                self._rows += len(latest.series)
            else:
                self._health.shadow_dropped(models.shadow.version)
            if fits or risks:
                self._waiting.append(_Batch(key, latest if fits else None, risks, models))
                self._change.notify_all()

    def wait(self, seconds: float) -> bool:
        """Whether all that was offered is scored within so many seconds."""
        with self._change:
            return self._change.wait_for(lambda: not self._waiting and self._idle, seconds)

    def _run(self) -> None:
        while True:
            with self._change:
                self._idle = True
                self._change.notify_all()
                self._change.wait_for(lambda: self._waiting or self._stopped)
                if not self._waiting:
                    return
                batch = self._waiting.popleft()
                self._rows -= len(batch.latest.series) if batch.latest else 0
                self._idle = False
            shadow = batch.models.shadow
            assert shadow is not None
            try:
                took = self._score(batch, shadow)
            except Exception as error:  # noqa: BLE001 whatever a shadow does, the next batch is tried
                took = 0.0
                if self._health.shadow_failed(shadow, error):
                    logger.warning("the shadow failed on a batch", version=shadow.version, reason=str(error))
            if took > BUDGET and not self._stopped:
                with self._change:
                    self._change.wait_for(lambda: self._stopped, took)

    def _score(self, batch: _Batch, shadow: Scorer) -> float:
        """Score a batch and keep what both say of it; seconds that the model took."""
        thresholds = {s.version: s.threshold for s in (batch.models.champion, *batch.models.fallbacks)}
        champions = told_by_champion(batch.risks, lambda version: thresholds.get(version, 1.0))
        latest = batch.latest
        if latest is None or not len(latest.series):
            self._keeper.keep(champions)
            return 0.0
        started = time.perf_counter()
        try:
            scores = score(shadow, latest.features)
            check(scores, len(latest.series))
        except Exception:
            self._keeper.keep(champions)  # what left, left
            raise
        took = time.perf_counter() - started
        would_tell = self._episodes_of(batch.key, shadow).step(latest, scores, shadow)
        speaker = next(
            (s for s in (batch.models.champion, *batch.models.fallbacks) if s.version == latest.model_version), None
        )
        pairs = []
        if speaker is not None:
            pairs = [*samples(latest, latest.scores, speaker, CHAMPION), *samples(latest, scores, shadow, SHADOW)]
        self._keeper.keep([*champions, *would_tell, *pairs])
        opened = sum(prediction.state == "open" for prediction in would_tell)
        self._health.shadow_scored(shadow, latest, scores, took, opened)
        return took

    def _episodes_of(self, key: tuple[int, str], shadow: Scorer) -> ShadowEpisodes:
        if self._of != shadow.version:
            self._of, self._episodes = shadow.version, {}
        if key not in self._episodes:
            self._episodes[key] = ShadowEpisodes(self._keeper.told_before(shadow.version))
        return self._episodes[key]
