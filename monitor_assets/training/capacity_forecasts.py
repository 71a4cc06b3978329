"""Capacity forecasts: which signals fill up within a week, every hour, from the archive's roll-ups."""

import json
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import dagster as dg
import numpy as np
from pydantic import Field

from forewarn.forecasting.capacity.contest import MaximaForecaster
from forewarn.forecasting.capacity.neural import NeuralMaxima
from forewarn.risk.capacity import CapacityForecast, CapacityHistory, Others
from forewarn.services.capacity import Pass, refresh
from monitor_assets.markdown import table
from monitor_assets.scope import TrainingScope

NEURAL = "neural_prophet"
AGAIN_SECONDS = 240.0


class CapacityConfig(dg.Config):
    """What takes part in the contest."""

    neural_seconds: float = Field(
        0.0,
        description="Seconds that NeuralProphet may learn in, over all signals; 0: it takes part only where it won "
        "somewhere when it last did.",
    )
    namespace: str = Field("*", description="One namespace alone; *: all that the archive holds.")


@dg.asset(group_name="capacity", kinds={"postgres", "lightgbm", "neuralprophet"}, owners=["team:forewarn"])
def capacity_forecasts(
    context: dg.AssetExecutionContext, scope: TrainingScope, config: CapacityConfig
) -> dg.MaterializeResult:
    """When each limited signal reaches its limit within 7 d: candidates compete on its past, the best of its class
    forecasts. Risks of 70 % and more are told on the topic `risks`, like those of the minute path."""
    only = None if config.namespace == "*" else config.namespace
    candidates: list[NeuralMaxima] = []
    record = scope.home / "history" / "capacity_contest.json"
    seconds = config.neural_seconds or (AGAIN_SECONDS if _won(record) else 0.0)
    passes = refresh(scope.settings(), _neural(seconds, candidates), only)
    if candidates:
        _write(record, passes)
    for one in passes:
        context.log.info(
            "%s: %d forecasts, %d risks told", one.namespace or "(none)", len(one.forecasts), len(one.risks)
        )
    forecasts = [forecast for one in passes for forecast in one.forecasts]
    return dg.MaterializeResult(
        metadata={
            "forecasts": len(forecasts),
            "risks told": sum(len(one.risks) for one in passes),
            "full within 7 d": table(["entity", "signal", "24 h", "7 d", "median", "method"], _soonest(forecasts)),
            "no forecast": table(["namespace", "reason", "signals"], _silent(passes)),
            "contest (CRPS relative to the direct quantiles)": table(
                ["namespace", "class", "hours", "series", "serves", "its CRPS", "predict_linear", "seasonal naive",
                 "NeuralProphet", "coverage of 80 %"],
                _standings(passes),
            ),
            "NeuralProphet": "; ".join(sorted({c.reason or "took part" for c in candidates})) or "does not take part",
        }
    )  # fmt: skip


def _neural(seconds: float, made: list[NeuralMaxima]) -> Others | None:
    """Makes NeuralProphet for each group of signals, all within one time budget."""
    if seconds <= 0:
        return None
    deadline = time.monotonic() + seconds

    def others(group: Sequence[CapacityHistory], hours: int, made_at: datetime) -> Sequence[MaximaForecaster]:
        load = np.stack([one.load[-hours:] for one in group])
        start_ns = round((made_at - timedelta(hours=hours)).timestamp()) * 10**9
        made.append(NeuralMaxima(load, start_ns, deadline))
        return made[-1:]

    return others


def _won(record: Path) -> bool:
    """Whether NeuralProphet served any class when it last took part."""
    return record.exists() and bool(json.loads(record.read_text())["neural_prophet_serves"])


def _write(record: Path, passes: Sequence[Pass]) -> None:
    standings = [standing for one in passes for standing in one.standings]
    serves = sorted({f"{s.signal_class}, {s.first_hours}-{s.last_hours} h" for s in standings if NEURAL in s.members})
    record.parent.mkdir(parents=True, exist_ok=True)
    record.write_text(json.dumps({"neural_prophet_serves": serves}, indent=1) + "\n")


def _soonest(forecasts: Sequence[CapacityForecast]) -> list[tuple[str, ...]]:
    likely = sorted((f for f in forecasts if f.probability >= 0.2), key=lambda f: -f.probability)
    return [
        (f.entity, f.signal, f"{f.within['24h']:.0%}", f"{f.probability:.0%}", _when(f.made_at, f.p50), f.method)
        for f in likely[:50]
    ]


def _when(made_at: datetime, seconds: float | None) -> str:
    return "beyond 7 d" if seconds is None else f"{made_at + timedelta(seconds=seconds):%Y-%m-%d %H:%M}"


def _silent(passes: Sequence[Pass]) -> list[tuple[str, str, int]]:
    return [(one.namespace, reason, count) for one in passes for reason, count in sorted(one.silent.items())]


def _standings(passes: Sequence[Pass]) -> list[tuple[object, ...]]:
    names = ("predict_linear_1d", "seasonal_naive", NEURAL)
    return [
        (
            one.namespace, s.signal_class, f"{s.first_hours}-{s.last_hours}", s.series, s.chosen,
            _figure(s.relative_crps.get(s.chosen)), *(_figure(s.relative_crps.get(name)) for name in names),
            "" if s.coverage_80 is None else f"{s.coverage_80:.0%}",
        )
        for one in passes
        for s in one.standings
    ]  # fmt: skip


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


@dg.asset_check(asset=capacity_forecasts, description="Intervals held 65 % to 95 % of what came, for signals in all.")
def capacity_intervals_hold(scope: TrainingScope) -> dg.AssetCheckResult:
    """Reported, not blocking: by the coverage that each class measured on the later part of its past."""
    import psycopg

    query = "select avg(coverage_80), count(coverage_80) from capacity_forecasts"
    with psycopg.connect(scope.postgres_url) as connection:
        share, count = connection.execute(query).fetchone() or (None, 0)
    return dg.AssetCheckResult(
        passed=share is None or 0.65 <= share <= 0.95,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"coverage of 80 %": float(share) if share is not None else "not measured yet", "signals": count},
    )
