"""The choice of scales: exact where it must be, within half a step elsewhere."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmpc.analysis.interval import Interval
from dmpc.passes.scales import (
    MAX_SHIFT,
    MIN_SHIFT,
    balanced_step,
    largest,
    neuron_scale,
    power_of_two_multiple,
    rounded,
    value_scale,
)

WEIGHT_BITS, MEMBRANE_BITS, SUM_BITS = 8, 16, 24
sizes = st.floats(1e-6, 1e6)
seeds = st.integers(0, 2**32 - 1)


def drawn(seed, size, neurons=5, inputs=7):
    """Weights [neurons, inputs], a charge that they can reach, thresholds: all uneven."""
    random = np.random.default_rng(seed)
    weight = random.normal(0, size, (neurons, inputs)) * 10.0 ** random.uniform(-3, 3, (neurons, 1))
    weight *= random.random((neurons, 1)) < 0.8
    reach = np.abs(weight).sum(1) * random.uniform(0.1, 3, neurons)
    return weight, Interval(-reach, reach / 2), random.uniform(-0.2, 1, neurons) * size


def scale_of(weight, charge, threshold, others=(), margin=1.25):
    return neuron_scale(
        [weight], charge, threshold, others,
        margin=margin, weight_bits=WEIGHT_BITS, membrane_bits=MEMBRANE_BITS,
    )  # fmt: skip


@given(seeds, sizes)
def test_event_weights_round_to_within_half_a_step(seed, size):
    weight, charge, threshold = drawn(seed, size)
    scale = scale_of(weight, charge, threshold)
    integers = rounded(weight, scale.weight_step[:, None], WEIGHT_BITS)
    error = np.abs(integers * scale.weight_step[:, None] - weight)
    assert (error <= 0.5000001 * scale.weight_step[:, None]).all()


@given(seeds, sizes)
def test_thresholds_are_exact_or_half_a_step_away_but_never_at_rest(seed, size):
    weight, charge, threshold = drawn(seed, size)
    scale = scale_of(weight, charge, threshold)
    assert (scale.threshold == np.rint(scale.threshold)).all()
    away = np.abs(scale.threshold * scale.step - threshold)
    exact = threshold >= scale.step * (1 - 1e-12)
    np.testing.assert_allclose(away[exact], 0, atol=1e-12 * size)
    lost = (threshold > 0) & (threshold < scale.step)
    assert (away <= np.where(lost, 1.0, 0.5000001) * scale.step).all()
    assert (scale.threshold[threshold > 0] >= 1).all()


@given(seeds, sizes)
def test_the_membrane_holds_its_range_and_a_step_above_the_threshold(seed, size):
    weight, charge, threshold = drawn(seed, size)
    scale = scale_of(weight, charge, threshold)
    assert (charge.magnitude * 1.25 <= scale.step * largest(MEMBRANE_BITS) * (1 + 1e-12)).all()
    assert (scale.threshold + 1 <= largest(MEMBRANE_BITS)).all()


@given(seeds, sizes, st.floats(1, 1e6))
def test_biases_and_resets_that_no_sample_showed_fit_too(seed, size, factor):
    weight, charge, threshold = drawn(seed, size)
    other = charge.high * factor
    scale = scale_of(weight, charge, threshold, [other, -other])
    error = np.abs(rounded(other, scale.step, MEMBRANE_BITS) * scale.step - other)
    assert (error <= 0.5000001 * scale.step).all()


def test_a_row_of_weights_uses_its_full_width_where_the_membrane_allows():
    weight = np.array([[1.0, -0.5], [1e-3, 2e-3]])
    charge = Interval(np.zeros(2), np.array([4.0, 8e-3]))
    scale = scale_of(weight, charge, np.array([1.0, 1e-3]))
    integers = rounded(weight, scale.weight_step[:, None], WEIGHT_BITS)
    assert (np.abs(integers).max(axis=1) > 100).all()


def test_weights_of_zero_leave_a_step_that_serves_the_threshold():
    zero = np.zeros((3, 2))
    scale = scale_of(zero, Interval(np.zeros(3), np.zeros(3)), np.array([1.0, 0.0, -2.0]))
    np.testing.assert_allclose(scale.threshold * scale.step, [1.0, 0.0, -2.0], rtol=1e-4)
    assert (scale.step > 0).all()
    assert np.isfinite(scale.step).all()


@given(seeds, sizes, st.floats(1e-9, 1.0))
def test_value_weights_fit_their_width_and_the_total_its_accumulator(seed, size, value_step):
    weight, charge, threshold = drawn(seed, size)
    neuron = scale_of(weight, charge, threshold)
    matrix, _, _ = drawn(seed + 1, size)
    most = np.abs(matrix).sum(1) * 32767 * value_step
    total = Interval(-most, most)
    scale = value_scale(
        neuron, [(matrix, value_step)], total,
        margin=1.0, weight_bits=WEIGHT_BITS, sum_bits=SUM_BITS,
    )  # fmt: skip
    assert (scale.shift >= MIN_SHIFT).all()
    assert (scale.shift <= MAX_SHIFT).all()
    np.testing.assert_array_equal(scale.step, neuron.step / 2.0**scale.shift)
    free = scale.shift > MIN_SHIFT
    integers = np.abs(matrix) * value_step / scale.step[:, None]
    assert (integers[free] <= largest(WEIGHT_BITS) * (1 + 1e-12)).all()
    assert (total.magnitude <= scale.step * largest(SUM_BITS) * (1 + 1e-12))[free].all()


def test_an_unused_value_path_needs_no_shift():
    neuron = scale_of(np.ones((2, 1)), Interval(np.zeros(2), np.ones(2)), np.ones(2))
    nothing = Interval(np.zeros(2), np.zeros(2))
    scale = value_scale(neuron, [], nothing, margin=1, weight_bits=8, sum_bits=24)
    assert scale.shift.tolist() == [0, 0]


@given(sizes, sizes)
def test_a_power_of_two_multiple_is_the_largest_that_is_not_above(unit, wanted):
    step, shift = power_of_two_multiple(unit, wanted)
    assert step == unit * 2.0**shift
    if MIN_SHIFT < shift < MAX_SHIFT:
        assert step <= wanted * (1 + 1e-12)
        assert wanted < 2 * step * (1 + 1e-12)


@pytest.mark.parametrize(("wanted", "shift"), [(1e-30, MIN_SHIFT), (1e30, MAX_SHIFT)])
def test_a_multiple_out_of_reach_of_the_shifter_stays_at_its_end(wanted, shift):
    assert power_of_two_multiple(1.0, wanted) == (2.0**shift, shift)


@given(seeds, sizes, st.floats(1e-3, 1e3))
def test_a_balanced_step_leaves_the_value_between_its_least_and_its_full_width(seed, size, most):
    weight, _, _ = drawn(seed, size)
    reference = np.abs(drawn(seed + 1, size)[0]).max(axis=1)
    step = balanced_step(reference, weight, most=most, bits=16, least_bits=11)
    assert most / largest(16) <= step <= most / largest(11)


def test_rounding_is_to_nearest_and_clips_to_a_symmetric_width():
    real = np.array([0.49, 0.51, -0.51, 1.5, 2.5, 900.0, -900.0])
    assert rounded(real, 1.0, 8).tolist() == [0, 1, -1, 2, 2, 127, -127]


def test_a_membrane_of_two_bits_has_a_step():
    one, ranges = np.ones(1), Interval(-np.ones(1), np.ones(1))
    made = neuron_scale([np.ones((1, 2))], ranges, one, margin=1.0, weight_bits=8, membrane_bits=2)
    assert np.isfinite(made.step).all()
