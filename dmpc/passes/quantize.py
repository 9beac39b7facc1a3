"""Quantization: real numbers become integers, every value with a width and a scale."""

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from dmpc.errors import CompileError
from dmpc.ir.graph import Array, Attr, Graph, Op, State
from dmpc.ir.types import TensorType
from dmpc.passes.base import Pass
from dmpc.passes.ranges import (
    Currents,
    Ranges,
    currents,
    is_event,
    total_bias,
    unheld,
)
from dmpc.passes.scales import (
    MAX_SHIFT,
    NeuronScale,
    balanced_step,
    largest,
    neuron_scale,
    power_of_two_multiple,
    rounded,
    smallest,
    value_scale,
)
from dmpc.passes.static_ranges import static_ranges
from isa.target import Target, load_target

TINY = 2.0**-100  # stands for the range of a value that is always zero
STATE_BITS_OF_DRIVE = 11  # least width left to a scalar drive or graded input
MOST_BIAS_BITS = 20  # of a readout bias, in steps of a logit: sums over time need room
READOUT_MODES = {"mean": "sum", "sum": "sum", "last": "last", "max": "max"}


@dataclass(frozen=True)
class Quantize(Pass):
    """Scales from `ranges` (default: static ranges of a binary input), widths from `target`."""

    name: ClassVar[str] = "quantize"
    target: Target = field(default_factory=lambda: load_target("paper"))
    ranges: Ranges | None = None

    def run(self, graph: Graph) -> Graph:
        """The integer graph of a float graph at level layers."""
        ranges = self.ranges or static_ranges(graph, None)
        return _Quantizer(graph, self.target, ranges).run()


class _Quantizer:
    """One run of the pass: reads the float graph, writes the integer graph."""

    def __init__(self, graph: Graph, target: Target, ranges: Ranges) -> None:
        self.graph, self.target, self.ranges = graph, target, ranges
        self.out = Graph(graph.name, "integer", inputs=list(graph.inputs), attrs=dict(graph.attrs))
        self.steps: dict[str, float] = {}  # real value of one step of a value that is no event
        self.sum_bits = target.accumulators.bits
        self.wide_bits = target.accumulators.bits + target.accumulators.guard

    def run(self) -> Graph:
        graph, out = self.graph, self.out
        out.attrs["target"] = self.target.name
        out.attrs["scales"] = self.ranges.origin
        for op in graph.ops:
            if op.kind == "memory":
                self._choose_memory_step(op)
        for name in graph.inputs:
            self._input(name)
        for state in graph.states:
            if graph.types[state.name].dtype == "event":
                self._past(state)
        for op in graph.ops:
            if op.kind == "drive":
                self._drive(op)
            elif op.kind == "memory":
                self._memory(op)
            elif op.kind == "hold":
                self._hold(op)
            elif op.kind == "lif":
                self._lif(op)
            elif op.results[0] in graph.outputs:
                self._readout(op)
        out.ops = out.toposort()
        return out

    # -- values -----------------------------------------------------------------------------------

    def _choose_memory_step(self, op: Op) -> None:
        seen = self.ranges.bounds[op.results[0]].magnitude.max(initial=0)
        bits = self.target.values.bits
        step = max(float(seen), TINY) * self.ranges.margin / largest(bits)
        self.steps[op.operands[0]] = self.steps[op.results[0]] = step

    def _input(self, name: str) -> None:
        shape = self.graph.types[name].shape
        self.out.locs[name] = self.graph.locs.get(name, ())
        if self.ranges.events:
            self.out.types[name] = TensorType("event", shape)
            return
        most = max(float(self.ranges.bounds[name].magnitude.max()), TINY)
        step, _ = power_of_two_multiple(1.0, self._balanced(name, most))
        bits = self.target.values.bits
        finest = float(2.0 ** np.ceil(np.log2(most / largest(bits))))
        self.steps[name] = max(step, finest)
        self.out.types[name] = TensorType(f"i{bits}", shape, self.steps[name])

    def _past(self, state: State) -> None:
        """Events of the timestep before stay what they are."""
        if state.init is not None:
            raise CompileError(
                f"%{state.name} starts from %{state.init}: there are no spikes before the first "
                "timestep",
                where=", ".join(state.loc) or self.graph.name,
                hint="reset the model's states before exporting it",
            )
        self.out.types[state.name] = self.graph.types[state.name]
        self.out.states.append(state)

    def _balanced(self, name: str, most: float) -> float:
        """A step for a drive or graded input that suits the memory products it is summed with."""
        references, weights = [], []
        for lif in (op for op in self.graph.ops if op.kind == "lif"):
            roles = currents(self.graph, lif, self.ranges.events)
            source = {op.results[0]: unheld(self.graph, op.operands[0]) for op in roles.values}
            mine = [op for op in roles.values if source[op.results[0]] == name]
            known = [op for op in roles.values if source[op.results[0]] in self.steps]
            if mine and known:
                references.append(
                    np.max([self._columns(op) * self._step_of(op) for op in known], axis=0)
                )
                weights.append(np.max([self._columns(op) for op in mine], axis=0))
        reference = np.concatenate(references) if references else np.zeros(0)
        weight = np.concatenate(weights) if weights else np.zeros(0)
        return balanced_step(
            reference,
            weight[:, None],
            most=most * self.ranges.margin,
            bits=self.target.values.bits,
            least_bits=STATE_BITS_OF_DRIVE,
        )

    def _step_of(self, product: Op) -> float:
        """Real value of one step of what a dense product of values reads."""
        return self.steps[unheld(self.graph, product.operands[0])]

    def _columns(self, dense: Op) -> Array:
        """The largest weight of each neuron."""
        most: Array = np.abs(self.graph.constants[dense.operands[1]]).max(axis=1, initial=0)
        return most

    # -- slow state -------------------------------------------------------------------------------

    def _drive(self, op: Op) -> None:
        weight, *bias = (self.graph.constants[name] for name in op.operands[1:])
        offset = float(bias[0][0]) if bias else 0.0
        bits = self.target.drive.weight_bits
        most = max(float(self.ranges.bounds[op.results[0]].high[0]), abs(offset), 2.0**-40)
        event = is_event(self.graph, op.operands[0], self.ranges.events)
        source_step = 1.0 if event else self.steps[op.operands[0]]
        unit = float(np.abs(weight).max(initial=0)) / largest(bits) or most
        wanted = self._balanced(op.results[0], most)
        step, shift = power_of_two_multiple(unit * source_step, wanted)
        finest = most * self.ranges.margin / largest(self.target.values.bits)
        if step < finest and shift < MAX_SHIFT:
            step, shift = step * 2, shift + 1
        if step < finest:  # the weights are nothing beside the bias
            step, unit = finest, finest / source_step / 2.0**MAX_SHIFT
        self.steps[op.results[0]] = step
        self._constant(op.operands[1], rounded(weight, unit, bits), bits, unit)
        self._add(
            Op(
                "scalar_drive",
                op.operands[:2],
                op.results,
                {
                    "layer": op.attrs["layer"],
                    "shift": shift,
                    "bias": int(rounded(np.array(offset), step, 16)),
                    "bits": self.target.values.bits,
                    "scale": step,
                },
                op.loc,
            ),
            TensorType(f"i{self.target.values.bits}", (1,), step),
        )

    def _memory(self, op: Op) -> None:
        self._check_initial(op)
        state, drive, a, b = op.operands
        step = self.steps[state]
        real_a = self.graph.constants[a]
        real_b = self.graph.constants[b] * (self.steps[drive] / step)
        bits = self.target.update.weight_bits
        most = max(np.abs(real_a).max(initial=0), np.abs(real_b).max(initial=0), 2.0**-20)
        shift = int(np.clip(np.floor(np.log2(largest(bits) / most)), 0, 31))
        for name, real in ((a, real_a), (b, real_b)):
            self._constant(name, rounded(real, 2.0**-shift, bits), bits, None)
        value = TensorType(f"i{self.target.values.bits}", self.graph.types[state].shape, step)
        self.out.types[state] = value
        self.out.states.append(State(state, op.results[0], None, self._state_loc(state)))
        attrs = {"layer": op.attrs["layer"], "shift": shift, "bits": self.target.values.bits}
        self._add(Op("state_update", op.operands, op.results, attrs, op.loc), value)

    def _hold(self, op: Op) -> None:
        """A copy of integers, which is exact."""
        self._check_initial(op)
        held, value = op.operands
        step = self.steps[held] = self.steps[op.results[0]] = self.steps[value]
        copy = TensorType(f"i{self.target.values.bits}", self.graph.types[value].shape, step)
        self.out.types[held] = copy
        self.out.states.append(State(held, op.results[0], None, self._state_loc(held)))
        self._add(Op("hold", op.operands, op.results, dict(op.attrs), op.loc), copy)

    # -- neurons ----------------------------------------------------------------------------------

    def _lif(self, op: Op) -> None:
        graph, ranges = self.graph, self.ranges
        layer = str(op.attrs["layer"])
        self._check_initial(op)
        roles = currents(graph, op, ranges.events)
        self._check_leak(op, graph.constants[roles.beta])
        bias = total_bias(graph, (*roles.events, *roles.values))
        neuron = neuron_scale(
            [graph.constants[c.operands[1]] for c in roles.events],
            ranges.charge[op.results[0]],
            graph.constants[roles.threshold].astype(np.float64),
            [bias, graph.constants[roles.reset]],
            margin=ranges.margin,
            weight_bits=self._weight_bits("spike"),
            membrane_bits=self.target.neuron.membrane_bits,
        )
        values = value_scale(
            neuron,
            [(graph.constants[c.operands[1]], self._step_of(c)) for c in roles.values],
            ranges.values[op.results[0]],
            margin=ranges.margin,
            weight_bits=self._weight_bits("memory_a"),
            sum_bits=self.sum_bits,
        )
        for c in roles.events:
            self._matvec(c, neuron.weight_step, 1.0, self._weight_bits("spike"))
        for c in roles.values:
            self._matvec(c, values.step, self._step_of(c), self._weight_bits("memory_a"))
        self._neuron_constants(op, roles, neuron, values.shift)
        scale = self._scale(f"{layer}.scale", neuron.step)
        bits = self.target.neuron.membrane_bits
        membrane = TensorType(f"i{bits}", neuron.step.shape, scale)
        self.out.types[op.operands[0]] = membrane
        self.out.states.append(
            State(op.operands[0], op.results[1], None, self._state_loc(op.operands[0]))
        )
        self._neuron_ops(op, roles, neuron, membrane)

    def _check_initial(self, op: Op) -> None:
        state = self.graph.state(op.operands[0])
        if state is not None and state.init is not None:
            what = "membranes" if op.kind == "lif" else "memory states"
            raise CompileError(
                f"{what} of {op.attrs['layer']} start from %{state.init}, not from zero",
                where=", ".join(op.loc) or self.graph.name,
                hint="reset the model's states before exporting it",
            )

    def _check_leak(self, op: Op, beta: Array) -> None:
        wrong = beta[(beta < 0) | (beta > 1)]
        if wrong.size:
            raise CompileError(
                f"neurons of {op.attrs['layer']} keep {wrong[0]:g} of their membrane a timestep; "
                "the machine keeps 0 .. 1 of it",
                where=", ".join(op.loc) or self.graph.name,
            )

    def _neuron_constants(self, op: Op, roles: Currents, neuron: NeuronScale, shift: Array) -> None:
        """Threshold, bias, leak, reset and shift as integers under the layer's names."""
        graph, layer = self.graph, str(op.attrs["layer"])
        bits = self.target.neuron.membrane_bits
        bias = total_bias(graph, (*roles.events, *roles.values))
        threshold = neuron.threshold + (1 if op.attrs["strict"] else 0)
        fraction = self.target.neuron.leak_bits
        beta = np.clip(np.rint(graph.constants[roles.beta] * (1 << fraction)), 0, 1 << fraction)
        self._constant(roles.beta, beta.astype(np.int64), fraction + 2, 2.0**-fraction)
        self._constant(roles.threshold, rounded(threshold, 1.0, bits), bits, None)
        self._constant(f"{layer}.bias", rounded(bias, neuron.step, bits), bits, None)
        self._constant(f"{layer}.shift", shift, 6, None)
        reset = rounded(graph.constants[roles.reset], neuron.step, bits)
        self._constant(roles.reset, reset, bits, None)

    def _neuron_ops(
        self, op: Op, roles: Currents, neuron: NeuronScale, membrane: TensorType
    ) -> None:
        """Leak, integration of events, integration of values and bias, fire."""
        layer = str(op.attrs["layer"])
        common: dict[str, Attr] = {"layer": layer, "bits": membrane.bits}
        names = [f"{layer}.u.{stage}" for stage in ("leaked", "events", "charged")]
        leak: dict[str, Attr] = {"layer": layer, "fraction": self.target.neuron.leak_bits}
        self._add(Op("leak", (op.operands[0], roles.beta), (names[0],), leak, op.loc), membrane)
        charged = names[0]
        if roles.events:
            sums = tuple(c.results[0] for c in roles.events)
            attrs: dict[str, Attr] = {
                **common,
                "shift": -neuron.fraction,
                "sum_bits": self.sum_bits,
            }
            self._add(
                Op("integrate_events", (charged, *sums), (names[1],), attrs, op.loc), membrane
            )
            charged = names[1]
        sums = tuple(c.results[0] for c in roles.values)
        operands = (charged, *sums, f"{layer}.shift", f"{layer}.bias")
        attrs = {**common, "sum_bits": self.sum_bits}
        self._add(Op("integrate_values", operands, (names[2],), attrs, op.loc), membrane)
        self._add(
            Op(
                "fire",
                (names[2], roles.threshold, roles.reset),
                op.results,
                {**common, "reset_mode": op.attrs["reset_mode"]},
                op.loc,
            ),
            TensorType("event", membrane.shape),
            membrane,
        )

    # -- readout ----------------------------------------------------------------------------------

    def _readout(self, op: Op) -> None:
        graph, bits = self.graph, self._weight_bits("spike")
        if not is_event(graph, op.operands[0], self.ranges.events):
            raise CompileError(
                f"the readout takes %{op.operands[0]}, which are not spikes",
                where=", ".join(op.loc) or graph.name,
                hint="read out the last layer's spikes",
            )
        weight, *bias = (graph.constants[name] for name in op.operands[1:])
        offset = bias[0] if bias else np.zeros(len(weight))
        step = float(np.abs(weight).max(initial=0)) / largest(bits)
        step = max(step, float(np.abs(offset).max()) / 2.0**MOST_BIAS_BITS) or 1.0
        self._matvec(op, np.full(len(weight), step), 1.0, bits)
        shift = max(0, int(np.ceil(np.log2(max(np.abs(offset).max() / step, 1) / largest(16)))))
        self._constant("readout.bias", rounded(offset, step * 2.0**shift, 16), 16, None)
        self._constant("readout.shift", np.full(len(weight), -shift), 6, None)
        mode = READOUT_MODES[str(graph.attrs["readout"])]
        logit = TensorType(f"i{self.target.readout.bits}", (len(weight),), step)
        self.out.types["logits"] = logit
        self.out.states.append(State("logits", "logits.next", self._first_logits(mode, logit)))
        self._add(
            Op(
                "accumulate_logits",
                ("logits", op.results[0], "readout.bias", "readout.shift"),
                ("logits.next",),
                {
                    "layer": "readout",
                    "mode": mode,
                    "bits": logit.bits,
                },
                op.loc,
            ),
            logit,
        )
        self.out.outputs = ["logits.next"]
        self.out.attrs["average"] = graph.attrs["readout"] == "mean"
        self.out.attrs["readout"] = "last"

    def _first_logits(self, mode: str, logit: TensorType) -> str | None:
        if mode != "max":
            return None
        least = np.full(logit.shape, -(1 << (logit.bits - 1)), np.int64)
        return self.out.add_constant("readout.least", least, logit)

    # -- pieces -----------------------------------------------------------------------------------

    def _matvec(self, dense: Op, unit: Array, value_step: float, bits: int) -> None:
        """The product of a dense op, its weights [N, n] in steps of unit [N] / value_step."""
        weight = dense.operands[1]
        integers = rounded(self.graph.constants[weight] * value_step, unit[:, None], bits)
        self._constant(weight, integers, bits, None)
        attrs = {"layer": dense.attrs["layer"], "bits": self.wide_bits}
        sums = TensorType(f"i{self.wide_bits}", unit.shape)
        self._add(Op("matvec", dense.operands[:2], dense.results, attrs, dense.loc), sums)

    def _weight_bits(self, path: str) -> int:
        return self.target.bank[self.target.bank_for(path)].weight_bits

    def _add(self, op: Op, *types: TensorType) -> None:
        self.out.add(replace(op), *types)

    def _scale(self, name: str, steps: Array) -> str:
        return self.out.add_constant(name, steps, TensorType("f32", steps.shape))

    def _constant(self, name: str, value: Array, bits: int, scale: float | None) -> None:
        loc = self.graph.locs.get(name, ())
        type_ = TensorType(f"i{bits}", value.shape, scale)
        self.out.add_constant(name, value.astype(smallest(bits)), type_, loc)

    def _state_loc(self, name: str) -> tuple[str, ...]:
        state = self.graph.state(name)
        return state.loc if state else ()
