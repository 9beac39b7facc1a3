"""Impulse responses as recurrences: `m[k] = A m[k-1] + B x[k]`, `y[k] = C m[k]`.

Ho and Kalman's realisation: the responses of a linear system's states span the columns of the
Hankel matrix of its impulse response, and one timestep moves each column to the next. A response
that is a Legendre memory's is given that memory's own A and B, free of the noise of float32.
"""

from dataclasses import dataclass

import numpy as np

from dmpc.legendre import Matrix, legendre_system, zero_order_hold

TOLERANCE = 1e-4  # of the largest element: kernels are float32, often computed in float32 as well
EXACT = 1e-5  # a Legendre memory as near as this is preferred to what the noise itself would fit
NOISE = 1e-6  # of the largest singular value: smaller ones are float32's rounding
MOST_ROWS = 512  # of a Hankel matrix
FAST = 0.2  # share of a memory's states that may decay within a timestep
GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True)
class System:
    """`m[k] = a [d, d] m[k-1] + b [d] x[k]`, `y[k] = c [n, d] m[k]`; c is None where y is m.

    `error` is the largest difference from the wanted response, of its largest element.
    """

    a: Matrix
    b: Matrix
    c: Matrix | None
    error: float


def realise(response: Matrix) -> System:
    """The smallest system found whose impulse response is `response` [timesteps, outputs].

    Its `error` says how well: beyond TOLERANCE the response is no recurrence of so few states.
    """
    rows, best = 1, _hankel(response, 1)
    while best.error > TOLERANCE and 2 * rows * response.shape[1] <= MOST_ROWS:
        rows *= 2
        if 2 * rows > len(response):
            break
        best = min(best, _hankel(response, rows), key=lambda system: system.error)
    legendre = _legendre(response, best)
    return best if legendre is None else legendre


def respond(a: Matrix, b: Matrix, steps: int) -> Matrix:
    """Responses [timesteps, d] of the states of `m' = a m + b x` to a single 1."""
    found = np.empty((steps, len(b)))
    m = b
    for step in range(steps):
        found[step] = m
        m = a @ m
    return found


def _hankel(response: Matrix, rows: int) -> System:
    """The system that a Hankel matrix of so many block rows shows."""
    steps, outputs = response.shape
    columns = steps - rows + 1
    hankel = np.concatenate([response[row : row + columns].T for row in range(rows)])
    left, strengths, _ = np.linalg.svd(hankel, full_matrices=False)
    states = max(1, int(np.count_nonzero(strengths > NOISE * strengths[0])))
    if rows == 1 and states == outputs:
        series, c = hankel, None
    else:
        basis = left[:, :states]
        series, c = basis.T @ hankel, basis[:outputs]
    a = series[:, 1:] @ np.linalg.pinv(series[:, :-1])
    return _system(a, series[:, 0], c, response)


def _system(a: Matrix, b: Matrix, c: Matrix | None, response: Matrix) -> System:
    with np.errstate(over="ignore", invalid="ignore"):
        found = respond(a, b, len(response))
        found = found if c is None else found @ c.T
        error = float(np.abs(found - response).max()) / float(np.abs(response).max())
    return System(a, b, c, error if np.isfinite(error) else np.inf)


def _legendre(response: Matrix, fitted: System) -> System | None:
    """The Legendre memory that a system is, if it is one.

    The trace of the continuous system, `-d² / window`, is the logarithm of the determinant of A.
    States that decay within a timestep are lost in the noise: then there are as many as outputs,
    and only a search shows the window.
    """
    sign, log_determinant = np.linalg.slogdet(fitted.a)
    if sign <= 0 or log_determinant >= 0:
        return None
    found, outputs = len(fitted.b), response.shape[1]
    states = outputs if 0 < outputs - found <= FAST * outputs else found
    window = -(states**2) / float(log_determinant)
    if states != found:
        window = _search(response, window)
    for candidate in (float(round(window)), window):
        if candidate < 1 or abs(candidate - window) > 1e-2 * window:
            continue
        system = _of_window(response, candidate, states)
        if system.error <= max(EXACT, fitted.error) and system.error <= TOLERANCE:
            return system
    return None


def _search(response: Matrix, guess: float) -> float:
    """The window, near a guess, of the Legendre memory whose B is nearest the first response."""
    states, first = response.shape[1], response[0] / np.linalg.norm(response[0])

    def distance(window: float) -> float:
        _, b = zero_order_hold(*legendre_system(states, max(window, 1.0)))
        return -abs(float(b @ first)) / float(np.linalg.norm(b))

    windows = guess * np.geomspace(0.5, 2.0, 41)
    at = int(np.argmin([distance(window) for window in windows]))
    low, high = windows[max(at - 1, 0)], windows[min(at + 1, len(windows) - 1)]
    while high - low > 1e-6 * high:  # golden section
        a, b = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
        low, high = (low, b) if distance(a) < distance(b) else (a, high)
    return float(low + high) / 2


def _of_window(response: Matrix, window: float, states: int) -> System:
    a, b = zero_order_hold(*legendre_system(states, window))
    found, *_ = np.linalg.lstsq(respond(a, b, len(response)), response, rcond=NOISE)
    c: Matrix = found.T.astype(np.float64)
    if c.shape[0] == states:  # then most likely the outputs are the states, but for a gain
        gain = float(response[0] @ b) / float(b @ b)
        plain = _system(a, b if abs(gain - 1) <= EXACT else gain * b, None, response)
        if plain.error <= EXACT:
            return plain
    return _system(a, b, c, response)
