"""What is shared while a model is imported, and the loop over a graph's nodes."""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from onnx import GraphProto

from dmpc.errors import ImportFailure
from dmpc.frontend.builder import Builder
from dmpc.frontend.onnx_file import Node, evaluate, initializers
from dmpc.frontend.tensors import Known, Tensor
from dmpc.ir.graph import Loc

Handler = Callable[["Context", Node, "Arguments"], list[Tensor]]
NEAREST = {
    "Loop": "Scan",
    "If": "Where",
    "Conv": "MatMul",
    "Einsum": "MatMul",
    "DFT": "one timestep with an explicit memory state",
    "BatchNormalization": "a Linear with the normalisation folded in",
}


@dataclass(frozen=True)
class Arguments:
    """The inputs of a node; an optional input that is left out is None."""

    node: Node
    tensors: list[Tensor | None]
    outer: Mapping[str, Tensor]

    def __getitem__(self, number: int) -> Tensor:
        """A tensor that the node needs."""
        tensor = self.get(number)
        if tensor is None:
            raise ImportFailure(f"{self.node.op} lacks input {number}", where=self.node.name)
        return tensor

    def get(self, number: int) -> Tensor | None:
        """A tensor, or None if the node does without it."""
        return self.tensors[number] if number < len(self.tensors) else None

    def known(self, number: int, what: str) -> Known | None:
        """A tensor that must be a constant, or None if it is left out."""
        tensor = self.get(number)
        if tensor is not None and not isinstance(tensor, Known):
            raise ImportFailure(
                f"{self.node.op} takes its {what} from a computed value",
                where=self.node.name,
                hint="a constant is needed",
            )
        return tensor


@dataclass
class Context:
    """An import in progress."""

    opset: int
    builder: Builder
    operators: Mapping[str, Handler]
    keep_initial: bool
    scanned: bool = False  # true after the first Scan
    finals: set[str] = field(default_factory=set)  # outputs of Scans that are final states

    def run(self, graph: GraphProto, outer: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Go through a graph's nodes; returns every tensor visible at its end, by name.

        `outer` holds the graph's inputs and what is visible from outside.
        """
        tensors = dict(outer)
        for name, array in initializers(graph).items():
            tensors.setdefault(name, Known(array, name))
        for proto in graph.node:
            node = Node(proto, self.opset)
            results = self._node(node, tensors)
            tensors.update(
                (name, result) for name, result in zip(proto.output, results, strict=False) if name
            )
        return tensors

    def _node(self, node: Node, tensors: Mapping[str, Tensor]) -> list[Tensor]:
        inputs: list[Tensor | None] = []
        for name in node.proto.input:
            if name and name not in tensors:
                raise ImportFailure(
                    f"{node.op} reads '{name}', which nothing defines", where=node.name
                )
            inputs.append(tensors[name] if name else None)
        known = [tensor for tensor in inputs if isinstance(tensor, Known)]
        if len(known) == len([t for t in inputs if t is not None]) and not _has_body(node):
            arrays = [t.array if isinstance(t, Known) else None for t in inputs]
            name = next((tensor.name for tensor in known if tensor.name), "")
            return [Known(array, name) for array in evaluate(node, arrays)]
        if node.op not in self.operators:
            raise unsupported(node, self.operators)
        try:
            return self.operators[node.op](self, node, Arguments(node, inputs, tensors))
        except ImportFailure as error:
            if error.where:
                raise
            raise ImportFailure(error.message, where=node.name, hint=error.hint) from None


def _has_body(node: Node) -> bool:
    return any(attribute.HasField("g") for attribute in node.proto.attribute)


def unsupported(node: Node, operators: Mapping[str, Handler]) -> ImportFailure:
    """The error for an operator that the frontend does not know, with the nearest that it does."""
    near = difflib.get_close_matches(node.op, operators, n=3, cutoff=0.5)
    nearest = NEAREST.get(node.op) or " or ".join(near) or f"one of {', '.join(sorted(operators))}"
    return ImportFailure(
        f"operator {node.op} is not supported", where=node.name, hint=f"nearest: {nearest}"
    )


def loc_of(node: Node) -> Loc:
    """Provenance of what a node becomes."""
    return (node.name,)
