"""How large values become: the facts from which quantization chooses its scales.

Ranges come from a calibration set, run through the float graph, or without one from the weights
alone (`dmpc.passes.static_ranges`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dmpc.analysis.interval import Interval
from dmpc.errors import CompileError
from dmpc.ir.graph import Graph, Op
from dmpc.ir.interpret import interpret
from dmpc.ir.registry import Tensor, op_def

Real = NDArray[np.float64]


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
