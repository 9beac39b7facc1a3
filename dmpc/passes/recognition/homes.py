"""In which order layers run, and with which of them each slow state is worked out."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from dmpc.ir.recorded import told
from dmpc.ir.wires import Ring, Wires
from dmpc.passes.recognition.network import Charge, Network, Neurons, Slow, Synapses
from dmpc.passes.recognition.neuron_rules import FREE_COMPARISON


@dataclass(frozen=True)
class Home:
    """The layer that a slow state is worked out with, by its spikes: ahead of the neurons, or
    `behind` them, where it hears them and is read a timestep late alone."""

    layer: str
    behind: bool = False


def ordered(network: Network, neurons: Iterable[Neurons]) -> tuple[list[Neurons], dict[str, Home]]:
    """Layers in the order in which spikes run through them, and where each slow state has its home.

    Where they run in a circle, a layer reads what a later one made of the timestep before. Raises
    CompileError where nothing on the way is late.
    """
    by_spikes = {layer.spikes: layer for layer in neurons}
    rank = {leaf: number for number, leaf in enumerate(network.comparisons())}
    flow = Wires(by_spikes)
    at_once: set[tuple[str, str]] = set()
    for layer in by_spikes.values():
        for found, late in _read(layer):
            way = (found.source.leaf, layer.spikes)
            if found.source.leaf in by_spikes and not found.source.past:
                flow.wire(*way)
                at_once |= set() if late or _is_late(found) else {way}
    while (ring := _ring(flow, rank)) is not None:
        ways = set(zip(ring, [*ring[1:], ring[0]], strict=True)) - at_once
        if not ways:  # a memory charges neurons of which it takes in the spikes
            raise network.failure(FREE_COMPARISON, ring[0], culprits=ring)
        flow.unwire(*max(ways, key=lambda way: rank[way[0]] - rank[way[1]]))
    order = flow.ordered(rank.__getitem__)
    homes = _homes([by_spikes[leaf] for leaf in order])
    return [_with_past(by_spikes[leaf], order, homes) for leaf in order], homes


def _ring(flow: Wires[str], rank: Mapping[str, int]) -> list[str] | None:
    """Layers of which each reads the one before, and the first the last; None without such."""
    try:
        flow.ordered(rank.__getitem__)
    except Ring as ring:
        return ring.nodes
    return None


def _read(layer: Neurons) -> Iterator[tuple[Synapses, bool]]:
    """All events that a layer reads, and whether a slow state brings them a timestep late."""
    yield from ((found, False) for found in layer.synapses)
    for slow in layer.slows:
        yield from ((found, slow.late) for found in slow.memory.synapses)


def _homes(layers: Sequence[Neurons]) -> dict[str, Home]:
    """Where slow states are worked out: with the first layer that reads them in the timestep, else
    with the first that reads them at all, or behind the last one that they hear."""
    place = {layer.spikes: number for number, layer in enumerate(layers)}
    readers: dict[str, list[tuple[bool, int]]] = defaultdict(list)
    heard: dict[str, int] = {}
    for number, layer in enumerate(layers):
        for slow in layer.slows:
            readers[slow.memory.state].append((slow.late, number))
            at_once = (one.source.leaf for one in slow.memory.synapses if not _is_late(one))
            heard[slow.memory.state] = max((place.get(leaf, -1) for leaf in at_once), default=-1)
    first = {state: min(found) for state, found in readers.items()}
    return {
        state: Home(layers[heard[state]].spikes, behind=True)
        if late and heard[state] >= number
        else Home(layers[number].spikes)
        for state, (late, number) in first.items()
    }


def _is_late(found: Synapses) -> bool:
    """Whether all events that synapses read set out in a timestep before."""
    used = told(found.weight.any(axis=0))
    delays = np.array(found.source.delays)
    return bool(np.all(delays[used] if used.shape == delays.shape else delays))


def _with_past(layer: Neurons, order: Sequence[str], homes: Mapping[str, Home]) -> Neurons:
    """A layer; what it reads of itself and of later ones counts from the timestep before."""

    def turned(at: int, found: Synapses) -> Synapses:
        source = found.source
        if source.past or source.leaf not in order[at:]:
            return found
        delays = tuple(max(delay - 1, 0) for delay in source.delays)
        return replace(found, source=replace(source, delays=delays, past=True))

    def kept(slow: Slow) -> Slow:
        home = homes[slow.memory.state]
        at = order.index(home.layer) + home.behind
        return replace(slow, memory=slow.memory.through(partial(turned, at)))

    def late(charge: Charge) -> Charge:
        synapses = map(partial(turned, order.index(layer.spikes)), charge.synapses)
        return replace(charge, synapses=tuple(synapses), slows=tuple(map(kept, charge.slows)))

    currents = tuple(replace(one, fed=late(one.fed)) for one in layer.currents)
    return replace(layer, charge=late(layer.charge), currents=currents)
