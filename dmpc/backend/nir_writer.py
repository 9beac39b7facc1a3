"""Graphs of level layers as NIR: the exchange format of neuromorphic libraries.

NIR's neurons are differential equations; what is written is what forward Euler at a timestep `dt`
makes the layers' numbers of. What a spike does, whether it comes at the threshold, and how
timesteps become the answer a file cannot say: `Reading` holds what a reader has to be told.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from math import prod
from typing import Any

import numpy as np

from dmpc.backend.standing import Shape, in_planes, standing
from dmpc.errors import CompileError
from dmpc.ir.graph import Array, Graph, Op
from dmpc.ir.interpret import since_in
from dmpc.ir.ops_convolution import ONE, Convolution
from dmpc.ir.registry import op_def

VERSION = "1.0"
NEAR = 1e-6  # relative, of amounts that a reset takes off: files of models hold float32


@dataclass(frozen=True)
class Reading:
    """What a file leaves open: the timestep, `reset` (value, subtract or late), the others' names
    are those of the reader's options."""

    dt: float = 1e-4
    reset: str = "value"
    spike_at: bool = False
    readout: str = "mean"

    @property
    def options(self) -> str:
        """As options of the command line; "" if the defaults are right."""
        said = [f"--dt {self.dt:g}"] if self.dt != 1e-4 else []
        said += [f"--reset {self.reset}"] if self.reset != "value" else []
        said += ["--spike-at"] if self.spike_at else []
        said += [f"--readout {self.readout}"] if self.readout != "mean" else []
        return " ".join(said)


@dataclass
class NirFile:
    """A NIR graph as nested mappings, and how it is to be read."""

    nodes: dict[str, dict[str, Any]] = field(default_factory=dict)
    edges: list[tuple[str, str]] = field(default_factory=list)
    reading: Reading = field(default_factory=Reading)

    def to_dict(self) -> dict[str, Any]:
        """As `nir.NIRGraph.to_dict` has it."""
        return {"type": "NIRGraph", "nodes": self.nodes, "edges": self.edges}

    def to_bytes(self) -> bytes:
        """As `nir.write` has it in HDF5."""
        import h5py

        def write(group: "h5py.Group", found: Mapping[str, Any]) -> None:
            for name, value in found.items():
                if isinstance(value, dict):
                    write(group.create_group(name), value)
                elif isinstance(value, str | list):
                    group.create_dataset(name, data=value, dtype=h5py.string_dtype())
                else:
                    group.create_dataset(name, data=value)

        content = BytesIO()
        with h5py.File(content, "w") as file:
            write(file, {"version": VERSION, "node": self.to_dict()})
        return content.getvalue()


def to_nir(graph: Graph, dt: float) -> NirFile:
    """A graph of level layers as NIR. Raises CompileError for what NIR has no node for."""
    if graph.level != "layers":
        raise CompileError(
            f"the graph is at level {graph.level}", where=graph.name,
            hint="NIR is written of level layers",
        )  # fmt: skip
    return _Writer(graph, dt).written()


class _Writer:
    """The nodes of one graph. `given` are values by the nodes that put them out."""

    def __init__(self, graph: Graph, dt: float) -> None:
        self.graph, self.dt = graph, dt
        self.file, self.stands, self.source = NirFile(), standing(graph), graph.inputs[0]
        self.given: dict[str, str] = {}
        self.later: list[tuple[str, str]] = []  # value, node: edges, once all values are known
        self.neurons = [op for op in graph.ops if op.kind == "lif"]

    def written(self) -> NirFile:
        """The whole file."""
        graph = self.graph
        for state in graph.states:
            if state.init is not None and graph.constants[state.init].any():
                raise self.refused(state.name, "starts a state elsewhere than at rest")
        self.node(self.source, "input", "Input", {"shape": np.array(self.input_shape())}, [])
        self.how, self.currents = self.way(), self.taken_in()
        for op in graph.ops:
            if op.results[0] not in self.currents:
                WRITERS.get(op.kind, _Writer.unknown)(self, op)
        answer = graph.outputs[0]
        ends = [answer] if graph.producer(answer) is None else self.summed(answer)
        shape = {"shape": np.array([graph.types[answer].size])}
        self.node("", "output", "Output", shape, ends)
        for value, node in self.later:
            self.file.edges.append((self.found(value), node))
        readout = str(graph.attrs.get("readout", "mean"))
        if since := since_in(graph):
            raise self.refused(answer, f"a {readout} of outputs from timestep {since} on")
        strict = all(op.attrs["strict"] for op in self.neurons)
        self.file.reading = Reading(self.dt, self.how, not strict, readout)
        return self.file

    # -- values -----------------------------------------------------------------------------------

    def node(
        self, value: str, name: str, kind: str, parameters: Mapping[str, Any], fed: list[str]
    ) -> None:
        """Add a node that gives a value and is fed others."""
        name = name.replace(".", "_")
        while name in self.file.nodes:
            name = f"{name}_"
        self.file.nodes[name] = {"type": kind, **parameters}
        self.given[value] = name
        self.later += [(one, name) for one in fed]

    def input_shape(self) -> Shape:
        """The shape of the input: a picture where a convolution reads it as one."""
        for op in self.graph.ops:
            if op.kind == "conv" and op.operands[0] == self.source:
                made = self.convolution(op)
                return (made.channels, *made.size)
        return (self.graph.types[self.source].size,)

    def flat(self, value: str) -> str:
        """What a linear map reads: a picture goes through a Flatten."""
        shape = self.stands.get(value) or (self.input_shape() if value == self.source else ())
        flat = f"{value}.flat"
        if len(shape) > 1 and flat not in self.given:
            found = {"start_dim": 0, "end_dim": -1, "input_type": np.array(shape)}
            self.node(flat, flat, "Flatten", found, [value])
        return flat if len(shape) > 1 else value

    def turned(self, value: str, parameters: Mapping[str, Array]) -> dict[str, Array]:
        """Parameters of a value's elements, in planes if that is how NIR has it."""
        shape = self.stands.get(value)
        if shape is None:
            return dict(parameters)
        return {name: in_planes(each, shape) for name, each in parameters.items()}

    def found(self, value: str) -> str:
        """The node that gives a value; spikes of the timestep before are the loop's own edge."""
        state = self.graph.state(value)
        if state is not None and state.next in self.given:
            made = self.graph.producer(state.next)
            if made is not None and made.kind == "lif":
                return self.given[state.next]
        if value not in self.given:
            raise self.refused(value, "reads a value of the timestep before that is no spike")
        return self.given[value]

    def summed(self, value: str) -> list[str]:
        """What the output adds up."""
        op = self.graph.producer(value)
        return list(op.operands) if op is not None and op.kind == "sum" else [value]

    def taken_in(self) -> set[str]:
        """The currents that neurons with one synapse, whose membrane leaks, have for themselves."""
        readers: dict[str, int] = {}
        for op in self.graph.ops:
            for operand in op.operands:
                readers[operand] = readers.get(operand, 0) + 1
        found = set()
        for op in self.graph.ops:
            currents = self.parts(op).get("currents", ()) if op.kind == "lif" else ()
            made = self.graph.producer(currents[0]) if len(currents) == 1 else None
            leaks = made is not None and made.kind == "li" and (self.beta(op) < 1).all()
            if leaks and readers[currents[0]] == 1 and (self.beta(made) < 1).all():
                found.add(currents[0])
        return found

    def parts(self, op: Op) -> Mapping[str, tuple[str, ...]]:
        """An op's operands by their roles."""
        return op_def(op.kind).bind(op.operands)

    def constant(self, op: Op, role: str) -> Array:
        (name,) = self.parts(op)[role]
        return self.graph.constants[name].astype(np.float64)

    def beta(self, op: Op | None) -> Array:
        assert op is not None
        return self.constant(op, "beta")

    def refused(self, value: str, what: str) -> CompileError:
        loc = self.graph.locs.get(value) or (value,)
        return CompileError(
            f"NIR cannot say it: {what}", where=f"'{loc[0]}'",
            hint="dmpc export -o net.onnx writes any network",
        )  # fmt: skip

    # -- nodes ------------------------------------------------------------------------------------

    def unknown(self, op: Op) -> None:
        """What NIR has no node for."""
        names = {"memory": "a slow state", "drive": "a slow state"}
        what = names.get(op.kind, f"'{op.kind}': {op_def(op.kind).doc.partition(':')[0].lower()}")
        raise self.refused(op.results[0], what)

    def nothing(self, op: Op) -> None:
        """A sum at the output is what several nodes feed it."""

    def dense(self, op: Op) -> None:
        """A linear map."""
        parts, value = self.parts(op), op.results[0]
        (x,), roles = parts["x"], ("weight", *(("bias",) if parts["bias"] else ()))
        found = {role: self.constant(op, role) for role in roles}
        if x in self.stands:
            columns = in_planes(found["weight"].T, self.stands[x])
            found["weight"] = columns.reshape(-1, len(found["weight"])).T
        readers = (one.results[0] for one in self.graph.ops if value in one.operands)
        for shape in [self.stands[name] for name in readers if name in self.stands][:1]:
            found = {n: in_planes(one, shape).reshape(one.shape) for n, one in found.items()}
        self.node(value, value, "Affine" if parts["bias"] else "Linear", found, [self.flat(x)])

    def convolution(self, op: Op) -> Convolution:
        """The convolution that an op is."""
        return Convolution.of(op.attrs, self.graph.constants[op.operands[1]].shape)

    def conv(self, op: Op) -> None:
        """A convolution, behind sums over neighbours if it has them."""
        made, value, parts = self.convolution(op), op.results[0], self.parts(op)
        (source,), size = parts["x"], (made.size[0] // made.pool[0], made.size[1] // made.pool[1])
        self.check_seen(op, made, source, size)
        if made.pool != ONE:
            pool = np.array(made.pool)
            found = {"kernel_size": pool, "stride": pool, "padding": 0 * pool}
            self.node(f"{value}.sums", f"{value}.sums", "SumPool2d", found, [source])
            source = f"{value}.sums"
        bias = self.constant(op, "bias") if parts["bias"] else np.zeros(made.outputs * made.places)
        bias, *others = made.by_output(bias)
        if any((other != bias).any() for other in others):
            raise self.refused(value, "a convolution with a bias for each position")
        kernel = {
            "weight": self.constant(op, "weight").transpose(0, 3, 1, 2),
            "bias": bias, "input_shape": np.array(size), "groups": made.parts,
            "stride": np.array(made.stride), "padding": np.array(made.padding),
            "dilation": np.array(made.dilation),
        }  # fmt: skip
        self.node(value, value, "Conv2d", kernel, [source])

    def check_seen(self, op: Op, made: Convolution, source: str, size: tuple[int, int]) -> None:
        """Refuse a convolution that sees what NIR's would not."""
        axes = zip(size, made.padding, made.taps, made.dilation, made.stride, strict=True)
        whole = tuple((n + 2 * p - d * (t - 1) - 1) // s + 1 for n, p, t, d, s in axes)
        if op.attrs.get("beside") or made.planar_result or whole != made.positions:
            raise self.refused(op.results[0], "this convolution")
        shape = (made.channels, *made.size)
        read = self.input_shape() if source == self.source else self.stands.get(source, shape)
        alike = read[0] == shape[0] and prod(read) == prod(shape)
        if made.planar == (source in self.stands) or not alike:
            raise self.refused(op.results[0], "a convolution that reads in another order")

    def delay(self, op: Op) -> None:
        """Axonal delays; those of past spikes take the loop's timestep with them."""
        (source,) = self.parts(op)["events"]
        late = self.constant(op, "delays") + (self.graph.state(source) is not None)
        found = self.turned(op.results[0], {"delay": late * self.dt})
        self.node(op.results[0], op.results[0], "Delay", found, [source])

    def li(self, op: Op) -> None:
        """A leaky integrator, in front of neurons or at the end."""
        beta = self.beta(op)
        if (beta >= 1).any():
            raise self.refused(op.results[0], "an integrator that does not leak")
        found = self.turned(op.results[0], {**self.leaking(beta, "tau"), "v_leak": 0 * beta})
        self.node(op.results[0], op.results[0], "LI", found, list(self.parts(op)["currents"]))

    def leaking(self, beta: Array, tau: str) -> dict[str, Array]:
        """The time constant of a leak, and a resistance with which an input of 1 adds 1."""
        constant = self.dt / (1 - beta)
        return {tau: constant, "r": 1 / (self.dt / constant)}

    def lif(self, op: Op) -> None:
        """Neurons that spike, with their synapse if that is theirs alone."""
        parts, spikes, beta = self.parts(op), op.results[0], self.beta(op)
        if op.attrs.get("times", 1) != 1 or op.attrs.get("endless"):
            raise self.refused(spikes, "neurons that spike several times in a timestep")
        found, rest = self.potentials(op, beta)
        currents = list(parts["currents"])
        made = self.graph.producer(currents[0]) if currents else None
        if currents and currents[0] in self.currents and made is not None:
            synapse = self.leaking(self.beta(made), "tau_syn")
            found |= {"tau_syn": synapse["tau_syn"], "w_in": synapse["r"]}
            found |= {**self.leaking(beta, "tau_mem"), "v_leak": rest}
            self.node(
                spikes,
                spikes,
                "CubaLIF",
                self.turned(spikes, found),
                list(self.parts(made)["currents"]),
            )
        elif (beta == 1).all():
            if self.how == "value" and found["v_reset"].any():
                raise self.refused(spikes, "neurons without a leak, reset elsewhere than to rest")
            found |= {"r": beta / self.dt, "v_reset": rest}
            self.node(spikes, spikes, "IF", self.turned(spikes, found), currents)
        elif (beta >= 1).any():
            raise self.refused(spikes, "neurons of one layer of which some leak and some do not")
        else:
            found |= {**self.leaking(beta, "tau"), "v_leak": rest}
            self.node(spikes, spikes, "LIF", self.turned(spikes, found), currents)

    def way(self) -> str:
        """What a spike does, which a reader has to be told once for all neurons."""
        modes = {str(op.attrs["reset_mode"]) for op in self.neurons}
        if len(modes | {bool(op.attrs["strict"]) for op in self.neurons}) > 2:
            what = "layers that differ in what a spike does, or in spikes at the threshold"
            raise self.refused(self.neurons[-1].results[0], what)
        if modes != {"subtract"}:
            return "value"
        late = (
            np.allclose(self.constant(op, "reset") * self.beta(op), self.constant(op, "threshold"))
            and self.beta(op).all()
            for op in self.neurons
        )
        return "late" if all(late) else "subtract"

    def potentials(self, op: Op, beta: Array) -> tuple[dict[str, Array], Array]:
        """The threshold and the reset of neurons, and their rest: what a reset takes off is the
        threshold as the file has it, so that another amount than ours is a rest above zero."""
        threshold, reset = self.constant(op, "threshold"), self.constant(op, "reset")
        if self.how == "value":
            return {"v_threshold": threshold, "v_reset": reset}, 0 * reset
        amount = reset * beta if self.how == "late" else reset
        amount = np.where(np.isclose(amount, threshold, rtol=NEAR, atol=0), threshold, amount)
        return {"v_threshold": amount, "v_reset": 0 * reset}, amount - threshold


WRITERS: Mapping[str, Callable[[_Writer, Op], None]] = {
    "dense": _Writer.dense, "conv": _Writer.conv, "delay": _Writer.delay, "li": _Writer.li,
    "lif": _Writer.lif, "sum": _Writer.nothing,
}  # fmt: skip
