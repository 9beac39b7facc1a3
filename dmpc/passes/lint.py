"""What is legal in a network but likely wrong, or worth knowing; nothing of it is an error."""

from collections.abc import Iterator

import numpy as np

from dmpc.findings import Finding, finding
from dmpc.ir.excerpt import excerpt
from dmpc.ir.graph import Array, Graph, Op
from dmpc.ir.ops_layers import FIRING
from dmpc.ir.registry import op_def
from dmpc.passes.align import filling
from dmpc.passes.fold import silent_memories
from dmpc.passes.layer_rules import spikes_of
from dmpc.passes.ranges import Ranges
from dmpc.rules import Rule, Severity, Stage, rule

NOISE = 1e-6  # of float32 around a leak that is meant to be 1
STILL = 1e-4  # of the timesteps: a neuron that fires more rarely says nothing
ALMOST_ALL = 0.8  # of a layer's neurons: if so many are still, little goes through it
VANISHED = 0.75  # of a weight matrix: more than that rounded to zero is suspicious

SILENT_MEMORY = rule(
    "silent-memory",
    Stage.LAYERS,
    "the memory of {layer} is never driven, whatever the input; it is left out",
    why="""A drive without weights and without a positive bias is always zero after its relu, and
    so is the memory. Training may have killed the relu with a bias that no weight makes up for.""",
    nearest="look at the drive's weights and bias, or train a network without this memory",
    severity=Severity.WARNING,
)
IDLE_DRIVE = rule(
    "idle-drive",
    Stage.LAYERS,
    "the drive of {layer} has a bias of {bias:.3g}: its memory works in timesteps without events",
    why="""A bias that the relu lets through drives the slow state although nothing has happened.
    That is computed as written, but it costs cycles and energy in idle timesteps, and the slow
    state no longer starts from rest.""",
    nearest="a drive without bias, or with one that is not positive",
    severity=Severity.NOTE,
)
NEVER_REACHED = rule(
    "never-reached",
    Stage.LAYERS,
    "{count} of {neurons} neurons of {layer} cannot reach their threshold, whatever the input",
    why="""The largest charge that the weights allow lies below the threshold. These neurons cost
    rows of every memory and say nothing.""",
    nearest="leave the neurons out, or lower their thresholds; of a NIR file, check the timestep "
    "(--dt)",
    severity=Severity.WARNING,
)
SILENT_LAYER = rule(
    "silent-layer",
    Stage.LAYERS,
    "no neuron of {layer} fires on the example input",
    why="""What follows sees nothing. The example may be scaled otherwise than the training data, or
    the states of the model may have been lost on the way.""",
    nearest="compare the example with the training data: its scale, and the order of its axes; of "
    "a NIR file, check the timestep (--dt)",
    severity=Severity.WARNING,
)
STILL_NEURONS = rule(
    "still-neurons",
    Stage.LAYERS,
    "{count} of {neurons} neurons of {layer} fire in fewer than one of 10,000 timesteps of the "
    "example input",
    why="""Hardly anything of the input goes through a layer of which so few neurons say something.
    Training may have silenced them, or the example may be scaled otherwise than its data.""",
    nearest="compare the example with the training data; train with a lower learning rate or spike "
    "penalty, or a smaller layer",
    severity=Severity.WARNING,
)
RESTLESS_NEURONS = rule(
    "restless-neurons",
    Stage.LAYERS,
    "{count} of {neurons} neurons of {layer} fire in every timestep of the example input",
    why="""A neuron that always fires is a bias: it carries no information and is the most expensive
    spike that there is.""",
    nearest="add its weights to the bias of the next layer, or raise its threshold",
    severity=Severity.WARNING,
)
UNREAD = rule(
    "unread",
    Stage.LAYERS,
    "{count} of {size} elements of {source} are read with weights of zero alone",
    why="""Weights of zero are stored, and added up when their input is active. Pruned inputs and
    neurons can be left out of the model.""",
    nearest="a smaller input or layer",
    severity=Severity.NOTE,
)
LEAK_ROUNDED = rule(
    "leak-rounded",
    Stage.LAYERS,
    "{count} of {neurons} neurons of {layer} keep {kept:.6g} of their membrane a timestep; the "
    "machine rounds that to 1",
    why="""The leak is a number of few bits. So close to 1 it becomes 1 itself, and the neuron never
    forgets anything.""",
    nearest="a slow state for time constants that long; of a NIR file, check the timestep (--dt)",
    severity=Severity.WARNING,
)
WEIGHTS_VANISH = rule(
    "weights-vanish",
    Stage.LAYERS,
    "{share:.0f} % of the weights of '{weight}' become zero in {bits} bits",
    why="""The largest weight of a row sets the scale of all others. A few outliers leave the others
    no bits.""",
    nearest="clip outliers, or train with quantization in the forward pass",
    severity=Severity.WARNING,
)


def lint_recognised(graph: Graph) -> Iterator[Finding]:
    """What is to be said of layers as they were recognised, before anything is left out."""
    silent = silent_memories(graph)
    for op in graph.ops:
        if op.kind == "memory" and op.results[0] in silent:
            yield _about(SILENT_MEMORY, graph, op, layer=op.attrs["layer"])
        elif op.kind == "drive" and (bias := _bias(graph, op)) is not None and _idles(op, bias):
            yield _about(IDLE_DRIVE, graph, op, layer=op.attrs["layer"], bias=float(bias[0]))
    yield from _unread(graph)


def lint_bounds(graph: Graph, bounds: Ranges) -> Iterator[Finding]:
    """What ranges that no input can leave say of the layers."""
    for op in _neurons(graph):
        threshold = graph.constants[op_def(op.kind).bind(op.operands)["threshold"][0]]
        below = bounds.charge[op.results[0]].high < threshold
        below = below[~filling(graph, op)]
        if below.any():
            yield _count(NEVER_REACHED, graph, op, below)


def lint_example(graph: Graph, seen: Ranges) -> Iterator[Finding]:
    """What ranges that were seen on example input say of the layers."""
    for op in _neurons(graph):
        spikes = op.results[0]
        filled = filling(graph, op)
        still = (seen.rates[spikes][: len(filled)] < STILL)[~filled]
        if not seen.rates[spikes].any():
            yield _about(SILENT_LAYER, graph, op, layer=op.attrs["layer"])
            continue
        if still.mean() >= ALMOST_ALL:
            yield _count(STILL_NEURONS, graph, op, still)
        late = {one.kind for one in graph.users(spikes)} == {"delay"}  # a bias that sets in late
        if (always := seen.bounds[spikes].low[: len(filled)] > 0).any() and not late:
            yield _count(RESTLESS_NEURONS, graph, op, always)


def lint_rounding(layers: Graph, integer: Graph) -> Iterator[Finding]:
    """What became of the weights and leaks of layers in integers."""
    for op in layers.ops:
        if op.kind in FIRING:
            yield from _leak(layers, integer, op)
        elif op.kind in ("dense", "drive") and op.operands[1] in integer.constants:
            yield from _vanished(layers, integer, op)


def _neurons(graph: Graph) -> list[Op]:
    return [op for op in graph.ops if op.kind in FIRING]


def _bias(graph: Graph, op: Op) -> Array | None:
    return graph.constants[op.operands[2]] if len(op.operands) > 2 else None


def _idles(drive: Op, bias: Array) -> bool:
    return bool(bias[0] > 0 or (drive.attrs.get("linear") and bias[0] < 0))


def _unread(graph: Graph) -> Iterator[Finding]:
    """Elements of the input and of spikes that every product multiplies by zero."""
    for source in (*graph.inputs, *(op.results[0] for op in _neurons(graph))):
        readers = [op for op in graph.users(source) if op.kind in ("dense", "drive")]
        if not readers or len(readers) != len(graph.users(source)):
            continue
        size = graph.types[source].size
        read = np.zeros(size, np.bool_)
        for op in readers:
            read |= graph.constants[op.operands[1]].reshape(-1, size).any(axis=0)
        if read.all():
            continue
        producer = graph.producer(source)
        loc = producer.loc[-1:] if producer is not None else graph.locs.get(source, ())
        name = f"'{loc[0]}'" if loc else f"%{source}"
        count = int(size - np.count_nonzero(read))
        where = loc[0] if loc else graph.name
        yield finding(UNREAD, where=where, nodes=loc, source=name, count=count, size=size)


def _leak(layers: Graph, integer: Graph, op: Op) -> Iterator[Finding]:
    name = op_def(op.kind).bind(op.operands)["beta"][0]
    real = layers.constants[name]
    scale = integer.types[name].scale
    if not isinstance(scale, float):
        return
    lost = (integer.constants[name] * scale == 1) & (real < 1 - NOISE)
    if lost.any():
        yield _count(LEAK_ROUNDED, layers, op, lost, kept=float(real[lost][0]))


def _vanished(layers: Graph, integer: Graph, op: Op) -> Iterator[Finding]:
    name = op.operands[1]
    there = layers.constants[name] != 0
    gone = there & (integer.constants[name] == 0)
    if there.any() and gone.sum() > VANISHED * there.sum():
        loc = layers.locs.get(name, ())
        bits, share = integer.types[name].bits, 100 * gone.sum() / there.sum()
        weight = loc[0] if loc else name
        yield _about(WEIGHTS_VANISH, layers, op, weight=weight, bits=bits, share=share)


def _count(rule: Rule, graph: Graph, op: Op, mask: Array, **fields: object) -> Finding:
    """A finding about some of a layer's neurons."""
    count, neurons = int(np.count_nonzero(mask)), mask.size
    return _about(rule, graph, op, layer=op.attrs["layer"], count=count, neurons=neurons, **fields)


def _about(rule: Rule, graph: Graph, op: Op, **fields: object) -> Finding:
    """A finding about an op, in the user's node names."""
    return finding(
        rule,
        where=", ".join(op.loc) or graph.name,
        nodes=op.loc,
        piece=excerpt(graph, op.results[0], known=spikes_of(graph)),
        **fields,
    )
