"""Lists of outputs that begin with an initial one, and so hold more than there are timesteps.

What reads one reads a list of the timesteps' outputs and constants apart from it: the mean of T + 1
is T / (T + 1) of the mean of T, and the share of the first. Whatever works on each timestep alone
may be in between.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from onnx import GraphProto, NodeProto, helper, numpy_helper

from dmpc.errors import ImportFailure
from dmpc.frontend.normalise.rewriting import replace_nodes
from dmpc.frontend.normalise.running import ENDLESS
from dmpc.frontend.normalise.shapes import Shape
from dmpc.frontend.normalise.slices import FEWEST_STEPS, cut_ranges, find_cuts, pieces
from dmpc.frontend.normalise.statics import Statics
from dmpc.frontend.onnx_file import Node
from dmpc.ir.graph import Array
from dmpc.rules import Stage, rule

Nodes = list[NodeProto]
ALONE = ("Cast", "Identity", "Neg", "Relu")  # what works on each element, and never along an axis
PAIRS = ("Add", "Div", "Mul", "Sub")
REDUCTIONS = ("ReduceMax", "ReduceMean", "ReduceSum")
INITIAL_OUTPUT = rule(
    "initial-output",
    Stage.IMPORT,
    "{what} {count} outputs of {steps} timesteps: what a list held before the first one as well",
    why="""Mean, sum and maximum over a list that begins with an initial output are those over the
    timesteps and a constant, and so is what is cut from it; of a maximum, the constant must be
    zeros, or one of the outputs. An answer for each timestep has one for each.""",
    nearest="leave out the initial output: outputs[1:]",
)


@dataclass(frozen=True)
class Begun:
    """A tensor: along an axis first the constants `head`, then `rest`, another tensor.

    `made` are the nodes that make `rest`, and what they read, in order. `constants` are the places
    of `rest` that hold constants: what first timesteps give, where the network answers late.
    `parts` are the tensors that are joined, head and rest, as long as nothing was done to them.
    """

    axis: int
    head: Array
    rest: str
    made: tuple[NodeProto, ...]
    constants: tuple[Array, ...]
    parts: tuple[str, ...] = ()


class Beginnings:
    """The tensors of a graph that begin before the first timestep."""

    def __init__(
        self, graph: GraphProto, shapes: Mapping[str, Shape], known: dict[str, Array], opset: int
    ) -> None:
        self.graph, self.shapes, self.known, self.opset = graph, shapes, known, opset
        self.statics = Statics(graph, opset)
        self.found: dict[str, Begun] = {}
        self.written: set[str] = set()
        self.steps = 0

    def part(self) -> bool:
        """Let what reads such a tensor read its parts; tells if anything did.

        Raises ImportFailure where the model gives one of them.
        """
        if not any(map(self._joins, self.graph.node)):
            return False
        cuts = find_cuts(self.graph, self.opset, dict(self.shapes), self.known)
        self.steps = cuts.steps if cuts else 0
        changed = bool(self.steps) and replace_nodes(self.graph, self._replaced)
        for value in self.graph.output:
            if value.name in self.found:
                raise self._refused("gives", self.found[value.name], value.name)
        return changed

    def _joins(self, node: NodeProto) -> bool:
        """Whether a node joins a constant and more values that are computed."""
        parts = node.input
        moving = self.statics.moving
        return (
            node.op_type == "Concat"
            and len(parts) > FEWEST_STEPS
            and parts[0] not in moving
            and parts[-1] in moving
        )

    def _replaced(self, node: NodeProto) -> Nodes | None:
        if self._joins(node):
            self._begin(node)
            return None
        read = [name for name in node.input if name in self.found]
        if len(read) != 1:
            return None
        begun = self.found[read[0]]
        if node.op_type in REDUCTIONS:
            return self._reduced(node, begun)
        if read == node.input[:1] and (cut := self._cut(node, begun)):
            return cut
        self._go_on(node, begun)
        return None

    def _begin(self, node: NodeProto) -> None:
        name = node.output[0]
        shape = self.shapes.get(name, ())
        axis = Node(node, self.opset).axis("axis", 0, len(shape)) if shape else 0
        early = len(node.input) - self.steps
        parts = list(node.input)
        single = all(self.shapes.get(part, ())[axis : axis + 1] == (1,) for part in parts)
        first = [self.statics.array(part) for part in parts[: max(early, 0)]]
        if early < 1 or not single or any(array is None for array in first):
            return
        head = np.concatenate([array for array in first if array is not None], axis)
        rest = f"{name}.timesteps"
        made = helper.make_node("Concat", parts[early:], [rest], node.name, axis=axis)
        arrays = map(self.statics.array, parts[early:])
        constants = tuple(array for array in arrays if array is not None)
        self.found[name] = Begun(axis, head, rest, (made,), constants, tuple(parts))

    def _go_on(self, node: NodeProto, begun: Begun) -> None:
        """Enter what a node makes of a tensor, if it works on each timestep alone."""
        axis = self._axis_behind(node, begun)
        others = {name for name in node.input if name not in self.found}
        if axis is None or len(node.output) != 1 or not self.statics.moving.isdisjoint(others):
            return
        own = NodeProto()
        own.CopyFrom(node)
        own.input[:] = [begun.rest if name in self.found else name for name in node.input]
        own.output[:] = [f"{node.output[0]}.timesteps"]
        head = self._run(node, begun.head)
        constants = tuple(self._run(node, one) for one in begun.constants)
        self.found[node.output[0]] = Begun(axis, head, own.output[0], (*begun.made, own), constants)

    def _run(self, node: NodeProto, array: Array) -> Array:
        """What a node makes of an array in the place of the tensor that begins early."""
        arrays = [array if n in self.found else self.statics.array(n) for n in node.input]
        return self.statics.run(node, arrays)

    def _axis_behind(self, node: NodeProto, begun: Begun) -> int | None:
        """The axis of timesteps in what a node makes; None if it works along it, or may."""
        axis, rank = begun.axis, begun.head.ndim
        if node.op_type in ALONE:
            return axis
        if node.op_type == "Transpose":
            order = Node(node, self.opset).integers("perm") or [*range(rank)][::-1]
            return order.index(axis)
        others = [name for name in node.input if name not in self.found]
        if len(others) != 1 or others[0] not in self.shapes:
            return None
        other = self.shapes[others[0]]
        if node.op_type in PAIRS and len(other) <= rank:
            return axis if ((1,) * (rank - len(other)) + other)[axis] == 1 else None
        first = node.op_type == "MatMul" and node.input[0] in self.found
        return axis if first and len(other) == 2 and axis < rank - 1 else None

    def _cut(self, node: NodeProto, begun: Begun) -> Nodes | None:
        """Places along the axis that a node cuts out."""
        name, axis = node.output[0], begun.axis
        early = begun.head.shape[axis]
        shape = (*begun.head.shape[:axis], early + self.steps, *begun.head.shape[axis + 1 :])
        found = pieces(node, self.opset, shape, self.known)
        if len(found) == 1 and found[0].axis == axis and found[0].step >= early:
            step = found[0].step - early
            place = np.array([step] if found[0].kept else step, np.int64)
            at = _constant(f"{name}.place", place)
            gather = helper.make_node("Gather", [begun.rest, at.output[0]], [name], axis=axis)
            return [*self._needed(begun), at, gather]
        if node.op_type != "Slice":
            return None
        ranges = cut_ranges(Node(node, self.opset), shape, self.known)
        if len(ranges) != 1 or ranges[0][0] != axis:
            return None
        if ranges[0][1] == range(early, early + self.steps):
            return [*self._needed(begun), helper.make_node("Identity", [begun.rest], [name])]
        taken = [begun.parts[place] for place in ranges[0][1]] if begun.parts else []
        return [helper.make_node("Concat", taken, [name], node.name, axis=axis)] if taken else None

    def _reduced(self, node: NodeProto, begun: Begun) -> Nodes | None:
        """A reduction over time alone, of the timesteps and of what was before."""
        read = Node(node, self.opset)
        axes = read.integers("axes")
        if len(node.input) > 1:
            axes = [int(one) for one in self.known.get(node.input[1], np.array([]))]
        if not axes or read.axes(axes, begun.head.ndim) != [begun.axis]:
            return None
        own = NodeProto()
        own.CopyFrom(node)
        own.input[0], own.output[0] = begun.rest, f"{node.output[0]}.timesteps"
        both = self._largest if node.op_type == "ReduceMax" else self._total
        return [*self._needed(begun), own, *both(node, begun, own.output[0])]

    def _largest(self, node: NodeProto, begun: Begun, over: str) -> Nodes:
        """The largest of `over`, that of the timesteps, and of what was before."""
        head = self._run(node, begun.head)
        first = [self._run(node, one) for one in begun.constants]
        if np.all(head <= ENDLESS) or any(np.all(head <= one) for one in first):
            return [helper.make_node("Identity", [over], node.output)]
        if head.any():
            raise self._refused("takes the largest of", begun, node.name)
        return [helper.make_node("Relu", [over], node.output, node.name)]

    def _total(self, node: NodeProto, begun: Begun, over: str) -> Nodes:
        """The mean or sum of `over`, that of the timesteps, and of what was before."""
        head, name = self._run(node, begun.head), node.output[0]
        early = begun.head.shape[begun.axis]
        share = early / (early + self.steps) if node.op_type == "ReduceMean" else 0.0
        factor = _constant(f"{over}.share", np.array(1 - share, head.dtype))
        scaled = f"{over}.scaled"
        nodes = [factor, helper.make_node("Mul", [over, factor.output[0]], [scaled], node.name)]
        if not share:
            nodes, scaled = [], over
        if not head.any():
            return [*nodes, helper.make_node("Identity", [scaled], [name])]
        added = _constant(f"{over}.first", (head * (share or 1)).astype(head.dtype))
        add = helper.make_node("Add", [scaled, added.output[0]], [name], node.name)
        return [*nodes, added, add]

    def _needed(self, begun: Begun) -> Iterator[NodeProto]:
        """The nodes that make `rest` and were not written yet."""
        for node in begun.made:
            if node.output[0] not in self.written:
                self.written.add(node.output[0])
                yield node

    def _refused(self, what: str, begun: Begun, where: str) -> ImportFailure:
        count = begun.head.shape[begun.axis] + self.steps
        return ImportFailure.of(
            INITIAL_OUTPUT, where=where, what=what, count=count, steps=self.steps
        )


def _constant(name: str, array: Array) -> NodeProto:
    return helper.make_node("Constant", [], [name], name, value=numpy_helper.from_array(array))
