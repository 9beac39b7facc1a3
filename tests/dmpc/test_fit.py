"""Fit: what a network wants of a target, what is short, and the smallest target that would do."""

import pytest

from dmpc.compiler import Options, to_layers
from dmpc.fit import fit, memory_bits, shipped, smallest
from dmpc.lowering import sketch
from isa.target import load_target
from tests.networks import Layer, Shape, network

SMALL = to_layers(network(Shape(inputs=6, layers=(Layer(neurons=9, states=3),), seed=1)), Options())
LARGE = to_layers(
    network(Shape(inputs=700, layers=(Layer(neurons=512, states=16),) * 2, seed=1)), Options()
)
PAPER = load_target("paper")


def without(target, **rows):
    """A target without external memory, with other numbers of rows in banks."""
    banks = [
        bank.model_copy(update={"rows": rows.get(bank.name, bank.rows)}) for bank in target.bank
    ]
    return target.model_copy(update={"bank": tuple(banks), "external": None})


def test_a_small_network_fits_every_target_on_the_chip():
    fits = [fit(SMALL, target, Options()) for target in shipped()]
    assert all(one.on_chip for one in fits)
    assert smallest(fits).target.name == "paper"
    rooms = {room.name: room for room in fits[0].rooms}
    assert rooms["neuron"].wanted == 3
    assert rooms["program"].there == 4096
    assert fits[0].grown is None


def test_shipped_targets_come_from_the_smallest_on():
    sizes = [memory_bits(target) for target in shipped()]
    assert sizes == sorted(sizes)


@pytest.mark.parametrize("hard", [True, False])
def test_what_never_leaks_has_a_size_all_the_same(hard):
    """Only a calibration set gives such membranes ranges; how large they are shows without."""
    shape = Shape(6, (Layer(9, states=3, hard=hard), Layer(4, current="now")), leaks=1, seed=1)
    layers = to_layers(network(shape), Options())
    for name, array in layers.constants.items():
        if name.endswith((".beta", ".alpha")):
            array[:] = 1.0
    assert fit(layers, PAPER, Options()).on_chip


def test_what_is_outside_says_with_which_rows_it_would_not_be():
    found = fit(LARGE, PAPER, Options())
    assert found.fits
    assert not found.on_chip
    assert found.grown is not None
    assert fit(LARGE, found.grown, Options()).on_chip
    assert smallest([found, fit(LARGE, load_target("edge"), Options())]).target.name == "edge"


def test_what_fits_nowhere_says_why():
    target = without(PAPER, spike=64, memory_a=64, memory_b=64)
    found = fit(LARGE, target, Options())
    assert not found.fits
    assert "rows" in found.reason
    assert found.scarcest.used > 1
    assert smallest([found]) is None
    with pytest.raises(Exception, match=r"rows"):
        sketch(LARGE, target, Options())
    told = found.to_json()
    assert told["fits"] is False
    assert told["reason"] == found.reason


def test_a_target_that_is_grown_holds_it():
    target = without(PAPER, spike=64, memory_a=64, memory_b=64)
    found = fit(LARGE, target, Options())
    assert found.grown is not None
    assert fit(LARGE, found.grown, Options()).on_chip
    assert all(bank.rows & (bank.rows - 1) == 0 for bank in found.grown.bank)
