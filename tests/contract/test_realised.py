"""Which failures the ledger charges to a model, over PostgreSQL."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from lifecycle_world import HOUR, NOON, add_failure, add_versions

from forewarn.stores import model_versions as registry
from forewarn.stores.lifecycle.realised import realised

_TOLD = b"""
insert into risks (risk_id, episode, revision, state, entity, signal, mode, predicted_at, expires_at, probability,
                   model_version, payload, recorded_at)
values (gen_random_uuid(), gen_random_uuid(), 0, 'open', 'shop/a', 'memory', 'memory_exhaustion', %(at)s, %(at)s, 0.5,
        %(version)s, '{}', %(at)s)
"""


@pytest.fixture
def db(postgres_url: str) -> Iterator[psycopg.Connection[Any]]:
    """Versions 1 and 2: 1 was champion from 12 to 15 h, then 2, and again 1 from 18 h on."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        add_versions(connection, "1", "2")
        registry.promote(connection, "1", "me", "first")
        registry.promote(connection, "2", "me", "second")
        registry.roll_back(connection, "me", "it is blind")
        decided = {"promote": NOON, "retire": NOON + 3 * HOUR, "restore": NOON + 6 * HOUR}
        for action, at in decided.items():
            connection.execute(b"update audit set at = %s where subject = '1' and action = %s", (at, action))
        ends = {"promote": NOON + 3 * HOUR, "roll back": NOON + 6 * HOUR}
        for action, at in ends.items():
            connection.execute(b"update audit set at = %s where subject = '2' and action = %s", (at, action))
        connection.execute(b"update model_versions set promoted_at = %s where version = '1'", (NOON + 6 * HOUR,))
        for version, hours in (("1", 1), ("2", 4), ("1", 7)):
            connection.execute(_TOLD, {"version": version, "at": NOON + hours * HOUR})
        yield connection


def miss(db: psycopg.Connection[Any], hours: float, n: int = 1) -> None:
    """So many failures of which nobody spoke."""
    for k in range(n):
        add_failure(db, f"shop/{k}", NOON + hours * HOUR, predicted=False)
    db.execute(b"update failures set recorded_at = failed_at")


def missed(db: psycopg.Connection[Any], version: str, since: float | None = None) -> int:
    """Failures that a version missed, since so many hours."""
    return realised(db, version, None if since is None else NOON + since * HOUR, "shop").missed


def test_a_restored_champion_is_not_charged_with_what_the_one_that_it_replaced_missed(
    db: psycopg.Connection[Any],
) -> None:
    miss(db, 2)
    miss(db, 5, n=20)
    miss(db, 8, n=3)
    assert missed(db, "1") == 4
    assert missed(db, "2") == 20
    assert missed(db, "1", since=3) == 3


def test_what_fails_before_a_restored_champion_tells_anything_is_nobodys_miss(db: psycopg.Connection[Any]) -> None:
    miss(db, 6.5, n=20)
    assert missed(db, "1") == missed(db, "2") == 0


def test_misses_count_where_the_audit_log_no_longer_has_the_promotion(db: psycopg.Connection[Any]) -> None:
    miss(db, 8, n=3)
    db.execute(b"delete from audit")
    assert missed(db, "1") == 3
