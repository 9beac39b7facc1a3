"""What a calibration set shows: ranges, activity, and second moments of what products read."""

from collections.abc import Iterator, Mapping

import numpy as np

from dmpc.analysis.interval import Interval
from dmpc.ir.graph import Graph, Op
from dmpc.ir.interpret import interpret_in_parts, shown
from dmpc.ir.ops_convolution import Convolution
from dmpc.ir.ops_layers import FIRING, NEURONS
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
from isa.arithmetic import Int
from isa.limits import LOCKSTEP

POSITIONS, MOST_SEEN = 32, 1024
"""Positions of a convolution that are looked at, and what each of them may see."""
BATCH = 16  # samples whose inputs stand side by side in one matrix


def calibrate(graph: Graph, x: Tensor, *, samples: int, margin: float) -> Ranges:
    """Ranges seen on up to `samples` samples of `x` [samples, timesteps, inputs], evenly spread."""
    chosen = x[evenly(len(x), samples)]
    chosen = shown(graph, chosen)
    events = is_binary(x)
    check_delays(graph, events)
    ranges = Ranges(f"calibration on {len(chosen)} samples", events, margin)
    ranges.examples = chosen[evenly(len(chosen), LOCKSTEP)]
    watch = _Watch(graph, chosen, ranges)
    for part in interpret_in_parts(graph, chosen, trace=watch.names):
        watch.see(part)
    watch.tell()
    return ranges


def evenly(count: int, most: int) -> Int:
    """Up to `most` of `count` numbers from 0 on, evenly spread."""
    return np.unique(np.linspace(0, count - 1, min(most, count)).astype(np.int64))


class _Watch:
    """What is kept of the traces of all samples, which themselves would be larger than the network.

    Extremes, the number of events in each timestep, and, for second moments, what products read:
    events and memory states.
    """

    def __init__(self, graph: Graph, x: Tensor, ranges: Ranges) -> None:
        self.graph, self.ranges = graph, ranges
        vectors = [name for name, type_ in graph.types.items() if len(type_.shape) == 1]
        self.names = [name for name in vectors if name not in graph.constants]
        self.lifs = {op.results[0]: op for op in graph.ops if op.kind in NEURONS}
        self.roles = {name: currents(graph, op, ranges.events) for name, op in self.lifs.items()}
        made = {name: graph.producer(name) for name in graph.outputs}
        self.readouts = {n: op for n, op in made.items() if op is not None and op.kind == "dense"}
        products = [op for roles in self.roles.values() for op in (*roles.events, *roles.values)]
        self.read = {op.operands[0] for op in (*products, *self.readouts.values())}
        self.x = x
        self.counts: dict[str, list[Real]] = {}
        self.kept: dict[str, list[Tensor]] = {}

    def see(self, part: Mapping[str, Tensor]) -> None:
        """Look at some timesteps."""
        for name in self.names:
            trace = part[name]
            _join(self.ranges.bounds, name, _seen(trace))
            if is_event(self.graph, name, self.ranges.events):
                self.counts.setdefault(name, []).append(trace.sum(axis=2).astype(np.float64))
            if name in self.lifs or (name in self.read and name not in self.graph.inputs):
                self.kept.setdefault(name, []).append(trace.copy())
        for lif in self.lifs.values():
            self._see_neurons(lif, part)

    def tell(self) -> None:
        """Enter what follows from all timesteps."""
        graph, ranges = self.graph, self.ranges
        traces = {name: np.concatenate(parts, axis=1) for name, parts in self.kept.items()}
        traces |= dict.fromkeys(graph.inputs, self.x)
        for name, parts in self.counts.items():
            counts = np.concatenate(parts, axis=1)
            ranges.activity[name] = np.quantile(counts, (np.arange(QUANTILES) + 0.5) / QUANTILES)
        for name, lif in self.lifs.items():
            roles = self.roles[name]
            if lif.kind in FIRING:
                ranges.rates[name] = traces[name].mean(axis=(0, 1), dtype=np.float64)
            products = (*roles.events, *roles.values)
            if products and all(op.kind == "dense" for op in products):
                ranges.moments[name] = _moments(graph, lif, roles, traces)
            elif len(products) == 1 and (made := _small(graph, products[0])):
                ranges.moments[name] = _moments(graph, lif, roles, traces, made)
        for name, readout in self.readouts.items():
            ranges.moments[name] = _readout_moments(graph, readout, traces)

    def _see_neurons(self, lif: Op, part: Mapping[str, Tensor]) -> None:
        name, (graph, ranges) = lif.results[0], (self.graph, self.ranges)
        roles = self.roles[name]
        half = graph.constants[roles.beta] * part[lif.operands[0]]
        half = sum((_products(graph, op, part) for op in roles.events), half)
        values = sum((_products(graph, op, part) for op in roles.values), np.zeros_like(half))
        values = sum((part[state] for state in roles.first), values)
        charge, seen = half + values + total_bias(graph, roles.products), _seen(half)
        for state in roles.further:
            seen, charge = seen | _seen(charge), charge + part[state]
        if lif.attrs.get("adapts") == "current":
            charge = charge + part[roles.adaptation[0]]
        _join(ranges.charge, name, _seen(charge) | seen)
        if roles.subtract:
            _join(ranges.charge, name, _seen(part[lif.results[1]]))
        _join(ranges.values, name, _seen(values))


def _join(known: dict[str, Interval], name: str, seen: Interval) -> None:
    known[name] = known[name] | seen if name in known else seen


def _products(graph: Graph, op: Op, traces: Mapping[str, Tensor]) -> Tensor:
    """What a dense product gave, without its bias."""
    return traces[op.results[0]] - total_bias(graph, [op])


def is_binary(x: Tensor) -> bool:
    """True if every element is 0 or 1."""
    return x.dtype == np.bool_ or bool(((x == 0) | (x == 1)).all())


def _seen(trace: Tensor) -> Interval:
    low, high = (end(axis=(0, 1)).astype(np.float64) for end in (trace.min, trace.max))
    return Interval(low, high)


# -- second moments -------------------------------------------------------------------------------


def _small(graph: Graph, op: Op) -> Convolution | None:
    """A convolution of one part whose kernel is not too large to measure what it sees."""
    made = Convolution.of(op.attrs, graph.types[op.operands[1]].shape)
    return made if made.parts == 1 and made.seen <= MOST_SEEN else None


def _moments(
    graph: Graph,
    lif: Op,
    roles: Currents,
    traces: Mapping[str, Tensor],
    made: Convolution | None = None,
) -> Real:
    """Second moments of what a layer's products read and of 1, summed as a membrane sums them.

    A membrane remembers: it keeps `beta` of itself, and forgets with a hard reset, which on average
    comes as often as a spike. So does the sum of the inputs here, with the layer's median.
    """
    kept = float(np.median(graph.constants[roles.beta]))
    if lif.kind in FIRING and not roles.subtract:
        kept *= 1 - float(traces[lif.results[0]].mean())
    names = [op.operands[0] for op in (*roles.events, *roles.values)]
    samples = len(traces[names[0]])
    total: Real = np.zeros(())
    looked = 1
    for inputs in _batches([traces[name] for name in names], samples):
        summed = _leaky(inputs, kept).reshape(-1, inputs.shape[2])
        if made:  # what some positions see, all of which share the weights
            chosen = evenly(made.places, POSITIONS)
            looked, ones = len(chosen), summed[:, -1:]
            patches = made.patches(summed[:, :-1], chosen).reshape(-1, made.seen)
            summed = np.concatenate([patches, np.repeat(ones, looked, axis=0)], axis=1)
        total = total + summed.T @ summed
    moments: Real = total / (samples * traces[names[0]].shape[1] * looked)
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
