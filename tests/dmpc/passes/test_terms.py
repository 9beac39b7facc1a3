"""Terms of affine forms: whatever is shared or diagonal, the numbers are those of matrices."""

import numpy as np
import pytest

from dmpc.passes.recognition.terms import Term, near, pattern

RANDOM = np.random.default_rng(3)
WEIGHTS = RANDOM.normal(size=(4, 4)) * (RANDOM.random((4, 4)) < 0.7)
FACTORS = (
    np.ones(4),
    np.array([0.0, 1.0, 1.0, 0.0]),
    np.array([1.0, 0.0, 0.0, -1.0]),
    np.array([0.3, -0.7, 0.0, 1.1]),
)
SHARED = Term.of(WEIGHTS)
TERMS = [
    *(Term(factor) for factor in FACTORS),
    *(SHARED.scaled(factor) for factor in FACTORS),
    SHARED.scaled(FACTORS[3]).scaled(FACTORS[3]),
    Term.of(WEIGHTS.T.copy()),
    SHARED.zero,
]
each = pytest.mark.parametrize("term", TERMS)


def same(term, matrix):
    return (term.matrix + 0.0).tobytes() == (matrix + 0.0).tobytes()


@each
def test_what_is_asked_of_a_term_is_asked_of_its_matrix(term):
    matrix = term.matrix
    assert term.any() == matrix.any()
    assert term.sums().tolist() == matrix.sum(axis=1).tolist()
    columns = term.peaks()
    assert (np.abs(term.at(columns)) == np.abs(matrix).max(axis=1)).all()
    np.testing.assert_array_equal(term.at(np.arange(4)), np.diag(matrix))
    diagonal = term.diagonal()
    assert (diagonal is not None) == near(matrix, np.diag(np.diag(matrix)))
    assert diagonal is None or diagonal.tolist() == np.diag(matrix).tolist()


@each
@pytest.mark.parametrize("factor", FACTORS)
def test_a_term_changes_as_its_matrix_does(term, factor):
    assert same(term.scaled(factor), factor[:, None] * term.matrix)
    for left in (WEIGHTS[:3], WEIGHTS, np.diag(factor)):
        assert same(term.through(left), left @ term.matrix)
    rows = np.array([3, 0])
    assert same(term.taken(rows), term.matrix[rows])
    place = np.eye(6)[:, [4, 0, 1, 5]]
    assert same(term.placed(np.array([4, 0, 1, 5]), 6), place @ term.matrix)


@each
@pytest.mark.parametrize("other", TERMS)
def test_two_terms_are_two_matrices(term, other):
    for sign in (1.0, -1.0):
        assert same(term.plus(other, sign), term.matrix + sign * other.matrix)
    assert term.near(other) == near(term.matrix, other.matrix)
    either = (term.matrix != 0) | (other.matrix != 0)
    assert pattern([term, other]).matrix.tolist() == either.astype(float).tolist()
