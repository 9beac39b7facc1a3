"""Timesteps that are cut elsewhere, so that what a comparison says of old states is said of them.

A loop over time that is unrolled and cut again may begin a timestep early: what it works out of
states alone then stands at the end of the timestep before, and its results are states in their
place. Moving it back changes nothing that is computed.
"""

from dataclasses import replace

import numpy as np

from dmpc.ir.graph import Graph, Op, State
from dmpc.ir.registry import EvalContext, op_def
from dmpc.passes.recognition.terms import Matrix, near
from dmpc.passes.recognition.truths import COMPARISONS


def turned(graph: Graph) -> Graph | None:
    """The graph with comparisons that only states hear of at the start of the next timestep.

    None where there are none, or where they look at more than a timestep leaves.
    """
    wires = graph.wires()
    moved: set[str | int] = set()
    for op in graph.ops:
        below = {op.results[0], *wires.below(op.results[0])}
        if op.kind in COMPARISONS and below.isdisjoint(graph.outputs):
            moved |= below
    ops = [op for op in graph.ops if op.results[0] in moved]
    read = dict.fromkeys(name for op in ops for name in op.operands)
    given = [name for name in read if name not in moved and name not in graph.constants]
    own = {state.name for state in graph.states}
    if not ops or not own.union(graph.inputs).isdisjoint(given):
        return None
    kept = [state for state in graph.states if state.next not in moved]
    held = {state.next: state.name for state in kept}
    made = graph.copy()
    for name in given:
        if name not in held:
            held[name] = made.fresh(f"{name}.held")
            made.types[held[name]] = graph.types[name]
            producer = graph.producer(name)
            kept.append(State(held[name], name, None, producer.loc if producer else ()))
    if not _starts_alike(graph, ops, kept, moved):
        return None
    gone = {state.name: state.next for state in graph.states if state.next in moved}
    made.states = [replace(state, next=gone.get(state.next, state.next)) for state in kept]
    for op in made.ops:
        names = held if op.results[0] in moved else gone
        op.operands = tuple(names.get(name, name) for name in op.operands)
    made.outputs = [gone.get(name, name) for name in made.outputs]
    made.ops = made.toposort()
    return made


def _starts_alike(graph: Graph, ops: list[Op], kept: list[State], moved: set[str | int]) -> bool:
    """Whether values start as states do that they take the place of."""
    values: dict[str, Matrix] = {
        state.next: _start(graph, state, graph.types[state.next].size) for state in kept
    }
    for op in ops:
        operands = [values[n] if n in values else graph.constants[n] for n in op.operands]
        (values[op.results[0]],) = op_def(op.kind).evaluate(EvalContext(), op.attrs, *operands)
    return all(
        near(values[state.next].astype(np.float64), _start(graph, state, values[state.next].size))
        for state in graph.states
        if state.next in moved
    )


def _start(graph: Graph, state: State, size: int) -> Matrix:
    init = np.zeros(size) if state.init is None else graph.constants[state.init]
    return np.resize(init.astype(np.float64), size)
