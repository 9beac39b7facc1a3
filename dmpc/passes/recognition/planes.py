"""How what a convolution reads lies in a leaf: as planes, or position by position, with factors."""

from dataclasses import replace

import numpy as np

from dmpc.ir.ops_convolution import Convolution
from dmpc.passes.recognition.terms import Indices, Matrix, Term

MOST = 1 << 24
"""Elements of a convolution that is multiplied out, at most."""


def order_of_planes(planes: int, size: int) -> Indices:
    """Where each element, position by position, lies among planes."""
    return np.arange(size).reshape(planes, -1).T.reshape(-1)


def reordered(term: Term) -> tuple[Indices, Matrix] | None:
    """The column and the factor of each row, where every row has one and no two rows the same."""
    columns = term.peaks()
    factors = term.at(columns)
    alone = len(np.unique(columns)) == len(columns) == term.matrix.shape[1]
    if not alone or np.count_nonzero(term.matrix) != np.count_nonzero(factors):
        return None
    return columns, factors


def standing(made: Convolution, term: Term) -> tuple[Convolution, Matrix] | None:
    """The convolution that reads a leaf of which its input is this term, with the factor of each
    element; None where other elements than its own are mixed in, or left out."""
    scale = term.diagonal()
    if scale is not None:
        return made, scale
    found = reordered(term) if made.planar else None
    if found is None:
        return None
    back = np.argsort(found[0])
    if not np.array_equal(back, order_of_planes(made.channels, made.inputs)):
        return None
    return replace(made, planar=False), found[1][back]


def by_channel(made: Convolution, scale: Matrix) -> Matrix | None:
    """The factor of each channel, if all its positions have one."""
    places = scale.reshape(made.channels, -1).T if made.planar else scale.reshape(-1, made.channels)
    return places[0] if (places == places[0]).all() else None
