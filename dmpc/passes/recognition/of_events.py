"""Comparisons and roundings of single inputs: of events, 0 or 1, each is a weight and a bias."""

import numpy as np

from dmpc.ir.graph import Graph, Op
from dmpc.ir.prune import prune
from dmpc.ir.registry import EvalContext, Tensor, op_def
from dmpc.ir.types import f32

LINEAR = ("add", "sub", "neg", "mul", "div")
"""What a graded input may go through as well, if all but one operand are constants."""
SINGLE = (*LINEAR, "floor", "relu", "ge", "gt", "eq", "mod", "fmod", "cast", "where")


def of_events(graph: Graph) -> Graph | None:
    """The graph with what is bent of single inputs as what it is of events; None if nothing is.

    The attribute `events` then names what takes the input for events.
    """
    (source,) = graph.inputs
    size = graph.types[source].size
    known: dict[str, Tensor] = {source: np.array([np.zeros(size), np.ones(size)])}
    bent: dict[str, Op] = {}
    for op in graph.ops:
        made = _of_both(graph, op, known)
        if made is None:
            continue
        known[op.results[0]] = made
        read = [name for name in op.operands if name in known]
        if op.kind not in LINEAR or len(read) > 1 or read[0] in bent:
            bent[op.results[0]] = op
    if not bent:
        return None
    graph, ops = graph.copy(), graph.ops
    graph.ops = []
    for op in ops:
        if op.results[0] in bent and graph.types[op.results[0]].is_float:
            _weigh(graph, op, source, known[op.results[0]])
        else:
            graph.ops.append(op)
    first = next(iter(bent.values()))
    graph.attrs["events"] = first.loc[0] if first.loc else first.results[0]
    return prune(graph)


def _of_both(graph: Graph, op: Op, known: dict[str, Tensor]) -> Tensor | None:
    """An op's result [2, n] where its input is silent and where it is active, if it is of single
    inputs and constants, and a number."""
    operands = [known.get(name, graph.constants.get(name)) for name in op.operands]
    size = graph.types[graph.inputs[0]].size
    alone = op.kind in SINGLE and not known.keys().isdisjoint(op.operands)
    if not alone or graph.types[op.results[0]].size != size or any(x is None for x in operands):
        return None
    with np.errstate(all="ignore"):
        (made,) = op_def(op.kind).evaluate(EvalContext(), op.attrs, *operands)
    return made if np.isfinite(made).all() else None


def _weigh(graph: Graph, op: Op, source: str, made: Tensor) -> None:
    """Add what an op gives as a multiple of the input and a constant."""
    silent, active = made.astype(np.float64)
    (result,) = op.results
    names = [graph.fresh(f"{result}.{part}") for part in ("silent", "factor", "scaled")]
    for name, value in zip(names, (silent, active - silent), strict=False):
        graph.add_constant(name, value, f32(len(value)))
    graph.add(Op("mul", (source, names[1]), (names[2],), {}, op.loc), f32(len(silent)))
    graph.ops.append(Op("add", (names[2], names[0]), (result,), {}, op.loc))
