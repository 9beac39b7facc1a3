"""Operators that combine tensors element by element: arithmetic, comparisons, choices."""

from dataclasses import replace

import numpy as np
from onnx import TensorProto

from dmpc.errors import ImportFailure
from dmpc.frontend.context import Arguments, Context, loc_of
from dmpc.frontend.onnx_file import Node
from dmpc.frontend.operator_rules import CAST, ONLY_COMPARISONS, ONLY_RELU, TRAINING
from dmpc.frontend.reduce import after_reduction
from dmpc.frontend.tensors import Known, Tensor, Traced

FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE)
INTEGERS = (TensorProto.INT32, TensorProto.INT64, TensorProto.INT8, TensorProto.UINT8)

# op, and whether the operands change places
BINARY = {
    "Add": ("add", False),
    "Sub": ("sub", False),
    "Mul": ("mul", False),
    "Div": ("div", False),
    "GreaterOrEqual": ("ge", False),
    "Greater": ("gt", False),
    "Equal": ("eq", False),
    "LessOrEqual": ("ge", True),
    "Less": ("gt", True),
}


def elementwise(ctx: Context, node: Node, kind: str, *tensors: Tensor) -> list[Tensor]:
    """An op on each element of broadcast tensors."""
    if kind == "mul" and any(isinstance(t, Known) and not t.array.any() for t in tensors):
        shape = np.broadcast_shapes(*(tensor.shape for tensor in tensors))
        return [Known(np.zeros(shape, np.float32))]
    retagged = after_reduction(kind, tensors)
    if retagged is not None:
        return [retagged]
    return [ctx.builder.elementwise(kind, tensors, node.proto.output[0], loc_of(node))]


def binary(ctx: Context, node: Node, inputs: Arguments) -> list[Tensor]:
    """Arithmetic and comparisons of two tensors."""
    kind, swapped = BINARY[node.op]
    pair = (inputs[1], inputs[0]) if swapped else (inputs[0], inputs[1])
    return elementwise(ctx, node, kind, *pair)


def mod(ctx: Context, node: Node, inputs: Arguments) -> list[Tensor]:
    """Mod, whose sign an attribute decides."""
    kind = "fmod" if node.integer("fmod", 0) else "mod"
    return elementwise(ctx, node, kind, inputs[0], inputs[1])


def neg(ctx: Context, node: Node, inputs: Arguments) -> list[Tensor]:
    """Neg."""
    return elementwise(ctx, node, "neg", inputs[0])


def floor(ctx: Context, node: Node, inputs: Arguments) -> list[Tensor]:
    """Floor."""
    return elementwise(ctx, node, "floor", inputs[0])


def relu(ctx: Context, node: Node, inputs: Arguments) -> list[Tensor]:
    """Relu."""
    return elementwise(ctx, node, "relu", inputs[0])


def maximum(ctx: Context, node: Node, inputs: Arguments) -> list[Tensor]:
    """Max of a tensor and 0, which is a Relu."""
    zeros = [t for t in inputs.tensors if isinstance(t, Known) and not t.array.any()]
    traced = [t for t in inputs.tensors if isinstance(t, Traced)]
    if len(inputs.tensors) != 2 or len(zeros) != 1 or len(traced) != 1:
        raise ImportFailure.of(ONLY_RELU, op="Max", when="of one tensor and 0")
    return elementwise(ctx, node, "relu", traced[0])


def clip(ctx: Context, node: Node, inputs: Arguments) -> list[Tensor]:
    """Clip from 0 up, which is a Relu."""
    low, high = inputs.known(1, "minimum"), inputs.known(2, "maximum")
    unbounded = high is None or np.all(high.array >= np.finfo(np.float32).max)
    if low is None or low.array.any() or not unbounded:
        raise ImportFailure.of(ONLY_RELU, op="Clip", when="with minimum 0 and no maximum")
    return elementwise(ctx, node, "relu", inputs[0])


def batch_norm(ctx: Context, node: Node, inputs: Arguments) -> list[Tensor]:
    """BatchNormalization by statistics that are constants: a factor and an addend per channel."""
    if node.integer("training_mode", 0):
        raise ImportFailure.of(TRAINING, op=node.op)
    scale, bias, mean, variance = (
        inputs.constant(number, what)
        for number, what in enumerate(("scale", "bias", "mean", "variance"), 1)
    )
    factor = scale.array / np.sqrt(variance.array + node.real("epsilon", 1e-5))
    addend = bias.array - mean.array * factor
    channels = (-1, *[1] * (len(inputs[0].shape) - 2))
    gain = Known(factor.reshape(channels), scale.name)
    (scaled,) = elementwise(ctx, node, "mul", inputs[0], gain)
    return elementwise(ctx, node, "add", scaled, Known(addend.reshape(channels), bias.name))


def invert(ctx: Context, node: Node, inputs: Arguments) -> list[Tensor]:
    """Not of a comparison: the opposite comparison."""
    tensor = inputs[0]
    assert isinstance(tensor, Traced)
    made_by = ctx.builder.graph.producer(tensor.value)
    if made_by is None or made_by.kind not in ("ge", "gt"):
        raise ImportFailure.of(ONLY_COMPARISONS)
    opposite = "gt" if made_by.kind == "ge" else "ge"
    operands = made_by.operands[::-1]
    value = ctx.builder.emit(
        opposite, operands, {}, node.proto.output[0], (*made_by.loc, *loc_of(node))
    )
    return [replace(tensor, value=value)]


def cast(ctx: Context, node: Node, inputs: Arguments) -> list[Tensor]:
    """Cast between truth values and numbers."""
    tensor, to = inputs[0], node.integer("to", 0)
    assert isinstance(tensor, Traced)
    type_ = ctx.builder.graph.types[tensor.value]
    if type_.dtype == "bool":
        if to == TensorProto.BOOL:
            return [tensor]
        if to in (*FLOATS, *INTEGERS):
            return elementwise(ctx, node, "cast", tensor)
    elif to in FLOATS:
        return [tensor]
    elif to == TensorProto.BOOL:
        made_by = ctx.builder.graph.producer(tensor.value)
        if made_by is not None and made_by.kind == "cast":
            return [replace(tensor, value=made_by.operands[0])]
    name = TensorProto.DataType.Name(to)
    raise ImportFailure.of(CAST, from_=type_.dtype, to=name)


def where(ctx: Context, node: Node, inputs: Arguments) -> list[Tensor]:
    """Where."""
    return elementwise(ctx, node, "where", inputs[0], inputs[1], inputs[2])
