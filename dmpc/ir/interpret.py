"""The interpreter: runs a graph of any level over whole samples, by the ops' own semantics.

An op that no state leads back to computes all timesteps at once: to it, they are more samples. What
depends on its own past, the membranes of a layer, say, goes through them one by one, and nothing
else with it. Ops are parted by this alone (`dmpc.ir.rings`), whatever they compute.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from dmpc.errors import CompileError
from dmpc.ir.graph import Graph, Op
from dmpc.ir.laps import WORTH, Lap, Timestep, Values, lap
from dmpc.ir.registry import EvalContext, Tensor, op_def
from dmpc.ir.rings import Part, parts
from dmpc.ir.types import TensorType
from isa.arithmetic import Saturation

ROWS = 2048
"""Samples times timesteps that are computed at once: enough for products to be fast, few enough for
their results to stay in the processor's cache."""
ELEMENTS = 1 << 24
"""Of all values together that are computed at once; of large networks fewer rows are then."""


def over_time(readout: str, outputs: Tensor, since: int = 0) -> Tensor:
    """The answer [samples, classes] that a readout makes of outputs [samples, timesteps, classes].

    `readout` is mean, sum, last, max, or max0: the largest, or zero where all are below. Mean and
    sum are those from timestep `since` on; where there is none, zero.
    """
    if readout == "last":
        return np.asarray(outputs[:, -1])
    if readout in ("max", "max0"):
        largest = np.asarray(outputs.max(axis=1))
        return np.maximum(largest, 0) if readout == "max0" else largest
    counted = outputs[:, since:]
    mean = readout != "sum" and counted.shape[1] > 0
    return np.asarray(counted.mean(axis=1) if mean else counted.sum(axis=1))


def readout_in(graph: Graph) -> str:
    """The readout of a graph; of integers the sum in place of the mean."""
    readout = str(graph.attrs.get("readout", "mean"))
    return "sum" if readout == "mean" and not graph.types[graph.outputs[0]].is_float else readout


def since_in(graph: Graph) -> int:
    """The first timestep that a mean or sum over time takes in."""
    since = graph.attrs.get("since", 0)
    assert isinstance(since, int)
    return since


def answer(graph: Graph, outputs: Tensor) -> Tensor:
    """The answer [samples, classes] that a graph makes of its outputs, as `over_time` has them."""
    return over_time(readout_in(graph), outputs, since_in(graph))


@dataclass(frozen=True)
class Result:
    """What a run of a graph gives.

    `outputs` [samples, timesteps, classes] is the output per timestep, `logits` [samples, classes]
    its readout over time. Of an integer graph both are exact int64, and a readout `mean` gives the
    *sum*: dividing by the number of timesteps is left to the caller. `traces` holds the values
    asked for, [samples, timesteps, ...]; a state's trace is its value before the timestep.
    `saturations` counts elements that did not fit their width, by place.
    """

    outputs: Tensor
    logits: Tensor
    traces: dict[str, Tensor] = field(default_factory=dict)
    saturations: dict[str, int] = field(default_factory=dict)


def interpret(
    graph: Graph,
    x: Tensor,
    *,
    trace: Collection[str] = (),
    dtype: type[np.floating[Any]] = np.float64,
    saturate: Saturation[str] | None = None,
    fed: Mapping[str, Tensor] | None = None,
    rounded: Mapping[str, Tensor | float] | None = None,
) -> Result:
    """Run a graph on samples `x` [samples, timesteps, inputs].

    Real values are computed in `dtype`, integers exactly. The input of an integer graph is already
    integer. Every value that has a width goes through `saturate`, which counts what it changes.
    `fed` holds series [samples, timesteps, ...] that ops and states read in place of a value; its
    trace is still what was computed. `rounded` holds the steps to whose multiples real values are
    rounded. Of a graph whose input is repeated, `x` of one timestep is shown as often (`shown`).
    What neither output nor trace depends on is not computed. Raises CompileError if `x` does not
    fit the graph's input, or `trace` names no value.
    """
    x = shown(graph, x)
    _check_input(graph, x, (*trace, *(fed or {}), *(rounded or {})))
    output = graph.outputs[0]
    wanted = tuple(dict.fromkeys((output, *trace)))
    context = EvalContext(dtype, saturate=saturate or Saturation())
    machine = _Machine(graph, context, x, fed or {}, rounded or {}, wanted)
    series = machine.run()
    return Result(
        outputs=series[output],
        logits=answer(graph, series[output]),
        traces={name: series[name] for name in dict.fromkeys(trace)},
        saturations=context.saturations,
    )


def interpret_in_parts(
    graph: Graph, x: Tensor, *, trace: Collection[str]
) -> Iterator[dict[str, Tensor]]:
    """The traces of `interpret`, in float64, a few timesteps at a time: [samples, some, ...] each.

    Nothing is kept of what was told. Raises CompileError as `interpret`.
    """
    x = shown(graph, x)
    _check_input(graph, x, trace)
    wanted = tuple(dict.fromkeys((graph.outputs[0], *trace)))
    machine = _Machine(graph, EvalContext(np.float64, saturate=Saturation()), x, {}, {}, wanted)
    return (found for _, found in machine.parts_of_time())


def shown(graph: Graph, x: Tensor) -> Tensor:
    """Samples as a graph takes them: a single timestep is shown as often as the graph says."""
    repeats = repeats_of(graph)
    return x if repeats is None or x.ndim < 2 or x.shape[1] != 1 else np.repeat(x, repeats, axis=1)


def repeats_of(graph: Graph) -> int | None:
    """How many timesteps a graph's input is shown for, if it was made from one that repeats it."""
    repeats = graph.attrs.get("repeats")
    return repeats if isinstance(repeats, int) else None


def _check_input(graph: Graph, x: Tensor, trace: Collection[str]) -> None:
    if len(graph.inputs) != 1:
        raise CompileError(f"the graph has {len(graph.inputs)} inputs, expected one")
    type_ = graph.types[graph.inputs[0]]
    if x.ndim != 2 + len(type_.shape) or x.shape[2:] != type_.shape or x.shape[1] == 0:
        sizes = ", ".join(["samples", "timesteps", *map(str, type_.shape)])
        raise CompileError(f"input has shape {list(x.shape)}, the network takes [{sizes}]")
    if type_.is_integer and not np.issubdtype(x.dtype, np.integer) and x.dtype != np.bool_:
        raise CompileError(f"input is {x.dtype}, the network takes integers ({type_})")
    unknown = [name for name in trace if name not in graph.types]
    if unknown:
        raise CompileError(f"no value %{unknown[0]} in graph '{graph.name}' to trace")


class _Machine:
    """The graph's values for a batch of samples, some timesteps after the other.

    Arrays hold one row for each sample of each timestep, the samples of a timestep side by side.
    """

    def __init__(
        self,
        graph: Graph,
        context: EvalContext,
        x: Tensor,
        fed: Mapping[str, Tensor],
        rounded: Mapping[str, Tensor | float],
        wanted: tuple[str, ...],
    ) -> None:
        self.graph, self.context, self.rounded, self.wanted = graph, context, rounded, wanted
        self.samples, self.steps = x.shape[:2]
        self.parts = parts(graph, wanted, fed)
        read = {name for part in self.parts for name in part.reads}
        read |= set(wanted).intersection(graph.inputs)
        given = {**fed, graph.inputs[0]: x}
        self.given = {name: series for name, series in given.items() if name in read}
        self.fed = frozenset(fed)
        self.types = {name: self._element(type_) for name, type_ in graph.types.items()}
        self.evaluate = {op.kind: op_def(op.kind).evaluate for op in graph.ops}
        self.constants = {
            name: self._stored(array, name) for name, array in graph.constants.items()
        }
        self.before: dict[str, Tensor] = {}  # states, ahead of the next timestep
        for state in graph.states:
            start = self.constants[state.init] if state.init is not None else np.zeros(())
            shape = (self.samples, *graph.types[state.name].shape)
            self.before[state.name] = self._stored(np.broadcast_to(start, shape), state.name)
        self.now: dict[str, Tensor] = {}  # what is computed of the present timesteps
        self.read: dict[str, Tensor] = {}  # what others read of them
        self.laps: dict[int, Lap | None] = {}  # rings' timesteps, as far as a tape can hold them

    def run(self) -> dict[str, Tensor]:
        """The wanted values, [samples, timesteps, ...]."""
        found: dict[str, Tensor] = {}
        for steps, part in self.parts_of_time():
            for name, series in part.items():
                if name not in found:
                    found[name] = self._room(name, series)
                found[name][:, steps.start : steps.stop] = series
        return found

    def _room(self, name: str, series: Tensor) -> Tensor:
        """Room for a value of all timesteps: in memory one after the other, as they come and go.

        Of the output in the order of its axes, which is that in which a readout adds it up.
        """
        shape = series.shape[2:]
        if name == self.graph.outputs[0]:
            return np.empty((self.samples, self.steps, *shape), series.dtype)
        return np.empty((self.steps, self.samples, *shape), series.dtype).swapaxes(0, 1)

    def parts_of_time(self) -> Iterator[tuple[range, dict[str, Tensor]]]:
        """Some timesteps after the other, with the wanted values [samples, some, ...]."""
        constants = self.graph.constants
        each = sum(type_.size for name, type_ in self.graph.types.items() if name not in constants)
        rows = min(ROWS, ELEMENTS // each)
        together = max(1, rows // max(self.samples, 1))
        for start in range(0, self.steps, together):
            steps = range(start, min(start + together, self.steps))
            self._compute(steps)
            yield steps, {name: self._series(name, len(steps)) for name in self.wanted}

    def _series(self, name: str, steps: int) -> Tensor:
        shape = self.graph.types[name].shape
        rows = self._with_batch(self.now[name], steps * self.samples, len(shape))
        return rows.reshape(steps, self.samples, *shape).swapaxes(0, 1)

    def _compute(self, steps: range) -> None:
        """Everything in some timesteps; moves the states on."""
        self.read = dict(self.constants)
        for name, series in self.given.items():
            by_step = series[:, steps.start : steps.stop].swapaxes(0, 1)
            rows = by_step.reshape(len(steps) * self.samples, *by_step.shape[2:])
            self.read[name] = self._stored(rows, name)
        inputs = {name: self.read[name] for name in self.graph.inputs if name in self.read}
        self.now = {**self.constants, **inputs}
        for part in self.parts:
            if part.ring:
                self._one_by_one(part, steps)
            else:
                self._at_once(part, steps)

    def _at_once(self, part: Part, steps: range) -> None:
        self.context.timestep = np.repeat(np.array(steps), self.samples)[:, None]
        for op in part.ops:
            rows = len(steps) * self.samples
            self._keep(self._evaluated(op, self.context, self.read, rows))
        for state in part.states:
            next_ = self._with_batch(
                self.read[state.next],
                len(steps) * self.samples,
                len(self.graph.types[state.name].shape),
            )
            self._keep({state.name: np.concatenate([self.before[state.name], next_])[: len(next_)]})
            self.before[state.name] = next_[len(next_) - self.samples :]

    def _one_by_one(self, part: Part, steps: range) -> None:
        values, batched = dict[str, Tensor](), dict[str, Tensor]()
        for name in part.reads:
            of_step = self.read[name].ndim > len(self.graph.types[name].shape)
            (batched if of_step else values)[name] = self.read[name]
        states = {state.name: self.before[state.name] for state in part.states}
        timestep = partial(self._timestep, part)
        if id(part) not in self.laps:
            worth = self.steps >= WORTH
            made = lap(timestep, self.context, values, batched, states) if worth else None
            self.laps[id(part)] = made  # parts live as long as the machine
        noted = self.laps[id(part)]
        plain = self._laps(timestep, values, batched, states, steps)
        laps = plain if noted is None else noted.run(batched, states, steps)
        series: dict[str, list[Tensor]] = {name: [] for name in part.shown}
        for own in laps:
            for name, arrays in series.items():
                arrays.append(own[name])
            states |= {name: own[_next(name)] for name in states}
        self.before |= states
        self._keep({name: np.concatenate(arrays) for name, arrays in series.items()})

    def _laps(
        self, timestep: Timestep, values: Values, batched: Values, states: Values, steps: range
    ) -> Iterator[Values]:
        """What each timestep makes, of `states` as they are then."""
        for number, step in enumerate(steps):
            self.context.timestep = step
            rows = slice(number * self.samples, (number + 1) * self.samples)
            of_step = {name: array[rows] for name, array in batched.items()}
            yield timestep(self.context, {**values, **of_step, **states})

    def _timestep(self, part: Part, context: EvalContext, values: Values) -> Values:
        """What a ring shows of a timestep, and its states before and after."""
        read, made = dict(values), dict(values)
        for op in part.ops:
            results = self._evaluated(op, context, read, self.samples)
            made |= results
            read |= {name: array for name, array in results.items() if name not in self.fed}
        own = {name: made[name] for name in part.shown}
        for state in part.states:
            axes = len(self.graph.types[state.name].shape)
            own[_next(state.name)] = self._with_batch(read[state.next], self.samples, axes)
        return own

    def _keep(self, computed: Mapping[str, Tensor]) -> None:
        self.now.update(computed)
        self.read.update({n: array for n, array in computed.items() if n not in self.fed})

    def _evaluated(
        self, op: Op, context: EvalContext, values: Values, rows: int
    ) -> dict[str, Tensor]:
        """The results of an op, given the values of its operands in so many rows or in none."""
        operands = [values[name] for name in op.operands]
        results = self.evaluate[op.kind](context, op.attrs, *operands)
        return {
            name: self._checked(name, array, rows)
            for name, array in zip(op.results, results, strict=True)
        }

    def _checked(self, name: str, array: Tensor, rows: int) -> Tensor:
        type_ = self.graph.types[name]
        if name in self.rounded:
            array = np.floor(array / self.rounded[name] + 0.5) * self.rounded[name]
        elif array.shape == (rows, *type_.shape) and array.dtype.type is self.types[name]:
            return array  # as nearly all are
        array = self._with_batch(self._stored(array, name), rows, len(type_.shape))
        if array.shape[1:] != type_.shape:
            raise CompileError(f"%{name} came out as {list(array.shape[1:])}, its type is {type_}")
        return array

    def _with_batch(self, array: Tensor, rows: int, axes: int) -> Tensor:
        """An array that depends on constants alone has no axis of rows yet."""
        return array if array.ndim > axes else np.broadcast_to(array, (rows, *array.shape))

    def _stored(self, array: Tensor, name: str) -> Tensor:
        """An array in the NumPy type that ops expect for a value."""
        return array.astype(self.types[name], copy=False)

    def _element(self, type_: TensorType) -> type[np.generic]:
        if type_.is_float:
            return self.context.dtype
        return np.int64 if type_.is_integer else np.bool_


def _next(state: str) -> str:
    """What the value of a state after a timestep is called; no value's name has a space."""
    return f"{state} next"
