"""Cycles of the published RTL, from its formula (N neurons, d states, F lanes, S active inputs)."""

import numpy as np
from numpy.typing import NDArray

Cycles = NDArray[np.int64]


def layer_cycles(active: Cycles | int, neurons: int, states: int, lanes: int = 4) -> Cycles:
    """Cycles of one layer and timestep, from accepted input to idle."""
    groups = -(-neurons // lanes)
    active = np.asarray(active)
    spike = np.where(active > 0, 3 + active * groups, 2)
    ready = np.where(active > 0, 3 + active, 2)
    memory = np.maximum(2 + groups * states, ready) + groups + 1
    return np.maximum(spike, memory) + 3 * groups + 4


def network_cycles(events: list[Cycles], neurons: list[int], states: int) -> Cycles:
    """Cycles of a whole network and timestep: events come in one a cycle, layers run one by one.

    `events` are the active elements of the input and of every layer's spikes. Between layers and
    towards the output a priority encoder adds spikes + 3. The RTL has no readout layer.
    """
    total = events[0].copy()
    for size, inputs, outputs in zip(neurons, events, events[1:], strict=False):
        total += layer_cycles(inputs, size, states) + outputs + 3
    return total
