"""What changed between two graphs, op by op."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from dmpc.ir.graph import Graph, Op
from runtime.changes import Change, changed, flat


def of_graphs(before: Graph, after: Graph) -> Iterator[Change]:
    """Ops that came, went or changed, by name; states, places, constants; and the attributes."""
    tables = [{"level": graph.level, **graph.attrs} for graph in (before, after)]
    yield from changed("graph", *tables)
    for section, make in (("ops", _ops), ("states", _states), ("places", _places)):
        yield from changed(section, make(before), make(after))
    yield from _of_constants(before, after)


def _ops(graph: Graph) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for op in graph.ops:
        for name in op.results:
            found[name] = f"{op.kind}({', '.join(op.operands)}) : {graph.types[name]}"
        found |= {f"{op.results[0]}.{key}": value for key, value in _attributes(op).items()}
    return found


def _attributes(op: Op) -> dict[str, Any]:
    return flat({key: value for key, value in op.attrs.items() if key != "layer"})


def _states(graph: Graph) -> dict[str, Any]:
    return {state.name: f"{graph.types[state.name]} next {state.next}" for state in graph.states}


def _places(graph: Graph) -> dict[str, Any]:
    return {
        name: f"{place.memory} {place.row} .. {place.row + place.rows - 1}"
        for name, place in graph.placement.items()
    }


def _of_constants(before: Graph, after: Graph) -> Iterator[Change]:
    for name in {**before.constants, **after.constants}:
        types = [str(g.types[name]) if name in g.constants else None for g in (before, after)]
        if types[0] != types[1]:
            yield Change("constants", name, *types)
        if name not in before.constants or name not in after.constants:
            continue
        one, other = (np.asarray(g.constants[name], np.float64) for g in (before, after))
        if one.shape == other.shape and not np.array_equal(one, other):
            odd, most = one != other, np.abs(other - one).max()
            told = f"{int(odd.sum()):,} of {odd.size:,} elements differ, by {most:.4g} at most"
            yield Change("constants", f"{name} (contents)", "", told)
