"""Timeline, settings and models: filters of an address, forms, figures; nothing of a reader is believed."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from forewarn.config.settings import Settings
from forewarn.detection.false_alarm_budget import FalseAlarmBudget
from forewarn.stores.views.model_life import AlarmLook, HealthPoint, SmokeResult
from forewarn.stores.views.timeline import KINDS, Happening, TimelineView
from panel_app.alerting_file import alerting_file
from panel_app.pages import model_charts, models, timeline
from panel_app.settings_actions import act, silence_of

NOW = datetime(2026, 3, 12, 14, 30, tzinfo=UTC)
EPISODE = "11111111-1111-1111-1111-111111111111"


def happening(kind: str, entity: str, hours: float, until: float | None = None, **more: object) -> Happening:
    ends = NOW - timedelta(hours=until) if until is not None else None
    values = {"text": "t", "state": "", "incident_id": None, "episode": None} | more
    return Happening(kind, entity, NOW - timedelta(hours=hours), ends, **values)  # type: ignore[arg-type]


def test_filters_are_read_from_the_address_and_checked() -> None:
    query = {
        "namespace": [b"shop"],
        "kind": [b"failure", b"nonsense"],
        "span": [b"1d"],
        "until": [b"2026-03-01T00:00Z"],
    }
    found = timeline.choices(query)
    assert found == {"namespace": "shop", "kinds": "failure", "span": "1d", "until": "2026-03-01T00:00:00+00:00"}
    wanted = timeline.wanted_of(found)
    assert (wanted.kinds, wanted.span) == (("failure",), timedelta(days=1))
    bad = {"entity": [b"x" * 400], "kind": [b"a"], "span": [b"9y"], "until": [b"soon"], "namespace": [b"\0 "]}
    assert timeline.choices(bad) == {}
    assert timeline.wanted_of({}).kinds == KINDS
    far = timeline.choices({"until": [b"0001-01-01T00:00+23:00"]})
    assert far == {}


def test_marks_stay_in_the_picture_and_link_to_their_risk() -> None:
    happenings = (
        happening("failure", "shop/api", 1.0),
        happening("failure", "shop/api", 400.0, 167.0),
        happening("prediction", "shop/db", 3.0, -2.0, episode=EPISODE),
        happening("incident", "shop/db", 2.0, incident_id=EPISODE, state="predicted"),
    )
    start = NOW - timedelta(days=7)
    view = TimelineView(start, NOW, happenings, 4, (), ())
    data = timeline.columns(view, timeline.shown_entities(happenings))
    edges = (start.timestamp() * 1000, NOW.timestamp() * 1000)
    for kind in KINDS:
        assert all(edges[0] <= x <= end <= edges[1] for x, end in zip(data[kind]["x"], data[kind]["end"], strict=True))
    assert data["failure"]["end"][0] == edges[1]  # it lasts
    assert data["prediction"]["url"] == [f"risk?episode={EPISODE}"]
    assert data["incident"]["url"] == [f"risk?incident={EPISODE}"]
    assert data["failure"]["url"] == ["", ""]


def test_a_silence_is_what_the_form_says_and_never_of_everything() -> None:
    form = {"entity": " shop/* ", "others": "label.team=checkout", "duration": "2h", "reason": "work"}
    silence = silence_of("mia", form, NOW)
    assert dict(silence.matcher) == {"entity": "shop/*", "label.team": "checkout"}
    assert silence.ends_at - silence.starts_at == timedelta(hours=2)
    for change in ({"entity": "", "others": ""}, {"others": "nonsense"}, {"others": "colour=red"}, {"reason": " "},
                   {"duration": "0s"}, {"duration": "400d"}, {"duration": "soon"}, {"entity": "~("}):  # fmt: skip
        with pytest.raises(ValueError):
            silence_of("mia", form | change, NOW)


def test_a_test_goes_to_a_known_channel_that_is_usable(tmp_path: Path) -> None:
    file = tmp_path / "alerting.yaml"
    file.write_text("channels: {mail: {kind: email}}\nroute: {channels: [mail]}\n")
    settings = Settings(_env_file=None, alerting=file, home=tmp_path)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="no channel 'slack'"):
        act(settings, "mia", "test", {"channel": "slack"})
    with pytest.raises(ValueError, match="FOREWARN_SMTP_HOST"):
        act(settings, "mia", "test", {"channel": "mail"})
    with pytest.raises(ValueError, match="just now"):
        act(settings, "mia", "test", {"channel": "mail"})
    shown = alerting_file(settings)
    assert [c.name for c in shown.channels] == ["mail"] and "FOREWARN_SMTP_HOST" in shown.channels[0].problem
    file.write_text("channels: {}\n")
    assert "alerting.yaml:1" in alerting_file(settings).problem


def test_false_pages_and_what_was_allowed_are_added_up() -> None:
    week = 7 * 86_400.0
    looks = [AlarmLook(NOW + timedelta(hours=k), 0.0, k, week, 1, "") for k in range(3)]
    columns = model_charts.budget_columns(looks, FalseAlarmBudget.parse("one false page per service and week"))
    assert columns["false"] == [0, 1, 3]
    assert columns["allowed"] == pytest.approx([1.0, 2.0, 3.0])
    assert models.budget_of("none") is None


def test_health_is_summed_by_role_and_errors_are_marked() -> None:
    points = (
        HealthPoint("champion", NOW, 100, 80, 8, 1, 0, 0, 0.05, ""),
        HealthPoint("champion", NOW + timedelta(minutes=1), 100, 0, 0, 0, 3, 0, None, "ValueError: x"),
    )
    found = models.health(points, "champion")
    assert found is not None and (found["rows"], found["errors"], found["slowest"]) == (200, 3, 0.05)
    assert found["last_error"] == "ValueError: x"
    assert models.health(points, "shadow") is None
    columns = model_charts.health_columns(points)
    assert columns["alerts_champion"]["y"][0] == pytest.approx(0.1)
    assert (columns["errors"]["n"], columns["errors"]["y"]) == ([3], [0.0])


def test_the_service_that_is_seen_least_comes_first() -> None:
    results = tuple(
        SmokeResult(NOW, "m", entity, "leak", 10, seen, None, None) for entity, seen in (("a", 9), ("b", 2))
    )
    assert list(models.smoke(results)) == ["b", "a"]
