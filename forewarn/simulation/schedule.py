"""When what happens: deploys, and the incidents and near misses of a history from which models can learn."""

from dataclasses import dataclass

import numpy as np

from forewarn.simulation.noise import Floats, Noise
from forewarn.simulation.scenarios import NONE, SCENARIOS, VARIANTS, Injection, draw

_HOUR, _DAY = 3600.0, 86_400.0
_DAYS_BETWEEN_DEPLOYS = {"gateway": 3.5, "api": 1.6, "payment": 3.5, "worker": 2.8, "cache": 10.0}
INCIDENTS_PER_DAY = 1.27  # 2 to 3 of each scenario in two weeks
NEAR_MISSES_PER_DAY = 0.55
_QUIET_BEFORE = 0.5 * _DAY  # a history begins with normal life


@dataclass(frozen=True, slots=True)
class Release:
    """A version that changes for good how much memory a request needs: `memory_per_request` times the first one's.

    seconds: since the start of the simulation.
    """

    service: str
    seconds: float
    memory_per_request: float = 2.0


def deploys(epoch: Floats, noise: Noise) -> dict[int, list[tuple[str, str]]]:
    """(service, version) of each step with a deploy: on working days between 8 and 17 o'clock, local time."""
    out: dict[int, list[tuple[str, str]]] = {}
    for service, days_between in _DAYS_BETWEEN_DEPLOYS.items():
        rng = noise.generator(f"deploys-{service}")
        minor = int(rng.integers(10, 60))
        for day in np.arange(np.floor(epoch[0] / _DAY), np.floor(epoch[-1] / _DAY) + 1):
            working_day = int(day + 3) % 7 < 5
            at = day * _DAY + rng.uniform(8, 17) * _HOUR
            if rng.random() > 7 / 5 / days_between or not working_day or not epoch[0] < at <= epoch[-1]:
                continue
            minor += 1
            out.setdefault(int(np.searchsorted(epoch, at)), []).append((service, f"v2.{minor}.0"))
    return out


def history(days: float, seed: int) -> list[Injection]:
    """Incidents and near misses of `days` days, one after the other, all scenarios about equally often.

    The first half day and the last hours are without failures, so that the live day begins healthy.
    """
    rng = np.random.default_rng([seed, 3])
    kinds = _kinds(days, rng)
    slot = (days * _DAY - _QUIET_BEFORE) / max(1, len(kinds))
    out = []
    for number, (scenario, variant, near_miss) in enumerate(kinds):
        longest = min(8.0 * _HOUR, slot - 4.5 * _HOUR)
        duration = min(rng.uniform(1.5, 8.0) * _HOUR, longest)
        onset = _QUIET_BEFORE + number * slot + rng.uniform(0, 1) * (slot - duration - 4 * _HOUR)
        out.append(draw(scenario, float(onset), float(duration), rng, variant, near_miss))
    return out


def _kinds(days: float, rng: np.random.Generator) -> list[tuple[str, int, bool]]:
    """(scenario, variant, near miss) in random order."""
    out = []
    for near_miss, per_day in ((False, INCIDENTS_PER_DAY), (True, NEAR_MISSES_PER_DAY)):
        order = rng.permutation(SCENARIOS)
        for i in range(int(per_day * days)):
            scenario = str(order[i % len(order)])
            first = 0 if not near_miss else int(rng.integers(len(VARIANTS[scenario])))
            out.append((scenario, first + i // len(order), near_miss))
    return [out[int(i)] for i in rng.permutation(len(out))]


def live_day(scenario: str, begin_seconds: float, hours: float, seed: int) -> list[Injection]:
    """The failure that was asked for, some hours after `begin_seconds`; none for 'none'. Raises KeyError.

    Its onset and its ramp are cut to fit where there are less than 14 hours.
    """
    if scenario == NONE or hours <= 0:
        return []
    rng = np.random.default_rng([seed, 5])
    fit = min(1.0, hours / 14)
    onset = begin_seconds + rng.uniform(2.5, 4.5) * fit * _HOUR
    return [draw(scenario, float(onset), float(rng.uniform(4.0, 7.0) * fit * _HOUR), rng)]
