"""Capacity forecasts beside predict_linear and seasonal naive: the highest value within a week, limits crossed.

`python -m benchmarks.capacity [--set NAME …] [--every N]` forecasts from several origins, learning at each from the
cells before it alone, as the live path does. Sets: `made_up` (the shapes that the packaged model learned from, other
seeds), `other_shapes` (`forecasting/shapes.py`, a step taken for an hour, which it did not learn from), and from
FOREWARN_DATA `jumpstarter`, `kpi_aiops`, `smd`, `web_request_rates`, `llm_server_aging`. Real signals have no limits:
some are put above the last value, a half to four of its usual distances.
"""

import argparse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from benchmarks.data import data_set, is_here
from benchmarks.report import Result, show, write
from forewarn.forecasting.capacity import shapes as slow_shapes
from forewarn.forecasting.capacity.contest import CapacityContest
from forewarn.forecasting.capacity.direct import unit_of
from forewarn.forecasting.capacity.horizons import HIGH, HOURS, LOW, FirstCrossing, Floats, came, crps
from forewarn.forecasting.capacity.model import packaged
from forewarn.forecasting.capacity.paths import PATHS
from forewarn.forecasting.neural import filled
from forewarn.forecasting.shapes import draw as draw_first_day
from forewarn.risk.capacity_telling import THRESHOLD

OWN = "forewarn"
BASELINES = ("predict_linear_1d", "predict_linear_7d", "seasonal_naive", "naive")
SHOWN = {"24 h": 4, "3 d": 7, "7 d": 11}
LIMITS = (0.5, 1.0, 2.0, 4.0)  # usual distances above the last value
LEAST_HOURS, MOST_GROUP = 24, 200
_SEED = 41


@dataclass(slots=True)
class Tally:
    """Of one set: CRPS in units by forecaster [n, K], whether it lay inside [n, K], crossings said and come [m]."""

    errors: dict[str, list[Floats]] = field(default_factory=dict)
    inside: list[Floats] = field(default_factory=list)
    said: dict[str, list[Floats]] = field(default_factory=dict)
    crossed: list[Floats] = field(default_factory=list)
    timed: list[Floats] = field(default_factory=list)  # hours to the crossing: said p10, p50, p90 and come
    linear: list[Floats] = field(default_factory=list)  # hours to it by predict_linear over a day, inf: never


def made_up(every: int) -> Iterator[tuple[Floats, Floats | None, list[int]]]:
    """Shapes of capacities, other seeds; three lengths of history."""
    rng = np.random.default_rng(_SEED)
    for hours in (48, 240, 900):
        yield np.stack([slow_shapes.draw(rng, hours + 168) for _ in range(600 // every)]), None, [hours]


def other_shapes(every: int) -> Iterator[tuple[Floats, Floats | None, list[int]]]:
    """Shapes of the first-day model against their limit of 1."""
    rng = np.random.default_rng(_SEED)
    values = np.stack([np.asarray(draw_first_day(rng, 800), float) for _ in range(600 // every)])
    yield filled(values), np.ones(len(values)), [72, 200, 500, 630]


def from_columns(
    name: str, rows: int, origins: int
) -> Callable[[int], Iterator[tuple[Floats, Floats | None, list[int]]]]:
    """Every column of every Parquet file, the highest of so many rows to the hour; origins in the last two fifths."""

    def read(every: int) -> Iterator[tuple[Floats, Floats | None, list[int]]]:
        series = []
        for path in sorted(data_set(name).rglob("*.parquet")):
            columns = pd.read_parquet(path).drop(columns=["label", "split", "timestamp"], errors="ignore")
            for column in columns.select_dtypes("number").columns[:: 2 * every]:
                series.append(_highest(columns[column].to_numpy(float), rows))
        yield from _together(series, origins)

    return read


def kpi(every: int) -> Iterator[tuple[Floats, Floats | None, list[int]]]:
    """Service KPIs, at most four months of each."""
    series = []
    for path in sorted(data_set("kpi_aiops").rglob("*.parquet")) + sorted(data_set("kpi_aiops").rglob("*.csv*")):
        table = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
        series.append(_by_hour(table["value"], table["timestamp"] // 3600)[:2900])
    yield from _together(series[::every], 6)


def tables(name: str, origins: int) -> Callable[[int], Iterator[tuple[Floats, Floats | None, list[int]]]]:
    """Every numeric column of every CSV with a time, by hour."""

    def read(every: int) -> Iterator[tuple[Floats, Floats | None, list[int]]]:
        from forewarn.evaluation.datasets.forecast_series import read_tables

        fine = read_tables(data_set(name), 300.0)
        yield from _together([_highest(one.values, 12) for one in fine][::every], origins)

    return read


def _highest(values: Floats, rows: int) -> Floats:
    blocks = values[: len(values) // rows * rows].reshape(-1, rows)
    return np.where(np.isfinite(blocks).any(axis=1), np.nanmax(np.nan_to_num(blocks, nan=-np.inf), axis=1), np.nan)


def _by_hour(values: pd.Series, hour: pd.Series) -> Floats:
    highest = values.groupby(hour).max()
    return highest.reindex(range(int(highest.index.min()), int(highest.index.max()) + 1)).to_numpy(float)


def _together(series: list[Floats], origins: int) -> Iterator[tuple[Floats, Floats | None, list[int]]]:
    """Series of one length, those that vary, and origins from three fifths of them on."""
    for length in sorted({len(one) for one in series}):
        values = filled(np.stack([one for one in series if len(one) == length]))
        values = values[np.ptp(values, axis=1) > 1e-9 * np.abs(values).max(axis=1)]
        first = max(LEAST_HOURS, length * 3 // 5)
        last = max(length - 168, (first + length) // 2)
        if len(values) and last >= first:
            yield values, None, sorted({int(at) for at in np.linspace(first, last, origins)})


SETS: Mapping[str, Callable[[int], Iterator[tuple[Floats, Floats | None, list[int]]]]] = {
    "made_up": made_up,
    "other_shapes": other_shapes,
    "jumpstarter": from_columns("jumpstarter", 12, 4),
    "smd": from_columns("smd", 60, 4),
    "kpi_aiops": kpi,
    "web_request_rates": tables("web_request_rates", 12),
    "llm_server_aging": tables("llm_server_aging", 6),
}
MADE = {"made_up", "other_shapes"}  # of no recorded data


def measure(groups: Iterator[tuple[Floats, Floats | None, list[int]]]) -> Tally:
    """Forecast each group from its origins."""
    tally = Tally()
    for values, limits, origins in groups:
        for some in np.array_split(np.arange(len(values)), -(-len(values) // MOST_GROUP)):
            for at in origins:
                _forecast(tally, values[some], None if limits is None else limits[some], at)
    return tally


def _forecast(tally: Tally, values: Floats, limits: Floats | None, at: int) -> None:
    past, truth = values[:, :at], came(values, at)
    if limits is not None:  # what has failed before is no forecast any more
        free = past.max(axis=1) < limits
        values, limits, past, truth = values[free], limits[free], past[free], truth[free]
    contest = CapacityContest(packaged())
    contest.learn(past)
    quantiles, unit = contest.quantiles(past), unit_of(past)[:, None]
    said = {name: PATHS[name](past) for name in BASELINES}
    tally.errors.setdefault(OWN, []).append(crps(quantiles, truth) / unit)
    for name, maxima in said.items():
        tally.errors.setdefault(name, []).append(np.abs(maxima - truth) / unit)  # CRPS of a single value
    inside = (quantiles[..., LOW] <= truth) & (truth <= quantiles[..., HIGH])
    tally.inside.append(np.where(np.isfinite(truth), inside, np.nan))
    _cross(tally, past, values[:, at : at + 168], quantiles, said, limits, unit)


def _cross(
    tally: Tally, past: Floats, ahead: Floats, quantiles: Floats, said: Mapping[str, Floats], limits: Floats | None,
    unit: Floats,
) -> None:  # fmt: skip
    if ahead.shape[1] < 168:
        return
    last = past[:, -1]
    for limit in [limits] if limits is not None else [last + far * unit[:, 0] for far in LIMITS]:
        new = last < limit if limits is not None else past[:, -168:].max(axis=1) < limit
        crossing = FirstCrossing.of(quantiles[new], limit[new], last[new])
        reached = ahead[new] >= limit[new, None]
        hours = np.where(reached.any(axis=1), reached.argmax(axis=1) + 1.0, np.inf)
        tally.said.setdefault(OWN, []).append(crossing.within)
        for name, maxima in said.items():
            tally.said.setdefault(name, []).append((maxima[new] >= limit[new, None]).astype(float))
        tally.crossed.append(hours[:, None] <= np.array(HOURS))
        given = [crossing.quantile(level, given=True) for level in (0.1, 0.5, 0.9)]
        tally.timed.append(np.stack([*given, hours, crossing.within[:, -1]], axis=1))
        line = said["predict_linear_1d"][new]
        rise = np.maximum((line[:, -1] - last[new]) / 168, 1e-12)
        tally.linear.append((limit[new] - last[new]) / rise)


def results_of(name: str, tally: Tally) -> list[Result]:
    """Figures of one set."""
    errors = {who: np.nanmean(np.concatenate(each), axis=1) for who, each in tally.errors.items()}
    inside = np.concatenate(tally.inside)
    results = [
        Result(
            f"{name}: CRPS of the highest value relative to seasonal naive",
            _ratio(errors[OWN], errors["seasonal_naive"]), "",
            baselines={who: _ratio(errors[who], errors["seasonal_naive"]) for who in BASELINES},
            note=f"{len(inside)} forecasts; geometric mean over horizons of 1 h to 7 d",
        )
    ]  # fmt: skip
    for hours, place in zip(HOURS, range(len(HOURS)), strict=True):
        if hours in (1, 6, 24, 72, 168) and np.isfinite(inside[:, place]).sum() >= 20:
            share = float(np.nanmean(inside[:, place]))
            results.append(
                Result(f"{name}: coverage of 80 %, {hours} h", share, "", "0.75 to 0.85", 0.75 <= share <= 0.85)
            )
    return [*results, *_crossings(name, tally)]


def _crossings(name: str, tally: Tally) -> Iterator[Result]:
    if not tally.crossed:
        return
    crossed = np.concatenate(tally.crossed).astype(float)
    said = {who: np.concatenate(each) for who, each in tally.said.items()}
    for span, place in SHOWN.items():
        brier = {who: float(((p[:, place] - crossed[:, place]) ** 2).mean()) for who, p in said.items()}
        usual = float(crossed[:, place].var())
        note = f"{len(crossed)} limits, {crossed[:, place].mean():.0%} reached; a constant share: {usual:.3f}"
        yield Result(f"{name}: Brier score, {span}", brier.pop(OWN), "", baselines=brier, note=note)
    for what, pick in (("precision", 1), ("recall", 0)):
        values = {who: _told(p[:, -1], crossed[:, -1])[1 - pick] for who, p in said.items()}
        yield Result(f"{name}: {what} of told within 7 d", values.pop(OWN), "", baselines=values)
    timed, linear = np.concatenate(tally.timed), np.concatenate(tally.linear)
    told = (timed[:, 4] >= THRESHOLD) & np.isfinite(timed[:, 3]) & (timed[:, 3] > 3)
    if told.sum() >= 20:
        low, middle, high, hours = timed[told, :4].T
        share = float(((low <= hours) & (hours <= np.ceil(high))).mean())
        yield Result(f"{name}: coverage of 80 % of the time", share, "", note=f"{told.sum()} told that came after 3 h")
        off = float(np.median(np.abs(np.log(np.maximum(middle, 0.5) / hours))))
        beside = float(np.median(np.abs(np.log(np.clip(linear[told], 0.5, 1680) / hours))))
        yield Result(f"{name}: median |ln(said / came)| of the time", off, "", baselines={"predict_linear_1d": beside})


def _told(probability: Floats, crossed: Floats) -> tuple[float, float]:
    """Precision and recall of what is told from THRESHOLD on."""
    told = probability >= THRESHOLD
    right = float((told & (crossed > 0)).sum())
    return right / max(told.sum(), 1), right / max(crossed.sum(), 1)


def _ratio(error: Floats, reference: Floats) -> float:
    known = np.isfinite(error) & np.isfinite(reference)
    ratio = (error[known] + 1e-6) / (reference[known] + 1e-6)
    return float(np.exp(np.log(np.clip(ratio, 0.01, 100)).mean()))


def main() -> None:
    """Print the tables and write results/capacity.json."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--set", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--every", type=int, default=1)
    chosen = parser.parse_args()
    for name in chosen.set:
        if name not in MADE and not is_here(name):
            continue
        results = results_of(name, measure(SETS[name](chosen.every)))
        write("capacity", results)
        show(f"Capacity forecasts: {name}", results)


if __name__ == "__main__":
    main()
