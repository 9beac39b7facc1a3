"""Weighted sums of elements that are each late by their own times: kernels with some taps."""

from dataclasses import dataclass

import numpy as np

from dmpc.frontend.builder import Builder
from dmpc.frontend.tensors import Index, Traced
from dmpc.frontend.views import RANDOM, ZERO, View, as_stored
from dmpc.ir.graph import Loc
from dmpc.legendre import Matrix

SAME = 1e-5  # of the largest element; transforms of kernels are stored in float32
DUST = 1e-9  # of the largest element: rounding of what is zero
MOST = 1 << 24  # numbers of a kernel that is looked at


@dataclass(frozen=True)
class Taps:
    """What an event adds `lags` timesteps after element `elements`: `weights` [taps, outputs]."""

    lags: Index
    elements: Index
    weights: Matrix

    def end_before(self, steps: int) -> bool:
        """Whether a sequence of so many timesteps shows their end."""
        return len(np.unique(self.lags)) == 1 or bool(np.all(self.lags < steps - 1))


def weighted(builder: Builder, view: View, loc: Loc) -> Traced | None:
    """The outputs of a linear map of elements that each come some numbers of timesteps late.

    None for a kernel that has not ended when the sequence does, as a slow state's.
    """
    taps = heard(view)
    if taps is None or not taps.end_before(view.random.shape[1]):
        return None
    offset = view.probe(ZERO)
    expected = offset[:1, :1].repeat(view.random.shape[1], axis=1).repeat(len(view.random), axis=0)
    for lag in np.unique(taps.lags):
        here, stop = taps.lags == lag, view.random.shape[1] - lag
        expected[:, lag:] += view.random[:, :stop, taps.elements[here]] @ taps.weights[here]
    wanted = view.probe(RANDOM)
    if np.abs(wanted - expected).max() > SAME * np.abs(wanted).max():
        return None
    value = builder.delayed(view.tensor.value, taps.lags, taps.elements, loc)
    value = builder.product(value, taps.weights.T, loc)
    if offset[0, 0].any():
        value = builder.plus(value, offset[0, 0], loc)
    outputs = taps.weights.shape[1]
    return view.traced(value, outputs, np.arange(outputs))


def heard(view: View) -> Taps | None:
    """The taps of what may be a kernel; None for one that is too large to be looked at."""
    samples, steps = view.positions.shape
    features, outputs = view.tensor.features, view.probe(ZERO).shape[-1]
    if features * steps * outputs > MOST:
        return None
    offset, scale = view.probe(ZERO), float(np.abs(view.probe(RANDOM)).max())
    lags, elements = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    weights = [np.zeros((0, outputs))]
    for first in range(0, features, samples):
        chosen = np.arange(first, min(first + samples, features))
        stimulus = np.zeros(view.tensor.domain.size * features)
        stimulus[view.positions[: len(chosen), 0] * features + chosen] = 1.0
        answer = (view.arranged(view.tensor.respond(stimulus)) - offset)[: len(chosen)]
        which, when = np.nonzero(np.abs(answer).max(axis=2) > DUST * scale)
        lags.append(when)
        elements.append(chosen[which])
        weights.append(answer[which, when])
    matrix = as_stored(np.concatenate(weights))
    return Taps(np.concatenate(lags), np.concatenate(elements), matrix)
