"""Quantization: real numbers become integers, every value with a width and a scale."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

from dmpc.errors import CompileError
from dmpc.ir.graph import Array, Graph
from dmpc.ir.ops_layers import NEURONS
from dmpc.ir.registry import did_you_mean
from dmpc.passes.base import Pass
from dmpc.passes.layer_rules import check_layers
from dmpc.passes.quantization.builder import Builder, add_delay
from dmpc.passes.quantization.neurons import add_neurons
from dmpc.passes.quantization.readout import add_readout
from dmpc.passes.quantization.slow_state import (
    add_drive,
    add_hold,
    add_input,
    add_memory,
    choose_drive_step,
    choose_hold_step,
    choose_memory_step,
)
from dmpc.passes.quantization.widths import WidthPlan, Widths
from dmpc.passes.ranges import Ranges, Real
from dmpc.passes.static_ranges import static_ranges
from isa.target import Target, load_target


@dataclass(frozen=True)
class Quantized:
    """An integer graph, and what its integers stand for by the names of the float graph.

    `units` are what the steps of weights stand for, `parameters` other constants; `steps` is what
    values are rounded to multiples of, membranes per neuron.
    """

    graph: Graph
    units: dict[str, Array | float]
    parameters: dict[str, Array]
    steps: dict[str, float | Real]

    @cached_property
    def meant(self) -> dict[str, Array]:
        """Constants in real numbers."""
        weights = {name: self.graph.constants[name] * unit for name, unit in self.units.items()}
        return {**weights, **self.parameters}


@dataclass(frozen=True)
class Quantize(Pass):
    """Scales from `ranges` (default: static ranges of a binary input), widths from `widths`.

    Without `widths` those of `target`. Weights are rounded to nearest, or, where `ranges` hold
    second moments, so that errors make up for each other (`quantization.rounding`).
    """

    name: ClassVar[str] = "quantize"
    target: Target = field(default_factory=lambda: load_target("paper"))
    ranges: Ranges | None = None
    widths: WidthPlan | None = None

    def run(self, graph: Graph) -> Graph:
        """The integer graph of a float graph at level layers."""
        return self.quantized(graph).graph

    def quantized(self, graph: Graph) -> Quantized:
        """The integer graph, with the real numbers that it stands for."""
        ranges = self.ranges or static_ranges(graph, None)
        plan = self.widths or WidthPlan(Widths.of(self.target))
        check_layers(graph)
        _check_widths(graph, plan)
        build = Builder(graph, self.target, ranges, plan)
        build.out.attrs["target"] = self.target.name
        build.out.attrs["scales"] = ranges.origin
        for op in graph.ops:
            if op.kind == "memory":
                choose_memory_step(build, op)
        for name in graph.inputs:
            add_input(build, name)
        for op in graph.ops:  # a layer may read what a later one kept of the timestep before
            if op.kind in _CHOOSE:
                _CHOOSE[op.kind](build, op)
        for state in graph.states:
            if graph.types[state.name].dtype == "event":
                build.past(state)
        for op in graph.ops:
            if op.results[0] in graph.outputs:
                add_readout(build, op)
            elif op.kind in _ADD:
                _ADD[op.kind](build, op)
        build.out.ops = build.out.toposort()
        steps: dict[str, float | Real] = {**build.steps, **build.membranes}
        return Quantized(build.out, build.units, build.meant, steps)


_CHOOSE = {"drive": choose_drive_step, "hold": choose_hold_step}
_ADD = {
    "delay": add_delay,
    "drive": add_drive,
    "memory": add_memory,
    "hold": add_hold,
    **dict.fromkeys(NEURONS, add_neurons),
}


def _check_widths(graph: Graph, plan: WidthPlan) -> None:
    layers = {str(op.attrs["layer"]) for op in graph.ops}
    for name in sorted(plan.layers.keys() - layers):
        raise CompileError(
            f"widths are given for layer '{name}', which does not exist",
            where=graph.name,
            hint=did_you_mean(name, sorted(layers)),
        )
