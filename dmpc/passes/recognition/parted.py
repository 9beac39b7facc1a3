"""States that a model keeps side by side in one vector, as in `v, i = state.chunk(2, 1)`."""

from dataclasses import replace

import numpy as np

from dmpc.ir.graph import Array, Graph, Op, State
from dmpc.ir.types import f32


def parted(graph: Graph) -> Graph | None:
    """The graph with a state for each part of such a vector, and what is taken out of vectors that
    are joined read where it is made; None if there is nothing of both."""
    graph = graph.copy()
    found = [(one, *join) for one in graph.states if (join := _join(graph, one.next)) is not None]
    for state, joined, order in found:
        _part(graph, state, joined, order)
    joins = False
    for at, op in enumerate(graph.ops):
        if op.kind == "take":
            name, indices = _origin(graph, *_taken(op))
            joins |= name != op.operands[0]
            graph.ops[at] = _take(name, indices, op.results[0], op)
    _read_directly(graph)
    return graph if found or joins else None


def _take(name: str, indices: Array, result: str, of: Op | State) -> Op:
    return Op("take", (name,), (result,), {"indices": tuple(map(int, indices))}, of.loc)


def _taken(op: Op) -> tuple[str, Array]:
    """What a `take` reads, and which elements of it."""
    return op.operands[0], np.array(op.attrs["indices"], np.int64)


def _join(graph: Graph, name: str) -> tuple[Op, Array] | None:
    """The concat of which a value is all elements, and their order; None if it is of none."""
    op, order = graph.producer(name), np.arange(graph.types[name].size)
    if op is not None and op.kind == "take":
        source, order = _taken(op)
        op = graph.producer(source)
    if op is None or op.kind != "concat" or len(op.operands) < 2:
        return None
    whole = np.array_equal(np.sort(order), np.arange(graph.types[op.results[0]].size))
    return (op, order) if whole else None


def _part(graph: Graph, state: State, joined: Op, order: Array) -> None:
    """Let a state be made of a state for each part."""
    begins = np.zeros(len(order))
    if state.init is not None:
        begins[order] = graph.constants[state.init]
    bounds, names = _bounds(graph, joined), []
    for start, end, after in zip(bounds, bounds[1:], joined.operands, strict=False):
        name, init = graph.fresh(f"{state.name}.part"), None
        type_ = graph.types[name] = f32(int(end - start))
        if begins[start:end].any():
            init = graph.add_constant(graph.fresh(f"{name}.init"), begins[start:end], type_)
        graph.states.append(replace(state, name=name, next=after, init=init))
        names.append(name)
    graph.states = [one for one in graph.states if one is not state]
    whole = graph.fresh(f"{state.name}.parts")
    graph.types[whole] = graph.types[state.name]
    graph.ops[:0] = [
        Op("concat", tuple(names), (whole,), {}, state.loc),
        _take(whole, order, state.name, state),
    ]


def _bounds(graph: Graph, joined: Op) -> Array:
    """Where each part of a joined vector begins, and where the last one ends."""
    return np.cumsum([0, *(graph.types[name].size for name in joined.operands)])


def _origin(graph: Graph, name: str, indices: Array) -> tuple[str, Array]:
    """The value of which some elements of a value are elements, by joins and other takes."""
    op = graph.producer(name)
    if op is not None and op.kind == "take":
        source, every = _taken(op)
        return _origin(graph, source, every[indices])
    if op is None or op.kind != "concat":
        return name, indices
    bounds = _bounds(graph, op)
    places = np.unique(np.searchsorted(bounds, indices, "right") - 1)
    if len(places) > 1:
        return name, indices
    return _origin(graph, op.operands[places[0]], indices - bounds[places[0]])


def _read_directly(graph: Graph) -> None:
    """Let whoever reads all of a value in its order, as a take of it, read the value itself."""
    same: dict[str, str] = {}
    for op in graph.ops:
        if op.kind == "take":
            source, indices = _taken(op)
            if np.array_equal(indices, np.arange(graph.types[source].size)):
                same[op.results[0]] = same.get(source, source)
    graph.ops = [
        replace(op, operands=tuple(same.get(name, name) for name in op.operands))
        for op in graph.ops
        if op.results[0] not in same
    ]
    for state in graph.states:
        state.next = same.get(state.next, state.next)
    graph.outputs = [same.get(name, name) for name in graph.outputs]
    for name in same:
        del graph.types[name]
