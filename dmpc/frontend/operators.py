"""ONNX operators as model-level ops: one function per kind of operator, and their table."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from onnx import TensorProto

from dmpc.errors import ImportFailure
from dmpc.frontend.context import Arguments, Context, Handler, loc_of
from dmpc.frontend.onnx_file import Node, evaluate
from dmpc.frontend.reduce import after_reduction, reduction
from dmpc.frontend.scan import scan
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
MOVEMENT = (
    "Expand", "Flatten", "Gather", "GatherElements", "GatherND", "Identity", "Reshape", "Slice",
    "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze",
)  # fmt: skip


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
        raise ImportFailure("Max is supported of one tensor and 0 only", hint="nearest: Relu")
    return elementwise(ctx, node, "relu", traced[0])


def clip(ctx: Context, node: Node, inputs: Arguments) -> list[Tensor]:
    """Clip from 0 up, which is a Relu."""
    low, high = inputs.known(1, "minimum"), inputs.known(2, "maximum")
    unbounded = high is None or np.all(high.array >= np.finfo(np.float32).max)
    if low is None or low.array.any() or not unbounded:
        raise ImportFailure("Clip is supported with minimum 0 and no maximum only", hint="use Relu")
    return elementwise(ctx, node, "relu", inputs[0])


def invert(ctx: Context, node: Node, inputs: Arguments) -> list[Tensor]:
    """Not of a comparison: the opposite comparison."""
    tensor = inputs[0]
    assert isinstance(tensor, Traced)
    made_by = ctx.builder.graph.producer(tensor.value)
    if made_by is None or made_by.kind not in ("ge", "gt"):
        raise ImportFailure("Not is supported of a comparison only", hint="nearest: GreaterOrEqual")
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
    raise ImportFailure(
        f"Cast of a {type_.dtype} value to {name} is not supported",
        hint="the network is imported in float32; only spikes may be truth values",
    )


def where(ctx: Context, node: Node, inputs: Arguments) -> list[Tensor]:
    """Where."""
    return elementwise(ctx, node, "where", inputs[0], inputs[1], inputs[2])


def matmul(ctx: Context, node: Node, inputs: Arguments) -> list[Tensor]:
    """MatMul of a tensor with a constant, on either side."""
    return [_product(ctx, node, inputs[0], inputs[1])]


def _product(ctx: Context, node: Node, a: Tensor, b: Tensor, name: str = "") -> Traced:
    if isinstance(a, Traced) and isinstance(b, Known):
        tensor, weight, transposed = a, b, False
    elif isinstance(a, Known) and isinstance(b, Traced):
        tensor, weight = b.moved(_swapped(b.index)), Known(_swapped(a.array), a.name)
        transposed = True
    else:
        raise ImportFailure(
            "a product of two computed values is not supported", hint="one must be a constant"
        )
    after_reduction("matmul", (tensor,))
    matrix = weight.array.reshape(weight.shape[max(0, weight.array.ndim - 2) :])
    if matrix.size != weight.array.size:
        raise ImportFailure(f"a batch of weights {list(weight.shape)} is not supported")
    square = matrix.reshape(-1, 1) if matrix.ndim == 1 else matrix
    if tensor.shape[-1:] != square.shape[:1]:
        raise ImportFailure(f"shapes {list(a.shape)} and {list(b.shape)} do not fit together")
    name = name or node.proto.output[0]
    result = ctx.builder.linear(tensor, Known(square, weight.name), name, loc_of(node))
    if matrix.ndim == 1:
        return result.moved(result.index[..., 0])
    return result.moved(_swapped(result.index)) if transposed else result


def _swapped(array: np.ndarray) -> np.ndarray:
    return array if array.ndim == 1 else np.swapaxes(array, -1, -2)


def gemm(ctx: Context, node: Node, inputs: Arguments) -> list[Tensor]:
    """Gemm: alpha A' B' + beta C."""
    alpha, beta = node.real("alpha", 1.0), node.real("beta", 1.0)
    a = _side(inputs[0], bool(node.integer("transA", 0)), alpha)
    b = _side(inputs[1], bool(node.integer("transB", 0)), alpha)
    addend = inputs.get(2)
    if addend is None or beta == 0.0:
        return [_product(ctx, node, a, b)]
    product = _product(ctx, node, a, b, name=f"{node.proto.output[0]}.product")
    if isinstance(addend, Known):
        addend = _scaled(addend, beta)
    elif beta != 1.0:
        raise ImportFailure("Gemm with beta other than 1 needs a constant C")
    return elementwise(ctx, node, "add", product, addend)


def _side(side: Tensor, transposed: bool, alpha: float) -> Tensor:
    """One factor of a Gemm; the constant one takes the scale."""
    if isinstance(side, Traced):
        return side.moved(side.index.T) if transposed else side
    return _scaled(Known(side.array.T if transposed else side.array, side.name), alpha)


def _scaled(tensor: Known, factor: float) -> Known:
    return tensor if factor == 1.0 else Known(tensor.array * factor, tensor.name)


def move(ctx: Context, node: Node, inputs: Arguments) -> list[Tensor]:
    """Any operator that only rearranges elements."""
    del ctx
    tensor = inputs[0]
    if not isinstance(tensor, Traced):
        raise ImportFailure(f"{node.op} is steered by a computed value")
    steering = [inputs.known(i, "arrangement") for i in range(1, len(inputs.tensors))]
    arrays = [tensor.index, *(None if known is None else known.array for known in steering)]
    return [tensor.moved(index) for index in evaluate(node, arrays)]


def dropout(ctx: Context, node: Node, inputs: Arguments) -> list[Tensor]:
    """Dropout, which does nothing in inference."""
    del ctx, node
    training = inputs.known(2, "mode")
    if training is not None and training.array.any():
        raise ImportFailure("Dropout is in training mode", hint="call model.eval() before export")
    return [inputs[0]]


def shape(ctx: Context, node: Node, inputs: Arguments) -> list[Tensor]:
    """Shape."""
    del ctx
    sizes = np.array(inputs[0].shape, np.int64)
    last = node.integer("end", len(sizes))
    return [Known(sizes[node.integer("start", 0) : last])]


def concat(ctx: Context, node: Node, inputs: Arguments) -> list[Tensor]:
    """Concat of computed tensors."""
    parts = [inputs[i] for i in range(len(inputs.tensors))]
    traced = [part for part in parts if isinstance(part, Traced)]
    if len(traced) != len(parts) or any(
        (p.domain, p.reduced) != (traced[0].domain, traced[0].reduced) for p in traced
    ):
        raise ImportFailure("Concat joins values that do not belong together in time")
    names = list(dict.fromkeys(part.value for part in traced))
    sizes = {part.value: part.features for part in traced}
    width = sum(sizes.values())
    offsets = dict(zip(names, np.cumsum([0, *sizes.values()]).tolist(), strict=False))
    value = ctx.builder.emit("concat", names, {}, node.proto.output[0], loc_of(node))
    index = np.concatenate(
        [part.positions * width + offsets[part.value] + part.elements for part in traced],
        axis=node.integer("axis", 0),
    )
    return [replace(traced[0], value=value, features=width, index=index)]


OPERATORS: Mapping[str, Handler] = {
    **dict.fromkeys(BINARY, binary),
    **dict.fromkeys(MOVEMENT, move),
    **dict.fromkeys(("ReduceMax", "ReduceMean", "ReduceSum"), reduction),
    "Cast": cast,
    "Clip": clip,
    "Concat": concat,
    "Dropout": dropout,
    "Floor": floor,
    "Gemm": gemm,
    "MatMul": matmul,
    "Max": maximum,
    "Mod": mod,
    "Neg": neg,
    "Not": invert,
    "Relu": relu,
    "Scan": scan,
    "Shape": shape,
    "Where": where,
}
