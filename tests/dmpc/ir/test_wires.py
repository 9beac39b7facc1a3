"""Wires of graphs: what depends on what, orders, rings and cells."""

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmpc.ir.wires import Ring, Wires, reached

EDGES = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=25)


def wired(edges):
    wires, same = Wires(range(10)), nx.DiGraph()
    same.add_nodes_from(range(10))
    same.add_edges_from(edges)
    for source, target in edges:
        wires.wire(source, target)
    return wires, same


@given(EDGES)
def test_what_depends_on_what_is_what_networkx_says(edges):
    wires, same = wired(edges)
    for node in wires:
        assert wires.below(node) == nx.descendants(same, node)
        assert wires.above(node) == nx.ancestors(same, node)
        costs = nx.single_source_dijkstra_path_length(same, node, weight=lambda _, to, __: to)
        assert wires.distances(node, lambda to: to) == costs


@given(EDGES, st.sets(st.integers(0, 9)))
def test_cells_are_the_strongly_connected_parts_each_after_what_it_depends_on(edges, nodes):
    wires, same = wired(edges)
    cells = wires.cells(nodes)
    among = same.subgraph(nodes)
    assert {frozenset(cell) for cell in cells} == set(
        map(frozenset, nx.strongly_connected_components(among))
    )
    place = {node: number for number, cell in enumerate(cells) for node in cell}
    assert all(place[a] <= place[b] for a, b in among.edges)


@given(EDGES)
def test_an_order_is_the_least_of_all_or_there_is_a_ring(edges):
    wires, same = wired(edges)
    try:
        found = wires.ordered(lambda node: -node)
    except Ring as ring:
        nodes = ring.nodes
        assert all(same.has_edge(a, b) for a, b in zip(nodes, [*nodes[1:], nodes[0]], strict=True))
        assert nodes[0] == min(nodes)
        assert not nx.is_directed_acyclic_graph(same)
    else:
        assert found == list(nx.lexicographical_topological_sort(same, key=lambda node: -node))


@given(EDGES, st.integers(0, 9), st.sets(st.integers(0, 9)))
def test_what_is_cut_or_removed_leads_nowhere(edges, cut, removed):
    wires, same = wired(edges)
    left = wires.copy()
    left.cut(cut)
    same.remove_edges_from(list(same.out_edges(cut)))
    assert {(a, b) for a in left for b in left.after[a]} == set(same.edges)
    left.remove(removed)
    same.remove_nodes_from(removed)
    assert {(a, b) for a in left for b in left.after[a]} == set(same.edges)
    assert all(a in left.after and b in left.before[a] for a in left for b in left.before[a])
    assert {(a, b) for a in wires for b in wires.after[a]} == set(edges)


def test_what_is_reached_stops_where_it_is_cut():
    wires, _ = wired([(0, 1), (1, 2), (2, 0), (0, 3)])
    assert reached(wires.after, [0], {1}) == {3}
    assert reached(wires.after, [0]) == {0, 1, 2, 3}
    with pytest.raises(Ring):
        wires.ordered(lambda node: node)
