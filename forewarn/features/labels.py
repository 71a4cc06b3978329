"""What really came: steps until a signal reaches its limit, and how long nobody could have seen it not to."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]

RECOVERY_STEPS = 15  # a failure is over after so many cells below the limit


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a person said of a prediction about series `row`, told at cell `told`.

    verdict: 'averted' (someone acted at cell `until`), 'dismissed' (no failure up to cell `until`, the prediction's
    end, whatever the signal did), 'confirmed' (it was true; `until` is the cell that it foretold).
    """

    row: int
    verdict: str
    told: int
    until: int


def failing_cells(grid: F32, limits: F32) -> NDArray[np.bool_]:
    """bool [S, C]: the signal is at or above its limit, or fell below it less than RECOVERY_STEPS cells ago."""
    with np.errstate(invalid="ignore"):
        at_limit = grid >= limits
    failing = at_limit.copy()
    for k in range(1, RECOVERY_STEPS):
        failing[:, k:] |= at_limit[:, :-k]
    return failing


def judged(failing: NDArray[np.bool_], judgements: Iterable[Judgement]) -> NDArray[np.bool_]:
    """`failing` [S, C] as people saw it. What was dismissed did not fail between `told` and `until`; what was confirmed
    and is not seen to fail in the telemetry until then, fails at `until`."""
    result = failing.copy()
    for one in (j for j in judgements if j.verdict in ("dismissed", "confirmed")):
        first, stop = max(one.told, 0), min(one.until, failing.shape[1] - 1)
        if stop < first:
            continue
        if one.verdict == "dismissed":
            result[one.row, first : stop + 1] = False
        elif one.until == stop and not result[one.row, first : stop + 1].any():
            result[one.row, stop] = True
    return result


def time_to_limit(grid: F32, limits: F32, judgements: Iterable[Judgement] = ()) -> tuple[F32, F32]:
    """(steps_to_failure, observed_steps), each float32 [S, C].

    At cell t: steps from the end of cell t - 1 (what features at t have seen) to the start of the next failing
    cell, inf where none follows; and the steps that were observed from t on. NaN while failing: nothing is
    predicted then. A limit that is not known gives (inf, NaN). Where someone acted, what came before was watched until
    then and no longer: whether it would have failed, nobody knows.
    """
    judgements = tuple(judgements)
    series, cells = grid.shape
    failing = judged(failing_cells(grid, limits), judgements)
    columns = np.arange(cells, dtype=np.int32)
    position = np.where(failing, columns, np.int32(cells + 1))
    following = np.minimum.accumulate(position[:, ::-1], axis=1)[:, ::-1]
    steps = np.where(following <= cells, following - columns, np.inf).astype(np.float32)
    observed = np.repeat(np.arange(cells, 0, -1, dtype=np.float32)[None], series, axis=0)
    for one in (j for j in judgements if j.verdict == "averted"):
        acted = min(max(one.until, 0), cells)
        observed[one.row, :acted] = np.minimum(observed[one.row, :acted], np.arange(acted, 0, -1))
    was_failing = np.zeros_like(failing)
    was_failing[:, 1:] = failing[:, :-1]
    steps[was_failing] = np.nan
    observed[was_failing | np.isnan(limits)] = np.nan
    return steps, observed
