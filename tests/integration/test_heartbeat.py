"""A process's row stays fresh; a database that is away disturbs nothing."""

import psycopg
from integration.processes import wait_until

from forewarn.services.heartbeat import Heartbeat


def test_the_row_follows_the_counters(postgres_url: str) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as reader, Heartbeat(postgres_url, "s", "i", 0.05) as heartbeat:
        heartbeat.counters["rows_total"] = 3
        select = "select counters->>'rows_total' from service_status where service = 's' and instance = 'i'"
        wait_until(lambda: reader.execute(select).fetchone() == ("3",), 5)
        reader.execute("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 's'")
        heartbeat.counters["rows_total"] = 4
        wait_until(lambda: reader.execute(select).fetchone() == ("4",), 5)


def test_without_a_database_it_is_quiet() -> None:
    with Heartbeat("postgresql://nobody@127.0.0.1:1/none", "s", "i", 0.05) as heartbeat:
        heartbeat.counters["rows_total"] = 3
