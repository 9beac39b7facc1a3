"""Convolutions of convolutions, with biases and factors of channels between, as one convolution.

Means over neighbours that stand behind a convolution, and before the neurons, are such: `conv`,
`avg_pool`, spikes. Exact where the second one adds no zeros of its own, which would stand for sums
that the first one would not give.
"""

from dataclasses import replace

import numpy as np

from dmpc.ir.graph import Graph, Op
from dmpc.ir.ops_convolution import NOTHING, ONE, Convolution
from dmpc.ir.types import f32
from dmpc.passes.recognition.affine import Forms
from dmpc.passes.recognition.convolutions import by_output
from dmpc.passes.recognition.planes import MOST
from dmpc.passes.recognition.terms import Indices, Matrix


def with_composed(graph: Graph) -> Graph:
    """The graph with one convolution for two, where a linear map stands between at most."""
    while sum(op.kind == "conv" for op in graph.ops) > 1:
        forms = Forms(graph)
        found = next((pair for op in graph.ops if (pair := _pair(forms, op))), None)
        made = _composed(graph, *found) if found else None
        if made is None:
            break
        graph = made
    return graph


_Pair = tuple[Op, Op, Matrix, Matrix]
"""An inner convolution, an outer one, the factor of each output between, and the bias."""


def _pair(forms: Forms, outer: Op) -> _Pair | None:
    if outer.kind != "conv":
        return None
    form = forms.form(outer.operands[0])
    if len(form.parts) != 1:
        return None
    ((leaf, term),) = form.parts.items()
    inner = forms.producers.get(leaf)
    if inner is None or inner.kind != "conv" or len(inner.operands + outer.operands) > 4:
        return None
    first, second = (_made(forms.graph, op) for op in (inner, outer))
    factor = by_output(first, term)
    plain = first.sums_alone and not form.bias.any()  # which is recognised as it is
    fits = second.planar == first.planar_result and second.size == first.positions
    if factor is None or plain or not fits or second.padding != NOTHING or _reach(second) > 0:
        return None
    return inner, outer, factor, form.bias


def _made(graph: Graph, op: Op) -> Convolution:
    return Convolution.of(op.attrs, graph.types[op.operands[1]].shape)


def _reach(made: Convolution) -> int:
    """How many places a convolution looks beyond its input."""
    beyond = [
        (made.positions[axis] - 1) * made.stride[axis]
        + (made.taps[axis] - 1) * made.dilation[axis]
        + 1
        - made.size[axis] // made.pool[axis]
        for axis in range(2)
    ]
    return max(beyond)


def _composed(graph: Graph, inner: Op, outer: Op, factor: Matrix, bias: Matrix) -> Graph | None:
    first, second = _made(graph, inner), _made(graph, outer)
    weights = [graph.constants[op.operands[1]].astype(np.float64) for op in (inner, outer)]
    weights[0] = weights[0] * factor[:, None, None, None]
    alone = second.parts == second.channels == second.outputs
    if not alone:
        weights = [_whole(one, made) for one, made in zip(weights, (first, second), strict=True)]
    weight = _product(first, second, *weights, alone=alone)
    if weight.size > MOST:
        return None
    down, along = (first.stride[n] * second.stride[n] * second.pool[n] for n in range(2))
    made = replace(
        first, positions=second.positions, outputs=second.outputs, taps=weight.shape[1:3],
        stride=(down, along), dilation=ONE, parts=first.parts if alone else 1,
        planar_result=second.planar_result,
    )  # fmt: skip
    whole = second.apply(bias, graph.constants[outer.operands[1]].astype(np.float64))
    graph = graph.copy()
    names = [graph.fresh(f"{outer.results[0]}.{part}") for part in ("weight", "bias", "sums")]
    graph.add_constant(names[0], weight, f32(*weight.shape))
    graph.add_constant(names[1], whole, f32(len(whole)))
    loc = (*outer.loc, *inner.loc)
    conv = Op("conv", (inner.operands[0], names[0]), (names[2],), made.attrs, loc)
    graph.types[names[2]] = graph.types[outer.results[0]]
    at = graph.ops.index(outer)
    graph.ops[at : at + 1] = [conv, Op("add", (names[2], names[1]), outer.results, {}, outer.loc)]
    return graph


def _whole(weight: Matrix, made: Convolution) -> Matrix:
    """Weights [outputs, y, x, channels] of every channel, zeros for those of other parts."""
    outputs, channels = made.outputs // made.parts, made.channels // made.parts
    whole = np.zeros((*weight.shape[:3], made.channels))
    for part in range(made.parts):
        own = slice(part * outputs, (part + 1) * outputs)
        whole[own, :, :, part * channels : (part + 1) * channels] = weight[own]
    return whole


def _product(
    first: Convolution, second: Convolution, inner: Matrix, outer: Matrix, *, alone: bool
) -> Matrix:
    """The weights of both, of `second`'s positions on `first`'s input."""
    down, along = (_offsets(first, second, axis) for axis in range(2))
    weight = np.zeros((len(outer), int(down.max()) + 1, int(along.max()) + 1, inner.shape[-1]))
    for place in np.ndindex(*down.shape[:2], *along.shape[:2]):
        (i, a), (k, b) = place[:2], place[2:]
        one = outer[:, i // second.pool[0], k // second.pool[1]]
        part = one * inner[:, a, b] if alone else one @ inner[:, a, b]
        weight[:, down[i, a], along[k, b]] += part
    return weight


def _offsets(first: Convolution, second: Convolution, axis: int) -> Indices:
    """Where along an axis each tap of the first lies for each place that a tap of the second sums
    up: [second's taps * pool, first's taps]."""
    pool = second.pool[axis]
    places = np.arange(second.taps[axis] * pool)
    outer = places // pool * second.dilation[axis] * pool + places % pool
    return outer[:, None] * first.stride[axis] + np.arange(first.taps[axis]) * first.dilation[axis]
