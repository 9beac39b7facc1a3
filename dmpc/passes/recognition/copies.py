"""States that say nothing new: a multiple of another state and a constant, such as a threshold that
is kept beside what it adapts by. Cutting unrolled timesteps makes states of such values, too."""

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
    for state, other, factor, offset in found:
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


def _copied(graph: Graph, state: State) -> tuple[State, Matrix, Matrix] | None:
    """The state that another one is a factor of and an offset from, in every timestep."""
    start = _start(graph, state)
    if not start.any():
        return None
    forms = Forms(graph)
    mine = forms.form(state.next)
    for other in graph.states:
        theirs, begins = forms.form(other.next), _start(graph, other)
        if begins.any() or not mine.parts or mine.parts.keys() != theirs.parts.keys():
            continue
        factor = ratio(mine, theirs, "")
        offset = mine.bias - factor * theirs.bias
        scaled = theirs.scaled(factor)
        same = all(term.near(scaled.parts[leaf]) for leaf, term in mine.parts.items())
        if same and mine.size == theirs.size and near(start, offset):
            return other, factor, offset
    return None


def _start(graph: Graph, state: State) -> Matrix:
    size = graph.types[state.name].size
    init = graph.constants[state.init] if state.init else np.zeros(size)
    return np.resize(init.astype(np.float64), size)
