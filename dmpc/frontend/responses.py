"""What a tensor that mixes timesteps turns out to be: moved elements, a delay, a mean, a state.

Nothing is matched by its spelling. The operators that mixed timesteps have been run on known inputs
(`stimuli`); if what came out is what a shift, a mean or a recurrence makes of the same inputs, then
that is what they compute, be they transforms, convolutions or products with Toeplitz matrices: two
affine maps that agree on zero and on random numbers are the same map.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from dmpc.frontend.builder import Builder
from dmpc.frontend.decays import decaying
from dmpc.frontend.delays import contradiction, late, picked
from dmpc.frontend.realise import TOLERANCE, System, realise
from dmpc.frontend.taps import SAME, weighted
from dmpc.frontend.tensors import Index, Mixed, Traced, even, plain
from dmpc.frontend.views import IMPULSE, RANDOM, ZERO, View, views
from dmpc.ir.graph import Array, Loc
from dmpc.legendre import Matrix


@dataclass
class Systems:
    """Responses that were realised before, so that equal ones become equal states."""

    known: list[tuple[Matrix, System]] = field(default_factory=list)

    def realise(self, response: Matrix) -> System:
        """A system with this impulse response [timesteps, outputs]; see `realise`."""
        scale = np.abs(response).max()
        for other, system in self.known:
            if other.shape == response.shape and np.abs(other - response).max() <= 1e-9 * scale:
                return system
        self.known.append((response, realise(response)))
        return self.known[-1][1]


def settle(builder: Builder, systems: Systems, tensor: Mixed, loc: Loc) -> Traced | Mixed:
    """The tensor traced element by element, if what it computes is understood by now.

    Adds states and ops to the graph as needed; the axis of time is then known.
    """
    elements, moved = picked(tensor), None
    if elements is not None and elements.whole:
        moved = Traced(tensor.value, tensor.features, elements.sources, tensor.domain)
        if plain(moved):
            return moved
    for view in views(tensor):
        found = None
        if elements is not None:
            found = late(builder, view, elements.arranged(view), loc)
        if found is None and tensor.features == 1:
            found = _filtered(builder, systems, view, loc)
        if found is None and (tensor.features > 1 or tensor.value in builder.graph.inputs):
            found = weighted(builder, view, loc) or decaying(builder, view, loc)
        if found is not None:
            tensor.domain.time = view.time
            return found
    if moved is not None and even(moved):
        return moved
    averaged = _averaged(tensor)
    if averaged is not None or elements is None:
        return averaged or tensor
    odd = (contradiction(view, elements.arranged(view)) for view in views(tensor))
    return replace(tensor, odd=next(filter(None, odd), ""))


def _same(a: Array, b: Array, scale: float) -> bool:
    return bool(np.abs(a - b).max(initial=0.0) <= SAME * scale)


# -- a mean or sum over time -----------------------------------------------------------------------


def _averaged(tensor: Mixed) -> Traced | None:
    """The mean or the sum over all timesteps, of every element."""
    domain = tensor.domain
    for time in range(len(domain.sizes)) if domain.time is None else (domain.time,):
        steps = domain.sizes[time]
        if steps < 2 or tensor.probes[ZERO].any():
            continue
        view = View(tensor, time, None, 0)
        means = view.random.mean(axis=1)
        index = view.positions[:, :1] * tensor.features + np.arange(tensor.features)
        for kind, values in (("mean", means), ("sum", steps * means)):
            wanted = tensor.probes[RANDOM]
            if _nearest(values.reshape(-1), _few(wanted)) is None:
                continue
            found = _nearest(values.reshape(-1), wanted)
            if found is not None:
                domain.time = time
                moved = index.reshape(-1)[found]
                return Traced(tensor.value, tensor.features, moved, domain, kind)
    return None


def _few(array: Array) -> Array:
    """Elements from everywhere in an array."""
    flat = array.reshape(-1)
    return np.asarray(flat[:: max(1, flat.size // 64)])


def _nearest(values: Array, wanted: Array) -> Index | None:
    """Which of some values each element is; None if one is none of them, or could be two."""
    order = np.argsort(values)
    ranked = np.concatenate([[-np.inf], values[order], [np.inf]])
    at = np.searchsorted(ranked, wanted)
    at = at - (wanted - ranked[at - 1] < ranked[at] - wanted)
    error = np.abs(ranked[at] - wanted)
    others = np.minimum(np.abs(ranked[at - 1] - wanted), np.abs(ranked[at + 1] - wanted))
    scale = float(np.abs(values).max())
    if np.any(error > 1e-6 * scale) or np.any(others < 10 * error):
        return None
    return np.asarray(order[at - 1], np.int64)


# -- slow states -----------------------------------------------------------------------------------


def misses(view: View) -> tuple[Matrix, int | None]:
    """The impulse response [timesteps, outputs], and the first timestep that contradicts it."""
    offset = view.probe(ZERO)
    response = (view.probe(IMPULSE) - offset)[0]
    steps = len(response)
    spectrum = np.fft.rfft(view.random, 2 * steps, axis=1) * np.fft.rfft(response, 2 * steps, 0)
    expected = np.fft.irfft(spectrum, 2 * steps, axis=1)[:, :steps]
    found = view.probe(RANDOM) - offset
    wrong = np.abs(found - expected).max(axis=(0, 2)) > SAME * np.abs(found).max()
    steady = _same(offset, offset[:1, :1], float(np.abs(found).max()))
    if steady and not wrong.any():
        return response, None
    return response, int(np.argmax(wrong))


def _filtered(builder: Builder, systems: Systems, view: View, loc: Loc) -> Traced | None:
    """The outputs of a recurrence driven by the value, which is a scalar."""
    response, missed = misses(view)
    if missed is not None or not response.any():
        return None
    lag = int(np.argmax(np.any(np.abs(response) > SAME * np.abs(response).max(), axis=1)))
    system = systems.realise(response[lag:])
    if system.error > TOLERANCE:
        return None
    value = builder.recurrence(view.tensor.value, system.a, system.b, loc)
    for _ in range(lag):
        value = builder.previous(value, loc)
    if system.c is not None:
        value = builder.product(value, system.c, loc)
    offset = view.probe(ZERO)[0, 0]
    if offset.any():
        value = builder.plus(value, offset, loc)
    outputs = response.shape[1]
    return view.traced(value, outputs, np.arange(outputs))
