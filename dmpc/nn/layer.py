"""One layer with dual memory pathways."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from dmpc.nn.lif import LIF
from dmpc.nn.memory import LegendreMemory


class LayerState(NamedTuple):
    """What a layer carries from one timestep to the next."""

    membrane: Tensor  # [batch, neurons]
    memory: Tensor  # [batch, memory states]


class DMPLayer(nn.Module):
    """`neurons` spiking neurons with a fast synaptic path and a slow shared memory.

    Paper, section on the DMP layer: fast current `W_f s + b_f`, scalar drive
    `relu(W_x s + b_x)`, Legendre memory of the drive, slow current `W_m m + b_m`, and LIF
    neurons on the sum of both currents.

    Parameters: `inputs` (M), `neurons` (N), `memory` (d, the number of memory states), `window`
    in timesteps, `lif` (default: beta 0.5, gain 0.5, threshold 1, hard reset to 0). Raises
    ValueError if a size is below 1.
    """

    def __init__(
        self, inputs: int, neurons: int, memory: int, window: float, lif: LIF | None = None
    ) -> None:
        super().__init__()
        for name, size in (("inputs", inputs), ("neurons", neurons)):
            if size < 1:
                raise ValueError(f"DMPLayer: {name} is {size}; a layer needs at least 1")
        self.inputs, self.neurons = inputs, neurons
        self.fast = nn.Linear(inputs, neurons)
        self.drive = nn.Linear(inputs, 1)
        self.memory = LegendreMemory(memory, window)
        self.slow = nn.Linear(memory, neurons)
        self.lif = LIF() if lif is None else lif

    def initial_state(self, batch: int) -> LayerState:
        """State before the first timestep: zeros."""
        membrane = self.fast.weight.new_zeros(batch, self.neurons)
        return LayerState(membrane, membrane.new_zeros(batch, self.memory.states))

    def step(self, x: Tensor, state: LayerState) -> tuple[Tensor, LayerState]:
        """One timestep: `x` [batch, inputs] -> spikes [batch, neurons] and the new state."""
        memory = self.memory.step(torch.relu(self.drive(x)), state.memory)
        spikes, membrane = self.lif.step(self.fast(x) + self.slow(memory), state.membrane)
        return spikes, LayerState(membrane, memory)

    def forward(self, x: Tensor) -> Tensor:
        """Whole sequence from state 0: `x` [batch, time, inputs] -> spikes [batch, time, neurons].

        Equals `step` looped over time, up to the rounding of the memory's convolution.
        """
        memory = self.memory(torch.relu(self.drive(x)).squeeze(2))
        spikes: Tensor = self.lif(self.fast(x) + self.slow(memory))
        return spikes
