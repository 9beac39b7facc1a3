"""What a NIR graph computes, node by node, each value in the shape that NIR gives it."""

import nir
import numpy as np
import torch
from torch.nn import functional

from tests.dmpc.frontend.in_space import DT


def flat(graph: nir.NIRGraph, prefix: str = "") -> tuple[dict[str, nir.NIRNode], list]:
    """Nodes and edges, those of nested graphs with their path; a port is a node like others."""
    nodes: dict[str, nir.NIRNode] = {}
    edges = []
    for name, node in graph.nodes.items():
        if isinstance(node, nir.NIRGraph):
            inside, wires = flat(node, f"{prefix}{name}.")
            nodes, edges = nodes | inside, edges + wires
        else:
            nodes[prefix + name] = node

    def end(name: str, kind: type) -> str:
        node = graph.nodes[name]
        if not isinstance(node, nir.NIRGraph):
            return prefix + name
        return f"{prefix}{name}." + next(k for k, v in node.nodes.items() if isinstance(v, kind))

    return nodes, edges + [(end(a, nir.Output), end(b, nir.Input)) for a, b in graph.edges]


def computed(
    graph: nir.NIRGraph, x: np.ndarray, order: list[str], output: str = "output"
) -> np.ndarray:
    """What comes out for one sample [timesteps, inputs]; nodes work in `order`, and whoever reads
    a later one reads what it gave in the timestep before."""
    nodes, edges = flat(graph)
    before: dict[str, np.ndarray] = {}
    state: dict[str, np.ndarray] = {}
    made = []
    for step, one in enumerate(x):
        now = {"input": one.reshape(tuple(nodes["input"].input_type["input"]))}
        for name in order:
            node = nodes[name]
            fed = [now.get(a, before.get(a)) for a, b in edges if b == name]
            known = [value for value in fed if value is not None]
            value = sum(each.reshape(known[0].shape) for each in known)
            now[name] = _node(name, node, np.asarray(value, float), state, step)
        before = now
        made.append(now[output].reshape(-1))
    return np.array(made)


def _node(name: str, node: nir.NIRNode, value: np.ndarray, state: dict, step: int) -> np.ndarray:
    if isinstance(node, nir.Linear):
        return node.weight @ value.reshape(-1)
    if isinstance(node, nir.Conv1d | nir.Conv2d):
        line = isinstance(node, nir.Conv1d)
        shape = (-1,) if line else tuple(node.input_shape or value.shape[-2:])
        value = value.reshape(node.weight.shape[1] * node.groups, *shape)
        run = functional.conv1d if line else functional.conv2d
        given = (torch.tensor(value)[None], torch.tensor(node.weight), torch.tensor(node.bias))
        return run(*given, node.stride, node.padding, node.dilation, node.groups)[0].numpy()
    if isinstance(node, nir.SumPool2d | nir.AvgPool2d):
        sizes = (tuple(node.kernel_size), tuple(node.stride), tuple(node.padding))
        means = functional.avg_pool2d(torch.tensor(value)[None], *sizes)[0].numpy()
        return means * (1 if isinstance(node, nir.AvgPool2d) else np.prod(node.kernel_size))
    if isinstance(node, nir.Flatten | nir.Input | nir.Output):
        return value.reshape(-1) if isinstance(node, nir.Flatten) else value
    if isinstance(node, nir.Scale):
        return value * _of_channels(node.scale, value)
    if isinstance(node, nir.Delay):
        past = state.setdefault(name, np.zeros((0, value.size)))
        state[name] = past = np.vstack([past, value.reshape(1, -1)])
        late = np.rint(node.delay.reshape(-1) / DT).astype(int)
        taken = [past[step - d, i] if step >= d else 0.0 for i, d in enumerate(late)]
        return np.array(taken).reshape(value.shape)
    assert isinstance(node, nir.LIF)
    value = value.reshape(node.tau.shape) if node.tau.size == value.size else value
    tau, r, limit = (_of_channels(each, value) for each in (node.tau, node.r, node.v_threshold))
    u = state.get(name, np.zeros(value.shape))
    u = u + DT / tau * (r * value - u)
    state[name] = np.where(u > limit, 0.0, u)
    return (u > limit).astype(float)


def _of_channels(given: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Parameters of each element, of each channel, or one number."""
    if given.size == value.size:
        return given.reshape(value.shape)
    return given.reshape(-1, *(1 for _ in value.shape[1:]))
