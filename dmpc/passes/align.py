"""`align`: outputs of convolutions fill whole rows of a bank, each of which is of one position."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from dmpc.ir.graph import Array, Graph, Op
from dmpc.ir.integer_types import times
from dmpc.ir.ops_convolution import MAPS, Convolution, beside
from dmpc.ir.ops_layers import FIRING, LIMITS, NEURONS, integrator, states_of
from dmpc.ir.prune import prune
from dmpc.ir.registry import op_def
from dmpc.ir.rewired import events_as, replace_constant
from dmpc.ir.types import TensorType
from dmpc.passes.base import Pass
from dmpc.passes.layer_rules import layer_error
from dmpc.rules import Stage, rule

DELAYED_POSITIONS = rule(
    "delayed-positions",
    Stage.LAYERS,
    "{layer} reads delayed spikes of a convolution whose {outputs} outputs fill no rows of {lanes}",
    why="""Neurons of a convolution stand position by position, in whole rows. Channels that fill up
    a row would need delays of their own.""",
    nearest="a number of channels that the lanes divide",
)
MOST_TAPS = 31
"""Taps of a kernel, and places from position to position, that its description has room for."""
AT_REST: Mapping[str, float] = {"threshold": 1.0}
"""Parameters of neurons that nothing charges; others are zero."""


@dataclass(frozen=True)
class Align(Pass):
    """From level layers to layers, with the same logits, for a machine of so many `lanes`.

    - results that come plane by plane come position by position, with all that reads them;
    - parts of a convolution whose outputs fill no whole rows are joined, with zeros between them;
    - where neighbouring positions of a line fill whole rows together, they are one position, with
      the outputs of all of them and taps as far as these reach: neurons stay where they are;
    - any other convolution whose outputs fill no whole rows gets further ones, whose neurons never
      spike; so do layers whose neurons spike several times in a timestep.
    """

    name: ClassVar[str] = "align"
    lanes: int = field(default=4)

    def run(self, graph: Graph) -> Graph:
        """The graph with outputs in whole rows."""
        graph = graph.copy()
        for op in [op for op in graph.ops if op.kind in FIRING]:
            _turn(graph, op)
        for op in [op for op in graph.ops if op.kind == "conv"]:
            _apart(graph, op)
            _join_parts(graph, op, self.lanes)
        for op in [op for op in graph.ops if op.kind in FIRING]:
            _side_by_side(graph, op, self.lanes)
            _fill_up(graph, op, self.lanes)
            _apart_in_time(graph, op, self.lanes)
        return prune(graph)


def filling(graph: Graph, lif: Op) -> Array:
    """Which neurons are there to fill up rows alone: no input, no leak, nothing to fire at."""
    layer = _Layer.of(graph, lif)
    filled = bool(layer.convolved) or times(lif.attrs) > 1
    rest = np.ones(graph.types[lif.results[1]].shape, np.bool_) & filled
    for op in layer.products:
        weight, *biases = (graph.constants[name] for name in op.operands[1:])
        empty = np.count_nonzero(weight.reshape(len(weight), -1), axis=1) == 0
        rest &= geometry(graph, op).spread(empty) if op.kind == "conv" else empty
        for bias in biases:
            rest &= bias == 0
    for op, at, value in layer.vectors():
        rest &= graph.constants[op.operands[at]] == value
    return rest


def geometry(graph: Graph, op: Op) -> Convolution:
    """The convolution of an op."""
    return Convolution.of(op.attrs, graph.types[op.operands[1]].shape)


@dataclass(frozen=True)
class _Layer:
    """The neurons of a layer, state by state, and the linear maps that charge them."""

    neurons: list[Op]
    products: list[Op]
    constants: Mapping[str, Array]

    @classmethod
    def of(cls, graph: Graph, lif: Op) -> "_Layer":
        """What spikes of a layer are made of."""
        charging = [integrator(graph, name) for name in lif.operands[1:]]
        neurons = [op for op in graph.ops if op is lif or any(op is one for one in charging)]
        names = [name for op in neurons for name in op.operands]
        products = [op for op in graph.ops if op.kind in MAPS and op.results[0] in names]
        return cls(neurons, products, graph.constants)

    @property
    def convolved(self) -> list[Op]:
        """Those of its maps that are convolutions."""
        return [op for op in self.products if op.kind == "conv"]

    def vectors(self) -> Iterator[tuple[Op, int, float]]:
        """Parameters of neurons: the op, which operand, and what is at rest."""
        for op in self.neurons:
            bound = op_def(op.kind).bind(op.operands)
            for role in op_def(op.kind).parameters:
                at, rest = op.operands.index(bound[role][0]), AT_REST.get(role, 0.0)
                if role in LIMITS:  # none that a neuron at rest would meet
                    values = [0.0, *self.constants[op.operands[at]]]
                    rest = min(values) if role == "floor" else max(values)
                elif role == "reset" and op.attrs.get("endless"):  # spikes take something each
                    rest = max(self.constants[op.operands[at]])
                yield op, at, rest


def _turn(graph: Graph, lif: Op) -> None:
    """Let a layer stand position by position."""
    layer = _Layer.of(graph, lif)
    planar = [op for op in layer.convolved if op.attrs.get("planar_result")]
    if not planar:
        return
    made = geometry(graph, planar[0])
    order = _by_position(made.outputs, made.outputs * made.places)
    for op in layer.products:
        if op.kind == "conv":
            op.attrs.pop("planar_result", None)
        else:
            replace_constant(graph, op, 1, graph.constants[op.operands[1]][order])
        for at in range(2, len(op.operands)):
            replace_constant(graph, op, at, graph.constants[op.operands[at]][order])
    for op, at, _ in layer.vectors():
        replace_constant(graph, op, at, graph.constants[op.operands[at]][order])
    for op in layer.neurons:
        for state in map(graph.state, states_of(op)):
            if state and state.init:
                start = graph.constants[state.init][order]
                graph.add_constant(state.init, start, graph.types[state.init])
    spikes = lif.results[0]
    for name in (spikes, *(s.name for s in graph.states if s.next == spikes)):
        _turn_readers(graph, name, order)


def _turn_readers(graph: Graph, name: str, order: Array) -> None:
    """Let everything that reads events read them position by position."""
    for op in graph.users(name):
        if op.kind == "delay":
            replace_constant(graph, op, 2, graph.constants[op.operands[2]][order])
            _turn_readers(graph, op.results[0], order)
        elif op.kind == "conv":
            _turn_reader(graph, op, order)
        elif op.kind not in FIRING:
            replace_constant(graph, op, 1, graph.constants[op.operands[1]][..., order])


def _turn_reader(graph: Graph, op: Op, order: Array) -> None:
    """Let a convolution read so what it reads in other planes than its layer was made of, too."""
    made = geometry(graph, op)
    if np.array_equal(order, np.arange(len(order))):
        return
    if made.planar and np.array_equal(order, _by_position(made.channels, made.inputs)):
        op.attrs["planar"] = False
        return
    weight = graph.constants[op.operands[1]]
    op.kind, op.attrs = "dense", {"layer": op.attrs["layer"]}
    replace_constant(graph, op, 1, made.apply(np.eye(made.inputs), weight).T[:, order])


def _by_position(planes: int, size: int) -> Array:
    """Which element of planes is the next, position by position."""
    return np.arange(size).reshape(planes, -1).T.reshape(-1)


def _join_parts(graph: Graph, op: Op, lanes: int) -> None:
    """Join neighbouring parts until those of a joint one fill whole rows; or all of them."""
    made = geometry(graph, op)
    each = made.outputs // made.parts
    fitting = (n for n in range(1, made.parts) if made.parts % n == 0 and each * n % lanes == 0)
    _join(graph, op, next(fitting, made.parts))


def _join(graph: Graph, op: Op, joint: int) -> None:
    """Join so many neighbouring parts, with zeros between them."""
    made = geometry(graph, op)
    if joint == 1:
        return
    each, weight = made.outputs // made.parts, graph.constants[op.operands[1]]
    parts = made.parts // joint
    depth = weight.shape[3]
    wide = np.zeros((parts, joint, each, *weight.shape[1:3], joint, depth))
    split = weight.reshape(parts, joint, each, *weight.shape[1:])
    for number in range(joint):
        wide[:, number, :, :, :, number] = split[:, number]
    op.attrs["parts"] = parts
    replace_constant(graph, op, 1, wide.reshape(made.outputs, *weight.shape[1:3], joint * depth))


def _side_by_side(graph: Graph, lif: Op, lanes: int) -> None:
    """Take neighbouring positions of a layer for one, if they fill whole rows together."""
    convolved = _Layer.of(graph, lif).convolved
    every = [geometry(graph, op) for op in convolved]
    if not every or every[0].outputs % lanes == 0:
        return
    columns, outputs = every[0].positions[1], every[0].outputs
    fitting = (n for n in range(2, columns + 1) if columns % n == 0 and n * outputs % lanes == 0)
    number = next(fitting, 0)
    if not number or any(one.parts > 1 for one in every):
        return
    reaches = [
        one.stride[1] * (number - 1) + one.dilation[1] * (one.taps[1] - 1) + 1 for one in every
    ]
    if max(*reaches, *(one.stride[1] * number for one in every)) > MOST_TAPS:
        return
    for op, made, reach in zip(convolved, every, reaches, strict=True):
        weight = graph.constants[op.operands[1]]
        wide = np.zeros((number, *weight.shape[:2], reach, weight.shape[3]))
        (down, along), (dilation, between) = made.stride, made.dilation
        for at in range(number):
            end = at * along + between * (made.taps[1] - 1) + 1
            wide[at, :, :, at * along : end : between] = weight
        op.attrs["positions"] = (made.positions[0], columns // number)
        op.attrs["stride"], op.attrs["dilation"] = (down, along * number), (dilation, 1)
        op.attrs["beside"] = (number, between)
        replace_constant(graph, op, 1, wide.reshape(number * outputs, *wide.shape[2:]))


def _apart(graph: Graph, op: Op) -> None:
    """Take positions again as they were, before a graph is aligned to other lanes."""
    made, (number, between) = geometry(graph, op), beside(op.attrs)
    if op.attrs.pop("beside", None) is None:
        return
    outputs, along = made.outputs // number, made.stride[1] // number
    weight = graph.constants[op.operands[1]][:outputs]
    op.attrs["positions"] = (made.positions[0], made.positions[1] * number)
    op.attrs["stride"] = (made.stride[0], along)
    op.attrs["dilation"] = (made.dilation[0], between)
    replace_constant(graph, op, 1, weight[:, :, : weight.shape[2] - along * (number - 1) : between])


def _fill_up(graph: Graph, lif: Op, lanes: int) -> None:
    """Give a layer further outputs until they fill whole rows."""
    layer = _Layer.of(graph, lif)
    if not layer.convolved:
        return
    made = geometry(graph, layer.convolved[0])
    outputs = -(-made.outputs // lanes) * lanes
    if outputs == made.outputs:
        return
    size = made.places * outputs
    kept = np.arange(size).reshape(made.places, outputs)[:, : made.outputs].reshape(-1)
    for op in layer.products:
        _more_results(graph, op, kept, size, outputs)
    for op, at, rest in layer.vectors():
        replace_constant(graph, op, at, _spread(graph.constants[op.operands[at]], kept, size, rest))
    spikes = lif.results[0]
    before = [state.name for state in graph.states if state.next == spikes]
    held = [name for op in layer.neurons for name in states_of(op)]
    for name in [*held, *before, *(name for op in layer.neurons for name in op.results)]:
        graph.types[name] = TensorType(graph.types[name].dtype, (size,))
        state = graph.state(name)
        if state and state.init:
            start = _spread(graph.constants[state.init], kept, size, 0.0)
            graph.add_constant(state.init, start, TensorType("f32", (size,)))
    for op in graph.ops:
        if {spikes, *before} & set(op.operands[:2]) and op.kind not in NEURONS:
            _more_inputs(graph, op, kept, made, lanes)


def _apart_in_time(graph: Graph, lif: Op, lanes: int) -> None:
    """Give neurons that spike several times whole rows: the events of each time begin in one."""
    (neurons,), number = graph.types[lif.results[1]].shape, times(lif.attrs)
    size = -(-neurons // lanes) * lanes
    if size == neurons or (number == 1 and not lif.attrs.get("endless")):
        return
    layer, kept, spikes = _Layer.of(graph, lif), np.arange(neurons), lif.results[0]
    for op in layer.products:
        _more_results(graph, op, kept, size, size)
    for op, at, rest in layer.vectors():
        replace_constant(graph, op, at, _spread(graph.constants[op.operands[at]], kept, size, rest))
    for op in layer.neurons:
        for name in (op.operands[0], *op.results):
            graph.types[name] = TensorType("f32", (size,))
        state = graph.state(op.operands[0])
        if state and state.init:
            start = _spread(graph.constants[state.init], kept, size, 0.0)
            graph.add_constant(state.init, start, TensorType("f32", (size,)))
    every = np.full((number, size), -1)
    every[:, :neurons] = np.arange(number * neurons).reshape(number, neurons)
    for name in (spikes, *(state.name for state in graph.states if state.next == spikes)):
        events_as(graph, name, every.reshape(-1))


def _more_results(graph: Graph, op: Op, kept: Array, size: int, outputs: int) -> None:
    """Let a product give zero to further neurons."""
    weight = graph.constants[op.operands[1]]
    if op.kind == "conv":
        wide = np.zeros((outputs, *weight.shape[1:]))
        wide[: len(weight)] = weight
    else:
        wide = np.zeros((size, weight.shape[1]))
        wide[kept] = weight
    replace_constant(graph, op, 1, wide)
    for at in range(2, len(op.operands)):
        replace_constant(graph, op, at, _spread(graph.constants[op.operands[at]], kept, size, 0.0))
    graph.types[op.results[0]] = TensorType("f32", (size,))


def _more_inputs(graph: Graph, op: Op, kept: Array, made: Convolution, lanes: int) -> None:
    """Let an op read further neurons, with weights of zero."""
    outputs = -(-made.outputs // lanes) * lanes
    if op.kind == "delay":
        fields = {"layer": op.attrs["layer"], "outputs": made.outputs, "lanes": lanes}
        raise layer_error(DELAYED_POSITIONS, graph, op, **fields)
    if op.kind == "conv":
        _join(graph, op, geometry(graph, op).parts)
        weight = graph.constants[op.operands[1]]
        wide = np.zeros((*weight.shape[:3], outputs))
        wide[..., : made.outputs] = weight
        op.attrs["grid"] = (*geometry(graph, op).size, outputs)
    else:
        weight = graph.constants[op.operands[1]]
        wide = np.zeros((*weight.shape[:-1], made.places * outputs))
        wide[..., kept] = weight
    replace_constant(graph, op, 1, wide)


def _spread(vector: Array, kept: Array, size: int, rest: float) -> Array:
    wide = np.full(size, rest)
    wide[kept] = vector
    return wide
