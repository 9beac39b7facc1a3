"""Products of integers at the speed of real numbers, to the last bit."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmpc.ir.recorded import recorded
from isa.arithmetic import Int

EXACT = ((np.float32, 1 << 24), (np.float64, 1 << 53))
"""Types of real numbers, and up to where they hold every integer."""
NARROW = 1 << 31
"""Up to where 32 bits do."""


@dataclass(frozen=True)
class _Weights:
    """Weights [m, N] made of an `origin`, what they add up to at most, and as real numbers."""

    origin: Int
    whole: Int
    most: int
    real: dict[type[np.floating[Any]], NDArray[Any]] = field(default_factory=dict)


class Products:
    """Products with weights that are the same again and again, timestep after timestep.

    Exact. Where no sum of parts can leave the integers that a real type holds, whatever the order
    of its parts, the product is computed in that type: libraries are much faster at it.
    """

    def __init__(self) -> None:
        self._known: dict[int, _Weights] = {}  # by identity, for which they hold on to the array

    @recorded
    def __call__(self, x: NDArray[Any], weight: Int) -> Int:
        """`weight` [N, m], or [m] for one sum, times integers or truth values `x` [B, m]: sums."""
        weights = self._weights(weight)
        if len(weights.whole) == 1:  # no sums
            each: Int = x.astype(np.int64, copy=False) * weights.whole
            return each
        most = 1 if x.dtype == np.bool_ else max(int(x.max(initial=0)), -int(x.min(initial=0)))
        for real, limit in EXACT:
            if most * weights.most < limit:
                if real not in weights.real:
                    weights.real[real] = weights.whole.astype(real)
                sums = x.astype(real) @ weights.real[real]
                if most * weights.most < NARROW:  # the way by 32 bits takes half the time
                    sums = sums.astype(np.int32)
                whole: Int = sums.astype(np.int64)
                return whole
        exact: Int = x.astype(np.int64) @ weights.whole
        return exact

    def _weights(self, weight: Int) -> _Weights:
        if id(weight) not in self._known:
            whole = weight[:, None] if weight.ndim == 1 else weight.T
            most = int(np.abs(whole).sum(axis=0).max(initial=0))
            self._known[id(weight)] = _Weights(weight, whole, most)
        return self._known[id(weight)]
