"""In which order the neurons of a NIR graph fire within a timestep."""

import networkx as nx

from dmpc.frontend.nir_format.delays import steps_of
from dmpc.frontend.nir_format.network import Net, Node
from dmpc.frontend.nir_format.neurons import Timing

SPIKING = ("IF", "LIF", "CubaLIF", "Threshold")


def firing_order(net: Net, timing: Timing, entries: list[Node], output: Node) -> list[Node]:
    """Nodes of neurons that `output` depends on, each after those that feed it, loops from where
    the inputs enter."""
    edges = ((source, name) for name, sources in net.sources.items() for source in sources)
    needed = nx.ancestors(nx.DiGraph([*edges, (output.name, output.name)]), output.name)
    wires: nx.DiGraph[str] = nx.DiGraph()
    wires.add_nodes_from(net.nodes)
    for name, sources in net.sources.items():
        if not _delays(net.nodes[name], timing):
            wires.add_edges_from((source, name) for source in sources)
    depth = nx.multi_source_dijkstra_path_length(wires, {entry.name for entry in entries})
    rank = {name: number for number, name in enumerate(net.nodes)}
    loops = nx.condensation(wires)
    order = {
        name: position
        for position, loop in enumerate(nx.topological_sort(loops))
        for name in loops.nodes[loop]["members"]
    }
    found = [node for node in net.nodes.values() if node.kind in SPIKING and node.name in needed]
    far = len(rank)
    return sorted(
        found, key=lambda node: (order[node.name], depth.get(node.name, far), rank[node.name])
    )


def _delays(node: Node, timing: Timing) -> bool:
    """True for a node whose whole output is of earlier timesteps."""
    return node.kind == "Delay" and bool((steps_of(node, timing) > 0).all())
