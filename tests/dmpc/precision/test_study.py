"""What quantization costs, and the cheapest widths: on networks small enough to see through."""

from dataclasses import replace

import numpy as np
import pytest

from dmpc import Options
from dmpc.errors import CompileError
from dmpc.ir.interpret import interpret
from dmpc.passes.quantization.widths import STORED, Widths, width_plan
from dmpc.passes.quantize import Quantize
from dmpc.precision import yardstick
from dmpc.precision.impulse import impulses
from dmpc.precision.losses import READOUT, sources
from dmpc.precision.search import memory_bits, stored
from dmpc.precision.study import Study
from isa.target import load_target
from tests.networks import Layer, Shape, network, samples

TARGET = load_target("paper")
SHAPE = Shape(
    inputs=20,
    layers=(Layer(16, states=5, hard=False), Layer(12, states=4, dilation=2)),
    samples=40,
    steps=20,
    seed=3,
)


@pytest.fixture(scope="module")
def study():
    graph = network(SHAPE)
    x = samples(SHAPE)
    y = interpret(graph, x.astype(np.float64)).logits.argmax(1)
    return Study.of(graph, x, y, Options())


@pytest.fixture(scope="module")
def losses(study):
    return {(loss.source.layer, loss.source.tensor): loss for loss in study.losses()}


def test_every_constant_that_is_rounded_belongs_to_one_source(study):
    names = [name for source in sources(study.layers, True) for name in source.constants]
    assert len(names) == len(set(names))
    assert set(study.quantized.meant) == set(names)


def test_the_float_network_with_everything_rounded_is_nearly_the_integer_network(study):
    """The decomposition adds up: `meant` and `steps` are what the integers stand for."""
    nearest = Quantize(TARGET, replace(study.ranges, moments={}), study.plan)
    made = nearest.quantized(study.layers)
    graph = study.layers.copy()
    graph.constants |= made.meant
    floats = study.yardstick.floats.traces
    steps = {name: made.steps[name] for s in sources(graph, True) for name in s.values}
    x = study.yardstick.x
    found = interpret(graph, x * 1.0, trace=list(floats), fed=floats, rounded=steps).traces
    exact = interpret(made.graph, x.astype(np.int64), trace=list(floats), fed=floats).traces
    for name, spikes in floats.items():
        wrong = (exact[name] != spikes).sum()
        assert (found[name] != exact[name]).sum() <= 0.3 * wrong + 3


def test_a_bit_less_costs_and_a_bit_more_buys(losses):
    for layer in ("layer1", "layer2"):
        parts = [loss for key, loss in losses.items() if key[0] == layer]
        less, only, more = (sum(getattr(p, n) for p in parts) for n in ("less", "only", "more"))
        assert less > only > more
    assert all(loss.only == 0 for key, loss in losses.items() if key[1] == "threshold")


def test_without_the_largest_loss_the_layer_loses_less(losses):
    parts = [loss for key, loss in losses.items() if key[0] == "layer1"]
    largest = max(parts, key=lambda loss: loss.only)
    smallest = min(parts, key=lambda loss: loss.only)
    assert largest.without < smallest.without


def test_the_readout_is_judged_by_predictions(losses):
    assert {key[1] for key in losses if key[0] == READOUT} == {"weights", "bias"}


def test_memory_is_counted_to_the_bit(study):
    parts = {(p.layer, p.width): p.elements for p in stored(study.layers, True)}
    assert parts == {
        ("layer1", "weights"): 320, ("layer1", "slow"): 96, ("layer1", "drive"): 20,
        ("layer1", "update"): 30, ("layer2", "weights"): 192, ("layer2", "slow"): 60,
        ("layer2", "drive"): 16, ("layer2", "update"): 20, ("readout", "weights"): 36,
    }  # fmt: skip
    bits = 8 * (320 + 192 + 36) + 10 * (96 + 60) + 12 * (20 + 16) + 16 * (30 + 20)
    assert memory_bits(study.layers, True, study.plan) == bits == study.bits


def test_the_cheapest_widths_keep_what_was_asked_and_none_is_one_bit_too_many(study):
    found = study.cheapest(5.0)
    assert found.bits < study.bits
    assert found.yardstick.lost(found.quantized.graph) <= 0.05
    assert found.plan.layers == study.cheapest(5.0).plan.layers
    own = Widths.of(TARGET)
    for part in stored(found.layers, True):
        bits = getattr(found.plan[part.layer], part.width)
        assert 2 <= bits <= getattr(own, part.width)
    last = min(stored(found.layers, True), key=lambda p: p.elements)
    bits = getattr(found.plan[last.layer], last.width)
    if bits > 2:  # nothing was narrowed after it
        narrower = found.plan.with_bits(last.layer, **{last.width: bits - 1})
        made = Quantize(TARGET, found.ranges, narrower).run(found.layers)
        assert found.yardstick.lost(made) > 0.05


def test_widths_that_are_too_narrow_to_begin_with(study):
    narrow = replace(study, plan=width_plan(TARGET, 2, {"default": dict.fromkeys(STORED, 2)}))
    with pytest.raises(CompileError, match=r"of 100 answers lose half of their lead at these"):
        narrow.cheapest(0.0)


@pytest.mark.parametrize("legendre", [True, False])
def test_the_machine_follows_the_impulse_response_over_the_window(legendre):
    shape = replace(SHAPE, layers=(Layer(16, states=6, legendre=legendre),))
    study = Study.of(network(shape), samples(shape), None, Options())
    wide, narrow = (
        next(impulses(study.layers, Quantize(TARGET, study.ranges, plan).quantized(study.layers)))
        for plan in (study.plan, width_plan(TARGET, None, {"layer1": {"update": 8}}))
    )
    assert wide.real.shape == wide.machine.shape == wide.rounded.shape
    assert wide.error(wide.machine) < 0.01
    assert wide.error(wide.rounded) < 0.003 < 0.01 < narrow.error(narrow.rounded)
    assert abs(wide.radius - wide.radius_after) < 1e-3


def test_a_graded_input_is_a_source_of_the_slow_width():
    shape = replace(SHAPE, graded=True, layers=(Layer(8, states=3),))
    study = Study.of(network(shape), samples(shape), None, Options())
    found = {(s.layer, s.tensor, s.width) for s in sources(study.layers, events=False)}
    assert ("layer1", "weights", "slow") in found
    assert study.difference(study.yardstick.x[:5], None).accuracy is None
    assert study.calibrated.drop == 100 * study.calibrated.disagreement


def test_samples_of_which_a_part_is_taken_are_not_run(monkeypatch):
    ran = []

    def seen(graph, x, **options):
        ran.append(len(x))
        return interpret(graph, x, **options)

    monkeypatch.setattr(yardstick, "interpret", seen)
    shape = Shape(inputs=3, layers=(Layer(4),), samples=4)
    whole = yardstick.Yardstick(network(shape), samples(shape), None)
    assert len(whole.part(slice(None, None, 2)).answers) == 2
    assert ran == [2]
