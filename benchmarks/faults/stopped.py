"""Broker or database that answer nothing for a while, and a database that takes no more connections."""

import contextlib
import time
from collections.abc import Callable

import psycopg

from benchmarks.faults.scene import NotRecovered, Report, Scene

_MOST_CONNECTIONS = 400
_TERMINATE = b"""
select count(pg_terminate_backend(pid)) from pg_stat_activity
where pid <> pg_backend_pid() and datname is not null and application_name <> 'chaos'
"""


def stopped(service: str) -> Callable[[Scene, Report], None]:
    """SIGSTOP: connections stay open, and nothing comes over them."""

    def act(scene: Scene, report: Report) -> None:
        with scene.stack.suspended(service):
            scene.hold()
        report.ended = time.monotonic()
        report.told = f"stopped for {scene.hold_seconds:g} s"

    return act


def exhausted(scene: Scene, report: Report) -> None:
    """Every connection is taken by others, and those of the services are ended: they find no place."""
    with contextlib.ExitStack() as held:
        ended = _take_all(scene, held)
        began = time.monotonic()
        while time.monotonic() - began < scene.hold_seconds / 2:
            time.sleep(0.5)
            _take_all(scene, held, terminate=False)
    report.ended = time.monotonic()
    report.told = f"{ended} connections of services ended, none to be had for {scene.hold_seconds / 2:g} s"


def _take_all(scene: Scene, held: contextlib.ExitStack, terminate: bool = True) -> int:
    """Take connections until there is none left; of the services' own, how many were ended for it."""
    ended = 0
    for _ in range(_MOST_CONNECTIONS):
        try:
            connection = held.enter_context(psycopg.connect(scene.stack.url, autocommit=True))
        except psycopg.OperationalError as error:
            if "too many" not in str(error) and "reserved" not in str(error):
                raise NotRecovered(f"the database refuses connections for another reason: {error}") from error
            return ended
        if terminate:
            row = connection.execute(_TERMINATE).fetchone()
            ended, terminate = row[0] if row else 0, False
    raise NotRecovered(f"{_MOST_CONNECTIONS} connections did not exhaust the database")
