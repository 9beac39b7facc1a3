"""Operators that rearrange elements, join them, or ask for their shape."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from dmpc.errors import ImportFailure
from dmpc.frontend.context import Arguments, Context, loc_of
from dmpc.frontend.elementwise import elementwise
from dmpc.frontend.onnx_file import Node, evaluate
from dmpc.frontend.operator_rules import (
    APART_IN_TIME,
    JOINED_CONSTANTS,
    SHAPE_MISFIT,
    STEERED,
    TRAINING,
    UNEVEN,
)
from dmpc.frontend.tensors import Known, MixesTime, Tensor, Traced, plain


def move(ctx: Context, node: Node, inputs: Arguments) -> list[Tensor]:
    """Any operator that only rearranges elements."""
    del ctx
    tensor = inputs[0]
    if not isinstance(tensor, Traced):
        raise ImportFailure.of(STEERED, op=node.op)
    steering = [inputs.known(i, "arrangement") for i in range(1, len(inputs.tensors))]
    arrays = [tensor.index, *(None if known is None else known.array for known in steering)]
    results = [tensor.moved(index) for index in evaluate(node, arrays)]
    if tensor.reduced is None and not all(map(plain, results)):
        raise MixesTime.of(UNEVEN, where=node.name)
    return list(results)


def pad(ctx: Context, node: Node, inputs: Arguments) -> list[Tensor]:
    """Pad; by nothing it does nothing, before the first timestep it makes a delay."""
    del ctx
    tensor, widths = inputs[0], inputs.known(1, "widths")
    if widths is not None and not widths.array.any():
        return [tensor]
    raise MixesTime.of(JOINED_CONSTANTS, op=node.op)


def dropout(ctx: Context, node: Node, inputs: Arguments) -> list[Tensor]:
    """Dropout, which does nothing in inference."""
    del ctx
    training = inputs.known(2, "mode")
    if training is not None and training.array.any():
        raise ImportFailure.of(TRAINING, op=node.op)
    return [inputs[0]]


def shape(ctx: Context, node: Node, inputs: Arguments) -> list[Tensor]:
    """Shape."""
    del ctx
    sizes = np.array(inputs[0].shape, np.int64)
    last = node.integer("end", len(sizes))
    return [Known(sizes[node.integer("start", 0) : last])]


def concat(ctx: Context, node: Node, inputs: Arguments) -> list[Tensor]:
    """Concat of computed tensors, and of numbers beside several of them."""
    parts = [inputs[i] for i in range(len(inputs.tensors))]
    traced = [part for part in parts if isinstance(part, Traced)]
    numbers = any(isinstance(part, Known) for part in parts)
    if numbers and len({part.value for part in traced}) < 2:
        raise MixesTime.of(JOINED_CONSTANTS, op=node.op)  # zeros in front of a sequence delay it
    if len({(p.domain, p.reduced, p.since) for p in traced}) > 1:
        raise ImportFailure.of(APART_IN_TIME)
    axis = node.axis("axis", 0, len(traced[0].shape))
    rests = {(*part.shape[:axis], *part.shape[axis + 1 :]) for part in parts}
    if len(rests) > 1 or len({len(part.shape) for part in parts}) > 1:
        shapes = ", ".join(str(list(part.shape)) for part in parts)
        raise ImportFailure.of(SHAPE_MISFIT, shapes=shapes)
    joined = _joined(ctx, node, traced, axis)
    return [_beside(ctx, node, joined, parts, axis) if numbers else joined]


def _joined(ctx: Context, node: Node, traced: Sequence[Traced], axis: int) -> Traced:
    names = list(dict.fromkeys(part.value for part in traced))
    sizes = {part.value: part.features for part in traced}
    width = sum(sizes.values())
    offsets = dict(zip(names, np.cumsum([0, *sizes.values()]).tolist(), strict=False))
    value = ctx.builder.emit("concat", names, {}, node.proto.output[0], loc_of(node))
    index = np.concatenate(
        [part.positions * width + offsets[part.value] + part.elements for part in traced],
        axis=axis,
    )
    return replace(traced[0], value=value, features=width, index=index)


def _beside(ctx: Context, node: Node, joined: Traced, parts: Sequence[Tensor], axis: int) -> Tensor:
    """Computed elements with numbers between them: a product with 0 and 1, and a sum."""
    known = [isinstance(part, Known) for part in parts]
    lines = np.concatenate([np.full(p.shape[axis], k) for p, k in zip(parts, known, strict=True)])
    at = np.where(lines, 0, np.cumsum(~lines) - 1)  # whichever stands where a number belongs
    filled = joined.moved(np.take(joined.index, at, axis))
    if not plain(filled):
        raise MixesTime.of(JOINED_CONSTANTS, op=node.op)
    shape = [1] * len(joined.shape)
    shape[axis] = len(lines)
    arrays = [p.array if isinstance(p, Known) else np.zeros(p.shape) for p in parts]
    kept = Known((~lines).reshape(shape).astype(np.float32))
    numbers = Known(np.concatenate(arrays, axis).astype(np.float32))
    (result,) = elementwise(ctx, node, "mul", filled, kept)
    return elementwise(ctx, node, "add", result, numbers)[0] if numbers.array.any() else result
