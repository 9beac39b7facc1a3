"""Products of integers are exact, whatever type they are computed in."""

import numpy as np
import pytest

from dmpc.ir.exact import Products


@pytest.mark.parametrize("bits", [1, 7, 11, 12, 14, 15, 25, 26, 29])
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
        found = Products()(x * sign, weights.T)
        assert found.dtype == np.int64
        assert found.tolist() == wanted


def test_products_of_truth_values_and_of_nothing():
    rng = np.random.default_rng(3)
    weights = rng.integers(-(2**40), 2**40, (5, 3))
    spikes = rng.random((4, 5)) < 0.5
    assert (Products()(spikes, weights.T) == spikes.astype(np.int64) @ weights).all()
    assert (
        Products()(np.zeros((2, 0), np.int64), np.zeros((3, 0), np.int64)).tolist() == [[0] * 3] * 2
    )


def test_one_row_of_weights_and_the_same_again():
    product, weight = Products(), np.array([1 << 30, -3, 5])
    for scale in (1, 1 << 20, 1):
        x = np.array([[1, 2, 3], [0, 0, 1]]) * scale
        assert product(x, weight).tolist() == [[((1 << 30) + 9) * scale], [5 * scale]]
