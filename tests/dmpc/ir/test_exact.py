"""Products of integers are exact, whatever type they are computed in."""

import numpy as np
import pytest

from dmpc.ir.exact import product


@pytest.mark.parametrize("bits", [1, 7, 11, 12, 25, 26, 29])
def test_products_are_exact_at_every_size(bits):
    """Beyond 2**24 float32 loses units, beyond 2**53 float64 does: all parts have one sign here."""
    rng, most = np.random.default_rng(bits), (1 << bits) - 1
    x = rng.integers(most - most // 2, most, (3, 9), endpoint=True)
    weights = rng.integers(most - most // 2, most, (9, 4), endpoint=True)
    for sign in (1, -1):
        wanted = [
            [sum(int(a) * int(b) for a, b in zip(r, c, strict=True)) for c in weights.T]
            for r in x * sign
        ]
        found = product(x * sign, weights)
        assert found.dtype == np.int64
        assert found.tolist() == wanted


def test_products_of_truth_values_and_of_nothing():
    rng = np.random.default_rng(3)
    weights = rng.integers(-(2**40), 2**40, (5, 3))
    spikes = rng.random((4, 5)) < 0.5
    assert (product(spikes, weights) == spikes.astype(np.int64) @ weights).all()
    assert product(np.zeros((2, 0), np.int64), np.zeros((0, 3), np.int64)).tolist() == [[0] * 3] * 2
