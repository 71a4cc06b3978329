"""Where rules of a team's own stand: since when they hold, and which incident tells of it."""

from collections.abc import Mapping, Sequence
from typing import Any

import psycopg

from forewarn.alerting.rules.firing import Key, Standing


class RuleStates:
    """On a connection; the caller begins and ends the transaction."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def all(self) -> dict[Key, Standing]:
        """Every rule that holds or has not been told to be over."""
        rows = self._connection.execute(
            b"select rule, entity, series, since, last_true, incident_id::text from rule_states"
        )
        return {Key(*row[:3]): Standing(*row[3:]) for row in rows}

    def keep(self, standings: Mapping[Key, Standing]) -> None:
        """Remember these."""
        rows = [(k.rule, k.entity, k.series, s.since, s.last_true, s.incident_id) for k, s in standings.items()]
        with self._connection.cursor() as cursor:
            cursor.executemany(
                b"insert into rule_states (rule, entity, series, since, last_true, incident_id)"
                b" values (%s, %s, %s, %s, %s, %s) on conflict (rule, entity, series) do update set"
                b" since = excluded.since, last_true = excluded.last_true, incident_id = excluded.incident_id",
                rows,
            )

    def forget(self, keys: Sequence[Key]) -> None:
        """They do not hold any more."""
        with self._connection.cursor() as cursor:
            cursor.executemany(
                b"delete from rule_states where rule = %s and entity = %s and series = %s",
                [(k.rule, k.entity, k.series) for k in keys],
            )
