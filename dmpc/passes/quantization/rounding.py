"""How weights become integers: to nearest, or so that later weights make up for earlier errors."""

import numpy as np
from numpy.typing import NDArray

from dmpc.passes.ranges import Real

Int = NDArray[np.int64]
DAMPING = 0.01  # of an input's own second moment: what calibration did not show may still come
BLOCK = 64
"""Columns whose errors travel one by one: few enough for them to stay in the processor's cache."""
ROWS = 256
"""Neurons that are rounded at once: the weights of each are rounded for themselves."""


def to_nearest(real: Real, step: Real, limit: Real) -> Int:
    """`real / step` to nearest, ties to even, clipped to -limit .. limit. Shapes broadcast."""
    return _nearest(real, step, limit).astype(np.int64)


def _nearest(real: Real, step: Real, limit: Real) -> Real:
    """As `to_nearest`, whole numbers as real ones."""
    whole: Real = np.rint(real / step)  # the ufuncs themselves: clip wraps them in Python
    return np.minimum(np.maximum(whole, -limit), limit)


def compensated(real: Real, step: Real, limit: Real, moments: Real, kept: NDArray[np.bool_]) -> Int:
    """Integers [n, m] for weights `real` [n, m] of `step` [n, m], at most `limit` [m] in size.

    What matters is the error of the sum, `e H e'` for an error `e` of a row and second moments
    `moments` H [m, m] of its inputs. Columns are rounded one by one, those of the largest error
    first, and what a rounding did is made up for by the columns still to come: optimal brain
    surgery in the order and form of GPTQ (Frantar et al., arXiv 2210.17323). Weights of zero that
    are `kept` [m] stay zero. A row for which that is no better than rounding to nearest is rounded
    to nearest.
    """
    size = np.sqrt(np.maximum(np.diag(moments), 0))
    order = np.argsort(-np.median(step, axis=0) * size, kind="stable")
    unit = np.where(size > 0, size, 1.0)[order]
    correlation = moments[np.ix_(order, order)]
    correlation /= np.outer(unit, unit)
    upper = _inverse_root(correlation)
    made = np.empty(real.shape, np.int64)
    for start in range(0, len(real), ROWS):
        rows = slice(start, start + ROWS)
        mine, steps = real[rows], step[rows]
        silent = kept & (mine == 0)
        plain = made[rows] = np.where(silent, 0, to_nearest(mine, steps, limit))
        later = np.empty_like(plain)
        later[:, order] = _one_by_one(
            mine[:, order] * unit, steps[:, order] * unit, limit[order], silent[:, order], upper
        )
        better = _gain(mine - plain * steps, mine - later * steps, moments) > 0
        made[rows][better] = later[better]
    return made


def _one_by_one(real: Real, step: Real, limit: Real, silent: NDArray[np.bool_], upper: Real) -> Int:
    """Integers [n, m]: each column rounded, its error spread over those after it by `upper` [m, m].

    What a block of columns leaves to all that come after it is one matrix product, not one for each
    column: within a block alone do errors travel column by column.
    """
    left, steps = np.ascontiguousarray(real.T), np.ascontiguousarray(step.T)
    silent = np.ascontiguousarray(silent.T)
    made = np.empty_like(left)
    for start in range(0, len(left), BLOCK):
        block = slice(start, start + BLOCK)
        errors = np.empty_like(left[block])
        for at, error in enumerate(errors):
            j = start + at
            whole = np.where(silent[j], 0.0, _nearest(left[j], steps[j], limit[j]))
            made[j] = whole
            np.divide(left[j] - whole * steps[j], upper[j, j], out=error)
            left[j + 1 : start + BLOCK] -= upper[j, j + 1 : start + BLOCK, None] * error
        left[start + BLOCK :] -= upper[block, start + BLOCK :].T @ errors
    return made.T.astype(np.int64)


def _inverse_root(correlation: Real) -> Real:
    """Upper triangular U with `U' U` the inverse of a correlation matrix, which is damped in place.

    The matrix read backwards is `L L'`, and U is the inverse of L, read backwards.
    """
    diagonal = np.diag_indices(len(correlation))
    correlation[diagonal] = np.maximum(correlation[diagonal], 1.0) + DAMPING
    root = np.linalg.cholesky(correlation[::-1, ::-1])
    return _inverse(root.astype(np.float64, copy=False))[::-1, ::-1]


def _inverse(lower: Real) -> Real:
    """The inverse of a lower triangular matrix, from those of its halves."""
    if len(lower) <= BLOCK:
        return np.tril(np.linalg.inv(lower))
    half = len(lower) // 2
    first, last = _inverse(lower[:half, :half]), _inverse(lower[half:, half:])
    inverse = np.zeros_like(lower)
    inverse[:half, :half], inverse[half:, half:] = first, last
    inverse[half:, :half] = -last @ (lower[half:, :half] @ first)
    return inverse


def _gain(error: Real, other: Real, moments: Real) -> Real:
    """By how much the mean square error [n] of sums is larger for one error of weights [n, m].

    `e H e' - f H f'` is `(e - f) H (e + f)'`, for H is symmetric.
    """
    gain: Real = (((error - other) @ moments) * (error + other)).sum(axis=1)
    return gain
