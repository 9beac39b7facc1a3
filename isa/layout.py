"""The layout of a product: which rows of weights it has in a bank, and which of them it reads.

A bank may hold the rows of all inputs, in order: row `g * inputs + j` for group g and input j. Or
it holds a share of them, `share` sixteenths: those inputs whose phase, `(7 j + g) mod 16` counted
from `first`, is below `share`. The phase turns with the group, so whatever inputs are active, every
bank gets its share of them over the groups of a layer.

With a `kernel` (`isa.kernel`) its rows are shared by all positions of a convolution, and a group
reads those of the active inputs that it sees.

Banks, tables, timing, placement and prediction ask this one value.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from isa.arithmetic import Int
from isa.kernel import Kernel
from isa.limits import PERIOD, STRIDE


@dataclass(frozen=True)
class Layout:
    """Rows of `groups` groups of neurons, for a share of `inputs` inputs.

    Those of a kernel begin at its group `start`.
    """

    inputs: int
    groups: int
    first: int = 0
    share: int = PERIOD
    kernel: Kernel | None = None
    start: int = 0

    @property
    def whole(self) -> bool:
        """Whether the rows of all inputs lie here."""
        return self.share == PERIOD

    @property
    def per_group(self) -> int:
        """Rows that a group takes."""
        return self.inputs if self.whole else -(-self.inputs // PERIOD) * self.share

    @property
    def rows(self) -> int:
        """Rows in all, from the product's first."""
        if self.kernel:
            return self.kernel.rows
        return self.groups * self.per_group

    @property
    def per_input(self) -> int:
        """Rows that an active input has, at most: what a loader brings for it."""
        return self.groups if self.whole else -(-self.groups // PERIOD) * self.share

    @property
    def reads(self) -> float:
        """Rows that are read if all inputs are active, about as many if a share lies here."""
        if self.kernel:
            every = np.ones((1, self.inputs), np.int64)
            return float(self.kernel.seen(every, self.start, self.groups).sum())
        return self.groups * self.inputs * self.share / PERIOD

    @property
    def period(self) -> int:
        """A power of two after which the rows that groups read repeat; of a kernel they do not."""
        if self.kernel:
            return 1 << max(self.groups - 1, 0).bit_length()
        return 1 if self.whole else PERIOD

    def row_of(self, group: int) -> int:
        """The first row of a group, from the product's first."""
        return 0 if self.kernel else group * self.per_group

    def part(self, start: int, groups: int) -> "Layout":
        """The layout of groups `start` .. `start + groups - 1` as a product of its own.

        Their rows begin at `row_of(start)`.
        """
        if self.kernel:
            return replace(self, groups=groups, start=self.start + start)
        return Layout(self.inputs, groups, (self.first - start) % PERIOD, self.share)

    def table(self) -> Int:
        """Row [groups, inputs], from the product's first, of each group and input; -1: not here."""
        return _table(self)

    def read(self, active: Int) -> Int:
        """Rows of active inputs by group: [batch, inputs] of 0 and 1 -> [batch, period].

        Group g takes column g modulo the period; the period is 1 if all inputs lie here, and all
        groups with a kernel.
        """
        if self.kernel:
            return self.kernel.seen(active, self.start, self.groups)
        if self.whole:
            every: Int = active.sum(1, keepdims=True)
            return every
        whole = active.shape[1] // PERIOD * PERIOD
        by_phase = np.zeros((len(active), PERIOD), np.int64)
        by_phase[:, _PHASES] = active[:, :whole].reshape(len(active), -1, PERIOD).sum(1)
        by_phase[:, _PHASES[: active.shape[1] - whole]] += active[:, whole:]
        rows: Int = by_phase @ _held(self.first, self.share)
        return rows


def coefficients(size: int, lanes: int, drives: int = 1) -> Layout:
    """Rows of Abar and Bbar in the update memory: their columns for every `lanes` states."""
    return Layout(size + drives, -(-size // lanes))


def _phase(inputs: Int | int, group: Int | int, first: int) -> Int:
    """Phase of inputs in a group, counted from a share's first."""
    return np.asarray(STRIDE * np.asarray(inputs) + group - first, np.int64) % PERIOD


_PHASES = _phase(np.arange(PERIOD), 0, 0)
"""Of one input after the other, before it repeats."""


@lru_cache(maxsize=256)
def _held(first: int, share: int) -> Int:
    """Whether a share holds the row of a phase in a group: [phase, group]."""
    turned = np.arange(PERIOD)[None, :] + np.arange(PERIOD)[:, None]
    return (_phase(0, turned, first) < share).astype(np.int64)


@lru_cache(maxsize=256)
def _table(layout: Layout) -> Int:
    group, j = np.arange(layout.groups)[:, None], np.arange(layout.inputs)[None, :]
    if layout.whole:
        return group * layout.inputs + j
    turned = _phase(j, group, layout.first)
    row = group * layout.per_group + j // PERIOD * layout.share + turned
    return np.where(turned < layout.share, row, -1)
