"""The Legendre memory: is a discrete system the zero-order hold of one, and of which window?"""

import numpy as np

from dmpc.legendre import Matrix, legendre_system, zero_order_hold

TOLERANCE = 1e-4  # of the largest coefficient: float32 weights, possibly recovered from a product


def legendre_window(a: Matrix, b: Matrix) -> float | None:
    """The window, in timesteps, of a discrete Legendre memory `m' = a [d, d] m + b [d] x`.

    A gain on the input is allowed for. None if the system is not one. The trace of the continuous
    system is `-d² / window`, and the determinant of its exponential is `exp(trace)`.
    """
    states = len(b)
    sign, log_determinant = np.linalg.slogdet(a)
    if sign <= 0 or log_determinant >= 0:
        return None
    window = -(states**2) / log_determinant
    if abs(window - round(window)) < 1e-4 * window:
        window = round(window)
    if window < 1:
        return None
    expected_a, expected_b = zero_order_hold(*legendre_system(states, window))
    gain = (expected_b @ b) / (expected_b @ expected_b)
    agrees = np.abs(a - expected_a).max() <= TOLERANCE * np.abs(expected_a).max() and (
        np.abs(b - gain * expected_b).max() <= TOLERANCE * np.abs(b).max()
    )
    return float(window) if agrees and b.any() else None
