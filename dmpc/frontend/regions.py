"""Operators that mix timesteps: run on known inputs until a sequence comes out again.

A slow state may be written for the whole sequence at once: as a transform, a convolution, a product
with a Toeplitz matrix. Each operator of such a way is affine in the one value that it starts from,
so it is run, in float64, on a few inputs instead of being understood; `responses` then tells what
all of them together compute.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np

from dmpc.frontend.context import Arguments, Context, Handler, loc_of
from dmpc.frontend.convolution import convolve
from dmpc.frontend.onnx_file import Node, evaluate
from dmpc.frontend.responses import settle
from dmpc.frontend.tensors import Known, Mixed, MixesTime, Tensor, Traced
from dmpc.frontend.unsettled import unsettled
from dmpc.frontend.views import stimuli
from dmpc.ir.graph import Array

MOVEMENT = (
    "DepthToSpace", "Expand", "Flatten", "Gather", "GatherElements", "GatherND", "Identity",
    "Reshape", "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze",
)  # fmt: skip
# Affine in all operands; in any one of them; in one of the first two, beside any third; in the
# first, the others known; in all but the first; in all but the second.
SUMS = ("Add", "Concat", "Sub", "Sum")
PRODUCTS = ("Einsum", "MatMul", "Mul")
SUMMED = ("Gemm",)
FIRST = (
    *MOVEMENT, "AveragePool", "Conv", "ConvTranspose", "CumSum", "DFT", "Div",
    "GlobalAveragePool", "Neg", "Pad", "ReduceMean", "ReduceSum", "Resize",
)  # fmt: skip
CHOICES = ("Where",)
ALONE = ("Add", "Mul", "Sub", "Where")  # what they mix, they must leave a sequence
WRITES = ("ScatterElements", "ScatterND")


def over_time(handler: Handler) -> Handler:
    """A handler of single timesteps that goes on where timesteps of one value are mixed."""

    def handle(ctx: Context, node: Node, inputs: Arguments) -> list[Tensor]:
        if any(isinstance(tensor, Mixed) for tensor in inputs.tensors):
            return mix(ctx, node, inputs)
        try:
            return handler(ctx, node, inputs)
        except MixesTime:
            if not _affine(node, inputs) or _source(inputs) is None:
                raise
            results = mix(ctx, node, inputs)
            if node.op in ALONE and any(isinstance(tensor, Mixed) for tensor in results):
                raise
            return results

    return handle


def mix(ctx: Context, node: Node, inputs: Arguments) -> list[Tensor]:
    """An operator on values of several timesteps. Raises ImportFailure if it is not affine."""
    source = _source(inputs)
    if source is None or not _affine(node, inputs):
        mixed = [tensor for tensor in inputs.tensors if isinstance(tensor, Mixed)]
        raise unsettled(ctx.systems, mixed[0], node.op)
    again = _Run(node, inputs)
    size = source.domain.size * source.features
    runs = [
        again.on([_probe(tensor, number, stimulus) for tensor in inputs.tensors])
        for number, stimulus in enumerate(stimuli(size))
    ]
    start, odd = (source.node, source.odd) if isinstance(source, Mixed) else (node.name, "")
    results: list[Tensor] = []
    for number, answers in enumerate(zip(*runs, strict=True)):
        if all(np.array_equal(answer, answers[0]) for answer in answers):
            constant = answers[0].astype(np.float32)  # a kernel that was pruned away
            results.append(Known(constant))
            continue
        respond = partial(again.result, number)
        found = Mixed(source.value, source.features, source.domain, answers, respond, start, odd)
        results.append(settle(ctx.builder, ctx.systems, found, loc_of(node)))
    return results


class _Run:
    """An operator that is run on whatever stimulus the operands' sequence is given."""

    def __init__(self, node: Node, inputs: Arguments) -> None:
        self.node, self.tensors = node, inputs.tensors
        self.known = [_real(t.array) if isinstance(t, Known) else None for t in inputs.tensors]
        self.last: tuple[Array | None, list[Array]] = (None, [])  # what several readers ask for

    def on(self, computed: Sequence[Array | None]) -> list[Array]:
        """The results, where computed operands are as given."""
        return _run(
            self.node, [b if a is None else a for a, b in zip(computed, self.known, strict=True)]
        )

    def result(self, number: int, stimulus: Array) -> Array:
        """One of the results for a stimulus."""
        if self.last[0] is not stimulus:
            arrays = [
                t.respond(stimulus) if isinstance(t, Mixed) else _probe(t, 0, stimulus)
                for t in self.tensors
            ]
            self.last = stimulus, self.on(arrays)
        return self.last[1][number]


def _source(inputs: Arguments) -> Traced | Mixed | None:
    """The operand that began to mix first, if all computed operands stem from one value."""
    moving = [t for t in inputs.tensors if isinstance(t, Traced | Mixed)]
    first = next((t for t in moving if isinstance(t, Mixed)), moving[0])
    if any(isinstance(t, Traced) and t.reduced is not None for t in moving):
        return None
    same = all((t.value, t.domain) == (first.value, first.domain) for t in moving)
    return first if same else None


def _affine(node: Node, inputs: Arguments) -> bool:
    """True if the operator is affine in its computed operands."""
    moving = [i for i, t in enumerate(inputs.tensors) if isinstance(t, Traced | Mixed)]
    return (
        node.op in SUMS
        or (node.op in PRODUCTS and len(moving) == 1)
        or (node.op in SUMMED and not {0, 1} <= {*moving})
        or (node.op in FIRST and moving == [0])
        or (node.op in CHOICES and 0 not in moving)
        or (node.op in WRITES and 1 not in moving)
    )


def _real(array: Array) -> Array:
    return array.astype(np.float64) if array.dtype.kind == "f" else array


def _probe(tensor: Tensor | None, number: int, stimulus: Array) -> Array | None:
    """A computed operand for one of the stimuli; None for others."""
    if isinstance(tensor, Mixed):
        return tensor.probes[number]
    return stimulus[tensor.index] if isinstance(tensor, Traced) else None


def _run(node: Node, arrays: Sequence[Array | None]) -> list[Array]:
    if node.op == "Conv":
        x, kernel, *bias = arrays
        assert x is not None
        assert kernel is not None
        return [convolve(node, x, kernel, *(bias or [None]))]
    return evaluate(node, arrays)
