"""Maxima that a Scan keeps up in a state, `best = Max(best, y)`: those of the list of all y.

So are sums that it begins later, of the list's end (`dmpc.frontend.normalise.gated`).
"""

from dataclasses import dataclass

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from dmpc.frontend.normalise.gated import Body
from dmpc.frontend.normalise.rewriting import replace_nodes
from dmpc.frontend.normalise.running import ENDLESS
from dmpc.frontend.onnx_file import Node, initializers, scan_states
from dmpc.ir.graph import Array

ENDS = np.iinfo(np.int64).max
PASSING, FILLED = ("Identity", "Expand"), ("Constant", "ConstantOfShape")
AXES_OPERAND = 18  # the opset from which on axes are an input; of sums they always are


@dataclass(frozen=True)
class Kept:
    """The state of a Scan with this number that is the largest `value` so far: of timesteps alone,
    or `from_zero`. Nothing else reads what is `idle` without it."""

    number: int
    value: str
    from_zero: bool
    idle: set[str]


def with_lists(model: ModelProto, opset: int, steps: int) -> ModelProto:
    """The model with the maximum of a list in place of each that a Scan keeps up, and the sum of
    its end in place of one that begins later; itself without. There are up to so many `steps`.

    The state must have no other reader. That of a maximum starts from so little that it shows
    nowhere, or zero.
    """
    if not any(node.op_type == "Scan" for node in model.graph.node):
        return model
    made = ModelProto()
    made.CopyFrom(model)
    graph = made.graph

    def listed(node: NodeProto) -> list[NodeProto] | None:
        if node.op_type != "Scan" or scan_states(Node(node, opset)) is None:
            return None
        kept = _kept(graph, node, opset)
        return _gated(graph, node, opset, steps) if kept is None else _largest(node, kept, opset)

    while replace_nodes(graph, listed):
        pass
    return made


def _kept(graph: GraphProto, node: NodeProto, opset: int) -> Kept | None:
    scan = Node(node, opset)
    body, states = scan.subgraph("body"), scan_states(scan) or 0
    makers = {name: one for one in body.node for name in one.output}
    read = [name for one in body.node for name in one.input]
    read += [value.name for value in body.output]
    for number in range(min(states, len(node.output))):
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


def _gated(graph: GraphProto, node: NodeProto, opset: int, steps: int) -> list[NodeProto] | None:
    """A Scan without a state that adds up what comes from a timestep on, and that sum."""
    body = Body(graph, node, opset)
    for number in range(min(body.states, len(node.output))):
        gate = body.gate(number)
        since = None if gate is None else body.since(gate, steps)
        if gate is None or since is None:
            continue
        idle = {name for one in gate.nodes for name in one.output}
        scan, every = _without(node, number, gate.value, idle)
        final, late = node.output[number], f"{node.output[number]}.late"
        ends = {"from": since, "to": ENDS, "along": 0}
        places = [_integer(f"{final}.{name}", end) for name, end in ends.items()]
        read = [every, *(one.output[0] for one in places)]
        cut = helper.make_node("Slice", read, [late], late)
        start = _start(graph, node.input[number])
        total = f"{final}.total" if start is None or start.any() else final
        nodes = [scan, *places, cut, *_over("ReduceSum", late, total, opset)]
        if total != final:
            nodes.append(helper.make_node("Add", [total, node.input[number]], [final], final))
        return nodes
    return None


def _largest(node: NodeProto, kept: Kept, opset: int) -> list[NodeProto]:
    """A Scan without the state, which stacks what the state is the largest of, and that."""
    scan, every = _without(node, kept.number, kept.value, kept.idle)
    final = node.output[kept.number]
    largest = f"{final}.largest" if kept.from_zero else final
    nodes = [scan, *_over("ReduceMax", every, largest, opset)]
    if kept.from_zero:
        nodes.append(helper.make_node("Relu", [largest], [final], final))
    return nodes


def _without(node: NodeProto, number: int, value: str, idle: set[str]) -> tuple[NodeProto, str]:
    """A Scan without a state and what is `idle` then, which stacks a value, and where."""
    scan = NodeProto()
    scan.CopyFrom(node)
    body = next(one.g for one in scan.attribute if one.name == "body")
    every = f"{node.output[number]}.all"
    element = body.output[number].type
    body_nodes = [one for one in body.node if idle.isdisjoint(one.output)]
    del body.node[:]
    body.node.extend(body_nodes)
    for names in (scan.input, scan.output, body.input, body.output):
        del names[number]
    out = f"{value}.kept"
    body.node.append(helper.make_node("Identity", [value], [out], out))
    body.output.add(name=out, type=element)
    scan.output.append(every)
    for one in scan.attribute:
        if one.name in ("scan_output_axes", "scan_output_directions"):
            one.ints.append(0)
    return scan, every


def _over(kind: str, every: str, result: str, opset: int) -> list[NodeProto]:
    """A reduction over timesteps, which lie along the first axis."""
    over = helper.make_node(kind, [every], [result], result, keepdims=0)
    if opset < AXES_OPERAND and kind != "ReduceSum":
        over.attribute.append(helper.make_attribute("axes", [0]))
        return [over]
    axes = _integer(f"{result}.axes", 0)
    over.input.append(axes.output[0])
    return [axes, over]


def _integer(name: str, number: int) -> NodeProto:
    held = helper.make_tensor(name, TensorProto.INT64, [1], [number])
    return helper.make_node("Constant", [], [name], name, value=held)
