"""The network as a drawing: each op by its pathway and by how far it is from the input."""

from dataclasses import dataclass

from dmpc.backend.places import bank_of
from dmpc.ir.graph import Graph, Op
from dmpc.ir.ops_convolution import PRODUCTS
from isa.target import Target

LANES = ("input", "delay", "spike", "update", "memory_a", "memory_b", "neuron", "readout")
"""Pathways from top to bottom."""


@dataclass(frozen=True)
class Node:
    """An op, or an input: its pathway, and its place; `column` counts from the input."""

    name: str
    kind: str
    layer: str
    path: str
    size: str
    bank: str
    reason: str
    nodes: tuple[str, ...]
    column: int
    row: float


@dataclass(frozen=True)
class Drawing:
    """Nodes, edges between them by name, and those of them that carry a state to the next step."""

    nodes: list[Node]
    edges: list[tuple[str, str]]
    carried: list[tuple[str, str]]


def drawing(graph: Graph, target: Target) -> Drawing:
    """The ops of a scheduled graph in columns, each beside what it needs, in lanes by pathway."""
    made = {name: op.results[0] for op in graph.ops for name in op.results}
    made |= {name: name for name in graph.inputs}
    states = {state.name: made[state.next] for state in graph.states if state.next in made}
    edges, carried = [], []
    column = dict.fromkeys(graph.inputs, 0)
    for op in graph.ops:
        name = op.results[0]
        before = [made[operand] for operand in op.operands if operand in made]
        edges += [(other, name) for other in dict.fromkeys(before)]
        column[name] = 1 + max((column[other] for other in before), default=-1)
        late = [states[operand] for operand in op.operands if operand in states]
        carried += [(other, name) for other in dict.fromkeys(late) if other != name]
    for op in graph.ops:  # what reads a state alone stands beside its reader
        name = op.results[0]
        readers = [column[b] for a, b in edges if a == name]
        if readers and not any(b == name for _, b in edges):
            column[name] = max(min(readers) - 1, 0)
    taken: dict[tuple[str, int], int] = {}
    nodes = []
    for name in column:
        made_by = graph.producer(name)
        path = str(made_by.attrs.get("path", "")) if made_by else "input"
        above = taken[path, column[name]] = taken.get((path, column[name]), -1) + 1
        nodes.append(_node(graph, target, name, made_by, path, column[name], above))
    return Drawing(nodes, edges, carried)


def _node(
    graph: Graph, target: Target, name: str, op: Op | None, path: str, column: int, above: int
) -> Node:
    shape = graph.types[name].shape
    size = "x".join(map(str, shape))
    bank = reason = ""
    if op and op.kind in PRODUCTS:
        rows = graph.types[op.operands[1]].shape
        size = f"{rows[1]} to {rows[0]}"
        bank, reason = target.bank[bank_of(op, target)].name, str(op.attrs.get("reason", ""))
    lane = LANES.index(path) if path in LANES else len(LANES)
    nodes = op.loc if op else graph.locs.get(name, ())
    return Node(
        name,
        op.kind if op else "input",
        str(op.attrs.get("layer", "")) if op else "input",
        path,
        size,
        bank,
        reason,
        tuple(nodes),
        column,
        lane + 0.35 * above,
    )
