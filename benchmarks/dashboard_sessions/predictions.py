"""Risks and incidents of a made-up company, as large as those of the predictor and the alerter."""

import uuid
from dataclasses import replace
from datetime import datetime

import numpy as np

from benchmarks.dashboard_sessions.company import Signal
from forewarn.incidents.records import Incident
from forewarn.risk.records import Action, Driver, Forecast, Risk, TimeToFailure, episode_of

HORIZON = 6 * 3600.0
MODEL = "failure_model:2026-11-20.1"


def prediction(
    entity: str, signal: Signal, at: datetime, hours: float, probability: float = 0.85, near: tuple[str, ...] = ()
) -> Risk:
    """The first prediction of an episode: it fails in so many hours. near: services to which the drivers point."""
    name, mode, limit, unit = signal
    left = hours * 3600
    past, future = np.linspace(-8 * 3600, 0, 97), np.linspace(0, HORIZON, 49)
    value = limit * (1 - 0.13 * hours)
    history = value - 0.3 * limit * (1 - np.exp(past / 6000))
    middle = value + (limit - value) * future / left
    sources = [*near, entity][:3]
    drivers = [
        Driver(source, "http.server.request.rate", f"request rate of {source} +{38 - 9 * n} %/h", 0.5 / (n + 1),
               query=f'sum(rate(http_server_request_duration_seconds_count{{service_name="{source}"}}[5m]))')
        for n, source in enumerate(sources)
    ]  # fmt: skip
    return Risk(
        episode=episode_of(entity, name, mode, at),
        revision=0,
        state="open",
        entity=entity,
        signal=name,
        mode=mode,
        predicted_at=at,
        horizon_seconds=HORIZON,
        probability=probability,
        time_to_failure=TimeToFailure(0.65 * left, left, 1.55 * left, 1 - probability),
        value=float(value),
        limit=limit,
        unit=unit,
        drivers=drivers,
        evidence=[
            f"{name} rose by 9.1 % an hour over the last 3 h; the same hours of the last 7 days: 0.4 %.",
            f"Without the request rate of {sources[0]} the probability falls from {probability:.0%} to 41 %.",
        ],
        actions=[
            Action("Raise the limit by 40 %: it is reached 4.8 h later.", "https://wiki.example.org/runbook"),
            Action("Roll back the last deploy if the climb began with it."),
        ],
        evidence_queries=[f'{name.split("{")[0].replace(".", "_")}{{service_name="{entity}"}}', ""],
        forecast=Forecast(
            past.tolist(), history.tolist(), future.tolist(), *((middle * f).tolist() for f in (0.93, 1.0, 1.08))
        ),
        model_version=MODEL,
    )


def revised(first: Risk, revision: int, at: datetime, state: str = "update") -> Risk:
    """A later prediction of the episode, with the time that is left then."""
    gone = (at - first.predicted_at).total_seconds()
    left = [max((q or 0.0) - gone, 60.0) for q in (first.time_to_failure.p10, first.time_to_failure.p50)]
    quantiles = TimeToFailure(left[0], left[1], 1.4 * left[1], first.time_to_failure.never)
    chance = min(first.probability + 0.02 * revision, 0.97)
    return replace(
        first, revision=revision, state=state, predicted_at=at, time_to_failure=quantiles, probability=chance
    )


def incident(cause: Risk, opened: datetime, severity: str, episodes: list[str], state: str = "predicted") -> Incident:
    """The incident of a cause and its symptoms."""
    hours = (cause.time_to_failure.p50 or 0) / 3600
    return Incident(
        incident_id=str(uuid.uuid5(uuid.NAMESPACE_URL, cause.episode)),
        version=1 + cause.revision,
        state=state,
        severity=severity,
        title=f"{cause.entity}: {cause.signal} reaches its limit",
        entity=cause.entity,
        signal=cause.signal,
        mode=cause.mode,
        episodes=episodes,
        opened_at=opened,
        updated_at=cause.predicted_at,
        time_to_failure=cause.time_to_failure,
        failed_at=None,
        drivers=cause.drivers,
        actions=cause.actions,
        summary=f"{cause.entity}: {cause.signal} reaches its limit of {cause.limit:g} in {hours:.1f} h "
        f"(80 %: {0.65 * hours:.1f}–{1.55 * hours:.1f} h), driven by {cause.drivers[0].text}.",
    )
