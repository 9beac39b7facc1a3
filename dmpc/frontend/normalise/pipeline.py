"""Source to source: from a model as exporters write it to one whose loops over time are Scans."""

from collections.abc import Mapping

from onnx import GraphProto, ModelProto

from dmpc.frontend.normalise.roll import roll
from dmpc.frontend.normalise.shapes import Shape, infer, with_sizes
from dmpc.frontend.normalise.slices import CUTTERS, FEWEST_STEPS


def normalise(model: ModelProto, opset: int, sizes: Mapping[str, Shape]) -> ModelProto:
    """A model that computes the same with its loops over time as Scans; itself if it has none.

    `sizes` holds the shapes of its inputs, some of which may be known at run time only. Raises
    ImportFailure, naming the node, where a loop cannot be understood.
    """
    if not _may_loop(model.graph):
        return model
    sized, types, known = infer(with_sizes(model, sizes))
    return roll(sized, opset, types, known)


def _may_loop(graph: GraphProto) -> bool:
    """Whether a graph has anything to normalise."""
    return sum(node.op_type in CUTTERS for node in graph.node) >= FEWEST_STEPS
