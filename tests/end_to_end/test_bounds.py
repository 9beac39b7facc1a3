"""Cycles of layers and of a whole network stay within what the targets promise."""

import numpy as np
import pytest

import dmpc
from benchmarks.layer_cycles import bound, steady_cycles
from benchmarks.network_cycles import BOUNDS, EXAMPLE, events
from benchmarks.rtl import layer_cycles, network_cycles
from runtime.program import Program
from runtime.samples import load_samples


@pytest.mark.parametrize("target", ["paper", "pooled"])
@pytest.mark.parametrize(("neurons", "states"), [(64, 5), (64, 40), (256, 10)])
@pytest.mark.parametrize("active", [0, 8, 64])
def test_a_steady_timestep_of_a_layer(target, neurons, states, active):
    cycles = steady_cycles(target, neurons, states, active)
    assert cycles <= bound(target, neurons // 4, states, active)
    if target == "paper":  # no machine with these lanes and ports can do better
        assert cycles >= 0.99 * (neurons // 4) * max(active, states, 2)


@pytest.mark.parametrize(("target", "share"), BOUNDS.items())
def test_the_spoken_digits_beside_the_published_rtl(target, share):
    calibration, x = (load_samples(EXAMPLE / f"{name}.npz").x for name in ("train", "test"))
    x = x[::25]
    options = dmpc.Options(target=target)
    compiled = dmpc.compile(EXAMPLE / "model.onnx", calibration=calibration, options=options)
    rtl = network_cycles(events(compiled, x), [128, 128], 10).sum()
    assert Program(compiled.image, target).run(x).cycles.sum() <= share * rtl


@pytest.mark.parametrize(
    ("active", "neurons", "states", "cycles"),
    [(8, 128, 8, 391), (32, 128, 8, 1127), (7, 128, 10, 455), (15, 128, 10, 583)],
)
def test_the_rtl_formula_gives_the_published_examples(active, neurons, states, cycles):
    assert layer_cycles(np.array(active), neurons, states) == cycles
