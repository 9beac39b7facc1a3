"""A user's torch module as the oracle of the graph that it became."""

from __future__ import annotations

import warnings
from contextlib import nullcontext
from typing import TYPE_CHECKING

import numpy as np

from dmpc.errors import DmpcError
from dmpc.frontend.answers import sample_axis
from dmpc.frontend.finish import NOTHING, Finish
from dmpc.frontend.models import held, one_timestep
from dmpc.frontend.torch_program.program import arguments, untouched

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from torch import nn

    from dmpc.frontend.answers import Axes
    from dmpc.ir.registry import Tensor

TOGETHER = 64  # samples that run at once
LEAST = 2  # a squeeze without an axis would take the axis of one sample away


class TorchReference:
    """A module run by torch in its own dtype, from its initial state for every batch.

    `readout` makes the answer of outputs per timestep, whose `axes` are given; `dtype` is that of
    the input. `batch` is the number of samples that a program insists on, `steps` that of
    timesteps, None where any will do. `leaf` is the answer's number among all that it returns.
    `finish` is what it makes of the logits at its very end; `axes` are those of what goes into it.
    A module that takes no sequence has a `vector`, the shape of what it was traced on; one that
    takes pictures has the shape of a `frame`.
    """

    name = "torch"

    def __init__(
        self,
        module: nn.Module,
        where: str,
        *,
        readout: str,
        time_first: bool,
        axes: Axes,
        dtype: torch.dtype,
        batch: int | None = None,
        steps: int | None = None,
        leaf: int = 0,
        finish: Finish = NOTHING,
        vector: Sequence[int] | None = None,
        frame: Sequence[int] = (),
    ) -> None:
        self.module, self.where, self.readout = module, where, readout
        self.time_first, self.batch, self.steps = time_first, batch, steps
        self.axes, self.dtype, self.leaf, self.vector = axes, dtype, leaf, vector
        self.finish, self.frame = finish, frame

    @property
    def type(self) -> type[np.generic]:
        """The type of the input; float32 for those that NumPy lacks."""
        import torch

        if self.dtype == torch.bfloat16:
            return np.float32
        found: type[np.generic] = torch.empty(0, dtype=self.dtype).numpy().dtype.type
        return found

    def logits(self, x: Tensor) -> Tensor:
        """Logits [samples, classes] of samples `x` [samples, timesteps, inputs].

        Raises DmpcError with torch's reason if the module cannot run on them.
        """
        together = self.batch or min(TOGETHER, max(LEAST, len(x)))
        parts = [self.run(x[i : i + together], together) for i in range(0, len(x), together)]
        return np.concatenate(parts)

    def run(self, x: Tensor, together: int) -> Tensor:
        """Logits of samples that run at once, with repetitions of the last up to `together`."""
        import torch
        from torch.utils._pytree import tree_leaves

        from dmpc.frontend.torch_program.finish import Watch

        count = len(x)
        filled = np.concatenate([x, np.repeat(x[-1:], together - count, axis=0)])
        if self.frame and self.vector is None:
            filled = filled.reshape(*filled.shape[:2], *self.frame)
        if self.vector is not None:
            sizes = list(self.vector)
            sizes[sample_axis(sizes)] = together
            filled = one_timestep(filled, self.where).reshape(sizes)
        source = torch.from_numpy(held(filled, self.type)).to(self.dtype)
        if self.time_first and self.vector is None:
            source = source.transpose(0, 1).contiguous()
        watch = Watch(self.finish) if self.finish.functions else None
        with untouched(self.module), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                with watch.watching() if watch else nullcontext():
                    given, named = arguments(self.module, source)
                    result = self.module(*given, **named)
            except Exception as error:  # whatever the user's forward raises
                raise DmpcError(
                    f"torch cannot run the model: {type(error).__name__}: {error}",
                    where=self.where,
                ) from error
        output = tree_leaves(result)[self.leaf]
        if watch is not None:
            output = watch.before(output, self.finish, self.where)
        array = output.detach().cpu().to(torch.float64).numpy()
        return self.axes.logits(array, self.readout)[:count]
