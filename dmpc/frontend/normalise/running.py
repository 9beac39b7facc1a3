"""Maxima that a loop keeps up, `best = maximum(best, output)`: those of the list of all outputs."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from onnx import GraphProto, NodeProto, helper, numpy_helper

from dmpc.frontend.normalise.rewriting import replace_nodes
from dmpc.frontend.normalise.shapes import Shape
from dmpc.frontend.normalise.slices import FEWEST_STEPS, find_cuts, latest_slices
from dmpc.frontend.normalise.statics import Statics
from dmpc.frontend.onnx_file import graphs
from dmpc.ir.graph import Array

ENDLESS = -1e6  # no output is below: what a maximum begins with that takes in nothing else


class Running:
    """The maxima of a graph that each take in one value more."""

    def __init__(
        self, graph: GraphProto, shapes: Mapping[str, Shape], known: dict[str, Array], opset: int
    ) -> None:
        self.graph, self.shapes, self.known, self.opset = graph, shapes, known, opset
        self.lists: dict[str, tuple[Array | None, int, list[str]]] = {}

    def as_lists(self) -> bool:
        """Take the maximum of a list in place of each that is kept up; tells if any was."""
        if sum(node.op_type == "Max" for node in self.graph.node) < FEWEST_STEPS - 1:
            return False
        chains = {name: parts for name, parts in self._chains() if len(parts) >= FEWEST_STEPS}
        cuts = find_cuts(self.graph, self.opset, dict(self.shapes), self.known) if chains else None
        if cuts is None:
            return False
        statics = Statics(self.graph, self.opset)
        latest = latest_slices(self.graph, self.opset, self.shapes, self.known, cuts)
        for name, parts in chains.items():
            moving = [part for part in parts if part in statics.moving]
            first = [array for one in parts if (array := statics.array(one)) is not None]
            start = np.maximum.reduce(np.broadcast_arrays(*first)) if first else None
            if start is not None and np.all(start <= ENDLESS):
                start = None
            missing = cuts.steps - len(moving)
            same = all(self.shapes.get(part) == self.shapes.get(name) for part in moving)
            if same and len(chains) == 1 and missing and _later([latest.get(p, 0) for p in moving]):
                self.lists[name] = start, 0, moving
            elif same and 0 <= missing < len(moving) and (start is not None or not missing):
                self.lists[name] = start, max(missing, 1), moving
        return replace_nodes(self.graph, self._replaced)

    def _chains(self) -> Iterator[tuple[str, list[str]]]:
        """Results of Max that no other reads alone, with all of which they are the largest."""
        readers = Counter(
            name for inner in graphs(self.graph) for n in inner.node for name in n.input
        )
        readers.update(value.name for inner in graphs(self.graph) for value in inner.output)
        order: dict[str, int] = {}
        chains: dict[str, list[str]] = {}
        for number, node in enumerate(self.graph.node):
            order.update(dict.fromkeys(node.output, number))
            if node.op_type != "Max":
                continue
            parts: list[str] = []
            for name in node.input:
                parts += chains.pop(name) if name in chains and readers[name] == 1 else [name]
            chains[node.output[0]] = parts
        for name, parts in chains.items():
            yield name, sorted(dict.fromkeys(parts), key=lambda one: order.get(one, -1))

    def _replaced(self, node: NodeProto) -> list[NodeProto] | None:
        """The maximum of a list; what first timesteps make of constants alone, exporters fold."""
        if node.op_type != "Max" or node.output[0] not in self.lists:
            return None
        name = node.output[0]
        start, often, moving = self.lists[name]
        nodes: list[NodeProto] = []
        if often and start is not None and start.any() and start.min() == 0:
            # Of zeros and of first outputs: with the larger of zero and each of the others, too.
            nodes = [helper.make_node("Relu", [one], [f"{name}.{one}"]) for one in moving]
            moving = [node.output[0] for node in nodes]
        axes = _constant(f"{name}.axis", np.array([0], np.int64))
        nodes.append(axes)
        if start is not None:
            array = np.array(np.broadcast_to(start, self.shapes[name]))
            nodes.append(_constant(f"{name}.start", array))
            moving = [f"{name}.start"] * often + moving
        parts = [f"{name}.{number}" for number in range(len(moving))]
        nodes += [
            helper.make_node("Unsqueeze", [one, axes.output[0]], [part], part)
            for one, part in zip(moving, parts, strict=True)
        ]
        nodes.append(helper.make_node("Concat", parts, [f"{name}.all"], f"{name}.all", axis=0))
        largest = f"{name}.largest" if start is not None and not often else name
        over = helper.make_node("ReduceMax", [f"{name}.all"], [largest], node.name, keepdims=0)
        if self.opset < 18:
            over.attribute.append(helper.make_attribute("axes", [0]))
        else:
            over.input.append(axes.output[0])
        nodes.append(over)
        if largest != name:
            nodes.append(helper.make_node("Max", [largest, f"{name}.start"], [name], node.name))
        return nodes


def _later(steps: Sequence[int]) -> bool:
    """Whether timesteps are in order, one after the other, and begin behind the first."""
    return bool(steps) and steps[0] > 0 and [*steps] == [*range(steps[0], steps[0] + len(steps))]


def _constant(name: str, array: Array) -> NodeProto:
    return helper.make_node("Constant", [], [name], name, value=numpy_helper.from_array(array))
