"""Operators that combine tensors element by element: arithmetic, comparisons, choices."""

from dataclasses import replace

import numpy as np
from onnx import TensorProto

from dmpc.errors import ImportFailure
from dmpc.frontend.builder import broadcast
from dmpc.frontend.context import COMPARED, Arguments, Context, Handler, loc_of, unsupported
from dmpc.frontend.of_spikes import function_of, of_spikes
from dmpc.frontend.onnx_file import Node
from dmpc.frontend.operator_rules import CAST, ONLY_RELU, TRAINING
from dmpc.frontend.reduce import after_reduction
from dmpc.frontend.staircases import begin, climb
from dmpc.frontend.steps import as_steps, follow, start
from dmpc.frontend.tensors import Known, Tensor, Traced
from dmpc.ir.registry import EvalContext, op_def

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
LOGIC = {"And": ("ge", 2.0), "Or": ("ge", 1.0), "Xor": ("eq", 1.0)}

LIMITLESS = 1e30  # nothing is cut off there


def elementwise(ctx: Context, node: Node, kind: str, *tensors: Tensor) -> list[Tensor]:
    """An op on each element of broadcast tensors."""
    if all(isinstance(tensor, Known) for tensor in tensors):  # of an operator with more operands
        broadcast(tensors, node.name)
        arrays = [tensor.array for tensor in tensors if isinstance(tensor, Known)]
        return [Known(op_def(kind).evaluate(EvalContext(), {}, *arrays)[0])]
    if kind == "mul" and any(isinstance(t, Known) and not t.array.any() for t in tensors):
        shape = broadcast(tensors, node.name)
        return [Known(np.zeros(shape, np.float32))]
    stepped = follow(ctx, node, kind, *tensors) or climb(ctx, node, kind, *tensors)
    if stepped is not None:
        return stepped
    retagged = after_reduction(kind, tensors)
    if retagged is not None:
        return [retagged]
    return [ctx.builder.elementwise(kind, tensors, node.proto.output[0], loc_of(node))]


def binary(ctx: Context, node: Node, inputs: Arguments) -> list[Tensor]:
    """Arithmetic and comparisons of two tensors."""
    kind, swapped = BINARY[node.op]
    pair = (inputs[1], inputs[0]) if swapped else (inputs[0], inputs[1])
    if node.op in COMPARED:
        pair = (_number(ctx, node, pair[0]), _number(ctx, node, pair[1]))
    return elementwise(ctx, node, kind, *pair)


def logic(ctx: Context, node: Node, inputs: Arguments) -> list[Tensor]:
    """And, Or, Xor of two truth values, by how many of them are true."""
    pair = (_number(ctx, node, inputs[0]), _number(ctx, node, inputs[1]))
    (both,) = elementwise(ctx, node, "add", *pair)
    kind, least = LOGIC[node.op]
    return elementwise(ctx, node, kind, both, Known(np.array([least])))


def _number(ctx: Context, node: Node, tensor: Tensor) -> Tensor:
    """A truth value as 0 or 1; numbers as they are."""
    if isinstance(tensor, Known):
        return replace(tensor, array=tensor.array.astype(np.float64))
    assert isinstance(tensor, Traced)
    truth = ctx.builder.graph.types[tensor.value].dtype == "bool"
    return elementwise(ctx, node, "cast", tensor)[0] if truth else tensor


def mod(ctx: Context, node: Node, inputs: Arguments) -> list[Tensor]:
    """Mod, whose sign an attribute decides."""
    kind = "fmod" if node.integer("fmod", 0) else "mod"
    return elementwise(ctx, node, kind, inputs[0], inputs[1])


def neg(ctx: Context, node: Node, inputs: Arguments) -> list[Tensor]:
    """Neg."""
    return elementwise(ctx, node, "neg", inputs[0])


def floor(ctx: Context, node: Node, inputs: Arguments) -> list[Tensor]:
    """Floor."""
    tensor = _traced(inputs[0])
    started = step_of(ctx, node, "floor", tensor)
    return started or [begin(ctx, node, "floor", tensor)]


def nearest(ctx: Context, node: Node, inputs: Arguments) -> list[Tensor]:
    """Round, as `floor(x + 0.5)`: halves up, where ONNX takes the even neighbour, as of spikes."""
    tensor = _traced(inputs[0])
    followed = follow(ctx, node, "round", tensor) or function_of(ctx, node, "round", [tensor])
    if followed is not None:
        return followed
    (more,) = elementwise(ctx, node, "add", tensor, Known(np.array([0.5])))
    return [begin(ctx, node, "floor", _traced(more))]


def relu(ctx: Context, node: Node, inputs: Arguments) -> list[Tensor]:
    """Relu."""
    return elementwise(ctx, node, "relu", inputs[0])


def step_of(ctx: Context, node: Node, kind: str, tensor: Tensor) -> list[Tensor] | None:
    """The step function that sign, ceil, floor, trunc or truth make of a value, if they do."""
    assert isinstance(tensor, Traced)
    if tensor.reduced is not None:
        return None
    followed = follow(ctx, node, kind, tensor) or climb(ctx, node, kind, tensor)
    return followed or start(ctx, node, kind, tensor)


def stepping(kind: str) -> Handler:
    """The handler of an operator that the machine knows on steps only."""

    def handle(ctx: Context, node: Node, inputs: Arguments) -> list[Tensor]:
        operands = [tensor for tensor in inputs.tensors if tensor is not None]
        as_steps(ctx, node, *operands)
        found = follow(ctx, node, kind, *operands) or function_of(ctx, node, kind, operands)
        if found is None and len(operands) == 1:
            found = step_of(ctx, node, kind, operands[0])
        if found is not None:
            return found
        if kind == "ceil":
            return [begin(ctx, node, kind, _traced(operands[0]), unsupported(node, ctx.operators))]
        raise ctx.refused(node, operands)

    return handle


def total(ctx: Context, node: Node, inputs: Arguments) -> list[Tensor]:
    """Sum of any number of tensors."""
    result = inputs[0]
    for number in range(1, len(inputs.tensors)):
        (result,) = elementwise(ctx, node, "add", result, inputs[number])
    return [result]


def maximum(ctx: Context, node: Node, inputs: Arguments) -> list[Tensor]:
    """Max of a tensor and 0, which is a Relu, or of a step function and numbers."""
    result = inputs[0]
    for number in range(1, len(inputs.tensors)):
        result = _larger(ctx, node, result, inputs[number])
    return [result]


def minimum(ctx: Context, node: Node, inputs: Arguments) -> list[Tensor]:
    """Min of a tensor and 0, which is a negative Relu, or of a step function and numbers."""
    result = inputs[0]
    for number in range(1, len(inputs.tensors)):
        result = _smaller(ctx, node, result, inputs[number])
    return [result]


def clip(ctx: Context, node: Node, inputs: Arguments) -> list[Tensor]:
    """Clip from 0 up or of a step function; between 0 and 1 it may become part of a threshold."""
    low, high = inputs.known(1, "minimum"), inputs.known(2, "maximum")
    result = inputs[0]
    unit = low is not None and high is not None and not low.array.any() and np.all(high.array == 1)
    if low is not None and np.any(low.array > np.finfo(np.float32).min):
        result = _larger(ctx, node, result, low)
    if high is not None and np.any(high.array < np.finfo(np.float32).max):
        result = _smaller(ctx, node, result, high, unit=bool(unit))
    if unit and isinstance(result, Traced):
        ctx.builder.unit_clips[result.value] = ctx.builder.vector(_traced(inputs[0]), loc_of(node))[
            0
        ]
    return [result]


def _traced(tensor: Tensor) -> Traced:
    assert isinstance(tensor, Traced)
    return tensor


def _larger(ctx: Context, node: Node, a: Tensor, b: Tensor) -> Tensor:
    """`max(a, b) = a + relu(b - a)`."""
    if isinstance(a, Known):
        a, b = b, a
    if isinstance(b, Known) and not b.array.any():
        return elementwise(ctx, node, "relu", a)[0]
    if _endless(b, -1.0):
        return a
    _check_limit(ctx, node, a, b)
    over = elementwise(ctx, node, "sub", b, a)[0]
    return elementwise(ctx, node, "add", a, elementwise(ctx, node, "relu", over)[0])[0]


def _smaller(ctx: Context, node: Node, a: Tensor, b: Tensor, *, unit: bool = False) -> Tensor:
    """`min(a, b) = a - relu(a - b)`."""
    if isinstance(a, Known):
        a, b = b, a
    if isinstance(b, Known) and not b.array.any():
        (negative,) = elementwise(ctx, node, "neg", a)
        (part,) = elementwise(ctx, node, "relu", negative)
        return elementwise(ctx, node, "neg", part)[0]
    if _endless(b, 1.0):
        return a
    if not unit:
        _check_limit(ctx, node, a, b)
    over = elementwise(ctx, node, "sub", a, b)[0]
    return elementwise(ctx, node, "sub", a, elementwise(ctx, node, "relu", over)[0])[0]


def _endless(limit: Tensor, way: float) -> bool:
    """Whether a limit is none; raises ImportFailure if it is one of some elements alone."""
    beyond = isinstance(limit, Known) and np.atleast_1d(way * limit.array >= LIMITLESS)
    if np.any(beyond) and not np.all(beyond):
        raise ImportFailure("limits some elements, and others at infinity: give all of them one")
    return bool(np.any(beyond))


def _check_limit(ctx: Context, node: Node, a: Tensor, b: Tensor) -> None:
    """A limit is a constant, or a spike of spikes; what is limited may be a spike in disguise."""
    if of_spikes(ctx.builder.graph, a) and of_spikes(ctx.builder.graph, b):
        return
    as_steps(ctx, node, a)
    if not isinstance(b, Known):
        raise ImportFailure.of(ONLY_RELU, op=node.op)


def batch_norm(ctx: Context, node: Node, inputs: Arguments) -> list[Tensor]:
    """BatchNormalization by statistics that are constants: a factor and an addend per channel."""
    if node.integer("training_mode", 0):
        raise ImportFailure.of(TRAINING, op=node.op)
    scale, bias, mean, variance = (
        inputs.constant(number, what)
        for number, what in enumerate(("scale", "bias", "mean", "variance"), 1)
    )
    broadcast((scale, bias, mean, variance), node.name)
    factor = scale.array / np.sqrt(variance.array + node.real("epsilon", 1e-5))
    addend = bias.array - mean.array * factor
    channels = (-1, *[1] * (len(inputs[0].shape) - 2))
    gain = Known(factor.reshape(channels), scale.name)
    (scaled,) = elementwise(ctx, node, "mul", inputs[0], gain)
    return elementwise(ctx, node, "add", scaled, Known(addend.reshape(channels), bias.name))


def invert(ctx: Context, node: Node, inputs: Arguments) -> list[Tensor]:
    """Not: of a threshold the opposite comparison, of another truth value whether it is 0."""
    tensor = inputs[0]
    assert isinstance(tensor, Traced)
    if _declared(ctx, tensor):
        return elementwise(ctx, node, "sub", Known(np.ones(1)), tensor)
    stepped = follow(ctx, node, "not", tensor)
    if stepped is not None:
        return stepped
    made_by = ctx.builder.graph.producer(tensor.value)
    if made_by is None or made_by.kind not in ("ge", "gt"):
        return _is_zero(ctx, node, _number(ctx, node, tensor))
    opposite = "gt" if made_by.kind == "ge" else "ge"
    operands = made_by.operands[::-1]
    value = ctx.builder.emit(
        opposite, operands, {}, node.proto.output[0], (*made_by.loc, *loc_of(node))
    )
    return [replace(tensor, value=value)]


def _is_zero(ctx: Context, node: Node, tensor: Tensor) -> list[Tensor]:
    return elementwise(ctx, node, "eq", tensor, Known(np.zeros(1)))


def cast(ctx: Context, node: Node, inputs: Arguments) -> list[Tensor]:
    """Cast between truth values and numbers."""
    tensor, to = inputs[0], node.integer("to", 0)
    assert isinstance(tensor, Traced)
    type_ = ctx.builder.graph.types[tensor.value]
    given = ctx.builder.graph.producer(tensor.value) is None  # whether it holds spikes shows later
    if type_.dtype == "bool":
        if to == TensorProto.BOOL:
            return [tensor]
        if to in (*FLOATS, *INTEGERS):
            return elementwise(ctx, node, "cast", tensor)
    elif to in FLOATS:
        return [tensor]
    elif to == TensorProto.BOOL:
        stepped = step_of(ctx, node, "truth", tensor)
        if stepped is not None:
            return stepped
        made_by = ctx.builder.graph.producer(tensor.value)
        if made_by is not None and made_by.kind == "cast":
            return [replace(tensor, value=made_by.operands[0])]
        as_steps(ctx, node, tensor)
        stepped = follow(ctx, node, "truth", tensor)
        if stepped is not None:
            return stepped
        if given:
            (zero,) = _is_zero(ctx, node, tensor)
            return _is_zero(ctx, node, _number(ctx, node, zero))
    elif to in INTEGERS:
        as_steps(ctx, node, tensor)
        stepped = step_of(ctx, node, "trunc", tensor)
        if stepped is not None:
            return stepped
        if given:
            (part,) = elementwise(ctx, node, "fmod", tensor, Known(np.ones(1)))
            return elementwise(ctx, node, "sub", tensor, part)
    name = TensorProto.DataType.Name(to) if to in TensorProto.DataType.values() else f"type {to}"
    error = ImportFailure.of(CAST, where=node.name, from_=type_.dtype, to=name)
    if to in INTEGERS:
        return [begin(ctx, node, "trunc", tensor, error)]
    raise error


def where(ctx: Context, node: Node, inputs: Arguments) -> list[Tensor]:
    """Where; by a truth value that the file takes as its input, `b + x (a - b)`."""
    condition, a, b = inputs[0], inputs[1], inputs[2]
    if not _declared(ctx, condition):
        return elementwise(ctx, node, "where", condition, a, b)
    if isinstance(a, Known) and isinstance(b, Known):
        broadcast((a, b), node.name)
        rise: Tensor = Known(a.array.astype(np.float64) - b.array)
    else:
        (rise,) = elementwise(ctx, node, "sub", a, b)
    (part,) = elementwise(ctx, node, "mul", condition, rise)
    return elementwise(ctx, node, "add", part, b)


def _declared(ctx: Context, condition: Tensor) -> bool:
    """Whether a truth value is one of the input's, which are the numbers 0 and 1 in the graph."""
    return (
        isinstance(condition, Traced) and ctx.builder.graph.types[condition.value].dtype != "bool"
    )
