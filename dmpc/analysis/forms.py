"""Linear forms: what a sum of products computes, as matrices on the values it comes from.

The bound of `P m + nu x` is far tighter than that of `P m` plus that of `nu x`, because m is what
became of earlier x. So products are kept as matrices until their sum is bounded.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dmpc.analysis.interval import Interval

Matrix = NDArray[np.int64]


class Source(NamedTuple):
    """A value of the graph; with a `period` its copy of the last timestep that period divides."""

    name: str
    period: int = 1


@dataclass(frozen=True)
class Form:
    """The sum over sources of matrix [n, size] times source, exact; and `other`, within bounds."""

    terms: dict[Source, Matrix] = field(default_factory=dict)
    other: Interval | None = None

    def __add__(self, other: "Form") -> "Form":
        terms = dict(self.terms)
        for source, matrix in other.terms.items():
            terms[source] = terms[source] + matrix if source in terms else matrix
        both = [one for one in (self.other, other.other) if one is not None]
        return Form(terms, both[0] + both[1] if len(both) == 2 else both[0] if both else None)

    def through(self, weight: Matrix) -> "Form":
        """The form of `weight [m, n]` times this one."""
        return Form({source: weight @ matrix for source, matrix in self.terms.items()})

    def held(self, period: int) -> "Form":
        """The form of a copy made every `period` timesteps, of values that are no copies."""
        return Form({Source(s.name, period): matrix for s, matrix in self.terms.items()})


def total(forms: Iterable[Form]) -> Form:
    """The sum of forms."""
    return sum(forms, Form())
