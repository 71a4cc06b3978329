"""Now: is all calm, what will fail first, what changed, and why nothing is said about the rest."""

from typing import Any

import psycopg

from forewarn.stores.views import NowView, now_view
from panel_app import service_map
from panel_app.pages.page import Arguments, Page
from panel_app.rendering import Frame, render

SECTIONS = ("headline", "incidents", "map", "changes", "silences")


def produce(connection: psycopg.Connection[Any], arguments: Arguments) -> Frame:
    """The page from the stores."""
    return frame(now_view(connection))


def frame(view: NowView) -> Frame:
    """The page as HTML."""
    left = {i.incident_id: i.left(i.p50_seconds) for i in view.incidents}
    nodes = {n.entity: n for n in view.nodes}
    variables = {
        "view": view,
        "left": left,
        "firing": [i for i in view.incidents if i.state == "firing"],
        "predicted": [i for i in view.incidents if i.state != "firing"],
        "failing": [n for n in view.nodes if n.state == "failing"],
        "silent_signals": sum(s.signals for s in view.silences),
        "drawings": service_map.drawings(view.nodes, view.edges),
        "node_width": service_map.WIDTH,
        "node_height": service_map.HEIGHT,
        "nodes": nodes,
    }
    return Frame({name: render(f"now_{name}.html", **variables) for name in SECTIONS})


PAGE = Page("now", "/", "Now", SECTIONS, produce, every=0.5)
