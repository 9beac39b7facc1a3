"""Tensors while a model is being imported: known, traced element by element, or mixing timesteps.

A traced tensor says of each of its elements which element of which graph value it is, at which
position (sample, timestep). Whatever moves data (transposes, slices, reshapes) is then plain
indexing, done by NumPy, and what an axis of the user's tensor *means* (batch, time, features) is
read off its elements instead of being assumed.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from dmpc.errors import ImportFailure
from dmpc.frontend.operator_rules import UNEVEN
from dmpc.ir.graph import Array

Index = npt.NDArray[np.int64]


class MixesTime(ImportFailure):
    """An operator makes values of different samples or timesteps meet."""


@dataclass(eq=False)
class Domain:
    """The positions at which values exist: sizes of the batch and time axes of the model's input.

    `time` is the number of the axis over which a Scan runs, None until one is met, or where the
    model is a single timestep. Two domains are equal only if they are the same object.
    """

    sizes: tuple[int, ...]
    time: int | None = None

    @property
    def size(self) -> int:
        """Number of positions."""
        return math.prod(self.sizes)

    @property
    def steps(self) -> int:
        """Number of timesteps; 1 where there is no time axis."""
        return 1 if self.time is None else self.sizes[self.time]

    def split(self, positions: Index) -> tuple[Index, Index]:
        """(sample, timestep) of each position; needs the time axis to be known."""
        if self.time is None:
            return positions, np.zeros_like(positions)
        axes = np.unravel_index(positions, self.sizes)
        samples = [np.asarray(axis) for number, axis in enumerate(axes) if number != self.time]
        sample = samples[0] if samples else np.zeros_like(positions)
        return sample, np.asarray(axes[self.time])

    def join(self, sample: Index, step: Index | int) -> Index:
        """Positions of (sample, timestep)."""
        if self.time is None:
            return sample
        axes = [np.broadcast_to(sample, np.broadcast_shapes(sample.shape, np.shape(step)))]
        axes.insert(self.time, np.broadcast_to(step, axes[0].shape))
        return np.ravel_multi_index(axes[: len(self.sizes)], self.sizes)


@dataclass(frozen=True)
class Known:
    """A tensor whose elements are known at import; `name` is that of the user's weight."""

    array: Array
    name: str = ""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape as the user's model has it."""
        return tuple(self.array.shape)


@dataclass(frozen=True)
class Traced:
    """A tensor computed at run time.

    Element e is element `index[e] % features` of graph value `value` at position
    `index[e] // features` of `domain`. `reduced` (mean, sum or max) marks a tensor that is the
    reduction over all timesteps of what it indexes, or of a mean or sum over those from `since`
    on, which then stands at timestep 0.
    """

    value: str
    features: int
    index: Index
    domain: Domain
    reduced: str | None = None
    since: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape as the user's model has it."""
        return self.index.shape

    @property
    def positions(self) -> Index:
        """Position of each element."""
        return self.index // self.features

    @property
    def elements(self) -> Index:
        """Element of the graph value that each element is."""
        return self.index % self.features

    def moved(self, index: Array) -> "Traced":
        """The same elements in another arrangement."""
        return replace(self, index=index.astype(np.int64))


@dataclass(frozen=True, eq=False)
class Mixed:
    """A tensor that mixes timesteps of one graph value, in a way that is affine in it.

    It is known by what it is for given inputs: `probes[i]`, float64, where the elements of the
    value at all positions are those of `views.stimuli(...)[i]`; `respond` tells what it is for
    others. `node` is where timesteps were first mixed, `odd` why its elements are no delays.
    """

    value: str
    features: int
    domain: Domain
    probes: tuple[Array, ...]
    respond: Callable[[Array], Array]
    node: str
    odd: str = ""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape as the user's model has it."""
        return tuple(self.probes[0].shape)


Tensor = Known | Traced | Mixed


def whole(value: str, shape: tuple[int, ...], domain: Domain, batch_axes: int) -> Traced:
    """A tensor that holds all of a new graph value: its first axes are the domain's."""
    features = math.prod(shape[batch_axes:])
    return Traced(value, features, np.arange(math.prod(shape)).reshape(shape), domain)


@dataclass(frozen=True)
class Layout:
    """How a tensor's elements fall onto positions, alike at each of them.

    `rows[p, k]` is the flat number of the k-th element of the p-th position present;
    `positions[p]` is that position.
    """

    rows: Index
    positions: Index

    @property
    def width(self) -> int:
        """Elements per position."""
        return len(self.rows[0])

    def result(self, value: str, like: Traced, shape: tuple[int, ...]) -> Traced:
        """The tensor whose k-th element at every position is element k of `value`."""
        index = np.empty(self.rows.size, dtype=np.int64)
        index[self.rows] = self.positions[:, None] * self.width + np.arange(self.width)
        return replace(like, value=value, features=self.width, index=index.reshape(shape))


def even(tensor: Traced) -> bool:
    """Whether all positions of which a tensor holds elements have the same number of them."""
    counts = np.bincount(tensor.positions.reshape(-1))
    present = counts[counts > 0]
    return bool(np.all(present == present[:1]))


def plain(tensor: Traced) -> bool:
    """Whether a tensor holds whole timesteps, and does not repeat some in place of others."""
    if not even(tensor):
        return False
    all_there = distinct(tensor.positions) == tensor.domain.size
    return all_there or distinct(tensor.index) == tensor.index.size


def distinct(numbers: Index) -> int:
    """How many different numbers there are; they count elements, so that none is large."""
    return int(np.count_nonzero(np.bincount(numbers.reshape(-1))))


def layout(positions: Index) -> Layout:
    """Group elements by position; raises ImportFailure if positions hold different numbers."""
    flat = positions.reshape(-1)
    counts = np.bincount(flat)
    present = np.flatnonzero(counts)
    if len(present) == 0 or np.any(counts[present] != counts[present[0]]):
        raise ImportFailure.of(UNEVEN)
    ordered = bool(np.all(flat[1:] >= flat[:-1]))
    rows = np.arange(flat.size) if ordered else np.argsort(flat, kind="stable")
    return Layout(rows.reshape(len(present), -1), present)


def alike(values: Array, rows: Index) -> Array:
    """The elements of one position, which must be those of every position [width]."""
    grouped: Array = values.reshape(-1)[rows]
    if np.any(grouped != grouped[0]):
        raise MixesTime.of(UNEVEN)
    first: Array = grouped[0]
    return first
