"""Tensors that are filled timestep by timestep: `out[:, k] = s`."""

from dataclasses import dataclass

import numpy as np
from onnx import NodeProto, helper

from dmpc.frontend.normalise.evaluate import Evaluator
from dmpc.frontend.normalise.flow import Flow, Kind, Value
from dmpc.frontend.normalise.shapes import Shape
from dmpc.frontend.onnx_file import Node
from dmpc.ir.graph import Array


@dataclass(frozen=True)
class Filling:
    """The places of a tensor that have been written, and with what; `before` are those earlier."""

    axis: int
    step: int
    piece: int
    count: int
    before: "Filling | None"

    def pieces(self) -> dict[int, int]:
        """What was written last at every place."""
        found: dict[int, int] = {}
        link: Filling | None = self
        while link is not None:
            found.setdefault(link.step, link.piece)
            link = link.before
        return found


class Writes:
    """Finds tensors of which every timestep has been written, which is the same as stacked."""

    def __init__(self, flow: Flow, opset: int) -> None:
        self.flow, self.known = flow, Evaluator(flow, opset)
        self.filled: dict[int, Filling] = {}  # by value

    def whole(
        self, node: NodeProto, operands: tuple[int, ...], results: tuple[int, ...]
    ) -> tuple[int, ...]:
        """The stacked pieces, if a node writes the last of them; otherwise its results."""
        if node.op_type not in ("ScatterND", "ScatterElements"):
            return results
        data, indices, piece = (self.flow.values[operand] for operand in operands)
        place = self._place(node, data, indices)
        if place is None or data.shape is None:
            return results
        axis, step = place
        before = self.filled.get(data.number)
        if before is not None and before.axis != axis:
            before = None
        count = 1 + (before.count if before else 0)
        filling = Filling(axis, step, piece.number, count, before)
        self.filled[results[0]] = filling
        if count < self.flow.steps or data.shape[axis] != self.flow.steps:
            return results
        pieces = filling.pieces()
        if len(pieces) < self.flow.steps:
            return results
        return (self._stacked(node, axis, data.shape, [pieces[k] for k in sorted(pieces)]),)

    def _place(self, node: NodeProto, data: Value, indices: Value) -> tuple[int, int] | None:
        """The axis and place that a node fills wholly, in order; None for any other writing."""
        attributes = Node(node, 0)
        if data.shape is None or indices.kind != Kind.STATIC:
            return None
        if attributes.text("reduction", "none") != "none":
            return None
        array = self.known.static(indices.number)
        if array.size == 0:
            return None
        if node.op_type == "ScatterElements":
            axis = attributes.axis("axis", 0, len(data.shape))
            wanted = (*data.shape[:axis], 1, *data.shape[axis + 1 :])
            full = array.shape == wanted and bool(np.all(array == array.flat[0]))
        else:
            axis = array.shape[-1] - 1
            full = _in_order(array, data.shape[:axis])
        return (axis, int(array.flat[-1]) % data.shape[axis]) if full else None

    def _stacked(self, node: NodeProto, axis: int, shape: Shape, pieces: list[int]) -> int:
        """The join of pieces [..., 1, ...] along an axis."""
        name = node.output[0]
        flat = (*shape[:axis], 1, *shape[axis + 1 :])
        target = self.flow.constant(np.array(flat, np.int64), f"{name}.piece")
        parts = []
        for number, piece in enumerate(pieces):
            reshape = helper.make_node("Reshape", ["", ""], [f"{name}.{number}"], node.name)
            (part,) = self.flow.operation(reshape, (piece, target))
            self.flow.values[part].shape = flat
            self.flow.values[part].dtype = self.flow.values[piece].dtype
            parts.append(part)
        concat = helper.make_node(
            "Concat", [""] * len(parts), [f"{name}.all"], node.name, axis=axis
        )
        (result,) = self.flow.operation(concat, tuple(parts))
        self.flow.values[result].shape = shape
        self.flow.values[result].dtype = self.flow.values[parts[0]].dtype
        return result


def _in_order(array: Array, leading: Shape) -> bool:
    """Whether index lists run over all leading axes in order, with one number behind each."""
    rows = array.reshape(-1, array.shape[-1])
    if not leading:
        return len(rows) == 1
    grid = np.array(list(np.ndindex(*leading)), np.int64).reshape(-1, len(leading))
    return (
        rows[:, :-1].shape == grid.shape
        and bool(np.all(rows[:, :-1] == grid))
        and bool(np.all(rows[:, -1] == rows[0, -1]))
    )
