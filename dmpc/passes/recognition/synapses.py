"""Synapses: which events a sum of weighted leaves reads, and how late each of them arrives."""

from collections.abc import Callable, Mapping

import numpy as np

from dmpc.passes.recognition.network import Network, Source, Synapses
from dmpc.passes.recognition.state_rules import TWO_DELAYS
from dmpc.passes.recognition.terms import Matrix


def find_synapses(
    network: Network, at: str, terms: Mapping[str, Matrix], own: str | None = None
) -> list[Synapses]:
    """The products of events that `terms` (leaf -> matrix [n, m]) add up to, by source.

    `own` is the leaf of the spikes of the layer that reads them. Raises CompileError about `at`
    where an element arrives at more than one time.
    """
    parts: dict[str, dict[int, Matrix]] = {}
    via: dict[str, list[str]] = {}
    for leaf, matrix in terms.items():
        for (source, age), part in network.lines.by_age(leaf, matrix, _size(network)).items():
            ages = parts.setdefault(source, {})
            ages[age] = ages[age] + part if age in ages else part
            via.setdefault(source, []).append(leaf)
    return [
        _synapses(network, at, source, ages, tuple(via[source]), own=source == own)
        for source, ages in parts.items()
    ]


def _size(network: Network) -> Callable[[str], int]:
    return lambda name: network.graph.types[name].size


def _synapses(
    network: Network,
    at: str,
    source: str,
    ages: Mapping[int, Matrix],
    via: tuple[str, ...],
    *,
    own: bool,
) -> Synapses:
    first = int(own)
    weight = sum(ages.values(), np.zeros(()))
    delays = np.zeros(weight.shape[1], np.int64)
    taken = np.zeros(weight.shape[1], np.bool_)
    for age, matrix in sorted(ages.items()):
        active = matrix.any(axis=0)
        twice = np.flatnonzero(active & taken)
        if twice.size:
            raise network.failure(
                TWO_DELAYS,
                at,
                culprits=via,
                element=twice[0],
                source=network.name(source),
                one=delays[twice[0]] + first,
                other=age,
            )
        delays[active] = age - first
        taken |= active
    return Synapses(Source(source, tuple(map(int, delays)), past=own), weight, via)
