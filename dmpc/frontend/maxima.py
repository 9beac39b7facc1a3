"""Maxima over neighbours within a timestep: of spikes they are spikes, where any neighbour is one.

The sum of spikes is at least a half where one of them is 1. So a maximum is a convolution of ones
and a comparison that reads no membrane, which are neurons that forget: a layer as any other, exact
in integers too.
"""

from dataclasses import replace

import numpy as np

from dmpc.errors import ImportFailure
from dmpc.frontend.context import Arguments, Context, loc_of
from dmpc.frontend.convolution import pads
from dmpc.frontend.in_space import ones, stands
from dmpc.frontend.onnx_file import Node
from dmpc.frontend.steps import as_steps
from dmpc.frontend.tensors import Known, MixesTime, Tensor, Traced
from dmpc.ir.graph import Graph
from dmpc.rules import Stage, rule

HALF = Known(np.array([0.5]))
SPIKES = ((0.0, 1.0, 1.0), (0.0, 0.0, 1.0))  # below, at and above a threshold

MAX_OF_VALUES = rule(
    "max-of-values",
    Stage.IMPORT,
    "{op} of what is no spike: of the input, or of sums",
    why="""The largest of some spikes is one spike more: neurons that fire where any of their inputs
    does. The largest of some numbers is a comparison of numbers with each other, and the machine
    compares each with its own threshold alone.""",
    nearest="pool the spikes behind neurons, or means (AvgPool2d); the input before it reaches the "
    "network",
)


def max_pooling(ctx: Context, node: Node, inputs: Arguments) -> list[Tensor]:
    """MaxPool, GlobalMaxPool of spikes. Raises ImportFailure of anything else."""
    tensor = inputs[0]
    assert isinstance(tensor, Traced)
    if len(tensor.shape) not in (3, 4) or not stands(tensor):
        raise MixesTime(f"{node.op} is supported over the features of a timestep")
    sizes = tensor.shape[2:]
    taps = node.integers("kernel_shape") or list(sizes)
    strides, dilations = (
        node.integers(key) or [1] * len(sizes) for key in ("strides", "dilations")
    )
    spans = [d * (t - 1) + 1 for d, t in zip(dilations, taps, strict=True)]
    around = pads(node, sizes, spans, strides)
    each = zip(sizes, around, spans, strides, strict=True)
    up = bool(node.integer("ceil_mode", 0))
    places = [_places(*one, up=up) for one in each]
    spikes = _spikes(ctx, node, tensor)
    before = [one for one, _ in around]
    sums = ones(ctx, node, spikes, taps, strides, dilations, before, places)
    return [any_of(ctx, node, sums)]


def _places(size: int, around: tuple[int, int], span: int, stride: int, *, up: bool) -> int:
    """Positions along an axis; rounded up, as long as the last one begins before the padding."""
    room = size + sum(around) - span
    if room < 0:
        return 0
    places = room // stride + 1
    if up and room % stride and places * stride < size + around[0]:
        places += 1
    return places


def over_features(ctx: Context, node: Node, tensor: Traced) -> Traced:
    """The largest of spikes `tensor [..., k]` -> `[...]`."""
    spikes, size = _spikes(ctx, node, tensor), tensor.shape[-1]
    sums = ctx.builder.linear(spikes, Known(np.ones((size, 1))), node.name, loc_of(node))
    return any_of(ctx, node, sums.moved(sums.index[..., 0]))


def any_of(ctx: Context, node: Node, sums: Traced) -> Traced:
    """1 where a sum of spikes holds one, else 0."""
    name, loc = node.proto.output[0], loc_of(node)
    fired = ctx.builder.elementwise("ge", (sums, HALF), f"{name}.any", loc)
    return ctx.builder.elementwise("cast", (fired,), name, loc)


def _joined(graph: Graph, value: str) -> bool:
    """Whether a value holds spikes of several layers, side by side."""
    made = graph.producer(value)
    if made is None or made.kind not in ("cast", "concat", "take"):
        return False
    return made.kind == "cast" or all(_joined(graph, one) for one in made.operands)


def _spikes(ctx: Context, node: Node, tensor: Traced) -> Traced:
    """A tensor that holds spikes, as 0 and 1; raises ImportFailure if it does not."""
    builder, value = ctx.builder, tensor.value
    if tensor.reduced is None and _joined(builder.graph, value):
        return tensor
    while (made := builder.graph.producer(value)) is not None and made.kind == "take":
        value = made.operands[0]
    if builder.graph.types[value].dtype == "bool":
        return builder.elementwise("cast", (tensor,), f"{tensor.value}.number", loc_of(node))
    as_steps(ctx, node, replace(tensor, value=value))
    step = builder.steps.get(value)
    if tensor.reduced is not None or step is None or step.parts not in SPIKES:
        raise ImportFailure.of(MAX_OF_VALUES, op=node.op)
    return tensor
