"""The Legendre memory: is a discrete system the zero-order hold of one, and of which window?"""

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]
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
    expected_a, expected_b = zero_order_hold(*legendre_system(states, window))
    gain = float(expected_b @ b) / float(expected_b @ expected_b)
    agrees = np.abs(a - expected_a).max() <= TOLERANCE * np.abs(expected_a).max() and (
        np.abs(b - gain * expected_b).max() <= TOLERANCE * np.abs(b).max()
    )
    return float(window) if agrees and b.any() else None


def legendre_system(states: int, window: float) -> tuple[Matrix, Matrix]:
    """Continuous-time `A` [d, d] and `B` [d] of a Legendre memory (Voelker et al., 2019, eqs. 1-2).

    `R_i = (2i+1)/window`, `A_ij = R_i (-1 if i < j else (-1)^(i-j+1))`, `B_i = R_i (-1)^i`.
    """
    i, j = np.arange(states)[:, None], np.arange(states)[None, :]
    rate = (2 * i + 1) / window
    a = rate * np.where(i < j, -1.0, (-1.0) ** (i - j + 1))
    return a, rate[:, 0] * (-1.0) ** i[:, 0]


def zero_order_hold(a: Matrix, b: Matrix) -> tuple[Matrix, Matrix]:
    """Discretise `dm/dt = a m + b x` for an `x` that is held for one timestep.

    `exp(a)` and `a^-1 (exp(a) - I) b`, both as one exponential of the system that holds x as a
    state (Van Loan, 1978), by scaling, Taylor series and squaring.
    """
    size = len(b)
    system = np.zeros((size + 1, size + 1))
    system[:size, :size], system[:size, size] = a, b
    halvings = max(0, int(np.ceil(np.log2(max(np.abs(system).sum(axis=1).max(), 1e-300)))) + 2)
    small = system / 2.0**halvings
    term = result = np.eye(size + 1)
    for order in range(1, 20):
        term = term @ small / order
        result = result + term
    for _ in range(halvings):
        result = result @ result
    return result[:size, :size], result[:size, size]
