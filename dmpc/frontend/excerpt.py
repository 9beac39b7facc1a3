"""The piece of an ONNX graph that an error is about."""

import math
from collections import deque
from collections.abc import Mapping

from onnx import GraphProto, NodeProto, TensorProto, numpy_helper

from dmpc.errors import ImportFailure
from dmpc.findings import Piece, Step, piece_of
from dmpc.frontend.onnx_file import label

NUMBERS = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT32, TensorProto.INT64)
NEIGHBOURS = 5  # nodes before the one in question that are shown


def excerpt(graph: GraphProto, node: NodeProto) -> Piece:
    """A node and the nearest of those that its inputs come from, in the order of the file."""
    producers = {
        name: i
        for i, one in enumerate(graph.node)
        for name in one.output
        if name and one.op_type != "Constant"
    }
    at = next(i for i, one in enumerate(graph.node) if one is node)
    found = [at]
    work = deque(node.input)
    while work and len(found) <= NEIGHBOURS:
        index = producers.get(work.popleft())
        if index is not None and index < at and index not in found:
            found.append(index)
            work.extend(graph.node[index].input)
    numbers = _numbers(graph)
    return piece_of(_step(graph.node[index], numbers) for index in sorted(found))


def _numbers(graph: GraphProto) -> dict[str, str]:
    """Constants that are single numbers, as a reader sees them."""
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            tensors.update((node.output[0], a.t) for a in node.attribute if a.name == "value")
    small = {name: tensor for name, tensor in tensors.items() if math.prod(tensor.dims) == 1}
    return {
        name: f"{float(numpy_helper.to_array(tensor).reshape(-1)[0]):g}"
        for name, tensor in small.items()
        if tensor.data_type in NUMBERS and tensor.data_location == TensorProto.DEFAULT
    }


def located(error: ImportFailure, graph: GraphProto) -> ImportFailure:
    """An error about a node or output that shows the piece of the graph around it."""
    makers = {name: node for node in graph.node for name in node.output if name}
    makers |= {label(node): node for node in graph.node}
    for one in error.every:
        if not one.piece.steps and one.where in makers:
            one.nodes = one.nodes or (one.where,)
            one.piece = excerpt(graph, makers[one.where])
    return error


def _step(node: NodeProto, numbers: Mapping[str, str]) -> Step:
    inputs = tuple(numbers.get(name, name) for name in node.input if name)
    return Step(node.op_type, inputs, ", ".join(filter(None, node.output)), label(node))
