"""Which ops of a graph depend on their own past, and in which order all can be computed."""

from collections.abc import Collection
from dataclasses import dataclass

import networkx as nx

from dmpc.ir.graph import Graph, Op, State


@dataclass(frozen=True)
class Part:
    """One op or state, or, as a `ring`, all those that each depend on each other's past.

    `reads` are the values of other parts that it needs, `shown` those of its own that others need.
    """

    ops: tuple[Op, ...]
    states: tuple[State, ...]
    ring: bool
    reads: tuple[str, ...]
    shown: tuple[str, ...]


def parts(graph: Graph, wanted: Collection[str], fed: Collection[str] = ()) -> list[Part]:
    """What `wanted` values depend on, each part after those that it reads.

    Values that are `fed` to whatever reads them lead nowhere.
    """
    wires = graph.to_networkx(carried=True)
    wires.remove_edges_from([edge for name in fed for edge in wires.out_edges(name)])
    needed = set(wanted).union(*(nx.ancestors(wires, name) for name in wanted))
    cells = nx.condensation(nx.DiGraph(wires.subgraph(needed)))
    members = {cell: frozenset(nodes) for cell, nodes in cells.nodes(data="members")}
    place = {node: number for number, node in enumerate(wires.nodes)}
    order = nx.lexicographical_topological_sort(
        cells, key=lambda cell: min(place[node] for node in members[cell])
    )
    found = [_part(graph, wires, members[cell], wanted, fed) for cell in order]
    return [part for part in found if part.ops or part.states]


def _part(
    graph: Graph,
    wires: "nx.MultiDiGraph[str | int]",
    nodes: Collection[str | int],
    wanted: Collection[str],
    fed: Collection[str],
) -> Part:
    ops = tuple(op for index, op in enumerate(graph.ops) if index in nodes)
    states = tuple(state for state in graph.states if state.name in nodes)
    ring = len(nodes) > 1 or any(wires.has_edge(node, node) for node in nodes)
    made = [*(name for op in ops for name in op.results), *(state.name for state in states)]
    needs = [*(name for op in ops for name in op.operands), *(state.next for state in states)]
    reads = dict.fromkeys(name for name in needs if name in fed or name not in made)
    shown = [
        name
        for name in made
        if name in wanted or any(user not in nodes for user in wires.successors(name))
    ]
    return Part(ops, states, ring, tuple(reads), tuple(shown))
