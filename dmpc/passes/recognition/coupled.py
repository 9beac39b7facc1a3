"""Slow states that move each other, such as real and imaginary parts: they are one slow state; and
states that hear alone what they charged."""

from collections.abc import Sequence

import numpy as np

from dmpc.ir.graph import Array, Graph, Op, State
from dmpc.ir.types import f32
from dmpc.ir.wires import Wires
from dmpc.passes.recognition.affine import Forms
from dmpc.passes.recognition.network import Network
from dmpc.passes.recognition.terms import Affine
from dmpc.passes.recognition.truths import COMPARISONS


def together(graph: Graph) -> Graph:
    """The graph with such states as one, of which whatever read one of them takes its part."""
    cells = [cell for cell in _coupled(graph) if len(cell) > 1]
    if not cells:
        return graph
    network = Network(graph, Forms(graph))
    for cell in cells:
        states = [state for state in graph.states if state.name in cell]
        if all(_is_linear(network, state) for state in states) and _mixed(network, cell):
            graph = _joined(graph, states)
    return graph


def heard_late(graph: Graph) -> Graph:
    """The graph with states that hear nothing but neurons which they charged in the same timestep
    worked out a timestep later, of what they were and of what drove them: what neurons adapt by
    that keep no membrane."""
    network = Network(graph, Forms(graph))
    comparisons = {*network.comparisons()}
    for state in graph.states:
        form = network.forms.form(state.next)
        own = form.parts.keys() & comparisons & network.wires.below(state.name)
        others = [leaf for leaf in form.parts if leaf != state.name]
        rests = state.init is None and not form.bias.any()
        if own and rests and own >= {*others}:
            graph = _later(graph, state, form)
    return graph


def _later(graph: Graph, state: State, form: Affine) -> Graph:
    """The graph with a state as the sum that its form is, of values of the timestep before."""
    graph, made = graph.copy(), list[Op]()
    for leaf, term in form.parts.items():
        before, product, value, weight, added = (
            graph.fresh(f"{state.name}.{part}")
            for part in ("before", "product", "value", "weight", "sum")
        )
        graph.add_constant(weight, term.matrix, f32(*term.matrix.shape))
        graph.types[before] = f32(term.matrix.shape[1])
        graph.states.append(
            State(before, state.name if leaf == state.name else value, None, state.loc)
        )
        if leaf != state.name:
            graph.add(Op("cast", (leaf,), (value,), {}, state.loc), graph.types[before])
        total = made[-1].results if made else ()
        made.append(Op("matmul", (before, weight), (product,), {}, state.loc))
        if total:
            made.append(Op("add", (*total, product), (added,), {}, state.loc))
        graph.types |= dict.fromkeys((product, added), graph.types[state.name])
    made[-1].results = (state.name,)
    graph.ops[:0] = made
    graph.states = [one for one in graph.states if one.name != state.name]
    graph.ops = graph.toposort()
    return graph


def _coupled(graph: Graph) -> list[list[str]]:
    """The states in cells of those that move each other without a comparison between."""
    wires, names = graph.wires(), {state.name for state in graph.states}
    for op in graph.ops:
        if op.kind in COMPARISONS:
            wires.cut(op.results[0])
    couplings = Wires([state.name for state in graph.states])
    for state in graph.states:
        for other in sorted(map(str, wires.above(state.next) & names)):
            couplings.wire(other, state.name)
    return couplings.cells(names)


def _is_linear(network: Network, state: State) -> bool:
    """Whether a state is linear in others and in events that do not depend on it, and charges
    neurons."""
    form, below = network.forms.form(state.next), network.wires.below(state.name)
    compared = {network.forms.shared.get(str(value), ("",))[0] for value in below}
    return (
        state.name in network.charging
        and not any(map(network.forms.opaque, form.parts))
        and form.parts.keys().isdisjoint(compared)
    )


def _mixed(network: Network, cell: Sequence[str]) -> bool:
    """Whether neurons read the states through weights, and not each an element of its own."""
    charges = (network.forms.difference(name).parts for name in network.comparisons())
    read = (parts[name] for parts in charges for name in cell if name in parts)
    return any(term.diagonal() is None for term in read)


def _joined(graph: Graph, states: Sequence[State]) -> Graph:
    """The graph with some states as one."""
    graph = graph.copy()
    first = states[0].name
    whole, after = (graph.fresh(f"{first}.{part}") for part in ("together", "together.next"))
    ends = np.cumsum([graph.types[state.name].size for state in states])
    loc = tuple(name for state in states for name in state.loc[:1])
    init = None
    if any(state.init for state in states):
        start = np.concatenate([_start(graph, state) for state in states])
        init = graph.add_constant(f"{whole}.init", start, f32(len(start)), loc)
    wires = graph.wires()
    making = set().union(*(wires.above(state.next) for state in states))
    readers = [op for number, op in enumerate(graph.ops) if number not in making]
    nexts = tuple(state.next for state in states)
    graph.types[whole] = f32(int(ends[-1]))
    graph.add(Op("concat", nexts, (after,), {}, loc), graph.types[whole])
    for state, end in zip(states, map(int, ends), strict=True):
        own, new = graph.types[state.name], graph.fresh(f"{state.next}.taken")
        indices = {"indices": tuple(range(end - own.size, end))}
        graph.add(Op("take", (after,), (new,), dict(indices), state.loc), own)
        graph.ops.append(Op("take", (whole,), (state.name,), dict(indices), state.loc))
        for op in readers:
            op.operands = tuple(new if name == state.next else name for name in op.operands)
    graph.states = [one for one in graph.states if one not in states]
    graph.states.append(State(whole, after, init, loc))
    graph.ops = graph.toposort()
    return graph


def _start(graph: Graph, state: State) -> Array:
    size = graph.types[state.name].size
    return np.resize(graph.constants[state.init], size) if state.init else np.zeros(size)
