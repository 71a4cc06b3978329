"""Broker or database that answer nothing for a while, and a database that takes no more connections."""

import contextlib
import time
from collections.abc import Callable
from typing import Any

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
    ended, began = 0, time.monotonic()
    with contextlib.ExitStack() as held:
        first = _take_all(scene, held)[0]
        while time.monotonic() - began < scene.hold_seconds / 2:
            row = first.execute(_TERMINATE).fetchone()
            ended += row[0] if row else 0
            _take_all(scene, held)
            time.sleep(0.2)
    report.ended = time.monotonic()
    report.told = f"{ended} connections of services ended, none to be had for {scene.hold_seconds / 2:g} s"


def _take_all(scene: Scene, held: contextlib.ExitStack) -> list[psycopg.Connection[Any]]:
    """Take connections until there is none left."""
    taken: list[psycopg.Connection[Any]] = []
    for _ in range(_MOST_CONNECTIONS):
        try:
            taken.append(held.enter_context(psycopg.connect(scene.stack.url, autocommit=True)))
        except psycopg.OperationalError as error:
            if "too many" not in str(error) and "reserved" not in str(error):
                raise NotRecovered(f"the database refuses connections for another reason: {error}") from error
            return taken
    raise NotRecovered(f"{_MOST_CONNECTIONS} connections did not exhaust the database")
