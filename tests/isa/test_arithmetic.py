"""The machine's arithmetic against exact rational numbers."""

from fractions import Fraction
from math import floor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isa.arithmetic import WIDEST, Saturation, add_rows, fire, leak, shift_round
from isa.parameters import LEAK_BITS

numbers = st.integers(-(2**40), 2**40) | st.integers(-20, 20)


def nearest(x: int, shift: int) -> int:
    """`x / 2**shift` rounded to nearest, ties upward, in exact arithmetic."""
    return floor(Fraction(x) / Fraction(2) ** shift + Fraction(1, 2))


@given(numbers, st.integers(-20, 40))
def test_shift_round_is_exact_rounding_to_nearest_with_ties_upward(x, shift):
    assert shift_round(np.array([x]), shift).tolist() == [nearest(x, shift)]


@pytest.mark.parametrize(
    ("x", "shift", "result"),
    [(1, 1, 1), (-1, 1, 0), (3, 1, 2), (-3, 1, -1), (5, 2, 1), (-6, 2, -1), (7, 0, 7), (3, -2, 12)],
)
def test_ties_go_upward_on_both_sides_of_zero(x, shift, result):
    assert shift_round(np.array([x]), shift).tolist() == [result]


@given(st.lists(st.tuples(numbers, st.integers(-20, 30)), max_size=6))
def test_every_element_has_its_own_shift(pairs):
    x, shift = np.array(pairs, np.int64).reshape(-1, 2).T
    expected = [nearest(*pair) for pair in pairs]
    assert shift_round(np.stack([x, x]), shift).tolist() == [expected, expected]


@given(st.integers(-(2**31), 2**31 - 1), st.integers(-32, -1))
def test_a_left_shift_stays_within_62_bits_and_keeps_its_sign(x, shift):
    exact = x << -shift
    limit = 1 << WIDEST
    assert shift_round(np.array([x]), shift).tolist() == [max(-limit, min(limit, exact))]


@given(st.integers(-(2**15), 2**15 - 1), st.integers(0, 1 << LEAK_BITS))
def test_leak_is_the_rounded_product_and_never_grows(u, beta):
    leaked = leak(np.array([u]), np.array([beta]), LEAK_BITS).tolist()
    assert leaked == [nearest(u * beta, LEAK_BITS)]
    lost = (1 << LEAK_BITS) - beta  # as hardware computes it
    assert leaked == [u - ((lost * u + (1 << LEAK_BITS - 1) - 1) >> LEAK_BITS)]
    assert abs(leaked[0]) <= abs(u)


def test_a_leak_of_one_keeps_every_membrane():
    u = np.arange(-(2**15), 2**15)
    assert (leak(u, np.array(256), 8) == u).all()


@given(st.integers(-9, 9), st.integers(-9, 9), st.integers(-9, 9), st.booleans())
def test_fire_compares_at_or_above_and_resets_spiking_membranes_alone(u, theta, reset, subtract):
    spikes, after = fire(np.array([u]), np.array([theta]), np.array([reset]), subtract)
    expected = (u - reset if subtract else reset) if u >= theta else u
    assert (spikes.tolist(), after.tolist()) == ([int(u >= theta)], [expected])


@given(st.lists(st.integers(-300, 300), max_size=6))
def test_saturation_clips_to_twos_complement_and_counts_what_it_changed(numbers):
    saturate = Saturation()
    clipped = saturate(np.array(numbers, np.int64), 8, "here").tolist()
    assert clipped == [max(-128, min(127, x)) for x in numbers]
    assert saturate.counts["here"] == sum(x not in range(-128, 128) for x in numbers)


def test_saturation_counts_by_cause():
    saturate = Saturation()
    saturate(np.array([200, -200]), 8, "a")
    saturate(np.array([200]), 8, "b")
    assert dict(saturate.counts) == {"a": 2, "b": 1}


@given(
    st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(0, 9), st.sampled_from((0, 0.3, 1))
)
def test_adding_the_rows_of_active_inputs_is_the_product(seed, batch, inputs, density):
    random = np.random.default_rng(seed)
    weights = random.integers(-128, 128, (inputs, 6))
    spikes = (random.random((batch, inputs)) < density).astype(np.int64)
    assert (add_rows(weights, spikes) == spikes @ weights).all()
