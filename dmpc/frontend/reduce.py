"""Reductions: over features they are products with ones, over time they are the readout."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from dmpc.errors import ImportFailure
from dmpc.frontend.context import Arguments, Context, loc_of
from dmpc.frontend.in_space import means, stands
from dmpc.frontend.maxima import over_features
from dmpc.frontend.onnx_file import Node
from dmpc.frontend.operator_rules import (
    AFTER_REDUCTION,
    AFTER_SUM,
    DIVIDED_BY_READOUT,
    MIXED_READOUTS,
    OVER_CLASSES,
    OVER_SOME_TIME,
)
from dmpc.frontend.tensors import Known, MixesTime, Tensor, Traced
from dmpc.ir.verify import SINCE

KINDS = {"ReduceMean": "mean", "ReduceSum": "sum", "ReduceMax": "max"}
LINEAR = ("matmul", "add", "sub", "mul", "div", "neg")


def reduction(ctx: Context, node: Node, inputs: Arguments) -> list[Tensor]:
    """ReduceMean, ReduceSum, ReduceMax, over time or over features."""
    tensor = inputs[0]
    assert isinstance(tensor, Traced)
    axes = _axes(node, inputs, len(tensor.shape))
    if not axes:
        return [tensor]
    last = [axis for axis in range(len(tensor.shape)) if axis not in axes]
    rows = np.transpose(tensor.index, [*last, *axes]).reshape(
        *(tensor.shape[axis] for axis in last), -1
    )
    flat = tensor.moved(rows)
    if not rows.shape[-1]:
        raise ImportFailure.of(OVER_SOME_TIME, op=node.op, what="nothing: none is that late")
    if np.all(flat.positions == flat.positions[..., :1]):
        result = _over_features(ctx, node, flat, KINDS[node.op])
    else:
        result = _over_time(ctx, node, flat)
    if node.integer("keepdims", 1):
        kept = [1 if axis in axes else size for axis, size in enumerate(tensor.shape)]
        result = result.moved(result.index.reshape(kept))
    return [result]


def _axes(node: Node, inputs: Arguments, rank: int) -> list[int]:
    given = inputs.known(1, "axes")
    axes = node.integers("axes") if given is None else [int(a) for a in given.array.reshape(-1)]
    if not axes:
        return [] if node.integer("noop_with_empty_axes", 0) else list(range(rank))
    return sorted({*node.axes(axes, rank)})  # one named twice counts once, as in onnxruntime


def pooling(ctx: Context, node: Node, inputs: Arguments) -> list[Tensor]:
    """AveragePool, GlobalAveragePool: means over groups of the features of a timestep."""
    tensor = inputs[0]
    assert isinstance(tensor, Traced)
    rank = len(tensor.shape) - 2
    kernel = node.integers("kernel_shape") or list(tensor.shape[2:])
    strides = node.integers("strides") or [1] * rank
    odd = any(node.integers("pads") or ()) or node.integer("ceil_mode", 0)
    odd = odd or any(step != 1 for step in node.integers("dilations") or ())
    fits = len(kernel) == len(strides) == rank and np.all(np.less_equal(kernel, tensor.shape[2:]))
    if odd or node.text("auto_pad", "NOTSET") not in ("NOTSET", "VALID") or not fits:
        raise MixesTime(f"{node.op} is supported over time, or over groups of features")
    if rank == 2 and kernel == strides and stands(tensor):
        after_reduction("matmul", (tensor,))
        return [means(ctx, node, tensor, (kernel[0], kernel[1]))]
    windows = np.lib.stride_tricks.sliding_window_view(
        tensor.index, kernel, axis=tuple(range(2, rank + 2))
    )
    windows = windows[(slice(None), slice(None), *(slice(None, None, step) for step in strides))]
    flat = tensor.moved(windows.reshape(*windows.shape[: rank + 2], -1))
    if np.any(flat.positions != flat.positions[..., :1]):
        raise MixesTime(f"{node.op} is supported over time, or over groups of features")
    return [_over_features(ctx, node, flat, "mean")]


def _over_features(ctx: Context, node: Node, tensor: Traced, kind: str) -> Traced:
    """`tensor [..., k]` -> `[...]`."""
    size = tensor.shape[-1]
    if ctx.scanned and size == tensor.features:  # groups of them are a vote
        raise ImportFailure.of(OVER_CLASSES, op=node.op, size=size)
    if kind == "max":
        return over_features(ctx, node, tensor)
    after_reduction("matmul", (tensor,))
    weight = np.full((size, 1), 1.0 if kind == "sum" else 1.0 / size)
    result = ctx.builder.linear(tensor, Known(weight), node.proto.output[0], loc_of(node))
    return result.moved(result.index[..., 0])


def _over_time(ctx: Context, node: Node, tensor: Traced) -> Traced:
    """`tensor [..., timesteps]` -> `[...]`, standing at timestep 0."""
    bent, kind = ctx.builder.graph.producer(tensor.value), KINDS[node.op]
    if kind == "max" and bent is not None and bent.kind == "relu":
        tensor, kind = replace(tensor, value=bent.operands[0]), "max0"
    domain = tensor.domain
    sample, step = domain.split(tensor.positions)
    alike = (
        domain.time is not None
        and tensor.reduced is None
        and np.all(sample == sample[..., :1])
        and np.all(tensor.elements == tensor.elements[..., :1])
    )
    every = np.sort(step, axis=-1)
    since = domain.steps - tensor.shape[-1]
    whole = alike and since >= 0 and not np.any(every != np.arange(since, domain.steps))
    if not whole or (since and kind not in SINCE):
        what = "samples, or over time and features at once"
        if alike and step.size and np.all(every == every.reshape(-1, every.shape[-1])[0]):
            ends = f"{every.min()} to {every.max()}"
            what = f"timesteps {ends} of 0 to {domain.steps - 1} alone, {tensor.shape[-1]} of them"
        raise ImportFailure.of(OVER_SOME_TIME, op=node.op, what=what)
    index = domain.join(sample[..., 0], 0) * tensor.features + tensor.elements[..., 0]
    return replace(tensor, index=index, reduced=kind, since=since)


def after_reduction(kind: str, tensors: Sequence[Tensor]) -> Traced | None:
    """Check that an op may follow a reduction over time, that is, commutes with it.

    Returns the result where the op needs no computation: a sum divided by the number of timesteps
    is a mean. Raises ImportFailure if the op and the reduction do not commute.
    """
    traced = [tensor for tensor in tensors if isinstance(tensor, Traced)]
    known = [tensor for tensor in tensors if isinstance(tensor, Known)]
    tags = {(tensor.reduced, tensor.since) for tensor in traced}
    if tags == {(None, 0)}:
        return None
    if len(tags) > 1:
        raise ImportFailure.of(MIXED_READOUTS)
    first = traced[0]
    if kind == "relu" and first.reduced == "max":
        return replace(first, reduced="max0")
    if (
        kind not in LINEAR
        or first.reduced in ("max", "max0")
        or (kind in ("mul", "div") and not known)
    ):
        raise ImportFailure.of(AFTER_REDUCTION, op=kind, reduction=first.reduced)
    if kind == "div" and isinstance(tensors[0], Known):
        raise ImportFailure.of(DIVIDED_BY_READOUT)
    if first.reduced != "sum":
        return None
    if kind in ("add", "sub") and known:
        raise ImportFailure.of(AFTER_SUM)
    if kind in ("mul", "div") and _is_mean(kind, known[0], first.domain.steps - first.since):
        shape = np.broadcast_shapes(*(tensor.shape for tensor in tensors))
        return replace(first, index=np.broadcast_to(first.index, shape), reduced="mean")
    return None


def _is_mean(kind: str, factor: Known, steps: int) -> bool:
    wanted = float(steps) if kind == "div" else 1.0 / steps
    return bool(np.allclose(factor.array.astype(np.float64), wanted, rtol=1e-6))
