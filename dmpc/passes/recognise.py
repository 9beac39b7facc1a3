"""`recognise`: a model's float primitives as the field's layers, by what they compute."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

from dmpc.errors import CompileError, ErrorList
from dmpc.ir.graph import Graph, State
from dmpc.ir.prune import prune
from dmpc.passes.base import Pass
from dmpc.passes.recognition.affine import Forms
from dmpc.passes.recognition.assemble import assemble, ordered
from dmpc.passes.recognition.holds import find_held, find_hold, timing_of
from dmpc.passes.recognition.lines import check_start, find_lines
from dmpc.passes.recognition.memories import find_memory
from dmpc.passes.recognition.network import Held, Hold, Lines, Memory, Network, Neurons
from dmpc.passes.recognition.neurons import find_comparison, find_firing, find_neurons


@dataclass(frozen=True)
class Recognise(Pass):
    """From level model to layers: dense, drive, memory, hold, lif, whatever their spelling.

    Every value is brought to an affine form (`recognition.affine`). A comparison that looks at a
    state and resets it makes LIF neurons; a state that is linear in itself and a rectified scalar
    is a memory; one that is replaced every few timesteps holds a memory; one that holds events of
    earlier timesteps is recurrence or a delay; the output must be linear in the last spikes.
    Raises CompileError, in the user's node names, for everything else: the first error, with those
    that are independent of it.
    """

    name: ClassVar[str] = "recognise"

    def run(self, graph: Graph) -> Graph:
        """The layers-level graph."""
        if graph.level != "model":
            raise CompileError(f"needs a graph of level model, not {graph.level}", where=graph.name)
        return _Recognition(prune(graph)).run()


class _Recognition:
    """One run of the pass.

    A state that is nothing known is entered in `errors`, and is `broken` from then on: the others
    are still looked at, and of those that depend on a broken one nothing is said.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.errors = ErrorList()
        self.broken: set[str] = set()

    @contextmanager
    def _about(self, network: Network, value: str) -> Iterator[None]:
        """Gather what is wrong with a state or comparison, and go on."""
        try:
            yield
        except CompileError as error:
            if not network.follows(value, self.broken):
                self.errors.add(error)
            self.broken.add(value)

    def run(self) -> Graph:
        graph = self.graph
        holds = self._holds(Network(graph, Forms(graph)))
        stops = frozenset(hold.next for hold in holds)
        lines = self._lines(Network(graph, Forms(graph, stops=stops)))
        stops |= lines.values.keys() - lines.states
        known = {name for hold in holds for name in (hold.state, hold.counter)} | lines.states
        states = [state for state in graph.states if state.name not in known]
        plain = Network(graph, Forms(graph, stops=stops), lines)
        membranes: list[tuple[State, str]] = []
        slow: list[State] = []
        flipped: set[str] = set()
        for state in states:
            with self._about(plain, state.name):
                comparison = find_comparison(plain, state)
                if comparison is None:
                    slow.append(state)
                    continue
                if find_firing(plain, state, comparison).flipped:
                    flipped.add(comparison)
                membranes.append((state, comparison))
        # From here on every comparison is true where there is a spike.
        spiking = frozenset(flipped)
        self._check_signs(plain, spiking)
        upright = Network(
            graph, Forms(graph, flipped=spiking, stops=stops, base=plain.forms), lines
        )
        memories: list[Memory] = []
        for state in slow:
            with self._about(upright, state.name):
                memories.append(find_memory(upright, state))
        stops |= {memory.next for memory in memories}
        forms = Forms(graph, flipped=spiking, stops=stops, base=plain.forms)
        network = Network(graph, forms, lines)
        held: list[Held] = []
        for hold in holds:
            with self._about(network, hold.state):
                held.append(find_held(network, hold, memories))
        neurons: list[Neurons] = []
        for state, comparison in membranes:
            with self._about(network, state.name):
                neurons.append(find_neurons(network, state, comparison, memories, held))
        self._check_comparisons(network, {comparison for _, comparison in membranes})
        self.errors.check()
        return prune(assemble(network, ordered(network, neurons)))

    def _holds(self, network: Network) -> list[Hold]:
        """The states that are holds; the counter of a broken one is broken as well."""
        found: list[Hold] = []
        for state in self.graph.states:
            with self._about(network, state.name):
                hold = find_hold(network, state)
                found += [hold] if hold is not None else []
            if state.name in self.broken:
                self.broken |= timing_of(network, state)
        return found

    def _lines(self, network: Network) -> Lines:
        """The states that hold events of earlier timesteps."""
        lines = find_lines(network)
        for state in self.graph.states:
            with self._about(network, state.name):
                if state.name in lines.states:
                    check_start(network, state)
        return lines

    def _check_signs(self, network: Network, flipped: frozenset[str]) -> None:
        """What lines hold is true where there is a spike."""
        for leaf, opposite, value in network.lines.signs:
            if leaf not in network.comparisons() or opposite == (leaf in flipped):
                continue
            with self._about(network, value):
                raise network.error(
                    value,
                    f"holds the opposite of the spikes of {network.name(leaf)}",
                    "a delay line holds spikes, 1 where a neuron fires",
                )

    def _check_comparisons(self, network: Network, spikes: set[str]) -> None:
        """Every comparison is some neurons' threshold, unless it belongs to a broken state."""
        for leaf in network.comparisons():
            broken = any(
                network.reaches(leaf, state.next)
                for state in self.graph.states
                if state.name in self.broken
            )
            if leaf in spikes or broken:
                continue
            with self._about(network, leaf):
                raise network.error(
                    leaf,
                    "the comparison is no neuron's threshold: no state that it looks at is reset "
                    "by it",
                    "threshold the input before it reaches the network",
                )
