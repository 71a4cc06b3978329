"""What the predictor answers, whoever asks and over whichever protocol: scores, the stream's view, reasons."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forewarn.classification.explanation import phrase
from forewarn.features.definitions import FEATURE_COUNT, FEATURE_NAMES, FEATURE_VERSION
from forewarn.risk.contributions import contributions
from forewarn.risk.deletion import attribute, delete
from forewarn.risk.drivers import Subject, own_drivers
from forewarn.risk.records import Driver
from forewarn.risk.scorer import PAGING_HORIZON, Scorer, score
from forewarn.services.prediction_stream import Latest

F64 = NDArray[np.float64]

MAX_EXPLAINED = 100  # rows; a row costs some milliseconds
_TOP = 10
_NAMES = "forewarn.features.definitions.FEATURE_NAMES"


class QuestionError(Exception):
    """A question that is not answered; the message says what is wrong and what to do."""


class InvalidQuestionError(QuestionError):
    """It cannot be understood, or asks for too much."""


class UnknownSignalError(QuestionError):
    """It is about an entity or a signal that the stream does not watch."""


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """Of n rows: P(failure within each of HORIZON_STEPS) [n, H], and the 10, 50, 90 % quantile of the steps [n, 3]."""

    model_version: str
    probability: F64
    steps_to_failure: F64


@dataclass(frozen=True, slots=True)
class SignalForecast:
    """What the stream says of a signal; quantiles in seconds from `at`, None: beyond what can be said."""

    entity: str
    signal: str
    value: float
    limit: float
    unit: str
    probability: float
    seconds_to_failure: tuple[float | None, float | None, float | None]
    at: datetime
    model_version: str
    predicted: bool


@dataclass(frozen=True, slots=True)
class Contribution:
    """A feature of a row, its value (NaN: missing), what it does to the log-odds, and both in words."""

    feature: str
    value: float
    log_odds: float
    text: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """Of a row: the features that matter most, and of a live signal the reasons that survived their deletion test."""

    entity: str
    signal: str
    probability: float
    contributions: list[Contribution]
    drivers: list[Driver]


@dataclass(frozen=True, slots=True)
class Explained:
    """method: 'shap' or 'deletion', see `forewarn.risk.contributions`."""

    model_version: str
    method: str
    explanations: list[Explanation]


class Answers:
    """Answers from the model that serves and the newest scores of the stream. Any thread may ask.

    scorer: the one to answer with, asked each time. latest: as `PredictionStream.latest`.
    """

    def __init__(self, scorer: Callable[[], Scorer], latest: Mapping[Any, Latest], max_rows: int) -> None:
        self._scorer, self._latest, self.max_rows = scorer, latest, max_rows

    def predict(self, features: F64, feature_version: str = "") -> Prediction:
        """Scores of rows [n, F]. Raises InvalidQuestionError for other features, or too many rows."""
        check_version(feature_version)
        self._check_rows(features, self.max_rows)
        scorer = self._scorer()
        scores = score(scorer, features)
        return Prediction(scorer.version, 1.0 - scores.survival, scores.quantiles)

    def forecast(self, entity: str = "", signal: str = "", at_least: float = 0.0) -> list[SignalForecast]:
        """What the stream says now, the most probable first. Raises UnknownSignalError where it watches no such one."""
        if not 0.0 <= at_least <= 1.0:
            raise InvalidQuestionError(f"at_least is {at_least}, a probability from 0 to 1 is needed")
        found, watched = [], False
        for latest in list(self._latest.values()):
            rows = _rows_of(latest.series, entity, signal)
            watched |= len(rows) > 0
            found += _forecasts(latest, rows[latest.scores.probability[rows] >= at_least])
        if (entity or signal) and not watched:
            raise UnknownSignalError(self._unknown(entity, signal))
        return sorted(found, key=lambda f: -f.probability)

    def explain(self, entity: str, signal: str, features: F64, feature_version: str = "", top: int = 0) -> Explained:
        """Of a live signal, or of rows of features. Raises InvalidQuestionError where it is both, or neither."""
        if entity or signal:
            if len(features):
                raise InvalidQuestionError("name a live signal or give rows of features, not both")
            if not (entity and signal):
                raise InvalidQuestionError("a live signal is named by both its entity and its signal")
            return self.explain_signal(entity, signal, top)
        if not len(features):
            raise InvalidQuestionError("name a live signal by entity and signal, or give rows of features to explain")
        return self.explain_rows(features, feature_version, top)

    def explain_signal(self, entity: str, signal: str, top: int = 0) -> Explained:
        """Reasons of what the stream says of a signal now. Raises UnknownSignalError where it watches no such one."""
        scorer = self._scorer()
        for latest in list(self._latest.values()):
            for i in _rows_of(latest.series, entity, signal).tolist():
                method, [found] = _explain(scorer, latest.features[i : i + 1], top)
                drivers = _drivers(latest, i, found.probability, scorer)
                named = Explanation(entity, latest.series[i].name, found.probability, found.contributions, drivers)
                return Explained(scorer.version, method, [named])
        raise UnknownSignalError(self._unknown(entity, signal))

    def explain_rows(self, features: F64, feature_version: str = "", top: int = 0) -> Explained:
        """Contributions of features in rows [n, F]. Raises InvalidQuestionError for other features, too many rows."""
        check_version(feature_version)
        self._check_rows(features, min(MAX_EXPLAINED, self.max_rows))
        scorer = self._scorer()
        return Explained(scorer.version, *_explain(scorer, features, top))

    def _check_rows(self, features: F64, most: int) -> None:
        if len(features) > most:
            raise InvalidQuestionError(f"{len(features)} rows at once, at most {most} are taken: send them in parts")

    def _unknown(self, entity: str, signal: str) -> str:
        series = [s for latest in list(self._latest.values()) for s in latest.series]
        of_entity = sorted({s.name for s in series if s.entity == entity})
        if of_entity:
            return f"{entity} has no limited signal '{signal}'; it has: {_some(of_entity)}"
        if not series:
            return "the stream has scored nothing yet: signals with a limit are scored once their windows have begun"
        what = f"entity '{entity}'" if entity else f"signal '{signal}'"
        known = sorted({s.entity if entity else s.name for s in series})
        return f"no {what} with a limited signal is watched here; there are: {_some(known)}"


def rows_of(features: Sequence[Sequence[float | None]]) -> F64:
    """Rows (None: missing) as float64 [n, F]. Raises InvalidQuestionError where a row has another width."""
    for i, row in enumerate(features):
        if len(row) != FEATURE_COUNT:
            raise InvalidQuestionError(
                f"row {i} has {len(row)} numbers, {FEATURE_COUNT} are needed: those of {_NAMES} in that order"
            )
    return np.array(features, np.float64).reshape(-1, FEATURE_COUNT)


def check_version(feature_version: str) -> None:
    """Raises InvalidQuestionError where the features are of another version than the model's."""
    if feature_version not in ("", FEATURE_VERSION):
        raise InvalidQuestionError(
            f"these are features of version {feature_version}, the model needs {FEATURE_VERSION}: "
            "compute them with this program's forewarn.features"
        )


def _rows_of(series: Sequence[Any], entity: str, signal: str) -> NDArray[np.int64]:
    if not entity and not signal:
        return np.arange(len(series))
    chosen: Iterable[int] = (
        i
        for i, s in enumerate(series)
        if (not entity or s.entity == entity) and (not signal or signal in (s.name, s.signal))
    )
    return np.fromiter(chosen, np.int64)


def _forecasts(latest: Latest, rows: NDArray[np.int64]) -> list[SignalForecast]:
    probability = latest.scores.probability
    seconds = latest.scores.quantiles * latest.step_seconds
    return [
        SignalForecast(
            latest.series[i].entity, latest.series[i].name, float(latest.values[i]), float(latest.limits[i]),
            latest.series[i].unit, round(float(probability[i]), 6), _numbers(seconds[i]), latest.at,
            latest.model_version, bool(latest.predicted[i]),
        )
        for i in rows[np.isfinite(latest.values[rows])].tolist()
    ]  # fmt: skip


def _numbers(seconds: F64) -> tuple[float | None, float | None, float | None]:
    p10, p50, p90 = (round(float(s), 1) if np.isfinite(s) else None for s in seconds)
    return p10, p50, p90


def _drivers(latest: Latest, i: int, probability: float, scorer: Scorer) -> list[Driver]:
    """Reasons in the signal's own features that survive their deletion test; [] where it has no value now."""
    row, value = latest.features[i : i + 1], float(latest.values[i])
    if not np.isfinite(value):
        return []
    left = float(latest.scores.quantiles[i, 1]) * latest.step_seconds
    subject = Subject(latest.series[i], row[0], value, float(latest.limits[i]), left_seconds=left)
    without = delete(row, np.array([probability]), [[]], scorer).without[0]
    return own_drivers(subject, without, attribute(row, scorer)[0], latest.step_seconds)


def _explain(scorer: Scorer, features: F64, top: int) -> tuple[str, list[Explanation]]:
    count = min(top or _TOP, len(FEATURE_NAMES))
    probability = 1.0 - scorer.survival(features)[:, PAGING_HORIZON]
    found = contributions(scorer, features)
    return found.method, [
        Explanation("", "", float(p), _strongest(row, pushes, count), [])
        for p, row, pushes in zip(probability, features, found.log_odds, strict=True)
    ]


def _strongest(row: F64, log_odds: F64, count: int) -> list[Contribution]:
    order = np.argsort(-np.abs(log_odds), kind="stable")[:count]
    return [
        Contribution(FEATURE_NAMES[i], float(row[i]), float(log_odds[i]), phrase(FEATURE_NAMES[i], float(row[i])))
        for i in order.tolist()
        if log_odds[i] != 0.0
    ]


def _some(names: list[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def now() -> datetime:
    """The wall clock, UTC."""
    return datetime.now(UTC)
