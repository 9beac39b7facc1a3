"""Ops of the model level: float primitives on vectors, to which a frontend reduces a user's graph.

Every value is a vector [n] (batch and time axes are not part of a type), constants may be vectors
or matrices, and a vector of one element stands for as many as needed. Data movement (transposes,
slices, broadcasts) is one op, `take`; reductions and products with constants are one, `matmul`.
"""

from collections.abc import Callable, Sequence

import numpy as np

from dmpc.ir.registry import Attrs, AttrSpec, EvalContext, OpDef, Tensor, register
from dmpc.ir.types import TensorType

MODEL = ("model",)


def vector(type_: TensorType, what: str, *dtypes: str) -> int:
    """Number of elements of a vector; raises ValueError for other shapes or element types."""
    if len(type_.shape) != 1:
        raise ValueError(f"{what} must be a vector, not {type_}")
    if dtypes and type_.dtype not in dtypes:
        raise ValueError(f"{what} must be of {' or '.join(dtypes)}, not {type_}")
    return type_.shape[0]


def same_size(types: Sequence[TensorType], what: str) -> int:
    """Common size of vectors, where one element stands for as many as needed."""
    sizes = {vector(type_, what) for type_ in types} - {1}
    if len(sizes) > 1:
        raise ValueError(f"{what} differ in size: {', '.join(map(str, types))}")
    return sizes.pop() if sizes else 1


def _elementwise(
    name: str, doc: str, operands: tuple[str, ...], function: Callable[..., Tensor], result: str
) -> None:
    """Register an op that applies `function` element by element to f32 operands."""

    def infer(types: Sequence[TensorType], attrs: Attrs) -> tuple[TensorType, ...]:
        del attrs
        for type_, operand in zip(types, operands, strict=True):
            vector(type_, operand, "f32")
        return (TensorType(result, (same_size(types, "operands"),)),)

    def evaluate(ctx: EvalContext, attrs: Attrs, *arrays: Tensor) -> tuple[Tensor, ...]:
        del ctx, attrs
        return (function(*arrays),)

    register(OpDef(name, doc, MODEL, operands, ("y",), infer, evaluate))


_elementwise("add", "Sum: a + b.", ("a", "b"), np.add, "f32")
_elementwise("sub", "Difference: a - b.", ("a", "b"), np.subtract, "f32")
_elementwise("mul", "Product: a · b.", ("a", "b"), np.multiply, "f32")
_elementwise("div", "Quotient: a / b.", ("a", "b"), np.divide, "f32")
_elementwise("neg", "Negation: -a.", ("a",), np.negative, "f32")
_elementwise("floor", "The largest whole number that is at most a.", ("a",), np.floor, "f32")
_elementwise("relu", "Rectifier: max(a, 0).", ("a",), lambda a: np.maximum(a, 0), "f32")
_elementwise("ge", "Comparison: a >= b.", ("a", "b"), np.greater_equal, "bool")
_elementwise("gt", "Comparison: a > b.", ("a", "b"), np.greater, "bool")
_elementwise("eq", "Comparison: a = b.", ("a", "b"), np.equal, "bool")
_elementwise("mod", "Remainder of a / b, with the sign of b.", ("a", "b"), np.mod, "f32")
_elementwise("fmod", "Remainder of a / b, with the sign of a.", ("a", "b"), np.fmod, "f32")


def _infer_reached(types: Sequence[TensorType], attrs: Attrs) -> tuple[TensorType, ...]:
    del attrs
    return (TensorType("f32", (vector(types[0], "x", "f32"),)),)


def _evaluate_reached(ctx: EvalContext, attrs: Attrs, x: Tensor) -> tuple[Tensor, ...]:
    whole = np.ceil(x) - 1 if attrs["strict"] else np.floor(x)
    return (np.maximum(whole, 0).astype(ctx.dtype),)


register(
    OpDef(
        "reached",
        "How many of 1, 2, 3 and so on a value has reached, or `strict`: passed.", MODEL,
        ("x",), ("y",), _infer_reached, _evaluate_reached,
        {"strict": AttrSpec(bool, "true: how many are below x; false: how many are not above it")},
    )
)  # fmt: skip


def _infer_cast(types: Sequence[TensorType], attrs: Attrs) -> tuple[TensorType, ...]:
    del attrs
    return (TensorType("f32", (vector(types[0], "x", "bool"),)),)


def _evaluate_cast(ctx: EvalContext, attrs: Attrs, x: Tensor) -> tuple[Tensor, ...]:
    del attrs
    return (x.astype(ctx.dtype),)


register(
    OpDef(
        "cast", "Truth value as a number: 1 for true.", MODEL, ("x",), ("y",),
        _infer_cast, _evaluate_cast,
    )
)  # fmt: skip


def _infer_where(types: Sequence[TensorType], attrs: Attrs) -> tuple[TensorType, ...]:
    del attrs
    vector(types[0], "condition", "bool")
    vector(types[1], "a", "f32")
    vector(types[2], "b", "f32")
    return (TensorType("f32", (same_size(types, "operands"),)),)


def _evaluate_where(
    ctx: EvalContext, attrs: Attrs, condition: Tensor, a: Tensor, b: Tensor
) -> tuple[Tensor, ...]:
    del ctx, attrs
    return (np.where(condition, a, b),)


register(
    OpDef(
        "where", "Choice: a where the condition is true, else b.", MODEL,
        ("condition", "a", "b"), ("y",), _infer_where, _evaluate_where,
    )
)  # fmt: skip


def _infer_matmul(types: Sequence[TensorType], attrs: Attrs) -> tuple[TensorType, ...]:
    del attrs
    size = vector(types[0], "x", "f32")
    if len(types[1].shape) != 2 or types[1].shape[1] != size:
        raise ValueError(f"weight must be [n, {size}] for x of {types[0]}, not {types[1]}")
    return (TensorType("f32", (types[1].shape[0],)),)


def _evaluate_matmul(
    ctx: EvalContext, attrs: Attrs, x: Tensor, weight: Tensor
) -> tuple[Tensor, ...]:
    del ctx, attrs
    return (x @ weight.T,)


register(
    OpDef(
        "matmul", "Linear map: weight [n, m] · x [m].", MODEL, ("x", "weight"), ("y",),
        _infer_matmul, _evaluate_matmul, parameters=("weight",),
    )
)  # fmt: skip


def taken_indices(attrs: Attrs) -> list[int]:
    """The `indices` of a `take`; raises ValueError if they are no list of integers."""
    indices = attrs["indices"]
    if not isinstance(indices, tuple):
        raise ValueError("indices must be a list of integers")
    return [index for index in indices if isinstance(index, int)]


def _infer_take(types: Sequence[TensorType], attrs: Attrs) -> tuple[TensorType, ...]:
    size = vector(types[0], "x")
    indices = taken_indices(attrs)
    outside = [index for index in indices if not 0 <= index < size]
    if outside:
        raise ValueError(f"index {outside[0]} is outside x of {types[0]}")
    return (TensorType(types[0].dtype, (len(indices),)),)


def _evaluate_take(ctx: EvalContext, attrs: Attrs, x: Tensor) -> tuple[Tensor, ...]:
    del ctx
    return (x[..., taken_indices(attrs)],)


register(
    OpDef(
        "take", "Selection of elements, in the order given.", MODEL, ("x",), ("y",),
        _infer_take, _evaluate_take,
        {"indices": AttrSpec(tuple, "elements of x that the result holds")},
    )
)  # fmt: skip


def _infer_concat(types: Sequence[TensorType], attrs: Attrs) -> tuple[TensorType, ...]:
    del attrs
    if len({type_.dtype for type_ in types}) != 1:
        raise ValueError(f"parts must share an element type, not {', '.join(map(str, types))}")
    return (TensorType(types[0].dtype, (sum(vector(type_, "part") for type_ in types),)),)


def _evaluate_concat(ctx: EvalContext, attrs: Attrs, *parts: Tensor) -> tuple[Tensor, ...]:
    del ctx, attrs
    batch = max((part.shape[:-1] for part in parts), key=len)
    return (np.concatenate([np.broadcast_to(p, (*batch, p.shape[-1])) for p in parts], axis=-1),)


register(
    OpDef(
        "concat", "Vectors one after the other.", MODEL, ("parts*",), ("y",),
        _infer_concat, _evaluate_concat,
    )
)  # fmt: skip
