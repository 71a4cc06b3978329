"""Cards of responses and silences: exact, escaped, and only what can be done."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from forewarn.alerting.matching import matches
from forewarn.alerting.silences import Silence
from forewarn.config.settings import Settings
from forewarn.stores.responses import STATES, StoredResponse
from panel_app.pages.risk_extras import shown
from panel_app.pages.settings import STATE_WORDS
from panel_app.rendering import render
from panel_app.risk_actions import act, exactly

HOSTILE = "<script>x</script>'\"&"
NOW = datetime(2026, 3, 12, 14, 30, tzinfo=UTC)


def row(status: str, **more: Any) -> StoredResponse:
    plan = {"kind": "command", "argv": ["/bin/echo", HOSTILE], "env": {}, "cwd": "/", "timeout_seconds": 60.0}
    values: dict[str, Any] = dict.fromkeys(StoredResponse.__slots__, HOSTILE) | {
        "status": status, "plan": plan, "facts": {}, "automatic": False, "averts": False, "proposed_at": NOW,
        "expires_at": NOW, "decided_at": NOW, "started_at": None, "ended_at": None, "kind": "command",
    }  # fmt: skip
    return StoredResponse(**values | more)


def card(status: str, **more: Any) -> str:
    return render("risk_responses.html", responses=[shown(row(status, **more))])


@pytest.mark.parametrize("status", STATES)
def test_each_state_has_words_and_nothing_hostile_gets_through(status: str) -> None:
    html = card(status)
    assert STATE_WORDS[status] in html and "<script>" not in html and "&lt;script&gt;" in html
    assert ('data-action="approve"' in html) == (status == "proposed")
    assert ("Held" in html) == (status in ("proposed", "approved"))


def test_without_responses_there_is_no_card() -> None:
    assert render("risk_responses.html", responses=[]).strip() == ""


@pytest.mark.parametrize("name", ["shop/api", "shop/*", "!shop", "~.*", "a+b"])
def test_a_silence_of_an_entity_is_about_it_alone(name: str) -> None:
    matcher = {"entity": exactly(name)}
    assert matches(matcher, {"entity": name})
    assert not any(matches(matcher, {"entity": other}) for other in ("shop/other", "x", "", "shop/"))


def test_the_silence_card_offers_one_and_then_its_end() -> None:
    silence = Silence("s", {"entity": "x"}, NOW, NOW + timedelta(hours=1), HOSTILE, HOSTILE)
    incident = type("I", (), {"mode": "disk_full", "entity": HOSTILE})
    about: dict[str, Any] = {"incident": incident, "exact": {"entity": HOSTILE, "mode": "disk_full"}, "describe": str,
                             "durations": {"2h": "2 h"}}  # fmt: skip
    free = render("risk_silence.html", silences=[], open=True, **about)
    held = render("risk_silence.html", silences=[silence], open=True, **about)
    assert 'data-action="silence"' in free and 'data-action="end-silence"' not in free
    assert 'data-action="end-silence"' in held and 'data-action="silence"' not in held
    assert "<script>" not in free + held
    assert render("risk_silence.html", silences=[], open=False, **about).strip() == ""


def test_what_is_not_known_is_refused() -> None:
    with pytest.raises(ValueError, match="'confirm' is not known here"):
        act(Settings(), "mia", "confirm", {})
