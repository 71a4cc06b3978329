"""An objective of a caller holds for what it depends on: error ratios are watched where errors begin.

A client that may see 10 % of errors is warned when a service below it nears 10 %: retries and fallbacks hide that
from the client until they no longer can.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from forewarn.features.windows import WindowStore
from forewarn.risk.origin import Calls, reached
from forewarn.telemetry.samples import Kind, SampleBatch, Series

I64 = NDArray[np.int64]

LEAST_SECONDS = 30.0  # a ratio is of so many seconds at least
_MOST_NEW_CELLS = 300
_RATIO = re.compile(r"error_ratio(\.(?!limit|max)\w+)?$")
_COUNTER = re.compile(r"^(?P<what>.*server.*requests?)[._](?P<kind>errors|count)(_total)?$")


@dataclass(frozen=True, slots=True)
class _Ratio:
    """Rows of the counters of errors and of requests, and the series that their ratio becomes."""

    errors: int
    requests: int
    series: Series


@dataclass(slots=True, eq=False)
class Dependencies:
    """Makes the error ratio of each service that counts errors and requests, for one engine's windows."""

    windows: WindowStore
    made: set[Series] = field(default_factory=set)
    _until: int = -1  # cells before it are made
    _known: int = -1  # series when the pairs were found
    _ratios: list[_Ratio] = field(default_factory=list)

    def extend(self, end: int, objectives: Mapping[str, float]) -> None:
        """Put the ratios of the cells before `end`, and their limits, into the windows.

        objectives: the error ratio that the callers of an entity allow; entities without one are left alone.
        """
        if self._known != len(self.windows.series):
            self._ratios = _pairs(self.windows.series, self.made)
            self.made = {r.series for r in self._ratios}
            self._known = len(self.windows.series)
        wanted = [r for r in self._ratios if r.series.entity in objectives]
        new = int(np.clip(end - self._until, 1, _MOST_NEW_CELLS))
        self._until = end
        if not wanted:
            return
        step_ns = self.windows.step_ns
        width = max(round(LEAST_SECONDS * 1e9 / step_ns), 1)
        cells = [
            self.windows.history(np.array(rows, np.int64), end, new + width - 1).astype(np.float64)
            for rows in ([r.errors for r in wanted], [r.requests for r in wanted])
        ]
        errors, requests = (np.nancumsum(c, axis=1) for c in cells)
        errors, requests = _trailing(errors, width), _trailing(requests, width)
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = np.where(requests > 0, errors / requests, np.nan)
        times = np.arange(end - new, end) * step_ns
        limits = [objectives[r.series.entity] for r in wanted]
        self._put(wanted, ratio, times, limits)

    def _put(self, wanted: list[_Ratio], ratio: NDArray[np.float64], times: I64, limits: list[float]) -> None:
        series = [r.series for r in wanted]
        index, column = np.nonzero(np.isfinite(ratio))
        if not len(index):
            return
        self.windows.put(SampleBatch(tuple(series), index.astype(np.int32), times[column], ratio[index, column]))
        told = tuple(Series(s.entity, f"{s.signal}.limit", s.attributes, unit=s.unit) for s in series)
        at = np.full(len(told), times[-1])
        self.windows.put(SampleBatch(told, np.arange(len(told), dtype=np.int32), at, np.array(limits)))


def objectives_of(series: Sequence[Series], limits: Sequence[float], calls: Calls) -> dict[str, float]:
    """The smallest error ratio that the callers of each entity allow, directly or through others.

    series, limits: the limited series and their limits. An entity that has an objective of its own keeps to that.
    """
    told = {
        s.entity: float(limit)
        for s, limit in zip(series, limits, strict=True)
        if _RATIO.search(s.signal) and 0 < limit < 1
    }
    found: dict[str, float] = {}
    for caller, limit in told.items():
        for entity in reached(caller, calls):
            if entity not in told:
                found[entity] = min(found.get(entity, 1.0), limit)
    return found


def _pairs(series: Sequence[Series], made: set[Series]) -> list[_Ratio]:
    rows: dict[tuple[str, str, tuple[tuple[str, str], ...]], dict[str, int]] = {}
    own = {s.entity for s in series if _RATIO.search(s.signal) and s not in made}
    for row, s in enumerate(series):
        match = _COUNTER.match(s.signal)
        if match and s.kind != Kind.GAUGE and s.entity not in own:
            rows.setdefault((s.entity, match["what"], s.attributes), {})[match["kind"]] = row
    return [
        _Ratio(found["errors"], found["count"], Series(entity, f"{what}.error_ratio", attributes, unit="1"))
        for (entity, what, attributes), found in rows.items()
        if len(found) == 2
    ]


def _trailing(sums: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Sums over the last `width` columns from running sums [R, n + width - 1]: float64 [R, n]."""
    before = np.concatenate([np.zeros((len(sums), 1)), sums[:, : sums.shape[1] - width]], axis=1)
    trailing: NDArray[np.float64] = sums[:, width - 1 :] - before
    return trailing
