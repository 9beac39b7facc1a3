"""Lists of tensors, as torch's scripts and tracer write them, without ONNX's sequence type."""

from collections.abc import Mapping

import numpy as np
from onnx import GraphProto, NodeProto, helper, numpy_helper

from dmpc.frontend.normalise.rewriting import replace_nodes, subgraphs
from dmpc.frontend.normalise.shapes import Shape
from dmpc.frontend.onnx_file import Node
from dmpc.ir.graph import Array

Nodes = list[NodeProto]


class Lists:
    """The lists of a graph, and its nodes without them.

    What a list holds is known once the Loop that fills it is written out.
    """

    def __init__(self, shapes: Mapping[str, Shape], known: Mapping[str, Array]) -> None:
        self.shapes, self.known = shapes, known
        self.splits: dict[str, NodeProto] = {}
        self.items: dict[str, tuple[list[str], int]] = {}  # how many of the list's items are in it

    def lower(self, graph: GraphProto) -> bool:
        """Rewrite a graph and its subgraphs in place; tells if anything changed."""
        inside = [False]
        for node in graph.node:
            if node.op_type == "SplitToSequence":
                self.splits[node.output[0]] = node
            inside += [self.lower(body) for body in subgraphs(node)]
        return replace_nodes(graph, self._lowered) or any(inside)

    def _lowered(self, node: NodeProto) -> Nodes | None:
        match node.op_type:
            case "SequenceEmpty":
                self.items[node.output[0]] = ([], 0)
            case "SequenceConstruct":
                self.items[node.output[0]] = (list(node.input), len(node.input))
            case "Identity" if node.input[0] in self.items:
                self.items[node.output[0]] = self.items[node.input[0]]
            case "SequenceInsert" if node.input[0] in self.items and len(node.input) == 2:
                self._insert(node)
            case "SequenceLength" if self._split(node.input[0]) is not None:
                return self._length(node)
            case "SequenceAt" if self._split(node.input[0]) is not None:
                return self._element(node)
            case "ConcatFromSequence" if node.input[0] in self.items:
                return self._joined(node)
        return None

    def _split(self, name: str) -> tuple[str, int, bool] | None:
        """The tensor, axis and whether it stays, of a list of all slices of size 1 of a tensor."""
        if name not in self.splits:
            return None
        split = Node(self.splits[name], 0)
        source, *sizes = split.proto.input
        if sizes and (sizes[0] not in self.known or self.known[sizes[0]].tolist() != 1):
            return None
        # ONNX ignores keepdims if a size is given. What torch means by it is what onnxruntime does.
        axis = split.integer("axis", 0)
        if source in self.shapes:
            axis = split.axis("axis", 0, len(self.shapes[source]))
        return source, axis, bool(split.integer("keepdims", 1))

    def _insert(self, node: NodeProto) -> None:
        items, count = self.items[node.input[0]]
        if count < len(items):  # another list has grown from the same beginning
            items = items[:count]
        items.append(node.input[1])
        self.items[node.output[0]] = (items, count + 1)

    def _length(self, node: NodeProto) -> Nodes | None:
        split = self._split(node.input[0])
        assert split is not None
        source, axis, _ = split
        if source not in self.shapes:
            return None
        length = numpy_helper.from_array(np.array(self.shapes[source][axis]))
        return [helper.make_node("Constant", [], node.output, node.name, value=length)]

    def _element(self, node: NodeProto) -> Nodes:
        split = self._split(node.input[0])
        assert split is not None
        source, axis, kept = split
        name = node.output[0]
        taken = f"{name}.slice" if kept else name
        nodes = [helper.make_node("Gather", [source, node.input[1]], [taken], node.name, axis=axis)]
        return nodes + (_unsqueezed(taken, axis, name) if kept else [])

    def _joined(self, node: NodeProto) -> Nodes:
        """A list that is stacked, or concatenated."""
        attributes, name = Node(node, 0), node.output[0]
        axis = attributes.integer("axis", 0)
        items, count = self.items[node.input[0]]
        if not attributes.integer("new_axis", 0):
            return [helper.make_node("Concat", items[:count], [name], node.name, axis=axis)]
        parts = [f"{name}.{number}" for number in range(count)]
        nodes = [
            made
            for item, part in zip(items[:count], parts, strict=True)
            for made in _unsqueezed(item, axis, part)
        ]
        return [*nodes, helper.make_node("Concat", parts, [name], node.name, axis=axis)]


def _unsqueezed(source: str, axis: int, name: str) -> Nodes:
    axes = helper.make_node("Constant", [], [f"{name}.axis"], f"{name}.axis", value_ints=[axis])
    return [axes, helper.make_node("Unsqueeze", [source, f"{name}.axis"], [name], name)]
