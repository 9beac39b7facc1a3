"""A tape gives with other numbers what the recorded functions give, or refuses to be made."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from dmpc.ir.recorded import NotRecorded, Recorded, Tape, recorded, told

Array = NDArray[np.float64]


@recorded
def written(a: Array, b: Array) -> Array:
    made = a.copy()
    made[1:, 1] = b[0, 1:]
    return made


def product(a: Array, b: Array) -> Array:
    whole = a @ b.T + 2.0 * a.sum(axis=1)[:, None]
    whole += 1.0  # a name that stands for another array from here on
    return np.where(whole > 0, whole, np.diag(np.diag(whole)))


def by_elements(a: Array, b: Array) -> Array:
    first, *_ = zip(a, b, strict=True)
    rows, columns = np.nonzero(told(a) > -np.inf)
    return np.concatenate([first[0] * a[rows, columns].max(), np.stack([b[1], a[2]]).min(axis=0)])


def several(a: Array, b: Array) -> Array:
    low, high = np.divmod(a, np.abs(b) + 0.5)
    return np.maximum.reduce(written(low, high), axis=0) / -(1 + abs(b).mean())


FUNCTIONS = [product, by_elements, several, written]
numbers = st.lists(st.floats(-4, 4, width=32), min_size=18, max_size=18)


def arrays(values: list[float]) -> tuple[Array, Array]:
    first, second = np.array(values).reshape(2, 3, 3)
    return first, second


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda one: one.__name__)
@given(numbers, numbers)
def test_a_tape_computes_what_a_function_does(
    function: Callable[[Array, Array], Array], one: list[float], other: list[float]
) -> None:
    tape = Tape()
    a, b = arrays(one)
    made: Any = function(tape.input("a", a), tape.input("b", b))  # type: ignore[arg-type]
    assert isinstance(made, Recorded)
    assert np.array_equal(made.value, function(a, b))
    tape.end({"made": made})
    for values in (one, other):
        a, b = arrays(values)
        (found,) = tape.play({"a": a, "b": b}).values()
        expected = function(a, b)
        assert np.array_equal(found, expected)
        assert found.strides == expected.strides


def test_a_tape_keeps_what_is_wanted_alone() -> None:
    tape = Tape()
    a: Any = tape.input("a", np.arange(3.0))
    kept = a + 1
    _ = kept * 2
    assert bool((a > 0).any())
    assert len(kept) == int((a > 1).argmax()) + 1 == 3
    tape.end({"kept": kept})
    assert len(tape.calls) == 1
    assert tape.play({"a": np.ones(3)})["kept"].tolist() == [2, 2, 2]


def into(made: Array, a: Array) -> None:
    made[0] = a[0]


@pytest.mark.parametrize(
    "lost",
    [
        lambda a: float(a[0]),
        lambda a: int(a[0]),
        lambda a: range(3)[a[0]],
        lambda a: np.array(a),
        lambda a: np.asarray([a, a]),
        lambda a: into(np.zeros(3), a),
        lambda a: into(a, a),
        lambda a: round(a[0]),
        lambda a: np.add(a, 1, out=np.zeros(3)),
        lambda a: a.tolist(),
        lambda a: a[0].item(),
    ],
)
def test_numbers_do_not_get_lost(lost: Callable[[Any], object]) -> None:
    tape = Tape()
    with pytest.raises((NotRecorded, ValueError)):
        lost(tape.input("a", np.arange(3.0)))
    assert tape.lost


@pytest.mark.parametrize(
    "decides", [lambda a: 1 if (a > 0).any() else 2, lambda a: range(3)[a.argmax()]]
)
def test_numbers_that_decide_are_refused_where_none_may(decides: Callable[[Any], int]) -> None:
    tape = Tape()
    tape.asked = False
    a: Any = tape.input("a", np.arange(3.0))
    assert len(a) == 3  # shapes may: they stay
    with pytest.raises(NotRecorded, match="a number decides"):
        decides(a)
