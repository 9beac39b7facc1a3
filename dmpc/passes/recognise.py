"""`recognise`: a model's float primitives as the field's layers, by what they compute."""

from dataclasses import dataclass
from typing import ClassVar

from dmpc.errors import CompileError
from dmpc.ir.graph import Graph
from dmpc.ir.prune import prune
from dmpc.passes.base import Pass
from dmpc.passes.recognition.affine import Forms
from dmpc.passes.recognition.assemble import assemble, ordered
from dmpc.passes.recognition.holds import find_held, find_holds
from dmpc.passes.recognition.memories import find_memory
from dmpc.passes.recognition.network import Network
from dmpc.passes.recognition.neurons import find_comparison, find_firing, find_neurons


@dataclass(frozen=True)
class Recognise(Pass):
    """From level model to layers: dense, drive, memory, hold, lif, whatever their spelling.

    Every value is brought to an affine form (`recognition.affine`). A comparison that looks at a
    state and resets it makes LIF neurons; a state that is linear in itself and a rectified scalar
    is a memory; one that is replaced every few timesteps holds a memory; the output must be linear
    in the last spikes. Raises CompileError, in the user's node names, for everything else.
    """

    name: ClassVar[str] = "recognise"

    def run(self, graph: Graph) -> Graph:
        """The layers-level graph."""
        if graph.level != "model":
            raise CompileError(f"needs a graph of level model, not {graph.level}", where=graph.name)
        graph = prune(graph)
        holds = find_holds(Network(graph, Forms(graph)))
        stops = frozenset(hold.next for hold in holds)
        timing = {name for hold in holds for name in (hold.state, hold.counter)}
        states = [state for state in graph.states if state.name not in timing]
        plain = Network(graph, Forms(graph, stops=stops))
        firing = {state.name: find_comparison(plain, state) for state in states}
        membranes = [(s, c) for s in states if (c := firing[s.name]) is not None]
        flipped = frozenset(c for s, c in membranes if find_firing(plain, s, c).flipped)
        # From here on every comparison is true where there is a spike.
        upright = Network(graph, Forms(graph, flipped=flipped, stops=stops, base=plain.forms))
        memories = [find_memory(upright, state) for state in states if firing[state.name] is None]
        stops |= {memory.next for memory in memories}
        forms = Forms(graph, flipped=flipped, stops=stops, base=plain.forms)
        network = Network(graph, forms)
        held = [find_held(network, hold, memories) for hold in holds]
        neurons = [find_neurons(network, state, c, memories, held) for state, c in membranes]
        _check_comparisons(network, {layer.spikes for layer in neurons})
        return prune(assemble(network, ordered(network, neurons)))


def _check_comparisons(network: Network, spikes: set[str]) -> None:
    """Every comparison is some neurons' threshold."""
    for leaf in network.comparisons():
        if leaf not in spikes:
            raise network.error(
                leaf,
                "the comparison is no neuron's threshold: no state that it looks at is reset by it",
                "threshold the input before it reaches the network",
            )
