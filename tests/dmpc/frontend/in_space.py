"""NIR graphs with convolutions, and what they compute, written out as loops."""

from collections.abc import Sequence
from itertools import pairwise
from math import prod

import nir
import numpy as np

DT = 1e-4


def chained(shape: tuple[int, ...], nodes: Sequence[nir.NIRNode], outputs: int) -> nir.NIRGraph:
    """Nodes n0, n1, ... in a row between `input` and `output`, without NIR's own checks."""
    made = {f"n{number}": node for number, node in enumerate(nodes)}
    names = ["input", *made, "output"]
    made["input"] = nir.Input(np.array(shape))
    made["output"] = nir.Output(np.array([outputs]))
    return nir.NIRGraph(made, list(pairwise(names)), type_check=False)


def lif(size: int, thresholds: object = 1.0, tau: float = 5 * DT) -> nir.LIF:
    ones = np.ones(size)
    return nir.LIF(
        tau=tau * ones, r=tau / DT * ones, v_leak=0 * ones, v_threshold=thresholds * ones
    )


def convolved(outputs: int, channels: int, kernel: int = 2) -> nir.Conv2d:
    """A small convolution; its weights differ."""
    weight = np.random.default_rng(outputs).normal(0.4, 0.5, (outputs, channels, kernel, kernel))
    return nir.Conv2d((3, 3), weight, 1, 0, 1, 1, np.zeros(outputs))


def in_space(*nodes: nir.NIRNode, thresholds: object = 1.0, after=()) -> nir.NIRGraph:
    """Nodes on a picture of 3 x 3, neurons that they charge, and two neurons that these charge."""
    size = 8 if sum(isinstance(node, nir.Conv2d) for node in nodes) == 1 else 2
    after = (after,) if isinstance(after, nir.NIRNode) else after
    last = nir.Linear(np.random.default_rng(9).normal(0.5, 1, (2, size)))
    return chained((1, 3, 3), (*nodes, lif(size, thresholds), *after, last, lif(2)), 2)


# -- by hand --------------------------------------------------------------------------------------


def convolve(node: nir.Conv2d | nir.Conv1d, x: np.ndarray) -> np.ndarray:
    """A convolution of a picture [channels, y, x], element by element."""
    line = isinstance(node, nir.Conv1d)
    weight = node.weight[:, :, None] if line else node.weight
    stride, padding, dilation = (
        (at, value) if line else value if isinstance(value, tuple) else (value, value)
        for at, value in ((1, node.stride), (0, node.padding), (1, node.dilation))
    )
    outputs, depth, *taps = weight.shape
    sizes = [
        (size + 2 * p - d * (t - 1) - 1) // s + 1
        for size, p, d, t, s in zip(x.shape[1:], padding, dilation, taps, stride, strict=True)
    ]
    made = np.zeros((outputs, *sizes))
    for o, v, w, c, i, j in np.ndindex(*made.shape, depth, *taps):
        y, z = (
            v * stride[0] - padding[0] + i * dilation[0],
            w * stride[1] - padding[1] + j * dilation[1],
        )
        part = o // (outputs // node.groups)
        if 0 <= y < x.shape[1] and 0 <= z < x.shape[2]:
            made[o, v, w] += weight[o, c, i, j] * x[part * depth + c, y, z]
    return made + node.bias[:, None, None]


def pool(node: nir.SumPool2d | nir.AvgPool2d, x: np.ndarray) -> np.ndarray:
    """Sums over neighbours, or means."""
    (down, along) = node.kernel_size
    lines, columns = x.shape[1] // down, x.shape[2] // along
    made = np.zeros((len(x), lines, columns))
    for c, v, w in np.ndindex(*made.shape):
        made[c, v, w] = x[c, v * down : (v + 1) * down, w * along : (w + 1) * along].sum()
    return made / (down * along if isinstance(node, nir.AvgPool2d) else 1)


def played(graph: nir.NIRGraph, x: np.ndarray) -> np.ndarray:
    """What comes out of a row of nodes for one sample [timesteps, inputs], [timesteps, outputs]."""
    nodes = [graph.nodes[name] for name in sorted(graph.nodes) if name not in ("input", "output")]
    shape = tuple(graph.nodes["input"].input_type["input"])
    membranes: dict[int, np.ndarray] = {}
    made = []
    for one in x:
        value = one.reshape(shape if len(shape) == 3 else (shape[0], 1, -1))
        for number, node in enumerate(nodes):
            if isinstance(node, nir.Conv1d | nir.Conv2d):
                value = convolve(node, value)
            elif isinstance(node, nir.SumPool2d | nir.AvgPool2d):
                value = pool(node, value)
            elif isinstance(node, nir.Linear | nir.Affine):
                value = node.weight @ value.reshape(-1) + getattr(node, "bias", 0)
            elif isinstance(node, nir.Scale):
                value = value * node.scale.reshape(value.shape)
            elif isinstance(node, nir.LIF):
                tau, r, limit = (
                    each.reshape(value.shape) for each in (node.tau, node.r, node.v_threshold)
                )
                u = membranes.get(number, np.zeros(value.shape))
                u = u + DT / tau * (r * value - u)
                spikes = u > limit
                membranes[number], value = np.where(spikes, 0, u), spikes.astype(float)
        made.append(value.reshape(-1))
    assert prod(graph.nodes["output"].input_type["input"]) == len(made[0])
    return np.array(made)
