"""The geometry of a convolution: which inputs each group of neurons sees, through which weights.

Neurons stand in a grid, position by position, the channels of a position side by side: `blocks`
groups for each. Weights are shared by all positions. Group `q` of a position has a row for each tap
of the kernel and each input channel that it sees; an input reaches a position, through one tap, or
it does not. What the address generator of a bank works out, `Axis.tap` says for one axis.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isa.arithmetic import Int
from isa.native.records import KERNEL

BEHIND = 31
"""Places behind the last at which a position may begin, as padding may be before the first."""


@dataclass(frozen=True)
class Axis:
    """One axis of a kernel.

    Of the `size` inputs along it every `pool` neighbours stand in one place, those beyond the last
    whole pool in none. The kernel has `taps` taps, `dilation` places apart; position p begins at
    place `p * stride - padding`, and places outside the input hold nothing.
    """

    size: int
    taps: int = 1
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    pool: int = 1

    @property
    def places(self) -> int:
        """Places along the axis."""
        return self.size // self.pool

    @property
    def most(self) -> int:
        """Positions, at most: those behind may see padding alone, no further away than before."""
        return (self.places + self.padding + BEHIND - 1) // self.stride + 1

    def tap(self, positions: int) -> Int:
        """The tap [positions, size] through which a position sees an input; -1: through none."""
        place = np.arange(self.size)[None, :] // self.pool
        steps = place + self.padding - np.arange(positions)[:, None] * self.stride
        taps, between = np.divmod(steps, self.dilation)
        seen = (place < self.places) & (between == 0) & (taps >= 0) & (taps < self.taps)
        return np.where(seen, taps, -1)


@dataclass(frozen=True)
class Kernel:
    """A convolution over `channels` planes of inputs, for a grid of `columns` positions a line.

    Channels fall into `parts` of equal size, and so do the blocks of a position: a block sees the
    channels of its part. Inputs come position by position, or, `planar`, plane by plane.
    """

    y: Axis
    x: Axis
    channels: int
    columns: int
    blocks: int
    parts: int = 1
    planar: bool = False

    @property
    def inputs(self) -> int:
        """Elements of the vector that it reads."""
        return self.y.size * self.x.size * self.channels

    @property
    def depth(self) -> int:
        """Channels that a block sees."""
        return self.channels // self.parts

    @property
    def per_block(self) -> int:
        """Rows of a block: for one tap after the other, those of the channels that it sees."""
        return self.y.taps * self.x.taps * self.depth

    @property
    def rows(self) -> int:
        """Rows in all."""
        return self.blocks * self.per_block

    def fault(self, inputs: int, start: int, groups: int) -> str:
        """Why some groups cannot be of this kernel over so many inputs; empty if they can."""
        if self.inputs != inputs:
            return f"the kernel has {self.inputs} inputs, not {inputs}"
        if start + groups > self.y.most * self.columns * self.blocks:
            return f"groups {start} .. {start + groups - 1} begin far behind the kernel's last line"
        return ""

    @property
    def own_fault(self) -> str:
        """Why it is no kernel; empty if it is one."""
        sizes = (self.channels, self.columns, self.blocks, self.parts)
        axes = (self.y, self.x)
        if min(*sizes, *(min(a.size, a.taps, a.stride, a.dilation, a.pool) for a in axes)) < 1:
            return "something of the kernel is 0"
        if self.channels % self.parts or self.blocks % self.parts:
            return f"channels and blocks do not fall into {self.parts} equal parts"
        if self.columns > self.x.most:
            return f"column {self.x.most} begins far behind the last place"
        return ""

    def lines(self, start: int, groups: int) -> tuple[int, int]:
        """The first line of positions with a group among some, and how many lines have one."""
        per_line = self.columns * self.blocks
        return start // per_line, -(-(start + groups) // per_line) - start // per_line

    def planes(self, data: Int) -> Int:
        """Inputs [batch, inputs] as [batch, y, x, channels]."""
        height, width, channels = self.y.size, self.x.size, self.channels
        if self.planar:
            return data.reshape(-1, channels, height, width).transpose(0, 2, 3, 1)
        return data.reshape(-1, height, width, channels)

    def seen(self, active: Int, start: int, groups: int) -> Int:
        """Active inputs [batch, inputs] that each group sees: [batch, groups]."""
        first, lines = self.lines(start, groups)
        parts = self.planes(active).reshape(-1, self.y.size, self.x.size, self.parts, self.depth)
        above = (self.y.tap(first + lines)[first:] >= 0).astype(np.int64)
        beside = (self.x.tap(self.columns) >= 0).astype(np.int64)
        found = np.einsum("py,byxk,qx->bpqk", above, parts.sum(4), beside, optimize=True)
        return self._cut(np.repeat(found, self.blocks // self.parts, axis=3), start, groups)

    def sums(self, rows: Int, data: Int, start: int, groups: int) -> Int:
        """Rows [rows, lanes] times inputs [batch, inputs], summed: [batch, groups * lanes].

        They are added up in floating point, tap by tap, which is exact below 2^53.
        """
        first, lines = self.lines(start, groups)
        planes = self.planes(data).astype(np.float64)
        planes = planes.reshape(*planes.shape[:3], self.parts, self.depth)
        shape = (self.parts, self.blocks // self.parts, self.y.taps, self.x.taps, self.depth, -1)
        weights = rows.reshape(shape).astype(np.float64)
        above, beside = self.y.tap(first + lines)[first:], self.x.tap(self.columns)
        total = np.zeros((len(data), lines, self.columns, *weights.shape[:2], rows.shape[1]))
        for tap in range(self.y.taps):
            strip = np.tensordot((above == tap).astype(np.float64), planes, (1, 1))
            for over in range(self.x.taps):  # p, b, x, k, d
                seen = np.tensordot((beside == over).astype(np.float64), strip, (1, 2))
                total += np.einsum(
                    "qpbkd,krdl->bpqkrl", seen, weights[:, :, tap, over], optimize=True
                )
        made: Int = np.rint(total).astype(np.int64)
        return self._cut(made.reshape(*made.shape[:3], self.blocks, -1), start, groups)

    def _cut(self, found: Int, start: int, groups: int) -> Int:
        """Of whole lines [batch, lines, columns, blocks, ...] the groups that are asked for."""
        first, _ = self.lines(start, groups)
        flat = found.reshape(len(found), -1, *found.shape[4:])
        begin = start - first * self.columns * self.blocks
        return flat[:, begin : begin + groups].reshape(len(found), -1)


def geometry(kernel: Kernel, start: int, groups: int) -> NDArray[np.int32]:
    """Some groups of a kernel as the compiled engine takes them.

    After the record come two lists that say which positions each input along an axis reaches, and
    the rows that each group reads if all inputs are active.
    """
    first, lines = kernel.lines(start, groups)
    above, beside = _reached(kernel.y, first + lines), _reached(kernel.x, kernel.columns)
    every = kernel.seen(np.ones((1, kernel.inputs), np.int64), start, groups)[0]
    at = len(KERNEL)
    places = at, at + len(above), at + len(above) + len(beside)
    y, x = kernel.y, kernel.x
    numbers = (
        start, groups, kernel.channels, kernel.planar, y.size, x.size, kernel.columns,
        kernel.blocks, kernel.blocks // kernel.parts, kernel.depth, x.taps, y.taps * x.taps,
        *places,
    )  # fmt: skip
    return np.concatenate([np.array(numbers), above, beside, every]).astype(np.int32)


def _reached(axis: Axis, positions: int) -> Int:
    """Where each input's list begins, [size + 1], and lists of pairs: a position, and the tap."""
    taps = axis.tap(positions).T
    inputs, position = np.nonzero(taps >= 0)
    starts = np.searchsorted(inputs, np.arange(axis.size + 1))
    pairs = np.stack([position, taps[inputs, position]], axis=1)
    return np.concatenate([2 * starts, pairs.reshape(-1)])
