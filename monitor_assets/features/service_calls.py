"""Who calls whom, as the spans of a namespace told it until now: by it failures become incidents, as they do live."""

import psycopg

from forewarn.evaluation.related import Related
from forewarn.incidents.graph import ServiceGraph
from forewarn.stores.incidents import PostgresIncidents
from monitor_assets.history import History, SignalWindows

NAME = "service_calls"


def keep(history: History, postgres_url: str) -> None:
    """Write them beside the labels: all that a run measures is measured on the same graph."""
    with psycopg.connect(postgres_url) as connection:
        history.write_json(NAME, PostgresIncidents(connection).edges())


def related(history: History, windows: SignalWindows) -> Related:
    """Which limited series may be one incident, by what `keep` wrote."""
    graph = ServiceGraph((client, server) for client, server in history.read_json(NAME))
    return Related.by([windows.series[i].entity for i in windows.limited], graph)
