"""An objective of a caller holds for what it depends on: error ratios are watched where errors begin.

Retries and fallbacks hide the errors of a dependency from users until they no longer can: where each request is tried
k times and a share p of the tries fails, users see p^k. k is estimated from what users saw while the dependency
failed, and the dependency's limit is the p at which users see as much as their objective allows.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from forewarn.features.definitions import FINE_CELLS
from forewarn.features.windows import WindowStore
from forewarn.risk.origin import Calls, reached
from forewarn.telemetry.connectors.names import is_derived
from forewarn.telemetry.samples import Kind, SampleBatch, Series

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

LEAST_SECONDS = 30.0  # a ratio is of so many seconds at least
LEAST_REQUESTS = 20.0  # and of so many requests: of fewer, one error says nothing
MOST_TRIES = 4
_BACKGROUND = 0.3  # errors that come from elsewhere
_UNDECIDED = 1.0  # log-likelihood by which more tries must be the better explanation
_RATIO = re.compile(r"error_ratio(\.(?!limit|max)\w+)?$")
_COUNTER = re.compile(r"^(?P<what>.*server.*requests?)[._](?P<kind>errors|count)(_total)?$")


@dataclass(frozen=True, slots=True)
class _Ratio:
    """Rows of the counters of errors and of requests, and the series that their ratio becomes."""

    errors: int
    requests: int
    series: Series


@dataclass(frozen=True, slots=True, eq=False)
class Objective:
    """The error ratio that a caller allows, and where the ratio that it sees is kept."""

    limit: float
    windows: WindowStore
    row: int


@dataclass(slots=True, eq=False)
class Dependencies:
    """Makes the error ratio of each service that counts errors and requests, for one engine's windows."""

    windows: WindowStore
    made: set[Series] = field(default_factory=set)
    _until: int = -1  # cells before it are made
    _known: int = -1  # version of the series whose pairs were found
    _tells: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))  # by row: an error ratio
    _told: int = -1  # version of the series of which that is known
    _ratios: list[_Ratio] = field(default_factory=list)

    def extend(self, end: int, objectives: Mapping[str, Objective]) -> None:
        """Put the ratios of the cells before `end`, and their limits, into the windows.

        objectives: by entity, see `objectives_of`; entities without one are left alone.
        """
        if self._known != self.windows.version:
            self._ratios = _pairs(self.windows.series, self.made)
            self.made = {r.series for r in self._ratios}
            self._known = self.windows.version
        wanted = [r for r in self._ratios if r.series.entity in objectives]
        new = int(np.clip(end - self._until, 1, FINE_CELLS))
        self._until = end
        if wanted:
            ratio, requests = self._cells(wanted, end)
            limits = [
                pass_through_limit(objectives[r.series.entity], p, n, end, self._width)
                for r, p, n in zip(wanted, ratio, requests, strict=True)
            ]
            times = np.arange(end - new, end) * self.windows.step_ns
            self._put(wanted, ratio[:, -new:], times, limits)

    @property
    def _width(self) -> int:
        return max(round(LEAST_SECONDS * 1e9 / self.windows.step_ns), 1)

    def _cells(self, wanted: list[_Ratio], end: int) -> tuple[F64, F64]:
        """Error ratio and requests of the trailing LEAST_SECONDS at each of the last cells: float64 [R, FINE_CELLS]."""
        sums = []
        for rows in ([r.errors for r in wanted], [r.requests for r in wanted]):
            cells = self.windows.history(np.array(rows, np.int64), end, FINE_CELLS + self._width - 1)
            sums.append(_trailing(np.nancumsum(cells.astype(np.float64), axis=1), self._width))
        requests = sums[1] * self.windows.step_ns / 1e9
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(requests >= LEAST_REQUESTS, np.minimum(sums[0] / sums[1], 1.0), np.nan), requests

    def ratios_among(self, rows: I64, limits: F64) -> tuple[list[int], list[float]]:
        """Which of the limited rows tell an error ratio, with their limits; names are read when series change alone."""
        if self._told != self.windows.version:
            self._tells = np.array([_tells_ratio(s) for s in self.windows.series], np.bool_)
            self._told = self.windows.version
        kept = self._tells[rows]
        return rows[kept].tolist(), limits[kept].tolist()

    def _put(self, wanted: list[_Ratio], ratio: NDArray[np.float64], times: I64, limits: list[float]) -> None:
        series = [r.series for r in wanted]
        index, column = np.nonzero(np.isfinite(ratio))
        if not len(index):
            return
        self.windows.put(SampleBatch(tuple(series), index.astype(np.int32), times[column], ratio[index, column]))
        told = tuple(Series(s.entity, f"{s.signal}.limit", s.attributes, unit=s.unit) for s in series)
        at = np.full(len(told), times[-1])
        self.windows.put(SampleBatch(told, np.arange(len(told), dtype=np.int32), at, np.array(limits)))


def pass_through_limit(objective: Objective, ratio: F64, requests: F64, end: int, width: int) -> float:
    """The error ratio of a dependency at which its callers reach their objective: limit^(1/k).

    ratio, requests: float64 [T], of the dependency; every width-th cell is independent of the others. k of 1 to
    MOST_TRIES is the most likely for the errors that callers saw (Poisson); without evidence it is 1.
    """
    seen = objective.windows.history(np.array([objective.row], np.int64), end, len(ratio))[0].astype(np.float64)
    there = np.isfinite(seen) & np.isfinite(ratio)
    there[: len(ratio) - len(ratio) // width * width] = False
    cells = np.flatnonzero(there)[::width]
    p, n = ratio[cells], requests[cells]
    observed = float((seen[cells] * n).sum())
    expected = np.array([(p**k * n).sum() for k in range(1, MOST_TRIES + 1)]) + _BACKGROUND
    likelihood = observed * np.log(expected) - expected
    tries = int(np.argmax(likelihood - likelihood.max() > -_UNDECIDED)) + 1
    return float(objective.limit ** (1.0 / tries))


def objectives_of(
    stores: Iterable[tuple[WindowStore, Sequence[int], Sequence[float]]], calls: Calls, made: set[Series]
) -> dict[str, Objective]:
    """The smallest error ratio that the callers of each entity allow, directly or through others.

    stores: windows, rows of their limited series and the limits. An entity with an objective of its own keeps to it.
    """
    told: dict[str, Objective] = {}
    for windows, rows, limits in stores:
        for row, limit in zip(rows, limits, strict=True):
            series = windows.series[row]
            if _tells_ratio(series) and 0 < limit < 1 and series not in made:
                told[series.entity] = Objective(float(limit), windows, row)
    found: dict[str, Objective] = {}
    for caller, objective in sorted(told.items()):
        for entity in reached(caller, calls):
            if entity not in told and objective.limit < (found[entity].limit if entity in found else 1.0):
                found[entity] = objective
    return found


def _pairs(series: Sequence[Series], made: set[Series]) -> list[_Ratio]:
    rows: dict[tuple[str, str, tuple[tuple[str, str], ...]], dict[str, int]] = {}
    own = {s.entity for s in series if _tells_ratio(s) and s not in made}
    for row, s in enumerate(series):
        match = _COUNTER.match(s.signal)
        if match and s.kind != Kind.GAUGE and s.entity not in own:
            rows.setdefault((s.entity, match["what"], s.attributes), {})[match["kind"]] = row
    return [
        _Ratio(found["errors"], found["count"], Series(entity, f"{what}.error_ratio", attributes, unit="1"))
        for (entity, what, attributes), found in rows.items()
        if len(found) == 2
    ]


def _tells_ratio(series: Series) -> bool:
    """Whether the service itself measures the share of its errors; what is derived from logs and spans is no such."""
    return bool(_RATIO.search(series.signal)) and not is_derived(series.signal)


def _trailing(sums: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Sums over the last `width` columns from running sums [R, n + width - 1]: float64 [R, n]."""
    before = np.concatenate([np.zeros((len(sums), 1)), sums[:, : sums.shape[1] - width]], axis=1)
    trailing: NDArray[np.float64] = sums[:, width - 1 :] - before
    return trailing
