"""Affine forms, and their matrices as what these are made of: diagonals, and rows of weights.

A network's weights stand in its forms again and again, times 1 or 0 where a spike is assumed. So a
term holds factors of rows and shares the matrix. Whatever is done to it gives the numbers that it
would give done to matrices, bit for bit, but for signs of zeros.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import numpy.typing as npt

from dmpc.ir.recorded import recorded

Matrix = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
NEGLIGIBLE = 1e-6  # of the largest coefficient; weights are float32


def near(a: Matrix, b: Matrix) -> bool:
    """Equality up to the rounding of float32 weights, relative to the largest element."""
    return bool(_size(a - b) <= NEGLIGIBLE * np.maximum(_size(a), _size(b)))


def _size(a: Matrix) -> np.float64:
    size: np.float64 = np.maximum(a.max(initial=0.0), -a.min(initial=0.0))
    return size


class Core:
    """A matrix that terms share, and what is asked of it more than once."""

    def __init__(self, matrix: Matrix) -> None:
        self.matrix = matrix

    @cached_property
    def used(self) -> npt.NDArray[np.bool_]:
        """Rows that hold anything but zeros."""
        used: npt.NDArray[np.bool_] = np.logical_or.reduce(self.matrix, axis=1)
        return used

    @cached_property
    def peaks(self) -> Indices:
        """Where each row is largest."""
        peaks: Indices = np.maximum(self.matrix, -self.matrix).argmax(axis=1)
        return peaks


@dataclass(frozen=True, eq=False)
class Term:
    """`diag(scale) · core`, without a core the diagonal matrix alone."""

    scale: Matrix
    core: Core | None = None

    @classmethod
    def of(cls, matrix: Matrix) -> Self:
        """A matrix as a term."""
        return cls(np.ones(len(matrix)), Core(matrix))

    @property
    def matrix(self) -> Matrix:
        """The matrix, which may be shared: to be read only."""
        if self.core is None:
            return np.diag(self.scale)
        whole = self.core.matrix
        return whole if (self.scale == 1).all() else self.scale[:, None] * whole

    @property
    def zero(self) -> "Term":
        """Zeros, as many."""
        return Term(np.zeros(len(self.scale)), self.core)

    def used(self) -> npt.NDArray[np.bool_]:
        """Rows that hold anything but zeros."""
        used: npt.NDArray[np.bool_] = self.scale != 0
        return used if self.core is None else used & self.core.used

    def any(self) -> bool:
        """True if any element is not zero."""
        return bool(self.used().any())

    def sums(self) -> Matrix:
        """The sum of each row."""
        sums: Matrix = self.scale if self.core is None else self.matrix.sum(axis=1)
        return sums

    def peaks(self) -> Indices:
        """The column where each row is largest; of a row of zeros, any."""
        return np.arange(len(self.scale)) if self.core is None else self.core.peaks

    def at(self, columns: Indices) -> Matrix:
        """One element of each row."""
        rows = np.arange(len(self.scale))
        if self.core is None:
            return np.where(columns == rows, self.scale, 0.0)
        return self.scale * self.core.matrix[rows, columns]

    def diagonal(self) -> Matrix | None:
        """The factors of a diagonal matrix, whose other elements are nothing beside the largest."""
        if self.core is None:
            return self.scale
        matrix = self.matrix
        if matrix.shape[0] != matrix.shape[1] or not near(matrix, np.diag(np.diag(matrix))):
            return None
        return np.diag(matrix)

    def near(self, other: "Term") -> bool:
        """Equality up to rounding."""
        if self.core is other.core is None:
            return near(self.scale, other.scale)
        if self.core is other.core and np.array_equal(self.scale, other.scale):
            return True
        return near(self.matrix, other.matrix)

    # -- arithmetic -------------------------------------------------------------------------------

    def scaled(self, factor: Matrix) -> "Term":
        """Each row times its factor."""
        if self.core is None or _exact(factor) or _exact(self.scale):
            return Term(factor * self.scale, self.core)
        return Term(factor, Core(self.matrix))

    def through(self, matrix: Matrix) -> "Term":
        """`matrix · self`."""
        if self.core is not None:
            return Term.of(matrix @ self.matrix)
        made = matrix if (self.scale == 1).all() else matrix * self.scale
        square = made.shape[0] == made.shape[1]
        if square and np.count_nonzero(made) == np.count_nonzero(np.diag(made)):
            return Term(np.diag(made).copy())
        return Term.of(made)

    def taken(self, indices: Indices) -> "Term":
        """Some rows, in the order given."""
        return Term.of(self.matrix[indices])

    def placed(self, rows: Indices, total: int) -> "Term":
        """The rows at new places, `rows`, among `total`; zeros at all others."""
        return Term.of(_placed(self.matrix, rows, total))

    def plus(self, other: "Term", sign: float) -> "Term":
        """`self + sign · other`."""
        if self.core is other.core and (
            self.core is None or not ((self.scale != 0) & (other.scale != 0)).any()
        ):
            return Term(self.scale + sign * other.scale, self.core)
        return Term.of(self.matrix + sign * other.matrix)


@recorded
def _placed(values: Matrix, rows: Indices, total: int) -> Matrix:
    """Rows at new places among `total`; zeros at all others."""
    placed = np.zeros((total, *values.shape[1:]))
    placed[rows] = values
    return placed


def _exact(factor: Matrix) -> bool:
    """True for factors that round nothing that is multiplied with them."""
    return bool(((factor == 0) | (np.abs(factor) == 1)).all())


def pattern(terms: list[Term]) -> Term:
    """1 where any of some terms of one leaf is not zero, else 0."""
    if all(term.core is None for term in terms):
        scales = np.stack([term.scale for term in terms])
        return Term((scales != 0).any(axis=0).astype(np.float64))
    matrices = np.stack([term.matrix for term in terms])
    return Term.of((matrices != 0).any(axis=0).astype(np.float64))


@dataclass(frozen=True)
class Affine:
    """`bias [n] + sum of parts[leaf] [n, leaf's size] · leaf`; terms that are zero are left out."""

    bias: Matrix
    parts: Mapping[str, Term]

    @property
    def size(self) -> int:
        """Number of elements."""
        return len(self.bias)

    @property
    def terms(self) -> Mapping[str, Matrix]:
        """The matrices by leaf, made when they are looked at; to be read only."""
        return _Matrices(self.parts)

    def spread(self, size: int) -> "Affine":
        """One element as many."""
        if self.size == size:
            return self
        return self.mapped(np.ones((size, 1)))

    def mapped(self, matrix: Matrix) -> "Affine":
        """`matrix · self`."""
        parts = {leaf: term.through(matrix) for leaf, term in self.parts.items()}
        return affine(matrix @ self.bias, parts)

    def taken(self, indices: Indices) -> "Affine":
        """Some elements, in the order given."""
        parts = {leaf: term.taken(indices) for leaf, term in self.parts.items()}
        return affine(self.bias[indices], parts)

    def placed(self, rows: Indices, total: int) -> "Affine":
        """The elements at new places among `total`; zeros at all others."""
        bias = _placed(self.bias, rows, total)
        return affine(bias, {leaf: term.placed(rows, total) for leaf, term in self.parts.items()})

    def scaled(self, factor: Matrix) -> "Affine":
        """Each element times its factor [n]."""
        parts = {leaf: term.scaled(factor) for leaf, term in self.parts.items()}
        return affine(factor * self.bias, parts)

    def plus(self, other: "Affine", sign: float = 1.0) -> "Affine":
        """`self + sign · other`, one element standing for as many as needed."""
        size = max(self.size, other.size)
        a, b = self.spread(size), other.spread(size)
        parts, signs = dict(a.parts), np.full(size, sign)
        for leaf, term in b.parts.items():
            parts[leaf] = parts[leaf].plus(term, sign) if leaf in parts else term.scaled(signs)
        return affine(a.bias + sign * b.bias, parts)

    def close(self, other: "Affine") -> bool:
        """Equality up to rounding."""
        if self.size != other.size or self.parts.keys() != other.parts.keys():
            return False
        return near(self.bias, other.bias) and all(
            term.near(other.parts[leaf]) for leaf, term in self.parts.items()
        )


class _Matrices(Mapping[str, Matrix]):
    """Terms as matrices, one at a time."""

    def __init__(self, parts: Mapping[str, Term]) -> None:
        self._parts = parts

    def __getitem__(self, leaf: str) -> Matrix:
        return self._parts[leaf].matrix

    def __contains__(self, leaf: object) -> bool:
        return leaf in self._parts

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)


def affine(bias: Matrix, parts: Mapping[str, Term]) -> Affine:
    """An affine form without its zero terms."""
    return Affine(bias, {leaf: term for leaf, term in parts.items() if term.any()})


def ratio(form: Affine, other: Affine, state: str) -> Matrix:
    """How many times another one of equal terms a form is, [n], by what it keeps of a state.

    Where it keeps nothing, by its largest coefficient; 1 for an element that is constant.
    """
    found, largest = np.ones(form.size), np.zeros(form.size)
    for leaf, term in other.parts.items():
        columns = term.peaks()
        ours = term.at(columns)
        size = np.abs(ours)
        size = np.where(size > 0, np.inf, 0) if leaf == state else size
        found = divided(form.parts[leaf].at(columns), ours, size > largest, found)
        largest = np.maximum(largest, size)
    return found


@recorded
def divided(one: Matrix, other: Matrix, where: npt.NDArray[np.bool_], elsewhere: Matrix) -> Matrix:
    """Quotients, and numbers from elsewhere."""
    return np.divide(one, other, out=elsewhere.copy(), where=where)
