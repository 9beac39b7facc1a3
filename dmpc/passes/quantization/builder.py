"""The integer graph while it is built, and what all of its builders share."""

from dataclasses import replace

import numpy as np

from dmpc.ir.graph import Array, Graph, Op, State, fresh
from dmpc.ir.ops_layers import charged
from dmpc.ir.registry import op_def
from dmpc.ir.types import TensorType
from dmpc.passes.quantization.widths import WidthPlan, Widths
from dmpc.passes.ranges import Ranges, Real, currents, sources, start_of, unheld
from dmpc.passes.scales import rounded
from isa.target import Target, smallest_integer


class Builder:
    """Reads the float graph, writes the integer graph `out`.

    `steps` is the real value of one step of each value that is no event, `membranes` those of the
    membranes; `meant` holds, by their names in the float graph, the real constants that the integer
    ones stand for, `units` instead, for weights, what their steps stand for. `drives` are steps
    of drives' weights, and their shifts, by what the drives give.
    """

    def __init__(self, graph: Graph, target: Target, ranges: Ranges, plan: WidthPlan) -> None:
        self.graph, self.target, self.ranges, self.plan = graph, target, ranges, plan
        self.out = Graph(graph.name, "integer", inputs=list(graph.inputs), attrs=dict(graph.attrs))
        self.steps: dict[str, float] = {}
        self.membranes: dict[str, Real] = {}
        self.meant: dict[str, Array] = {}
        self.units: dict[str, Array | float] = {}
        self.drives: dict[str, tuple[float, int]] = {}
        self._names: dict[tuple[str, ...], str] = {}
        self._taken = {*graph.types} - _biases(graph)
        self.wide_bits = plan.default.sums + target.accumulators.guard

    def widths(self, op: Op) -> Widths:
        """The widths of the layer that an op belongs to."""
        return self.plan[str(op.attrs["layer"])]

    def add(self, op: Op, *types: TensorType) -> None:
        """An op with the types of its results."""
        self.out.add(op, *types)

    def constant(self, name: str, value: Array, bits: int, scale: float | None) -> None:
        """A constant of `bits` bits under the name that it has in the float graph."""
        loc = self.graph.locs.get(name, ())
        type_ = TensorType(f"i{bits}", value.shape, scale)
        self.out.add_constant(name, value.astype(smallest_integer(bits)), type_, loc)

    def name(self, op: Op, *words: str) -> str:
        """The name of a value that the float graph lacks, an op's own: "layer1.u.leaked"."""
        key = (op.results[0], *words)
        if key not in self._names:
            self._names[key] = self.fresh(".".join((_prefix(self.graph, op), *words)))
        return self._names[key]

    def fresh(self, name: str) -> str:
        """The name of a value that the float graph lacks: this one, or one like it."""
        made = fresh(name, self._taken)
        self._taken.add(made)
        return made

    def scale(self, name: str, steps: Array) -> str:
        """A constant of real steps, one for each element of a value."""
        return self.out.add_constant(name, steps, TensorType("f32", steps.shape))

    def state(self, name: str, after: str, type_: TensorType, step: Real | None = None) -> None:
        """A state; `after` is its value in the next timestep.

        With the real value of its steps it starts from where the float graph's does, else from 0.
        """
        old, init = self.graph.state(name), None
        self.out.types[name] = type_
        if old and old.init and step is not None:
            start = rounded(self.start(name), step, type_.bits).astype(smallest_integer(type_.bits))
            if start.any():
                init = self.out.add_constant(
                    old.init, start, type_, self.graph.locs.get(old.init, ())
                )
        self.out.states.append(State(name, after, init, old.loc if old else ()))

    def start(self, name: str) -> Real:
        """The real value of a state before the first timestep."""
        return start_of(self.graph, name)

    def product(self, dense: Op, integers: Array, bits: int) -> None:
        """The exact product of a linear map with integer weights."""
        self.constant(dense.operands[1], integers, bits, None)
        attrs = {**dense.attrs, "bits": self.wide_bits}
        sums = TensorType(f"i{self.wide_bits}", self.graph.types[dense.results[0]].shape)
        kind = "convolve" if dense.kind == "conv" else "matvec"
        self.add(Op(kind, dense.operands[:2], dense.results, attrs, dense.loc), sums)

    def step_of(self, product: Op) -> float:
        """Real value of one step of what a dense product of values reads."""
        return self.steps[unheld(self.graph, product.operands[0])]

    def weights(self, product: Op) -> Real:
        """The real weights of a linear map: [n, m], of a convolution its own."""
        return self.graph.constants[product.operands[1]].astype(np.float64)

    def past(self, state: State) -> None:
        """Events of the timestep before, which stay what they are."""
        self.out.types[state.name] = self.graph.types[state.name]
        self.out.states.append(state)


def _prefix(graph: Graph, op: Op) -> str:
    """What names of an op's own values begin with: those of each current of a layer differ."""
    layer = str(op.attrs["layer"])
    if op.kind != "li":
        return layer
    neurons = charged(graph, op)
    others = sources(graph, currents(graph, neurons, True)) if neurons else [op]
    number = [other.results for other in others].index(op.results)
    return f"{layer}.current{number + 1 if number else ''}"


def _biases(graph: Graph) -> set[str]:
    """Constants that are read as biases alone, which integers hold under names of their own."""
    bound = [op_def(op.kind).bind(op.operands).items() for op in graph.ops]
    read = [(slot, name) for slots in bound for slot, names in slots for name in names]
    return {n for slot, n in read if slot == "bias"} - {n for slot, n in read if slot != "bias"}


def add_delay(build: Builder, op: Op) -> None:
    """Events that arrive later, which stay what they are."""
    graph, delays = build.graph, op.operands[2]
    loc = graph.locs.get(delays, ())
    build.out.add_constant(delays, graph.constants[delays], graph.types[delays], loc)
    build.add(replace(op), *(graph.types[name] for name in op.results))
