"""Maxima that a Scan keeps up in a state, `best = Max(best, y)`: those of the list of all y."""

from dataclasses import dataclass

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from dmpc.frontend.normalise.rewriting import replace_nodes
from dmpc.frontend.normalise.running import ENDLESS
from dmpc.frontend.onnx_file import initializers
from dmpc.ir.graph import Array

PASSING, FILLED = ("Identity", "Expand"), ("Constant", "ConstantOfShape")
AXES_OPERAND = 18  # the opset from which on a reduction's axes are an input


@dataclass(frozen=True)
class Kept:
    """The state of a Scan with this number that is the largest `value` so far: of timesteps alone,
    or `from_zero`. Nothing else reads what is `idle` without it."""

    number: int
    value: str
    from_zero: bool
    idle: set[str]


def with_lists(model: ModelProto, opset: int) -> ModelProto:
    """The model with the maximum of a list in place of each that a Scan keeps up; itself without.

    The state must have no other reader, and start from so little that it shows nowhere, or zero.
    """
    if not any(node.op_type == "Scan" for node in model.graph.node):
        return model
    made = ModelProto()
    made.CopyFrom(model)
    graph = made.graph

    def listed(node: NodeProto) -> list[NodeProto] | None:
        kept = _kept(graph, node) if node.op_type == "Scan" else None
        return None if kept is None else _listed(node, kept, opset)

    while replace_nodes(graph, listed):
        pass
    return made


def _kept(graph: GraphProto, node: NodeProto) -> Kept | None:
    given = {one.name: one for one in node.attribute}
    if not {"body", "num_scan_inputs"} <= given.keys():
        return None
    body, states = given["body"].g, len(node.input) - given["num_scan_inputs"].i
    makers = {name: one for one in body.node for name in one.output}
    read = [name for one in body.node for name in one.input]
    read += [value.name for value in body.output]
    for number in range(min(states, len(body.input), len(body.output), len(node.output))):
        state, made = body.input[number].name, makers.get(body.output[number].name)
        idle = []
        while made is not None and made.op_type == "Identity":
            idle += made.output
            made = makers.get(made.input[0])
        if made is None or made.op_type != "Max" or read.count(state) != 1:
            continue
        others = [name for name in made.input if name != state]
        start = _start(graph, node.input[number])
        alone = len(others) == 1 < len(made.input) and read.count(made.output[0]) == 1
        if alone and start is not None and (np.all(start <= ENDLESS) or not start.any()):
            return Kept(number, others[0], not start.any(), {*idle, *made.output})
    return None


def _start(graph: GraphProto, name: str) -> Array | None:
    """The numbers in a tensor that is filled with constants, whatever its size; None of others."""
    stored = initializers(graph)
    makers = {output: node for node in graph.node for output in node.output}
    while name not in stored:
        node = makers.get(name)
        if node is None or node.op_type not in (*PASSING, *FILLED):
            return None
        if node.op_type in FILLED:
            held = [numpy_helper.to_array(one.t) for one in node.attribute if one.name == "value"]
            held += [np.zeros(1)] if node.op_type == "ConstantOfShape" else []
            return held[0] if held else None
        name = node.input[0]
    return stored[name]


def _listed(node: NodeProto, kept: Kept, opset: int) -> list[NodeProto]:
    """A Scan without the state, which stacks what the state is the largest of, and that."""
    scan = NodeProto()
    scan.CopyFrom(node)
    body = next(one.g for one in scan.attribute if one.name == "body")
    final, every = node.output[kept.number], f"{node.output[kept.number]}.all"
    element = body.output[kept.number].type
    body_nodes = [one for one in body.node if kept.idle.isdisjoint(one.output)]
    del body.node[:]
    body.node.extend(body_nodes)
    for names in (scan.input, scan.output, body.input, body.output):
        del names[kept.number]
    out = f"{kept.value}.kept"
    body.node.append(helper.make_node("Identity", [kept.value], [out], out))
    body.output.add(name=out, type=element)
    scan.output.append(every)
    for one in scan.attribute:
        if one.name in ("scan_output_axes", "scan_output_directions"):
            one.ints.append(0)
    largest = f"{final}.largest" if kept.from_zero else final
    over = helper.make_node("ReduceMax", [every], [largest], largest, keepdims=0)
    nodes = [scan, over]
    if opset < AXES_OPERAND:
        over.attribute.append(helper.make_attribute("axes", [0]))
    else:
        axes = helper.make_tensor(f"{final}.axes", TensorProto.INT64, [1], [0])
        nodes.insert(0, helper.make_node("Constant", [], [axes.name], axes.name, value=axes))
        over.input.append(axes.name)
    if kept.from_zero:
        nodes.append(helper.make_node("Relu", [largest], [final], final))
    return nodes
