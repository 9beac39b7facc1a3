"""The piece of an ONNX graph that an error is about."""

from collections import deque

from onnx import GraphProto, NodeProto

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


def _step(node: NodeProto) -> Step:
    inputs = tuple(name for name in node.input if name)
    return Step(node.op_type, inputs, ", ".join(filter(None, node.output)), label(node))
