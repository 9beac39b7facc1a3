"""Why a tensor that mixes timesteps is not understood, when something needs it as a sequence."""

import numpy as np

from dmpc.errors import ImportFailure
from dmpc.frontend.responses import Systems, misses
from dmpc.frontend.taps import SAME
from dmpc.frontend.tensors import Mixed
from dmpc.frontend.views import ZERO, views
from dmpc.legendre import Matrix
from dmpc.rules import Stage, rule

HINT = (
    "a convolution with the impulse response of m[k] = A m[k-1] + B x[k], as long as the sequence"
)

NO_SEQUENCE = rule(
    "no-sequence",
    Stage.IMPORT,
    "timesteps are mixed into a tensor {shape} that has no axis of timesteps; {op} cannot follow",
    why="""Operators over the whole sequence are followed until a sequence comes out again: a slow
    state, a delay, or the mean over time. Only operators that are linear in the sequence may stand
    between.""",
    nearest=HINT,
)
MANY_DRIVES = rule(
    "many-drives",
    Stage.IMPORT,
    "{count} values are filtered over time, before {op}, and do not each decay by a factor",
    why="""Of many values each may decay by a factor of its own, as a current or a membrane does.
    Any other filter is a slow state, which one scalar drives.""",
    nearest="kernels that are powers of a factor, exp(-k / tau); or relu(W_x s + b_x) with one row "
    "in W_x, then the convolution",
)
NO_DELAY = rule(
    "no-delay",
    Stage.IMPORT,
    "{odd}, before {op}",
    why="""A delay is one number of timesteps for each input. Before the first timestep there was
    nothing: what comes late is zero at first, not the first timestep once more, nor the last.""",
    nearest="zeros in front, and the end cut off: pad(x, (0, 0, d, 0))[:, :steps]",
)
NOT_CAUSAL = rule(
    "not-causal",
    Stage.IMPORT,
    "timesteps depend on later ones, before {op}: the response is circular, or not causal",
    why="""The machine works on one timestep after the other. A transform as long as the sequence
    makes a circular convolution, in which the end of the sequence reaches its beginning.""",
    nearest="pad the sequence with as many zeros before the transform, and cut the result; of "
    "SpikingJelly's parallel neurons, SlidingPSN",
)
CHANGING_RESPONSE = rule(
    "changing-response",
    Stage.IMPORT,
    "the response to an input is not the same at every timestep, first in timestep {step}, before "
    "{op}",
    why="""A slow state's A and B are constants, loaded once and used at every timestep, and so are
    weights and their delays.""",
    nearest=f"{HINT}; of SpikingJelly's parallel neurons, SlidingPSN",
)
NO_RECURRENCE = rule(
    "no-recurrence",
    Stage.IMPORT,
    "the impulse response{end} is no slow state's: the nearest recurrence of {states} states "
    "misses it by {error} of its largest value, before {op}",
    why="""The machine keeps m[k] = A m[k-1] + B x[k], not the inputs of earlier timesteps. A
    response is such a recurrence's if few states explain it; a plain finite filter, or one that is
    cut off before it has died away, needs a state for every tap.""",
    nearest=HINT,
)


def unsettled(systems: Systems, tensor: Mixed, op: str) -> ImportFailure:
    """The error for a tensor that `op` needs as a sequence of timesteps, and that is none."""
    where = tensor.node
    if tensor.features > 1:
        if tensor.odd:
            return ImportFailure.of(NO_DELAY, where=where, odd=tensor.odd, op=op)
        missed = _contradicted(tensor)
        many = ImportFailure.of(MANY_DRIVES, where=where, op=op, count=tensor.features)
        return many if missed is None else _missed(missed, where, op)
    seen = [misses(view) for view in views(tensor)]
    if not seen:
        return ImportFailure.of(NO_SEQUENCE, where=where, op=op, shape=list(tensor.shape))
    # Where the axis of time is not known yet, the way that explains most timesteps.
    response, missed = max(seen, key=lambda one: _steps(one[1]))
    if missed is not None:
        return _missed(missed, where, op)
    system = systems.realise(response)
    return ImportFailure.of(
        NO_RECURRENCE,
        where=where,
        op=op,
        end=_end(response),
        states=len(system.b),
        error=f"{100 * system.error:.2g} %",
    )


def _steps(missed: int | None) -> float:
    return np.inf if missed is None else missed


def _missed(step: int, where: str, op: str) -> ImportFailure:
    """The error of a response that is another from a timestep on."""
    if step == 0:
        return ImportFailure.of(NOT_CAUSAL, where=where, op=op)
    return ImportFailure.of(CHANGING_RESPONSE, where=where, op=op, step=step)


def _contradicted(tensor: Mixed) -> int | None:
    """The first timestep in which the response to a later input is not that to the first one, 0 if
    it comes before the input; None if the two are the same, or no axis may be time."""
    sizes, known = tensor.domain.sizes, tensor.domain.time
    times = range(len(sizes)) if known is None else (known,)
    axes = [(t, axis) for t in times for axis, n in enumerate(tensor.shape) if 1 < n == sizes[t]]
    return max((_changes(tensor, *pair) for pair in axes), key=_steps, default=None)


def _changes(tensor: Mixed, time: int, axis: int) -> int | None:
    """As `_contradicted`, of one axis of the domain and one of the tensor as time."""
    steps = tensor.domain.sizes[time]
    numbers, late = np.random.default_rng(steps).standard_normal(tensor.features), steps // 2

    def response(step: int) -> Matrix:
        stimulus = np.zeros((*tensor.domain.sizes, tensor.features))
        np.moveaxis(stimulus, time, 0)[step].reshape(-1, tensor.features)[0] = numbers
        answer = tensor.respond(stimulus.reshape(-1)) - tensor.probes[ZERO]
        found: Matrix = np.moveaxis(answer, axis, 0).reshape(steps, -1)
        return found

    first, later = response(0), response(late)
    most = SAME * float(max(np.abs(first).max(), np.abs(later).max()))
    if np.abs(later[:late]).max() > most:
        return 0
    wrong = np.abs(later[late:] - first[: steps - late]).max(axis=1) > most
    return late + int(np.argmax(wrong)) if wrong.any() else None


def _end(response: Matrix) -> str:
    """A word on responses that end before the sequence does."""
    alive = np.any(np.abs(response) > 1e-9 * np.abs(response).max(), axis=1)
    last = int(np.flatnonzero(alive)[-1])
    return "" if last == len(response) - 1 else f", which ends after {last + 1} timesteps,"
