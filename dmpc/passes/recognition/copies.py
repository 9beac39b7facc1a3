"""States that say nothing new: a multiple of another state and a constant, such as a threshold that
is kept beside what it adapts by. Cutting unrolled timesteps makes states of such values, too."""

from dataclasses import replace

import numpy as np

from dmpc.ir.graph import Graph, Op, State
from dmpc.ir.types import f32
from dmpc.passes.recognition.affine import Forms
from dmpc.passes.recognition.terms import Matrix, near, ratio


def without_copies(graph: Graph) -> Graph:
    """The graph with such states worked out of the others; those that start from zero stay."""
    found = [(one, *copy) for one in graph.states if (copy := _copied(graph, one)) is not None]
    if not found:
        return graph
    graph = graph.copy()
    for state, other, factor, offset in reversed(found):  # each before those that are its copies
        size = len(factor)
        names = [graph.fresh(f"{state.name}.{part}") for part in ("factor", "offset", "scaled")]
        for name, value in zip(names, (factor, offset), strict=False):
            graph.add_constant(name, value, f32(size))
        graph.types[names[2]] = f32(size)
        graph.states = [one for one in graph.states if one.name != state.name]
        graph.ops[:0] = [
            Op("mul", (other.name, names[0]), (names[2],), {}, state.loc),
            Op("add", (names[2], names[1]), (state.name,), {}, state.loc),
        ]
    return graph


def without_constants(graph: Graph) -> Graph | None:
    """The graph with constants for states that stay where they start, such as thresholds that
    would move, were factors not zero; None if there are none."""
    forms = Forms(graph)
    found: dict[str, Matrix] = {}
    for state in graph.states:
        after, start = forms.form(state.next), _start(graph, state)
        if not after.parts and np.array_equal(after.bias, start):
            found[state.name] = start
    if not found:
        return None
    graph = graph.copy()
    graph.states = [one for one in graph.states if one.name not in found]
    for name, value in found.items():
        graph.add_constant(name, value, graph.types[name])
    return graph


def from_rest(graph: Graph, *, anywhere: bool = False) -> Graph:
    """The graph with states that a constant drives, and that start where it lets them rest, as what
    they are above their rest: that starts from zero, and no constant drives it.

    With `anywhere`, those that start elsewhere as well.
    """
    forms = Forms(graph)
    rests = [(one, at) for one in graph.states if (at := _rest(forms, one)) is not None]
    found = [(one, at) for one, at in rests if anywhere or np.array_equal(at, _start(graph, one))]
    if not found:
        return graph
    graph = graph.copy()
    for state, value in found:
        type_, begins = graph.types[state.name], _start(graph, state) - value
        names = [graph.fresh(f"{state.name}.{part}") for part in ("rest", "above", "next", "start")]
        rest, above, after, start = names
        graph.add_constant(rest, value, f32(len(value)))
        graph.types[above] = graph.types[after] = type_
        init = graph.add_constant(start, begins, type_) if begins.any() else None
        shifted = replace(state, name=above, next=after, init=init)
        graph.states = [shifted if one.name == state.name else one for one in graph.states]
        graph.ops.insert(0, Op("add", (above, rest), (state.name,), {}, state.loc))
        graph.ops.append(Op("sub", (state.next, rest), (after,), {}, state.loc))
    return graph


def _rest(forms: Forms, state: State) -> Matrix | None:
    """Where a state that a constant drives rests while all else is zero; of one that starts there,
    exactly its start. None if no constant drives it, or it rests nowhere."""
    after, start = forms.form(state.next), _start(forms.graph, state)
    own = after.parts[state.name].diagonal() if state.name in after.parts else None
    if own is None or not after.bias.any():
        return None
    if near(after.bias + own * start, start):
        return start
    return after.bias / (1.0 - own) if (np.abs(own) < 1).all() else None


def _copied(graph: Graph, state: State) -> tuple[State, Matrix, Matrix] | None:
    """The state that another one is a factor of and an offset from, in every timestep."""
    start = _start(graph, state)
    if not start.any():
        return None
    forms = Forms(graph)
    mine = forms.form(state.next)
    number = graph.states.index(state)
    for at, other in enumerate(graph.states):
        theirs, begins = forms.form(other.next), _start(graph, other)
        if other is state or not mine.parts or mine.parts.keys() != theirs.parts.keys():
            continue
        if begins.any() and (theirs.bias.any(), at) > (mine.bias.any(), number):
            continue  # of two that start elsewhere than at zero, one that rests there stays
        if mine.size != theirs.size:
            continue
        factor = ratio(mine, theirs, "")
        offset = mine.bias - factor * theirs.bias
        scaled = theirs.scaled(factor)
        same = all(term.near(scaled.parts[leaf]) for leaf, term in mine.parts.items())
        if same and mine.size == theirs.size and near(start, factor * begins + offset):
            return other, factor, offset
    return None


def _start(graph: Graph, state: State) -> Matrix:
    size = graph.types[state.name].size
    init = graph.constants[state.init] if state.init else np.zeros(size)
    return np.resize(init.astype(np.float64), size)
