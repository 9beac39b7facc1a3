"""The Legendre memory as a linear system: the one definition, for training and for compiling."""

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]


def legendre_system(states: int, window: float) -> tuple[Matrix, Matrix]:
    """Continuous-time `A` [d, d] and `B` [d] of a Legendre memory (Voelker et al., 2019, eqs. 1-2).

    `R_i = (2i+1)/window`, `A_ij = R_i (-1 if i < j else (-1)^(i-j+1))`, `B_i = R_i (-1)^i`.
    `window` is the length of the remembered history in timesteps. Raises ValueError if `states` or
    `window` is below 1.
    """
    if states < 1:
        raise ValueError(f"Legendre memory: {states} states; it needs at least 1")
    if not (np.isreal(window) and window >= 1 and np.isfinite(window)):
        raise ValueError(f"Legendre memory: window is {window!r}; it spans at least 1 timestep")
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
