"""Synapses: which events a sum of weighted leaves reads, and how late each of them arrives."""

from collections.abc import Callable, Mapping

import numpy as np

from dmpc.ir.recorded import told
from dmpc.passes.recognition.network import Network, Source, Synapses
from dmpc.passes.recognition.terms import Matrix


def find_synapses(
    network: Network, terms: Mapping[str, Matrix], own: str | None = None
) -> list[Synapses]:
    """The products of events that `terms` (leaf -> matrix [n, m]) add up to.

    `own` is the leaf of the spikes of the layer that reads them. There is one product for each
    source, and a further one for elements that arrive once more, later.
    """
    parts: dict[str, dict[int, Matrix]] = {}
    via: dict[str, list[str]] = {}
    for leaf, matrix in terms.items():
        for (source, age), part in network.lines.by_age(leaf, matrix, _size(network)).items():
            ages = parts.setdefault(source, {})
            ages[age] = ages[age] + part if age in ages else part
            via.setdefault(source, []).append(leaf)
    return [
        Synapses(Source(source, delays, past=source == own), weight, tuple(via[source]))
        for source, ages in parts.items()
        for delays, weight in _arrivals(ages, int(source == own))
    ]


def _size(network: Network) -> Callable[[str], int]:
    return lambda name: network.graph.types[name].size


def _arrivals(ages: Mapping[int, Matrix], first: int) -> list[tuple[tuple[int, ...], Matrix]]:
    """Delays, less `first`, of all elements, and the weights [n, m] with which they then arrive.

    Part r holds the r-th arrival of each element; one that has none is as late as before.
    """
    shape = next(iter(ages.values())).shape
    times = np.zeros(shape[1], np.int64)  # how often each element has arrived
    found: list[tuple[Matrix, Matrix]] = [(np.zeros(shape[1], np.int64), np.zeros(shape))]
    for age, matrix in sorted(ages.items()):
        active = told(matrix.any(axis=0))
        for part in np.unique(times[active]):
            if part == len(found):
                found.append((found[-1][0].copy(), np.zeros(shape)))
            here = active & (times == part)
            found[part] = (found[part][0], np.where(here, matrix, found[part][1]))
            for delays, _ in found[part:]:
                delays[here] = age - first
        times += active
    return [(tuple(map(int, delays)), weight) for delays, weight in found]
