"""The spikes of an ONNX file's neurons, while onnxruntime runs it."""

from collections.abc import Iterable, Iterator, Mapping

import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper

from dmpc.frontend.onnx_file import label

COMPARISONS = (
    "GlobalMaxPool", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "MaxPool", "ReduceMax",
)  # fmt: skip
"""What makes spikes, of sums or of other spikes."""
PREFIX = "dmpc.watched"


def watched(model: ModelProto, nodes: Iterable[str], *, inside: bool) -> Mapping[str, str]:
    """Make outputs of a model of what some comparisons give; their names by those of the nodes.

    As float32. `inside`: the comparisons are those in the bodies of `Scan`s, whose outputs are then
    [timesteps, ...]. Nodes that are no comparisons, or are not there, are left out.
    """
    wanted = set(nodes)
    places = [
        (label(node), node.output[0], graph, scan)
        for graph, scan in _graphs(model.graph, inside=inside)
        for node in graph.node
        if node.op_type in COMPARISONS and label(node) in wanted
    ]
    every = [name for name, *_ in places]
    found: dict[str, str] = {}
    for name, tensor, graph, scan in places:
        if every.count(name) > 1:  # in the bodies of two loops
            continue
        outer = found[name] = f"{PREFIX}.{len(found)}"
        inner = outer if scan is None else f"{outer}.step"
        graph.node.append(helper.make_node("Cast", [tensor], [inner], inner, to=TensorProto.FLOAT))
        graph.output.append(_output(inner))
        if scan is not None:
            scan.output.append(outer)
            model.graph.output.append(_output(outer))
            _stack(scan)
    return found


def _output(name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, None)


def _graphs(graph: GraphProto, *, inside: bool) -> Iterator[tuple[GraphProto, NodeProto | None]]:
    if not inside:
        yield graph, None
        return
    for node in graph.node:
        bodies = [a.g for a in node.attribute if a.name == "body"]
        if node.op_type == "Scan" and bodies and not _backward(node):
            yield bodies[0], node


def _backward(scan: NodeProto) -> bool:
    return any(any(a.ints) for a in scan.attribute if a.name.endswith("_directions"))


def _stack(scan: NodeProto) -> None:
    """One output more of a Scan, its timesteps first."""
    for attribute in scan.attribute:
        if attribute.name in ("scan_output_axes", "scan_output_directions"):
            attribute.ints.append(0)
