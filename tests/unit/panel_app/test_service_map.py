"""Callers stand left of what they call, nothing overlaps, and the worst is always drawn."""

from itertools import pairwise

from forewarn.stores.views.now import Edge, Node
from panel_app import service_map


def node(name: str, state: str = "calm") -> Node:
    return Node(name, state, "", None, 0)


def edge(client: str, server: str) -> Edge:
    return Edge(client, server, 10, 1)


def test_callers_stand_left_and_nodes_do_not_overlap() -> None:
    names = ["a", "b", "c", "d", "e"]
    edges = (edge("a", "b"), edge("b", "c"), edge("a", "c"), edge("b", "d"), edge("e", "d"))
    (drawing,) = service_map.drawings(tuple(node(n) for n in names), edges)
    at = {p.node.entity: (p.x, p.y) for p in drawing.placed}
    assert set(at) == set(names)
    assert all(at[e.client][0] < at[e.server][0] for e in edges)
    for x in {x for x, _ in at.values()}:
        ys = sorted(y for x2, y in at.values() if x2 == x)
        assert all(below - above >= service_map.HEIGHT for above, below in pairwise(ys))
    assert all(0 <= x <= drawing.width - service_map.WIDTH for x, _ in at.values())
    assert all(0 <= y <= drawing.height - service_map.HEIGHT for _, y in at.values())


def test_a_line_that_skips_a_layer_passes_beside_the_service_there() -> None:
    edges = (edge("a", "b"), edge("b", "c"), edge("a", "c"))
    (drawing,) = service_map.drawings(tuple(node(n) for n in "abc"), edges)
    (b,) = (p for p in drawing.placed if p.node.entity == "b")
    (line,) = (line for line in drawing.lines if line.edge == edge("a", "c"))
    height = int(line.path.split(" H")[0].rsplit(",", 1)[1])
    assert not b.y <= height <= b.y + service_map.HEIGHT


def test_services_that_call_each_other_are_drawn() -> None:
    edges = (edge("a", "b"), edge("b", "a"), edge("b", "c"))
    (drawing,) = service_map.drawings(tuple(node(n) for n in "abc"), edges)
    assert len(drawing.lines) == 3 and len(drawing.placed) == 3


def test_of_too_many_the_worst_and_its_neighbours_are_drawn() -> None:
    names = [f"s/{i:03d}" for i in range(300)]
    edges = tuple(edge(a, b) for a, b in pairwise(names))
    nodes = tuple(node(n, "critical" if n == "s/250" else "calm") for n in names)
    (drawing,) = service_map.drawings(nodes, edges)
    drawn = {p.node.entity for p in drawing.placed}
    assert {"s/249", "s/250", "s/251"} <= drawn
    assert drawn == {"s/249", "s/250", "s/251"} and drawing.left_out == 297
    assert drawing.states == (("critical", 1), ("calm", 299)) and drawing.troubled == 1


def test_of_many_in_trouble_no_more_are_drawn_than_can_be_read() -> None:
    names = [f"s/{i:03d}" for i in range(300)]
    edges = tuple(edge(a, b) for i, a in enumerate(names) for b in names[i + 1 : i + 4])
    nodes = tuple(node(n, "failing" if n == "s/150" else "warning") for n in names)
    (drawing,) = service_map.drawings(nodes, edges)
    drawn = {p.node.entity for p in drawing.placed}
    assert "s/150" in drawn and len(drawn) <= service_map.AROUND + 1
    assert all(line.edge.client in drawn and line.edge.server in drawn for line in drawing.lines)


def test_where_all_is_calm_a_large_namespace_is_a_line() -> None:
    names = [f"s/{i:03d}" for i in range(100)]
    (drawing,) = service_map.drawings(tuple(node(n) for n in names), tuple(edge(a, b) for a, b in pairwise(names)))
    assert drawing.placed == () and drawing.states == (("calm", 100),) and drawing.left_out == 100


def test_namespaces_are_drawn_apart_and_those_without_edges_last() -> None:
    nodes = (node("host"), node("shop/a"), node("shop/b"), node("shop/alone", "watch"))
    first, second = service_map.drawings(nodes, (edge("shop/a", "shop/b"),))
    assert (first.namespace, second.namespace) == ("shop", "")
    assert [n.entity for n in first.loose] == ["shop/alone"]
    assert [n.entity for n in second.loose] == ["host"] and second.placed == ()
