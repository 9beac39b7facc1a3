"""Values of a program that is being recorded: what they are made of, and between which bounds.

The arithmetic of `isa.arithmetic` on them makes further ones. Every value carries the bounds that
follow from widths and weights; they choose 32 bits for it where those suffice.
"""

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from isa.arithmetic import WIDEST, Int, larger, reached, select, shift_round

Bounds = tuple[int, int]


def signed(bits: int) -> Bounds:
    """The numbers of a width."""
    return -(1 << (bits - 1)), (1 << (bits - 1)) - 1


def within(inner: Bounds, outer: Bounds) -> bool:
    """Whether all numbers of one range lie in another."""
    return outer[0] <= inner[0] and inner[1] <= outer[1]


def narrow(*ranges: Bounds) -> bool:
    """Whether all numbers of all ranges fit 32 bits."""
    return all(within(range_, signed(32)) for range_ in ranges)


class Maker(Protocol):
    """Who makes nodes: the recorder of a program."""

    def operand(self, value: Any, n: int) -> "Node | Int":
        """A value as an operand of n elements."""

    def node(
        self,
        op: str,
        n: int,
        bounds: Bounds,
        operands: tuple["Node | Int", ...] = (),
        fields: dict[str, int] | None = None,
        *,
        wide: bool = False,
    ) -> "Node":
        """A value that is not worked out before something needs it."""


@dataclass(eq=False)
class Node:
    """A value that flows through the machine: n elements a sample, each within `bounds`.

    `places` says where it lies once something needed it, in 32 bits and in 64; `wide` which of the
    two it is worked out in.
    """

    recorder: Maker
    op: str
    n: int
    bounds: Bounds
    operands: tuple["Node | Int", ...] = ()
    fields: dict[str, int] = field(default_factory=dict)
    wide: bool = False
    places: dict[bool, int] = field(default_factory=dict)

    __array_ufunc__ = None  # NumPy's arrays leave arithmetic with nodes to them

    def _binary(self, op: str, other: Any, low: int, high: int, *, turned: bool = False) -> "Node":
        n = self.n if self.op != "STEPS" else other.n if isinstance(other, Node) else np.size(other)
        this, that = self.recorder.operand(self, n), self.recorder.operand(other, n)
        operands = (that, this) if turned else (this, that)
        return self.recorder.node(op, n, (low, high), operands)

    def __add__(self, other: Any) -> "Node":
        low, high = bounds_of(other)
        return self._binary("ADD", other, self.bounds[0] + low, self.bounds[1] + high)

    __radd__ = __add__

    def __sub__(self, other: Any) -> "Node":
        low, high = bounds_of(other)
        return self._binary("SUBTRACT", other, self.bounds[0] - high, self.bounds[1] - low)

    def __rsub__(self, other: Any) -> "Node":
        low, high = bounds_of(other)
        bounds = (low - self.bounds[1], high - self.bounds[0])
        return self._binary("SUBTRACT", other, *bounds, turned=True)

    def __mul__(self, other: Any) -> "Node":
        corners = [a * b for a in self.bounds for b in bounds_of(other)]
        return self._binary("MULTIPLY", other, min(corners), max(corners))

    __rmul__ = __mul__


def bounds_of(value: Any) -> Bounds:
    """The least and the largest number in a value of any reader."""
    if isinstance(value, Node):
        return value.bounds
    array = np.asarray(value)
    return (int(array.min()), int(array.max())) if array.size else (0, 0)


@larger.register
def _(x: Node, other: Any) -> Node:
    low, high = bounds_of(other)
    return x._binary("LARGER", other, max(x.bounds[0], low), max(x.bounds[1], high))


@reached.register
def _(x: Node, threshold: Any) -> Node:
    return x._binary("REACHED", threshold, 0, 1)


@select.register
def _(condition: Node, one: Any, other: Any) -> Node:
    recorder, n = condition.recorder, condition.n
    (a, b), (c, d) = bounds_of(one), bounds_of(other)
    operands = (condition, recorder.operand(one, n), recorder.operand(other, n))
    return recorder.node("SELECT", n, (min(a, c), max(b, d)), operands)


@shift_round.register
def _(x: Node, shift: Int | int) -> Node:
    shifts = np.unique(np.asarray(shift, np.int64))
    if not x.n or not shifts.size:
        return x
    corners = [_shifted(bound, int(s)) for bound in x.bounds for s in shifts]
    bounds = (min(corners), max(corners))
    # What is added before a shift must fit, too; so must the constants that say how far.
    most = int(shifts.max())
    wide = not narrow((x.bounds[0], x.bounds[1] + (1 << max(most, 0) >> 1))) or most > 30
    wide = wide or -int(shifts.min()) > 30
    if shifts.size > 1:
        amounts = np.broadcast_to(np.asarray(shift, np.int64), (x.n,))
        right, left = np.maximum(amounts, 0), np.maximum(-amounts, 0)
        return x.recorder.node("SHIFTS", x.n, bounds, (x, right, left), wide=wide)
    if most == 0:
        return x
    if most > 0:
        return x.recorder.node("RIGHT", x.n, bounds, (x,), {"low": most}, wide=wide)
    return x.recorder.node("LEFT", x.n, bounds, (x,), {"high": -most}, wide=wide)


def _shifted(bound: int, shift: int) -> int:
    if shift >= 0:
        return (bound + (1 << shift >> 1)) >> shift
    limit = (1 << WIDEST) >> -shift
    return min(max(bound, -limit), limit) << -shift
