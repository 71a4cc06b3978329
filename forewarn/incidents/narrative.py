"""The title of an incident and the one sentence about it that a user must be able to trust."""

from collections.abc import Sequence
from datetime import datetime

from forewarn.incidents.episodes import Episode
from forewarn.incidents.modes import ModeWords, words_of
from forewarn.risk.quantities import (
    format_duration,
    format_instant,
    format_interval,
    format_share,
    format_time_to_failure,
    format_value,
)
from forewarn.risk.records import Driver, Risk

MAX_DRIVERS = 3
MAX_ACTIONS = 2


def title_of(cause: Episode) -> str:
    """`shop/db: connection pool reaches its limit of 100`; stays the same as long as the cause does."""
    return f"{cause.entity}: {_words(cause).reaches(_limit(cause))}"


def summary_of(cause: Episode, state: str, at: datetime, track_record: str) -> str:
    """What, when, why, what to do, and how far to trust it; or what became of it.

    track_record: 'Predictions like this one came true 17 times of 20 here.', see forewarn.evaluation.ledger.
    """
    if cause.failed_at is not None:
        return _after_failure(cause, track_record)
    if state == "predicted" and cause.risk is not None:
        return f"{_forecast(cause, cause.risk)} {track_record}".strip()
    return f"{_ending(cause, state, at)} {track_record}".strip()


def _forecast(cause: Episode, risk: Risk) -> str:
    when = format_time_to_failure(risk.time_to_failure, risk.probability, risk.horizon_seconds)
    why = _drivers(risk.drivers)
    what = "; " + " or ".join(_brief(a.text) for a in risk.actions[:MAX_ACTIONS]) if risk.actions else ""
    return f"{cause.entity}: {_words(cause).reaches(_limit(cause))} {when}{why}{what}."


def _brief(action: str) -> str:
    """An action inside a sentence: without the explanation or the computed effect after its colon."""
    text = action.partition(": ")[0].rstrip(".")
    return text[:1].lower() + text[1:]


def _drivers(drivers: Sequence[Driver]) -> str:
    sure = [d.text for d in drivers if not d.hypothesis][:MAX_DRIVERS]
    if sure:
        return f", driven by {_and(sure)}"
    guesses = [d.text for d in drivers if d.hypothesis][:MAX_DRIVERS]
    return f", perhaps driven by {_and(guesses)} (not proven)" if guesses else ", cause not known"


def _after_failure(cause: Episode, track_record: str) -> str:
    assert cause.failed_at is not None
    fact = f"{cause.entity}: {_words(cause).reached(_limit(cause))} at {format_instant(cause.failed_at)}"
    since = ""
    if cause.recovered_at is not None:
        lasted = format_duration((cause.recovered_at - cause.failed_at).total_seconds())
        since = f" It is below again since {format_instant(cause.recovered_at)}, after {lasted}."
    return f"{fact}, {verdict_on(cause)}.{since} {track_record}".strip()


def verdict_on(cause: Episode) -> str:
    """What the first prediction was worth: `as predicted 2.0 h before: …`, or `not predicted`."""
    first = cause.first
    if cause.failed_at is None or first is None:
        return "not predicted"
    lead = (cause.failed_at - first.predicted_at).total_seconds()
    if not cause.predicted:
        return f"although the prediction of {format_duration(lead)} before had been withdrawn"
    ttf = first.time_to_failure
    if lead > first.horizon_seconds:
        return f"later than first predicted: {format_duration(lead)} after the first warning"
    if ttf.p50 is None:
        return (
            f"as predicted {format_duration(lead)} before, without a time (80 %: {format_interval(ttf.p10, ttf.p90)})"
        )
    error = lead - ttf.p50
    inside = ttf.p10 is not None and ttf.p10 <= lead and (ttf.p90 is None or lead <= ttf.p90)
    off = f"{format_duration(abs(error))} {'later' if error > 0 else 'earlier'}" if abs(error) >= 1 else "on time"
    place = "inside" if inside else "outside"
    return (
        f"as predicted {format_duration(lead)} before: said {format_duration(ttf.p50)}, came {off}, "
        f"{place} the 80 % interval of {format_interval(ttf.p10, ttf.p90)}"
    )


def _ending(cause: Episode, state: str, at: datetime) -> str:
    what = f"{cause.entity}: {_words(cause).noun} did not reach its limit of {_limit(cause)}"
    if state == "averted":
        return f"{what}: someone acted on the prediction."
    if state == "expired":
        return f"{what} in time (by {format_instant(cause.expired_at or at)}): the prediction was wrong."
    if cause.feedback == "dismissed":
        return f"{what}: an engineer dismissed the prediction."
    left = f", the probability fell to {format_share(cause.risk.probability)}" if cause.risk else ""
    return f"{cause.entity}: the prediction about its {_words(cause).noun} was withdrawn{left}."


def _words(episode: Episode) -> ModeWords:
    return words_of(episode.mode, episode.signal)


def _limit(episode: Episode) -> str:
    limit = episode.risk.limit if episode.risk is not None else episode.limit
    return format_value(limit, episode.unit, episode.signal) if limit is not None else "unknown size"


def _and(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
