"""Neuron parameters pack into one element each and come out the same."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isa.errors import IsaError
from isa.parameters import FIELDS, Parameters

RANGES = {
    "threshold": (-32768, 32767),
    "bias": (-32768, 32767),
    "reset": (-32768, 32767),
    "leak": (0, 512),
    "shift": (-32, 31),
}


def numbers(name: str) -> st.SearchStrategy[int]:
    low, high = RANGES[name]
    return st.sampled_from((low, high)) | st.integers(low, high)


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


def test_fields_lie_from_the_lowest_bit_up_without_touching():
    low = 0
    for at, (_, bits) in enumerate(FIELDS):
        row = tuple(1 if i == at else 0 for i in range(len(FIELDS)))
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
