"""The graph under construction: products over chosen elements, constants that are there already."""

import numpy as np
import pytest

from dmpc.frontend.builder import Builder, _add_columns


@pytest.mark.parametrize("columns", [[0, 1, 2], [1, 2, 3], [2, 0, 1], [1, 1, 2], [0, 2], [4], []])
def test_columns_are_added_where_they_are_named(columns):
    added = np.random.default_rng(0).normal(size=(2, len(columns)))
    made, expected = np.ones((2, 5)), np.ones((2, 5))
    _add_columns(made, np.array(columns, np.int64), added)
    for column, values in zip(columns, added.T, strict=True):
        expected[:, column] += values
    np.testing.assert_array_equal(made, expected)


def test_equal_constants_of_one_name_are_one():
    builder = Builder("g")
    values = np.array([[0.5, 1.0, 0.0]])
    first = builder.constant(values, "w", ("/node",))
    assert builder.constant(values.copy(), "w", ("/node",)) == first
    others = (values.T.copy(), -values, values != 0, values + 0.5)
    names = [first, builder.constant(values, "v", ("/node",))]
    names += [builder.constant(other, "w", ("/node",)) for other in others]
    assert len(set(names)) == len(names)
