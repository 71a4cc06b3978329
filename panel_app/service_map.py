"""Where each service stands on the map: callers left of what they call, one drawing a namespace."""

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise

import networkx as nx

from forewarn.stores.views.now import STATES, Edge, Node
from forewarn.telemetry.samples import namespace_of

WIDTH, HEIGHT = 190, 50  # of a node
COLUMN, ROW = 268, 68  # from one node to the next
BEND = 26  # room for a line that passes between nodes
MARGIN = 6
TIP = 5  # of an arrow
DRAWN = 48  # nodes a namespace; of more, the worst and some of their neighbours are drawn
WORST, AROUND = 12, 26  # of those; nodes in all
CHIPS = 24  # of services without calls


TROUBLE = STATES[2:]

Spot = str | tuple[str, str, int]  # a service, or the bend of an edge in a layer that it skips


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
    """The map of a namespace; `loose` nodes have no edges, `left_out` ones found no room. states: how many of each."""

    namespace: str
    placed: tuple[Placed, ...]
    lines: tuple[Line, ...]
    loose: tuple[Node, ...]
    left_out: int
    width: int
    height: int
    states: tuple[tuple[str, int], ...]  # of all nodes, worst first

    @property
    def nodes(self) -> int:
        """All of the namespace, drawn or not."""
        return sum(count for _, count in self.states)

    @property
    def troubled(self) -> int:
        """Those of which something is predicted or that fail."""
        return sum(count for state, count in self.states if state in TROUBLE)


def drawings(nodes: tuple[Node, ...], edges: tuple[Edge, ...]) -> tuple[Drawing, ...]:
    """One drawing for each namespace, those with the worst state first."""
    by_namespace: dict[str, list[Node]] = {}
    for node in nodes:
        by_namespace.setdefault(namespace_of(node.entity), []).append(node)
    drawn = [_drawing(namespace, members, edges) for namespace, members in by_namespace.items()]
    return tuple(sorted(drawn, key=lambda d: (not d.placed, -_worst(d), d.namespace)))


def _worst(drawing: Drawing) -> int:
    return STATES.index(drawing.states[0][0])


def _drawing(namespace: str, nodes: list[Node], edges: tuple[Edge, ...]) -> Drawing:
    by_name = {n.entity: n for n in nodes}
    inside = [e for e in edges if e.client in by_name and e.server in by_name and e.client != e.server]
    connected = {name for e in inside for name in (e.client, e.server)}
    shown, drawn = _most_worrying(by_name, inside, connected)
    columns, routes = _layers(shown, drawn)
    heights = [sum(_row(spot) for spot in column) for column in columns]
    at = _places(columns, heights)
    loose = sorted((n for n in nodes if n.entity not in connected), key=lambda n: (-STATES.index(n.state), n.entity))
    return Drawing(
        namespace=namespace,
        placed=tuple(Placed(by_name[spot], x, y) for spot, (x, y) in at.items() if isinstance(spot, str)),
        lines=tuple(Line(_path([at[s] for s in routes[e]]), e, by_name[e.server].state) for e in drawn),
        loose=tuple(loose[:CHIPS]),
        left_out=len(connected) - len(shown) + max(0, len(loose) - CHIPS),
        width=max(0, len(columns) - 1) * COLUMN + WIDTH + 2 * MARGIN,
        height=max(heights, default=0) - (ROW - HEIGHT) + 2 * MARGIN,
        states=_counts(nodes),
    )


def _counts(nodes: list[Node]) -> tuple[tuple[str, int], ...]:
    counts = Counter(n.state for n in nodes)
    return tuple((state, counts[state]) for state in reversed(STATES) if counts[state])


def _most_worrying(by_name: dict[str, Node], edges: list[Edge], connected: set[str]) -> tuple[set[str], list[Edge]]:
    """Nodes and edges to draw. Of too many: the worst, who calls them most and whom they call most, and how."""
    if len(connected) <= DRAWN:
        return connected, edges
    troubled = [name for name in connected if by_name[name].state in TROUBLE]
    worst = set(sorted(troubled, key=lambda n: (-STATES.index(by_name[n].state), n))[:WORST])
    shown = set(worst)
    for e in sorted(edges, key=lambda e: (-(by_name[e.server].state in TROUBLE), -e.calls, e.client, e.server)):
        if len(shown) < AROUND and (e.client in worst or e.server in worst):
            shown |= {e.client, e.server}
    near = [e for e in edges if e.client in shown and e.server in shown and (e.client in worst or e.server in worst)]
    return shown, near


def _layers(names: set[str], edges: list[Edge]) -> tuple[list[list[Spot]], dict[Edge, list[Spot]]]:
    """Columns of services and of bends, and the way of each edge through them.

    Layers of the condensed graph (services that call each other share one); an edge that skips a layer gets a
    bend there, so that it passes beside the services (Sugiyama, Tagawa and Toda 1981).
    """
    graph = nx.DiGraph()
    graph.add_nodes_from(sorted(names))
    graph.add_edges_from((e.client, e.server) for e in edges)
    condensed = nx.condensation(graph)
    columns: list[list[Spot]] = [
        sorted(member for part in layer for member in condensed.nodes[part]["members"])
        for layer in nx.topological_generations(condensed)
    ]
    layer_of = {name: i for i, column in enumerate(columns) for name in column}
    routes: dict[Edge, list[Spot]] = {}
    for e in edges:
        bends = range(layer_of[e.client] + 1, layer_of[e.server])
        for i in bends:
            columns[i].append((e.client, e.server, i))
        routes[e] = [e.client, *((e.client, e.server, i) for i in bends), e.server]
    _untangle(columns, [step for route in routes.values() for step in pairwise(route)])
    return columns, routes


def _untangle(columns: list[list[Spot]], steps: list[tuple[Spot, Spot]]) -> None:
    """Order each column by the mean place of its neighbours, from the left and then from the right."""
    before: dict[Spot, list[Spot]] = {}
    after: dict[Spot, list[Spot]] = {}
    for start, end in steps:
        before.setdefault(end, []).append(start)
        after.setdefault(start, []).append(end)
    for left, right in pairwise(columns):
        _order(right, left, before)
    for left, right in reversed(list(pairwise(columns))):
        _order(left, right, after)


def _order(column: list[Spot], beside: list[Spot], neighbours: dict[Spot, list[Spot]]) -> None:
    place = {spot: (i + 0.5) / len(beside) for i, spot in enumerate(beside)}
    own = {spot: (i + 0.5) / len(column) for i, spot in enumerate(column)}

    def mean(spot: Spot) -> float:
        known = [place[n] for n in neighbours.get(spot, []) if n in place]
        return sum(known) / len(known) if known else own[spot]

    column.sort(key=lambda spot: (mean(spot), own[spot]))


def _row(spot: Spot) -> int:
    return ROW if isinstance(spot, str) else BEND


def _places(columns: list[list[Spot]], heights: list[int]) -> dict[Spot, tuple[int, int]]:
    at: dict[Spot, tuple[int, int]] = {}
    for i, column in enumerate(columns):
        y = MARGIN + (max(heights) - heights[i]) // 2
        for spot in column:
            at[spot] = (MARGIN + i * COLUMN, y if isinstance(spot, str) else y + BEND // 2 - HEIGHT // 2)
            y += _row(spot)
    return at


def _path(corners: list[tuple[int, int]]) -> str:
    """From the right side of the first spot, straight across each bend, to the left side of the last."""
    points = [(x, y + HEIGHT // 2) for x, y in corners]
    (x, y), (to_x, to_y) = points[0], points[-1]
    x += WIDTH
    if to_x < x:  # both in one column: a bow on the right
        side = to_x + WIDTH
        return f"M{x},{y} C{x + 44},{y} {side + 44},{to_y} {side + TIP},{to_y}"
    path = f"M{x},{y}"
    for bend_x, bend_y in points[1:-1]:
        path += f"{_curve(x, y, bend_x, bend_y)} H{bend_x + WIDTH}"
        x, y = bend_x + WIDTH, bend_y
    return path + _curve(x, y, to_x - TIP, to_y)


def _curve(x: int, y: int, to_x: int, to_y: int) -> str:
    middle = (x + to_x) // 2
    return f" C{middle},{y} {middle},{to_y} {to_x},{to_y}"
