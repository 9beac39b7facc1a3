"""Rows of weights as the compiled engine adds them up."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from isa.arithmetic import Int
from isa.limits import COLUMNS

FEW = 8
"""Fewer rows than this that add up within 16 bits are not worth it: 32 bits then."""

HIGHEST = (1 << 15) - 1


class Table:
    """Rows [inputs, n] for sums over active events, or for products with values.

    They are filled up with zeros to a multiple of COLUMNS.

    Rows of events are of 16 bits, and `together` so many of them add up within 16 bits; rows of
    values are interleaved by twos, for an instruction that multiplies and adds two at once
    (`together` is 2). Where weights or values are too wide for that they are of 32 bits, and
    `together` is 0.
    """

    def __init__(self, rows: Int, events: bool, narrow_values: bool) -> None:
        inputs, n = rows.shape
        self.columns = -(-n // COLUMNS) * COLUMNS
        wide = np.zeros((inputs + inputs % 2, self.columns), np.int64)
        wide[:inputs, :n] = rows
        largest = int(np.abs(rows).max(initial=1))
        if events:
            self.together = HIGHEST // largest
            self.together *= self.together >= FEW
        else:
            self.together = 2 * int(narrow_values and largest <= HIGHEST)
            if self.together:
                wide = wide.reshape(len(wide) // 2, 2, self.columns).swapaxes(1, 2)
        dtype = np.int16 if self.together else np.int32
        self.array: NDArray[Any] = np.ascontiguousarray(wide, dtype)
