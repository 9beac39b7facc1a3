"""The answer: a linear map of one layer's spikes, or what integrates one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from dmpc.passes.recognition.convolutions import flattened
from dmpc.passes.recognition.currents import Decay, Part, without_currents
from dmpc.passes.recognition.network import Network, Source, Synapses
from dmpc.passes.recognition.network_rules import READOUT
from dmpc.passes.recognition.synapses import find_synapses
from dmpc.passes.recognition.terms import Matrix


@dataclass(frozen=True)
class Answer:
    """`synapses` and `bias`, of the timestep or of timesteps before, and what integrates them: the
    output first, then what feeds it, and so on."""

    chain: list[Part]
    synapses: Synapses
    bias: Matrix


def find_answer(network: Network, decays: Sequence[Decay], last: str) -> Answer:
    """What the output of a network is made of. Raises CompileError where that is something else.

    `last` is the leaf of the last layer's spikes, for an output of which all weights are zero.
    """
    output = network.graph.outputs[0]
    form = network.forms.form(output)
    chain: list[Part] = []
    held = 0  # timesteps
    while True:
        rest, parts = without_currents(network, output, form, decays)
        if not parts:
            break
        holds = parts[0].late and not parts[0].alpha.any()
        if rest.parts or rest.bias.any() or len(parts) > 1 or parts[0].late != holds:
            found = network.names(form.parts)
            raise network.failure(READOUT, output, culprits=form.parts, found=found)
        chain += [] if holds else parts
        held += holds
        form = parts[0].fed
    terms = flattened(network, form)
    if not terms and last:  # weights of zero: still the last layer's
        size = network.graph.types[last].size
        source = Source(last, (0,) * size)
        return Answer(chain, Synapses(source, np.zeros((form.size, size)), (last,)), form.bias)
    read = find_synapses(network, terms) if all(map(network.holds_events, terms)) else []
    # What is held starts without a bias, which shows wherever more than the last is looked at.
    early = held and form.bias.any() and (chain or network.graph.attrs["readout"] != "last")
    if early or len(read) != 1 or read[0].source.leaf not in network.comparisons():
        found = network.names(terms)
        raise network.failure(READOUT, output, culprits=terms, found=found)
    source = read[0].source
    source = replace(source, delays=tuple(delay + held for delay in source.delays))
    return Answer(chain, replace(read[0], source=source), form.bias)
