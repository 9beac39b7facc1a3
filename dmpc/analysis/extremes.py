"""What samples make of the machine's integers: the extremes seen before each saturation."""

from dataclasses import dataclass, field

import numpy as np

from dmpc.analysis.interval import Interval, joined
from dmpc.ir.graph import Graph
from dmpc.ir.interpret import interpret
from isa.arithmetic import Int, Saturation


@dataclass
class Extremes(Saturation[str]):
    """Saturation that also keeps, by cause, the least and the greatest of each element [n]."""

    seen: dict[str, Interval] = field(default_factory=dict)

    def __call__(self, x: Int, bits: int, cause: str) -> Int:
        """Clip as the machine does."""
        if x.size:
            flat = x.reshape(-1, x.shape[-1])
            now = Interval(flat.min(axis=0), flat.max(axis=0))
            known = self.seen.get(cause)
            self.seen[cause] = now if known is None else joined(known, now)
        return super().__call__(x, bits, cause)


def extremes(graph: Graph, x: Int, lengths: Int | None = None) -> Extremes:
    """Run an integer graph on integer samples [samples, timesteps, inputs] and watch it.

    With `lengths` [samples], what lies behind a sample's length is no part of it.
    """
    watch = Extremes()
    every = np.full(len(x), x.shape[1]) if lengths is None else lengths
    for length in np.unique(every):
        interpret(graph, x[every == length, :length].astype(np.int64), saturate=watch)
    return watch
