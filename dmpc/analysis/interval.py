"""Interval arithmetic on vectors, of integers or of real numbers."""

from dataclasses import dataclass
from typing import Any

import numpy as np

Vector = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, eq=False)
class Interval:
    """Lower and upper bounds per element. Of integers they are exact."""

    low: Vector
    high: Vector

    @property
    def magnitude(self) -> Vector:
        """The greatest absolute value, per element."""
        magnitude: Vector = np.maximum(np.abs(self.low), np.abs(self.high))
        return magnitude

    def __add__(self, other: "Interval | Vector") -> "Interval":
        if isinstance(other, np.ndarray):
            return Interval(self.low + other, self.high + other)
        return Interval(self.low + other.low, self.high + other.high)

    def __or__(self, other: "Interval") -> "Interval":
        return Interval(np.minimum(self.low, other.low), np.maximum(self.high, other.high))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Interval):
            return NotImplemented
        return np.array_equal(self.low, other.low) and np.array_equal(self.high, other.high)

    def __contains__(self, x: Vector) -> bool:
        """True if every vector of `x` [..., n] lies within the bounds."""
        return bool(((x >= self.low) & (x <= self.high)).all())

    def with_zero(self) -> "Interval":
        """The least interval that holds this one and zero."""
        return Interval(np.minimum(self.low, 0), np.maximum(self.high, 0))

    def clip(self, low: int, high: int) -> "Interval":
        """The bounds of what is left after saturation to `low` .. `high`."""
        return Interval(np.clip(self.low, low, high), np.clip(self.high, low, high))

    def through(self, weight: Vector) -> "Interval":
        """The bounds of `weight [m, n] @ x` for `x` [n] within these: both are reached."""
        up, down = np.maximum(weight, 0), np.minimum(weight, 0)
        return Interval(up @ self.low + down @ self.high, up @ self.high + down @ self.low)


def constant(value: Vector) -> Interval:
    """The interval that holds one vector alone."""
    return Interval(value, value)


def of_bits(bits: int) -> tuple[int, int]:
    """Least and greatest number of a two's complement width."""
    return -(1 << (bits - 1)), (1 << (bits - 1)) - 1


def joined(one: Interval, other: Interval) -> Interval:
    """What holds for vectors of both: element by element, or where they have not as many, such as
    the counts of several layers, of any element [1]."""
    if one.low.shape == other.low.shape:
        return one | other
    ends = (one.low, other.low), (one.high, other.high)
    low, high = (np.concatenate(pair) for pair in ends)
    return Interval(low.min(keepdims=True), high.max(keepdims=True))
