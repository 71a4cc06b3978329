"""Disks are ranked from the past alone, and a failed disk counts where the budget reached it in time."""

import os
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from forewarn.evaluation.datasets.report import DatasetError, Options
from forewarn.evaluation.datasets.smart import ranking
from forewarn.evaluation.datasets.smart.features import Features
from forewarn.evaluation.datasets.smart.fleet import NAMES, Fleet
from forewarn.evaluation.datasets.smart.history import ATTRIBUTES, History, history, read
from forewarn.evaluation.datasets.smart.ranking import Sample, fit
from forewarn.evaluation.datasets.smart.recall import Week, drive_recall
from forewarn.evaluation.datasets.smart_disks import HORIZONS, evaluate

START = pd.Timestamp("2013-04-10")
CUT = date(2014, 1, 1)
CUT_DAY = (CUT - date(1970, 1, 1)).days
DAYS = 400
SYMPTOM = ATTRIBUTES.index(197)


def stretch(serial: str, model: str, begin: float, stop: float, fails: bool, values: list[float]) -> dict[str, object]:
    """One row of a file: days since START, in hours of power-on time and dates."""
    return {
        "serial_number": serial,
        "model": model,
        "manufacturer": model[:2],
        "size_tb": 4.0,
        "tstart": int(begin * 24) + 1000,
        "tstop": int(stop * 24) + 1000,
        "date_start": START + pd.Timedelta(days=begin),
        "date_stop": START + pd.Timedelta(days=stop),
        "fails": float(fails),
        **{f"smart_{a}": v for a, v in zip(ATTRIBUTES, values, strict=True)},
    }


def made_up(seed: int = 3, disks: int = 400) -> pd.DataFrame:
    """A fifth fails; two of three of those show 197 rising ten days ahead. Others may carry an old, still 5."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(disks):
        serial, model = f"S{i:04}", ("STone", "WDtwo")[i % 2]
        fails = i % 5 == 0
        stop = float(rng.integers(40, DAYS)) if fails else float(DAYS)
        values = [float(50 * (rng.random() < 0.2)), *np.zeros(8)]
        if fails and i % 3:
            first = stop - rng.integers(5, 12)
            rows.append(stretch(serial, model, 0.1, first, False, values))
            values = values.copy()
            values[SYMPTOM] = float(rng.integers(1, 30))
            rows.append(stretch(serial, model, first, stop, True, values))
        else:
            rows.append(stretch(serial, model, 0.1, stop, fails, values))
    return pd.DataFrame(rows)


@pytest.fixture
def few_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "_ROUNDS", 25)  # enough for one symptom


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return made_up()


@pytest.fixture
def folder(table: pd.DataFrame, tmp_path: Path) -> Path:
    table[::2].to_parquet(tmp_path / "even.parquet")
    table[1::2].to_csv(tmp_path / "odd.csv", index=False)
    return tmp_path


def test_files_of_both_kinds_are_one_history(table: pd.DataFrame, folder: Path) -> None:
    whole, split = history(table), read(folder)
    assert len(split.end) == 400
    for name in ("disk", "day", "values", "end", "failed", "model"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(split, name))


def test_a_disk_that_goes_on_in_the_next_file_is_one_disk() -> None:
    calm = [0.0] * 9
    parts = [stretch("A", "ST", 0, 50, False, calm), stretch("A", "ST", 50, 90, True, calm)]
    late = [stretch("A", "ST", 90, 100, False, calm), stretch("A", "ST", 0, 30, False, calm)]
    found = history(pd.DataFrame(parts + late))
    assert found.failed.tolist() == [True]
    assert found.end[0] - found.begin[0] == 90
    assert Features.of(found).changes.sum() == 0


def test_dates_with_a_zone_broken_rows_and_none_at_all() -> None:
    rows = [stretch("A", "STx", 0.1, 50.0, False, [0.0] * 9), stretch("B", "STx", 3.0, 60.0, True, [np.inf] * 9)]
    plain = pd.DataFrame(rows)
    zoned = plain.assign(**{name: plain[name].dt.tz_localize("UTC") for name in ("date_start", "date_stop")})
    broken = plain.astype({"date_start": str}).assign(date_start=["never", str(plain["date_start"][1])])
    np.testing.assert_array_equal(history(zoned).day, history(plain).day)
    assert len(history(broken).end) == 1
    with pytest.raises(DatasetError, match="no row of the disks"):
        history(plain.iloc[:0])


def test_features_are_those_known_at_midnight() -> None:
    values = np.zeros((4, 9))
    values[1:, SYMPTOM] = (8, 3, 11)
    marks = [0.0, 20.4, 30.0, 60.0, 100.0]
    rows = [stretch("A", "ST", marks[i], marks[i + 1], i == 3, values[i].tolist()) for i in range(4)]
    features = Features.of(history(pd.DataFrame(rows)))
    begin = int(features.history.day[0])
    days = begin + np.array([20, 21, 40, 65])
    found, names = features.at(np.zeros(4, dtype=np.int64), days)

    def column(name: str) -> list[float]:
        return found[:, names.index(name)].tolist()

    assert column("value_197") == [0, 8, 3, 11]
    assert column("rise_7d_197") == [0, 8, 0, 8]
    assert column("rises_197") == [0, 8, 8, 16]
    assert column("changes_197") == [0, 1, 2, 3]
    assert column("below_highest_197") == [0, 0, 5, 0]
    assert column("changed_days_197")[1:] == [0, 10, 5]
    assert column("nonzero_days_197")[1:] == [0, 19, 44]
    assert column("five_count") == [0, 1, 1, 1]
    assert np.diff(column("age")).tolist() == pytest.approx([1, 19, 25], abs=0.05)  # power-on time is in whole hours


@pytest.mark.usefixtures("few_rounds")
def test_nothing_from_the_cut_on_is_learned(table: pd.DataFrame) -> None:
    """Rows and ends from the cut on are made up anew: samples, their features and the trees stay the same."""
    before, after = history(table), history(altered(table))
    assert not np.array_equal(before.end, after.end)
    for horizon in HORIZONS:
        samples = [Sample.before(h, CUT_DAY, horizon, seed=0) for h in (before, after)]
        np.testing.assert_array_equal(samples[0].fails, samples[1].fails)
        assert samples[0].day.max() <= CUT_DAY - horizon
        tables = [Features.of(h).at(s.disk, s.day)[0] for h, s in zip((before, after), samples, strict=True)]
        np.testing.assert_array_equal(*tables)
    trees = [fit(Features.of(h), CUT_DAY, HORIZONS, seed=0).boosters for h in (before, after)]
    assert [b.model_to_string() for b in trees[0]] == [b.model_to_string() for b in trees[1]]


def test_a_disk_that_fails_is_learned_from_on_each_of_its_last_days() -> None:
    calm = [0.0] * 9
    ends = (60, 5, 99, 200)  # within the past, soon after it was first seen, too late to be known, after the cut
    found = history(pd.DataFrame([stretch(f"D{i}", "ST", 0, stop, i < 3, calm) for i, stop in enumerate(ends)]))
    begin = int(found.day.min())
    sample = Sample.before(found, begin + 100, 7, seed=0)
    days = [(sample.day[sample.fails & (sample.disk == i)] - begin).tolist() for i in range(4)]
    assert [sorted(one) for one in days] == [[*range(53, 60)], [*range(5)], [92, 93], []]
    goes_on = sample.day[~sample.fails] - begin
    assert set(goes_on % 7) == {(100 - 7) % 7}
    weekly = Sample.before(found, begin + 100, 7, seed=0, even=True)
    assert set((weekly.day - begin) % 7) == {(100 - 7) % 7}


def test_days_of_disks_that_fail_are_drawn_where_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    found = history(made_up(disks=100))
    every = Sample.before(found, CUT_DAY, 7, seed=0)
    monkeypatch.setattr(ranking, "_FAILING", 20)
    some = Sample.before(found, CUT_DAY, 7, seed=0)
    assert some.fails.sum() == 20 < every.fails.sum()
    assert some.offset[-1] - every.offset[-1] == pytest.approx(np.log(20 / every.fails.sum()))


def altered(table: pd.DataFrame) -> pd.DataFrame:
    cut = pd.Timestamp(CUT)
    kept = table[table["date_start"] < cut].copy()
    late = kept["date_stop"] > cut
    kept.loc[late, "date_stop"] = cut + pd.Timedelta(days=3)
    kept.loc[late, "fails"] = 1.0 - kept.loc[late, "fails"]
    new = stretch("A new disk", "AA new model", (cut - START).days + 1, DAYS, True, [9.0] * 9)
    return pd.concat([kept, pd.DataFrame([new])], ignore_index=True)


def test_others_count_by_what_had_happened() -> None:
    calm, hurt = [0.0] * 9, [4.0, *[0.0] * 8]
    rows = [stretch(f"D{i}", "ST", 0, 20 if i < 2 else 90, i < 2, hurt if i == 3 else calm) for i in range(4)]
    rows += [stretch(f"E{i}", "WD", 0, 90, False, calm) for i in range(4)]
    found = history(pd.DataFrame(rows))
    fleet, begin = Fleet.of(found), int(found.day.min())
    disk = np.array([2, 5, 2, 5])
    table = fleet.at(disk, begin + np.array([19, 19, 20, 20]))
    failed = table[:, NAMES.index("failed_30d_model")]
    assert failed[:2].tolist() == [0, 0]  # the day before they failed
    assert failed[2] == pytest.approx((2 + 20 / 3) / 22)  # 2 failed, 6 still run, 2 of them of this model
    assert failed[3] == pytest.approx((20 / 3) / 24)
    assert table[0, NAMES.index("symptoms_model")] > table[1, NAMES.index("symptoms_model")]


def one_week_each(found: History, first: list[int], days: tuple[int, ...]) -> list[Week]:
    """Weeks in which the disk named by `first` comes out on top."""
    begin = int(found.day.min())
    disks = np.arange(len(found.end))
    return [Week(begin + d, disks, {"m": (disks == top).astype(float)}) for d, top in zip(days, first, strict=True)]


def test_a_disk_counts_where_it_was_alerted_at_most_the_horizon_ahead() -> None:
    calm = [0.0] * 9
    rows = [stretch(f"D{i}", "ST", 0, stop, i < 3, calm) for i, stop in enumerate((20, 28, 60, 90, 90))]
    found = history(pd.DataFrame(rows))
    weeks = one_week_each(found, [0, 1], (10, 14))
    week = drive_recall(found, weeks, "m", 7)
    assert week.disk.tolist() == [0]  # the only one that fails within a week of a week
    assert week.recall == 0.0  # it was on top 10 days ahead, and then no more
    month = drive_recall(found, weeks, "m", 30)
    assert month.disk.tolist() == [0, 1]
    assert month.recall == 1.0


def test_an_alert_that_stands_leaves_the_budget_to_the_next() -> None:
    calm = [0.0] * 9
    rows = [stretch(f"D{i}", "ST", 0, stop, i < 2, calm) for i, stop in enumerate((30, 30, 90))]
    found = history(pd.DataFrame(rows))
    begin, disks = int(found.day.min()), np.arange(3)
    weeks = [Week(begin + d, disks, {"m": np.array([3.0, 2.0, 1.0])}) for d in (10, 17)]
    assert drive_recall(found, weeks, "m", 30).recall == 0.5
    assert drive_recall(found, weeks, "m", 30, hold=30).recall == 1.0


@pytest.mark.usefixtures("few_rounds")
def test_evaluate_beats_chance_and_says_its_cut(folder: Path) -> None:
    reports = evaluate("smart_disks", folder, Options(test_from=CUT))
    assert [report.metric.split(", ")[1] for report in reports] == ["7 d", "30 d", "30 d"]
    week = reports[0]
    assert week.value > 2 * week.baselines["random"]
    assert week.goal == 0.5
    assert "2014-01-01" in week.notes[0]
    assert len(week.parts) >= 3
    assert week.value < 0.8  # a third of those that fail show nothing
    chosen = evaluate("smart_disks", folder, Options())[0]
    assert "no --test-from was given" in chosen.notes[0]


def test_what_is_wrong_is_said(tmp_path: Path, folder: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DatasetError, match=r"holds no \.parquet or \.csv"):
        evaluate("smart_disks", empty, Options())
    with pytest.raises(DatasetError, match="lies outside the data"):
        evaluate("smart_disks", folder, Options(test_from=date(2020, 1, 1)))
    pd.DataFrame({"serial_number": ["A"]}).to_parquet(empty / "x.parquet")
    with pytest.raises(DatasetError, match="has no column model"):
        evaluate("smart_disks", empty, Options())


def test_real_disks_are_read() -> None:
    folder = Path(os.environ.get("FOREWARN_DATA", "nowhere")) / "smart_disks"
    if not folder.is_dir():
        pytest.skip("FOREWARN_DATA names no folder with smart_disks/: the real data set is not here")
    found = read(folder)
    assert found.failed.sum() > 100
    assert (found.end > found.begin).mean() > 0.99
    day = int(found.end.max()) - 60
    disk = found.running(day)[:2000]
    table, names = Features.of(found).at(disk, np.full(len(disk), day))
    assert np.isfinite(table[:, names.index("age")]).all()
