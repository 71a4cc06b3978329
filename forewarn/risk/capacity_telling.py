"""When a capacity forecast becomes a risk, and the risk's words: a pure step an hour for each signal."""

from dataclasses import dataclass, field, replace

from forewarn.forecasting.capacity.horizons import FARTHEST
from forewarn.risk.capacity import HOUR, VERSION, CapacityForecast
from forewarn.risk.catalogue import failure_mode
from forewarn.risk.episodes import Episode, counted, step
from forewarn.risk.narrative import RAISED
from forewarn.risk.quantities import format_duration, format_share, format_value
from forewarn.risk.records import Action, Driver, Risk, TimeToFailure, episode_of

THRESHOLD = 0.7  # of the probability within 7 d from which on a risk is told
_OBJECTIVES = frozenset({"error_rate_climb", "latency_breach", "cpu_saturation"})  # peaks, not something that fills up
_PROVEN = 0.3  # share of the risk that must go with the growth for it to be named as the reason


@dataclass(frozen=True, slots=True)
class Telling:
    """What was told of a signal so far. identity: of the open episode, '' without one. muted: an engineer answered it,
    so nothing more is told of it until it has calmed down."""

    episode: Episode = field(default_factory=Episode)
    identity: str = ""
    hour: int = -1  # of the last forecast that was counted
    muted: bool = False


def tell(forecast: CapacityForecast, before: Telling, elsewhere: bool, ended: str = "") -> tuple[Telling, Risk | None]:
    """The next state and the risk to tell, if any.

    elsewhere: the minute path has an open risk about the signal, or it is failing: no episode is opened beside it.
    ended: outcome of the newest risk of the open episode, '' while it has none; what an engineer answered is muted,
    what came true or expired makes room for a new episode.
    """
    before = _after(before, ended)
    hour = round(forecast.made_at.timestamp() / HOUR)
    if hour <= before.hour:
        return before, None
    probability = forecast.probability if _fills_up(forecast) else 0.0
    if not before.episode.open and elsewhere:
        return replace(before, episode=counted(before.episode, probability, THRESHOLD), hour=hour), None
    left = forecast.given[1] / HOUR if forecast.given[1] is not None else 2.0 * FARTHEST
    after, state = step(before.episode, hour, probability, left, THRESHOLD)
    identity = before.identity
    if state == "open":
        identity = episode_of(forecast.entity, f"{forecast.signal}|{VERSION}", forecast.mode, forecast.made_at)
    telling = Telling(after, identity if after.open else "", hour, before.muted and after.open)
    if not state or before.muted:
        return telling, None
    return telling, risk_of(forecast, state, identity, before.episode.revision + 1)


def _after(before: Telling, ended: str) -> Telling:
    if ended in ("averted", "dismissed"):
        return replace(before, muted=True)
    return replace(before, episode=Episode(), identity="") if ended else before


def _fills_up(forecast: CapacityForecast) -> bool:
    """Whether it is a capacity that fills up: not one that is at its limit or was within the last week."""
    seen = [v for v in forecast.fan.history_values[-FARTHEST:] if v is not None]
    return forecast.mode not in _OBJECTIVES and forecast.value < forecast.limit and max(seen) < forecast.limit


def risk_of(forecast: CapacityForecast, state: str, episode: str, revision: int) -> Risk:
    """The risk record of a forecast, for the same topic, ledger and incidents as those of the minute path."""
    evidence = evidence_of(forecast)
    return Risk(
        episode=episode,
        revision=revision,
        state=state,
        entity=forecast.entity,
        signal=forecast.signal,
        mode=forecast.mode,
        predicted_at=forecast.made_at,
        horizon_seconds=FARTHEST * HOUR,
        probability=forecast.probability,
        time_to_failure=TimeToFailure(*forecast.given, forecast.never),
        value=forecast.value,
        limit=forecast.limit,
        unit=forecast.unit,
        drivers=[_driver(forecast)],
        evidence=evidence,
        evidence_queries=[""] * len(evidence),
        actions=_actions(forecast),
        forecast=forecast.fan,
        model_version=VERSION,
    )


def _driver(forecast: CapacityForecast) -> Driver:
    """Its own growth, with the deletion test: what is left of the risk without it."""
    share = 1 - forecast.still / max(forecast.probability, 1e-9)
    text = f"{forecast.signal} {_signed(forecast)} a day (median of the last days)"
    return Driver(forecast.entity, forecast.signal, text, min(max(share, 0.0), 1.0), hypothesis=share < _PROVEN)


def _signed(forecast: CapacityForecast) -> str:
    growth = forecast.growth_per_day
    return ("+" if growth >= 0 else "−") + format_value(abs(growth), forecast.unit, forecast.signal)


def evidence_of(forecast: CapacityForecast) -> list[str]:
    """Sentences of fact, each with its numbers."""
    f = forecast
    value, limit = (format_value(v, f.unit, f.signal) for v in (f.value, f.limit))
    said = [
        f"{f.signal} is {value} of {limit} ({format_share(f.value / f.limit)})",
        f"it changed by {_signed(f)} a day, the median of the last days",
        f"from {format_duration(f.history_hours * HOUR)} of hourly maxima: "
        + ", ".join(f"{format_share(f.within[span])} within {span}" for span in ("24h", "3d", "7d")),
        f"without that growth {format_share(f.still)} within 7 d",
    ]
    if f.coverage_80 is not None:
        held = format_share(f.coverage_80)
        said.append(f"80 % intervals of the highest value held {held} of what came, for signals of its class here")
    return said


def _actions(forecast: CapacityForecast) -> list[Action]:
    f, (probability, median) = forecast, forecast.raised
    words = {
        "entity": f.entity,
        "limit": format_value(f.limit, f.unit, f.signal),
        "raised": format_value(RAISED * f.limit, f.unit, f.signal),
    }
    when = f", half of the cases within {format_duration(median)}" if median is not None else ""
    effect = (
        f": its probability within 7 d falls from {format_share(f.probability)} to {format_share(probability)}{when}"
    )
    helps = probability < 0.8 * f.probability
    return [
        Action(advice.text.format(**words) + (effect if advice.what_if else ""), advice.link)
        for advice in failure_mode(f.signal.partition("{")[0]).actions
        if helps or not advice.what_if
    ]


def is_capacity(model_version: str) -> bool:
    """Whether a risk came from a capacity forecast, whose episodes the minute path does not go on with."""
    return model_version.startswith("capacity-")
