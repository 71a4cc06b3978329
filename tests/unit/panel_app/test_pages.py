"""Frames of the pages: numbers in the right place, nothing unescaped, nothing invented where data is missing."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from dashboard_state import NOW, risk

from forewarn.evaluation.ledger import TrackRecord
from forewarn.risk.records import TimeToFailure
from forewarn.stores.views.data import ServiceStatus
from forewarn.stores.views.models import ModelVersion
from forewarn.stores.views.risk import Revision, RiskView
from panel_app.pages import data, models
from panel_app.pages import risk as risk_page
from panel_app.rendering import render
from panel_app.web import below


def view(**changes: object) -> RiskView:
    prediction = risk("connection_exhaustion", NOW, 2.0)
    ttf = prediction.time_to_failure
    revision = Revision(
        1,
        "open",
        NOW,
        0.88,
        ttf.p10,
        ttf.p50,
        ttf.p90,
        "m",
        *([None] * 3),
        None,
        None,  # type: ignore[arg-type]
    )
    held = {
        "risk": prediction, "incident": None, "clock": NOW + timedelta(hours=1), "revisions": (revision,),
        "symptoms": (), "failed_at": None, "recovered_at": None, "times": (), "values": (),
        "track": TrackRecord(None), "answers": (),
    }  # fmt: skip
    return RiskView(**(held | changes))  # type: ignore[arg-type]


def test_the_countdown_runs_on_the_event_clock() -> None:
    left = risk_page.left(view())
    assert left == {"p10": pytest.approx(0.3 * 3600), "p50": pytest.approx(3600), "p90": pytest.approx(2.1 * 3600)}
    assert risk_page.left(view(clock=NOW + timedelta(hours=9)))["p50"] == 0.0


def test_unknown_quantiles_are_left_out_of_the_charts() -> None:
    revision = Revision(1, "open", NOW, 0.3, 600.0, None, None, "m", None, None, None, None, None)
    columns = risk_page.columns(view(revisions=(revision,)))
    assert columns["quantiles"]["y"] == [0.1]
    assert columns["chance"]["y"] == [0.0, 0.1, 0.3]
    assert columns["moves"]["x"] == []


def test_the_sentence_says_what_when_and_why() -> None:
    prediction = risk("connection_exhaustion", NOW, 2.1)
    said = risk_page.sentence(prediction)
    assert said.startswith("shop/api: connection pool reaches its limit of 100 in 2.1 h (80 %: 1.4–3.3 h; 12 %: never)")
    assert "driven by request rate of shop/gateway +38 %/h" in said
    unsure = risk("connection_exhaustion", NOW, 2.1, time_to_failure=TimeToFailure(None, None, None, 0.8))
    assert "in 2.1 h" not in risk_page.sentence(unsure)


def test_a_waterfall_never_leaves_its_frame() -> None:
    prediction = risk("connection_exhaustion", NOW, 2.0)
    heavy = [d for d in prediction.drivers for _ in range(3)]
    bars = risk_page.waterfall(risk("connection_exhaustion", NOW, 2.0, drivers=heavy))
    assert all(b["start"] >= 0 and b["start"] + b["width"] <= 100.1 for b in bars)


def test_rates_are_growth_per_second_and_survive_a_restart() -> None:
    rates = data.Rates()
    at = datetime(2026, 1, 1, tzinfo=UTC)

    def status(seconds: int, total: float) -> ServiceStatus:
        seen = at + timedelta(seconds=seconds)
        return ServiceStatus("gateway", "1", 1, at, seen, 0.0, {"samples_total": total, "lag_messages": 3})

    assert rates.of(status(0, 100)) == {}
    assert rates.of(status(2, 300)) == {"samples_total": 100.0}
    assert rates.of(status(2, 300)) == {"samples_total": 100.0}
    assert rates.of(status(4, 10)) == {}
    assert rates.of(status(6, 30)) == {"samples_total": 10.0}


def test_metrics_of_any_shape_are_shown_or_left_out() -> None:
    metrics = {"brier": {"value": 0.04, "baselines": {"base rate": 0.06}}, "auc": 0.9, "note": {"value": "n/a"}}
    version = ModelVersion("v", "champion", "f", NOW, NOW, NOW, metrics, "", NOW)
    shown = {m["title"]: [b["text"] for b in m["bars"]] for m in models.metrics(version)}
    assert shown == {"auc": ["0.9"], "brier": ["0.04", "0.06"], "note": []}
    assert models.metric_value(version, "note") == "–"


def test_templates_escape() -> None:
    html = render("status.html", problem="<script>x</script>", known_at=None)
    assert "<script>" not in html and "&lt;script&gt;" in html


def test_reports_are_files_below_home(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "reports").mkdir(parents=True)
    for path in (home / "reports/a.html", tmp_path / "b.html", home / "secret.txt"):
        path.write_text("x")
    (home / "link.html").symlink_to(tmp_path / "b.html")
    assert below(home, "reports/a.html") == (home / "reports/a.html").resolve()
    for outside in ("../b.html", "/etc/passwd", "secret.txt", "link.html", "reports", "reports/none.html"):
        assert below(home, outside) is None
