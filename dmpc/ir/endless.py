"""Neurons whose model sets no limit to their spikes in a timestep, and graphs that set one."""

from collections.abc import Mapping

import numpy as np

from dmpc.ir.graph import Graph, Op
from dmpc.ir.integer_types import times
from dmpc.ir.ops_layers import FIRING
from dmpc.ir.rewired import events_as


def endless_of(graph: Graph) -> list[str]:
    """The spikes of neurons whose model sets no limit to their number in a timestep."""
    return [op.results[0] for op in endless_ops(graph)]


def endless_ops(graph: Graph) -> list[Op]:
    """The ops of neurons whose model sets no limit."""
    return [op for op in graph.ops if op.kind in FIRING and op.attrs.get("endless")]


def spiking_up_to(graph: Graph, most: Mapping[str, int]) -> Graph:
    """The graph whose neurons spike so often in a timestep at most, by their spikes.

    Whatever reads them reads each further time as it read the last.
    """
    if not most:
        return graph
    graph = graph.copy()
    for spikes, number in most.items():
        op = graph.producer(spikes)
        assert op is not None
        size, last = graph.types[op.results[1]].size, times(op.attrs) - 1
        index = np.minimum(np.arange(number), last)[:, None] * size + np.arange(size)
        op.attrs.pop("times", None)
        op.attrs |= {"times": number} if number > 1 else {}
        for name in (spikes, *(state.name for state in graph.states if state.next == spikes)):
            events_as(graph, name, index.reshape(-1))
    return graph


def spiking_as(graph: Graph, limited: Graph) -> Graph:
    """The graph whose neurons spike as often as those of a graph that was made from it."""
    sizes = {op.results[0]: graph.types[op.results[1]].size for op in endless_ops(graph)}
    known = {name: size for name, size in sizes.items() if name in limited.types}
    return spiking_up_to(graph, {n: limited.types[n].size // size for n, size in known.items()})
