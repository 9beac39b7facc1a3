"""Tensors whose elements are each one element of a sequence, late, or times a number.

Whatever the operators that made such a tensor (gathers, shifts, padding, a convolution with one
tap, a product with a shifted identity, a transform), run on numbers and on the same numbers times a
code of their own each, they give numbers whose quotient is the code of the element that it is.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dmpc.frontend.builder import Builder
from dmpc.frontend.tensors import Index, Mixed, Traced
from dmpc.frontend.views import CODED, RANDOM, ZERO, View, as_stored, stimuli
from dmpc.ir.graph import Array, Loc

NOTHING = -1
DUST = 1e-9  # of the largest element: rounding of what is zero
CERTAIN = 1e-2  # of the distance of two codes


@dataclass(frozen=True)
class Picked:
    """Each element is element `sources` of the sequence's value times `gains`, or NOTHING."""

    sources: Index
    gains: Array

    @property
    def whole(self) -> bool:
        """Whether every element is there as it is."""
        return bool(np.all(self.sources != NOTHING) and np.all(self.gains == 1))

    def arranged(self, view: View) -> "Picked":
        """As [samples, timesteps, outputs]."""
        return Picked(view.arranged(self.sources), view.arranged(self.gains))


def picked(tensor: Mixed) -> Picked | None:
    """The element of the sequence that each element is; None if some are sums of several."""
    size = tensor.domain.size * tensor.features
    if tensor.probes[ZERO].any() or size < 2:
        return None
    random, wanted = stimuli(size)[RANDOM], tensor.probes[RANDOM]
    dust = DUST * float(np.abs(wanted).max(initial=0.0))
    # A few elements from everywhere mostly show at once that there is nothing to find.
    few = slice(None, None, max(1, wanted.size // 64))
    flat = [tensor.probes[number].reshape(-1) for number in (RANDOM, CODED)]
    if _found(random, flat[0][few], flat[1][few], dust) is None:
        return None
    return _found(random, wanted, tensor.probes[CODED], dust)


def _found(random: Array, wanted: Array, coded: Array, dust: float) -> Picked | None:
    size = len(random)
    there = np.abs(wanted) > dust
    if np.any(np.abs(coded[~there]) > 2 * dust):
        return None
    places = np.divide(coded, wanted, out=np.ones_like(coded), where=there) * size - size
    sources = np.rint(places)
    if np.any(np.abs(places - sources) > CERTAIN) or np.any((sources < 0) | (sources >= size)):
        return None
    sources = np.where(there, sources, NOTHING).astype(np.int64)
    return Picked(sources, as_stored(np.where(there, wanted / random[sources], 1.0)))


def late(builder: Builder, view: View, found: Picked, loc: Loc) -> Traced | None:
    """Elements of earlier timesteps: each some timesteps late, or held for some."""
    return _delayed(builder, view, found, loc) or _held(builder, view, found, loc)


def _delayed(builder: Builder, view: View, found: Picked, loc: Loc) -> Traced | None:
    """Each element as it was its own number of timesteps before, and zero before the first."""
    features = view.tensor.features
    last, gains = found.sources[0, -1], found.gains[0, -1]
    if np.any(last == NOTHING) or (features == 1 and np.any(gains != 1)):
        return None  # of a scalar, a response of one timestep is a slow state that forgets
    lags, elements = _lags(view, last)
    expected, there = expectation(view, lags, elements)
    if not np.array_equal(found.sources, expected):
        return None
    if not np.allclose(found.gains, np.where(there, gains, 1.0), rtol=1e-9):
        return None
    outputs = np.arange(len(lags))
    value = builder.delayed(view.tensor.value, lags, elements, loc)
    if np.any(gains != 1):
        value = builder.times(value, gains, loc)
    return view.traced(value, len(outputs), outputs)


def _lags(view: View, last: Index) -> tuple[Index, Index]:
    """How late each output is, and which element, by what it is at the last timestep."""
    features, steps = view.tensor.features, view.positions.shape[1]
    at = np.argmax(view.positions[0] == (last // features)[:, None], axis=1)
    return steps - 1 - at, last % features


def expectation(view: View, lags: Index, elements: Index) -> tuple[Index, NDArray[np.bool_]]:
    """The sources of elements that are late [samples, timesteps, outputs]; where they are any."""
    features, steps = view.tensor.features, view.positions.shape[1]
    source = np.arange(steps)[:, None] - lags
    there = source >= 0
    expected = view.positions[:, source.clip(0)] * features + elements
    return np.where(there, expected, NOTHING), there


def contradiction(view: View, found: Picked) -> str:
    """Why elements are no delays, empty if they are."""
    features, (samples, steps) = view.tensor.features, view.positions.shape
    place = np.full(view.tensor.domain.size, NOTHING)
    place[view.positions] = np.arange(steps)
    at = np.where(found.sources == NOTHING, NOTHING, place[found.sources // features])[samples - 1]
    now = np.arange(steps)[:, None]
    early = np.argwhere(at > now)
    if len(early):
        step, output = map(int, early[0])
        there = f"that of timestep {at[step, output]}, which is still to come"
        return f"element {output} at timestep {step} is {there}"
    lags = (now - at)[-1]
    wrong = np.argwhere(at != np.maximum(now - lags, NOTHING))
    if not len(wrong) or np.any(at[-1] == NOTHING):
        return ""
    step, output = map(int, wrong[0])
    there = "zero" if at[step, output] == NOTHING else f"that of timestep {at[step, output]}"
    end = f"but comes {lags[output]} timesteps late at the end"
    return f"element {output} at timestep {step} is {there}, {end}"


def _held(builder: Builder, view: View, found: Picked, loc: Loc) -> Traced | None:
    """Elements of the last timestep whose number a period divides."""
    features, steps = view.tensor.features, view.positions.shape[1]
    first, elements = found.sources[0], found.sources[0, 0] % features
    period = int(np.argmax(np.append(np.any(first != first[0], axis=1), True)))
    held = np.arange(steps) // period * period
    expected = view.positions[:, held, None] * features + elements
    if period >= steps or not np.array_equal(found.sources, expected) or np.any(found.gains != 1):
        return None
    return view.traced(builder.held(view.tensor.value, period, loc), features, elements)
