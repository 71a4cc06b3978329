"""Mistakes between us and PostgreSQL: address, password, database, tables, clocks, connections."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from forewarn.config.settings import Settings
from forewarn.features.definitions import FEATURE_VERSION
from forewarn.services.doctor.finding import Finding, ok, unknown, warning, wrong
from forewarn.stores.schema import known_revisions, state_of
from forewarn.telemetry.limits import limited_signal

_OLDEST = 140000
_APART_SECONDS = 5.0
_FULL = 0.85


def examine_database(settings: Settings) -> Iterator[Finding]:
    """The server, then what stands in it."""
    url = settings.postgres_url.get_secret_value()
    where = conninfo_to_dict(url)
    place = f"{where.get('host', 'local socket')}:{where.get('port', 5432)}"
    try:
        connection = psycopg.connect(url, connect_timeout=5, autocommit=True, options="-c statement_timeout=8000")
    except psycopg.OperationalError as error:
        yield _away(str(error), place, where)
        yield unknown("Services", "PostgreSQL does not answer")
        return
    with connection:
        yield _version(connection, place)
        yield _clock(connection)
        yield _connections(connection)
        if connection.execute("select to_regclass('public.service_status')").fetchone() == (None,):
            yield wrong(
                "Tables", f"the database {where.get('dbname')} has none",
                "python -m forewarn.services.stack.prepare --kept-log makes them; is it the right database?",
            )  # fmt: skip
            return
        yield _revision(connection)
        yield from _services(connection)
        yield from _data(connection, settings)


def _revision(connection: psycopg.Connection) -> Finding:
    revision, known = state_of(connection).revision, known_revisions()
    if revision == known[-1]:
        return ok("Tables", f"revision {revision}")
    told = f"revision {revision or 'before revisions'}, this Forewarn's is {known[-1]}"
    if revision is not None and revision not in known:
        return wrong("Tables", f"newer: {told}", "run the release that upgraded them, or restore a backup from before")
    return warning("Tables", f"older: {told}", "back up; services upgrade them when they start (forewarn migrate)")


def _away(text: str, place: str, where: dict[str, Any]) -> Finding:
    for sign, told, mend in (
        ("password authentication failed", f"{place} refuses the password of {where.get('user')}",
         "check FOREWARN_POSTGRES_URL and FOREWARN_POSTGRES_PASSWORD"),
        ("no password supplied", f"{place} wants a password and none is set", "set FOREWARN_POSTGRES_PASSWORD"),
        ("does not exist", f"{place} knows no such user or database ({where.get('user')}, {where.get('dbname')})",
         "create them, or check FOREWARN_POSTGRES_URL"),
        ("too many clients", f"{place} has no connection left", "raise max_connections, or put a pooler in front"),
        ("no pg_hba.conf entry", f"{place} does not let this host in", "add it to pg_hba.conf (or set sslmode)"),
        ("resolve", f"the name of {place} is not known", "check FOREWARN_POSTGRES_URL"),
    ):  # fmt: skip
        if sign in text:
            return wrong("PostgreSQL", told, mend)
    return wrong("PostgreSQL", f"nobody answers at {place}", "start it (`forewarn up`), or set FOREWARN_POSTGRES_URL")


def _version(connection: psycopg.Connection, place: str) -> Finding:
    number = connection.info.server_version
    told = f"{number // 10000}.{number % 10000} at {place}"
    timescale = connection.execute("select 1 from pg_extension where extname = 'timescaledb'").fetchone()
    if number < _OLDEST:
        return wrong("PostgreSQL", told, "14 or newer is needed")
    return ok("PostgreSQL", told + (" with TimescaleDB" if timescale else ", partitions by day"))


def _clock(connection: psycopg.Connection) -> Finding:
    (there,) = connection.execute("select clock_timestamp()").fetchone() or (datetime.now(UTC),)
    apart = (datetime.now(UTC) - there).total_seconds()
    if abs(apart) > _APART_SECONDS:
        return wrong(
            "Clock", f"this host's clock is {apart:+.0f} s from the database server's",
            "let both follow NTP (timedatectl set-ntp true)",
        )  # fmt: skip
    return ok("Clock", f"{abs(apart):.1f} s from the database server's")


def _connections(connection: psycopg.Connection) -> Finding:
    row = connection.execute(
        "select (select count(*) from pg_stat_activity), current_setting('max_connections')::int"
    ).fetchone()
    used, most = row or (0, 1)
    told = f"{used} of {most} connections"
    if used > _FULL * most:
        return warning("Connections", told, "raise max_connections, or put a pooler in front")
    return ok("Connections", told)


def _services(connection: psycopg.Connection) -> Iterator[Finding]:
    rows = connection.execute(
        "select service, count(*) filter (where seen_at > now() - interval '20 s'), max(seen_at) from service_status "
        "group by service"
    ).fetchall()
    alive = {name for name, living, _ in rows if living}
    for name in ("gateway", "predictor", "archiver", "alerter"):
        if name in alive:
            continue
        seen = {service: at for service, _, at in rows}.get(name)
        told = f"{name} has not reported since {seen:%Y-%m-%d %H:%M:%S} UTC" if seen else f"{name} never reported"
        yield wrong("Services", told, "`forewarn up` starts it; its log says why it ended")
    if {"gateway", "predictor", "archiver", "alerter"} <= alive:
        yield ok("Services", f"{', '.join(sorted(alive))} report")


def _data(connection: psycopg.Connection, settings: Settings) -> Iterator[Finding]:
    clocks = connection.execute("select namespace, at from watermarks").fetchall()
    ahead = [(name, (at - datetime.now(UTC)).total_seconds()) for name, at in clocks]
    for name, seconds in ahead:
        if seconds > settings.lateness_seconds:
            yield warning(
                "Event time", f"{name} tells times {seconds:.0f} s in the future",
                "a sender's clock is wrong, or it sends milliseconds as seconds; what is right comes too late then",
            )  # fmt: skip
    yield _model(connection)
    names = [name for (name,) in connection.execute("select distinct signal from metric_series").fetchall()]
    limited = {limited_signal(name) for name in names} & set(names)
    if not names:
        yield warning("Telemetry", "nothing was archived yet", "send some: README, 'Send your own telemetry'")
    elif not limited:
        yield warning(
            "Telemetry", f"{len(names)} signals and no limit of any: nothing can be predicted to fail",
            "send capacities beside their use (docs/data-formats.md, 'Limits'), such as system.filesystem.usage.limit",
        )  # fmt: skip
    else:
        yield ok("Telemetry", f"{len(names)} signals, {len(limited)} of them with a limit")


def _model(connection: psycopg.Connection) -> Finding:
    row = connection.execute("select version, feature_version from model_versions where stage = 'champion'").fetchone()
    if row is None:
        return ok("Model", "none is promoted yet: the first-day model serves")
    if row[1] != FEATURE_VERSION:
        return wrong(
            "Model", f"{row[0]} was trained on features of version {row[1]}, this is version {FEATURE_VERSION}",
            "train anew (Dagster, job train); until then the first-day model serves",
        )  # fmt: skip
    return ok("Model", f"{row[0]} serves")
