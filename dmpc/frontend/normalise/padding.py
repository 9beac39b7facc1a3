"""Timesteps read from a padded sequence, `padded[:, k + late]`: those of the sequence itself."""

from collections.abc import Mapping

import numpy as np
from onnx import GraphProto, NodeProto, helper, numpy_helper

from dmpc.frontend.normalise.rewriting import replace_nodes
from dmpc.frontend.normalise.shapes import Shape
from dmpc.frontend.normalise.slices import FEWEST_STEPS, Piece, pieces
from dmpc.frontend.onnx_file import Node, evaluate
from dmpc.ir.graph import Array

Nodes = list[NodeProto]


class Padding:
    """The tensors of a graph that are a longer sequence's part between constants."""

    def __init__(self, shapes: Mapping[str, Shape], known: dict[str, Array], opset: int) -> None:
        self.shapes, self.known, self.opset = shapes, known, opset
        self.stored: dict[str, Array] = {}
        self.padded: dict[str, tuple[int, list[str | Array]]] = {}  # axis, parts

    def unwrap(self, graph: GraphProto) -> bool:
        """Let what reads one place of a padded tensor read it of the part; tells if any did."""
        self.stored = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
        return replace_nodes(graph, self._unwrapped)

    def _unwrapped(self, node: NodeProto) -> Nodes | None:
        if node.op_type in ("Concat", "Pad", "Constant", "ConstantOfShape", "Expand"):
            self._enter(node)
            return None
        if not node.input or node.input[0] not in self.padded:
            return None
        found = pieces(node, self.opset, self.shapes[node.input[0]], self.known)
        axis, parts = self.padded[node.input[0]]
        if len(found) != 1 or found[0].axis != axis:
            return None
        return self._read(node, found[0], parts)

    def _enter(self, node: NodeProto) -> None:
        """Enter what a node makes, if that is a constant, or a part between constants."""
        name = node.output[0]
        if name not in self.shapes:
            return
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            self.stored[name] = numpy_helper.to_array(node.attribute[0].t)
        elif node.op_type == "ConstantOfShape":
            self.stored[name] = evaluate(Node(node, self.opset), [np.array(self.shapes[name])])[0]
        elif node.op_type == "Expand" and node.input[0] in self.stored:
            self.stored[name] = np.broadcast_to(self.stored[node.input[0]], self.shapes[name])
        elif node.op_type == "Pad":
            self._enter_pad(node)
        elif node.op_type == "Concat":
            axis = Node(node, self.opset).axis("axis", 0, len(self.shapes[name]))
            parts = [self.stored.get(part, part) for part in node.input]
            inner = [part for part in parts if isinstance(part, str)]
            if len(inner) == 1 < len(parts) and self._size(inner[0], axis) >= FEWEST_STEPS:
                self.padded[name] = axis, parts

    def _enter_pad(self, node: NodeProto) -> None:
        source, widths = node.input[0], self.known.get(node.input[1])
        value = self.stored.get(node.input[2]) if len(node.input) > 2 and node.input[2] else None
        filled = len(node.input) > 2 and bool(node.input[2]) and value is None
        mode = Node(node, self.opset).text("mode", "constant")
        if filled or mode != "constant" or widths is None or source not in self.shapes:
            return
        shape = self.shapes[source]
        before, after = widths[: len(shape)], widths[len(shape) :]
        along = np.flatnonzero((before != 0) | (after != 0))
        if len(node.input) > 3 or len(along) != 1 or np.any(widths < 0):
            return
        axis = int(along[0])
        fill = np.float32(0) if value is None else value.reshape(-1)[0]
        gaps = [
            np.full((*shape[:axis], int(width), *shape[axis + 1 :]), fill)
            for width in (before[axis], after[axis])
        ]
        self.padded[node.output[0]] = axis, [gaps[0], source, gaps[1]]

    def _read(self, node: NodeProto, piece: Piece, parts: list[str | Array]) -> Nodes | None:
        """One place of the part that it lies in."""
        step, axis = piece.step, piece.axis
        for part in parts:
            size = self._size(part, axis)
            if step < size:
                break
            step -= size
        if not isinstance(part, str):
            array = part.take([step] if piece.kept else step, axis)
            return [_constant(piece.output, np.array(array, order="C"))]
        index = f"{piece.output}.place"
        place = np.array([step] if piece.kept else step, np.int64)
        gather = helper.make_node("Gather", [part, index], [piece.output], node.name, axis=axis)
        return [_constant(index, place), gather]

    def _size(self, part: str | Array, axis: int) -> int:
        shape = self.shapes.get(part, ()) if isinstance(part, str) else part.shape
        return shape[axis] if axis < len(shape) else 0


def _constant(name: str, array: Array) -> NodeProto:
    return helper.make_node("Constant", [], [name], name, value=numpy_helper.from_array(array))
