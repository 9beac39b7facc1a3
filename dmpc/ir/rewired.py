"""Events of a layer as others of them, with all that reads them."""

from dmpc.ir.graph import Array, Graph, Op
from dmpc.ir.ops_layers import NEURONS
from dmpc.ir.types import TensorType


def events_as(graph: Graph, name: str, index: Array) -> None:
    """Let events be those of some numbers, or at -1 events that never come; and all that reads
    them."""
    graph.types[name] = TensorType("event", (len(index),))
    for op in graph.users(name):
        if op.kind in NEURONS:
            continue
        at = 2 if op.kind == "delay" else 1
        value = graph.constants[op.operands[at]][..., index]
        value[..., index < 0] = 0
        replace_constant(graph, op, at, value)
        if op.kind == "delay":
            for ring in (op.operands[0], op.results[1]):
                graph.types[ring] = TensorType("event", (graph.types[ring].shape[0], len(index)))
            events_as(graph, op.results[0], index)


def replace_constant(graph: Graph, op: Op, at: int, value: Array) -> None:
    """Give an op another constant, under the same name if nobody else reads that."""
    name = op.operands[at]
    loc = graph.locs.get(name, ())
    if len(graph.users(name)) > 1:
        name = graph.fresh(name)
    type_ = TensorType(graph.types[op.operands[at]].dtype, value.shape)
    graph.add_constant(name, value, type_, loc)
    op.operands = (*op.operands[:at], name, *op.operands[at + 1 :])
