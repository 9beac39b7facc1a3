"""How weights follow their gradients: AdamW at a rate that is warmed up, then lowered.

Torch's own optimizers load its compiler the first time that one is made, which takes as long as an
epoch of a small network.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import torch
from torch import Tensor, nn

WARM: Final = 0.15
"""The share of the batches in which the rate rises."""
LOW, LAST, STEADY, NIMBLE = 25.0, 1e4, 0.95, 0.85
"""How far the first rate is below the highest, and the last below the first; how much of a mean
gradient a batch leaves at these, and at the highest."""
SQUARES, LEAST = 0.999, 1e-8
"""How much of a mean square of gradients a batch leaves, and what its root is larger by."""


def pace(batch: int, batches: int, highest: float) -> tuple[float, float]:
    """The learning rate in one of so many batches, from 0, and what is left of mean gradients.

    One cycle (Smith and Topin, arXiv 1708.07120), both along cosines.
    """
    top, end = WARM * batches - 1, batches - 1
    first = highest / LOW
    if batch <= top:
        part = batch / top
        return _between(first, highest, part), _between(STEADY, NIMBLE, part)
    part = (batch - top) / (end - top)
    return _between(highest, first / LAST, part), _between(NIMBLE, STEADY, part)


def _between(start: float, end: float, part: float) -> float:
    return end + (start - end) / 2.0 * (math.cos(math.pi * part) + 1)


@dataclass
class _Moments:
    """A parameter, by how much of it decay draws it to 0, and what is known of its gradients."""

    parameter: nn.Parameter
    decay: float
    mean: Tensor = field(init=False)
    square: Tensor = field(init=False)
    steps: int = 0

    def __post_init__(self) -> None:
        self.mean, self.square = (torch.zeros_like(self.parameter) for _ in range(2))

    def step(self, gradient: Tensor, rate: float, left: float) -> None:
        self.steps += 1
        self.parameter.mul_(1 - rate * self.decay)
        self.mean.lerp_(gradient, 1 - left)
        self.square.mul_(SQUARES).addcmul_(gradient, gradient, value=1 - SQUARES)
        seen = (1 - SQUARES**self.steps) ** 0.5
        size = (self.square.sqrt() / seen).add_(LEAST)
        self.parameter.addcdiv_(self.mean, size, value=-rate / (1 - left**self.steps))


class Descent:
    """AdamW (Loshchilov and Hutter, arXiv 1711.05101), a step for each of so many `batches`.

    `places` are parameters that decay does not draw to 0. The bits are those of torch's AdamW and
    OneCycleLR.
    """

    def __init__(
        self,
        network: nn.Module,
        places: Iterable[nn.Parameter],
        batches: int,
        learning_rate: float,
        weight_decay: float,
    ) -> None:
        self.batch, self.batches, self.highest = 0, batches, learning_rate
        exempt = {id(one) for one in places}
        self.moments = [
            _Moments(one, 0.0 if id(one) in exempt else weight_decay)
            for one in network.parameters()
            if one.requires_grad
        ]

    def forget(self) -> None:
        """No gradients."""
        for one in self.moments:
            one.parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Change the parameters that have a gradient, and move on to the next batch."""
        rate, left = pace(self.batch, self.batches, self.highest)
        for one in self.moments:
            if one.parameter.grad is not None:
                one.step(one.parameter.grad, rate, left)
        self.batch += 1
