"""The piece of an ONNX graph that an error is about."""

from collections import deque

from onnx import GraphProto, NodeProto

from dmpc.errors import ImportFailure
from dmpc.findings import Piece, Step, piece_of
from dmpc.frontend.onnx_file import label

NEIGHBOURS = 5  # nodes before the one in question that are shown


def excerpt(graph: GraphProto, node: NodeProto) -> Piece:
    """A node and the nearest of those that its inputs come from, in the order of the file."""
    producers = {name: i for i, one in enumerate(graph.node) for name in one.output if name}
    at = next(i for i, one in enumerate(graph.node) if one is node)
    found = [at]
    work = deque(node.input)
    while work and len(found) <= NEIGHBOURS:
        index = producers.get(work.popleft())
        if index is not None and index < at and index not in found:
            found.append(index)
            work.extend(graph.node[index].input)
    return piece_of(_step(graph.node[index]) for index in sorted(found))


def located(error: ImportFailure, graph: GraphProto) -> ImportFailure:
    """An error about a node or output that shows the piece of the graph around it."""
    makers = {name: node for node in graph.node for name in node.output if name}
    makers |= {label(node): node for node in graph.node}
    for one in error.every:
        if not one.piece.steps and one.where in makers:
            one.nodes = one.nodes or (one.where,)
            one.piece = excerpt(graph, makers[one.where])
    return error


def _step(node: NodeProto) -> Step:
    inputs = tuple(name for name in node.input if name)
    return Step(node.op_type, inputs, ", ".join(filter(None, node.output)), label(node))
