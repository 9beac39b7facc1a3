"""Sizes that stand for those of an input that are known at run time only: samples and timesteps.

A model is imported with two of them, which shows whether the result depends on them. One that names
a timestep, as where a mean begins, may need longer ones to get there.
"""

from collections.abc import Iterator

from onnx import GraphProto, ModelProto, numpy_helper

from dmpc.frontend.onnx_file import graphs
from dmpc.ir.graph import Array

Sizes = tuple[int, int]
STAND_INS: tuple[Sizes, Sizes] = ((11, 13), (17, 19))
NAMED = 8  # timesteps from the first on that these hold for sure, and some more
MOST = 1 << 12
COMPARISONS = ("Greater", "GreaterOrEqual", "Less", "LessOrEqual")


def longer_stand_ins(model: ModelProto) -> tuple[Sizes, Sizes] | None:
    """Stand-ins with the timesteps that a model names; None if the others have them."""
    named = max((number for number in _named(model.graph) if number <= MOST), default=0)
    if named <= NAMED:
        return None
    first, second = ((samples, steps + named) for samples, steps in STAND_INS)
    return first, second


def _named(graph: GraphProto) -> Iterator[int]:
    """Whole numbers at which a tensor is cut, or with which the body of a loop compares."""
    inner = [*graphs(graph)]
    held: dict[str, Array] = {}
    for one in inner:
        small = (tensor for tensor in one.initializer if list(tensor.dims) in ([], [1]))
        held |= {tensor.name: numpy_helper.to_array(tensor) for tensor in small}
        held |= {
            node.output[0]: numpy_helper.to_array(node.attribute[0].t)
            for node in one.node
            if node.op_type == "Constant" and node.attribute[0].name == "value"
        }
    for one in inner:
        for node in one.node:
            compared = one is not inner[0] and node.op_type in COMPARISONS
            read = node.input if compared else node.input[1:2] if node.op_type == "Slice" else ()
            for array in (held[name] for name in read if name in held):
                if (
                    array.size == 1
                    and array.dtype.kind in "iuf"
                    and float(array.item()).is_integer()
                ):
                    yield int(array.item())
