"""Source to source: from a model as exporters write it to one whose loops over time are Scans."""

from collections.abc import Iterator, Mapping

from onnx import GraphProto, ModelProto

from dmpc.errors import ErrorList
from dmpc.frontend.context import at_node, unsupported
from dmpc.frontend.normalise.added import Added
from dmpc.frontend.normalise.begun import Beginnings
from dmpc.frontend.normalise.branches import inline_branches
from dmpc.frontend.normalise.padding import Padding
from dmpc.frontend.normalise.repeated import Sequence, as_sequences
from dmpc.frontend.normalise.roll import roll
from dmpc.frontend.normalise.running import Running
from dmpc.frontend.normalise.sequences import Lists
from dmpc.frontend.normalise.shapes import Shape, Types, infer, with_sizes
from dmpc.frontend.normalise.slices import CUTTERS, FEWEST_STEPS
from dmpc.frontend.normalise.unroll import unroll_loops
from dmpc.frontend.onnx_file import DOMAINS, Node, graphs
from dmpc.frontend.operators import OPERATORS
from dmpc.ir.graph import Array

CONTROL = ("If", "Loop")
"""Operators that `normalise` replaces wherever they stand."""
USUAL = {
    *CONTROL, "Constant", "ConstantOfShape", "Range", "Size", "Softmax", "LogSoftmax", "Sigmoid",
    "Tanh", "Exp", "SequenceEmpty", "SequenceInsert", "SequenceAt", "SequenceConstruct",
    "ConcatFromSequence", "SplitToSequence",
}  # fmt: skip
"""What exporters write besides what is imported."""


def is_usual(model: ModelProto) -> bool:
    """Whether a model holds what exporters write, and nothing else: libraries end the process on
    some attributes of other operators."""
    nodes = (node for inner in graphs(model.graph) for node in inner.node)
    return all(node.op_type in OPERATORS or node.op_type in USUAL for node in nodes)


def normalise(
    model: ModelProto,
    opset: int,
    sizes: Mapping[str, Shape],
    *,
    sequence: bool = True,
    proved: bool = True,
) -> ModelProto:
    """A model that computes the same with its loops over time as Scans; itself if it has none.

    `sizes` holds the shapes of its inputs, some of which may be known at run time only. A model
    that is no `sequence` but one timestep is not rolled up. Unless it is `proved`, what first
    timesteps compute is taken to be what the others do. Raises ImportFailure, naming the node,
    where a loop cannot be understood.
    """
    if not _may_loop(model.graph, sequence):
        return model
    _check_operators(model.graph)
    sized, types, known = _unrolled(model, opset, sizes, sequence=sequence)
    return roll(sized, opset, types, known, proved=proved) if sequence else sized


def sequences(model: ModelProto, opset: int, source: str, shape: Shape) -> Iterator[Sequence]:
    """What a model whose one input `source` is no sequence may be as a model of one."""
    _check_operators(model.graph)
    sized, types, known = _unrolled(model, opset, {source: shape}, sequence=False)
    yield from as_sequences(sized, types, known, source)


def _unrolled(
    model: ModelProto, opset: int, sizes: Mapping[str, Shape], *, sequence: bool
) -> tuple[ModelProto, Types, dict[str, Array]]:
    """A model of given sizes without Loops, lists and branches; its types and small integers."""
    sized = with_sizes(model, sizes)
    trusted = is_usual(model)
    while True:
        sized, types, known = infer(sized, trusted=trusted)
        changed = Lists(types.shapes, known).lower(sized.graph)
        changed |= inline_branches(sized.graph, known)
        changed |= sequence and Running(sized.graph, types.shapes, known, opset).as_lists()
        changed |= sequence and Added(sized.graph, types.shapes, known, opset).as_list()
        changed |= sequence and Beginnings(sized.graph, types.shapes, known, opset).part()
        changed |= sequence and Padding(types.shapes, known, opset).unwrap(sized.graph)
        if not changed and not unroll_loops(sized.graph, known):
            return sized, types, known


def _check_operators(graph: GraphProto) -> None:
    """What is not of the standard has no shapes either: errors behind it would name other nodes."""
    errors = ErrorList()
    told = set()
    for inner in graphs(graph):
        for node in inner.node:
            if node.domain not in DOMAINS and (node.domain, node.op_type) not in told:
                told.add((node.domain, node.op_type))
                errors.add(at_node(unsupported(Node(node, 0), OPERATORS), inner, node))
    errors.check()


def _may_loop(graph: GraphProto, sequence: bool) -> bool:
    """Whether a graph has anything to normalise."""
    cuts = sum(len(node.output) for node in graph.node if node.op_type in CUTTERS)
    control = any(node.op_type in CONTROL for node in graph.node)
    return control or (sequence and cuts >= FEWEST_STEPS)
