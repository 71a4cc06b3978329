"""Warnings held against failures by hand-counted cases; scores of probabilities and intervals."""

import numpy as np
import pytest

from forewarn.evaluation.model_metrics import (
    EventMetrics,
    Told,
    best_threshold,
    brier,
    coverage,
    event_metrics,
    interval_coverage,
    known_outcome,
    log_loss,
    onsets_of,
    together,
    warnings_of,
)
from forewarn.risk.episodes import Episode, step


def test_warnings_are_those_of_the_stream() -> None:
    """The vectorised walk opens and closes where the stream's state machine does."""
    rng = np.random.default_rng(3)
    line = np.clip(np.cumsum(rng.normal(0, 0.08, 3000)) % 1.2, 0, 1)
    at = np.arange(3000)
    opened: list[tuple[int, int]] = []
    episode = Episode()
    for cell, p in enumerate(line):
        episode, said = step(episode, cell, p, 100.0, 0.6)
        if said == "open":
            opened.append((cell, 2999))
        elif said == "withdrawn":
            opened[-1] = (opened[-1][0], cell)
    assert len(opened) > 3
    assert [(w.start, w.end) for w in warnings_of(line[None], at, 0.6)] == opened


def test_while_failing_nothing_is_told() -> None:
    line = np.array([[0.9, 0.9, 0.9, np.nan, np.nan, 0.9, 0.1, 0.9, 0.9]])
    assert warnings_of(line, np.arange(9), 0.5) == [Told(0, 1, 3), Told(0, 8, 8)]


@pytest.mark.parametrize("spacing", [2, 5, 15])
def test_rows_that_are_apart_tell_what_rows_of_every_step_tell(spacing: int) -> None:
    """Probabilities that rise and fall within an hour or two; each tells by a row of its own only what lasts."""
    cells = np.arange(20_000)
    line = (0.5 + 0.45 * np.sin(cells / 97.0) * np.sin(cells / 1_013.0))[None]
    every = warnings_of(line, cells, 0.6)
    thin = warnings_of(line[:, ::spacing], cells[::spacing], 0.6)
    assert len(every) > 15
    assert len(thin) == len(every)
    assert max(abs(a.start - b.start) for a, b in zip(every, thin, strict=True)) <= spacing
    assert max(abs(a.end - b.end) for a, b in zip(every, thin, strict=True)) <= 6 + spacing


def test_onsets_begin_failures() -> None:
    failing = np.array([[1, 1, 0, 0, 1, 1, 0, 1], [0, 0, 0, 0, 0, 0, 0, 0]], bool)
    assert [o.tolist() for o in onsets_of(failing)] == [[4, 7], []]
    assert [o.tolist() for o in onsets_of(failing, 5, 8)] == [[7], []]


def test_event_metrics_by_hand() -> None:
    warnings = [
        Told(0, 100, 200),  # failure at 201: true, lead 101
        Told(0, 1000, 1010),  # nothing until 1360: false
        Told(1, 700, 1400),  # open until the failure at 1400: true, lead 700
        Told(0, 2000, 3000),  # open for 1,000 steps until the failure at 3000: says nothing
        Told(1, 1998, 2000),  # failure at 2000: true, but too late to count as predicted
        Told(1, 4900, 4990),  # its horizon ends after the last cell: not known
    ]
    m = event_metrics(warnings, [np.array([201, 3000]), np.array([1400, 2000])], last_cell=5000)
    assert (m.failures, m.predicted_failures, m.warnings, m.true_warnings) == (4, 2, 5, 3)
    assert (m.pages, m.true_pages, m.false_pages) == (4, 3, 1) and m.signal_precision == 0.6
    assert (m.incidents, m.predicted_incidents) == (4, 2)
    assert m.recall == 0.5 and m.precision == 0.75 and m.median_lead == pytest.approx((101 + 700) / 2)


def test_a_warning_that_was_acted_upon_is_neither_true_nor_false() -> None:
    warnings, onsets = [Told(0, 100, 200), Told(1, 1500, 1600)], [np.array([], int), np.array([1700])]
    alone = event_metrics(warnings, onsets, 5000)
    helped = event_metrics(warnings, onsets, 5000, acted=[np.array([150]), np.array([], int)])
    assert (alone.pages, alone.true_pages, alone.precision) == (2, 1, 0.5)
    assert (helped.pages, helped.true_pages, helped.warnings) == (1, 1, 1)


def test_an_incident_is_predicted_by_its_first_failure() -> None:
    """Signal 1 fails two steps after signal 0 and drags 2 along much later; only signal 1 was warned of, in time."""
    onsets = [np.array([500]), np.array([502]), np.array([650])]
    m = event_metrics([Told(1, 400, 502)], onsets, last_cell=2000)
    assert (m.failures, m.predicted_failures, m.incidents, m.predicted_incidents) == (3, 1, 2, 1)
    assert m.median_lead == 100 and m.signal_recall == pytest.approx(1 / 3)
    late = event_metrics([Told(1, 497, 502)], onsets, last_cell=2000)
    assert late.predicted_failures == 1 and late.predicted_incidents == 0


def test_a_page_during_an_incident_belongs_to_it() -> None:
    """Series 1 is warned of while series 0 fails, and does not fail: no page of its own; long after it is one."""
    failing = np.zeros((2, 3000), bool)
    failing[0, 500:600] = True
    warnings = [Told(0, 400, 500), Told(1, 580, 590), Told(1, 1500, 1510), Told(0, 1600, 1610)]
    m = event_metrics(warnings, [np.array([500]), np.array([], int)], 3000, failing)
    assert (m.warnings, m.true_warnings, m.pages, m.true_pages) == (4, 1, 2, 1)


def test_warning_all_the_time_is_many_pages() -> None:
    """A method that tells every series in turn cannot hide its noise behind the one that came true."""
    noise = [Told(k % 20, start, start + 10) for k, start in enumerate(range(0, 6000, 50))]
    m = event_metrics(noise, [np.array([3000]), *(np.array([], int) for _ in range(19))], 6400)
    assert m.pages == 40 and m.true_pages <= 3


def test_without_failures_recall_is_unknown() -> None:
    m = event_metrics([], [np.array([], int)], 100)
    assert np.isnan(m.recall) and np.isnan(m.precision) and m.f1 == 0


def test_threshold_separates_true_from_false_warnings() -> None:
    """Series 0 rises to 0.8 before each failure; series 1 idles at 0.4 without ever failing."""
    at = np.arange(0, 4000, 5)
    lines = np.stack([np.where((at % 1000) > 800, 0.8, 0.05), np.where((at % 500) > 450, 0.4, 0.05)])
    onsets = [np.array([1000, 2000, 3000]), np.array([], int)]
    chosen = best_threshold(lambda t: event_metrics(warnings_of(lines, at, t), onsets, 4000), 0.3)
    assert 0.4 < chosen <= 0.8
    nothing = [np.array([], int)] * 2
    assert best_threshold(lambda t: event_metrics(warnings_of(lines, at, t), nothing, 4000), 0.37) == 0.37


def rising(lead: int) -> np.ndarray:
    """A probability that passes 0.2, 0.4, 0.6 and 0.8 so many steps before each of three failures, in equal steps."""
    line = np.full(4000, 0.01)
    for onset in (1000, 2000, 3000):
        for k, p in enumerate((0.2, 0.4, 0.6, 0.8)):
            line[onset - lead + k * lead // 4 : onset] = p
        line[onset : onset + 60] = np.nan
    return line[None]


def test_threshold_leaves_time_to_act() -> None:
    """From 0.65 on all failures are told by 6 to 24 steps before: as good by F1, too late to act."""
    onsets = [np.array([1000, 2000, 3000])]
    at = np.arange(4000)

    def metrics_at(threshold: float) -> EventMetrics:
        return event_metrics(warnings_of(rising(96), at, threshold), onsets, 4000)

    assert metrics_at(0.7).f1 == metrics_at(0.3).f1 == 1.0
    assert metrics_at(0.7).early_f1 == 0.0
    assert metrics_at(0.3).early_f1 == 1.0
    assert 0.25 <= best_threshold(metrics_at, 0.1) <= 0.55


def test_threshold_is_the_middle_of_those_that_do_alike() -> None:
    quiet, busy = 0.25, 0.65  # told in vain below the one, nothing told above the other

    def metrics_at(threshold: float) -> EventMetrics:
        told, true = (4, 4) if quiet <= threshold <= busy else (8, 4)
        found = 4 if threshold <= busy else 0
        return EventMetrics(4, found, 4, found, told, true, told, true, 40.0, found)

    assert best_threshold(metrics_at, 0.1) == 0.45


def test_counts_of_stretches_add_up() -> None:
    one = event_metrics([Told(0, 100, 200)], [np.array([201])], 5000)
    none = event_metrics([Told(0, 100, 200)], [np.array([], int)], 5000)
    both = together([one, none, one])
    assert (both.failures, both.incidents, both.pages, both.true_pages) == (2, 2, 3, 2) and both.median_lead == 101


def test_probability_scores() -> None:
    outcome = np.array([True, False])
    assert brier(np.array([1.0, 0.0]), outcome) == 0
    assert brier(np.array([0.5, 0.5]), outcome) == 0.25
    assert log_loss(np.array([0.5, 0.5]), outcome) == pytest.approx(np.log(2))
    assert np.isfinite(log_loss(np.array([0.0, 1.0]), outcome))


def test_outcome_is_known_only_where_it_was_watched() -> None:
    steps, observed = np.array([10.0, np.inf, np.inf, np.nan]), np.array([50.0, 100.0, 20.0, 500.0])
    known, failed = known_outcome(steps, observed, 60)
    assert known.tolist() == [True, True, False, False] and failed.tolist() == [True, False, False, False]


def test_interval_coverage_by_distance() -> None:
    quantiles = np.array([[5, 10, 20.0], [5, 10, 20.0], [30, 50, 60.0]])
    said = interval_coverage(quantiles, np.array([10.0, 200.0, 50.0]), (15, 60, 1440))
    assert said == {"1-15": 1.0, "16-60": 1.0, "61-1440": 0.0, "all": pytest.approx(2 / 3)}
    assert np.isnan(coverage(np.array([1.0]), np.array([2.0]), np.array([np.nan])))
