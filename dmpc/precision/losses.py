"""Where the loss comes from: each tensor quantized alone, with a bit less and a bit more."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from dmpc.ir.graph import Graph, Op
from dmpc.ir.ops_layers import FIRING
from dmpc.ir.ops_output import readout_of
from dmpc.passes.quantization.widths import LEAST_BITS, WidthPlan
from dmpc.passes.quantize import Quantize, Quantized
from dmpc.passes.ranges import Ranges, currents, unheld
from dmpc.precision.yardstick import Yardstick
from isa.target import Target

READOUT = "readout"


@dataclass(frozen=True)
class Source:
    """Something that is rounded: `constants` and `values` of the float graph, in `width` bits.

    `width` is a field of `Widths`.
    """

    layer: str
    tensor: str
    width: str
    constants: tuple[str, ...] = ()
    values: tuple[str, ...] = ()


@dataclass(frozen=True)
class Loss:
    """What a source costs: different spikes of its layer, fed with float spikes, per spike.

    Of the readout: the share of predictions that differ. All else is exact; `less` and `more` are
    with one bit less (None where there is none to take) and more, `without` is the layer with
    everything rounded but this.
    """

    source: Source
    bits: int
    only: float
    less: float | None
    more: float
    without: float


def sources(graph: Graph, events: bool) -> list[Source]:
    """Everything that quantization rounds in a float graph, layer by layer."""
    found: list[Source] = []
    for op in graph.ops:
        if op.kind in FIRING:
            found += _of_neurons(graph, op, events)
    products = readout_of(graph)
    weights = tuple(op.operands[1] for op in products)
    found.append(Source(READOUT, "weights", "weights", weights))
    if biases := tuple(name for op in products for name in op.operands[2:]):
        found.append(Source(READOUT, "bias", "membrane", biases))
    return found


def _of_neurons(graph: Graph, lif: Op, events: bool) -> list[Source]:
    layer, roles = str(lif.attrs["layer"]), currents(graph, lif, events)
    states = {op.results[0]: op for op in graph.ops if op.kind == "memory"}
    states |= {op.operands[0]: op for op in graph.ops if op.kind == "memory"}
    drives = {op.results[0] for op in graph.ops if op.kind == "drive"}
    found = [Source(layer, "weights", "weights", (p.operands[1],)) for p in roles.events]
    for product in roles.values:
        read = unheld(graph, product.operands[0])
        tensor = "P" if read in states else "nu" if read in drives else "weights"
        found.append(Source(layer, tensor, "slow", (product.operands[1],)))
    for op in graph.ops:
        if op.kind == "drive" and op.attrs["layer"] == layer:
            found.append(Source(layer, "drive weights", "drive", op.operands[1:3]))
            found.append(Source(layer, "drive", "values", (), op.results))
        if op.kind == "memory" and op.attrs["layer"] == layer:
            found.append(Source(layer, "Abar", "update", op.operands[2:3]))
            found.append(Source(layer, "Bbar", "update", op.operands[3:4]))
            found.append(Source(layer, "slow state", "values", (), op.results))
    biases = tuple(n for p in (*roles.events, *roles.values) for n in p.operands[2:])
    found.append(Source(layer, "membrane", "membrane", (), lif.results[1:2]))
    found.append(Source(layer, "bias", "membrane", biases))
    found.append(Source(layer, "threshold", "membrane", (roles.threshold,)))
    found.append(Source(layer, "reset", "membrane", (roles.reset,)))
    found.append(Source(layer, "limits", "membrane", roles.limits))
    found.append(Source(layer, "leak", "leak", (roles.beta,)))
    if roles.adaptation:
        found.append(Source(layer, "adaptation", "membrane", roles.adaptation[1:], lif.results[2:]))
    return [source for source in found if source.constants or source.values]


def losses(
    yardstick: Yardstick,
    target: Target,
    ranges: Ranges,
    plan: WidthPlan,
    progress: Callable[[int], None] | None = None,
) -> list[Loss]:
    """The loss by each source, in the order of the graph.

    Weights are rounded to nearest, so that each tensor has errors of its own to show.
    """
    attempt = _Attempt(yardstick, target, replace(ranges, moments={}), plan)
    found = []
    every = sources(yardstick.layers, ranges.events)
    for source in every:
        others = [other for other in every if other.layer == source.layer and other != source]
        bits = int(getattr(plan[source.layer], source.width))
        found.append(
            Loss(
                source,
                bits,
                only=attempt.loss([source]),
                less=attempt.loss([source], -1) if bits > LEAST_BITS else None,
                more=attempt.loss([source], 1),
                without=attempt.loss(others),
            )
        )
        if progress:
            progress(1)
    return found


class _Attempt:
    """Runs the float network with some of its numbers as the integers mean them.

    What does not depend on those numbers is computed once, and fed to what does.
    """

    def __init__(
        self, yardstick: Yardstick, target: Target, ranges: Ranges, plan: WidthPlan
    ) -> None:
        self.yardstick, self.target, self.ranges, self.plan = yardstick, target, ranges, plan
        graph, self.x = yardstick.layers, yardstick.x.astype(np.float64)
        computed = [name for op in graph.ops for name in op.results]
        self.exact = yardstick.run(graph, self.x, trace=computed).traces
        self.wires = graph.wires(carried=True)
        self.spikes = {
            str(op.attrs["layer"]): op.results[0] for op in graph.ops if op.kind in FIRING
        }
        self._made: dict[tuple[str, str, int], Quantized] = {}

    def loss(self, rounded: Sequence[Source], bits: int = 0) -> float:
        """The loss of one layer's sources, all else exact, with so many bits more or less."""
        if not rounded:
            return 0.0
        layer = rounded[0].layer
        made = self._quantized(rounded[0], bits)
        graph = self.yardstick.layers.copy()
        names = [name for source in rounded for name in source.constants]
        graph.constants |= {name: made.meant[name] for name in names if name in made.meant}
        steps = {name: made.steps[name] for source in rounded for name in source.values}
        changed = {*names, *steps}
        affected = changed.union(*(self.wires.below(name) for name in changed))
        fed = {
            name: series
            for name, series in self.exact.items()
            if name not in affected or name in self.yardstick.spikes
        }
        if layer != READOUT:
            graph.outputs = [self.spikes[layer]]  # nothing is computed of what comes after
        found = self.yardstick.run(graph, self.x, trace=graph.outputs, fed=fed, rounded=steps)
        if layer == READOUT:
            return float(np.mean(found.logits.argmax(1) != self.yardstick.answers))
        return self.yardstick.mismatch(found.traces)[self.spikes[layer]]

    def _quantized(self, source: Source, bits: int) -> Quantized:
        """The network with other widths for one layer, whether or not the target holds them."""
        key = (source.layer, source.width, bits) if bits else ("", "", 0)
        if key not in self._made:
            plan = self.plan
            if bits:
                widths = plan[source.layer]
                changed = {source.width: getattr(widths, source.width) + bits}
                if bits > 0:  # a product of wider factors needs a wider sum
                    changed["sums"] = widths.sums + bits
                plan = plan.with_bits(source.layer, **changed)
            step = Quantize(self.target, self.ranges, plan)
            self._made[key] = step.quantized(self.yardstick.layers)
        return self._made[key]
