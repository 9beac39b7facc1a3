"""The range report: for every width of the machine, what is proved, what was seen, the verdict."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from dmpc.analysis.bounds import Assumptions, Proof, prove
from dmpc.analysis.extremes import Extremes, extremes
from dmpc.analysis.interval import Interval
from dmpc.ir.graph import Graph
from isa.arithmetic import Int

IMPOSSIBLE, POSSIBLE, SEEN = "impossible", "possible", "seen"
VERDICTS = {
    IMPOSSIBLE: "no input can saturate it",
    POSSIBLE: "the bound does not exclude it",
    SEEN: "samples saturated it",
}


@dataclass(frozen=True)
class Range:
    """One width of one layer: `proved` and `seen` are (least, greatest) before saturation.

    `proved` is of one timestep where the value `grows` with their number; `steps` is then the
    longest sample in which nothing can saturate. `seen` is what samples made of it, `saturated` how
    many of the elements seen did not fit, `used` the part of the width that samples use: 1 is all.
    """

    layer: str
    what: str
    bits: int
    proved: tuple[int, int]
    seen: tuple[int, int] | None
    saturated: int
    used: float | None
    verdict: str
    grows: bool
    steps: int | None
    nodes: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    """All ranges of a network under the assumptions made."""

    assumed: Assumptions
    ranges: tuple[Range, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {"assumed": asdict(self.assumed), "ranges": [asdict(r) for r in self.ranges]}


def report(
    graph: Graph, assumed: Assumptions, x: Int | None = None, lengths: Int | None = None
) -> Report:
    """The report on an integer graph, with integer samples [samples, timesteps, inputs] if any.

    With `lengths` [samples], what lies behind a sample's length is no part of it.
    Raises CompileError for a graph before level integer.
    """
    seen = Extremes() if x is None else extremes(graph, x, lengths)
    proofs = prove(graph, assumed).proofs
    return Report(assumed, tuple(_ranges(proofs, seen)))


def _ranges(proofs: dict[str, Proof], seen: Extremes) -> Iterator[Range]:
    for cause, proof in proofs.items():
        layer, what = cause.split(": ", 1)
        watched = _ends(seen.seen.get(cause))
        yield Range(
            layer,
            what,
            proof.bits,
            (int(proof.bound.low.min()), int(proof.bound.high.max())),
            watched,
            seen.counts[cause],
            max(abs(end) for end in watched) / (proof.limits[1] + 1) if watched else None,
            _verdict(proof, seen.counts[cause]),
            proof.grows,
            proof.safe_steps if proof.grows else None,
            proof.loc,
        )


def _verdict(proof: Proof, seen: int) -> str:
    if seen:
        return SEEN
    return IMPOSSIBLE if proof.impossible else POSSIBLE


def _ends(interval: Interval | None) -> tuple[int, int] | None:
    return None if interval is None else (int(interval.low.min()), int(interval.high.max()))
