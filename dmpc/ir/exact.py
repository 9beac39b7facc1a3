"""Products of integers at the speed of real numbers, to the last bit."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from isa.arithmetic import Int

EXACT = ((np.float32, 1 << 24), (np.float64, 1 << 53))
"""Types of real numbers, and up to where they hold every integer."""


def product(x: NDArray[Any], weights: Int) -> Int:
    """`x @ weights` [B, N] of integers or truth values `x` [B, m] and `weights` [m, N].

    Exact. Where no sum of parts can leave the integers that a real type holds, whatever the order
    of its parts, the product is computed in that type: libraries are much faster at it.
    """
    most = 1 if x.dtype == np.bool_ else max(int(x.max(initial=0)), -int(x.min(initial=0)))
    bound = most * int(np.abs(weights).sum(axis=0).max(initial=0))
    for real, limit in EXACT:
        if bound < limit:
            whole: Int = (x.astype(real) @ weights.astype(real)).astype(np.int64)
            return whole
    exact: Int = x.astype(np.int64) @ weights
    return exact
