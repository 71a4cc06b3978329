"""The watch keeps to its budget, names what is unusual, sees no future, and goes on after a restart."""

import numpy as np
import pytest

from forewarn.detection.false_alarm_budget import FalseAlarmBudget
from forewarn.features.windows import WindowStore
from forewarn.risk.anomaly_watch import LEARN_EVERY, LEARNED, AnomalyWatch
from forewarn.risk.records import AnomalyObserved, decode_observation, encode
from forewarn.telemetry.samples import SampleBatch, Series

STEP = 60.0
START = 1_700_000_100 // 900 * 900 // 60  # cell
BUDGET = FalseAlarmBudget.parse("one false page per service and week")
SIGNALS = ("http.server.request.rate", "process.memory.usage", "log.templates.new")


def usual(entities: int, steps: int, seed: int = 0) -> np.ndarray:
    """[E, 3, T]: autocorrelated load, heavy-tailed memory, and log lines that are never new."""
    from scipy.signal import lfilter

    rng = np.random.default_rng(seed)
    load = 100 + lfilter([1.0], [1.0, -0.8], rng.normal(size=(entities, steps)), axis=1)
    memory = 3e8 + 1e6 * rng.standard_t(4, (entities, steps))
    return np.stack([load, memory, np.zeros((entities, steps))], 1)


class Stream:
    """Feeds values [E, 3, T] to windows and steps the watch."""

    def __init__(self, values: np.ndarray, budget: FalseAlarmBudget = BUDGET) -> None:
        self.values, self.at = values, 0
        self.series = tuple(Series(f"shop/s{e}", name) for e in range(len(values)) for name in SIGNALS)
        self.windows = WindowStore(STEP)
        self.watch = AnomalyWatch(self.windows, STEP, budget)

    def fill(self, until: int) -> None:
        """Put the samples of the steps before `until` into the windows."""
        part = self.values[..., self.at : until].reshape(len(self.series), -1)
        index, step = np.nonzero(~np.isnan(part))
        order = np.argsort(step, kind="stable")
        times = ((START + self.at + step[order]) * STEP * 1e9).astype(np.int64)
        values = part[index, step][order]
        self.windows.put(SampleBatch(self.series, index[order].astype(np.int32), times, values))
        self.at = until

    def run(self, until: int) -> list[AnomalyObserved]:
        told = []
        while self.at < until:
            self.fill(self.at + 1)
            self.windows.close_cells(START + self.at)
            told += self.watch.step(START + self.at)
        return told


def step_of(anomaly: AnomalyObserved) -> int:
    return round(anomaly.at.timestamp() / STEP) - START


def shifted(at: int, steps: int = 500, entity: int = 2) -> np.ndarray:
    """Usual values, but the memory of one entity jumps by 20 MB for half an hour."""
    values = usual(8, steps)
    values[entity, 1, at : at + 30] += 2e7
    return values


def test_on_usual_data_the_budget_is_kept() -> None:
    budget = FalseAlarmBudget.parse("seven false pages per service and day")  # so that a short run has enough of them
    stream = Stream(usual(40, 1000), budget)
    opened = [a for a in stream.run(1000) if a.state == "open"]
    assert stream.watch.watched == 40
    allowed = budget.allowed(40 * (1000 - LEARNED) * STEP)
    assert 0 < len(opened) < 1.5 * allowed
    strict = [a for a in Stream(usual(40, 1000)).run(1000) if a.state == "open"]
    assert len(strict) <= 3 * BUDGET.allowed(40 * (1000 - LEARNED) * STEP)


def test_a_shift_is_told_once_with_its_signal_first_and_ends() -> None:
    told = Stream(shifted(420, 520)).run(520)
    opened, ended = [a for a in told if a.entity == "shop/s2"]
    assert (opened.state, ended.state, ended.since) == ("open", "ended", opened.at)
    assert 420 < step_of(opened) <= 425 < step_of(ended)
    first = opened.drivers[0]
    assert first.signal == "process.memory.usage" and first.share > 0.5
    assert first.value is not None and first.usual_high is not None and first.value > first.usual_high
    assert "process.memory.usage" in opened.text and "usual:" in opened.text
    assert decode_observation(encode(opened)) == opened


def test_a_log_template_never_seen_is_told() -> None:
    values = usual(8, 460)
    values[5, 2, 420] = 1.0
    opened = [a for a in Stream(values).run(460) if a.state == "open"]
    assert [(a.entity, a.drivers[0].signal) for a in opened] == [("shop/s5", "log.templates.new")]


def test_what_comes_later_changes_nothing_before() -> None:
    early = Stream(usual(8, 500)).run(420)
    assert Stream(shifted(420)).run(420) == early


def test_a_gap_is_no_anomaly() -> None:
    values = usual(8, 520)
    values[1, :, 400:415] = np.nan
    values[3, 0, 420:450] = np.nan
    values[1, 1, 415:] += 3e6  # what changed meanwhile is no news of one step
    assert [a for a in Stream(values).run(520) if a.entity in ("shop/s1", "shop/s3")] == []


def test_too_little_history_is_silent() -> None:
    stream = Stream(shifted(200, LEARNED * 9 // 10))
    assert stream.run(LEARNED * 9 // 10) == []
    assert stream.watch.watched == 0


@pytest.mark.parametrize("stop", [424, 430, 455])
def test_a_restart_goes_on_and_tells_nothing_twice(stop: int) -> None:
    whole = Stream(shifted(420, 540)).run(540)
    first = Stream(shifted(420, 540))
    before = first.run(stop)
    again = Stream(shifted(420, 540))
    again.fill(stop)  # the log is read again, nothing is scored
    again.watch.restore(before)
    after = again.run(540)
    assert [(a.entity, a.at, a.state, a.since) for a in before + after] == [
        (a.entity, a.at, a.state, a.since) for a in whole
    ]


def test_a_told_anomaly_makes_the_next_one_harder() -> None:
    stream = Stream(shifted(420, 520))
    stream.run(520)
    again = stream.watch._threshold("shop/s2", stream.watch._told["shop/s2"][0])
    assert again == pytest.approx(0.1 * stream.watch._threshold("shop/s0", stream.watch._told["shop/s2"][0]))


def test_channels_that_come_are_learned_with_the_entitys_next_turn() -> None:
    values = usual(4, 500 + LEARN_EVERY)
    values[0, 1, :100] = np.nan
    stream = Stream(values)
    stream.run(345)
    assert len(stream.watch._rows) == 11
    stream.run(500 + LEARN_EVERY)
    assert len(stream.watch._rows) == 12
