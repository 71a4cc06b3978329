"""The registry's switch: which model serves, which shadows it, and every change of stage with its reason.

The predictor follows `served`; Dagster, the sensors and `forewarn models` change stages. A change is one transaction
under a lock of the table, with its lines in the audit log: nobody ever sees two champions, or half a promotion.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import psycopg
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from forewarn.features.definitions import FEATURE_VERSION
from forewarn.risk.bundle import Manifest


class Stage(StrEnum):
    """Where in its life a version is."""

    CANDIDATE = "candidate"  # registered, not yet judged
    SHADOW = "shadow"  # scores beside the champion, tells nobody; at most one
    CHAMPION = "champion"  # serves; at most one
    RETIRED = "retired"  # was champion, and was replaced
    WITHHELD = "withheld"  # was judged and not taken
    BROKEN = "broken"  # was champion, and was rolled back


class TransitionError(ValueError):
    """A change of stage that is not allowed; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Served:
    """Who scores. revision: grows with every change of a stage, so an equal one means that nothing changed."""

    champion: str | None
    shadow: str | None
    revision: int


@dataclass(frozen=True, slots=True)
class Version:
    """A row of the registry. metrics: {"metric": {"value": …, "baselines": {…}}}."""

    version: str
    stage: str
    feature_version: str
    trained_at: datetime
    data_from: datetime
    data_to: datetime
    metrics: dict[str, Any]
    reason: str
    changed_at: datetime
    revision: int
    promoted_at: datetime | None
    trained_on: dict[str, Any]  # namespace, signals (those with a limit), code_version, seconds, …


@dataclass(frozen=True, slots=True)
class Decision:
    """A line of the audit log about a version."""

    at: datetime
    actor: str
    action: str
    reason: str


@dataclass(frozen=True, slots=True)
class Change:
    """What a transition did: who served before and who serves after it, champion and shadow."""

    before: Served
    after: Served


_SERVED = """
select max(version) filter (where stage = 'champion'), max(version) filter (where stage = 'shadow'),
       coalesce(max(revision), 0)
from model_versions
"""
_COLUMNS = """version, stage, feature_version, trained_at, data_from, data_to, metrics, reason, changed_at, revision,
promoted_at, trained_on"""
_ALL = f"select {_COLUMNS} from model_versions order by trained_at desc, version desc"  # noqa: S608
_ONE = f"select {_COLUMNS} from model_versions where version = %s"  # noqa: S608
_INSERT = """
insert into model_versions
    (version, stage, feature_version, trained_at, data_from, data_to, metrics, reason, trained_on, revision)
values (%s, 'candidate', %s, %s, %s, %s, %s, %s, %s, nextval('model_revisions'))
on conflict (version) do nothing
"""
_STAGE = """
update model_versions set stage = %(stage)s, reason = %(reason)s, changed_at = clock_timestamp(),
    revision = nextval('model_revisions'),
    promoted_at = case when %(stage)s = 'champion' then clock_timestamp() else promoted_at end
where version = %(version)s
"""
_AUDIT = "insert into audit (actor, action, subject, reason) values (%s, %s, %s, %s)"
_PREVIOUS = f"""
select {_COLUMNS} from model_versions
where stage = 'retired' and feature_version = %s and promoted_at is not null order by promoted_at desc limit 1
"""  # noqa: S608


def served(connection: psycopg.Connection[Any]) -> Served:
    """Champion and shadow now; one short query, made to be asked every few seconds."""
    row = connection.execute(_SERVED).fetchone()
    return Served(*row) if row else Served(None, None, 0)


def champion(postgres_url: str) -> str | None:
    """Version of the champion."""
    with psycopg.connect(postgres_url) as connection:
        return served(connection).champion


def shadow(postgres_url: str) -> str | None:
    """Version of the shadow."""
    with psycopg.connect(postgres_url) as connection:
        return served(connection).shadow


def versions(connection: psycopg.Connection[Any]) -> list[Version]:
    """All versions, newest first."""
    with connection.cursor(row_factory=class_row(Version)) as cursor:
        return cursor.execute(_ALL).fetchall()


def find(connection: psycopg.Connection[Any], version: str) -> Version:
    """One version. Raises TransitionError where the registry does not have it."""
    with connection.cursor(row_factory=class_row(Version)) as cursor:
        found = cursor.execute(_ONE, (version,)).fetchone()
    if found is None:
        known = ", ".join(v.version for v in versions(connection)[:5]) or "none"
        raise TransitionError(f"there is no model version '{version}' (newest: {known}); see `forewarn models list`")
    return found


def decisions(connection: psycopg.Connection[Any], version: str) -> list[Decision]:
    """What was decided about a version, oldest first."""
    with connection.cursor(row_factory=class_row(Decision)) as cursor:
        query = b"select at, actor, action, reason from audit where subject = %s order by audit_id"
        return cursor.execute(query, (version,)).fetchall()


def register(connection: psycopg.Connection[Any], manifest: Manifest, actor: str, reason: str) -> None:
    """Add a version as candidate; one that is there already is left as it is."""
    m = manifest
    row = (
        m.version, m.feature_version, m.trained_at, m.data_from, m.data_to, Jsonb(m.metrics), reason,
        Jsonb(m.trained_on),
    )  # fmt: skip
    with connection.transaction():
        if connection.execute(_INSERT, row).rowcount:
            connection.execute(_AUDIT, (actor, "register", m.version, reason))


def promote(
    connection: psycopg.Connection[Any], version: str, actor: str, reason: str, expecting: int | None = None
) -> Change:
    """Make a version the champion and retire the one before. Promoting the champion changes nothing.

    expecting: the revision at which the decision was made; a registry that has moved on refuses it.
    Raises TransitionError for a version that is unknown, broken, or of other features than this program computes.
    """
    with _changing(connection, expecting) as before:
        found = _loadable(find(connection, version))
        if found.stage == Stage.BROKEN:
            raise TransitionError(f"{version} was rolled back ({found.reason}); train a new one")
        if before.champion != version:
            if before.champion:
                _set(connection, before.champion, Stage.RETIRED, actor, "retire", f"replaced by {version}")
            _set(connection, version, Stage.CHAMPION, actor, "promote", reason)
        return Change(before, served(connection))


def begin_shadow(
    connection: psycopg.Connection[Any], version: str, actor: str, reason: str, expecting: int | None = None
) -> Change:
    """Let a version score beside the champion; a shadow before it is withheld.

    Raises TransitionError for a version that is unknown, the champion, broken, or of other features.
    """
    with _changing(connection, expecting) as before:
        found = _loadable(find(connection, version))
        if found.stage in (Stage.CHAMPION, Stage.BROKEN):
            raise TransitionError(f"{version} is {found.stage}: it cannot shadow ({found.reason})")
        if before.shadow != version:
            if before.shadow:
                _set(connection, before.shadow, Stage.WITHHELD, actor, "withhold", f"replaced in shadow by {version}")
            _set(connection, version, Stage.SHADOW, actor, "shadow", reason)
        return Change(before, served(connection))


def withhold(
    connection: psycopg.Connection[Any], version: str, actor: str, reason: str, expecting: int | None = None
) -> Change:
    """Do not take a candidate, or end a shadow. Raises TransitionError for any other stage."""
    with _changing(connection, expecting) as before:
        found = find(connection, version)
        if found.stage not in (Stage.CANDIDATE, Stage.SHADOW, Stage.WITHHELD):
            raise TransitionError(f"{version} is {found.stage}: only candidates and shadows can be withheld")
        _set(connection, version, Stage.WITHHELD, actor, "withhold", reason)
        return Change(before, served(connection))


def note(connection: psycopg.Connection[Any], version: str, stage: Stage, reason: str) -> None:
    """Say how it stands with a version that keeps its stage; no change of the registry, and no decision to audit."""
    connection.execute(
        "update model_versions set reason = %s where version = %s and stage = %s", (reason, version, stage.value)
    )


def roll_back(connection: psycopg.Connection[Any], actor: str, reason: str, expecting: int | None = None) -> Change:
    """Mark the champion as broken and go back to the champion before it; without one, the first-day model serves.

    Raises TransitionError where there is no champion.
    """
    with _changing(connection, expecting) as before:
        if before.champion is None:
            raise TransitionError("there is no champion to roll back: the first-day model serves")
        target = previous_champion(connection)
        _set(connection, before.champion, Stage.BROKEN, actor, "roll back", reason)
        if target is not None:
            _set(
                connection, target.version, Stage.CHAMPION, actor, "restore", f"{before.champion} rolled back: {reason}"
            )
        return Change(before, served(connection))


def previous_champion(connection: psycopg.Connection[Any]) -> Version | None:
    """The champion to go back to: the last one that was replaced, and that scores the features of this program."""
    with connection.cursor(row_factory=class_row(Version)) as cursor:
        return cursor.execute(_PREVIOUS, (FEATURE_VERSION,)).fetchone()


@contextmanager
def _changing(connection: psycopg.Connection[Any], expecting: int | None) -> Iterator[Served]:
    """One change at a time. Readers are not held up."""
    with connection.transaction():
        connection.execute("lock table model_versions in share row exclusive mode")
        before = served(connection)
        if expecting is not None and before.revision != expecting:
            raise TransitionError(
                f"the registry has changed since this was decided (revision {before.revision}, not {expecting}); "
                "look again and decide anew"
            )
        yield before


def _set(connection: psycopg.Connection[Any], version: str, stage: Stage, actor: str, action: str, reason: str) -> None:
    connection.execute(_STAGE, {"version": version, "stage": stage.value, "reason": reason})
    connection.execute(_AUDIT, (actor, action, version, reason))


def _loadable(found: Version) -> Version:
    if found.feature_version != FEATURE_VERSION:
        raise TransitionError(
            f"{found.version} was trained on features of version {found.feature_version}, this program computes "
            f"version {FEATURE_VERSION}: train again"
        )
    return found
