"""Who is told what and when: the decisions over simulated time, driven as the alerter drives them."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from alert_world import PLAIN, Make, World, chat, uuid_of

from forewarn.risk.records import TimeToFailure


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Make:
    return lambda text=PLAIN + "}", **more: World(text, monkeypatch, **more)


def test_each_state_is_told_once_and_the_end_to_those_who_know(world: Make) -> None:
    w = world()
    w.incident()
    assert w.run(1) == chat("opened")
    w.incident(state="firing", severity="critical", time_to_failure=None)
    assert w.run(1) == chat("failed")
    w.incident(state="resolved", severity="critical")
    assert w.run(1) == chat("resolved") and w.run(60) == []


def test_the_second_end_is_told_too_and_what_flaps_on_is_not(world: Make) -> None:
    w = world(PLAIN.replace("[chat]", "[pager]") + "}")
    told = []
    for state in ("firing", "resolved") * 3:
        w.incident(state=state, severity="critical", time_to_failure=None)
        told += [reason for _, reason, _ in w.run(1)]
        w.restart()
    assert told == ["failed", "resolved", "reopened", "resolved"]
    ids = {m.message_id for m in w.outbox.sent(uuid_of(1), "pager")}
    assert len(ids) == 4, "a receiver must not take the second end for a repetition of the first"


def test_what_is_over_before_anybody_was_told_is_not_told_and_the_audit_says_why(world: Make) -> None:
    w = world(PLAIN.replace("0s", "30s") + "}")
    w.incident()
    assert w.run(0.2) == []
    w.incident(state="withdrawn")
    assert w.run(5) == []
    assert any("drop 'opened' on chat" in line and "nobody was told" in line for line in w.said())


def test_a_route_by_severity_joins_when_it_gets_worse(world: Make) -> None:
    w = world(PLAIN + ", routes: [{match: {severity: critical}, channels: [chat, pager]}]}")
    w.incident()
    assert w.run(1) == chat("opened")
    w.incident(severity="critical")
    assert sorted(w.run(1)) == [("chat", "raised", (1,)), ("pager", "opened", (1,))]
    w.incident(severity="warning")
    w.run(1)
    w.incident(state="averted", severity="warning")
    assert ("pager", "averted", (1,)) in w.run(1), "who was woken hears the end, whatever the route is by then"


def test_info_is_told_only_where_a_route_asks_for_it(world: Make) -> None:
    w = world()
    w.incident(severity="info")
    assert w.run(1) == [] and any("severity info: stored, not sent" in line for line in w.said())
    asking = world(PLAIN + ", routes: [{match: {severity: info}, channels: [chat]}]}")
    asking.incident(severity="info")
    assert asking.run(1) == chat("opened")


def test_new_numbers_go_where_they_replace_the_old(world: Make) -> None:
    w = world(PLAIN.replace("[chat]", "[chat, pager]") + "}")
    w.incident()
    w.run(1)
    w.incident(time_to_failure=TimeToFailure(5300.0, 7100.0, 10_700.0, 0.0))
    assert w.run(1) == [], "hardly different"
    w.incident(time_to_failure=TimeToFailure(1800.0, 2400.0, 3600.0, 0.0))
    assert w.run(1) == chat("updated")
    w.incident(time_to_failure=TimeToFailure(600.0, 900.0, 1200.0, 0.0))
    assert w.run(1) == chat("updated"), "told more than once, each in its place"


def test_a_severity_that_flaps_is_raised_once_and_another_cause_wakes_nobody(world: Make) -> None:
    w = world(PLAIN.replace("[chat]", "[chat, pager]") + "}")
    w.incident()
    w.run(1)
    told = []
    for severity in ("critical", "warning", "critical", "warning"):
        w.incident(severity=severity)
        told += w.run(1)
    assert [m for m in told if m[1] == "raised"] == [("chat", "raised", (1,)), ("pager", "raised", (1,))]
    w.incident(title="shop/other: trouble", entity="shop/other")
    assert w.run(1) == chat("updated")


def test_a_group_leaves_together_and_waits_for_its_interval(world: Make) -> None:
    w = world(
        "channels: {chat: {kind: slack}}\n"
        "route: {channels: [chat], group_by: [namespace], group_wait: 30s, group_interval: 5m}"
    )
    w.incident(1)
    w.run(0.3)
    w.incident(2, "shop/api")
    w.incident(3, "billing/api")
    sent = w.run(1)
    assert ("chat", "digest", (1, 2)) in sent and ("chat", "opened", (3,)) in sent and len(sent) == 2
    w.incident(4, "shop/web")
    assert w.run(3) == [] and w.run(2) == [("chat", "opened", (4,))]


def test_what_is_silenced_is_told_afterwards_if_it_still_holds(world: Make) -> None:
    w = world()
    w.silence(30, entity="shop/*")
    w.incident()
    w.incident(2, "shop/api")
    assert w.run(29, step=30) == []
    w.incident(2, state="withdrawn")
    w.restart()
    assert w.run(3, step=30) == chat("opened")
    lines = [line for line in w.said() if line.startswith("withhold 'opened' on chat: silence")]
    assert len(lines) == 1, "one decision is one line, however often it is taken"


def test_a_silence_by_a_label_of_the_file(world: Make) -> None:
    w = world(PLAIN + "}\nlabels: [{match: {entity: shop/db}, set: {team: data}}]")
    w.silence(30, **{"label.team": "data"})
    w.incident()
    w.incident(2, "shop/api")
    assert w.run(1) == chat("opened", number=2)


def test_a_maintenance_window_holds_and_what_keeps_a_page_open_hears_the_end(world: Make) -> None:
    text = PLAIN.replace("[chat]", "[chat, pager]") + "}\nmaintenance:\n"
    text += "  - {name: deploy, match: {namespace: shop}, timezone: UTC, starts: 2026-06-02 12:10, duration: 1h,\n"
    text += "     rrule: FREQ=DAILY}"
    w = world(text)
    w.incident()
    assert len(w.run(11, step=30)) == 2
    w.incident(2, "shop/api")
    w.incident(state="resolved")
    assert w.run(30, step=30) == [("pager", "resolved", (1,))]
    assert sorted(w.run(40, step=30)) == [
        ("chat", "opened", (2,)),
        ("chat", "resolved", (1,)),
        ("pager", "opened", (2,)),
    ]


def test_a_critical_cause_inhibits_warnings_of_its_symptoms(world: Make) -> None:
    w = world()
    w.incident(1, "shop/db", severity="critical")
    w.incident(2, "shop/api", mode="latency_breach")  # calls shop/db
    w.incident(3, "other/x")
    w.incident(4, "shop/api")  # its disk is no symptom
    assert sorted(w.run(10, step=30)) == [("chat", "opened", (n,)) for n in (1, 3, 4)]
    assert any("inhibited by 'cause before symptom': shop/db" in line for line in w.said(2))
    w.incident(1, state="resolved")
    assert sorted(w.run(1)) == [("chat", "opened", (2,)), ("chat", "resolved", (1,))]


def test_a_disk_that_is_not_full_yet_inhibits_no_pool_of_its_callers(world: Make) -> None:
    w = world()
    w.incident(1, "shop/db", mode="disk_full", severity="critical")
    w.incident(2, "shop/api", mode="connection_exhaustion")
    assert sorted(w.run(2, step=30)) == [("chat", "opened", (n,)) for n in (1, 2)]
    w.incident(3, "shop/db", mode="disk_full", severity="critical", state="firing", failed_at=w.now)
    w.incident(4, "shop/worker", mode="connection_exhaustion")
    w.run(2, step=30)
    assert any("inhibited by" in line for line in w.said(4))


def test_inhibition_by_equal_labels(world: Make) -> None:
    rule = "}\ninhibit: [{source: {mode: disk_full}, target: {mode: latency_breach}, equal: [namespace]}]"
    w = world(PLAIN + rule)
    w.incident(1)
    w.incident(2, "shop/api", mode="latency_breach")
    w.incident(3, "other/x", mode="latency_breach")
    assert sorted(w.run(1)) == [("chat", "opened", (1,)), ("chat", "opened", (3,))]


def test_the_cooldown_keeps_a_flapping_signal_quiet_but_not_a_failure(world: Make) -> None:
    w = world(PLAIN + ", cooldown: 30m}")
    w.incident(1)
    w.run(1)
    w.incident(1, state="withdrawn")
    w.run(1)
    w.incident(2)
    assert w.run(10, step=30) == [] and any("cooldown" in line for line in w.said(2))
    w.incident(2, state="firing", severity="critical")
    assert w.run(1) == chat("failed", number=2)
    w.incident(2, state="resolved", severity="critical")
    w.run(1)
    w.incident(2, state="firing", severity="critical")
    assert w.run(1) == chat("reopened", number=2), "it has failed again"


def test_beyond_its_limit_a_channel_gets_digests(world: Make) -> None:
    text = "channels: {chat: {kind: slack, rate_limit: {messages: 3, per: 1h, digest_every: 5m}}}\n"
    w = world(text + "route: {channels: [chat], group_wait: 0s}")
    for number in range(1, 11):
        w.incident(number, f"n{number}/x", severity="critical" if number > 8 else "warning")
    first = w.run(4, step=30)
    assert [m[1] for m in first] == ["opened"] * 3 and {m[2][0] for m in first} >= {9, 10}, "what is worst goes first"
    w.restart()
    w.incident(11, "n11/x")
    (digest,) = w.run(3, step=30)
    assert digest[1] == "digest" and len(digest[2]) >= 7
    assert w.run(20, step=30) in ([], [("chat", "digest", (11,))])
    told = [number for _, _, numbers in w.messages for number in numbers]
    assert sorted(told) == list(range(1, 12)), "nothing is lost and nothing told twice"
    w.now += timedelta(hours=2)
    w.incident(12, "n12/x")
    assert w.run(1) == chat("opened", number=12)


HOURS = "}\nworking_hours: {timezone: Europe/Berlin, from: 09:00, until: 17:00}"
H = 3600.0


def test_what_can_wait_until_the_morning_does_and_what_gets_urgent_does_not(world: Make) -> None:
    night = datetime(2026, 6, 2, 20, 0, tzinfo=UTC)
    w = world(PLAIN + HOURS, now=night)
    w.incident(1, time_to_failure=TimeToFailure(30 * H, 40 * H, 60 * H, 0.0))
    w.incident(2, "other/x", time_to_failure=TimeToFailure(30 * H, 40 * H, 60 * H, 0.0))
    assert w.run(60, step=60) == []
    assert any("working_hours: waits until Wed 09:00" in line for line in w.said())
    w.incident(2, time_to_failure=TimeToFailure(2 * H, 3 * H, 4 * H, 0.0))
    assert w.run(1) == chat("opened", number=2)
    assert any("told now, outside working hours" in line for line in w.said(2))
    w.now = datetime(2026, 6, 3, 6, 59, tzinfo=UTC)
    assert w.run(2) == chat("opened")
    assert any("held before: waits until Wed 09:00" in line for line in w.said())


def test_a_route_that_says_immediate_does_not_wait(world: Make) -> None:
    w = world(PLAIN + ", timing: immediate" + HOURS, now=datetime(2026, 6, 2, 20, 0, tzinfo=UTC))
    w.incident(time_to_failure=TimeToFailure(30 * H, 40 * H, 60 * H, 0.0))
    assert w.run(1) == chat("opened")


def test_restarted_after_every_step_it_decides_the_same(world: Make) -> None:
    """The state is in the tables: kill it whenever you like."""
    text = PLAIN.replace("0s", "20s") + ", repeat_interval: 30m, escalate: [{after: 10m, to: [pager]}]}"

    def story(w: World, restarts: bool) -> Sequence[object]:
        for minute in range(90):
            if minute == 0:
                w.incident(1)
            if minute == 3:
                w.silence(20, entity="shop/api")
                w.incident(2, "shop/api")
            if minute == 40:
                w.incident(1, state="firing", severity="critical")
            if minute == 70:
                w.incident(1, state="resolved")
            w.run(1, step=30)
            if restarts:
                w.restart()
        return w.messages

    killed, undisturbed = story(world(text), True), story(world(text), False)
    assert sorted(map(str, killed)) == sorted(map(str, undisturbed)) and len(undisturbed) > 6
