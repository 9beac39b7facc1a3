"""Which ops of a graph depend on their own past, and in which order all can be computed."""

from collections.abc import Collection
from dataclasses import dataclass

from dmpc.ir.graph import Graph, Op, State
from dmpc.ir.wires import Wires


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
    wires = graph.wires(carried=True)
    for name in fed:
        wires.cut(name)
    needed = set[str | int](wanted).union(*(wires.above(name) for name in wanted))
    cells = wires.cells(needed)
    cell_of = {node: number for number, cell in enumerate(cells) for node in cell}
    place = {node: number for number, node in enumerate(wires)}
    flow = Wires(range(len(cells)))
    for node, number in cell_of.items():
        for source in wires.before[node]:
            if source in cell_of and cell_of[source] != number:
                flow.wire(cell_of[source], number)
    order = flow.ordered(lambda number: min(place[node] for node in cells[number]))
    found = [_part(graph, wires, frozenset(cells[cell]), wanted, fed) for cell in order]
    return [part for part in found if part.ops or part.states]


def _part(
    graph: Graph,
    wires: Wires[str | int],
    nodes: Collection[str | int],
    wanted: Collection[str],
    fed: Collection[str],
) -> Part:
    ops = tuple(op for index, op in enumerate(graph.ops) if index in nodes)
    states = tuple(state for state in graph.states if state.name in nodes)
    ring = len(nodes) > 1 or any(node in wires.after[node] for node in nodes)
    made = [*(name for op in ops for name in op.results), *(state.name for state in states)]
    needs = [*(name for op in ops for name in op.operands), *(state.next for state in states)]
    reads = dict.fromkeys(name for name in needs if name in fed or name not in made)
    shown = [
        name
        for name in made
        if name in wanted or any(user not in nodes for user in wires.after[name])
    ]
    return Part(ops, states, ring, tuple(reads), tuple(shown))
