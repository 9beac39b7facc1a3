"""The range proof: which of the machine's integers can leave their width, whatever the input.

`prove` walks an integer graph and bounds every value that the machine saturates, as it is *before*
that saturation, in the machine's own integers: rounding and saturation are those of
`isa.arithmetic`, applied to the ends of intervals, and what rounding adds to a slow state is
bounded through its whole impulse response (`dmpc.analysis.response`). Nothing is assumed of the
data but what `Assumptions` states; spikes are events, any of them at any time.
"""

from dataclasses import dataclass, field

from dmpc.analysis import neurons, ops
from dmpc.analysis.engine import ANALYSES, Analysis, Assumptions, Proof
from dmpc.analysis.interval import Interval
from dmpc.errors import CompileError
from dmpc.ir.graph import Graph
from dmpc.ir.levels import at_least

__all__ = ["ANALYSES", "MODULES", "Assumptions", "Bounds", "Proof", "prove"]

MODULES = (ops, neurons)
"""The modules that hold the analysis of every op; they register it on import."""


@dataclass(frozen=True)
class Bounds:
    """The outcome: proofs by cause, and bounds by value after saturation."""

    proofs: dict[str, Proof] = field(default_factory=dict)
    values: dict[str, Interval] = field(default_factory=dict)


def prove(graph: Graph, assumed: Assumptions | None = None) -> Bounds:
    """Bounds of an integer graph, from level integer on; CompileError before that."""
    if not at_least(graph.level, "integer"):
        raise CompileError(
            f"ranges are proved of integers; the graph is at level {graph.level}", where=graph.name
        )
    found = Analysis(graph, assumed or Assumptions()).run()
    return Bounds(found.proofs, found.ranges)
