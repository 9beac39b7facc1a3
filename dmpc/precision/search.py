"""The cheapest widths with which a network keeps its answers."""

from collections.abc import Callable
from dataclasses import dataclass

from dmpc.ir.graph import Graph
from dmpc.ir.ops_convolution import MAPS
from dmpc.passes.quantization.widths import LEAST_BITS, STORED, WidthPlan
from dmpc.passes.quantize import Quantize
from dmpc.passes.ranges import Ranges, is_event
from dmpc.precision.yardstick import Yardstick
from isa.target import Target


@dataclass(frozen=True)
class Stored:
    """How many elements of a layer lie in memory in the width of one field of `Widths`."""

    layer: str
    width: str
    elements: int


def stored(graph: Graph, events: bool) -> list[Stored]:
    """What lies in memory, by layer and width, in the order of the graph."""
    sizes: dict[tuple[str, str], int] = {}
    for op in graph.ops:
        widths = {"dense": "slow", "conv": "slow", "drive": "drive", "memory": "update"}
        if op.kind not in widths:
            continue
        event = op.kind in MAPS and is_event(graph, op.operands[0], events)
        names = op.operands[2:4] if op.kind == "memory" else op.operands[1:2]
        key = (str(op.attrs["layer"]), "weights" if event else widths[op.kind])
        sizes[key] = sizes.get(key, 0) + sum(graph.types[name].size for name in names)
    return [Stored(layer, width, size) for (layer, width), size in sizes.items()]


def memory_bits(graph: Graph, events: bool, plan: WidthPlan) -> int:
    """Bits of weights and coefficients that a plan's network needs."""
    return sum(
        part.elements * int(getattr(plan[part.layer], part.width)) for part in stored(graph, events)
    )


def cheapest(
    yardstick: Yardstick,
    target: Target,
    ranges: Ranges,
    plan: WidthPlan,
    most: float,
    progress: Callable[[int], None] | None = None,
) -> WidthPlan:
    """Widths, none above those of `plan`, with which a share of `most` samples lose their lead.

    `Yardstick.lost` says when; it is stricter than a changed prediction. Tensor by tensor, the
    largest first, each gets the fewest bits that the others leave it; bisection takes the share to
    grow as bits go. `plan` itself if that is already beyond `most`. What is narrower than a row
    saves bits on a target with narrower rows alone.
    """

    def holds(candidate: WidthPlan) -> bool:
        made = Quantize(target, ranges, candidate).run(yardstick.layers)
        return yardstick.lost(made) <= most + 1e-12

    if not holds(plan):
        return plan
    parts = stored(yardstick.layers, ranges.events)
    order = sorted(parts, key=lambda p: (-p.elements, p.layer, STORED.index(p.width)))
    for part in order:
        low, high = LEAST_BITS, int(getattr(plan[part.layer], part.width))
        while low < high:
            middle = (low + high) // 2
            candidate = plan.with_bits(part.layer, **{part.width: middle})
            if holds(candidate):
                high = middle
            else:
                low = middle + 1
        plan = plan.with_bits(part.layer, **{part.width: high})
        if progress:
            progress(1)
    return plan
