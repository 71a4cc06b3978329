"""What people said of risks, from the ledger's tables to labels."""

import uuid
from datetime import UTC, datetime, timedelta

import numpy as np
import psycopg

from forewarn.telemetry.samples import Series
from monitor_assets.features.told_episodes import ToldEpisode, action_curve, judgements, next_told, read_told
from monitor_assets.history import SignalWindows

START = datetime(2026, 3, 2, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def windows() -> SignalWindows:
    """Five limited signals over a day, a minute a cell."""
    series = [Series(f"web/s{k}", "memory") for k in range(5)]
    cells = np.zeros((5, 1440), np.float32)
    return SignalWindows(series, cells, np.ones_like(cells), int(START.timestamp()) * 10**9, 60.0)


def told(connection: psycopg.Connection, k: int, at: int, state: str = "open", episode: str = "", p50: int = 60) -> str:
    """A risk of signal k at cell `at`, that speaks of the six hours after; its episode."""
    episode, risk = episode or str(uuid.uuid4()), str(uuid.uuid4())
    time = START + at * MINUTE
    connection.execute(
        "insert into risks (risk_id, episode, revision, state, entity, signal, mode, predicted_at, expires_at,"
        " probability, p50_seconds, model_version, payload)"
        " values (%s,%s,(select count(*) from risks where episode = %s),%s,%s,'memory','leak',%s,%s,0.8,%s,'m','{}')",
        (risk, episode, episode, state, f"web/s{k}", time, time + timedelta(hours=6), p50 * 60.0),
    )
    return episode


def resolved(connection: psycopg.Connection, episode: str, outcome: str, at: int) -> None:
    """Every prediction of the episode that has no outcome gets this one."""
    connection.execute(
        "insert into outcomes (risk_id, episode, outcome, resolved_at, failed_at)"
        " select risk_id, episode, %s, %s, %s from risks r where episode = %s"
        " and not exists (select from outcomes o where o.risk_id = r.risk_id)",
        (outcome, START + at * MINUTE, START + at * MINUTE if outcome == "hit" else None, episode),
    )


def test_episodes_and_verdicts_come_from_the_ledger(postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as connection:
        acted = told(connection, 0, 100)
        told(connection, 0, 130, "update", acted)
        resolved(connection, acted, "averted", 150)
        resolved(connection, told(connection, 1, 200), "dismissed", 210)
        resolved(connection, told(connection, 2, 300), "hit", 333)
        taken_back = told(connection, 3, 400)
        told(connection, 3, 440, "withdrawn", taken_back)
        confirmed = told(connection, 4, 500, p50=90)
        incident = str(uuid.uuid4())
        connection.execute("insert into incident_episodes values (%s, %s)", (confirmed, incident))
        connection.execute(
            "insert into feedback (feedback_id, incident_id, verdict, author) values (%s, %s, 'confirmed', 'ann')",
            (str(uuid.uuid4()), incident),
        )
        told(connection, 9, 100)  # of no series of the windows
    episodes = read_told(postgres_url, "web", windows())
    assert episodes == [
        ToldEpisode(0, 100, 150, "averted", 150),
        ToldEpisode(1, 200, 560, "dismissed", 560),
        ToldEpisode(2, 300, 333, "", -1),
        ToldEpisode(3, 400, 440, "", -1),
        ToldEpisode(4, 500, 860, "confirmed", 590),
    ]
    assert [j.verdict for j in judgements(episodes)] == ["averted", "dismissed", "confirmed"]
    assert read_told(postgres_url, "", windows()) == []


def test_how_soon_people_act_is_known_up_to_a_cell_and_no_later() -> None:
    episodes = [
        ToldEpisode(0, 0, 50, "averted", 50),
        ToldEpisode(1, 0, 80, "", -1),
        ToldEpisode(2, 500, 510, "averted", 510),
    ]
    assert action_curve(episodes, 40).at(np.array([100.0]))[0] == 1.0  # nobody had acted by then
    assert action_curve(episodes, 100).at(np.array([60.0]))[0] == 0.5
    assert action_curve(episodes, 1000).at(np.array([20.0]))[0].round(9) == round(2 / 3, 9)


def test_each_row_knows_the_warning_that_falls_into_what_was_watched_of_it() -> None:
    episodes = [ToldEpisode(0, 100, 150, "averted", 150), ToldEpisode(0, 300, 320, "", -1)]
    row, cell = np.array([0, 0, 0, 0, 1]), np.array([40, 120, 200, 330, 120])
    warned, closed = next_told(episodes, row, cell, np.array([110.0, 30, 90, 999, 999]))
    assert warned.tolist() == [60, -20, np.inf, np.inf, np.inf]  # 200 was watched for 90 cells, not to the next warning
    assert closed.tolist() == [110, 30, np.inf, np.inf, np.inf]
