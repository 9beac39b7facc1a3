"""The interpreter: runs a graph of any level over whole samples, by the ops' own semantics."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dmpc.errors import CompileError
from dmpc.ir.graph import Graph, Op
from dmpc.ir.registry import EvalContext, OpDef, Tensor, op_def
from dmpc.ir.types import TensorType
from isa.arithmetic import Saturation


def over_time(readout: str, outputs: Tensor) -> Tensor:
    """The answer [samples, classes] that a readout makes of outputs [samples, timesteps, classes].

    `readout` is mean, sum, last or max.
    """
    if readout == "last":
        return np.asarray(outputs[:, -1])
    if readout == "max":
        return np.asarray(outputs.max(axis=1))
    return np.asarray(outputs.sum(axis=1) if readout == "sum" else outputs.mean(axis=1))


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
    rounded. Raises CompileError if `x` does not fit the graph's input, or `trace` names no value.
    """
    _check_input(graph, x, (*trace, *(fed or {}), *(rounded or {})))
    machine = _Machine(graph, EvalContext(dtype, saturate=saturate or Saturation()), len(x))
    machine.rounded = rounded or {}
    output = graph.outputs[0]
    recorded: dict[str, list[Tensor]] = {name: [] for name in {output, *trace}}
    for step in range(x.shape[1]):
        values = machine.step(x[:, step], {n: series[:, step] for n, series in (fed or {}).items()})
        for name, series in recorded.items():
            series.append(values[name])
    traces = {name: np.stack(series, axis=1) for name, series in recorded.items()}
    readout = str(graph.attrs.get("readout", "mean"))
    if readout == "mean" and not graph.types[output].is_float:
        readout = "sum"
    logits = over_time(readout, traces[output])
    return Result(
        outputs=traces[output],
        logits=logits,
        traces={name: traces[name] for name in trace},
        saturations=machine.context.saturations,
    )


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
    """The graph's values, one timestep after the other, for a batch of samples."""

    def __init__(self, graph: Graph, context: EvalContext, samples: int) -> None:
        self.graph = graph
        self.context = context
        self.samples = samples
        self.plan: list[tuple[Op, OpDef]] = [(op, op_def(op.kind)) for op in graph.ops]
        self.constants = {
            name: self._stored(array, graph.types[name]) for name, array in graph.constants.items()
        }
        self.rounded: Mapping[str, Tensor | float] = {}
        self.states: dict[str, Tensor] = {}
        for state in graph.states:
            shape = (samples, *graph.types[state.name].shape)
            start = self.constants[state.init] if state.init is not None else np.zeros(())
            self.states[state.name] = self._stored(
                np.broadcast_to(start, shape), graph.types[state.name]
            )

    def step(self, x: Tensor, fed: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Every value of one timestep, given its input [samples, inputs]; moves the states on.

        What others read in place of a value is in `fed`.
        """
        graph = self.graph
        own: dict[str, Tensor] = {}
        values = {**self.constants, **self.states}
        values[graph.inputs[0]] = self._stored(x, graph.types[graph.inputs[0]])
        for op, definition in self.plan:
            operands = [values[name] for name in op.operands]
            results = definition.evaluate(self.context, op.attrs, *operands)
            for name, array in zip(op.results, results, strict=True):
                values[name] = self._batched(name, array)
                if name in fed:
                    own[name] = values[name]
                    values[name] = self._stored(fed[name], graph.types[name])
        self.states = {
            state.name: self._with_batch(values[state.next], graph.types[state.name])
            for state in graph.states
        }
        for name in (*graph.outputs, *graph.constants):
            values[name] = self._with_batch(values[name], graph.types[name])
        self.context.timestep += 1
        return {**values, **own}

    def _batched(self, name: str, array: Tensor) -> Tensor:
        type_ = self.graph.types[name]
        if name in self.rounded:
            array = np.floor(array / self.rounded[name] + 0.5) * self.rounded[name]
        array = self._with_batch(self._stored(np.asarray(array), type_), type_)
        if array.shape[1:] != type_.shape:
            raise CompileError(f"%{name} came out as {list(array.shape[1:])}, its type is {type_}")
        return array

    def _with_batch(self, array: Tensor, type_: TensorType) -> Tensor:
        """An array that depends on constants alone has no batch axis yet."""
        if array.ndim > len(type_.shape):
            return array
        return np.broadcast_to(array, (self.samples, *array.shape))

    def _stored(self, array: Tensor, type_: TensorType) -> Tensor:
        """An array in the NumPy type that ops expect for a value of this type."""
        if type_.is_float:
            return array.astype(self.context.dtype, copy=False)
        return array.astype(np.int64 if type_.is_integer else np.bool_, copy=False)
