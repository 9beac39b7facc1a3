"""Impulse responses: how far a rounded linear system can be driven.

The machine computes `m[k] = (A m[k-1] + B x[k]) / 2**shift`, rounded. With `e[k]` the rounding
error, at most 1/2 in each element, an output `C m` is exactly

    C m[k] = sum over j of  C A^j B x[k-j]  +  C A^j e[k-j]

so the positive and negative parts of `C A^j B`, summed over j, bound it for every `x` in a range,
and the absolute sum of `C A^j` bounds what rounding adds. Both are sums over the whole response:
what lies beyond the part that is computed, and the rounding of this computation itself, are bounded
and added.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dmpc.analysis.interval import Interval, Vector

Real = NDArray[np.float64]

LONGEST = 100_000  # timesteps of a response that are computed
FADED = 2.0**-36  # a power of A with this norm ends the response
BLOCK = 32  # powers of A held at once


@dataclass(frozen=True)
class Gains:
    """Sums over an impulse response, per output [n], rounded away from zero.

    `noise` is what an output gains at most for each unit of the greatest rounding error.
    """

    positive: Real
    negative: Real
    noise: Real

    def driven(self, low: float, high: float, error: float) -> Interval:
        """Bounds of the outputs for x in low .. high, rounded by at most `error` a timestep.

        Before the first timestep there was no drive, so zero counts as part of its range.
        """
        low, high = min(low, 0.0), max(high, 0.0)
        rounding = self.noise * error
        return Interval(
            self.negative * high + self.positive * low - rounding,
            self.positive * high + self.negative * low + rounding,
        )


class System:
    """`m' = A m + B x` with real `A` [d, d] and `B`, [d] or of several drives [d, q], over `steps`
    timesteps or for ever."""

    def __init__(self, a: Vector, b: Vector, steps: int | None = None) -> None:
        self.a, self.b = a.astype(np.float64), b.astype(np.float64).reshape(len(b), -1)
        self.steps = LONGEST if steps is None else min(steps, LONGEST)
        self.whole = steps is not None and steps <= LONGEST
        self._powers = self._block()
        self.length, self.decays = self._fade()
        self._responses: list[Real] = []  # of each drive A^j B for j = 0 .. length - 1: [length, d]
        self._slack: list[float] = []
        if self.decays:
            self._responses = [self._trajectory(column) for column in self.b.T]
            self._account()

    # -- how long it rings ------------------------------------------------------------------------

    def _block(self) -> Real:
        """A^0 .. A^(BLOCK-1), [BLOCK, d, d]."""
        powers = [np.eye(len(self.b))]
        with np.errstate(over="ignore", invalid="ignore"):
            for _ in range(BLOCK):
                powers.append(powers[-1] @ self.a)
        self._jump = powers.pop()
        return np.array(powers)

    def _fade(self) -> tuple[int, bool]:
        """Timesteps, whole blocks, after which A^k has all but vanished, and whether it does.

        Sets `remaining`, the norm of that power: what is left of a state then, as a share.
        """
        power, length = self._jump, BLOCK
        while FADED < _norm(power) < np.inf and length < self.steps:
            with np.errstate(over="ignore", invalid="ignore"):
                power = power @ self._jump
            length += BLOCK
        norm = _norm(power)
        self.remaining = 0.0 if self.whole and length >= self.steps and norm < np.inf else norm
        return length, self.remaining < 0.5

    def _trajectory(self, b: Real) -> Real:
        found, state = np.empty((self.length, len(b))), b
        for step in range(self.length):
            found[step], state = state, self.a @ state
        return found

    # -- what was not computed, and what was computed with rounding -------------------------------

    def _account(self) -> None:
        """Bound, for each state, the sum over time of what `_trajectory` left out or got wrong."""
        size = len(self.b)
        unit = 64 * (size + 2) * np.finfo(np.float64).eps
        total = self._absolute(np.eye(size))
        wrong = unit * float((np.abs(self.a) @ total).max(initial=0)) * BLOCK
        self.decays = bool(wrong < 0.5)
        self._loss = 1 / ((1 - self.remaining) * (1 - min(wrong, 0.5)))
        for column, response in zip(self.b.T, self._responses, strict=True):
            one_step = unit * np.abs(self.a) @ np.abs(response).sum(axis=0)
            beyond = self.remaining * np.abs(column).max(initial=0)
            self._slack.append(float(one_step.max(initial=0) + beyond))

    def _absolute(self, c: Real) -> Real:
        """Sum over the computed response of |C A^j|, over its columns too: [n]."""
        size = len(self.b)
        total = np.zeros(len(c))
        side_by_side = self._powers.transpose(1, 0, 2).reshape(size, -1)
        for _ in range(self.length // BLOCK):
            total += np.abs(c @ side_by_side).sum(axis=1)
            c = c @ self._jump
        return total

    def gains(self, c: Vector, direct: Vector | None = None) -> list[Gains]:
        """Gains from each drive to `C m + direct x`, C [n, d]; `direct` [n, q] acts a timestep
        ahead."""
        c = c.astype(np.float64)
        noise, found = self._absolute(c) * self._loss, []
        for drive, (response, most) in enumerate(zip(self._responses, self._slack, strict=True)):
            slack, driven = noise * most, response @ c.T
            positive = np.maximum(driven, 0).sum(axis=0) + slack
            negative = np.minimum(driven, 0).sum(axis=0) - slack
            if direct is not None:
                own = direct[:, drive]
                positive, negative = positive + np.maximum(own, 0), negative + np.minimum(own, 0)
            found.append(Gains(positive, negative, noise))
        return found

    def driven(
        self, c: Vector, drives: Interval, error: float, direct: Vector | None = None
    ) -> Interval:
        """Bounds of `C m + direct x` for drives within bounds [q], m rounded by at most `error`."""
        found = []
        for drive, gains in enumerate(self.gains(c, direct)):
            low, high = float(drives.low[drive]), float(drives.high[drive])
            found.append(gains.driven(low, high, error))
            error = 0.0  # a state is rounded once, whatever drives it
        return sum(found[1:], found[0])

    def response(self, c: Vector) -> Real:
        """The computed impulse response of one output `c` [d] to the first drive: [length]."""
        found: Real = self._responses[0] @ c.astype(np.float64)
        return found


def _norm(matrix: Real) -> float:
    """The greatest absolute row sum; infinite where elements no longer are numbers."""
    with np.errstate(over="ignore", invalid="ignore"):
        norm = float(np.abs(matrix).sum(axis=1).max(initial=0))
    return norm if np.isfinite(norm) else float("inf")
