"""What goes over the wire: JSON models for HTTP (and its OpenAPI page), and the same as protobuf messages."""

from datetime import datetime

import numpy as np
from pydantic import BaseModel, Field

from bentos.predictor.answers import Explained, Explanation, Prediction, SignalForecast
from bentos.predictor.proto import predictor_pb2 as pb
from forewarn.features.definitions import HORIZON_STEPS


class PredictResponse(BaseModel):
    """Scores of rows of features."""

    model_version: str
    horizon_steps: list[int]
    probability: list[list[float]] = Field(description="A row each: of failure within each of horizon_steps.")
    steps_to_failure: list[list[float]] = Field(description="A row each: 10, 50, 90 % quantile, given that it fails.")


class SecondsToFailure(BaseModel):
    """Quantiles, given that it fails; null: beyond what can be said."""

    p10: float | None
    p50: float | None
    p90: float | None


class Signal(BaseModel):
    """What the stream says of a signal."""

    entity: str
    signal: str
    value: float
    limit: float
    unit: str
    probability: float = Field(description="Of failure within the paging horizon.")
    seconds_to_failure: SecondsToFailure
    at: datetime = Field(description="Event time.")
    model_version: str
    predicted: bool = Field(description="false: it fails now, or is abstained from; the numbers are told nobody.")


class ForecastResponse(BaseModel):
    """The most probable failures first."""

    asked_at: datetime
    signals: list[Signal]


class FeatureContribution(BaseModel):
    """What a feature does to the log-odds; positive: it raises the risk."""

    feature: str
    value: float | None
    log_odds: float
    text: str


class TestedDriver(BaseModel):
    """A reason, tested by taking it away; contribution: share of the probability that goes with it."""

    entity: str
    signal: str
    text: str
    contribution: float
    hypothesis: bool


class RowExplanation(BaseModel):
    """The strongest features first; drivers of a live signal."""

    entity: str
    signal: str
    probability: float
    contributions: list[FeatureContribution]
    drivers: list[TestedDriver]


class ExplainResponse(BaseModel):
    """method: shap (exact) or deletion (fall of the log-odds when the feature is missing)."""

    model_version: str
    method: str
    explanations: list[RowExplanation]


def predict_json(found: Prediction) -> PredictResponse:
    """As JSON. Probabilities are rounded to six places, steps to three."""
    return PredictResponse.model_construct(
        model_version=found.model_version,
        horizon_steps=list(HORIZON_STEPS),
        probability=found.probability.round(6).tolist(),
        steps_to_failure=found.steps_to_failure.round(3).tolist(),
    )


def forecast_json(found: list[SignalForecast], asked_at: datetime) -> ForecastResponse:
    """As JSON."""
    signals = []
    for f in found:
        p10, p50, p90 = f.seconds_to_failure
        signals.append(
            Signal(
                entity=f.entity, signal=f.signal, value=f.value, limit=f.limit, unit=f.unit, probability=f.probability,
                seconds_to_failure=SecondsToFailure(p10=p10, p50=p50, p90=p90), at=f.at,
                model_version=f.model_version, predicted=f.predicted,
            )
        )  # fmt: skip
    return ForecastResponse(asked_at=asked_at, signals=signals)


def explain_json(found: Explained) -> ExplainResponse:
    """As JSON."""
    return ExplainResponse(
        model_version=found.model_version, method=found.method, explanations=[_row_json(e) for e in found.explanations]
    )


def _row_json(e: Explanation) -> RowExplanation:
    return RowExplanation(
        entity=e.entity,
        signal=e.signal,
        probability=round(e.probability, 6),
        contributions=[
            FeatureContribution(
                feature=c.feature, value=c.value if np.isfinite(c.value) else None, log_odds=round(c.log_odds, 6),
                text=c.text,
            )
            for c in e.contributions
        ],
        drivers=[
            TestedDriver(
                entity=d.entity, signal=d.signal, text=d.text, contribution=round(d.contribution, 6),
                hypothesis=d.hypothesis,
            )
            for d in e.drivers
        ],
    )  # fmt: skip


def predict_message(found: Prediction) -> pb.PredictResponse:
    """As protobuf, numbers as they are."""
    return pb.PredictResponse(
        model_version=found.model_version,
        horizon_steps=HORIZON_STEPS,
        probability=[pb.Row(values=row) for row in found.probability.tolist()],
        steps_to_failure=[pb.Row(values=row) for row in found.steps_to_failure.tolist()],
    )


def forecast_message(found: list[SignalForecast], asked_at: datetime) -> pb.ForecastResponse:
    """As protobuf."""
    signals = []
    for f in found:
        p10, p50, p90 = f.seconds_to_failure
        signals.append(
            pb.SignalForecast(
                entity=f.entity, signal=f.signal, value=f.value, limit=f.limit, unit=f.unit, probability=f.probability,
                seconds_to_failure=pb.Quantiles(p10=p10, p50=p50, p90=p90), at=f.at.isoformat(),
                model_version=f.model_version, predicted=f.predicted,
            )
        )  # fmt: skip
    return pb.ForecastResponse(asked_at=asked_at.isoformat(), signals=signals)


def explain_message(found: Explained) -> pb.ExplainResponse:
    """As protobuf."""
    return pb.ExplainResponse(
        model_version=found.model_version,
        method=found.method,
        explanations=[
            pb.Explanation(
                entity=e.entity,
                signal=e.signal,
                probability=e.probability,
                contributions=[
                    pb.Contribution(feature=c.feature, value=c.value, log_odds=c.log_odds, text=c.text)
                    for c in e.contributions
                ],
                drivers=[
                    pb.Driver(
                        entity=d.entity, signal=d.signal, text=d.text, contribution=d.contribution,
                        hypothesis=d.hypothesis,
                    )
                    for d in e.drivers
                ],
            )
            for e in found.explanations
        ],
    )  # fmt: skip
