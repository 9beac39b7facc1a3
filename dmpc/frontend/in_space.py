"""Convolutions and means over neighbours within a timestep, as ops that are not multiplied out."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from dmpc.errors import ImportFailure
from dmpc.frontend.context import Context, loc_of
from dmpc.frontend.convolution import pads
from dmpc.frontend.onnx_file import Node
from dmpc.frontend.operator_rules import CONV
from dmpc.frontend.tensors import Known, Traced, layout
from dmpc.ir.graph import Array
from dmpc.ir.ops_convolution import ONE, Convolution, Pair


def stands(tensor: Traced) -> bool:
    """Whether what lies at each place of the first axis is of one timestep of one sample."""
    at = tensor.positions.reshape(tensor.shape[0], -1)
    return len(tensor.shape) in (3, 4) and bool((at == at[:, :1]).all())


def in_space(ctx: Context, node: Node, tensor: Traced, kernel: Known, name: str) -> Traced:
    """Conv along the axes behind the channels. Raises ImportFailure if shapes do not fit."""
    rank, weight = len(tensor.shape) - 2, kernel.array
    parts = node.integer("group", 1)
    given = [node.integers(key) or [1] * rank for key in ("strides", "dilations")]
    if weight.ndim != rank + 2 or weight.shape[1] * parts != tensor.shape[1]:
        shapes = f"input {list(tensor.shape)} and kernel {list(weight.shape)} in {parts} groups"
        raise ImportFailure.of(CONV, problem=f"has {shapes}, which do not fit together")
    strides, dilations = given
    spans = [d * (t - 1) + 1 for d, t in zip(dilations, weight.shape[2:], strict=True)]
    around = pads(node, tensor.shape[2:], spans, strides)
    sizes = zip(tensor.shape[2:], around, spans, strides, strict=True)
    positions = [(size + sum(ends) - span) // by + 1 for size, ends, span, by in sizes]
    if min(positions) < 1 or weight.shape[0] % parts:
        raise ImportFailure.of(CONV, problem="has a kernel that is longer than the padded input")
    made = Convolution(
        pair(tensor.shape[2:]), tensor.shape[1], pair(positions), weight.shape[0],
        pair(weight.shape[2:]), pair(strides), pair([one for one, _ in around], 0),
        pair(dilations), parts=parts, planar=True, planar_result=True,
    )  # fmt: skip
    square = weight.reshape(*weight.shape[:2], *made.taps).transpose(0, 2, 3, 1)
    shape = (tensor.shape[0], weight.shape[0], *positions)
    return _mapped(ctx, node, tensor, made, Known(square, kernel.name), name, shape)


def means(ctx: Context, node: Node, tensor: Traced, size: Pair) -> Traced:
    """Means over neighbours of each channel [samples, channels, y, x], each in one mean."""
    places = tensor.shape[2] // size[0], tensor.shape[3] // size[1]
    channels = tensor.shape[1]
    made = Convolution(
        pair(tensor.shape[2:]), channels, places, channels, ONE,
        pool=size, parts=channels, planar=True, planar_result=True,
    )  # fmt: skip
    weight: Array = np.full((channels, 1, 1, 1), 1.0 / (size[0] * size[1]))
    shape = (tensor.shape[0], channels, *places)
    return _mapped(ctx, node, tensor, made, Known(weight), node.proto.output[0], shape)


def ones(
    ctx: Context,
    node: Node,
    tensor: Traced,
    taps: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    before: Sequence[int],
    places: Sequence[int],
) -> Traced:
    """Sums over neighbours of each channel [samples, channels, ...], whether they overlap or not.

    Raises ImportFailure if there is no position.
    """
    if min(places) < 1:
        raise ImportFailure.of(CONV, problem="has a kernel that is longer than the padded input")
    channels, sizes = tensor.shape[1], tensor.shape[2:]
    apart = (
        list(taps) == list(strides)
        and not any(before)
        and all(place == size // tap for place, size, tap in zip(places, sizes, taps, strict=True))
    )
    made = Convolution(
        pair(sizes), channels, pair(places), channels, pair(taps), pair(strides),
        pair(before, 0), pair(dilations), parts=channels, planar=True, planar_result=True,
    )  # fmt: skip
    if apart and set(dilations) == {1}:
        made = replace(made, taps=ONE, stride=ONE, pool=pair(taps))
    weight: Array = np.ones((channels, *made.taps, 1))
    shape = (tensor.shape[0], channels, *places)
    return _mapped(ctx, node, tensor, made, Known(weight), f"{node.proto.output[0]}.sum", shape)


def _mapped(
    ctx: Context, node: Node, tensor: Traced, made: Convolution, weight: Known, name: str,
    shape: tuple[int, ...],
) -> Traced:  # fmt: skip
    loc = loc_of(node)
    value, _ = ctx.builder.vector(tensor, loc)
    constant = ctx.builder.constant(weight.array, weight.name, loc)
    result = ctx.builder.emit("conv", (value, constant), made.attrs, name, loc)
    at = tensor.positions.reshape(tensor.shape[0], -1)[:, :1]
    return layout(np.repeat(at, made.places * made.outputs, 1)).result(result, tensor, shape)


def pair(numbers: Sequence[int], rest: int = 1) -> Pair:
    """Numbers along y and x; of one axis along x."""
    return (rest, numbers[0]) if len(numbers) == 1 else (numbers[0], numbers[1])
