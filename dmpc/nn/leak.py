"""Leaky integrators: the synaptic currents of neurons, the membranes of a readout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn

LEARNED: Final = 0.01, 0.999  # between which training keeps what a timestep leaves


def integrate(x: Tensor, keep: Tensor) -> Tensor:
    """`y[k] = keep y[k-1] + x[k]` from 0: `x` [batch, time, size] and `keep` [size] -> as x."""
    now, sums = torch.zeros_like(x[:, 0]), []
    for arriving in x.unbind(1):
        now = torch.addcmul(arriving, keep, now)
        sums.append(now)
    return torch.stack(sums, dim=1)


class Leak(nn.Module):
    """`size` numbers, each of which keeps a share of itself in a timestep, and adds what arrives.

    `keep` is that share, `exp(-1 / tau)` of a time constant of `tau` timesteps: one for all or one
    for each. If it is `learned`, it is trained, for each by itself, between 0.01 and 0.999. Raises
    ValueError, in the name of `owner`, unless it is in (0, 1).
    """

    keep: Tensor

    def __init__(
        self, owner: str, size: int, keep: float | Sequence[float] | Tensor, *, learned: bool
    ) -> None:
        super().__init__()
        try:
            values = torch.as_tensor(keep, dtype=torch.get_default_dtype()).detach().cpu()
        except (TypeError, ValueError, RuntimeError):
            values = torch.empty(0)
        fits = values.shape in ((), (size,)) and values.numel() > 0
        if not (fits and bool(((values > 0) & (values < 1)).all())):
            raise ValueError(
                f"{owner} is {keep!r}; it is what a timestep leaves, above 0 and below 1: a "
                f"number, or {size} of them"
            )
        values = values.expand(size).clone()
        if learned:
            self.keep = nn.Parameter(values)
        else:
            self.register_buffer("keep", values)

    def kept(self) -> Tensor:
        """The shares [size]; learned ones within their limits, where training left them."""
        if not isinstance(self.keep, nn.Parameter):
            return self.keep
        if self.training:  # so that the next step starts from where a gradient is
            with torch.no_grad():
                self.keep.clamp_(*LEARNED)
        return self.keep.clamp(*LEARNED)

    def forward(self, x: Tensor) -> Tensor:
        """Whole sequence from 0: `x` [batch, time, size] -> the numbers after each timestep."""
        return integrate(x, self.kept())

    def extra_repr(self) -> str:
        """What torch prints between the brackets."""
        low, high = self.kept().min().item(), self.kept().max().item()
        return f"size={len(self.keep)}, keep={low:.3g} to {high:.3g}"
