"""Where the samples, timesteps and classes of a model's answer lie."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from dmpc.frontend.tensors import Index, Traced
from dmpc.ir.interpret import over_time
from dmpc.ir.registry import Tensor


@dataclass(frozen=True)
class Axes:
    """Axes of an answer along which samples and timesteps lie, None where it has no such axis.

    All that is left are the classes. If they lie along a single axis, `classes` is that, counted
    from the front and from the back.
    """

    samples: int | None
    steps: int | None
    classes: tuple[int, ...] = field(default=(), compare=False)

    def logits(self, answer: Tensor, readout: str) -> Tensor:
        """Logits [samples, classes] of an answer, read out over its timesteps if it has any."""
        front = [axis for axis in (self.samples, self.steps) if axis is not None]
        array = np.moveaxis(answer, front, range(len(front)))
        if self.samples is None:
            array = array[None]
        if self.steps is None:
            return array.reshape(len(array), -1)
        return over_time(readout, array.reshape(*array.shape[:2], -1))


NO_AXES = Axes(None, None)


def axes_of(tensor: Traced) -> Axes:
    """The axes of a tensor, by the samples and timesteps of which its elements are."""
    sample, step = tensor.domain.split(tensor.positions)
    steps = None if tensor.reduced is not None else _along(step)
    samples, rank = _along(sample), len(tensor.shape)
    left = [a for a, size in enumerate(tensor.shape) if size > 1 and a not in (samples, steps)]
    classes = (left[0], left[0] - rank) if len(left) == 1 else ()
    return Axes(samples, steps, classes)


def sample_axis(shape: Sequence[object]) -> int:
    """The axis along which samples lie in an input that has no axis of timesteps."""
    return int(len(shape) > 2 and shape[0] == 1 != shape[1])


def _along(numbers: Index) -> int | None:
    """The axis along which some numbers differ."""
    found = (a for a in range(numbers.ndim) if np.any(np.diff(numbers, axis=a)))
    return next(found, None)
