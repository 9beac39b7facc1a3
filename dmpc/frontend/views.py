"""Inputs that mixing operators are run on, and the ways to see what comes out as a sequence."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dmpc.frontend.tensors import Index, Mixed, Traced
from dmpc.ir.graph import Array

ZERO, IMPULSE, RANDOM, CODED = range(4)


def stimuli(size: int) -> tuple[Array, ...]:
    """Inputs [size]: zeros, a single 1 in front, random numbers, and these times their `codes`.

    `size` is the number of positions times the features of each.
    """
    impulse = np.zeros(size)
    impulse[0] = 1.0
    random = np.random.default_rng(size).standard_normal(size)
    return np.zeros(size), impulse, random, random * codes(size)


def codes(size: int) -> Array:
    """A factor for each element, all different: what is one element times a number shows which."""
    return 1.0 + np.arange(size) / size


def as_stored(numbers: Array) -> Array:
    """Numbers without the rounding of what they were computed from, which is stored in float32."""
    stored = numbers.astype(np.float32).astype(np.float64)
    return np.where(np.abs(numbers - stored) <= 1e-9 * np.abs(stored), stored, numbers)


@dataclass(frozen=True)
class View:
    """A mixed tensor as [samples, timesteps, outputs], one of the ways to see it as a sequence.

    `time` is the number of the domain's axis that is time; `sample` and `step` are axes of the
    tensor, `sample` None where there is one sample and no axis for it.
    """

    tensor: Mixed
    time: int
    sample: int | None
    step: int

    @property
    def front(self) -> tuple[int, ...]:
        """Axes of the tensor that are moved to the front."""
        return (self.step,) if self.sample is None else (self.sample, self.step)

    @cached_property
    def positions(self) -> Index:
        """Position of each sample and timestep."""
        domain = self.tensor.domain
        numbers = np.arange(domain.size).reshape(domain.sizes)
        return np.moveaxis(numbers, self.time, -1).reshape(-1, domain.sizes[self.time])

    @cached_property
    def random(self) -> Array:
        """The random stimulus [samples, timesteps, features]."""
        size = self.tensor.domain.size
        stimulus = stimuli(size * self.tensor.features)[RANDOM]
        return stimulus.reshape(size, -1)[self.positions]

    def arranged(self, array: Array) -> Array:
        """An array of the tensor's shape as [samples, timesteps, outputs]."""
        moved = np.moveaxis(array, self.front, range(len(self.front)))
        return moved.reshape(*self.positions.shape, -1)

    def probe(self, number: int) -> Array:
        """What the tensor is for a stimulus."""
        return self.arranged(self.tensor.probes[number])

    def traced(self, value: str, features: int, elements: Index) -> Traced:
        """The tensor whose k-th output is element `elements[k]` of `value`, at its own timestep."""
        index = self.positions[:, :, None] * features + elements
        shape = self.tensor.shape
        rest = [size for axis, size in enumerate(shape) if axis not in self.front]
        moved = index.reshape(*(shape[axis] for axis in self.front), *rest)
        moved = np.moveaxis(moved, range(len(self.front)), self.front)
        return Traced(value, features, moved, self.tensor.domain)


def views(tensor: Mixed) -> Iterator[View]:
    """Ways to see a tensor as a sequence."""
    domain, shape = tensor.domain, tensor.shape
    numbers = range(len(domain.sizes)) if domain.time is None else (domain.time,)
    for time in numbers:
        steps = domain.sizes[time]
        samples = domain.size // steps
        for step in (axis for axis, size in enumerate(shape) if 1 < size == steps):
            batch = [axis for axis, size in enumerate(shape) if size == samples and axis != step]
            yield from (View(tensor, time, axis, step) for axis in batch)
            if samples == 1:
                yield View(tensor, time, None, step)
