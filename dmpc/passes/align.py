"""`align`: outputs of convolutions fill whole rows of a bank, each of which is of one position."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from dmpc.ir.graph import Array, Graph, Op
from dmpc.ir.ops_convolution import Convolution
from dmpc.ir.prune import prune
from dmpc.ir.registry import op_def
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
AT_REST: Mapping[str, float] = {"beta": 0.0, "threshold": 1.0, "reset": 0.0}
"""Parameters of neurons that nothing charges."""


@dataclass(frozen=True)
class Align(Pass):
    """From level layers to layers, with the same logits, for a machine of so many `lanes`.

    - results that come plane by plane come position by position, with all that reads them;
    - parts of a convolution whose outputs fill no whole rows are joined, with zeros between them;
    - a convolution whose outputs fill no whole rows gets further ones, whose neurons never spike.
    """

    name: ClassVar[str] = "align"
    lanes: int = field(default=4)

    def run(self, graph: Graph) -> Graph:
        """The graph with outputs in whole rows."""
        graph = graph.copy()
        for op in [op for op in graph.ops if op.kind == "lif"]:
            _turn(graph, op)
        for op in [op for op in graph.ops if op.kind == "conv"]:
            _join_parts(graph, op, self.lanes)
        for op in [op for op in graph.ops if op.kind == "lif"]:
            _fill_up(graph, op, self.lanes)
        return prune(graph)


def geometry(graph: Graph, op: Op) -> Convolution:
    """The convolution of an op."""
    return Convolution.of(op.attrs, graph.types[op.operands[1]].shape)


def _turn(graph: Graph, lif: Op) -> None:
    """Let a layer stand position by position."""
    bound = op_def("lif").bind(lif.operands)
    products = [op for name in bound["currents"] if (op := graph.producer(name)) is not None]
    planar = [op for op in products if op.attrs.get("planar_result")]
    if not planar:
        return
    made = geometry(graph, planar[0])
    order = np.arange(made.places * made.outputs).reshape(made.outputs, -1).T.reshape(-1)
    for op in products:
        if op.kind == "conv":
            del op.attrs["planar_result"]
        else:
            _replace(graph, op, 1, graph.constants[op.operands[1]][order])
        for at in range(2, len(op.operands)):
            _replace(graph, op, at, graph.constants[op.operands[at]][order])
    for role in AT_REST:
        at = lif.operands.index(bound[role][0])
        _replace(graph, lif, at, graph.constants[lif.operands[at]][order])
    state = graph.state(bound["u"][0])
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
            _replace(graph, op, 2, graph.constants[op.operands[2]][order])
            _turn_readers(graph, op.results[0], order)
        elif op.kind == "conv":
            op.attrs["planar"] = False
        elif op.kind != "lif":
            _replace(graph, op, 1, graph.constants[op.operands[1]][..., order])


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
    _replace(graph, op, 1, wide.reshape(made.outputs, *weight.shape[1:3], joint * depth))


def _fill_up(graph: Graph, lif: Op, lanes: int) -> None:
    """Give a layer further outputs until they fill whole rows."""
    bound = op_def("lif").bind(lif.operands)
    products = [op for name in bound["currents"] if (op := graph.producer(name)) is not None]
    convolved = [op for op in products if op.kind == "conv"]
    if not convolved:
        return
    made = geometry(graph, convolved[0])
    outputs = -(-made.outputs // lanes) * lanes
    if outputs == made.outputs:
        return
    size = made.places * outputs
    kept = np.arange(size).reshape(made.places, outputs)[:, : made.outputs].reshape(-1)
    for op in products:
        _more_results(graph, op, kept, size, outputs)
    for role, rest in AT_REST.items():
        at = lif.operands.index(bound[role][0])
        _replace(graph, lif, at, _spread(graph.constants[lif.operands[at]], kept, size, rest))
    old = [*lif.results, bound["u"][0]]
    old += [s.name for s in graph.states if s.next == lif.results[0]]
    for name in old:
        state = graph.state(name)
        if state and state.init:
            start = _spread(graph.constants[state.init], kept, size, 0.0)
            graph.add_constant(state.init, start, TensorType("f32", (size,)))
        graph.types[name] = TensorType(graph.types[name].dtype, (size,))
    events = {lif.results[0], *old[3:]}
    for op in graph.ops:
        if events & set(op.operands[:2]) and op.kind != "lif":
            _more_inputs(graph, op, kept, made, lanes)


def _more_results(graph: Graph, op: Op, kept: Array, size: int, outputs: int) -> None:
    """Let a product give zero to further neurons."""
    weight = graph.constants[op.operands[1]]
    if op.kind == "conv":
        wide = np.zeros((outputs, *weight.shape[1:]))
        wide[: len(weight)] = weight
    else:
        wide = np.zeros((size, weight.shape[1]))
        wide[kept] = weight
    _replace(graph, op, 1, wide)
    for at in range(2, len(op.operands)):
        _replace(graph, op, at, _spread(graph.constants[op.operands[at]], kept, size, 0.0))
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
    _replace(graph, op, 1, wide)


def _spread(vector: Array, kept: Array, size: int, rest: float) -> Array:
    wide = np.full(size, rest)
    wide[kept] = vector
    return wide


def _replace(graph: Graph, op: Op, at: int, value: Array) -> None:
    """Give an op another constant, under the same name if nobody else reads that."""
    name = op.operands[at]
    loc = graph.locs.get(name, ())
    if len(graph.users(name)) > 1:
        name = graph.fresh(name)
    type_ = TensorType(graph.types[op.operands[at]].dtype, value.shape)
    graph.add_constant(name, value, type_, loc)
    op.operands = (*op.operands[:at], name, *op.operands[at + 1 :])
