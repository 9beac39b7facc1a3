"""Parts of a tensor of which only the largest is asked for: each of them once.

A loop that begins its list of outputs with the initial one, or whose output of the first timestep
is the initial one (Zenke's tutorials: `out_rec = [out]`), stacks more than there are timesteps.
"""

from collections.abc import Iterable, Mapping

from onnx import GraphProto, NodeProto, TensorProto, numpy_helper

from dmpc.frontend.onnx_file import Node, graphs
from dmpc.ir.graph import Array


def once_each(graph: GraphProto, known: Mapping[str, Array], opset: int) -> bool:
    """Take out of every Concat what it holds twice, if its maximum alone is read; tells if any."""
    stored = {one.name: _bytes(one) for one in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    readers = dict[str, list[NodeProto]]()
    changed = False
    for inner in graphs(graph):  # bodies read what is around them
        for node in inner.node:
            for name in node.input:
                readers.setdefault(name, []).append(node)
    results = {one.name for inner in graphs(graph) for one in inner.output}
    for node in graph.node:
        if node.op_type != "Concat" or node.output[0] in results:
            continue
        axis = Node(node, opset).integer("axis", 0)
        read = readers.get(node.output[0], [])
        if read and all(_largest(Node(one, opset), axis, known) for one in read):
            parts = {_content(name, makers, stored): name for name in reversed(node.input)}
            if len(parts) < len(node.input):
                node.input[:] = reversed(parts.values())
                _forget(graph, node.output)
                changed = True
    return changed


def _bytes(tensor: TensorProto) -> bytes:
    """A stored tensor without its name."""
    array = numpy_helper.to_array(tensor)
    return str((array.dtype, array.shape)).encode() + array.tobytes()


def _largest(node: Node, axis: int, known: Mapping[str, Array]) -> bool:
    """Whether a node takes the maximum along an axis, which both count from the front."""
    if node.op != "ReduceMax":
        return False
    axes = node.integers("axes")
    if len(node.proto.input) > 1:
        axes = [int(one) for one in known.get(node.proto.input[1], [])]
    return axis in (axes or [])


def _content(name: str, makers: Mapping[str, NodeProto], stored: Mapping[str, bytes]) -> object:
    """What tells a part from others: what is stored and how it is shaped, or its name."""
    maker = makers.get(name)
    if maker is not None and maker.op_type == "Unsqueeze" and maker.input[0] in stored:
        axes = [stored.get(one, one) for one in maker.input[1:]]
        return (stored[maker.input[0]], *axes, *map(str, maker.attribute))
    return stored.get(name, name)


def _forget(graph: GraphProto, names: Iterable[str]) -> None:
    """Drop the shapes of tensors that have another by now."""
    kept = [one for one in graph.value_info if one.name not in names]
    del graph.value_info[:]
    graph.value_info.extend(kept)
