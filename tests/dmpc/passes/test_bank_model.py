"""The model of banks that the search for assignments asks."""

import numpy as np
import pytest

from dmpc.passes.bank_model import BankModel
from dmpc.passes.loads import Problem, Product
from isa.target import load_target

TARGET = load_target("paper")


@pytest.mark.parametrize("groups", [32, 1024, 8192])
def test_two_layers_are_quicker_in_two_banks_however_large_they_are(groups):
    products = tuple(
        Product(f"{layer}.fast", layer, (40.0 * groups,), 64, groups, (0, 1, 2), 0, events=True)
        for layer in ("layer1", "layer2")
    )
    rows = {product.name: np.full((1, 5), 40.0 * groups) for product in products}
    model = BankModel(
        Problem(products, TARGET), rows, {"layer1": [], "layer2": [(False, "layer1")]}
    )
    together, apart = (
        tuple(products[n].whole(b, 3) for n, b in enumerate(banks)) for banks in ((0, 0), (0, 1))
    )
    one, two = model.costs([together, apart])
    assert np.isfinite([one, two]).all()
    assert two < one
