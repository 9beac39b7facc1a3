"""The integer arithmetic of the machine, written once.

The reference engine executes instructions with these functions and the compiler evaluates its
integer graph with them, so the two can differ in what they compute but not in how they round. All
take and return NumPy int64 arrays and never use floating point. Shapes broadcast.

Those that instructions call are open to other readers of an instruction: they choose by the type of
their first argument, and `isa.engines.microcode` records them instead.
"""

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass, field
from functools import singledispatch
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Int = NDArray[np.int64]


Cause = TypeVar("Cause", bound=Hashable)
most, least = np.maximum.reduce, np.minimum.reduce


@dataclass
class Saturation(Generic[Cause]):
    """Clips to two's complement widths and counts, by cause.

    `counts` are elements that it changed, `total` are all that it was given.
    """

    counts: Counter[Cause] = field(default_factory=Counter)
    total: Counter[Cause] = field(default_factory=Counter)

    def __call__(self, x: Int, bits: int, cause: Cause) -> Int:
        """Clip `x` to [-2**(bits-1), 2**(bits-1) - 1]; elements that change count under `cause`."""
        self.total[cause] += x.size
        high = (1 << (bits - 1)) - 1
        # The reductions themselves: methods of arrays wrap them in Python.
        if x.size == 0 or (most(x, None) <= high and least(x, None) >= ~high):
            return x
        clipped = np.minimum(np.maximum(x, ~high), high)  # np.clip takes three times as long
        self.counts[cause] += int(np.count_nonzero(clipped != x))
        return clipped


WIDEST = 62  # bits; every consumer of a shifted sum saturates to fewer


@singledispatch
def shift_round(x: Any, shift: Int | int) -> Any:
    """`x / 2**shift`, rounded to nearest with ties upward; a negative `shift` multiplies.

    One adder and a shifter in hardware: `(x + 2**(shift-1)) >> shift`. Products beyond
    2**62 stay there: whatever takes them saturates to a smaller width anyway.
    """
    if (shift if isinstance(shift, int) else shift.min(initial=0)) >= 0:
        moved: Int = x + ((np.int64(1) << shift) >> 1)
        moved >>= shift
        return moved
    limit = (np.int64(1) << WIDEST) >> (left := np.maximum(-np.int64(shift), 0))
    if not isinstance(shift, int):  # some of them may move right
        x = shift_round(x, np.maximum(shift, 0))
    widened: Int = np.minimum(np.maximum(x, -limit), limit)
    widened <<= left
    return widened


@singledispatch
def larger(x: Any, other: Any) -> Any:
    """The larger of two numbers."""
    return np.maximum(x, other)


@singledispatch
def reached(x: Any, threshold: Int) -> Any:
    """1 where a number is at or above a threshold, 0 elsewhere."""
    return (x >= threshold).astype(np.int64)


@singledispatch
def select(condition: Any, one: Any, other: Any) -> Any:
    """`one` where the condition is 1, `other` where it is 0."""
    return np.where(condition.astype(bool, copy=False), one, other)


def leak(membrane: Any, beta: Int, leak_bits: int) -> Any:
    """`beta * u`, `beta` in units of 2**-leak_bits (0 .. 2**leak_bits), rounded to nearest.

    |result| <= |membrane|, so the result needs no saturation. With `lost = 2**leak_bits - beta`
    it equals `u - ((lost * u + 2**(leak_bits-1) - 1) >> leak_bits)`: hardware multiplies by the 8
    significant bits of `lost` (see `isa.parameters`).
    """
    return shift_round(membrane * beta, leak_bits)


def coupled(x: Any, coupling: Int, exponent: Int) -> Any:
    """`coupling * x / 2**exponent`, rounded to nearest; a multiplier of 8 bits, as the leak's."""
    return shift_round(x * coupling, exponent)


def clamped(x: Any, floor: Int, ceiling: Int) -> Any:
    """A number no smaller than its floor, then no larger than its ceiling."""
    raised = larger(x, floor)
    return select(reached(raised, ceiling), ceiling, raised)


def fire(membrane: Any, threshold: Int, reset: Int, subtract: bool) -> tuple[Any, Any]:
    """Spikes (0 or 1) of membranes at or above threshold, and the membranes after reset.

    Hard reset puts a spiking membrane to `reset`; `subtract` takes `reset` off it instead. The
    difference is not saturated here.
    """
    spikes = reached(membrane, threshold)
    after = membrane - reset if subtract else reset
    return spikes, select(spikes, after, membrane)


def add_rows(weights: Int, spikes: Int) -> Int:
    """Sum of the weight rows of active inputs: [inputs, N], spikes [B, inputs] -> [B, N].

    Equal to `spikes @ weights`, at the cost of the active rows alone.
    """
    sample, row = np.nonzero(spikes)
    sums = np.zeros((len(spikes), weights.shape[1]), np.int64)
    if len(row):
        first = np.flatnonzero(np.diff(sample, prepend=-1))
        sums[sample[first]] = np.add.reduceat(weights[row], first, axis=0)
    return sums
