"""Exact cycles of a network's programs, for activity that is found once."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from dmpc.backend.interface import interface_of
from dmpc.backend.lower import lower
from dmpc.backend.pieces import Lowered
from dmpc.backend.tables import memory_tables
from dmpc.ir.chains import fires
from dmpc.ir.graph import Graph, Op
from dmpc.ir.interpret import interpret
from dmpc.ir.registry import Tensor
from dmpc.passes.place import PlaceInMemory
from dmpc.passes.ranges import Real
from isa.arithmetic import Int
from isa.image import Image
from isa.instructions.neurons import Neurons
from isa.limits import LOCKSTEP
from isa.prediction import predict_cycles
from isa.target import Target

STEPS = 40
"""Timesteps of a sample that are timed: enough that its beginning and end weigh little."""
GUESSED, SEED = 12, 0
"""Timesteps of a guess, which no more of them make better."""


@dataclass(frozen=True)
class Stopwatch:
    """Times programs of a fused `graph`, whatever banks its products are in.

    Which events are active depends on none of that. They are those of samples
    [samples, timesteps, inputs], of which a stretch is timed; without samples a share `density` of
    all inputs and neurons is active, at random. `activity` is what placement will go by.
    """

    graph: Graph
    target: Target
    samples: Tensor | None
    density: float
    activity: Mapping[str, Real] = field(default_factory=dict)

    @cached_property
    def inputs(self) -> Int:
        """The integers that go in."""
        if self.samples is None:
            return self._guess(self.graph.inputs[0])
        given = interface_of(self.graph).input
        return given.integers(given.shown(self.samples[:LOCKSTEP]))[0].astype(np.int64)

    @cached_property
    def spikes(self) -> dict[str, Int]:
        """The events of every layer."""
        names = [op.results[0] for op in self.graph.ops if fires(op) or op.kind == "delay"]
        if self.samples is None:
            return {name: self._guess(name) for name in names}
        return dict(interpret(self.graph, self.inputs, trace=names).traces)

    def active(self, op: Op) -> Int:
        """Inputs for which a product reads rows, [samples, timesteps]."""
        name, dense = op.operands[0], op.attrs.get("stationary") == "output"
        if dense or self.graph.types[name].dtype != "event":
            size = self.graph.types[name].shape[0]
            return np.full(self._stretch(self.inputs).shape[:2], size)
        origin = events_of(self.graph, name)
        series = self.inputs if origin in self.graph.inputs else self.spikes[origin]
        return np.asarray(self._stretch(series).sum(2))

    def cycles(self, graph: Graph) -> float:
        """Cycles a timestep of a graph that is the same but for banks.

        Raises CompileError where it has no room, and Trap where it cannot run.
        """
        placed = PlaceInMemory(self.target, self.activity).run(graph)
        program = lower(placed, self.target)
        image = _Sketch(self.target, program, placed)
        spikes = {
            pc: self._stretch(self.spikes[item.provenance.values["dest"]])
            for pc, item in enumerate(program)
            if isinstance(item.instruction, Neurons) and item.instruction.dest is not None
        }
        inputs = self._stretch(self.inputs)
        cycles = predict_cycles(image, inputs, spikes)
        return float(cycles.mean() / inputs.shape[1])

    def _guess(self, name: str) -> Int:
        shape = (LOCKSTEP, GUESSED, self.graph.types[name].shape[0])
        if self.graph.types[name].dtype != "event":
            return np.zeros(shape, np.int64)
        drawn = np.random.default_rng([SEED, *name.encode()]).random(shape)
        return (drawn < self.density).astype(np.int64)

    @staticmethod
    def _stretch(series: Int) -> Int:
        """The timed timesteps of every sample: each another stretch, from first to last."""
        starts = np.linspace(0, max(series.shape[1] - STEPS, 0), len(series)).astype(int)
        parts = [one[start : start + STEPS] for one, start in zip(series, starts, strict=True)]
        return np.stack(parts).astype(np.int64)


def events_of(graph: Graph, name: str) -> str:
    """Whose events a copy of events or a state holds, earlier or later."""
    state, made = graph.state(name), graph.producer(name)
    if state is not None:
        return state.next
    return events_of(graph, made.operands[0]) if made and made.kind == "move" else name


class _Sketch(Image):
    """A program without weights, which change no time, for a target that is at hand."""

    def __init__(self, target: Target, program: list[Lowered], graph: Graph) -> None:
        delays = replace(graph, ops=[op for op in graph.ops if op.kind == "delay"])
        super().__init__("", tuple(x.instruction for x in program), memory_tables(delays, target))
        self.__dict__["target"] = target
