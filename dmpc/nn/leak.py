"""Leaky integrators: the synaptic currents of neurons, the membranes of a readout."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import torch
from torch import Tensor, nn

from dmpc.passes.recognition.currents import MOST

LEARNED: Final = 0.01, 0.999  # between which training keeps what a timestep leaves
Each = float | Sequence[float] | Tensor
"""A number for all neurons, or one for each."""


def integrate(x: Tensor, keep: Tensor) -> Tensor:
    """`y[k] = keep y[k-1] + x[k]` from 0: `x` [batch, time, size] and `keep` [size] -> as x."""
    now, sums = torch.zeros_like(x[:, 0]), []
    for arriving in x.unbind(1):
        now = torch.addcmul(arriving, keep, now)
        sums.append(now)
    return torch.stack(sums, dim=1)


def each_of(
    owner: str, value: object, size: int | None, what: str, holds: Callable[[Tensor], Tensor]
) -> Tensor:
    """Numbers [size], or as they are given where no size is known yet.

    Raises ValueError, in the name of `owner` and in the words of `what`, unless they are one
    number or `size` of them, for which `holds`.
    """
    try:
        values = torch.as_tensor(value, dtype=torch.get_default_dtype()).detach().cpu()
    except (TypeError, ValueError, RuntimeError):
        values = torch.empty(0)
    fits = values.dim() <= 1 if size is None else values.shape in ((), (size,))
    if not (fits and values.numel() and bool(holds(values).all())):
        many = "one for each neuron" if size is None else f"{size} of them"
        raise ValueError(f"{owner} is {value!r}; {what}: a number, or {many}")
    return values.clone() if size is None else values.expand(size).clone()


def hold(module: nn.Module, name: str, values: Tensor, *, learned: bool) -> None:
    """Make numbers part of a module: parameters that are trained, or buffers."""
    if learned:
        module.register_parameter(name, nn.Parameter(values))
    else:
        module.register_buffer(name, values)


def within(module: nn.Module, held: Tensor, least: float | Tensor, most: float | Tensor) -> Tensor:
    """What a module holds; parameters within limits that training may have left."""
    if not isinstance(held, nn.Parameter):
        return held
    low, high = (torch.as_tensor(limit, dtype=held.dtype) for limit in (least, most))
    if module.training and bool(((held < low) | (held > high)).any()):
        with torch.no_grad():  # so that the next step starts from where a gradient is
            held.clamp_(low, high)
    return held.clamp(low, high)


class Receptors:
    """What a timestep leaves of the currents of several receptors of each neuron.

    Each is a number or one for each neuron, above 0 and below 1 (`exp(-1 / tau)`). Raises
    ValueError unless there are 1 to 4, which is what the machine holds.
    """

    def __init__(self, *alphas: Each) -> None:
        if not 1 <= len(alphas) <= MOST:
            raise ValueError(
                f"Receptors: {len(alphas)} alphas; give one for each receptor, of which the "
                f"machine's neurons have 1 to {MOST}"
            )
        self.alphas = alphas

    def __repr__(self) -> str:
        return f"Receptors{self.alphas!r}"


class Leak(nn.Module):
    """`size` numbers, each of which keeps a share of itself in a timestep, and adds what arrives.

    `keep` is that share, `exp(-1 / tau)` of a time constant of `tau` timesteps: one for all or one
    for each. If it is `learned`, it is trained, for each by itself, between 0.01 and 0.999. Raises
    ValueError, in the name of `owner`, unless it is in (0, 1).
    """

    keep: Tensor

    def __init__(self, owner: str, size: int | None, keep: Each, *, learned: bool) -> None:
        super().__init__()
        what = "it is what a timestep leaves, above 0 and below 1"
        values = each_of(owner, keep, size, what, lambda each: (each > 0) & (each < 1))
        hold(self, "keep", values, learned=learned)

    def kept(self) -> Tensor:
        """The shares [size]; learned ones within their limits, where training left them."""
        return within(self, self.keep, *LEARNED)

    def forward(self, x: Tensor) -> Tensor:
        """Whole sequence from 0: `x` [batch, time, size] -> the numbers after each timestep."""
        return integrate(x, self.kept())

    def extra_repr(self) -> str:
        """What torch prints between the brackets."""
        low, high = self.kept().min().item(), self.kept().max().item()
        return f"size={self.keep.numel()}, keep={low:.3g} to {high:.3g}"
