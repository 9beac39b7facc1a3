"""`limit-spikes`: how often neurons may spike in a timestep whose model sets no limit.

A model of `floor(v / theta)` spikes has no largest number; a program has. Where the weights alone
prove that no input needs more than so many, and the machine has so many, the least of these is
taken, and nothing is ever held back. Elsewhere a calibration set shows how many its samples need:
spikes beyond them stay in the membrane, and are counted (`Saturated`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from dmpc.findings import finding, tell
from dmpc.ir.endless import endless_of, endless_ops, spiking_up_to
from dmpc.ir.graph import Graph
from dmpc.ir.integer_types import BEYOND, MOST_TIMES
from dmpc.ir.interpret import interpret_in_parts
from dmpc.ir.registry import Tensor
from dmpc.passes.base import Pass
from dmpc.passes.static_ranges import many_spikes, static_ranges
from dmpc.rules import Severity, Stage, rule

SPIKES_LIMITED = rule(
    "spikes-limited",
    Stage.LAYERS,
    "neurons of {layer} spike up to {times} times in a timestep: {origin}",
    why="""The model sets no limit. Each time is a visit of the neuron unit for every group of
    neurons, whether or not they spike.""",
    nearest="a limit of the model's own, where fewer will do: Sinabs' spike_fn=MaxSpike(3), "
    "Rockpool's max_spikes_per_dt=3",
    severity=Severity.NOTE,
)
PROVED = "no input within its range makes them spike more often"
SEEN = "as often as on the calibration set; what goes beyond stays in membranes, and is counted"


@dataclass(frozen=True)
class LimitSpikes(Pass):
    """From level layers to layers: neurons without a limit get the least that is proved, or seen.

    `input_range` is None for a binary input. `samples` [samples, timesteps, inputs] show how often
    neurons spike of which nothing is proved; without them they may as often as the machine can.
    Raises CompileError where samples need more than that.
    """

    name: ClassVar[str] = "limit-spikes"
    input_range: tuple[float, float] | None = None
    samples: Tensor | None = field(default=None, compare=False, repr=False)

    def run(self, graph: Graph) -> Graph:
        """The graph with limits."""
        given: dict[str, int] = {}
        seen = self.seen(graph) if self.samples is not None else {}
        while unproved := [n for n, most in self.proved(graph, given).items() if most > MOST_TIMES]:
            (name, *_) = unproved
            given[name] = min(seen.get(name, MOST_TIMES), MOST_TIMES)
            if seen.get(name, 0) > MOST_TIMES:
                raise many_spikes(
                    graph, name, "the calibration set", f"more than {MOST_TIMES}", MOST_TIMES
                )
        found = {**self.proved(graph, given), **given}
        for op in endless_ops(graph):
            if op.results[0] in given and self.samples is None:
                continue  # refused by who looks for ranges
            number, layer = found[op.results[0]], op.attrs["layer"]
            why = SEEN if op.results[0] in given else PROVED
            where = ", ".join(op.loc)
            tell(
                finding(
                    SPIKES_LIMITED, where=where, nodes=op.loc, layer=layer, times=number, origin=why
                )
            )
        return spiking_up_to(graph, found)

    def proved(self, graph: Graph, given: Mapping[str, int]) -> dict[str, int]:
        """How often neurons may have to spike, those aside of which it is `given`; no further than
        `BEYOND`."""
        found = {name: given.get(name, 1) for name in endless_of(graph)}
        while True:
            limited = spiking_up_to(graph, found)
            ranges = static_ranges(limited, self.input_range, sizes=True)
            more = {n: max(k, min(ranges.spikes[n], BEYOND)) for n, k in found.items()}
            more.update(given)
            if more == found:
                return {name: number for name, number in found.items() if name not in given}
            found = more

    def seen(self, graph: Graph) -> dict[str, int]:
        """How often neurons spike on the samples, no further than `BEYOND`."""
        assert self.samples is not None
        found = dict.fromkeys(endless_of(graph), 1)
        graph = spiking_up_to(graph, dict.fromkeys(found, BEYOND))
        for part in interpret_in_parts(graph, self.samples, trace=list(found)):
            for name in found:
                spikes = part[name].any(axis=(0, 1)).reshape(BEYOND, -1).any(axis=1)
                found[name] = max(found[name], int((np.flatnonzero(spikes) + 1).max(initial=1)))
        return found
