"""Graphs of level layers as portable ONNX: a `Scan` over time of standard operators, in float32."""

from collections import Counter
from collections.abc import Callable, Mapping
from importlib.metadata import version
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx
from onnx import (
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    helper,
    numpy_helper,
)

from dmpc.errors import CompileError
from dmpc.ir.drives import split
from dmpc.ir.endless import endless_of, spiking_up_to
from dmpc.ir.graph import Array, Graph, Op
from dmpc.ir.integer_types import since_of, times
from dmpc.ir.interpret import repeats_of, since_in
from dmpc.ir.ops_convolution import ONE, Convolution
from dmpc.ir.ops_layers import ADAPTATION, NO_LIMIT, PARAMETERS
from dmpc.ir.registry import op_def
from dmpc.onnx_scan import IR_VERSION, OPSET, TIME, initial_states, scan, value

COUNTER = "timestep"
NOTHING: Mapping[str, str] = MappingProxyType({})


def to_onnx(graph: Graph, carried: Mapping[str, str] = NOTHING) -> ModelProto:
    """The model `x` [batch, time, inputs] -> `logits` [batch, classes] of a graph of level layers.

    One that shows a vector at each of its timesteps takes `x` [batch, inputs].
    Constants and ops keep their names; spikes are 0 and 1 in float32. The metadata hold the version
    of this compiler, and what is `carried`. Raises CompileError for an op that has no writer, or a
    weight that float32 cannot hold.
    """
    if graph.level != "layers":
        raise CompileError(
            f"the graph is at level {graph.level}", where=graph.name,
            hint="portable ONNX is written of level layers",
        )  # fmt: skip
    graph = spiking_up_to(graph, dict.fromkeys(endless_of(graph), 1))  # a count, of all times
    model = helper.make_model(
        _Writer(graph).sequence(),
        producer_name="dmpc",
        producer_version=version("dmpc"),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    twice = _twice(model.graph)
    if twice:
        raise _clash(graph, twice[0])
    helper.set_model_props(model, {"dmpc.version": version("dmpc"), **carried})
    onnx.checker.check_model(model, full_check=True)
    return model


def _clash(graph: Graph, name: str) -> CompileError:
    """The names of values are kept, and may be what the writer calls one of its own."""
    return CompileError(
        f"a value is called '%{name}', as is one of the file's own", where=graph.name,
        hint="give it another name",
    )  # fmt: skip


def _twice(graph: GraphProto) -> list[str]:
    """Names that a graph defines more than once, the timesteps within it included; the timesteps'
    input is called like the whole."""
    bodies = [attr.g for node in graph.node for attr in node.attribute if attr.HasField("g")]
    given = [*graph.input, *(one for body in bodies for one in body.input[:-1])]
    nodes = [node for body in (graph, *bodies) for node in body.node]
    defined = Counter([one.name for one in (*given, *graph.initializer)])
    defined.update(name for node in nodes for name in node.output)
    return [name for name, times in defined.items() if times > 1]


class _Writer:
    """The nodes and weights of one graph."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.input, self.output = graph.inputs[0], graph.outputs[0]
        self.weights: dict[str, TensorProto] = {}
        self.body: list[NodeProto] = []
        self.outside: list[NodeProto] = []
        self.states = {state.name: graph.types[state.name].size for state in graph.states}
        self.carried = {state.name: state.next for state in graph.states}
        self.starts = {state.name: state.init for state in graph.states if state.init is not None}

    def sequence(self) -> GraphProto:
        """The Scan over time, what starts its states, and the readout."""
        for op in self.graph.ops:
            if op.kind not in WRITERS:
                raise CompileError(f"'{op.kind}' cannot be written as ONNX", where=_place(op))
            WRITERS[op.kind](self, op)
        steps = self._body()
        given = {state: self.weight(init) for state, init in self.starts.items()}
        nodes, constants = initial_states(self.states, self.input, given)
        size, repeats = self.graph.types[self.input].size, repeats_of(self.graph)
        shape = ("batch", size) if repeats is not None else ("batch", "time", size)
        source = self.input if repeats is None else self._shown(self.input, repeats)
        if "events" in self.graph.attrs:
            source = self._compared(source)
        self.outside += [*nodes, scan(steps, self.states, source, "outputs")]
        self._readout()
        classes = self.graph.types[self.output].size
        return helper.make_graph(
            self.outside,
            self.graph.name or "network",  # ONNX wants one
            [value(self.input, *shape)],
            [value("logits", "batch", classes)],
            [*self.weights.values(), *constants],
        )

    def _body(self) -> GraphProto:
        """One timestep: states and x in, states' next values and the output out.

        What leaves the body is copied: a value may be the next one of several states, and the
        output as well.
        """
        leaving = [
            *((f"{name}.out", self.carried[name], size) for name, size in self.states.items()),
            ("output", self.output, self.graph.types[self.output].size),
        ]
        for name, source, _ in leaving:
            self.node("Identity", [source], name)
        return helper.make_graph(
            self.body,
            "timestep",
            [
                *(value(name, "batch", size) for name, size in self.states.items()),
                value(self.input, "batch", self.graph.types[self.input].size),
            ],
            [value(name, "batch", size) for name, _, size in leaving],
        )

    def _shown(self, vector: str, times: int) -> str:
        """A sequence that shows the input at each of so many timesteps."""
        axis = self._store("shown.axis", np.array([TIME], np.int64))
        shape = self._store("shown.shape", np.array([1, times, 1], np.int64))
        self.outside += [
            helper.make_node("Unsqueeze", [vector, axis], ["shown.once"], "shown.once"),
            helper.make_node("Expand", ["shown.once", shape], ["shown"], "shown"),
        ]
        return "shown"

    def _compared(self, source: str) -> str:
        """The input as 0 and 1, which is all that the network may be given."""
        zero = self._store("input.zero", np.zeros(1, np.float32))
        self.outside += [
            helper.make_node("Greater", [source, zero], ["input.active"], "input.active"),
            helper.make_node(
                "Cast", ["input.active"], ["input.events"], "input.events", to=TensorProto.FLOAT
            ),
        ]
        return "input.events"

    def _readout(self) -> None:
        kind = str(self.graph.attrs.get("readout", "mean"))
        attrs: dict[str, Any] = {"keepdims": 0}
        inputs = ["outputs"]
        if since := since_in(self.graph):
            ends = {"from": [since], "to": [np.iinfo(np.int64).max], "axis": [TIME]}
            stored = [self.numbers(f"since.{key}", np.array(at)) for key, at in ends.items()]
            self.outside.append(helper.make_node("Slice", ["outputs", *stored], ["late"], "late"))
            inputs = ["late"]
        match kind:
            case "last":
                op, attrs = "Gather", {"axis": TIME}
                inputs.append(self._store("last", np.array(-1, np.int64)))
            case "sum":
                op = "ReduceSum"
                inputs.append(self._store("time.axis", np.array([TIME], np.int64)))
            case _:
                op = "ReduceMean" if kind == "mean" else "ReduceMax"
                attrs["axes"] = [TIME]
        found = "logits" if kind != "max0" else "largest"
        self.outside.append(helper.make_node(op, inputs, [found], kind, **attrs))
        if found != "logits":
            self.outside.append(helper.make_node("Relu", [found], ["logits"], "logits"))

    # -- for the writers of ops --------------------------------------------------------------------

    def node(self, op: str, inputs: list[str], output: str, **attrs: Any) -> str:
        """Add a node to the timestep, called like its output; returns that name."""
        self.body.append(helper.make_node(op, inputs, [output], output, **attrs))
        return output

    def weight(self, name: str, *shape: int) -> str:
        """A constant of the graph as an initialiser, in another shape if one is given."""
        array = self.graph.constants[name]
        return self._store(name, array.reshape(shape) if shape else array)

    def kernel(self, name: str, array: Array) -> str:
        """A weight of the graph in another form."""
        return self._store(f"{name}.kernel", array)

    def number(self, value: float) -> str:
        """One number as an initialiser."""
        return self._store(f"number.{value:g}", np.array([value], np.float32))

    def numbers(self, name: str, array: Array) -> str:
        """A vector of integers as an initialiser."""
        return self._store(name, array.astype(np.int64))

    def counter(self) -> str:
        """The number of the timestep, a state of its own."""
        if COUNTER in self.graph.types:
            raise _clash(self.graph, COUNTER)
        if COUNTER not in self.states:
            self.states[COUNTER] = 1
            self.carried[COUNTER] = self.node("Add", [COUNTER, self.number(1)], f"{COUNTER}.plus")
        return COUNTER

    def _store(self, name: str, array: Array) -> str:
        with np.errstate(over="ignore"):
            stored = array if array.dtype == np.int64 else array.astype(np.float32)
        if not np.isfinite(stored).all():
            raise CompileError(
                f"'{name}' holds numbers up to {np.abs(array).max():.3g}, beyond float32",
                where=self.graph.name,
            )
        made = numpy_helper.from_array(stored, name)
        if self.weights.setdefault(name, made) != made:
            raise _clash(self.graph, name)
        return name


def _dense(writer: _Writer, op: Op) -> None:
    source, weight, *bias = op.operands
    constants = [writer.weight(name) for name in (weight, *bias)]
    writer.node("Gemm", [source, *constants], op.results[0], transB=1)


def _conv(writer: _Writer, op: Op) -> None:
    """Planes of the input, sums over neighbours, Conv, and back to position by position."""
    source, weight, *bias = op.operands
    (result,) = op.results
    made = Convolution.of(op.attrs, writer.graph.types[weight].shape)
    planes = _planes(writer, source, made, result)
    if made.pool != ONE:
        size = list(made.pool)
        planes = writer.node(
            "AveragePool", [planes], f"{result}.means", kernel_shape=size, strides=size
        )
    kernel = writer.graph.constants[weight].transpose(0, 3, 1, 2) * (made.pool[0] * made.pool[1])
    places = [size // by for size, by in zip(made.size, made.pool, strict=True)]
    ends = [
        max((n - 1) * by + (taps - 1) * apart + 1 - before - size, 0)
        for n, by, taps, apart, before, size in zip(
            made.positions, made.stride, made.taps, made.dilation, made.padding, places,
            strict=True,
        )
    ]  # fmt: skip
    attrs = {"strides": made.stride, "dilations": made.dilation, "group": made.parts}
    value = writer.node(
        "Conv", [planes, writer.kernel(weight, kernel)], f"{result}.planes",
        pads=[*made.padding, *ends], **attrs,
    )  # fmt: skip
    if not made.planar_result:
        value = writer.node("Transpose", [value], f"{result}.places", perm=[0, 2, 3, 1])
    shape = writer.numbers(f"{result}.shape", np.array([-1, made.places * made.outputs]))
    if not bias:
        writer.node("Reshape", [value, shape], result)
        return
    flat = writer.node("Reshape", [value, shape], f"{result}.product")
    writer.node("Add", [flat, writer.weight(bias[0])], result)


def _planes(writer: _Writer, source: str, made: Convolution, result: str) -> str:
    """What a convolution reads as [batch, channels, y, x]."""
    order = (made.channels, *made.size) if made.planar else (*made.size, made.channels)
    shape = writer.numbers(f"{result}.grid", np.array([-1, *order]))
    value = writer.node("Reshape", [source, shape], f"{result}.input")
    if made.planar:
        return value
    return writer.node("Transpose", [value], f"{result}.input.planes", perm=[0, 3, 1, 2])


def _drive(writer: _Writer, op: Op) -> None:
    source, weight, *rest = op.operands
    (result,) = op.results
    added, before = split(rest[1:], op.attrs)
    linear = bool(op.attrs.get("linear"))
    inputs = [source, writer.weight(weight, 1, -1), *(writer.weight(name) for name in rest[:1])]
    names = [f"{result}.scalar" if before else result]  # the last steps first
    names += [f"{result}.linear"] * (not linear) + [f"{result}.sum"] * bool(added)
    value = writer.node("Gemm", inputs, names.pop(), transB=1)
    for name in added:
        value = writer.node("Add", [value, name], names.pop())
    if not linear:
        value = writer.node("Relu", [value], names.pop())
    if before:
        writer.node("Concat", [*before, value], result, axis=1)


def _memory(writer: _Writer, op: Op) -> None:
    m, x, a, b = op.operands
    (result,) = op.results
    kept = writer.node("Gemm", [m, writer.weight(a)], f"{result}.kept", transB=1)
    if writer.graph.constants[b].ndim > 1:
        added = writer.node("Gemm", [x, writer.weight(b)], f"{result}.added", transB=1)
    else:
        added = writer.node("Mul", [x, writer.weight(b)], f"{result}.added")
    writer.node("Add", [kept, added], result)


def _hold(writer: _Writer, op: Op) -> None:
    held, value = op.operands
    (result,) = op.results
    period = op.attrs["period"]
    assert isinstance(period, int)
    inputs = [writer.counter(), writer.number(period)]
    phase = writer.node("Mod", inputs, f"{result}.phase", fmod=1)
    due = writer.node("Equal", [phase, writer.number(since_of(op.attrs))], f"{result}.due")
    writer.node("Where", [due, value, held], result)


def _delay(writer: _Writer, op: Op) -> None:
    """Events of the last timesteps side by side, latest first; each input takes its own."""
    waiting, events, delays = op.operands
    late, rest = op.results
    rows, size = writer.graph.types[waiting].shape
    if writer.starts.get(waiting) is not None:
        raise CompileError("events that wait at the start cannot be written", where=_place(op))
    writer.states[waiting] = (rows - 1) * size
    taken = writer.graph.constants[delays].astype(np.int64) * size + np.arange(size)
    known = writer.node("Concat", [events, waiting], f"{late}.known", axis=1)
    writer.node("Gather", [known, writer.numbers(delays, taken)], late, axis=1)
    ends = [writer.numbers(f"{late}.{n}", np.array([n])) for n in (0, (rows - 1) * size)]
    axis = writer.numbers(f"{late}.axis", np.array([1]))
    writer.node("Slice", [known, *ends, axis], rest)


def _li(writer: _Writer, op: Op) -> None:
    state, *currents, beta = op.operands
    (result,) = op.results
    value = writer.node("Mul", [state, writer.weight(beta)], f"{result}.leaked")
    for number, current in enumerate(currents):
        last = number == len(currents) - 1
        made = result if last else f"{result}.charge{number}"
        value = writer.node("Add", [value, current], made)


def _sum(writer: _Writer, op: Op) -> None:
    (result,) = op.results
    if len(op.operands) == 1:
        writer.node("Identity", list(op.operands), result)
        return
    value, *others = op.operands
    for number, other in enumerate(others, 1):
        made = result if number == len(others) else f"{result}.sum{number}"
        value = writer.node("Add", [value, other], made)


def _lif(writer: _Writer, op: Op) -> None:
    bound = op_def(op.kind).bind(op.operands)
    (membrane,), (a,) = bound["u"], bound.get("a") or ("",)
    beta, threshold, reset = (bound[role][0] for role in PARAMETERS)
    spikes, result = op.results[:2]
    adapts = op.attrs.get("adapts")
    currents = [*bound["currents"], *([a] if adapts == "current" else [])]
    charge = writer.node("Mul", [membrane, writer.weight(beta)], f"{spikes}.leaked")
    for number, current in enumerate(currents):
        charge = writer.node("Add", [charge, current], f"{spikes}.charge{number}")
    for role, node, sign in (("floor", "Max", -1), ("ceiling", "Min", 1)):
        (limit,) = bound.get(role) or ("",)
        lasting = limit and sign * writer.graph.constants[limit] < NO_LIMIT
        if np.any(lasting) and not np.all(lasting):
            raise CompileError(
                f"a {role} of some neurons alone cannot be written", where=_place(op)
            )
        if np.any(lasting):
            charge = writer.node(node, [charge, writer.weight(limit)], f"{spikes}.{role}")
    (r,) = bound.get("r") or ("",)
    if r:
        rests = writer.node("Greater", [r, writer.number(0)], f"{spikes}.rests")
        charge = writer.node("Where", [rests, writer.weight(reset), charge], f"{spikes}.kept")
    comparison = "Greater" if op.attrs["strict"] else "GreaterOrEqual"
    limit, after = writer.weight(threshold), writer.weight(reset)
    if adapts == "threshold":
        limit = writer.node("Add", [limit, a], f"{spikes}.limit")
    if op.attrs.get("endless"):
        _endless(writer, op, charge)
        return
    if times(op.attrs) > 1:
        _several(writer, op, comparison, charge)
        return
    fired = writer.node(comparison, [charge, limit], f"{spikes}.fired")
    writer.node("Cast", [fired], spikes, to=TensorProto.FLOAT)
    if op.attrs["reset_mode"] != "hard":
        if adapts == "threshold":
            more = writer.node("Mul", [a, writer.weight(bound["coupling"][0])], f"{spikes}.more")
            after = writer.node("Add", [after, more], f"{spikes}.taken")
        after = writer.node("Sub", [charge, after], f"{spikes}.after")
    writer.node("Where", [fired, after, charge], result)
    if adapts:
        _adaptation(writer, op, bound)
    if r:
        left = writer.node("Sub", [r, writer.number(1)], f"{spikes}.less")
        left = writer.node("Relu", [left], f"{spikes}.left")
        writer.node("Where", [fired, writer.weight(bound["rest"][0]), left], op.results[2])


def _endless(writer: _Writer, op: Op, charge: str) -> None:
    """Neurons that spike as often as they can: how often is a count."""
    bound, (spikes, result) = op_def(op.kind).bind(op.operands), op.results
    threshold, amount = (bound[role][0] for role in ("threshold", "reset"))
    if (writer.graph.constants[amount] <= 0).any():
        raise CompileError(
            "spikes without end that take nothing off a neuron cannot be written", where=_place(op)
        )
    over = writer.node("Sub", [charge, writer.weight(threshold)], f"{spikes}.over")
    further = writer.node("Div", [over, writer.weight(amount)], f"{spikes}.further")
    if op.attrs["strict"]:
        whole = writer.node("Ceil", [further], f"{spikes}.whole")
    else:
        floor = writer.node("Floor", [further], f"{spikes}.floor")
        whole = writer.node("Add", [floor, writer.number(1.0)], f"{spikes}.whole")
    writer.node("Relu", [whole], spikes)
    taken = writer.node("Mul", [spikes, writer.weight(amount)], f"{spikes}.taken")
    writer.node("Sub", [charge, taken], result)


def _several(writer: _Writer, op: Op, comparison: str, charge: str) -> None:
    """Neurons that spike up to so many times: their charge reaches as many thresholds."""
    bound, (spikes, result) = op_def(op.kind).bind(op.operands), op.results
    threshold, amount = (writer.graph.constants[bound[r][0]] for r in ("threshold", "reset"))
    if (amount < 0).any():
        raise CompileError(
            "several spikes that charge a neuron cannot be written", where=_place(op)
        )
    every: list[str] = []
    for time in range(times(op.attrs)):
        limit = writer.kernel(f"{spikes}.limit{time}", threshold + time * amount)
        fired = writer.node(comparison, [charge, limit], f"{spikes}.fired{time}")
        every.append(writer.node("Cast", [fired], f"{spikes}.{time}", to=TensorProto.FLOAT))
    count = writer.node("Sum", every, f"{spikes}.count")
    taken = writer.node("Mul", [count, writer.weight(bound["reset"][0])], f"{spikes}.taken")
    writer.node("Sub", [charge, taken], result)
    writer.node("Concat", every, spikes, axis=1)


def _adaptation(writer: _Writer, op: Op, bound: Mapping[str, tuple[str, ...]]) -> None:
    """What a timestep leaves of the state by which neurons adapt."""
    spikes, u, result = op.results
    rho, jump, coupling = (writer.weight(bound[role][0]) for role in ADAPTATION[1:])
    value = writer.node("Mul", [bound["a"][0], rho], f"{result}.leaked")
    if op.attrs["adapts"] == "current":
        follows = writer.node("Mul", [u, coupling], f"{result}.follows")
        value = writer.node("Add", [value, follows], f"{result}.coupled")
    writer.node("Add", [value, writer.node("Mul", [spikes, jump], f"{result}.jump")], result)


WRITERS: Mapping[str, Callable[[_Writer, Op], None]] = {
    "conv": _conv,
    "delay": _delay,
    "dense": _dense,
    "drive": _drive,
    "hold": _hold,
    "li": _li,
    "lif": _lif,
    "alif": _lif,
    "clif": _lif,
    "rlif": _lif,
    "memory": _memory,
    "sum": _sum,
}


def _place(op: Op) -> str:
    return op.loc[0] if op.loc else op.results[0]
