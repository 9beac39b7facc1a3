"""Rounding: errors make up for each other, and nothing else changes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmpc.ir.interpret import interpret
from dmpc.passes.calibration import calibrate
from dmpc.passes.quantization.neurons import _mean_leak_error
from dmpc.passes.quantization.rounding import (
    BLOCK,
    ROWS,
    _inverse_root,
    _one_by_one,
    compensated,
    to_nearest,
)
from dmpc.passes.quantization.widths import Widths, width_plan
from dmpc.passes.quantize import Quantize
from isa.arithmetic import leak
from isa.parameters import KEPT, LEAK_BITS
from isa.target import load_target
from tests.networks import Layer, Shape, network, samples

TARGET = load_target("paper")
seeds = st.integers(0, 2**32 - 1)


def drawn(seed, neurons=6, inputs=9, seen=40):
    """Weights with zeros, steps of several sizes, moments of correlated inputs, some silent."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(seen, 3)) @ random.normal(size=(3, inputs)) + random.normal(size=inputs)
    x *= random.random(inputs) < 0.8
    real = random.normal(size=(neurons, inputs)) * (random.random((neurons, inputs)) < 0.7)
    step = np.abs(real).max() / 7 * 2.0 ** -random.integers(0, 4, (1, inputs)) * np.ones_like(real)
    limit = random.integers(3, 8, inputs).astype(float)
    return real, step, limit, x.T @ x / seen


def cost(error, moments):
    return np.einsum("ni,ij,nj->n", error, moments, error)


@settings(deadline=None)
@given(seeds)
def test_no_sum_is_further_off_than_with_rounding_to_nearest(seed):
    real, step, limit, moments = drawn(seed)
    made = compensated(real, step, limit, moments, np.ones(len(limit), np.bool_))
    near = to_nearest(real, step, limit)
    mine, plain = cost(real - made * step, moments), cost(real - near * step, moments)
    assert (mine <= plain * (1 + 1e-9)).all()
    assert (np.abs(made) <= limit).all()
    assert (made[real == 0] == 0).all()


def test_correlated_inputs_more_than_halve_the_squared_error():
    both = []
    for seed in range(20):
        real, step, _, moments = drawn(seed)
        limit = np.full(real.shape[1], 127.0)
        made = compensated(real, step, limit, moments, np.ones(len(limit), np.bool_))
        errors = (real - made * step, real - to_nearest(real, step, limit) * step)
        both.append([cost(error, moments).mean() for error in errors])
    mine, plain = np.mean(both, axis=0)
    assert mine < plain / 2


@given(seeds)
def test_inputs_that_tell_nothing_of_each_other_leave_rounding_to_nearest(seed):
    real, step, limit, moments = drawn(seed)
    alone = np.diag(np.diag(moments))
    made = compensated(real, step, limit, alone, np.ones(len(limit), np.bool_))
    np.testing.assert_array_equal(made, to_nearest(real, step, limit))


@given(seeds)
def test_whole_steps_stay(seed):
    real, step, limit, moments = drawn(seed)
    whole = to_nearest(real, step, limit)
    made = compensated(whole * step, step, limit, moments, np.ones(len(limit), np.bool_))
    np.testing.assert_array_equal(made, whole)


@pytest.mark.parametrize("inputs", [1, BLOCK, 2 * BLOCK + 5])
def test_blocks_give_what_column_after_column_gives(inputs):
    real, step, limit, _ = drawn(inputs, neurons=3, inputs=inputs)
    silent = real == 0
    random = np.random.default_rng(inputs)
    upper = np.triu(random.normal(0, 0.1, (inputs, inputs)), 1) + np.eye(inputs)
    left, expected = real.copy(), np.zeros(real.shape, np.int64)
    for j in range(inputs):
        for n in range(len(real)):
            whole = round(left[n, j] / step[n, j])
            expected[n, j] = 0 if silent[n, j] else min(max(whole, -limit[j]), limit[j])
            left[n] -= (left[n, j] - expected[n, j] * step[n, j]) / upper[j, j] * upper[j]
    np.testing.assert_array_equal(_one_by_one(real, step, limit, silent, upper), expected)


@pytest.mark.parametrize("inputs", [1, 5, 2 * BLOCK + 5])
def test_the_root_of_an_inverse_is_upper_triangular(inputs):
    x = np.random.default_rng(inputs).normal(size=(3 * inputs, inputs))
    correlation = x.T @ x / len(x)
    upper = _inverse_root(damped := correlation.copy())
    assert (np.diag(damped) > np.diag(correlation)).all()  # in place
    assert (np.tril(upper, -1) == 0).all()
    np.testing.assert_allclose(upper.T @ upper @ damped, np.eye(inputs), atol=1e-9)


def test_each_neuron_is_rounded_for_itself():
    real, step, limit, moments = drawn(1, neurons=ROWS + 3)
    step[:] = step[0]  # the order of columns is everybody's
    kept = np.ones(len(limit), np.bool_)
    made = compensated(real, step, limit, moments, kept)
    for rows in (slice(0, 5), slice(ROWS - 1, ROWS + 2)):
        mine = compensated(real[rows], step[rows], limit, moments, kept)
        np.testing.assert_array_equal(mine, made[rows])


def test_a_bias_of_zero_may_correct_what_weights_of_zero_may_not():
    moments = np.array([[1.0, 1.0], [1.0, 1.0]])  # an input that is always 1, and the constant
    real, step = np.array([[0.4, 0.0]]), np.array([[1.0, 0.1]])
    limit = np.array([7.0, 100.0])
    assert compensated(real, step, limit, moments, np.array([True, False])).tolist() == [[0, 4]]
    assert compensated(real, step, limit, moments, np.array([True, True])).tolist() == [[0, 0]]


@pytest.mark.parametrize("beta", [0.0, 0.25, 0.5, 0.75, 200 / 256, 1.0])
def test_the_mean_error_of_a_leak_is_what_its_rounding_gives(beta):
    u = np.arange(-(2**15), 2**15)
    kept = np.array(int(beta * KEPT))
    error = np.mean(leak(u, kept, LEAK_BITS) - u * beta)
    assert _mean_leak_error(kept) == pytest.approx(error, abs=1e-3)


SHAPE = Shape(
    inputs=12,
    layers=(Layer(neurons=9, states=5, flavour="sparse"), Layer(neurons=7, flavour="sparse")),
    samples=20,
    steps=15,
    seed=4,
)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("measured", [True, False])
def test_pruned_weights_stay_pruned(bits, measured):
    graph = network(SHAPE)
    for name in ("layer1.slow.weight", "readout.weight"):
        graph.constants[name][::2] = 0
    ranges = calibrate(graph, samples(SHAPE), samples=20, margin=1.25) if measured else None
    made = Quantize(TARGET, ranges, width_plan(TARGET, bits)).run(graph)
    pruned = 0
    for op in (op for op in graph.ops if op.kind in ("dense", "drive")):
        zero = graph.constants[op.operands[1]] == 0
        assert (made.constants[op.operands[1]][zero] == 0).all(), op.operands[1]
        pruned += zero.sum()
    assert pruned > 100


def test_calibration_brings_every_layer_nearer_to_the_float_network():
    """The same scales, rounded to nearest and compensated; each layer fed with float spikes."""
    shape = Shape(40, tuple(Layer(40, states=8) for _ in range(2)), samples=60, steps=30, seed=2)
    graph, x = network(shape), samples(shape)
    names = ["layer1.spikes", "layer2.spikes"]
    ranges = calibrate(graph, x[:40], samples=40, margin=1.25)
    floats = interpret(graph, x[40:].astype(np.float64), trace=names).traces
    wrong = []
    for kept in (ranges.moments, {}):
        ranges.moments = kept
        made = Quantize(TARGET, ranges, width_plan(TARGET, 5)).run(graph)
        found = interpret(made, x[40:].astype(np.int64), trace=names, fed=floats).traces
        wrong.append(np.array([(found[n] != floats[n]).sum() for n in names]))
    compensating, nearest = wrong
    assert (compensating < 0.9 * nearest).all()
    assert Widths.of(TARGET).weights == 8
