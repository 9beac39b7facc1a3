"""From a NIR network to the model-level graph: what each node computes in a timestep."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import networkx as nx
import numpy as np

from dmpc.errors import DmpcError
from dmpc.frontend.builder import Builder
from dmpc.frontend.nir_format import network
from dmpc.frontend.nir_format.delays import Register, steps_of
from dmpc.frontend.nir_format.network import Net, Node
from dmpc.frontend.nir_format.neurons import Neuron, Timing, leak_step, neuron
from dmpc.frontend.nir_format.rules import NODE_SIZE, TIMELESS_LOOP, UNFED_NODE
from dmpc.ir.graph import Array, Graph
from dmpc.ir.verify import verify

if TYPE_CHECKING:
    import nir

SPIKING = ("IF", "LIF", "CubaLIF")
INTEGRATORS = ("I", "LI", "CubaLI")


def import_nir(
    source: "str | os.PathLike[str] | nir.NIRGraph", timing: Timing, readout: str | None
) -> Graph:
    """The graph of a NIR file, or of a NIR graph in memory; see `dmpc.frontend.import_nir`."""
    where = os.fspath(source) if isinstance(source, str | os.PathLike) else "NIR graph"
    try:
        graph = _Importer(network.read(source), timing, readout, where).run()
        verify(graph)
        return graph
    except DmpcError as error:
        for one in error.every:
            if where not in one.where:
                one.where = f"{where}: {one.where}" if one.where else where
        raise


@dataclass
class _Importer:
    """One import. `spikes` holds what neurons gave this timestep, `before` what they gave before.

    A node's value exists once its sources' do. A loop of neurons needs a timestep: neurons that
    are not there yet are read as of the timestep before.
    """

    net: Net
    timing: Timing
    readout: str | None
    where: str
    spikes: dict[str, str] = field(default_factory=dict)
    before: dict[str, str] = field(default_factory=dict)
    registers: dict[str, tuple[str, Register]] = field(default_factory=dict)
    shifted: set[str] = field(default_factory=set)
    known: dict[str, str] = field(default_factory=dict)

    def run(self) -> Graph:
        self.builder = Builder(os.path.splitext(os.path.basename(self.where))[0])
        self.input, output = self.net.only("Input"), self.net.only("Output")
        assert self.input.size is not None
        self.entry = self.builder.input(self.input.name, self.input.size)
        for node in self._neurons():
            self.known = {}  # values that read a neuron of the timestep before are stale
            self._fire(node)
        self.known = {}
        result = self._value(output, ())
        self._check_size(output, result)
        for name, state in self.before.items():
            self.builder.make_state(state, self.spikes[name])
        while waiting := [name for name in self.registers if name not in self.shifted]:
            self._shift(self.net.nodes[waiting[0]])  # which may meet another delay
        graph = self.builder.graph
        graph.outputs = [result]
        graph.attrs["readout"] = self._over_time(output)
        return graph

    # -- order ------------------------------------------------------------------------------------

    def _neurons(self) -> Iterator[Node]:
        """Nodes of neurons, each after those that feed it, loops from where the input enters."""
        wires: nx.DiGraph[str] = nx.DiGraph()
        wires.add_nodes_from(self.net.nodes)
        for name, sources in self.net.sources.items():
            if not self._delays(self.net.nodes[name]):
                wires.add_edges_from((source, name) for source in sources)
        depth = nx.single_source_shortest_path_length(wires, self.input.name)
        rank = {name: number for number, name in enumerate(self.net.nodes)}
        loops = nx.condensation(wires)
        order = {
            name: position
            for position, loop in enumerate(nx.topological_sort(loops))
            for name in loops.nodes[loop]["members"]
        }
        found = [node for node in self.net.nodes.values() if node.kind in SPIKING]
        far = len(rank)
        yield from sorted(
            found, key=lambda node: (order[node.name], depth.get(node.name, far), rank[node.name])
        )

    def _delays(self, node: Node) -> bool:
        """True for a node whose whole output is of earlier timesteps."""
        return node.kind == "Delay" and bool((steps_of(node, self.timing) > 0).all())

    # -- values -----------------------------------------------------------------------------------

    def _value(self, node: Node, path: tuple[str, ...]) -> str:
        """What a node puts out in this timestep; `path` are the nodes that are asking."""
        if node.name not in self.known:
            if node.name in path:
                ring = " -> ".join(reversed(path[path.index(node.name) :]))
                raise node.failure(TIMELESS_LOOP, ring=ring)
            self.known[node.name] = self._computed(node, (*path, node.name))
        return self.known[node.name]

    def _computed(self, node: Node, path: tuple[str, ...]) -> str:
        if node is self.input:
            return self.entry
        if node.kind in SPIKING:
            return self.spikes.get(node.name) or self._previous(node)
        if node.kind == "Delay":
            return self._delayed(node, path)
        current = self._current(node, path)
        if node.kind in ("Affine", "Linear"):
            return self._product(node, current)
        if node.kind == "Scale":
            return self._scaled(node, current, node.vector("scale", self._size(current)), "scale")
        if node.kind in INTEGRATORS:
            return self._integrated(node, current)
        return current

    def _current(self, node: Node, path: tuple[str, ...]) -> str:
        """The sum of what feeds a node."""
        sources = self.net.sources[node.name]
        if not sources:
            raise node.failure(UNFED_NODE)
        values = [self._value(self.net.nodes[name], path) for name in sources]
        total = values[0]
        for value in values[1:]:
            if self._size(value) != self._size(total):
                sizes = ", ".join(str(self._size(value)) for value in values)
                raise node.error(f"its sources differ in size: {sizes}")
            total = self._emit("add", (total, value), node, "sum")
        if node.size is not None and node.kind not in ("Affine", "Linear"):
            self._check_size(node, total)
        return total

    def _check_size(self, node: Node, value: str) -> None:
        if node.size != self._size(value):
            raise node.failure(NODE_SIZE, size=node.size, fed=self._size(value))

    def _product(self, node: Node, current: str) -> str:
        weight = node.parameters["weight"]
        if weight.shape[1] != self._size(current):
            raise node.error(
                f"weight {list(weight.shape)} takes {weight.shape[1]} elements, but is fed "
                f"{self._size(current)}"
            )
        matrix = self._constant(weight, node, "weight")
        value = self._emit("matmul", (current, matrix), node)
        if node.kind == "Linear":
            return value
        bias = self._constant(node.vector("bias", len(weight)), node, "bias")
        return self._emit("add", (value, bias), node, "bias")

    def _scaled(self, node: Node, value: str, factor: Array, what: str) -> str:
        if (factor == 1).all():
            return value
        return self._emit("mul", (value, self._constant(factor, node, what)), node, what)

    # -- neurons ----------------------------------------------------------------------------------

    def _fire(self, node: Node) -> None:
        """Add a node of neurons: its membrane, and its spikes of this timestep."""
        current = self._current(node, ())
        size = self._size(current)
        made = neuron(node, size, self.timing)
        membrane = self.builder.input(f"{node.name}.v", size)
        leaked = self._scaled(node, membrane, made.beta, "leak")
        driven = self._scaled(node, current, made.gain, "gain")
        charge = self._emit("add", (leaked, driven), node, "charge")
        threshold = self._constant(made.threshold, node, "threshold")
        fired = self._emit(
            "ge" if self.timing.spike_at else "gt", (charge, threshold), node, "fired"
        )
        self.spikes[node.name] = self._emit("cast", (fired,), node, "spikes")
        self.builder.make_state(membrane, self._reset(node, made, charge, fired))

    def _reset(self, node: Node, made: Neuron, charge: str, fired: str) -> str:
        after = self._constant(made.reset, node, "reset")
        if made.subtract:
            after = self._emit("sub", (charge, after), node, "subtracted")
        return self._emit("where", (fired, after, charge), node, "reset")

    def _previous(self, node: Node) -> str:
        """The spikes of the timestep before of neurons that come later in this one."""
        if node.name not in self.before:
            size = node.size or self._fan_out(node)
            self.before[node.name] = self.builder.input(f"{node.name}.spikes", size)
        return self.before[node.name]

    def _fan_out(self, node: Node) -> int:
        """The size of neurons whose parameters are single numbers: that of a weight they feed."""
        for name, sources in self.net.sources.items():
            target = self.net.nodes[name]
            if node.name in sources and "weight" in target.parameters:
                return int(target.parameters["weight"].shape[1])
        raise node.error("its size is not known", "give its parameters an element for every neuron")

    # -- delays -----------------------------------------------------------------------------------

    def _delayed(self, node: Node, path: tuple[str, ...]) -> str:
        """What comes out of a delay, from its register and from elements that are not late."""
        held, register = self._register(node, path)
        if (register.steps > 0).all():
            ends = tuple(index - len(register.steps) for index in register.output)
            return self._take(held, ends, node, "output")
        return self._take(self._both(node, path), register.output, node, "output")

    def _register(self, node: Node, path: tuple[str, ...]) -> tuple[str, Register]:
        """A delay's state, and the register that it is."""
        if node.name not in self.registers:
            steps = steps_of(node, self.timing)
            if steps.size == 1:
                known = [self.net.nodes[name].size for name in self.net.sources[node.name]]
                size = known[0] if known and known[0] else self._size(self._current(node, path))
                steps = np.broadcast_to(steps, size)
            register = Register(steps)
            held = self.builder.input(f"{node.name}.held", register.places) if steps.any() else ""
            self.registers[node.name] = (held, register)
        return self.registers[node.name]

    def _shift(self, node: Node) -> None:
        """What a delay's register holds next, once all values of the timestep exist."""
        self.shifted.add(node.name)
        held, register = self.registers[node.name]
        if register.places:
            shifted = self._take(self._both(node, ()), register.next, node, "shifted")
            self.builder.make_state(held, shifted)

    def _both(self, node: Node, path: tuple[str, ...]) -> str:
        """What feeds a delay, followed by what its register holds."""
        held, register = self.registers[node.name]
        current = self._current(node, path)
        if self._size(current) != len(register.steps):
            raise node.error(
                f"takes {len(register.steps)} elements, but is fed {self._size(current)}"
            )
        return self._emit("concat", (current, held), node, "both") if held else current

    def _take(self, value: str, indices: tuple[int, ...], node: Node, what: str) -> str:
        name = f"{node.name}.{what}"
        return self.builder.emit("take", (value,), {"indices": indices}, name, (node.name,))

    # -- integrators ------------------------------------------------------------------------------

    def _integrated(self, node: Node, current: str) -> str:
        """A membrane without spikes, where it is what a readout can give."""
        size = self._size(current)
        if node.kind == "LI":
            step = leak_step(node, "tau", size, self.timing.dt)
            if (step == 1).all():
                return self._scaled(node, current, node.vector("r", size), "gain")
        elif node.kind == "I" and self._summed(node):
            return self._scaled(node, current, self.timing.dt * node.vector("r", size), "gain")
        raise node.error(
            "keeps a membrane that never spikes; the machine's readout is the mean, the sum, the "
            "last or the largest of a linear map of the spikes",
            "end the network with the node's own input, or with spiking neurons that are counted",
        )

    def _summed(self, node: Node) -> bool:
        """True for an integrator whose last value is the network's answer: a sum over time."""
        feeds = self.net.sources[self.net.only("Output").name] == [node.name]
        return feeds and self.readout in (None, "last")

    def _over_time(self, output: Node) -> str:
        sources = [self.net.nodes[name] for name in self.net.sources[output.name]]
        if any(node.kind == "I" for node in sources):
            return "sum"
        return self.readout or "mean"

    # -- graph ------------------------------------------------------------------------------------

    def _size(self, value: str) -> int:
        return self.builder.graph.types[value].size

    def _constant(self, array: Array, node: Node, what: str) -> str:
        return self.builder.constant(np.asarray(array), f"{node.name}.{what}", (node.name,))

    def _emit(self, kind: str, operands: tuple[str, ...], node: Node, what: str = "") -> str:
        name = f"{node.name}.{what}" if what else node.name
        return self.builder.emit(kind, operands, {}, name, (node.name,))
