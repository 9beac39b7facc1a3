"""The slow memory pathway: a Legendre memory, exactly discretised."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dmpc.legendre import legendre_system, zero_order_hold
from dmpc.nn.sizes import check_whole


class LegendreMemory(nn.Module):
    """A scalar's recent history as `states` numbers: `m[k] = Abar m[k-1] + Bbar x[k]`.

    Paper, slow memory pathway; `Abar` [d, d] and `Bbar` [d] are buffers, fixed in training and
    computed in float64. `window` is in timesteps. The state has the unit of the scalar.
    Raises ValueError as `legendre_system` does.
    """

    a_bar: Tensor
    b_bar: Tensor

    def __init__(self, states: int, window: float) -> None:
        super().__init__()
        states = check_whole("LegendreMemory", "states", states, 1)
        a_bar, b_bar = zero_order_hold(*legendre_system(states, window))
        self.states, self.window = states, window
        dtype = torch.get_default_dtype()
        self.register_buffer("a_bar", torch.from_numpy(a_bar).to(dtype))
        self.register_buffer("b_bar", torch.from_numpy(b_bar).to(dtype))

    def step(self, drive: Tensor, memory: Tensor) -> Tensor:
        """One timestep: `drive` [..., 1] and `memory` [..., states] -> new memory."""
        return memory @ self.a_bar.T + drive * self.b_bar

    def impulse_response(self, steps: int) -> Tensor:
        """`[Bbar, Abar Bbar, Abar^2 Bbar, ...]`, [steps, states], float64.

        Computed from the buffers as they are, so that it belongs to the very recurrence that
        `step` runs.
        """
        response, power = self.b_bar.double()[None], self.a_bar.double()
        while len(response) < steps:
            response = torch.cat([response, response @ power.T])
            power = power @ power
        return response[:steps]

    def forward(self, drive: Tensor) -> Tensor:
        """Whole sequence from memory 0: `drive` [batch, time] -> memory [batch, time, states].

        A causal convolution with the impulse response, by FFT as in the authors' model: the
        recurrence without its loop over time.
        """
        steps = drive.shape[1]
        length = 1 << (2 * steps - 1).bit_length()  # no wrap-around, and a fast size
        response = self.impulse_response(steps).to(drive.dtype)
        spectrum = torch.fft.rfft(drive, length).unsqueeze(2)
        product = spectrum * torch.fft.rfft(response, length, dim=0)
        memory: Tensor = torch.fft.irfft(product, length, dim=1)[:, :steps]
        return memory

    def extra_repr(self) -> str:
        """What torch prints between the brackets."""
        return f"states={self.states}, window={self.window}"
