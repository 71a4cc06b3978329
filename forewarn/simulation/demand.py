"""What comes from outside, as arrays over time: users with their days and weeks, nightly jobs, a provider's mood."""

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from forewarn.simulation.noise import Floats, Noise

PEAK_REQUESTS = 220.0  # per second at a usual weekday's peak
_DAY = 86_400.0


@dataclass(frozen=True, eq=False)
class Outside:
    """Everything that the shop does not decide itself; each array is [T].

    usual_requests: what the calendar alone makes (per second); requests: with noise and bursts.
    """

    usual_requests: Floats
    requests: Floats
    batch_queries: Floats  # database queries per second of nightly jobs
    batch_messages: Floats  # messages per second that jobs put on the queue
    disk_share: Floats  # data, logs and temporary files in shares of the disk
    provider_factor: Floats  # of the payment provider's response time


def usual_requests(epoch_seconds: Floats) -> Floats:
    """Requests per second by the calendar [T]: two humps a day, the evening's higher; later and fewer at weekends.

    epoch_seconds: local time, as if it were UTC.
    """
    day = np.floor(epoch_seconds / _DAY)
    weekday = (day + 3) % 7  # 1970-01-01 was a Thursday
    weekend = np.interp(epoch_seconds / _DAY % 7, [0, 1.7, 2.1, 3.9, 4.2, 7], [0, 0, 1, 1, 0, 0])
    hour = epoch_seconds % _DAY / 3600 - 1.0 * weekend
    rhythm = 0.60 * np.cos(2 * np.pi * (hour - 17.2) / 24) + 0.22 * np.cos(4 * np.pi * (hour - 9.3) / 24)
    level = np.exp(0.95 * (rhythm - 0.70))
    friday = 1 + 0.05 * ((weekday == 4) & (hour > 12))
    return np.asarray(PEAK_REQUESTS * level * (1 - 0.14 * weekend) * friday, np.float64)


def outside(epoch_seconds: Floats, noise: Noise) -> Outside:
    """What happens outside at these local times [T]."""
    usual = usual_requests(epoch_seconds)
    batches = _nightly(epoch_seconds, noise)
    return Outside(
        usual_requests=usual,
        requests=_requests(usual, epoch_seconds, noise),
        batch_queries=batches[0],
        batch_messages=batches[1] + _campaign_mails(epoch_seconds, noise),
        disk_share=_disk(epoch_seconds, noise) + batches[2],
        provider_factor=np.exp(noise.wandering("provider", 0.06, 5400)),
    )


def _requests(usual: Floats, times: Floats, noise: Noise) -> Floats:
    wander = np.exp(noise.wandering("demand", 0.025, 2400))
    shot = 1 + noise.normal("shot") / np.sqrt(np.maximum(usual, 1) * 60) + noise.normal("demand", 0.012)
    bursts = 1 + _bursts(times, noise)
    return np.minimum(usual * _day_factors(times, noise) * wander * bursts, 1.22 * PEAK_REQUESTS) * shot


def _bursts(times: Floats, noise: Noise) -> Floats:
    """Short bursts of users (a newsletter, a posting), about three a day, which die down exponentially."""
    rng = noise.generator("bursts")
    out = np.zeros(len(times))
    for _ in range(rng.poisson(3 * max(0.0, times[-1] - times[0]) / _DAY)):
        begin, height, decay = rng.uniform(times[0], times[-1]), rng.uniform(0.06, 0.35), rng.uniform(180, 900)
        since = times - begin
        out += np.where(since >= 0, height * np.exp(-np.maximum(since, 0) / decay), 0.0)
    return out


def _nightly(times: Floats, noise: Noise) -> tuple[Floats, Floats, Floats]:
    """Reports and backups at about 02:00, orders for the warehouse at about 03:30: queries, messages, disk share."""
    queries, messages, disk = (np.zeros(len(times)) for _ in range(3))
    for day, rng in _days(times, noise, "nightly"):
        report = day + rng.uniform(1.8, 2.4) * 3600, rng.uniform(1500, 4200)
        export = day + rng.uniform(3.2, 4.0) * 3600, rng.uniform(900, 1800)
        queries += rng.uniform(90, 180) * _during(times, *report)
        disk += rng.uniform(0.03, 0.07) * _filling(times, *report)
        messages += rng.uniform(100, 118) * _during(times, *export)
    return queries, messages, disk


def _campaign_mails(times: Floats, noise: Noise) -> Floats:
    """Now and then thousands of mails are queued by day, and worked off within the hour."""
    out = np.zeros(len(times))
    for day, rng in _days(times, noise, "mails"):
        begin, rate, lasts = day + rng.uniform(9, 16) * 3600, rng.uniform(30, 55), rng.uniform(300, 1100)
        if rng.random() < 0.35:
            out += rate * _during(times, begin, lasts)
    return out


def _disk(times: Floats, noise: Noise) -> Floats:
    """Share of the disk that is used: slow growth, the sawtooth of logs (rotated by size), that of WAL files."""
    rng = noise.generator("disk")
    growth = rng.uniform(0.43, 0.48) + rng.uniform(0.001, 0.003) * (times - times[0]) / _DAY
    logs = np.cumsum(usual_requests(times) / PEAK_REQUESTS) * noise.step_seconds / rng.uniform(24_000, 42_000)
    wal = (times - times[0]) / rng.uniform(3000, 6500)
    sawtooth = rng.uniform(0.07, 0.12) * ((logs + rng.random()) % 1) + rng.uniform(0.012, 0.02) * (wal % 1)
    return np.asarray(growth + sawtooth, np.float64)


def _during(times: Floats, begin: float, lasts: float) -> Floats:
    return ((times >= begin) & (times < begin + lasts)).astype(np.float64)


def _filling(times: Floats, begin: float, lasts: float) -> Floats:
    """Rises to 1 while it lasts, is removed half an hour later."""
    share = np.clip((times - begin) / lasts, 0, 1)
    return np.where(times < begin + lasts + 1800, share, 0.0)


def _days(times: Floats, noise: Noise, name: str) -> list[tuple[float, np.random.Generator]]:
    """Each day that the times touch, with a random stream by its number: the same run on another date is the same."""
    days = np.unique(np.floor(times / _DAY))
    return [(float(d) * _DAY, noise.generator(f"{name}-{number}")) for number, d in enumerate(days)]


def _day_factors(times: Floats, noise: Noise) -> Floats:
    """No day is like another: a factor each, joined smoothly at midnight."""
    days = np.arange(np.floor(times[0] / _DAY), np.floor(times[-1] / _DAY) + 2)
    factors = [noise.generator(f"days-{number}").uniform(0.94, 1.06) for number in range(len(days))]
    return np.interp(times / _DAY, days, factors)


def epoch_seconds(start: datetime, steps: int, step_seconds: float) -> Floats:
    """Seconds since 1970 of each step [T]. Raises ValueError for a time without a zone."""
    if start.tzinfo is None:
        raise ValueError(f"start {start.isoformat()} has no time zone; use UTC")
    return start.astimezone(UTC).timestamp() + np.arange(steps) * step_seconds
