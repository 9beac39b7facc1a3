"""Elements that decay, each at its own rate, and are weighted: kernels that are powers of a factor.

So snnTorch writes membranes that nothing resets, as causal convolutions of their whole input.
"""

import numpy as np

from dmpc.frontend.builder import Builder
from dmpc.frontend.taps import SAME, heard
from dmpc.frontend.tensors import Traced
from dmpc.frontend.views import RANDOM, ZERO, View, as_stored
from dmpc.ir.graph import Loc


def decaying(builder: Builder, view: View, loc: Loc) -> Traced | None:
    """The outputs of `i' = alpha i + x`, `y = weight i'`; None for other kernels."""
    taps = heard(view)
    if taps is None or taps.end_before(view.random.shape[1]):
        return None
    offset, features = view.probe(ZERO), view.tensor.features
    response = np.zeros((view.random.shape[1], features, taps.weights.shape[1]))
    response[taps.lags, taps.elements] = taps.weights
    before, after = response[:-1], response[1:]
    power = np.sum(before**2, axis=(0, 2))
    alpha = np.sum(before * after, axis=(0, 2)) / np.where(power == 0, 1, power)
    weight, state = as_stored(response[0]), np.zeros((len(view.random), features))
    expected = np.empty_like(view.probe(RANDOM))
    for step in range(view.random.shape[1]):
        state = alpha * state + view.random[:, step]
        expected[:, step] = state @ weight + offset[0, 0]
    wanted = view.probe(RANDOM)
    if np.abs(wanted - expected).max() > SAME * np.abs(wanted).max():
        return None
    value = builder.decay(view.tensor.value, alpha, loc)
    if not np.array_equal(weight, np.eye(features)):
        value = builder.product(value, weight.T, loc)
    if offset[0, 0].any():
        value = builder.plus(value, offset[0, 0], loc)
    outputs = weight.shape[1]
    return view.traced(value, outputs, np.arange(outputs))
