"""From a NIR network to the model-level graph: what each node computes in a timestep."""

import os
from dataclasses import dataclass, field, replace
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from dmpc.errors import DmpcError, ImportFailure
from dmpc.frontend.builder import Builder
from dmpc.frontend.chosen import check_named, options, tell_left_out
from dmpc.frontend.joined import JOINED, tell_joined
from dmpc.frontend.model_rules import MANY_OUTPUTS
from dmpc.frontend.models import stem
from dmpc.frontend.nir_format import network
from dmpc.frontend.nir_format.delays import Line, Register, check_places
from dmpc.frontend.nir_format.forms import Forms, Term
from dmpc.frontend.nir_format.network import MOST_INPUTS, Net, Node
from dmpc.frontend.nir_format.neurons import ROUNDING, Neuron, Timing, neuron, response
from dmpc.frontend.nir_format.neurons import current as decay
from dmpc.frontend.nir_format.order import SPIKING, firing_order
from dmpc.frontend.nir_format.pictures import (
    CONVOLUTIONS,
    POOLS,
    Picture,
    convolution,
    declared,
    noted,
    summed_up,
)
from dmpc.frontend.nir_format.rules import CONVOLUTION, NODE_SIZE, TIMELESS_LOOP
from dmpc.frontend.nir_format.shapes import shapes
from dmpc.frontend.nir_format.timestep import Pace
from dmpc.ir.graph import Array, Graph
from dmpc.ir.ops_convolution import ONE, Convolution
from dmpc.ir.verify import verify

if TYPE_CHECKING:
    import nir

INTEGRATORS = ("I", "LI", "CubaLI")


def import_nir(
    source: "str | os.PathLike[str] | nir.NIRGraph",
    timing: Timing,
    readout: str | None,
    answer: str | None = None,
) -> Graph:
    """The graph of a NIR file, or of a NIR graph in memory; see `dmpc.frontend.import_nir`."""
    where = os.fspath(source) if isinstance(source, str | os.PathLike) else "NIR graph"
    try:
        timing.check()
        with np.errstate(all="ignore"):  # what is not finite is refused by name
            graph = _Importer(network.read(source), timing, readout, where, answer).run()
        verify(graph)
        return graph
    except RecursionError:
        raise ImportFailure("its nodes stand in too long a row", where=where) from None
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
    answer: str | None = None  # the Output node that is wanted, where there are several
    spikes: dict[str, str] = field(default_factory=dict)
    before: dict[str, str] = field(default_factory=dict)
    lines: dict[tuple[str, int], Line] = field(default_factory=dict)
    known: dict[str, str] = field(default_factory=dict)
    integrated: dict[str, str] = field(default_factory=dict)
    pictures: dict[str, Picture] = field(default_factory=dict)

    def run(self) -> Graph:
        self.builder = Builder(stem(self.where))
        self.pace = Pace(self.timing, self.where)
        inputs, output = self.net.inputs(), self._chosen()
        self.output, self.shapes = output, shapes(self.net)
        self.entries = self._entered(inputs)
        for node in firing_order(self.net, self.timing, inputs, output):
            self.known = {}  # values that read a neuron of the timestep before are stale
            self._fire(node)
        self.known = {}
        result = self._in_planes(output, self._value(output, ()))
        self._check_size(output, result)
        for name, state in self.before.items():
            spikes = self._in_planes(self.net.nodes[name], self.spikes[name])
            self.builder.make_state(state, spikes)
        for line in self.lines.values():
            self._shift(line)
        graph = self.builder.graph
        graph.outputs = [result]
        graph.attrs["readout"] = self._over_time(output)
        self.pace.tell()
        return graph

    def _chosen(self) -> Node:
        """The Output node that is the answer. Raises ImportFailure where that is not said."""
        found = {node.name: node for node in self.net.outputs()}
        check_named(self.answer, list(found))
        if self.answer is None and len(found) > 1:
            names = ", ".join(f"'{name}'" for name in found)
            listed = options(found)
            raise ImportFailure.of(MANY_OUTPUTS, number=len(found), names=names, options=listed)
        name = self.answer or next(iter(found))
        tell_left_out(self.where, name, found)
        return found[name]

    def _entered(self, inputs: list[Node]) -> dict[str, str]:
        """The values of the Input nodes: parts of the one input, if there are several."""
        sizes = {node.name: node.size or 0 for node in inputs}
        for node in inputs:
            self._show(node, Picture.of(node.shape))
        if len(inputs) == 1:
            return {name: self.builder.input(name, size) for name, size in sizes.items()}
        tell_joined(self.where, sizes)
        entry, found, start = self.builder.input(JOINED, sum(sizes.values())), {}, 0
        for name, size in sizes.items():
            found[name] = self.builder.part(entry, start, size, (name,))
            start += size
        return found

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
        if node.name in self.entries:
            return self.entries[node.name]
        if node.kind in SPIKING:
            return self.spikes.get(node.name) or self._previous(node)
        if node.kind == "Delay":
            return self._delayed(node)
        current, picture = self._current(node, path)
        if node.kind in CONVOLUTIONS:
            return self._convolved(node, current, picture)
        if node.kind in POOLS:
            return self._pooled(node, current, picture)
        if node.kind in ("Affine", "Linear"):
            return self._product(node, current, picture)
        if node.kind in INTEGRATORS:
            current, picture = self._flat(node, current, picture), None
        self._show(node, picture or self._declared(node))
        if picture and node.kind == "Scale":
            node = picture.arranged(node)
        if node.kind == "Scale":
            return self._scaled(node, current, node.vector("scale", self._size(current)), "scale")
        if node.kind in INTEGRATORS:
            return self._integrated(node, current)
        return current

    def _current(self, node: Node, path: tuple[str, ...]) -> tuple[str, Picture | None]:
        """The sum of what feeds a node, and how it stands in lines and columns."""
        fed = self.net.fed(node)
        values = [self._value(self.net.nodes[name], path) for name in fed]
        values, picture = self._alike(node, values, [self.pictures.get(name) for name in fed])
        total = values[0]
        for value in values[1:]:
            if self._size(value) != self._size(total):
                sizes = ", ".join(str(self._size(value)) for value in values)
                raise node.error(f"its sources differ in size: {sizes}")
            total = self._emit("add", (total, value), node, "sum")
        if node.size is not None and node.kind not in ("Affine", "Linear"):
            if picture is None:
                self._check_size(node, total)
            elif node.size not in (picture.channels, picture.elements):
                raise node.failure(NODE_SIZE, size=node.size, fed=picture.elements)
        return total, picture

    def _check_size(self, node: Node, value: str) -> None:
        if node.size != self._size(value):
            raise node.failure(NODE_SIZE, size=node.size, fed=self._size(value))

    # -- pictures ---------------------------------------------------------------------------------

    def _show(self, node: Node, picture: Picture | None) -> None:
        self.pictures.pop(node.name, None)
        if picture is not None:
            self.pictures[node.name] = picture

    def _declared(self, node: Node) -> Picture | None:
        """The picture that the vector of a node is, by the shapes that the file declares."""
        return Picture.of(self.shapes.get(node.name, ()))

    def _alike(
        self, node: Node, values: list[str], pictures: list[Picture | None]
    ) -> tuple[list[str], Picture | None]:
        """Values that stand in the same lines and columns, in the order of whichever is not planar.

        Where lines and columns differ, all are the vectors that NIR means.
        """
        if len(set(pictures)) == 1:
            return values, pictures[0]
        pairs = []
        for value, picture in zip(values, pictures, strict=True):
            pairs.append(self._unpooled(node, value, picture) if picture else (value, None))
        shapes = {(one.channels, one.size) for _, one in pairs if one}
        turned = [one for _, one in pairs if one and not one.planar]
        if len(shapes) > 1 or not turned:
            common = None if len(shapes) > 1 else next(one for _, one in pairs if one)
            return [self._flat(node, value, one) for value, one in pairs], common
        order = tuple(turned[0].order.tolist())
        return [
            value
            if (one and not one.planar) or self._size(value) != len(order)
            else self._take(value, order, node, "places")
            for value, one in pairs
        ], turned[0]

    def _in_planes(self, node: Node, value: str) -> str:
        """What a node puts out as the vector that NIR means."""
        return self._flat(node, value, self.pictures.get(node.name))

    def _flat(self, node: Node, value: str, picture: Picture | None) -> str:
        if picture is None or picture.plain:
            return value
        value, picture = self._unpooled(node, value, picture)
        back = tuple(np.argsort(picture.order).tolist())
        return value if picture.plain else self._take(value, back, node, "planes")

    def _unpooled(self, node: Node, value: str, picture: Picture) -> tuple[str, Picture]:
        """A picture without sums that are yet to be made."""
        if picture.pool == ONE:
            return value, picture
        made, weight = picture.summed()
        value = self._mapped(node, value, made, weight)
        return value, Picture(picture.channels, picture.places, planar=False)

    def _convolved(self, node: Node, current: str, picture: Picture | None) -> str:
        read = declared(node, picture, self._size(current))
        if read != picture:
            current = self._flat(node, current, picture)
        made, weight = convolution(node, read)
        value = self._mapped(node, current, made, weight)
        self._show(node, Picture(made.outputs, made.positions, planar=False))
        return self._raised(node, value, made.spread(node.vector("bias", made.outputs)))

    def _pooled(self, node: Node, current: str, picture: Picture | None) -> str:
        if picture is None:
            raise node.failure(CONVOLUTION, problem="what it pools has no lines and columns")
        if later := noted(node, picture):
            self._show(node, later)
            return current
        made, weight = summed_up(node, picture)
        self._show(node, Picture(made.outputs, made.positions, planar=False))
        return self._mapped(node, current, made, weight)

    def _mapped(self, node: Node, value: str, made: Convolution, weight: Array) -> str:
        if made.places * made.outputs > MOST_INPUTS:
            problem = f"makes more than {MOST_INPUTS:,} sums (check its padding)"
            raise node.failure(CONVOLUTION, problem=problem)
        name = f"{node.name}.map"
        kernel = self._constant(weight, node, "weight")
        return self.builder.emit("conv", (value, kernel), made.attrs, name, (node.name,))

    def _product(self, node: Node, current: str, picture: Picture | None) -> str:
        self._show(node, None)
        weight = node.weight(picture.elements if picture else self._size(current))
        if picture and picture.pool != ONE:
            made = picture.whole(len(weight))
            kernel = weight.reshape(len(weight), picture.channels, *picture.places)
            kernel = kernel.transpose(0, 2, 3, 1) * picture.factor
            value = self._mapped(node, current, made, kernel)
            bias = node.vector("bias", len(weight)) if node.kind == "Affine" else np.zeros(1)
            return self._raised(node, value, bias)
        if picture and not picture.planar:
            weight = weight[:, picture.order]
        matrix = self._constant(weight, node, "weight")
        value = self._emit("matmul", (current, matrix), node)
        if node.kind == "Linear":
            return value
        return self._raised(node, value, node.vector("bias", len(weight)))

    def _scaled(self, node: Node, value: str, factor: Array, what: str) -> str:
        if (factor == 1).all():
            return value
        return self._emit("mul", (value, self._constant(factor, node, what)), node, what)

    def _raised(self, node: Node, value: str, bias: Array) -> str:
        if not bias.any():
            return value
        return self._emit("add", (value, self._constant(bias, node, "bias")), node, "bias")

    # -- neurons ----------------------------------------------------------------------------------

    def _fire(self, node: Node) -> None:
        """Add a node of neurons: its membrane, and its spikes of this timestep."""
        current, picture = self._current(node, ())
        if picture is not None:
            current, picture = self._unpooled(node, current, picture)
        self._show(node, picture or self._declared(node))
        if picture is not None:
            node = picture.arranged(node)
        size = self._size(current)
        made = neuron(node, size, self.timing)
        self.pace.look(node, self._lasting(node, made), self.builder.graph, current)
        current = self._synapse(node, current)
        membrane = None if node.kind == "Threshold" else self.builder.input(f"{node.name}.v", size)
        charge = self._scaled(node, current, made.gain, "gain")
        if membrane:
            leaked = self._scaled(node, membrane, made.beta, "leak")
            charge = self._emit("add", (leaked, charge), node, "charge")
        threshold = self._constant(made.threshold, node, "threshold")
        fired = self._emit(
            "ge" if self.timing.spike_at else "gt", (charge, threshold), node, "fired"
        )
        self.spikes[node.name] = self._emit("cast", (fired,), node, "spikes")
        if membrane:
            self.builder.make_state(membrane, self._reset(node, made, charge, fired))

    def _lasting(self, node: Node, made: Neuron) -> Neuron:
        """Neurons that take at once what a synaptic current gives them over time."""
        found = decay(node, len(made.beta), self.timing) if node.kind == "CubaLIF" else None
        if found is None:
            return made
        kept, taken = found
        return replace(made, gain=made.gain * taken / np.maximum(1 - kept, ROUNDING))

    def _synapse(self, node: Node, current: str) -> str:
        """The synaptic current of a node of neurons that keeps one, else what feeds it."""
        size = self._size(current)
        found = decay(node, size, self.timing) if node.kind in ("CubaLIF", "CubaLI") else None
        if found is None:
            return current
        kept, taken = found
        state = self.builder.input(f"{node.name}.i", size)
        left = self._scaled(node, state, kept, "kept")
        after = self._emit("add", (left, self._scaled(node, current, taken, "taken")), node, "i")
        self.builder.make_state(state, after)
        return after

    def _reset(self, node: Node, made: Neuron, charge: str, fired: str) -> str:
        after = self._constant(made.reset, node, "reset")
        if made.subtract:
            after = self._emit("sub", (charge, after), node, "subtracted")
        return self._emit("where", (fired, after, charge), node, "reset")

    def _previous(self, node: Node) -> str:
        """The spikes of the timestep before of neurons that come later in this one."""
        if node.name not in self.before:
            self.before[node.name] = self.builder.input(f"{node.name}.spikes", self._events(node))
            self._show(node, self._declared(node))
        return self.before[node.name]

    def _events(self, node: Node) -> int:
        """The size of a node that gives events, whether it is there yet or not."""
        known = self.spikes.get(node.name)
        size = prod(self.shapes.get(node.name, ())) if node.name in self.shapes else node.size
        if known or size:
            return self._size(known) if known else size or 0
        raise node.error("its size is not known", "give its parameters an element for every neuron")

    # -- delays -----------------------------------------------------------------------------------

    def _delayed(self, node: Node) -> str:
        """What comes out of a delay: weights of events that are late, each by its own time."""
        self._show(node, self._declared(node))
        form = Forms(self.net, self.timing, self._events).of(node)
        parts = [self._late(node, number, term) for number, term in enumerate(form.terms)]
        if not parts:
            return self._constant(form.bias, node, "bias")
        if form.bias.any():
            parts.append(self._constant(form.bias, node, "bias"))
        total = parts[0]
        for part in parts[1:]:
            total = self._emit("add", (total, part), node, "sum")
        return total

    def _late(self, node: Node, number: int, term: Term) -> str:
        """One term of a delay's form, its events from a register of their own."""
        check_places(node, float(term.ages.sum()), self.timing)
        line = self.lines.get((node.name, number))
        if line is None:
            line = Line(node, self.net.nodes[term.source], term.columns, Register(term.ages), "")
            if places := line.register.places:
                line = replace(line, held=self.builder.input(f"{node.name}.held", places))
            self.lines[node.name, number] = line
        if (term.ages > 0).all():
            ends = tuple(index - len(term.ages) for index in line.register.output)
            value = self._take(line.held, ends, node, "output")
        else:
            value = self._take(self._both(line), line.register.output, node, "output")
        if term.matrix is None:
            return value
        return self._emit("matmul", (value, self._constant(term.matrix, node, "weight")), node)

    def _shift(self, line: Line) -> None:
        """What a delay's register holds next, once all values of the timestep exist."""
        if line.held:
            shifted = self._take(self._both(line), line.register.next, line.node, "shifted")
            self.builder.make_state(line.held, shifted)

    def _both(self, line: Line) -> str:
        """What enters a register, followed by what it holds."""
        entering = self._in_planes(line.source, self._value(line.source, ()))
        if not np.array_equal(line.columns, np.arange(self._size(entering))):
            entering = self._take(entering, tuple(line.columns.tolist()), line.node, "entering")
        if not line.held:
            return entering
        return self._emit("concat", (entering, line.held), line.node, "both")

    def _take(self, value: str, indices: tuple[int, ...], node: Node, what: str) -> str:
        name = f"{node.name}.{what}"
        return self.builder.emit("take", (value,), {"indices": indices}, name, (node.name,))

    # -- integrators ------------------------------------------------------------------------------

    def _integrated(self, node: Node, current: str) -> str:
        """A membrane without spikes: a readout's, or one that other neurons take as a current."""
        size = self._size(current)
        if node.kind == "I":
            if self._summed(node):
                factor = self.timing.dt * node.vector("r", size)
                return self._scaled(node, current, factor, "gain")
            raise node.error(
                "keeps a sum of all that came; the machine has one at the network's end",
                "end the network with it, read --readout last; or an LI node, which leaks",
            )
        rest = node.vector("v_leak", size)
        kept, taken = response(node, "tau" if node.kind == "LI" else "tau_mem", size, self.timing)
        if node.name not in self.integrated:  # once a timestep, whoever reads it
            taken = taken * node.vector("r", size)
            fed = self._scaled(node, self._synapse(node, current), taken, "gain")
            if (kept > ROUNDING).any():
                state = self.builder.input(f"{node.name}.v", size)
                left = self._scaled(node, state, kept, "kept")
                fed = self._emit("add", (left, fed), node, "v")
                self.builder.make_state(state, fed)
            self.integrated[node.name] = self._raised(node, fed, rest)
        return self.integrated[node.name]

    def _summed(self, node: Node) -> bool:
        """True for an integrator whose last value is the network's answer: a sum over time."""
        return self._ends(node) and self.readout in (None, "last")

    def _ends(self, node: Node) -> bool:
        """True for the node whose value is the network's answer."""
        return self.net.sources[self.output.name] == [node.name]

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
