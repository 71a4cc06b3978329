"""Where each service stands on the map: callers left of what they call, one drawing a namespace."""

from dataclasses import dataclass
from itertools import pairwise

import networkx as nx

from forewarn.stores.views.now import STATES, Edge, Node
from forewarn.telemetry.samples import namespace_of

WIDTH, HEIGHT = 190, 50  # of a node
COLUMN, ROW = 268, 68  # from one node to the next
MARGIN = 6
DRAWN = 48  # nodes a namespace; of more, the worst and their neighbours are drawn


@dataclass(frozen=True, slots=True)
class Placed:
    """A node at its place; x and y are its upper left corner."""

    node: Node
    x: int
    y: int


@dataclass(frozen=True, slots=True)
class Line:
    """An edge as an SVG path."""

    path: str
    edge: Edge
    server_state: str

    @property
    def error_share(self) -> float:
        """Errors among the calls."""
        return self.edge.errors / self.edge.calls if self.edge.calls else 0.0


@dataclass(frozen=True, slots=True)
class Drawing:
    """The map of a namespace; `loose` nodes have no edges, `left_out` ones found no room."""

    namespace: str
    placed: tuple[Placed, ...]
    lines: tuple[Line, ...]
    loose: tuple[Node, ...]
    left_out: int
    width: int
    height: int


def drawings(nodes: tuple[Node, ...], edges: tuple[Edge, ...]) -> tuple[Drawing, ...]:
    """One drawing for each namespace, those with the worst state first."""
    by_namespace: dict[str, list[Node]] = {}
    for node in nodes:
        by_namespace.setdefault(namespace_of(node.entity), []).append(node)
    drawn = [_drawing(namespace, members, edges) for namespace, members in by_namespace.items()]
    return tuple(sorted(drawn, key=lambda d: (not d.placed, d.namespace)))


def _drawing(namespace: str, nodes: list[Node], edges: tuple[Edge, ...]) -> Drawing:
    by_name = {n.entity: n for n in nodes}
    inside = [e for e in edges if e.client in by_name and e.server in by_name and e.client != e.server]
    connected = {name for e in inside for name in (e.client, e.server)}
    shown = _most_worrying(by_name, inside, connected)
    columns = _columns(shown, [e for e in inside if e.client in shown and e.server in shown])
    tallest = max((len(c) for c in columns), default=0)
    at = {
        name: (MARGIN + i * COLUMN, MARGIN + int((tallest - len(column)) * ROW / 2) + j * ROW)
        for i, column in enumerate(columns)
        for j, name in enumerate(column)
    }
    loose = sorted((n for n in nodes if n.entity not in connected), key=lambda n: (-STATES.index(n.state), n.entity))
    return Drawing(
        namespace=namespace,
        placed=tuple(Placed(by_name[name], x, y) for name, (x, y) in at.items()),
        lines=tuple(_line(e, at, by_name) for e in inside if e.client in at and e.server in at),
        loose=tuple(loose[:DRAWN]),
        left_out=len(connected) - len(shown) + max(0, len(loose) - DRAWN),
        width=max(0, len(columns) - 1) * COLUMN + WIDTH + 2 * MARGIN,
        height=max(0, tallest - 1) * ROW + HEIGHT + 2 * MARGIN,
    )


def _most_worrying(by_name: dict[str, Node], edges: list[Edge], connected: set[str]) -> set[str]:
    if len(connected) <= DRAWN:
        return connected
    troubled = {name for name in connected if by_name[name].state not in ("calm", "silent")}
    near = {n for e in edges if e.client in troubled or e.server in troubled for n in (e.client, e.server)}
    calls: dict[str, int] = dict.fromkeys(connected, 0)
    for e in edges:
        calls[e.client] += e.calls
        calls[e.server] += e.calls
    ranked = sorted(connected, key=lambda n: (n not in troubled, n not in near, -calls[n], n))
    return set(ranked[:DRAWN])


def _columns(names: set[str], edges: list[Edge]) -> list[list[str]]:
    """Layers of the condensed graph (services that call each other share one), ordered to cross few lines."""
    graph = nx.DiGraph()
    graph.add_nodes_from(sorted(names))
    graph.add_edges_from((e.client, e.server) for e in edges)
    condensed = nx.condensation(graph)
    columns = [
        sorted(member for part in layer for member in condensed.nodes[part]["members"])
        for layer in nx.topological_generations(condensed)
    ]
    for before, column in pairwise(columns):
        place = {name: i / max(1, len(before) - 1) for i, name in enumerate(before)}
        column.sort(key=lambda name: (_mean([place[p] for p in graph.predecessors(name) if p in place]), name))
    return columns


def _mean(places: list[float]) -> float:
    return sum(places) / len(places) if places else 0.5


def _line(edge: Edge, at: dict[str, tuple[int, int]], by_name: dict[str, Node]) -> Line:
    (x1, y1), (x2, y2) = at[edge.client], at[edge.server]
    start_x, end_x = (x1 + WIDTH, x2 - 5) if x2 > x1 else (x1, x2 + WIDTH + 5)
    start_y, end_y = y1 + HEIGHT // 2, y2 + HEIGHT // 2
    bend = max(30, abs(end_x - start_x) // 2) * (1 if x2 > x1 else -1)
    path = f"M{start_x},{start_y} C{start_x + bend},{start_y} {end_x - bend},{end_y} {end_x},{end_y}"
    return Line(path, edge, by_name[edge.server].state)
