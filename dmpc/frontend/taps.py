"""Weighted sums of elements that are each late by their own time: a kernel of one tap an input."""

import numpy as np

from dmpc.frontend.builder import Builder
from dmpc.frontend.tensors import Traced
from dmpc.frontend.views import RANDOM, ZERO, View, as_stored
from dmpc.ir.graph import Array, Loc
from dmpc.legendre import Matrix

SAME = 1e-5  # of the largest element; transforms of kernels are stored in float32
DUST = 1e-9  # of the largest element: rounding of what is zero
MOST = 1 << 24  # numbers of a kernel that is looked at


def weighted(builder: Builder, view: View, loc: Loc) -> Traced | None:
    """The outputs of a linear map of elements that each come their own number of timesteps late.

    A kernel with taps at several times, which is a slow state's or none of the machine's, is None.
    """
    found = _response(view)
    if found is None:
        return None
    lags, matrix = found
    offset = view.probe(ZERO)
    late = np.zeros_like(view.random)
    for lag in np.unique(lags):
        stop = view.random.shape[1] - lag
        late[:, lag:, lags == lag] = view.random[:, :stop, lags == lag]
    wanted, expected = view.probe(RANDOM), late @ matrix + offset[:1, :1]
    if np.abs(wanted - expected).max() > SAME * np.abs(wanted).max():
        return None
    read = np.flatnonzero(matrix.any(axis=1))
    value = builder.delayed(view.tensor.value, lags[read], read, loc)
    value = builder.product(value, matrix[read].T, loc)
    if offset[0, 0].any():
        value = builder.plus(value, offset[0, 0], loc)
    outputs = matrix.shape[1]
    return view.traced(value, outputs, np.arange(outputs))


def _response(view: View) -> tuple[Array, Matrix] | None:
    """How late each element is, and what an event of it adds to each output [elements, outputs]."""
    samples, steps = view.positions.shape
    features, outputs = view.tensor.features, view.probe(ZERO).shape[-1]
    if features * steps * outputs > MOST:
        return None
    offset, scale = view.probe(ZERO), float(np.abs(view.probe(RANDOM)).max())
    lags, matrix = np.zeros(features, np.int64), np.zeros((features, outputs))
    for first in range(0, features, samples):
        elements = np.arange(first, min(first + samples, features))
        stimulus = np.zeros(view.tensor.domain.size * features)
        stimulus[view.positions[: len(elements), 0] * features + elements] = 1.0
        heard = view.arranged(view.tensor.respond(stimulus)) - offset
        times = np.abs(heard[: len(elements)]).max(axis=2) > DUST * scale
        if np.any(times.sum(axis=1) > 1):
            return None
        lags[elements] = times.argmax(axis=1)
        matrix[elements] = heard[np.arange(len(elements)), lags[elements]]
    return lags, as_stored(matrix)
