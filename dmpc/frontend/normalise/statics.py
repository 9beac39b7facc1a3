"""What of a graph does not depend on the model's inputs, and what it is."""

from collections.abc import Sequence

import numpy as np
from onnx import GraphProto, NodeProto, numpy_helper

from dmpc.frontend.boundary import at
from dmpc.frontend.normalise.rewriting import subgraphs
from dmpc.frontend.onnx_file import Node, evaluate
from dmpc.ir.graph import Array


class Statics:
    """The tensors of a graph that are constants; `moving` are the others, by name."""

    def __init__(self, graph: GraphProto, opset: int) -> None:
        self.opset = opset
        self.stored = {one.name: one for one in graph.initializer}
        self.makers = {name: node for node in graph.node for name in node.output}
        self.arrays: dict[str, Array | None] = {"": None}
        self.moving = {one.name for one in graph.input if one.name not in self.stored}
        for node in graph.node:
            if any(subgraphs(node)) or not self.moving.isdisjoint(node.input):
                self.moving.update(node.output)

    def array(self, name: str) -> Array | None:
        """What a tensor holds; None of one that moves, or is absent."""
        if name in self.moving:
            return None
        stack = [name]
        while stack:
            at_ = stack[-1]
            if at_ in self.arrays:
                stack.pop()
            elif at_ in self.stored:
                self.arrays[at_] = numpy_helper.to_array(self.stored[at_])
            elif at_ not in self.makers:
                self.arrays[at_] = None
            elif left := [one for one in self.makers[at_].input if one not in self.arrays]:
                stack += left
            else:
                maker = self.makers[at_]
                self.arrays[at_] = self.run(maker, [self.arrays[one] for one in maker.input])
        return self.arrays[name]

    def run(self, node: NodeProto, arrays: Sequence[Array | None]) -> Array:
        """The first result of a node on arrays. Raises ImportFailure if it cannot be run."""
        with at(node):
            return np.asarray(evaluate(Node(node, self.opset), arrays)[0])
