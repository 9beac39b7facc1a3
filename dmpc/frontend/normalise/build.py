"""The flow of values of a graph that is unrolled over time."""

from collections.abc import Mapping

import numpy as np
from onnx import GraphProto, NodeProto, helper, numpy_helper

from dmpc.frontend.boundary import at
from dmpc.frontend.normalise.flow import ABSENT, Flow, Kind
from dmpc.frontend.normalise.rewriting import subgraphs
from dmpc.frontend.normalise.shapes import Types
from dmpc.frontend.normalise.slices import Cuts, pieces
from dmpc.frontend.normalise.writes import Writes
from dmpc.frontend.onnx_file import label
from dmpc.ir.graph import Array


def build(
    graph: GraphProto,
    opset: int,
    types: Types,
    known: dict[str, Array],
    cuts: Cuts,
    later: Mapping[str, int] | None = None,
    clock: str = "",
) -> Flow:
    """The flow of a graph that is unrolled over time, of which some lists are known (`Flow.later`),
    and the `clock`.

    Raises ImportFailure if a node combines one timestep with the whole sequence.
    """
    flow = Flow(cuts.steps, types, later or {}, clock)
    for tensor in graph.initializer:
        flow.tensors[tensor.name] = flow.constant(numpy_helper.to_array(tensor), tensor.name)
    for value in graph.input:
        if value.name not in flow.tensors:
            flow.tensors[value.name] = flow.value(Kind.WHOLE, value.name).number
    writes = Writes(flow, opset)
    for node in graph.node:
        with at(node):
            _add(flow, node, opset, known, cuts, writes)
    return flow


def _add(
    flow: Flow,
    node: NodeProto,
    opset: int,
    known: dict[str, Array],
    cuts: Cuts,
    writes: Writes,
) -> None:
    if node.op_type == "Identity":
        flow.tensors[node.output[0]] = flow.tensors[node.input[0]]
    elif node.op_type == "Constant" and node.attribute[0].name == "value":
        array = numpy_helper.to_array(node.attribute[0].t)
        flow.tensors[node.output[0]] = flow.constant(array, node.output[0])
    elif not _cut(flow, node, opset, known, cuts):
        operands = [*node.input, *captured(node, flow)]
        numbers = tuple(flow.tensors[name] if name else ABSENT for name in operands)
        results = writes.whole(node, numbers, flow.operation(node, numbers))
        flow.tensors.update(zip(node.output, results, strict=True))


def _cut(flow: Flow, node: NodeProto, opset: int, known: dict[str, Array], cuts: Cuts) -> bool:
    """Make slices along time of what a node cuts up; False if it does something else."""
    if not node.input or node.input[0] not in flow.tensors:
        return False
    source = flow.values[flow.tensors[node.input[0]]]
    if source.kind != Kind.WHOLE or source.shape is None:
        return False
    found = pieces(node, opset, source.shape, known)
    if not found or not cuts.at(node.input[0], found[0].axis):
        return False
    for piece in found:
        number = flow.slice(source.number, piece.axis, piece.step)
        if piece.kept:
            number = _unsqueezed(flow, node, number, piece.axis, piece.output)
        flow.tensors[piece.output] = number
    return True


def _unsqueezed(flow: Flow, node: NodeProto, number: int, axis: int, output: str) -> int:
    axes = flow.constant(np.array([axis], np.int64), f"{output}.axis")
    unsqueeze = helper.make_node("Unsqueeze", ["", ""], [output], name=label(node))
    return flow.operation(unsqueeze, (number, axes))[0]


def captured(node: NodeProto, flow: Flow) -> list[str]:
    """The tensors that the bodies of a node read from outside, in order."""
    found: dict[str, None] = {}
    for body in subgraphs(node):
        for inner in body.node:
            names = [*inner.input, *captured(inner, flow)]
            found.update((name, None) for name in names if name in flow.tensors)
    return list(found)
