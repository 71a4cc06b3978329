"""How often a champion that is as good as its backtest is rolled back as wrong, and how often a worse one is not.

Simulated: a backtest of some signals, then a ledger that grows by incidents; the rule is asked after every incident up
to the 40th, as the sensor asks it. Signals of one incident share its fate in part (`ALIKE`), in backtest and ledger.
"""

from functools import cache

import numpy as np

from benchmarks.report import Result, at_least, at_most
from forewarn.evaluation.lifecycle.evidence import Promised, Realised, decay
from forewarn.evaluation.lifecycle.rollback import DECAY_CHANCE, LEAST_EPISODES

WORLDS = 200
INCIDENTS = 40
ALIKE = 0.5  # of the incidents' signals all come true or none does; of the others each for itself
BACKTESTS = (2, 5, 15)  # incidents in it
AS_GOOD = (0.6, 0.8, 0.95)  # share of signals told that come true, in the backtest and in service
BROKEN = (0.0, 0.1, 0.2)  # in service, of a model that was right in 80 %


def signals(rng: np.random.Generator, incidents: int, rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Signals told of each incident, and how many of them come true: [incidents] each."""
    told = rng.integers(1, 6, incidents)
    alike = rng.random(incidents) < ALIKE
    true = np.where(alike, told * (rng.random(incidents) < rate), rng.binomial(told, rate))
    return told, true


@cache
def judged_wrong(true: int, told: int, promised_true: int, promised_told: int) -> bool:
    """What the roll-back rule says of so many signals."""
    share = promised_true / promised_told
    promised = Promised(precision=share, told=promised_told)
    return decay(Realised(true, told - true), promised, LEAST_EPISODES, DECAY_CHANCE).yes


def rolled_back_after(rng: np.random.Generator, backtest: int, then: float, now: float) -> int | None:
    """Incidents after which the rule fires; None: not within INCIDENTS."""
    promised_told, promised_true = (int(part.sum()) for part in signals(rng, backtest, then))
    told, true = (np.cumsum(part) for part in signals(rng, INCIDENTS, now))
    for k in range(INCIDENTS):
        if judged_wrong(int(true[k]), int(told[k]), promised_true, promised_told):
            return k + 1
    return None


def measure() -> list[Result]:
    """False roll-backs and misses."""
    results = []
    for backtest in BACKTESTS:
        about = f"backtest of {backtest} incidents"
        rates = {rate: fired(backtest, rate, rate) for rate in AS_GOOD}
        worst = max(rates, key=lambda rate: rates[rate][0])
        beside = {f"true in {rate:.0%}": share for rate, (share, _) in rates.items()}
        name = f"roll-back: champions as good as their backtest that go as wrong, {about}"
        note = f"{WORLDS} worlds each, {INCIDENTS} incidents, asked after each; the worst is that true in {worst:.0%}"
        results.append(at_most(name, rates[worst][0], "share", 0.05, baselines=beside, note=note))
        broken = {rate: fired(backtest, 0.8, rate) for rate in BROKEN}
        beside = {f"true in {rate:.0%}": share for rate, (share, _) in broken.items()}
        after = ", ".join(f"{median:.0f} where {rate:.0%} come true" for rate, (_, median) in broken.items())
        name = f"roll-back: champions that were right in 80 % and are in 10 %, gone, {about}"
        note = f"median incidents until then: {after}"
        if backtest == BACKTESTS[0]:
            results.append(Result(name, broken[0.1][0], "share", baselines=beside, note=note))
        else:
            results.append(at_least(name, broken[0.1][0], "share", 0.9, baselines=beside, note=note))
    return results


def fired(backtest: int, then: float, now: float) -> tuple[float, float]:
    """Share of the worlds in which the rule fires, and the median of incidents until then (NaN where it never does)."""
    rng = np.random.default_rng([backtest, round(100 * then), round(100 * now)])
    after = [k for _ in range(WORLDS) if (k := rolled_back_after(rng, backtest, then, now)) is not None]
    return len(after) / WORLDS, float(np.median(after)) if after else float("nan")
