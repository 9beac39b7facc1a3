"""What a calibration set shows: ranges, activity, and second moments of what products read."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from dmpc.analysis.interval import Interval
from dmpc.ir.graph import Graph, Op
from dmpc.ir.interpret import interpret_in_parts, shown, since_in
from dmpc.ir.ops_convolution import Convolution
from dmpc.ir.ops_layers import FIRING, NEURONS
from dmpc.ir.ops_output import readout_of
from dmpc.ir.registry import Tensor
from dmpc.passes.ranges import (
    QUANTILES,
    Currents,
    Ranges,
    Real,
    check_events,
    currents,
    is_event,
    total_bias,
)
from isa.arithmetic import Int
from isa.limits import LOCKSTEP

POSITIONS, MOST_SEEN = 32, 1024
"""Positions of a convolution that are looked at, and what each of them may see."""
BATCH = 16  # samples whose inputs stand side by side in one matrix


def calibrate(
    graph: Graph, x: Tensor, *, samples: int, margin: float, lengths: Int | None = None
) -> Ranges:
    """Ranges seen on up to `samples` samples of `x` [samples, timesteps, inputs], evenly spread.

    With `lengths` [samples], nothing behind a sample's length is looked at.
    """
    numbers = evenly(len(x), samples)
    chosen = shown(graph, x[numbers])
    there = np.ones(chosen.shape[:2], np.bool_)
    if lengths is not None and chosen.shape[1] == x.shape[1]:
        there = np.arange(x.shape[1]) < lengths[numbers, None]
        chosen, there = (part[:, : lengths[numbers].max()] for part in (chosen, there))
        chosen = np.where(there[..., None], chosen, chosen.dtype.type(0))
    events = is_binary(x)
    check_events(graph, events)
    ranges = Ranges(f"calibration on {len(chosen)} samples", events, margin)
    ranges.examples = _examples(chosen, there.sum(axis=1))
    watch = _Watch(graph, chosen, there, ranges)
    for part in interpret_in_parts(graph, chosen, trace=watch.names):
        watch.see(part)
    watch.tell()
    return ranges


def _examples(x: Tensor, lengths: Int) -> Tensor:
    """A few samples of one length: evenly spread, or as much of the longest as all of them have."""
    if (lengths == x.shape[1]).all():
        return x[evenly(len(x), LOCKSTEP)]
    longest = np.argsort(-lengths, kind="stable")[:LOCKSTEP]
    return x[longest, : lengths[longest].min()]


def evenly(count: int, most: int) -> Int:
    """Up to `most` of `count` numbers from 0 on, evenly spread."""
    return np.unique(np.linspace(0, count - 1, min(most, count)).astype(np.int64))


class _Watch:
    """What is kept of the traces of all samples, which themselves would be larger than the network.

    Extremes, the number of events in each timestep, and, for second moments, what products read:
    events and memory states. `there` [samples, timesteps] tells which timesteps samples have.
    """

    def __init__(self, graph: Graph, x: Tensor, there: Tensor, ranges: Ranges) -> None:
        self.graph, self.ranges = graph, ranges
        self.there, self.seen = there, 0
        vectors = [name for name, type_ in graph.types.items() if len(type_.shape) == 1]
        self.names = [name for name in vectors if name not in graph.constants]
        self.lifs = {op.results[0]: op for op in graph.ops if op.kind in NEURONS}
        self.roles = {name: currents(graph, op, ranges.events) for name, op in self.lifs.items()}
        made = [graph.producer(name) for name in graph.outputs]
        plain = [op for op in made if op is not None and op.kind in ("dense", "sum")]
        self.readouts = {op.results[0]: readout_of(graph) for op in plain}
        products = [op for roles in self.roles.values() for op in (*roles.events, *roles.values)]
        products += [op for read in self.readouts.values() for op in read]
        self.read = {op.operands[0] for op in products}
        self.x = x
        self.counts: dict[str, list[Real]] = {}
        self.kept: dict[str, list[Tensor]] = {}

    def see(self, part: Mapping[str, Tensor]) -> None:
        """Look at some timesteps."""
        steps = part[self.names[0]].shape[1]
        there = self.there[:, self.seen : self.seen + steps]
        self.seen += steps
        every = bool(there.all())
        for name in self.names:
            trace = part[name]
            _join(self.ranges.bounds, name, _seen(trace, there))
            if is_event(self.graph, name, self.ranges.events):
                counts = trace.sum(axis=2).astype(np.float64)[there]
                self.counts.setdefault(name, []).append(counts)
            if name in self.lifs or (name in self.read and name not in self.graph.inputs):
                kept = trace.copy() if every else trace * there[..., None]
                self.kept.setdefault(name, []).append(kept)
        for lif in self.lifs.values():
            self._see_neurons(lif, part, there)

    def tell(self) -> None:
        """Enter what follows from all timesteps."""
        graph, ranges, there = self.graph, self.ranges, self.there
        traces = {name: np.concatenate(parts, axis=1) for name, parts in self.kept.items()}
        traces |= dict.fromkeys(graph.inputs, self.x)
        for name, parts in self.counts.items():
            counts = np.concatenate(parts)
            ranges.activity[name] = np.quantile(counts, (np.arange(QUANTILES) + 0.5) / QUANTILES)
        for name, lif in self.lifs.items():
            roles = self.roles[name]
            if lif.kind in FIRING:
                spikes = traces[name].sum(axis=(0, 1), dtype=np.float64)
                ranges.rates[name] = spikes / there.sum()
            products = (*roles.events, *roles.values)
            if products and all(op.kind == "dense" for op in products):
                ranges.moments[name] = _moments(graph, lif, roles, traces, there)
            elif len(products) == 1 and (made := _small(graph, products[0])):
                ranges.moments[name] = _moments(graph, lif, roles, traces, there, made)
        for name, read in self.readouts.items():
            ranges.moments[name] = _readout_moments(graph, read, traces, there)

    def _see_neurons(self, lif: Op, part: Mapping[str, Tensor], there: Tensor) -> None:
        name, (graph, ranges) = lif.results[0], (self.graph, self.ranges)
        roles = self.roles[name]
        half = graph.constants[roles.beta] * part[lif.operands[0]]
        half = sum((_products(graph, op, part) for op in roles.events), half)
        values = sum((_products(graph, op, part) for op in roles.values), np.zeros_like(half))
        values = sum((part[state] for state in roles.first), values)
        charge, seen = half + values + total_bias(graph, roles.products), _seen(half, there)
        for state in roles.further:
            seen, charge = seen | _seen(charge, there), charge + part[state]
        if lif.attrs.get("adapts") == "current":
            charge = charge + part[roles.adaptation[0]]
        _join(ranges.charge, name, _seen(charge, there) | seen)
        if roles.subtract:
            _join(ranges.charge, name, _seen(part[lif.results[1]], there))
        _join(ranges.values, name, _seen(values, there))


def _join(known: dict[str, Interval], name: str, seen: Interval) -> None:
    known[name] = known[name] | seen if name in known else seen


def _products(graph: Graph, op: Op, traces: Mapping[str, Tensor]) -> Tensor:
    """What a dense product gave, without its bias."""
    return traces[op.results[0]] - total_bias(graph, [op])


def is_binary(x: Tensor) -> bool:
    """True if every element is 0 or 1."""
    return x.dtype == np.bool_ or bool(((x == 0) | (x == 1)).all())


def _seen(trace: Tensor, there: Tensor) -> Interval:
    rows = trace if there.all() else trace[there][None]
    low, high = (end(axis=(0, 1)).astype(np.float64) for end in (rows.min, rows.max))
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
    there: Tensor,
    made: Convolution | None = None,
) -> Real:
    """Second moments of what a layer's products read and of 1, summed as a membrane sums them.

    A membrane remembers: it keeps `beta` of itself, and forgets with a hard reset, which on average
    comes as often as a spike. So does the sum of the inputs here, with the layer's median.
    """
    kept = float(np.median(graph.constants[roles.beta]))
    if lif.kind in FIRING and not roles.subtract:
        kept *= 1 - float(traces[lif.results[0]].mean()) * (there.size / there.sum())
    names = [op.operands[0] for op in (*roles.events, *roles.values)]
    total: Real = np.zeros(())
    looked = 1
    for inputs in _batches([traces[name] for name in names], there):
        here = inputs[:, :, -1:].copy()
        summed = (_leaky(inputs, kept) * here).reshape(-1, inputs.shape[2])
        if made:  # what some positions see, all of which share the weights
            chosen = evenly(made.places, POSITIONS)
            looked, ones = len(chosen), summed[:, -1:]
            patches = made.patches(summed[:, :-1], chosen).reshape(-1, made.seen)
            summed = np.concatenate([patches, np.repeat(ones, looked, axis=0)], axis=1)
        total = total + summed.T @ summed
    moments: Real = total / (there.sum() * looked)
    return moments


def _readout_moments(
    graph: Graph, products: Sequence[Op], traces: Mapping[str, Tensor], there: Tensor
) -> Real:
    """Second moments of what the readout reads and of 1: of a sample's mean, where it is a mean."""
    read = [traces[product.operands[0]].astype(np.float64) for product in products]
    if str(graph.attrs["readout"]) in ("mean", "sum"):
        since = since_in(graph)
        steps = np.maximum(there[:, since:].sum(axis=1), 1)[:, None, None]
        read = [source[:, since:].sum(axis=1, keepdims=True) / steps for source in read]
        there = there[:, :1]
    inputs = next(_batches(read, there, len(there)))
    flat = inputs.reshape(-1, inputs.shape[2])
    moments: Real = flat.T @ flat / there.sum()
    return moments


def _batches(sources: list[Tensor], there: Tensor, batch: int = BATCH) -> Iterator[Real]:
    """Sources and a column of ones side by side, [batch, timesteps, columns], batch by batch.

    Where a sample has no timestep there are zeros.
    """
    every = (*sources, there[..., None])
    for start in range(0, len(there), batch):
        parts = [source[start : start + batch].astype(np.float64) for source in every]
        yield np.concatenate(parts, axis=2)


def _leaky(inputs: Real, kept: float) -> Real:
    """Inputs [samples, timesteps, columns] summed over time, `kept` of the sum at each timestep."""
    for step in range(1, inputs.shape[1]):
        inputs[:, step] += kept * inputs[:, step - 1]
    return inputs
