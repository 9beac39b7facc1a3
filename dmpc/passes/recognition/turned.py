"""Timesteps that are cut elsewhere, so that what a comparison says of old states is said of them.

A loop over time that is unrolled and cut again may begin a timestep early: what it works out of
states alone then stands at the end of the timestep before, and its results are states in their
place. Moving it back changes nothing that is computed.
"""

from dataclasses import replace

import numpy as np

from dmpc.ir.graph import Graph, Op, State
from dmpc.ir.prune import prune
from dmpc.ir.registry import EvalContext, op_def
from dmpc.ir.types import f32
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
    moved |= _with_them(graph, moved)
    ops = [op for op in graph.ops if op.results[0] in moved]
    given = _given(graph, ops)
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


def _given(graph: Graph, ops: list[Op]) -> list[str]:
    """What some operations read of others."""
    made = {op.results[0] for op in ops}
    read = dict.fromkeys(name for op in ops for name in op.operands)
    return [name for name in read if name not in made and name not in graph.constants]


def _with_them(graph: Graph, moved: set[str | int]) -> set[str]:
    """What operations that move alone read, and work out of what they read besides: a membrane's
    leak, of which a state of its own would say nothing new."""
    given = _given(graph, [op for op in graph.ops if op.results[0] in moved])
    ends = {*graph.outputs, *(state.next for state in graph.states)}
    found: set[str] = set()
    for op in graph.ops:
        (name,), operands = op.results, {*op.operands} - graph.constants.keys()
        readers = {other.results[0] for other in graph.ops if name in other.operands}
        known = bool(operands) and operands <= {*given} - {name}
        if known and name in given and name not in ends and readers <= moved:
            found.add(name)
    return found


def foretold(graph: Graph) -> Graph | None:
    """The graph with comparisons of nothing but states at the end of the timestep before.

    Neurons that compare the membrane as the last timestep left it spike, to all that hears them, a
    timestep late: what the comparison says is held till then. None where there are none.
    """
    wires = graph.wires()
    own = {state.name: state for state in graph.states}
    above = {op.results[0]: wires.above(op.results[0]) for op in graph.ops}
    found = [
        op
        for op in graph.ops
        if op.kind in COMPARISONS
        and not own.keys().isdisjoint(above[op.results[0]])
        and above[op.results[0]].isdisjoint(graph.inputs)
    ]
    if not found:
        return None
    made, cone = graph.copy(), {name for op in found for name in above[op.results[0]]}
    told = {op.results[0] for op in found}
    names: dict[str, str] = {state.name: state.next for state in graph.states}
    values = {
        state.name: _start(graph, state, graph.types[state.name].size) for state in own.values()
    }
    for op in graph.ops:
        if op.results[0] not in cone | told:
            continue
        names[op.results[0]] = made.fresh(f"{op.results[0]}.next")
        operands = tuple(names.get(name, name) for name in op.operands)
        type_ = graph.types[op.results[0]]
        made.add(replace(op, operands=operands, results=(names[op.results[0]],)), type_)
        given = [values[n] if n in values else graph.constants[n] for n in op.operands]
        (values[op.results[0]],) = op_def(op.kind).evaluate(EvalContext(), op.attrs, *given)
    for op in found:
        (said,) = op.results
        _hold(made, said, names[said], values[said].astype(np.float64), op)
    made.ops = made.toposort()
    return prune(made)


def turned_and_foretold(graph: Graph) -> Graph | None:
    """Both, one after the other."""
    back = turned(graph)
    return None if back is None else foretold(back)


def _hold(graph: Graph, said: str, foretold: str, start: Matrix, op: Op) -> None:
    """Let a comparison say what another said a timestep before."""
    size = graph.types[said].size
    held, next_, half = (graph.fresh(f"{said}.{part}") for part in ("held", "as", "half"))
    graph.add(Op("cast", (foretold,), (next_,), {}, op.loc), f32(size))
    init = None
    if start.any():
        init = graph.add_constant(graph.fresh(f"{held}.init"), np.resize(start, size), f32(size))
    graph.types[held] = f32(size)
    graph.states.append(State(held, next_, init, op.loc))
    graph.add_constant(half, np.array([0.5]), f32(1))
    at = next(number for number, one in enumerate(graph.ops) if one.results[0] == said)
    graph.ops[at] = Op("gt", (held, half), (said,), {}, op.loc)


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
