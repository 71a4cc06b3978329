"""The ledger in PostgreSQL: predictions, what really happened, and what became of each prediction."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol

import msgspec
import psycopg
from psycopg.rows import class_row, dict_row

from forewarn.evaluation.ledger import EpisodeResult, Outcome, Prediction, TrackRecord, track_record
from forewarn.incidents.episodes import Episode
from forewarn.risk.records import Abstained, AnomalyObserved, FailureObserved, Risk, decode_risk, encode
from forewarn.stores import ledger_statements as statements


class LedgerStore(Protocol):
    """What a ledger can do. Times are event times; it runs in its caller's transaction."""

    def add_risk(self, risk: Risk) -> bool:
        """Append a risk; False where it is there already."""

    def resolve(self, outcomes: Sequence[Outcome]) -> int:
        """Append outcomes of predictions that have none yet; how many were new."""

    def predictions_about(self, entity: str, signal: str, at: datetime) -> list[Prediction]:
        """All predictions of the signal's episodes that spoke of `at`, oldest first."""

    def unresolved(self, episodes: Sequence[str]) -> list[Prediction]:
        """Predictions of these episodes that have no outcome yet."""

    def overdue(self, namespace: str, since: datetime | None, until: datetime) -> list[Prediction]:
        """Unresolved predictions of a namespace with since <= expires_at < until."""

    def add_failure(self, failure: FailureObserved, episode: str, predicted: bool) -> bool:
        """Note a failure; False where it is there already."""

    def claim_failure(self, entity: str, signal: str, failed_at: datetime, episode: str) -> str | None:
        """A failure that was taken for a miss was predicted by this episode: the episode that it had meanwhile."""

    def failure_times(self, entity: str, signal: str, since: datetime, until: datetime) -> list[datetime]:
        """When the signal failed in a span of time, both ends included."""

    def relapse_of(self, entity: str, signal: str, since: datetime, at: datetime) -> tuple[str, bool] | None:
        """Episode of a failure of the signal that was going on or ended in [since, at], and if it was predicted."""

    def recover(self, entity: str, signal: str, at: datetime) -> list[str]:
        """The signal is below its limit again: episodes whose failures have ended."""

    def set_watermark(self, namespace: str, at: datetime) -> None:
        """Move a namespace's event clock; it never goes back."""

    def watermarks(self) -> dict[str, datetime]:
        """Event clock of each namespace."""

    def abstain(self, abstained: Abstained) -> None:
        """Keep the latest reason why nothing is said about a signal, and when reasons of other kinds began."""

    def note_anomaly(self, anomaly: AnomalyObserved) -> None:
        """Keep that an anomaly opened, or that it ended."""

    def episodes(self, ids: Sequence[str]) -> list[Episode]:
        """What is known of these episodes, in this order; unknown ones are left out."""

    def outcomes_since(self, at: datetime, namespace: str | None = None) -> list[Outcome]:
        """Outcomes with resolved_at >= at, one an episode: that of its first prediction. Oldest first."""

    def misses_since(self, at: datetime, namespace: str | None = None) -> list[FailureObserved]:
        """Failures from `at` on that no open episode spoke of, oldest first."""

    def track_record(self, mode: str | None = None, namespace: str | None = None) -> TrackRecord:
        """How episodes ended so far, of one mode and namespace or of all."""


class PostgresLedger:
    """LedgerStore on a connection; the caller begins and ends the transaction."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def add_risk(self, risk: Risk) -> bool:
        """See LedgerStore."""
        p = Prediction.of(risk)
        row = (p.risk_id, p.episode, p.revision, p.state, p.entity, p.signal, p.mode, p.predicted_at, p.expires_at,
               p.probability, p.p10, p.p50, p.p90, risk.model_version, encode(risk).decode())  # fmt: skip
        return self._connection.execute(statements.ADD_RISK, row).rowcount == 1

    def resolve(self, outcomes: Sequence[Outcome]) -> int:
        """See LedgerStore."""
        new = 0
        for o in outcomes:
            row = (o.prediction.risk_id, o.prediction.episode, o.outcome, o.resolved_at, o.failed_at, o.lead_seconds,
                   o.error_seconds, o.inside_80)  # fmt: skip
            new += self._connection.execute(statements.RESOLVE, row).rowcount
        return new

    def predictions_about(self, entity: str, signal: str, at: datetime) -> list[Prediction]:
        """See LedgerStore."""
        return self._predictions(statements.ABOUT, {"entity": entity, "signal": signal, "at": at})

    def unresolved(self, episodes: Sequence[str]) -> list[Prediction]:
        """See LedgerStore."""
        return self._predictions(statements.UNRESOLVED, (list(episodes),))

    def overdue(self, namespace: str, since: datetime | None, until: datetime) -> list[Prediction]:
        """See LedgerStore."""
        return self._predictions(statements.OVERDUE, {"namespace": namespace, "since": since, "until": until})

    def add_failure(self, failure: FailureObserved, episode: str, predicted: bool) -> bool:
        """See LedgerStore."""
        f = failure
        row = (f.entity, f.signal, f.mode, f.at, f.value, f.limit, predicted, episode)
        return self._connection.execute(statements.ADD_FAILURE, row).rowcount == 1

    def claim_failure(self, entity: str, signal: str, failed_at: datetime, episode: str) -> str | None:
        """See LedgerStore."""
        missed = self._connection.execute(
            b"select episode::text from failures"
            b" where entity = %s and signal = %s and failed_at = %s and not predicted",
            (entity, signal, failed_at),
        ).fetchone()
        if missed is None:
            return None
        self._connection.execute(
            b"update failures set predicted = true, episode = %s where episode = %s", (episode, missed[0])
        )
        return str(missed[0])

    def failure_times(self, entity: str, signal: str, since: datetime, until: datetime) -> list[datetime]:
        """See LedgerStore."""
        rows = self._connection.execute(
            statements.FAILURE_TIMES,
            (entity, signal, since, until),
        )
        return [at for (at,) in rows]

    def relapse_of(self, entity: str, signal: str, since: datetime, at: datetime) -> tuple[str, bool] | None:
        """See LedgerStore."""
        row = self._connection.execute(statements.RELAPSE, (entity, signal, at, since)).fetchone()
        return None if row is None else (row[0], row[1])

    def recover(self, entity: str, signal: str, at: datetime) -> list[str]:
        """See LedgerStore."""
        cursor = self._connection.cursor(row_factory=dict_row)
        ended = cursor.execute(statements.RECOVER, (at, entity, signal, at)).fetchall()
        found = {e for f in ended for (e,) in self._connection.execute(statements.EPISODES_OF_FAILURE, f)}
        return sorted(found)

    def set_watermark(self, namespace: str, at: datetime) -> None:
        """See LedgerStore."""
        self._connection.execute(statements.WATERMARK, (namespace, at))

    def watermarks(self) -> dict[str, datetime]:
        """See LedgerStore."""
        return dict(self._connection.execute(b"select namespace, at from watermarks").fetchall())

    def abstain(self, abstained: Abstained) -> None:
        """See LedgerStore."""
        a = abstained
        values = {"entity": a.entity, "signal": a.signal, "at": a.at, "code": a.code, "reason": a.reason}
        self._connection.execute(statements.ABSTENTION_BEGINS_OR_ENDS, values)
        self._connection.execute(statements.ABSTAIN, (a.entity, a.signal, a.reason, a.at, a.code))

    def note_anomaly(self, anomaly: AnomalyObserved) -> None:
        """See LedgerStore."""
        a = anomaly
        if a.state == "ended":
            self._connection.execute(statements.ANOMALY_ENDED, (a.at, a.entity, a.since))
        else:
            drivers = msgspec.json.encode(a.drivers).decode()
            self._connection.execute(statements.ANOMALY, (a.entity, a.since, a.p_value, a.text, drivers))

    def episodes(self, ids: Sequence[str]) -> list[Episode]:
        """See LedgerStore."""
        cursor = self._connection.cursor(row_factory=dict_row)
        rows = cursor.execute(statements.EPISODES, (list(ids),)).fetchall()
        return [_episode(row) for row in rows if row["last"] is not None or row["failed_at"] is not None]

    def outcomes_since(self, at: datetime, namespace: str | None = None) -> list[Outcome]:
        """See LedgerStore."""
        cursor = self._connection.cursor(row_factory=dict_row)
        rows = cursor.execute(statements.OUTCOMES_SINCE, {"at": at, "namespace": namespace}).fetchall()
        ending = ("outcome", "resolved_at", "failed_at", "lead_seconds", "error_seconds", "inside_80")
        return [
            Outcome(Prediction(**{k: v for k, v in row.items() if k not in ending}), *(row[k] for k in ending))
            for row in rows
        ]

    def misses_since(self, at: datetime, namespace: str | None = None) -> list[FailureObserved]:
        """See LedgerStore."""
        cursor = self._connection.cursor(row_factory=class_row(FailureObserved))
        return cursor.execute(statements.MISSES_SINCE, {"at": at, "namespace": namespace}).fetchall()

    def track_record(self, mode: str | None = None, namespace: str | None = None) -> TrackRecord:
        """See LedgerStore."""
        parameters = {"mode": mode, "namespace": namespace}
        results = self._connection.cursor(row_factory=class_row(EpisodeResult)).execute(statements.RESULTS, parameters)
        row = self._connection.execute(statements.MISSED, parameters).fetchone()
        return track_record(results, row[0] if row else 0, mode)

    def _predictions(self, query: Any, parameters: Any) -> list[Prediction]:
        cursor = self._connection.cursor(row_factory=class_row(Prediction))
        return cursor.execute(query, parameters).fetchall()


def _episode(row: dict[str, Any]) -> Episode:
    first = decode_risk(row["first"].encode()) if row["first"] else None
    last = decode_risk(row["last"].encode()) if row["last"] else None
    return episode_of_parts(
        row["episode"],
        first,
        last,
        failed=row if row["failed_at"] is not None else None,
        feedback=row["feedback"],
        expired=row["latest_outcome"] == "expired",
    )


def episode_of_parts(
    episode: str,
    first: Risk | None,
    last: Risk | None,
    failed: dict[str, Any] | None,
    feedback: str | None,
    expired: bool,
) -> Episode:
    """An episode from what a store has. Raises ValueError where it has neither a risk nor a failure."""
    if first is None or last is None:
        if failed is None:
            raise ValueError(f"episode {episode} has neither a risk nor a failure")
        identity = (failed["entity"], failed["signal"], failed["mode"], failed["failed_at"])
    else:
        identity = (last.entity, last.signal, last.mode, first.predicted_at)
    unit = last.unit if last is not None else failed.get("unit") if failed is not None else None
    return Episode(
        episode,
        *identity,
        first=first,
        risk=last,
        failed_at=failed["failed_at"] if failed else None,
        recovered_at=failed["recovered_at"] if failed and not failed["firing"] else None,
        value=failed["value"] if failed else None,
        limit=failed["limit_value"] if failed else None,
        unit=unit or "",
        predicted=failed["predicted"] if failed else True,
        expired_at=last.expires_at if expired and last is not None else None,
        feedback=feedback,
    )
