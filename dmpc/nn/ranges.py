"""How far a network's states go: what a machine with narrow words must hold."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from dmpc.nn.network import DMPNetwork, as_input


class LayerRange(NamedTuple):
    """Smallest and largest value of a layer's states, over all samples and timesteps."""

    membrane: tuple[float, float]  # after the reset
    memory: tuple[float, float]
    current: tuple[float, float] = (0.0, 0.0)  # of synapses that keep one
    adaptation: tuple[float, float] = (0.0, 0.0)  # of neurons that adapt

    def __str__(self) -> str:
        shown = self._asdict()
        for name in ("current", "adaptation"):
            if shown[name] == (0.0, 0.0):
                del shown[name]
        return ", ".join(f"{name} {low:.1f} to {high:.1f}" for name, (low, high) in shown.items())


@torch.no_grad()
def state_ranges(network: DMPNetwork, x: Tensor) -> list[LayerRange]:
    """Ranges of the states of each layer on `x` [samples, time, inputs], initial zeros included.

    Raises ValueError if `x` holds no sample.
    """
    if len(x) == 0:
        raise ValueError("state_ranges: x holds no sample; give at least one")
    states = network.initial_states(len(x))
    ranges = [LayerRange((0.0, 0.0), (0.0, 0.0)) for _ in states]
    for now in network.flat(torch.as_tensor(x)).unbind(1):
        _, states = network.step(as_input(now), states)
        ranges = [
            LayerRange(
                _widened(old.membrane, state.membrane),
                _widened(old.memory, state.memory),
                _widened(old.current, state.synapse),
                _widened(old.adaptation, state.adaptation),
            )
            for old, state in zip(ranges, states, strict=True)
        ]
    return ranges


def _widened(bounds: tuple[float, float], values: Tensor) -> tuple[float, float]:
    if not values.numel():  # a layer without such a state
        return bounds
    return min(bounds[0], values.min().item()), max(bounds[1], values.max().item())
