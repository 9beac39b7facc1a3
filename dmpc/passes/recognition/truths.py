"""What of a graph is 0 or 1 in every timestep, and which comparisons of it are neurons."""

from collections.abc import Collection

import numpy as np
import numpy.typing as npt

from dmpc.ir.graph import Graph
from dmpc.ir.wires import Wires

COMPARISONS = ("ge", "gt")
MOVES = ("cast", "take", "concat", "matmul")  # what lines of events are made of


def held_truths(graph: Graph) -> frozenset[str]:
    """What holds 0 or 1 in every timestep: states of earlier spikes, and what is joined of them."""
    producers = {op.results[0]: op for op in graph.ops}
    found = {s.name for s in graph.states if s.init is None or _binary(graph.constants[s.init])}

    def holds(value: str) -> bool:
        if value in graph.constants:
            return _binary(graph.constants[value])
        if value in found or graph.types[value].dtype == "bool":
            return True
        op = producers.get(value)
        if op is None or op.kind not in ("take", "concat", "where", "mul", "relu", "cast"):
            return False
        return all(holds(operand) for operand in op.operands)

    while lost := {s.name for s in graph.states if s.name in found and not holds(s.next)}:
        found -= lost
    return frozenset(found.union(filter(holds, producers)))


def _binary(array: npt.NDArray[np.generic]) -> bool:
    return bool(np.isin(array, (0, 1)).all())


def is_neuron(graph: Graph, comparison: str, leaves: Collection[str], *, same: bool) -> bool:
    """True for a comparison that is no other one again, though a function of 0/1 numbers, `leaves`.

    It is constant, but not for being one of weights; it follows from its own past alone; or it
    waits in a line, and is not the `same` as what it compares: neurons that pruning left so.
    """
    wires = graph.wires(carried=True)
    above = wires.above(comparison)
    if not leaves:
        return not above.isdisjoint({*graph.inputs, *(state.name for state in graph.states)})
    if not same and _waits(graph, comparison):
        return True
    others = {op.results[0] for op in graph.ops if op.kind in COMPARISONS} - {comparison}
    wires.remove(others)
    below = wires.below(comparison)
    return below.issuperset(leaves)


def _waits(graph: Graph, comparison: str) -> bool:
    """True for a comparison that a state holds as it is."""
    moves = [op for op in graph.ops if op.kind in MOVES]
    wires = Wires[str]()
    for op in moves:
        for operand in op.operands:
            wires.wire(operand, op.results[0])
    below = wires.below(comparison) if comparison in wires else set()
    return any(state.next in below for state in graph.states)
