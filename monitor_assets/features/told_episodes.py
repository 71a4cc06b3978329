"""What was told of each limited series, and what people said of it: from the ledger to cells of the windows."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

import numpy as np
import psycopg
from numpy.typing import NDArray

from forewarn.classification.censoring import ActionCurve
from forewarn.features.labels import Judgement
from monitor_assets.history import History, SignalWindows

NAME = "told_episodes"
_EPISODES = """
select r.entity, r.signal, min(r.predicted_at), max(r.expires_at), min(o.failed_at),
    min(o.resolved_at) filter (where o.outcome = 'averted'),
    bool_or(o.outcome = 'dismissed'),
    max(r.predicted_at) filter (where r.state = 'withdrawn'),
    (array_agg(r.predicted_at + make_interval(secs => r.p50_seconds) order by r.revision desc)
        filter (where r.state <> 'withdrawn'))[1],
    exists (select from feedback f left join incident_episodes i using (incident_id)
        where f.verdict = 'confirmed' and (f.episode = r.episode or i.episode = r.episode))
from risks r left join outcomes o using (risk_id)
where case when %(ns)s = '' then strpos(r.entity, '/') = 0 else starts_with(r.entity, %(ns)s || '/') end
group by r.entity, r.signal, r.episode order by 3
"""


@dataclass(frozen=True, slots=True)
class ToldEpisode:
    """An episode of risks about limited series `row`: told at cell `told`, over at cell `closed`.

    verdict: '' where nobody said anything. until: see Judgement.
    """

    row: int
    told: int
    closed: int
    verdict: str
    until: int

    @property
    def acted(self) -> bool:
        """Whether someone acted on it."""
        return self.verdict == "averted"


def read_told(postgres_url: str, namespace: str, windows: SignalWindows) -> list[ToldEpisode]:
    """Episodes of the namespace about series that the windows hold, oldest first. Raises psycopg.Error."""
    position = {windows.series[i].id: k for k, i in enumerate(windows.limited)}
    with psycopg.connect(postgres_url) as connection:
        rows = connection.execute(_EPISODES, {"ns": namespace}).fetchall()

    def cell(time: datetime) -> int:
        return int((time.timestamp() * 1e9 - windows.start_ns) // windows.step_ns)

    found = []
    for entity, signal, told, expires, failed, acted, dismissed, withdrawn, foretold, confirmed in rows:
        row = position.get(f"{entity}|{signal}")
        if row is None:
            continue
        over = min(time for time in (acted, failed, withdrawn, expires) if time is not None)
        verdict, until = _verdict(acted, bool(dismissed), confirmed, expires, foretold)
        # a median beyond the prediction's end is no time at which anything was foretold
        closed = max(cell(over), cell(told))
        found.append(ToldEpisode(row, cell(told), closed, verdict, cell(until) if verdict else -1))
    return found


def _verdict(
    acted: datetime | None, dismissed: bool, confirmed: bool, expires: datetime, foretold: datetime | None
) -> tuple[str, datetime]:
    if acted is not None:
        return "averted", acted
    if dismissed:
        return "dismissed", expires
    if confirmed and foretold is not None and foretold <= expires + timedelta(seconds=1):
        return "confirmed", foretold
    return "", expires


def keep(history: History, episodes: Sequence[ToldEpisode]) -> None:
    """Write them beside the labels."""
    history.write_json(NAME, [asdict(one) for one in episodes])


def kept(history: History) -> list[ToldEpisode]:
    """What `keep` wrote."""
    return [ToldEpisode(**one) for one in history.read_json(NAME)]


def judgements(episodes: Sequence[ToldEpisode]) -> list[Judgement]:
    """What people said."""
    return [Judgement(one.row, one.verdict, one.told, one.until) for one in episodes if one.verdict]


def acted_cells(episodes: Sequence[ToldEpisode], rows: int) -> tuple[NDArray[np.int64], ...]:
    """For each of so many series the cells at which someone acted."""
    cells = [[one.until for one in episodes if one.acted and one.row == row] for row in range(rows)]
    return tuple(np.array(sorted(own), np.int64) for own in cells)


def action_curve(episodes: Sequence[ToldEpisode], stop: int) -> ActionCurve:
    """How soon people act, as known at cell `stop`."""
    known = [one for one in episodes if one.told < stop]
    steps = np.array([min(one.closed, stop) - one.told for one in known], np.float64)
    acted = np.array([one.acted and one.until <= stop for one in known], bool)
    return ActionCurve.fit(steps, acted)


def next_told(
    episodes: Sequence[ToldEpisode], row: NDArray[np.int64], cell: NDArray[np.int64], observed: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(warned, closed) of `ActionCurve.inverse` for rows at `cell` [n] of series `row` [n] watched `observed` [n]."""
    warned, closed = np.full(len(row), np.inf), np.full(len(row), np.inf)
    for series in {one.row for one in episodes}:
        own = sorted((one for one in episodes if one.row == series), key=lambda one: one.closed)
        ends = np.array([one.closed for one in own])
        rows = np.flatnonzero(row == series)
        place = np.searchsorted(ends, cell[rows], side="right")
        rows, place = rows[place < len(own)], place[place < len(own)]
        told = np.array([one.told for one in own])[place] - cell[rows]
        inside = told < observed[rows]
        warned[rows[inside]] = told[inside]
        closed[rows[inside]] = ends[place[inside]] - cell[rows[inside]]
    return warned, closed
