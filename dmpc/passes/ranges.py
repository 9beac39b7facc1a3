"""How large values become: the facts from which quantization chooses its scales.

Ranges come from a calibration set, run through the float graph, or without one from the weights
alone (interval analysis; the slow state by the whole impulse response).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dmpc.errors import CompileError
from dmpc.ir.graph import Graph, Op
from dmpc.ir.interpret import interpret
from dmpc.ir.registry import Tensor, op_def

Real = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """Lower and upper bounds per element."""

    low: Real
    high: Real

    @property
    def magnitude(self) -> Real:
        """The greatest absolute value, per element."""
        magnitude: Real = np.maximum(np.abs(self.low), np.abs(self.high))
        return magnitude

    def __add__(self, other: "Interval | Real") -> "Interval":
        if isinstance(other, np.ndarray):
            return Interval(self.low + other, self.high + other)
        return Interval(self.low + other.low, self.high + other.high)

    def __or__(self, other: "Interval") -> "Interval":
        return Interval(np.minimum(self.low, other.low), np.maximum(self.high, other.high))


@dataclass
class Ranges:
    """Bounds of the float graph's values, by name.

    `charge` holds, for each lif op by the name of its spikes, the membrane before reset, and the
    membrane half-way, when events alone have been added; `values` the total of its products of
    values, without bias. `events` tells whether the input is binary. `margin` is the headroom that
    scales must leave.
    """

    origin: str
    events: bool
    margin: float
    bounds: dict[str, Interval] = field(default_factory=dict)
    charge: dict[str, Interval] = field(default_factory=dict)
    values: dict[str, Interval] = field(default_factory=dict)
    activity: dict[str, Real] = field(default_factory=dict)


@dataclass(frozen=True)
class Currents:
    """The operands of a lif op by role."""

    events: tuple[Op, ...]
    values: tuple[Op, ...]
    beta: str
    threshold: str
    reset: str
    subtract: bool


def currents(graph: Graph, lif: Op, events: bool) -> Currents:
    """Split the currents of a lif op into those of events and of values.

    Raises CompileError for a current that is not a dense product.
    """
    bound = op_def("lif").bind(lif.operands)
    by_kind: dict[bool, list[Op]] = {True: [], False: []}
    for name in bound["currents"]:
        producer = graph.producer(name)
        if producer is None or producer.kind != "dense":
            raise CompileError(
                f"current %{name} of {lif.attrs['layer']} is not a dense product",
                where=", ".join(lif.loc) or graph.name,
                hint="the machine integrates weighted events, memory states and scalar drives",
            )
        by_kind[is_event(graph, producer.operands[0], events)].append(producer)
    return Currents(
        tuple(by_kind[True]),
        tuple(by_kind[False]),
        bound["beta"][0],
        bound["threshold"][0],
        bound["reset"][0],
        lif.attrs["reset_mode"] == "subtract",
    )


def unheld(graph: Graph, name: str) -> str:
    """The value that a held one repeats; any other value itself."""
    producer = graph.producer(name)
    return producer.operands[1] if producer is not None and producer.kind == "hold" else name


def is_event(graph: Graph, name: str, events: bool) -> bool:
    """True for spikes, and for the network's input if that is binary."""
    return events if name in graph.inputs else graph.types[name].dtype == "event"


def total_bias(graph: Graph, products: Sequence[Op]) -> Real:
    """The sum [n] of the biases of one or more dense products with results of one size."""
    zero: Real = np.zeros(graph.types[products[0].results[0]].shape)
    return sum((graph.constants[op.operands[2]] for op in products if op.operands[2:]), zero)


QUANTILES = 64

# -- calibration ----------------------------------------------------------------------------------


def calibrate(graph: Graph, x: Tensor, *, samples: int, margin: float) -> Ranges:
    """Ranges seen on up to `samples` samples of `x` [samples, timesteps, inputs], evenly spread."""
    chosen = x[np.unique(np.linspace(0, len(x) - 1, min(samples, len(x))).astype(int))]
    events = is_binary(x)
    wanted = [name for name in graph.types if name not in graph.constants]
    traces = interpret(graph, chosen.astype(np.float64), trace=wanted).traces
    ranges = Ranges(f"calibration on {len(chosen)} samples", events, margin)
    for name, trace in traces.items():
        ranges.bounds[name] = _seen(trace)
        if is_event(graph, name, events):
            counts = trace.sum(axis=2).astype(np.float64)
            ranges.activity[name] = np.quantile(counts, (np.arange(QUANTILES) + 0.5) / QUANTILES)
    for lif in (op for op in graph.ops if op.kind == "lif"):
        roles = currents(graph, lif, events)
        products = (*roles.events, *roles.values)
        half = graph.constants[roles.beta] * traces[lif.operands[0]]
        half = sum((_products(graph, op, traces) for op in roles.events), half)
        values = sum((_products(graph, op, traces) for op in roles.values), np.zeros_like(half))
        charge = half + values + total_bias(graph, products)
        ranges.charge[lif.results[0]] = _seen(charge) | _seen(half)
        if roles.subtract:
            ranges.charge[lif.results[0]] |= _seen(traces[lif.results[1]])
        ranges.values[lif.results[0]] = _seen(values)
    return ranges


def _products(graph: Graph, op: Op, traces: Mapping[str, Tensor]) -> Tensor:
    """What a dense product gave, without its bias."""
    return traces[op.results[0]] - total_bias(graph, [op])


def is_binary(x: Tensor) -> bool:
    """True if every element is 0 or 1."""
    return x.dtype == np.bool_ or bool(np.isin(x, (0, 1)).all())


def _seen(trace: Tensor) -> Interval:
    trace = trace.astype(np.float64)
    return Interval(trace.min(axis=(0, 1)), trace.max(axis=(0, 1)))


# -- static analysis ------------------------------------------------------------------------------

IMPULSE_STEPS = 100_000
NEGLIGIBLE = 1e-9


def static_ranges(graph: Graph, input_range: tuple[float, float] | None) -> Ranges:
    """Ranges that no input can leave. `input_range` is None for a binary input.

    Raises CompileError for a memory that does not decay, and for membranes that can grow forever.
    """
    ranges = Ranges("static ranges", input_range is None, 1.0)
    low, high = input_range or (0.0, 1.0)
    for name in graph.inputs:
        shape = graph.types[name].shape
        ranges.bounds[name] = Interval(np.full(shape, low), np.full(shape, high))
    for state in graph.states:
        if graph.types[state.name].dtype == "event":
            size = graph.types[state.name].shape
            ranges.bounds[state.name] = Interval(np.zeros(size), np.ones(size))
    writers = {op.operands[0]: op for op in graph.ops if op.kind in ("memory", "hold")}

    def visit(name: str) -> None:
        op = writers.get(name) or graph.producer(name)
        if op is None or name in ranges.bounds:
            return
        own_state = op.operands[:1] if op.kind in ("memory", "hold", "lif") else ()
        for operand in op.operands:
            if operand not in own_state:
                visit(operand)
        _STATIC[op.kind](graph, op, ranges)

    for op in graph.ops:
        for result in op.results:
            visit(result)
    return ranges


def _static_dense(graph: Graph, op: Op, ranges: Ranges) -> None:
    weight, *bias = (graph.constants[name] for name in op.operands[1:])
    x = ranges.bounds[op.operands[0]]
    up, down = np.maximum(weight, 0), np.minimum(weight, 0)
    offset = bias[0] if bias else 0.0
    ranges.bounds[op.results[0]] = Interval(
        up @ x.low + down @ x.high + offset, up @ x.high + down @ x.low + offset
    )


def _static_drive(graph: Graph, op: Op, ranges: Ranges) -> None:
    weight, *bias = (graph.constants[name] for name in op.operands[1:])
    x = ranges.bounds[op.operands[0]]
    offset = float(bias[0][0]) if bias else 0.0
    high = np.maximum(weight * x.low, weight * x.high).sum() + offset
    low = np.minimum(weight * x.low, weight * x.high).sum() + offset
    ranges.bounds[op.results[0]] = Interval(np.maximum([low], 0), np.maximum([high], 0))


def _static_memory(graph: Graph, op: Op, ranges: Ranges) -> None:
    a, b = (graph.constants[name].astype(np.float64) for name in op.operands[2:4])
    drive = ranges.bounds[op.operands[1]].high[0]
    low, high, response = np.zeros_like(b), np.zeros_like(b), b
    size = first = float(np.abs(b).max(initial=1))
    for _ in range(IMPULSE_STEPS):
        low, high = low + np.minimum(response, 0), high + np.maximum(response, 0)
        response = a @ response
        size = float(np.abs(response).max(initial=0))
        if not NEGLIGIBLE * first < size < first / NEGLIGIBLE:
            break
    if size > NEGLIGIBLE * first:
        raise CompileError(
            f"the memory of {op.attrs['layer']} does not decay within {IMPULSE_STEPS} timesteps",
            where=", ".join(op.loc) or graph.name,
            hint="check its window, or give a calibration set",
        )
    interval = Interval(low * drive, high * drive)
    ranges.bounds[op.operands[0]] = ranges.bounds[op.results[0]] = interval


def _static_hold(graph: Graph, op: Op, ranges: Ranges) -> None:
    del graph
    held, value = op.operands
    bounds = ranges.bounds[op.results[0]] = ranges.bounds[value]
    zero = np.zeros_like(bounds.low)
    ranges.bounds[held] = bounds | Interval(zero, zero)  # before the first timestep


def _static_lif(graph: Graph, op: Op, ranges: Ranges) -> None:
    roles = currents(graph, op, ranges.events)
    beta = graph.constants[roles.beta]
    zero = Interval(np.zeros_like(beta), np.zeros_like(beta))
    events = sum((_static_products(graph, c, ranges) for c in roles.events), zero)
    values = sum((_static_products(graph, c, ranges) for c in roles.values), zero)
    total = events + values + total_bias(graph, (*roles.events, *roles.values))
    threshold, reset = graph.constants[roles.threshold], graph.constants[roles.reset]
    room = 1 - beta
    pushed = total.high - np.minimum(reset, 0)  # subtracting less than zero adds
    falls = (room <= 0) & (total.low < 0)
    rises = (room <= 0) & (pushed > np.maximum(reset, 0))
    for grows, how in ((falls, "fall"), (rises & roles.subtract, "rise")):
        if grows.any():
            raise CompileError(
                f"membranes of {op.attrs['layer']} do not leak and can {how} without bound",
                where=", ".join(op.loc) or graph.name,
                hint="give a calibration set",
            )
    low = np.minimum(total.low, 0) / np.where(room > 0, room, 1)
    before = np.maximum(threshold, 0)
    if not roles.subtract:
        low, before = np.minimum(low, reset), np.maximum(before, reset)
    else:
        low = np.minimum(low, threshold - reset)
        before = np.maximum(before, pushed / np.where(room > 0, room, 1))
    half = Interval(beta * low, beta * before) + events
    ranges.charge[op.results[0]] = half | Interval(low, beta * before + total.high)
    ranges.values[op.results[0]] = values
    size = graph.types[op.results[0]].shape
    ranges.bounds[op.results[0]] = Interval(np.zeros(size), np.ones(size))
    ranges.bounds[op.results[1]] = Interval(low, before)


def _static_products(graph: Graph, op: Op, ranges: Ranges) -> Interval:
    return ranges.bounds[op.results[0]] + -total_bias(graph, [op])


_STATIC = {
    "dense": _static_dense,
    "drive": _static_drive,
    "memory": _static_memory,
    "hold": _static_hold,
    "lif": _static_lif,
}
