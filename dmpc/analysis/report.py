"""The range report: for every width of the machine, what is proved, what was seen, the verdict."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from dmpc.analysis.bounds import Assumptions, Proof, prove
from dmpc.analysis.extremes import Extremes, extremes
from dmpc.analysis.interval import Interval
from dmpc.ir.graph import Graph
from isa.arithmetic import Int

IMPOSSIBLE, POSSIBLE, SHOWN, SEEN = "impossible", "possible", "shown", "seen"
VERDICTS = {
    IMPOSSIBLE: "no input can saturate it",
    POSSIBLE: "the bound does not exclude it, and no input is known that does it",
    SHOWN: "an input constructed for the purpose saturates it",
    SEEN: "samples saturated it",
}


@dataclass(frozen=True)
class Range:
    """One width of one layer: `proved`, `reached`, `seen` are (least, greatest) before saturation.

    `proved` is of one timestep where the value `grows` with their number; `steps` is then the
    longest sample in which nothing can saturate. `reached` is what constructed inputs made of it,
    `seen` what samples did, `saturated` how many of the elements seen did not fit. `used` is the
    part of the width that samples, or else constructed inputs, use: 1 is all of it.
    """

    layer: str
    what: str
    bits: int
    proved: tuple[int, int]
    reached: tuple[int, int] | None
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
    graph: Graph, assumed: Assumptions, x: Int | None = None, constructed: Int | None = None
) -> Report:
    """The report on an integer graph, with integer samples [samples, timesteps, inputs] if any.

    Raises CompileError for a graph before level integer.
    """
    seen = Extremes() if x is None else extremes(graph, x)
    shown = Extremes() if constructed is None else extremes(graph, constructed)
    proofs = prove(graph, assumed).proofs
    return Report(assumed, tuple(_ranges(proofs, seen, shown)))


def _ranges(proofs: dict[str, Proof], seen: Extremes, shown: Extremes) -> Iterator[Range]:
    for cause, proof in proofs.items():
        layer, what = cause.split(": ", 1)
        watched = _ends(seen.seen.get(cause)) or _ends(shown.seen.get(cause))
        yield Range(
            layer,
            what,
            proof.bits,
            (int(proof.bound.low.min()), int(proof.bound.high.max())),
            _ends(shown.seen.get(cause)),
            _ends(seen.seen.get(cause)),
            seen.counts[cause],
            max(abs(end) for end in watched) / (proof.limits[1] + 1) if watched else None,
            _verdict(proof, seen.counts[cause], shown.counts[cause]),
            proof.grows,
            proof.safe_steps if proof.grows else None,
            proof.loc,
        )


def _verdict(proof: Proof, seen: int, shown: int) -> str:
    if seen:
        return SEEN
    if proof.impossible:
        return IMPOSSIBLE
    return SHOWN if shown else POSSIBLE


def _ends(interval: Interval | None) -> tuple[int, int] | None:
    return None if interval is None else (int(interval.low.min()), int(interval.high.max()))
