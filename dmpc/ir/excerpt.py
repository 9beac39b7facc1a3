"""The smallest piece of a graph around a value, in the user's names."""

from collections.abc import Container, Iterable

from dmpc.findings import Piece, Step, piece_of
from dmpc.ir.graph import Array, Graph, Op

FEW = 6  # steps that are shown whole


def excerpt(
    graph: Graph, value: str, *, known: Container[str] = (), culprits: Iterable[str] = ()
) -> Piece:
    """What computes a value, back to the sources of the graph and to values that are `known`.

    A state stands for its next value. Where that is more than FEW steps, and `culprits` (values it
    depends on) are to blame, only the ways from them are shown.
    """
    nodes = _behind(graph, value, known)
    if len(nodes) > FEW:
        wires = graph.wires()
        below = {n for name in culprits if name in wires for n in wires.below(name)}
        nodes = [node for node in nodes if node in below] or nodes
    return piece_of(_step(graph, graph.ops[node]) for node in nodes)


def depends_on(graph: Graph, value: str, known: Container[str] = ()) -> set[str]:
    """The values from which `excerpt` would show a value to be computed, sources included."""
    ops = [graph.ops[index] for index in _behind(graph, value, known)]
    return {value, *(name for op in ops for name in op.operands)}


def _behind(graph: Graph, value: str, known: Container[str]) -> list[int]:
    """Indices of the ops between what is known and a value, in execution order."""
    state = graph.state(value)
    value = state.next if state is not None else value
    producers = {result: index for index, op in enumerate(graph.ops) for result in op.results}
    found: set[int] = set()
    work = [value]
    while work:
        index = producers.get(work.pop())
        if index is None or index in found:
            continue
        found.add(index)
        work.extend(name for name in graph.ops[index].operands if name not in known)
    return sorted(found)


def _step(graph: Graph, op: Op) -> Step:
    inputs = tuple(_shown(graph, name) for name in op.operands)
    return Step(op.kind, inputs, ", ".join(op.results), op.loc[-1] if op.loc else "")


def _shown(graph: Graph, name: str) -> str:
    """An operand in the user's terms: a weight by its name, a constant number as such."""
    loc = graph.locs.get(name, ())
    if name not in graph.constants:
        state = graph.state(name)
        loc = state.loc if state is not None else loc
        return loc[0] if loc else name
    array: Array = graph.constants[name]
    if array.size == 1 or (not loc and array.size and (array == array.flat[0]).all()):
        return f"{float(array.flat[0]):g}"
    return loc[0] if loc else f"constant{list(array.shape)}"
