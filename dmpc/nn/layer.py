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
    held: Tensor  # [batch, memory states], the memory that the slow current reads
    timestep: Tensor  # [batch, 1], the number of the timestep to come


class DMPLayer(nn.Module):
    """`neurons` spiking neurons with a fast synaptic path and a slow shared memory.

    Paper, section on the DMP layer: fast current `W_f s + b_f`, scalar drive
    `relu(W_x s + b_x)`, Legendre memory of the drive, slow current `W_m m + b_m`, and LIF
    neurons on the sum of both currents. With a dilation, the slow current reads the memory of the
    last timestep whose number, from 0, is a multiple of it.

    Parameters: `inputs` (M), `neurons` (N), `memory` (d, the number of memory states), `window`
    in timesteps, `lif` (default: beta 0.5, gain 0.5, threshold 1, hard reset to 0), `dilation` in
    timesteps (1: the slow current reads every timestep's memory). Raises ValueError if a size or
    `dilation` is below 1.
    """

    def __init__(
        self,
        inputs: int,
        neurons: int,
        memory: int,
        window: float,
        lif: LIF | None = None,
        dilation: int = 1,
    ) -> None:
        super().__init__()
        for name, size in (("inputs", inputs), ("neurons", neurons)):
            if size < 1:
                raise ValueError(f"DMPLayer: {name} is {size}; a layer needs at least 1")
        if dilation < 1 or dilation != int(dilation):
            raise ValueError(
                f"DMPLayer: dilation is {dilation}; it is a whole number of timesteps, at least 1"
            )
        self.inputs, self.neurons, self.dilation = inputs, neurons, int(dilation)
        self.fast = nn.Linear(inputs, neurons)
        self.drive = nn.Linear(inputs, 1)
        self.memory = LegendreMemory(memory, window)
        self.slow = nn.Linear(memory, neurons)
        self.lif = LIF() if lif is None else lif

    def initial_state(self, batch: int) -> LayerState:
        """State before the first timestep: zeros."""
        membrane = self.fast.weight.new_zeros(batch, self.neurons)
        memory = membrane.new_zeros(batch, self.memory.states)
        return LayerState(membrane, memory, memory, membrane.new_zeros(batch, 1))

    def step(self, x: Tensor, state: LayerState) -> tuple[Tensor, LayerState]:
        """One timestep: `x` [batch, inputs] -> spikes [batch, neurons] and the new state."""
        memory = self.memory.step(torch.relu(self.drive(x)), state.memory)
        held = torch.where(state.timestep % self.dilation == 0, memory, state.held)
        spikes, membrane = self.lif.step(self.fast(x) + self.slow(held), state.membrane)
        return spikes, LayerState(membrane, memory, held, state.timestep + 1)

    def forward(self, x: Tensor) -> Tensor:
        """Whole sequence from state 0: `x` [batch, time, inputs] -> spikes [batch, time, neurons].

        Equals `step` looped over time, up to the rounding of the memory's convolution.
        """
        memory = self.memory(torch.relu(self.drive(x)).squeeze(2))
        spikes: Tensor = self.lif(self.fast(x) + self.slow(self.held(memory)))
        return spikes

    def held(self, memory: Tensor) -> Tensor:
        """What the slow current reads of a sequence of memories [batch, time, memory states]."""
        if self.dilation == 1:
            return memory
        steps = torch.arange(memory.shape[1], device=memory.device)
        return memory[:, steps - steps % self.dilation]
