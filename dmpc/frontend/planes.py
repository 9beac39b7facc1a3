"""Operators that are one linear map of the planes of a timestep: which, they say of unit vectors.

What resizes planes treats its axes one after the other, and a transposed convolution is the
transpose of the convolution that leads back.
"""

import math
from dataclasses import replace
from functools import reduce

import numpy as np
from onnx import NodeProto

from dmpc.errors import ImportFailure
from dmpc.frontend.boundary import check_size
from dmpc.frontend.context import Arguments, Context, loc_of
from dmpc.frontend.elementwise import elementwise
from dmpc.frontend.in_space import pair, stands
from dmpc.frontend.movement import move
from dmpc.frontend.movement import pad as pad_over_time
from dmpc.frontend.onnx_file import Node, evaluate
from dmpc.frontend.operator_rules import CONV
from dmpc.frontend.reduce import after_reduction
from dmpc.frontend.reduce import pooling as means_over_features
from dmpc.frontend.tensors import Known, MixesTime, Tensor, Traced
from dmpc.ir.graph import Array
from dmpc.ir.ops_convolution import Convolution

CHANNELS = 2
"""Axes before the first that all channels share: samples, and channels."""


def pad(ctx: Context, node: Node, inputs: Arguments) -> list[Tensor]:
    """Pad of planes by zeros, or by what lies at their edges; along time it makes a delay."""
    tensor, widths, value = inputs[0], inputs.known(1, "widths"), inputs.known(2, "value")
    whole = inputs.get(3) is None and isinstance(tensor, Traced) and stands(tensor)
    if widths is None or not widths.array.any() or not isinstance(tensor, Traced) or not whole:
        return pad_over_time(ctx, node, inputs)
    if node.text("mode", "constant") != "constant":
        return move(ctx, node, inputs)
    outer = widths.array.reshape(2, -1)[:, :CHANNELS].any()
    if outer or (value is not None and value.array.any()):
        return pad_over_time(ctx, node, inputs)
    given = [known.array for known in (widths, value) if known is not None]
    return [_alike(ctx, node, tensor, *given)]


def pooling(ctx: Context, node: Node, inputs: Arguments) -> list[Tensor]:
    """AveragePool: means over neighbours, of which some may be padding, or of uneven numbers."""
    tensor = inputs[0]
    plain = node.text("auto_pad", "NOTSET") in ("NOTSET", "VALID")
    plain = plain and not any(node.integers("pads") or ()) and not node.integer("ceil_mode", 0)
    plain = plain and set(node.integers("dilations") or [1]) == {1}
    if plain or not isinstance(tensor, Traced) or not stands(tensor):
        return means_over_features(ctx, node, inputs)
    return [_alike(ctx, node, tensor)]


def resize(ctx: Context, node: Node, inputs: Arguments) -> list[Tensor]:
    """Resize of planes, one axis after the other."""
    tensor = _planes(node, inputs[0])
    sizes = inputs.known(3, "sizes")
    scales = inputs.known(2, "scales") if sizes is None else None
    rank = len(tensor.shape)
    axes = node.axes(node.integers("axes") or range(rank), rank)
    cropped = "roi" in node.text("coordinate_transformation_mode", "")
    if cropped or (sizes is None and scales is None):
        raise ImportFailure("resizes by a region of interest, or by computed sizes")
    proto = NodeProto()
    proto.CopyFrom(node.proto)
    kept = [one for one in proto.attribute if one.name not in ("axes", "keep_aspect_ratio_policy")]
    del proto.attribute[:]
    proto.attribute.extend(kept)
    maps, shape = [np.eye(size) for size in tensor.shape], list(tensor.shape)
    for number, axis in enumerate(axes):
        size = tensor.shape[axis]
        by = None if scales is None else np.array([1, scales.array[number]], np.float32)
        to = None if sizes is None else np.array([size, sizes.array[number]], np.int64)
        if (by is None or by[1] == 1) and (to is None or to[1] == size):
            continue
        unit = np.eye(size, dtype=np.float32)
        given = [unit, None, by, to][: len(proto.input)]
        maps[axis] = evaluate(Node(proto, node.opset), given)[0].astype(np.float64)
        shape[axis] = maps[axis].shape[1]
    if shape[:CHANNELS] != [*tensor.shape[:CHANNELS]]:
        raise MixesTime(f"{node.op} is supported along the axes of planes")
    weight: Array = reduce(np.kron, maps[CHANNELS:])
    return [_mapped(ctx, node, tensor, weight, shape, CHANNELS)]


def transposed(ctx: Context, node: Node, inputs: Arguments) -> list[Tensor]:
    """ConvTranspose of planes by known weights. Raises ImportFailure if shapes do not fit."""
    tensor, kernel = _planes(node, inputs[0]), inputs.known(1, "kernel")
    rank, parts = len(tensor.shape) - CHANNELS, node.integer("group", 1)
    if kernel is None or rank > 2 or kernel.array.ndim != rank + CHANNELS:
        raise ImportFailure.of(CONV, problem="has computed weights, or more than two axes")
    weight = kernel.array
    if weight.shape[0] != tensor.shape[1] or tensor.shape[1] % parts:
        shapes = f"input {list(tensor.shape)} and kernel {list(weight.shape)} in {parts} groups"
        raise ImportFailure.of(CONV, problem=f"has {shapes}, which do not fit together")
    if node.text("auto_pad", "NOTSET") != "NOTSET" or node.integers("output_shape"):
        raise ImportFailure.of(CONV, problem="is padded to a shape", hint="pads and output_padding")
    strides, dilations = (node.integers(key) or [1] * rank for key in ("strides", "dilations"))
    pads, more = node.integers("pads") or [0] * 2 * rank, node.integers("output_padding")
    spans = [d * (t - 1) + 1 for d, t in zip(dilations, weight.shape[2:], strict=True)]
    sizes = [
        by * (size - 1) + span + extra - low - high
        for size, by, span, extra, low, high in zip(
            tensor.shape[2:], strides, spans, more or [0] * rank, pads[:rank], pads[rank:],
            strict=True,
        )
    ]  # fmt: skip
    outputs = weight.shape[1] * parts
    back = Convolution(
        pair(sizes), outputs, pair(tensor.shape[2:]), weight.shape[0], pair(weight.shape[2:]),
        pair(strides), pair(pads[:rank], 0), pair(dilations), parts=parts,
        planar=True, planar_result=True,
    )  # fmt: skip
    check_size((back.inputs, back.places * back.outputs), node.name)
    square = weight.reshape(*weight.shape[:2], *back.taps).transpose(0, 2, 3, 1)
    matrix = back.apply(np.eye(back.inputs), square.astype(np.float64)).T
    name = f"{node.proto.output[0]}.sum"
    shape = (tensor.shape[0], outputs, *sizes)
    result = _mapped(ctx, node, tensor, matrix, shape, 1, name)
    bias = inputs.known(2, "bias")
    if bias is None:
        return [result]
    addend = Known(bias.array.reshape(-1, *[1] * rank), bias.name)
    return elementwise(ctx, node, "add", result, addend)


def _planes(node: Node, tensor: Tensor) -> Traced:
    if not isinstance(tensor, Traced) or not stands(tensor):
        raise MixesTime(f"{node.op} is supported over the features of a timestep")
    return tensor


def _alike(ctx: Context, node: Node, tensor: Traced, *given: Array) -> Traced:
    """What does the same to the plane of each channel [samples, channels, ...]."""
    sizes = tensor.shape[CHANNELS:]
    count = math.prod(sizes)
    check_size((count, count), node.name)
    unit = np.eye(count, dtype=np.float32).reshape(count, 1, *sizes)
    rest = [None] * (len(node.proto.input) - 1 - len(given))
    (made,) = evaluate(node, [unit, *given, *rest])
    shape = (*tensor.shape[:CHANNELS], *made.shape[CHANNELS:])
    weight: Array = made.reshape(count, -1).astype(np.float64)
    return _mapped(ctx, node, tensor, weight, shape, CHANNELS)


def _mapped(
    ctx: Context, node: Node, tensor: Traced, weight: Array, shape: tuple[int, ...] | list[int],
    front: int, name: str = "",
) -> Traced:  # fmt: skip
    """A product of weights [n, m] with the axes behind the first `front`, in their new shape."""
    after_reduction("matmul", (tensor,))
    flat = tensor.moved(tensor.index.reshape(*tensor.shape[:front], -1))
    result = ctx.builder.linear(flat, Known(weight), name or node.proto.output[0], loc_of(node))
    return replace(result, index=result.index.reshape(shape))
