"""The time left runs from the cause's prediction to now, whatever happened to the incident in between."""

from dataclasses import replace
from datetime import timedelta

import msgspec
import pytest
from incident_records import ERRORS, POOL, SHOP_EDGES, at, risk

from forewarn.alerting.channel import Notification
from forewarn.alerting.plans import summary_told
from forewarn.alerting.policy_file import parse_policy
from forewarn.alerting.responses.plan import values_of
from forewarn.alerting.situation import Situation
from forewarn.alerting.wording import countdown, sentence, told_line
from forewarn.incidents.assembly import assemble, merged
from forewarn.incidents.episodes import Episode
from forewarn.incidents.graph import ServiceGraph
from forewarn.incidents.records import Incident, decode_incident, encode_incident

GRAPH, WINDOW = ServiceGraph(SHOP_EDGES), timedelta(minutes=30)
H = 3600.0
JOINED = 230.0  # minutes after the prediction


def episode(minutes: float, entity: str = "shop/db", signal: str = POOL) -> Episode:
    r = risk(minutes, entity, signal, left_hours=8, horizon_hours=24)
    return Episode(r.episode, entity, signal, r.mode, at(minutes), r, r, limit=r.limit)


@pytest.fixture
def incident() -> Incident:
    """Predicted at T0 with 8 h left; a symptom has joined 230 min later."""
    first, _ = assemble("i1", None, [episode(0)], GRAPH, at(0), WINDOW, lambda _: "")
    both = [episode(0), episode(JOINED, "shop/api", ERRORS)]
    joined, _ = assemble("i1", first, both, GRAPH, at(JOINED), WINDOW, lambda _: "")
    return joined


def notification(of: Incident, minutes: float | None) -> Notification:
    clock = None if minutes is None else at(minutes)
    return Notification("m1", (), "opened", of, of.title, episode(0), (), "http://x", clock=clock)


def test_a_member_that_joins_does_not_move_what_the_cause_said(incident: Incident) -> None:
    assert (incident.updated_at, incident.predicted_at, incident.entity) == (at(JOINED), at(0), "shop/db")
    situation = Situation(
        at(235), parse_policy("channels: {chat: {kind: slack}}\nroute: {channels: [chat]}"), clocks={"shop": at(235)}
    )
    assert situation.elapsed_seconds(incident) == 235 * 60
    told = summary_told(incident)
    assert told["at"] == at(0).timestamp() and told["left_seconds"] == 8 * H


def test_a_severity_is_of_the_time_that_is_left() -> None:
    def level(minutes: float) -> str:
        return assemble("i1", None, [episode(0)], GRAPH, at(minutes), WINDOW, lambda _: "")[0].severity

    assert (level(0), level(450)) == ("warning", "critical")


@pytest.mark.parametrize(
    ("minutes", "large", "small"),
    [
        (None, "8 h", "80 %: 5.3–13 h · 12 %: never"),
        (-5, "8 h", "80 %: 5.3–13 h · 12 %: never"),
        (240, "4 h", "80 %: 1.3–8.6 h · 12 %: never"),
        (500, "<1 min", "80 %: 0–4.2 h · 12 %: never"),
        (1000, "<1 min", "past the 80 % interval · 12 %: never"),
    ],
)
def test_a_message_counts_down_until_it_is_sent(
    incident: Incident, minutes: float | None, large: str, small: str
) -> None:
    told = notification(incident, minutes)
    assert countdown(told) == (large, small)
    assert told_line(told).endswith(f"{large} left")


def test_an_old_prediction_says_when_it_was_made(incident: Incident) -> None:
    assert sentence(notification(incident, 1)) == incident.summary
    assert sentence(notification(incident, 240)) == f"Predicted 2026-03-02 12:00 UTC: {incident.summary}"
    failed = replace(incident, state="firing", time_to_failure=None, predicted_at=None)
    assert sentence(notification(failed, 240)) == failed.summary


def test_a_response_is_given_the_seconds_that_are_left(incident: Incident) -> None:
    values = [values_of(incident, {}, 0.9, "", "", clock)["seconds_left"] for clock in (None, at(240), at(1000))]
    assert values == ["28800", "14400", "0"]


def test_an_incident_of_before_counts_from_its_last_change(incident: Incident) -> None:
    payload = msgspec.json.decode(encode_incident(incident))
    del payload["predicted_at"]
    old = decode_incident(msgspec.json.encode(payload))
    assert old.predicted_at is None and old.elapsed_seconds(at(JOINED + 1)) == 60
    assert decode_incident(encode_incident(incident)) == incident


def test_what_is_over_has_no_prediction(incident: Incident) -> None:
    ended = merged(incident, replace(incident, incident_id="i2"), at(300), "they are one")
    assert ended.predicted_at is None and ended.time_left(at(300)) is None
