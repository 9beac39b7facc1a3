"""What a tensor that mixes timesteps turns out to be: moved elements, a delay, a mean, a state.

Nothing is matched by its spelling. The operators that mixed timesteps have been run on known inputs
(`stimuli`); if what came out is what a shift, a mean or a recurrence makes of the same inputs, then
that is what they compute, be they transforms, convolutions or products with Toeplitz matrices: two
affine maps that agree on zero and on random numbers are the same map.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from dmpc.frontend.builder import Builder
from dmpc.frontend.realise import TOLERANCE, System, realise
from dmpc.frontend.tensors import Index, Mixed, Traced, even, plain
from dmpc.ir.graph import Array, Loc
from dmpc.legendre import Matrix

SAME = 1e-5  # of the largest element; transforms of kernels are stored in float32
ZERO, IMPULSE, RANDOM = range(3)


def stimuli(size: int) -> tuple[Array, ...]:
    """Inputs [size] that mixing operators are run on: zeros, a single 1 in front, random numbers.

    `size` is the number of positions times the features of each.
    """
    impulse = np.zeros(size)
    impulse[0] = 1.0
    return np.zeros(size), impulse, np.random.default_rng(size).standard_normal(size)


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


@dataclass(frozen=True)
class View:
    """A mixed tensor as [samples, timesteps, outputs], one of the ways to see it as a sequence.

    `time` is the number of the domain's axis that is time; `sample` and `step` are axes of the
    tensor, `sample` None where there is one sample and no axis for it.
    """

    tensor: Mixed
    time: int
    sample: int | None
    step: int

    @property
    def front(self) -> tuple[int, ...]:
        """Axes of the tensor that are moved to the front."""
        return (self.step,) if self.sample is None else (self.sample, self.step)

    @cached_property
    def positions(self) -> Index:
        """Position of each sample and timestep."""
        domain = self.tensor.domain
        numbers = np.arange(domain.size).reshape(domain.sizes)
        return np.moveaxis(numbers, self.time, -1).reshape(-1, domain.sizes[self.time])

    @cached_property
    def random(self) -> Array:
        """The random stimulus [samples, timesteps, features]."""
        size = self.tensor.domain.size
        stimulus = stimuli(size * self.tensor.features)[RANDOM]
        return stimulus.reshape(size, -1)[self.positions]

    def arranged(self, array: Array) -> Array:
        """An array of the tensor's shape as [samples, timesteps, outputs]."""
        moved = np.moveaxis(array, self.front, range(len(self.front)))
        return moved.reshape(*self.positions.shape, -1)

    def probe(self, number: int) -> Array:
        """What the tensor is for a stimulus."""
        return self.arranged(self.tensor.probes[number])

    def traced(self, value: str, features: int, elements: Index) -> Traced:
        """The tensor whose k-th output is element `elements[k]` of `value`, at its own timestep."""
        index = self.positions[:, :, None] * features + elements
        shape = self.tensor.shape
        rest = [size for axis, size in enumerate(shape) if axis not in self.front]
        moved = index.reshape(*(shape[axis] for axis in self.front), *rest)
        moved = np.moveaxis(moved, range(len(self.front)), self.front)
        return Traced(value, features, moved, self.tensor.domain)


def views(tensor: Mixed) -> Iterator[View]:
    """Ways to see a tensor as a sequence."""
    domain, shape = tensor.domain, tensor.shape
    numbers = range(len(domain.sizes)) if domain.time is None else (domain.time,)
    for time in numbers:
        steps = domain.sizes[time]
        samples = domain.size // steps
        for step in (axis for axis, size in enumerate(shape) if 1 < size == steps):
            batch = [axis for axis, size in enumerate(shape) if size == samples and axis != step]
            yield from (View(tensor, time, axis, step) for axis in batch)
            if samples == 1:
                yield View(tensor, time, None, step)


def settle(builder: Builder, systems: Systems, tensor: Mixed, loc: Loc) -> Traced | Mixed:
    """The tensor traced element by element, if what it computes is understood by now.

    Adds states and ops to the graph as needed; the axis of time is then known.
    """
    sources = _sources(tensor)
    moved = None
    if sources is not None and np.all(sources >= 0):
        moved = Traced(tensor.value, tensor.features, sources, tensor.domain)
        if plain(moved):
            return moved
    for view in views(tensor):
        found = None if sources is None else _late(builder, view, view.arranged(sources), loc)
        if found is None and tensor.features == 1:
            found = _filtered(builder, systems, view, loc)
        if found is not None:
            tensor.domain.time = view.time
            return found
    if moved is not None and even(moved):
        return moved
    return _averaged(tensor) or tensor


def _same(a: Array, b: Array, scale: float) -> bool:
    return bool(np.abs(a - b).max(initial=0.0) <= SAME * scale)


# -- moved elements, delays ------------------------------------------------------------------------


def _sources(tensor: Mixed) -> Index | None:
    """The element of the stimulus that each element is, -1 for zero; None if some are neither."""
    random = stimuli(tensor.domain.size * tensor.features)[RANDOM]
    if tensor.probes[ZERO].any() or len(random) < 2:
        return None
    wanted = tensor.probes[RANDOM]
    few = _found(random, _few(wanted))  # which mostly shows at once that there is nothing to find
    return None if few is None else _found(random, wanted)


def _found(random: Array, wanted: Array) -> Index | None:
    order = np.argsort(random)
    values = random[order]
    at = np.clip(np.searchsorted(values, wanted), 1, len(values) - 1)
    at = at - (wanted - values[at - 1] < values[at] - wanted)
    zero = wanted == 0
    if not np.all(zero | (np.abs(values[at] - wanted) <= 1e-12)):
        return None
    return np.asarray(np.where(zero, -1, order[at]), np.int64)


def _few(array: Array) -> Array:
    """Elements from everywhere in an array."""
    flat = array.reshape(-1)
    return np.asarray(flat[:: max(1, flat.size // 64)])


def _late(builder: Builder, view: View, sources: Index, loc: Loc) -> Traced | None:
    """Elements of earlier timesteps: each some timesteps late, or held for some."""
    return _delayed(builder, view, sources, loc) or _held(builder, view, sources, loc)


def _delayed(builder: Builder, view: View, sources: Index, loc: Loc) -> Traced | None:
    """Each element as it was its own number of timesteps before, and zero before the first."""
    features, steps = view.tensor.features, view.positions.shape[1]
    last = sources[0, -1]
    if np.any(last < 0):
        return None
    at = np.argmax(view.positions[0] == (last // features)[:, None], axis=1)
    lags, elements = steps - 1 - at, last % features
    source = np.arange(steps)[:, None] - lags
    expected = view.positions[:, source.clip(0)] * features + elements
    if not np.array_equal(sources, np.where(source >= 0, expected, -1)):
        return None
    past = [view.tensor.value]
    while len(past) <= lags.max():
        past.append(builder.previous(past[-1], loc))
    wanted = np.unique(lags)
    value = past[wanted[0]]
    if len(wanted) > 1:
        parts = [past[lag] for lag in wanted]
        value = builder.emit("concat", parts, {}, f"{past[0]}.delayed", loc)
    chosen = np.searchsorted(wanted, lags) * features + elements
    return view.traced(value, features * len(wanted), chosen)


def _held(builder: Builder, view: View, sources: Index, loc: Loc) -> Traced | None:
    """Elements of the last timestep whose number a period divides."""
    features, steps = view.tensor.features, view.positions.shape[1]
    first, elements = sources[0], sources[0, 0] % features
    period = int(np.argmax(np.append(np.any(first != first[0], axis=1), True)))
    held = np.arange(steps) // period * period
    expected = view.positions[:, held, None] * features + elements
    if period >= steps or not np.array_equal(sources, expected):
        return None
    return view.traced(builder.held(view.tensor.value, period, loc), features, elements)


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
