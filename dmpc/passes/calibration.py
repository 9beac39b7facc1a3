"""What a calibration set shows: ranges, activity, and second moments of what products read."""

from collections.abc import Iterator, Mapping

import numpy as np

from dmpc.analysis.interval import Interval
from dmpc.ir.graph import Graph, Op
from dmpc.ir.interpret import interpret
from dmpc.ir.registry import Tensor
from dmpc.passes.ranges import (
    QUANTILES,
    Currents,
    Ranges,
    Real,
    check_delays,
    currents,
    is_event,
    total_bias,
)

BATCH = 16  # samples whose inputs stand side by side in one matrix


def calibrate(graph: Graph, x: Tensor, *, samples: int, margin: float) -> Ranges:
    """Ranges seen on up to `samples` samples of `x` [samples, timesteps, inputs], evenly spread."""
    chosen = x[np.unique(np.linspace(0, len(x) - 1, min(samples, len(x))).astype(int))]
    events = is_binary(x)
    check_delays(graph, events)
    vectors = [name for name, type_ in graph.types.items() if len(type_.shape) == 1]
    wanted = [name for name in vectors if name not in graph.constants]
    traces = interpret(graph, chosen.astype(np.float64), trace=wanted).traces
    ranges = Ranges(f"calibration on {len(chosen)} samples", events, margin)
    for name, trace in traces.items():
        ranges.bounds[name] = _seen(trace)
        if is_event(graph, name, events):
            counts = trace.sum(axis=2).astype(np.float64)
            ranges.activity[name] = np.quantile(counts, (np.arange(QUANTILES) + 0.5) / QUANTILES)
    for lif in (op for op in graph.ops if op.kind == "lif"):
        ranges.rates[lif.results[0]] = traces[lif.results[0]].mean(axis=(0, 1), dtype=np.float64)
        _see_neurons(graph, lif, traces, ranges)
    for name in graph.outputs:
        readout = graph.producer(name)
        if readout is not None and readout.kind == "dense":
            ranges.moments[name] = _readout_moments(graph, readout, traces)
    return ranges


def _see_neurons(graph: Graph, lif: Op, traces: Mapping[str, Tensor], ranges: Ranges) -> None:
    roles = currents(graph, lif, ranges.events)
    products = (*roles.events, *roles.values)
    half = graph.constants[roles.beta] * traces[lif.operands[0]]
    half = sum((_products(graph, op, traces) for op in roles.events), half)
    values = sum((_products(graph, op, traces) for op in roles.values), np.zeros_like(half))
    charge = half + values + total_bias(graph, products)
    ranges.charge[lif.results[0]] = _seen(charge) | _seen(half)
    if roles.subtract:
        ranges.charge[lif.results[0]] |= _seen(traces[lif.results[1]])
    ranges.values[lif.results[0]] = _seen(values)
    ranges.moments[lif.results[0]] = _moments(graph, lif, roles, traces)


def _products(graph: Graph, op: Op, traces: Mapping[str, Tensor]) -> Tensor:
    """What a dense product gave, without its bias."""
    return traces[op.results[0]] - total_bias(graph, [op])


def is_binary(x: Tensor) -> bool:
    """True if every element is 0 or 1."""
    return x.dtype == np.bool_ or bool(((x == 0) | (x == 1)).all())


def _seen(trace: Tensor) -> Interval:
    trace = trace.astype(np.float64)
    return Interval(trace.min(axis=(0, 1)), trace.max(axis=(0, 1)))


# -- second moments -------------------------------------------------------------------------------


def _moments(graph: Graph, lif: Op, roles: Currents, traces: Mapping[str, Tensor]) -> Real:
    """Second moments of what a layer's products read and of 1, summed as a membrane sums them.

    A membrane remembers: it keeps `beta` of itself, and forgets with a hard reset, which on average
    comes as often as a spike. So does the sum of the inputs here, with the layer's median.
    """
    kept = float(np.median(graph.constants[roles.beta]))
    if not roles.subtract:
        kept *= 1 - float(traces[lif.results[0]].mean())
    names = [op.operands[0] for op in (*roles.events, *roles.values)]
    samples = len(traces[names[0]])
    total: Real = np.zeros(())
    for inputs in _batches([traces[name] for name in names], samples):
        summed = _leaky(inputs, kept).reshape(-1, inputs.shape[2])
        total = total + summed.T @ summed
    moments: Real = total / (samples * traces[names[0]].shape[1])
    return moments


def _readout_moments(graph: Graph, readout: Op, traces: Mapping[str, Tensor]) -> Real:
    """Second moments of what the readout reads and of 1: of a sample's mean, where it is a mean."""
    source = traces[readout.operands[0]].astype(np.float64)
    if str(graph.attrs["readout"]) in ("mean", "sum"):
        source = source.mean(axis=1, keepdims=True)
    inputs = next(_batches([source], len(source), len(source)))
    flat = inputs.reshape(-1, inputs.shape[2])
    moments: Real = flat.T @ flat / len(flat)
    return moments


def _batches(sources: list[Tensor], samples: int, batch: int = BATCH) -> Iterator[Real]:
    """Sources and a column of ones side by side, [batch, timesteps, columns], batch by batch."""
    ones = np.ones((1, sources[0].shape[1], 1))
    for start in range(0, samples, batch):
        parts = [source[start : start + batch].astype(np.float64) for source in sources]
        yield np.concatenate([*parts, np.broadcast_to(ones, (len(parts[0]), *ones.shape[1:]))], 2)


def _leaky(inputs: Real, kept: float) -> Real:
    """Inputs [samples, timesteps, columns] summed over time, `kept` of the sum at each timestep."""
    for step in range(1, inputs.shape[1]):
        inputs[:, step] += kept * inputs[:, step - 1]
    return inputs
