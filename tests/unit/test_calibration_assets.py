"""The calibration report: what it counts, and that it says where there is nothing to count."""

from pathlib import Path

import numpy as np
import pytest

from forewarn.evaluation.backtest import Stretch
from forewarn.evaluation.split import Part
from forewarn.features.definitions import HORIZON_STEPS
from forewarn.risk.scorer import Scores
from monitor_assets.evaluation.calibration_page import write_page
from monitor_assets.evaluation.calibration_report import Calibration, Told, calibration_of


def honest(n: int = 4000) -> tuple[Scores, Stretch, np.ndarray]:
    """Rows of two series; P(failure within 360 steps) comes about as often as it says."""
    rng = np.random.default_rng(2)
    p = rng.random(n)
    failed = rng.random(n) < p
    steps = np.where(failed, 100.0, np.inf)
    survival = np.repeat((1 - p)[:, None], len(HORIZON_STEPS), axis=1)
    scores = Scores(survival, np.tile([50.0, 100.0, np.nan], (n, 1)))
    scores.quantiles[:, 2] = np.where(np.arange(n) % 5, 200.0, 60.0)  # four of five intervals hold 100
    row = np.arange(n) % 2
    stretch = Stretch(Part(0, n), np.zeros((n, 1)), row, np.arange(n), steps, np.full(n, 9e3), np.zeros((2, n), bool))
    return scores, stretch, np.array(["leak", "disk_full"])


def said(scores: Scores, stretch: Stretch, modes: np.ndarray, told: list[Told]) -> Calibration:
    """The calibration of a scorer that tells from 0.5 on."""
    return calibration_of(scores, 0.5, stretch, modes, told)


def test_error_and_coverage_by_mode_are_those_of_the_rows() -> None:
    found = said(*honest(), told=[])
    assert found.error < 0.03 and found.coverage == pytest.approx(0.8, abs=0.02)
    assert {m.mode: m.count for m in found.modes} == {"leak": 2000, "disk_full": 2000}
    assert found.ledger == [] and found.ledger_modes == []


def test_the_ledger_is_counted_beside_and_the_page_shows_both(tmp_path: Path) -> None:
    told = [
        ("leak", 0.8, True, True),
        ("leak", 0.8, True, False),
        ("leak", 0.7, False, None),
        ("<b>", 0.3, False, None),
    ]
    found = said(*honest(), told=told)
    (leak,) = (m for m in found.ledger_modes if m.mode == "leak")
    assert (leak.count, leak.coverage) == (3, 0.5) and leak.came == pytest.approx(2 / 3)
    write_page(tmp_path / "page.html", "web", found)
    page = (tmp_path / "page.html").read_text()
    assert page.count("data:image/png") == len(HORIZON_STEPS) + 1 and "&lt;b&gt;" in page and "<b>" not in page


def test_an_empty_stretch_is_no_error(tmp_path: Path) -> None:
    scores, stretch, modes = honest(4)
    stretch.observed[:] = 0.0
    stretch.steps[:] = np.inf
    found = said(scores, stretch, modes, told=[])
    assert isinstance(found, Calibration) and np.isnan(found.error) and np.isnan(found.coverage)
    write_page(tmp_path / "page.html", "", found)
    assert "No prediction of this namespace has been resolved yet" in (tmp_path / "page.html").read_text()
