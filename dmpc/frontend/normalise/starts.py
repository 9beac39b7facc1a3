"""Initial values that a graph does not show, since all that reads them was computed ahead.

From `b = 0.1`, `0.99 b + 0.01 z` becomes `0.099 + 0.01 z`. But for comparisons the first timesteps
are affine in where states start, element by element: so that is found from what they compute, as
Newton finds a root. Whether it is right the proof says, which looks at all of the first timesteps.
"""

from collections.abc import Callable

import numpy as np

from dmpc.frontend.normalise.evaluate import Evaluator
from dmpc.frontend.normalise.match import Before, Claim
from dmpc.frontend.normalise.proof import SCALES, Rerun
from dmpc.frontend.normalise.template import Places, Template
from dmpc.ir.graph import Array

TURNS = 12  # in which comparisons come to turn out as they will
CLOSE = 1e-6  # what is no farther apart than that counts alike
SEEDS = 6  # of random numbers
PROBE = 2.0**-12
DIGITS = 7  # of a start: what was computed from it was rounded to float32
Starts = dict[Before, Array]
Compared = list[tuple[Array, Array]]


def solve_starts(
    template: Template,
    claims: list[Claim],
    initial: Starts,
    unknown: list[Before],
    places: Places,
    known: Evaluator,
) -> Starts:
    """Unknown initial values as claims have them."""

    def compared(starts: Starts) -> Compared:
        found = []
        for seed in range(SEEDS):
            scale = SCALES[seed % len(SCALES)]
            found += Rerun(template, initial | starts, places, known, scale, seed).compared(claims)
        return found

    theirs = [pair[1] for pair in compared({})[: len(claims)]]
    spikes = {c.own for c, values in zip(claims, theirs, strict=True) if _is_spikes(values)}
    found = {
        one: initial[one].astype(np.float64)
        for one in unknown
        if one[0].number not in spikes and initial[one].dtype.kind == "f" and initial[one].ndim
    }
    sizes = sorted({start.shape[-1] for start in found.values()})
    for turn in range(TURNS):
        if 3 * turn == 2 * TURNS:  # a few may have settled where comparisons turn out otherwise
            found = {one: _levelled(start, initial[one]) for one, start in found.items()}
        for size in sizes:
            found |= _nearer(found, size, compared)
    return {one: _rounded(start).astype(initial[one].dtype) for one, start in found.items()}


def _nearer(starts: Starts, size: int, compared: Callable[[Starts], Compared]) -> Starts:
    """Starts of so many elements, a step nearer to where all that is compared is the same.

    What is far from the same counts little: there a comparison may turn out otherwise.
    """
    chosen = {one: start for one, start in starts.items() if start.shape[-1] == size}
    now = compared(starts)
    moved = [compared(starts | {one: start + PROBE}) for one, start in chosen.items()]
    slopes, left = [], []
    for at, (ours, theirs) in enumerate(now):
        if ours.dtype.kind == "f" and ours.shape[-1:] == (size,):
            away = np.broadcast_to(theirs - ours, ours.shape)
            weight = 1 / np.maximum(np.abs(away), CLOSE)
            slope = np.stack([(other[at][0] - ours) / PROBE * weight for other in moved], axis=-1)
            slopes.append(slope.reshape(-1, size, len(moved)))
            left.append((away * weight).reshape(-1, size))
    if not slopes:
        return {}
    matrix = np.concatenate(slopes).transpose(1, 0, 2)
    step = (np.linalg.pinv(matrix, rcond=CLOSE**2) @ np.concatenate(left).T[..., None])[..., 0]
    return {one: start + step[:, n] for n, (one, start) in enumerate(chosen.items())}


def _levelled(start: Array, shown: Array) -> Array:
    """One number for all elements; where nothing but comparisons tells, the graph's own."""
    return start if np.allclose(start, shown, rtol=CLOSE) else np.full_like(start, np.median(start))


def _is_spikes(values: Array) -> bool:
    return bool(((values == 0) | (values == 1)).all())


def _rounded(start: Array) -> Array:
    """To so many digits, and nothing to zero."""
    shown = [float(f"{x:.{DIGITS}g}") if abs(x) > 10.0**-DIGITS else 0.0 for x in start.flat]
    return np.reshape(shown, start.shape)
