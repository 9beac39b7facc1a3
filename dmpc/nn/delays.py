"""Axonal delays that training finds: one for each input, in timesteps."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

from dmpc.nn.sizes import check_whole

SHARPEST: Final = 0.23


class AxonalDelays(nn.Module):
    """Element i of a sequence, `delay[i]` timesteps late: the axons of the paper's DSNN.

    Delays are learned as positions of a Gaussian kernel over 0 .. `longest` timesteps, whose
    standard deviation `spread` shrinks while the network trains ("Learning delays in spiking
    neural networks using dilated convolutions with learnable spacings", Hammouamri et al., ICLR
    2024; there for every synapse, here for every axon, as in Shrestha and Orchard, SLAYER, 2018).
    With a spread of 0 they are whole timesteps, which is what inference and the machine use.
    Raises ValueError unless `inputs` and `longest` are whole numbers of at least 1.
    """

    def __init__(self, inputs: int, longest: int) -> None:
        super().__init__()
        inputs = check_whole("AxonalDelays", "inputs", inputs, 1)
        self.longest = check_whole("AxonalDelays", "longest", longest, 1)
        self.delay = nn.Parameter(torch.rand(inputs) * self.longest)
        self.spread = 0.0

    def sharpen(self, progress: float) -> None:
        """Set the spread for a share `progress` of the training, 0 to 1.

        It falls from half the longest delay to 0.23, by equal factors, in the first half. In the
        last quarter it is 0, so that the weights learn with the delays that the machine has.
        """
        widest = max(self.longest / 2, SHARPEST)
        factor = (SHARPEST / widest) ** min(2 * progress, 1.0)
        self.spread = 0.0 if progress >= 0.75 else widest * factor

    def whole(self) -> Tensor:
        """Delays in whole timesteps, [inputs] of int64."""
        return self.delay.detach().round().long().clamp(0, self.longest)

    def forward(self, x: Tensor) -> Tensor:
        """Delayed sequence: `x` [batch, time, inputs] -> the same shape, zeros before x begins.

        The gradient reaches the delays where the spread is above 0.
        """
        if not self.training or self.spread == 0:
            return self._late(x)
        with torch.no_grad():
            self.delay.clamp_(0, self.longest)
        taps = torch.arange(self.longest + 1, dtype=x.dtype)
        kernel = torch.softmax(-0.5 * ((taps - self.delay[:, None]) / self.spread) ** 2, dim=1)
        steps = torch.arange(x.shape[1])
        age = steps[:, None] - steps  # of what a column's timestep brings, in a row's
        inside = (age >= 0) & (age <= self.longest)
        causal = kernel[:, age.clamp(0, self.longest)] * inside  # [inputs, time, time]
        late: Tensor = (causal @ x.permute(2, 1, 0)).permute(2, 1, 0)
        return late

    def _late(self, x: Tensor) -> Tensor:
        source = torch.arange(x.shape[1])[:, None] - self.whole()
        return torch.gather(x, 1, source.clamp(0).expand_as(x)) * (source >= 0)

    def step(self, x: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """One timestep: `x` [batch, inputs], `past` [batch, longest, inputs] -> delayed x, past.

        `past` holds the timesteps before, the latest first.
        """
        known = torch.cat([x[:, None], past], dim=1)
        late = torch.gather(known, 1, self.whole().expand(len(x), 1, -1)).squeeze(1)
        return late, known[:, :-1]

    def extra_repr(self) -> str:
        """What torch prints between the brackets."""
        return f"inputs={len(self.delay)}, longest={self.longest}"
