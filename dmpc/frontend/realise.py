"""Impulse responses as recurrences: `m[k] = A m[k-1] + B x[k]`, `y[k] = C m[k]`.

Ho and Kalman's realisation: the responses of a linear system's states span the columns of the
Hankel matrix of its impulse response, and one timestep moves each column to the next. A response
that is a Legendre memory's is given that memory's own A and B, free of the noise of float32: as
many states as outputs are tried first, against the response itself, since of many states the
fastest are lost in the noise of any fit.
"""

from dataclasses import dataclass

import numpy as np

from dmpc.legendre import Matrix, legendre_system, zero_order_hold

TOLERANCE = 1e-4  # of the largest element: kernels are float32, often computed in float32 as well
EXACT = 1e-5  # a Legendre memory as near as this is preferred to what the noise itself would fit
NOISE = 1e-6  # of the largest singular value: smaller ones are float32's rounding
MOST_ROWS = 512  # of a Hankel matrix
STRANGE = 0.1  # 1 - cosine: no Legendre memory starts so differently
SECTIONS = 16  # of a golden section: to 1 part in 2,000 of what was known
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
    direct = _direct(response)
    if direct is not None and direct.error <= EXACT:
        return direct
    rows, best = 1, _hankel(response, 1)
    while best.error > TOLERANCE and 2 * rows * response.shape[1] <= MOST_ROWS:
        rows *= 2
        if 2 * rows > len(response):
            break
        best = min(best, _hankel(response, rows), key=lambda system: system.error)
    for legendre in (direct, _legendre(response, best)):
        if legendre is not None and legendre.error <= min(TOLERANCE, max(EXACT, best.error)):
            return legendre
    return best


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


def _direct(response: Matrix) -> System | None:
    """The Legendre memory whose states are the outputs, but for outputs that are always zero.

    Such are the imaginary parts of what a transform gives back.
    """
    sizes = np.abs(response).max(axis=0)
    used = sizes > EXACT * sizes.max(initial=0.0)
    found = _of_states(response[:, used])
    if found is None or used.all():
        return found
    chosen = np.eye(len(used))[:, used]
    return _system(found.a, found.b, chosen, response)


def _of_states(response: Matrix) -> System | None:
    """The Legendre memory whose states are the outputs, but for a gain, if there is one.

    Its first timesteps tell the window roughly, and more of them ever better.
    """
    steps, states = response.shape
    if states < 2:
        return None  # any leaky sum is one of a single state
    windows = np.geomspace(max(1.0, states / 8), 1e5, 40)
    misses = [_miss(response[:2], window) for window in windows]
    best = int(np.argmin(misses))
    if misses[best] > STRANGE:
        return None
    low, high = windows[max(best - 1, 0)], windows[min(best + 1, len(windows) - 1)]
    rows, system = 2, None
    while True:
        window = _narrowed(response[:rows], low, high)
        for candidate in (float(round(window)), window):
            a, b = zero_order_hold(*legendre_system(states, max(candidate, 1.0)))
            found = _plain(response, a, b)
            if system is None or found.error < system.error:
                system = found
            if candidate != window and found.error <= EXACT:
                return found  # a whole number, which nobody hits by chance
        if rows >= steps:
            return system
        rows, width = min(4 * rows, steps), (high / low) ** 0.05
        low, high = window / width, window * width


def _miss(response: Matrix, window: float) -> float:
    """How far a response is from that of the Legendre memory of a window, up to a gain; 0 to 1."""
    a, b = zero_order_hold(*legendre_system(response.shape[1], max(window, 1.0)))
    found = respond(a, b, len(response))
    length = float(np.linalg.norm(response) * np.linalg.norm(found))
    cosine = float(np.sum(found * response)) / length if length else 0.0
    return 1.0 - abs(cosine)


def _narrowed(response: Matrix, low: float, high: float) -> float:
    """The window between two whose response is nearest, by golden section."""
    a, b = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
    miss_a, miss_b = _miss(response, a), _miss(response, b)
    for _ in range(SECTIONS):
        if miss_a < miss_b:
            high, b, miss_b = b, a, miss_a
            a = high - GOLDEN * (high - low)
            miss_a = _miss(response, a)
        else:
            low, a, miss_a = a, b, miss_b
            b = low + GOLDEN * (high - low)
            miss_b = _miss(response, b)
    return float(low + high) / 2


def _plain(response: Matrix, a: Matrix, b: Matrix) -> System:
    """A system whose states are the outputs, with the gain that fits best."""
    found = respond(a, b, len(response))
    power = float(np.sum(found * found))
    gain = float(np.sum(found * response)) / power if power > 0 else 1.0
    return _system(a, b if abs(gain - 1) <= EXACT else gain * b, None, response)


def _legendre(response: Matrix, fitted: System) -> System | None:
    """The Legendre memory of which the outputs are sums, from a system that was fitted.

    The trace of the continuous system, `-d² / window`, is the logarithm of the determinant of A.
    """
    sign, log_determinant = np.linalg.slogdet(fitted.a)
    if sign <= 0 or log_determinant >= 0:
        return None
    states = len(fitted.b)
    window = -(states**2) / float(log_determinant)
    for candidate in (float(round(window)), window):
        if candidate < 1 or abs(candidate - window) > 1e-2 * window:
            continue
        system = _of_window(response, candidate, states)
        if system.error <= max(EXACT, fitted.error):
            return system
    return None


def _of_window(response: Matrix, window: float, states: int) -> System:
    a, b = zero_order_hold(*legendre_system(states, window))
    if response.shape[1] == states:
        plain = _plain(response, a, b)
        if plain.error <= EXACT:
            return plain
    found, *_ = np.linalg.lstsq(respond(a, b, len(response)), response, rcond=NOISE)
    c: Matrix = found.T.astype(np.float64)
    return _system(a, b, c, response)
