"""A module of several inputs as one of a single input, which it splits."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from dmpc.errors import ImportFailure

if TYPE_CHECKING:
    import torch
    from torch import nn

    from dmpc.ir.registry import Tensor


def joined(
    module: nn.Module, given: Sequence[Tensor | torch.Tensor], name: str
) -> tuple[nn.Module, Tensor]:
    """The module as one that takes the inputs side by side, and an example of them.

    `given` has an example [samples, timesteps, ...] for each argument of `forward`, in its order.
    Raises ImportFailure unless they share samples and timesteps.
    """
    import torch

    examples = [np.asarray(one) for one in given]
    fronts = {one.shape[:2] for one in examples}
    if len(fronts) != 1 or any(one.ndim < 3 for one in examples):
        shapes = " and ".join(str(list(one.shape)) for one in examples)
        raise ImportFailure(
            f"the example inputs have shapes {shapes or '[]'}",
            where=name,
            hint="one [samples, timesteps, inputs] for each argument, alike in samples and "
            "timesteps",
        )
    tails = [one.shape[2:] for one in examples]
    sizes = [int(np.prod(tail)) for tail in tails]

    def forward(x: torch.Tensor) -> object:
        parts = torch.split(x, sizes, dim=-1)
        shaped = (p.reshape(*x.shape[:2], *tail) for p, tail in zip(parts, tails, strict=True))
        return type(module).forward(made, *shaped)

    made = copy.copy(module)
    made.forward = forward
    flat = [one.reshape(*one.shape[:2], -1) for one in examples]
    return made, np.concatenate(flat, axis=2)
