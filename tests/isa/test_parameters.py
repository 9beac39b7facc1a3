"""Neuron parameters pack into one element each and come out the same."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isa.errors import IsaError
from isa.parameters import FIELDS, KEPT, Parameters, nearest_leak

RANGES = {
    "threshold": (-32768, 32767),
    "bias": (-32768, 32767),
    "reset": (-32768, 32767),
    "leak": (0, KEPT),
    "shift": (-32, 31),
}


def numbers(name: str) -> st.SearchStrategy[int]:
    low, high = RANGES[name]
    drawn = st.sampled_from((low, high)) | st.integers(low, high)
    return drawn.map(representable) if name == "leak" else drawn


def representable(leak: int) -> int:
    """The nearest leak whose loss has 8 significant bits, found by trying."""
    return min(LEAKS, key=lambda kept: abs(kept - leak))


LEAKS = [KEPT - (m << e) for e in range(7) for m in range(256) if m << e <= KEPT]


LEAK = [name for name, _ in FIELDS].index("leak")


def parameters(rows: list[tuple[int, ...]]) -> Parameters:
    columns = np.array(rows, np.int64).reshape(-1, len(FIELDS)).T
    return Parameters(**{name: column for (name, _), column in zip(FIELDS, columns, strict=True)})


@given(st.lists(st.tuples(*(numbers(name) for name, _ in FIELDS)), max_size=5))
def test_round_trip(rows):
    packed = parameters(rows).pack()
    assert packed.dtype == np.int64
    again = Parameters.unpack(packed)
    columns = [getattr(again, name) for name, _ in FIELDS]
    assert [tuple(int(column[i]) for column in columns) for i in range(len(rows))] == rows


@given(numbers("bias"))
def test_six_bits_of_how_far_a_number_moves_count(field):
    found = parameters([(0, field, field, KEPT, 0)])
    (moved,) = {int(found.exponent[0]), int(found.drop[0])}
    assert -32 <= moved < 32
    assert (moved - field) % 64 == 0
    assert int(found.jump[0]) == field


def test_fields_lie_from_the_lowest_bit_up_without_touching():
    low = 0
    for at, (_, bits) in enumerate(FIELDS):
        row = tuple(1 if i == at else 0 for i in range(len(FIELDS)))
        row = (*row[:LEAK], KEPT - row[LEAK], *row[LEAK + 1 :])  # a code of 0 keeps everything
        assert int(parameters([row]).pack()[0]) == 1 << low
        low += bits
    assert low <= 64


@pytest.mark.parametrize("name", RANGES)
def test_a_value_outside_its_field_is_refused(name):
    low, high = RANGES[name]
    at = [field for field, _ in FIELDS].index(name)
    for value in (low - 1, high + 1):
        row = tuple(value if i == at else 0 for i in range(len(FIELDS)))
        with pytest.raises(IsaError, match=f"neuron parameter {name} outside {low} .. {high}"):
            parameters([(0,) * len(FIELDS), row]).pack()


def test_only_integers_are_packed():
    fields = {name: np.zeros(2, np.int32) for name, _ in FIELDS}
    fields["shift"] = fields["shift"] - 32
    assert Parameters.unpack(Parameters(**fields).pack()).shift.tolist() == [-32, -32]
    fields["bias"] = np.array([0.0, 0.5])
    with pytest.raises(IsaError, match="neuron parameter bias: float64, not signed integers"):
        Parameters(**fields).pack()


@given(st.floats(0, 1))
def test_a_leak_is_the_nearest_that_can_be_said(kept):
    leak = int(nearest_leak(np.array([kept]))[0])
    assert leak in LEAKS
    assert abs(leak - kept * KEPT) <= min(abs(other - kept * KEPT) for other in LEAKS) + 1e-9


@pytest.mark.parametrize("kept", [0.0, 0.5, 200 / 256, 255 / 256, 1.0])
def test_multiples_of_one_256th_are_exact(kept):
    assert nearest_leak(np.array([kept])).tolist() == [kept * KEPT]


@given(st.floats(2, 64))
def test_a_time_constant_is_within_a_two_hundredth(steps):
    """tau = 1 / (1 - beta); half of the last of eight bits, and 0.4 % of 1 - beta."""
    leak = nearest_leak(np.array([1 - 1 / steps]))[0]
    assert KEPT / (KEPT - leak) == pytest.approx(steps, rel=0.00395)


def test_a_loss_of_nine_significant_bits_is_refused():
    with pytest.raises(IsaError, match="leak: a loss / 8192 of more than 8 significant bits"):
        parameters([(0, 0, 0, KEPT - 257, 0)]).pack()


def test_every_code_is_a_leak_and_comes_back():
    codes = np.arange(1024) << 48
    leaks = Parameters.unpack(codes).leak
    assert len(set(leaks.tolist())) == 1024
    assert (np.diff(leaks) < 0).all()
    kept = leaks >= 0
    fields = {name: np.zeros(kept.sum(), np.int64) for name, _ in FIELDS} | {"leak": leaks[kept]}
    np.testing.assert_array_equal(Parameters(**fields).pack(), codes[kept])
