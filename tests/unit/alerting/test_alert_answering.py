"""What an answer ends, for how long, and what happens where nobody gives one: repetition and escalation."""

import pytest
from alert_world import PLAIN, Make, World, chat


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Make:
    return lambda text=PLAIN + "}", **more: World(text, monkeypatch, **more)


def test_it_is_repeated_until_somebody_answers(world: Make) -> None:
    w = world(PLAIN + ", repeat_interval: 1h}")
    w.incident()
    assert w.run(125, step=60) == chat("opened", "repeated", "repeated")
    w.answer()
    assert w.run(180, step=60) == chat("acknowledged")


def test_it_escalates_when_nobody_answers(world: Make) -> None:
    text = PLAIN + ", escalate: [{after: 15m, to: [pager]}]}"
    w = world(text)
    w.incident()
    assert w.run(14, step=30) == chat("opened")
    w.restart()
    assert w.run(2, step=30) == [("pager", "opened", (1,))]
    assert any("nobody has answered for 15 min" in line for line in w.said())
    answered = world(text)
    answered.incident()
    answered.run(5, step=30)
    answered.answer()
    assert answered.run(60, step=30) == chat("acknowledged")


REPEATED = PLAIN.replace("[chat]", "[chat, mail]").replace("{chat:", "{mail: {kind: email}, chat:")
REPEATED += ", repeat_interval: 30m, escalate: [{after: 15m, to: [pager]}]}"


@pytest.mark.parametrize("verdict", ["dismissed", "acknowledged"])
@pytest.mark.parametrize("ends", [True, False])
def test_an_answer_to_a_prediction_does_not_answer_for_its_failure(world: Make, verdict: str, ends: bool) -> None:
    w = world(REPEATED)
    w.incident()
    w.run(40, step=60)
    w.answer(verdict)
    w.run(40, step=60)
    if ends:
        w.incident(state="withdrawn")
        w.run(40, step=60)
    w.messages.clear()
    w.incident(state="firing", severity="critical")
    assert sorted(w.run(14, step=60)) == [(c, "failed", (1,)) for c in ("chat", "mail", "pager")]
    assert {m[1] for m in w.run(20, step=60)} == {"repeated"}
    w.answer()
    assert sorted(w.run(60, step=60)) == [(c, "acknowledged", (1,)) for c in ("chat", "pager")]


def test_an_escalation_counts_from_what_is_not_answered(world: Make) -> None:
    w = world(PLAIN + ", escalate: [{after: 15m, to: [pager]}]}")
    w.incident()
    w.run(5, step=60)
    w.answer()
    w.run(60, step=60)
    w.incident(state="firing", severity="critical")
    assert w.run(14, step=60) == chat("failed")
    assert w.run(2, step=60) == [("pager", "failed", (1,))]


def test_a_failure_before_any_answer_does_not_put_the_escalation_off(world: Make) -> None:
    w = world(PLAIN + ", escalate: [{after: 15m, to: [pager]}]}")
    w.incident()
    w.run(10, step=60)
    w.incident(state="firing", severity="critical")
    assert w.run(6, step=60) == [*chat("failed"), ("pager", "failed", (1,))]


def test_a_channel_that_joins_later_makes_no_answer_old(world: Make) -> None:
    w = world(PLAIN + ", repeat_interval: 30m, routes: [{match: {severity: critical}, channels: [chat, pager]}]}")
    w.incident()
    w.run(5, step=60)
    w.answer()
    w.run(5, step=60)
    w.incident(severity="critical")
    assert {m[1] for m in w.run(90, step=60)} == {"raised", "opened", "acknowledged"}
