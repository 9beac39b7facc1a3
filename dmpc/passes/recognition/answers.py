"""The answer: a linear map of the spikes of layers, or what integrates one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from dmpc.passes.recognition.convolutions import flattened
from dmpc.passes.recognition.currents import Decay, Part, without_currents
from dmpc.passes.recognition.network import Network, Source, Synapses
from dmpc.passes.recognition.network_rules import READOUT
from dmpc.passes.recognition.synapses import find_synapses
from dmpc.passes.recognition.terms import Matrix, near


@dataclass(frozen=True)
class Answer:
    """`synapses` and `bias`, of the timestep or of timesteps before, and what integrates them: the
    output first, then what feeds it, and so on. The last layer's synapses come first."""

    chain: list[Part]
    synapses: list[Synapses]
    bias: Matrix


def find_answer(network: Network, decays: Sequence[Decay], layers: Sequence[str]) -> Answer:
    """What the output of a network is made of. Raises CompileError where that is something else.

    `layers` are the leaves of all layers' spikes, in order. An output of which all weights are zero
    reads the last.
    """
    output = network.graph.outputs[0]
    form = network.forms.form(output)
    chain: list[Part] = []
    held = 0  # timesteps
    while True:
        rest, parts = without_currents(network, output, form, decays)
        if not parts:
            break
        part = _together(parts)
        holds = part is not None and part.late and not part.alpha.any()
        if rest.parts or rest.bias.any() or part is None or part.late != holds:
            kept = [leaf for leaf in form.parts if network.graph.state(leaf)] or form.parts
            raise network.failure(READOUT, output, culprits=kept, found=network.names(kept))
        chain += [] if holds else [part]
        held += holds
        form = part.fed
    terms = flattened(network, form)
    if not terms and layers:  # weights of zero: still the last layer's
        size = network.graph.types[layers[-1]].size
        source = Source(layers[-1], (0,) * size)
        silent = Synapses(source, np.zeros((form.size, size)), (layers[-1],))
        return Answer(chain, [silent], form.bias)
    strange = [leaf for leaf in terms if not network.holds_events(leaf)]
    read = [] if strange else find_synapses(network, terms)
    # What is held starts without a bias, which shows wherever more than the last is looked at.
    early = held and form.bias.any() and (chain or network.graph.attrs["readout"] != "last")
    if early or not any(found.source.leaf in layers for found in read):
        found = network.names(strange or terms)
        raise network.failure(READOUT, output, culprits=strange or terms, found=found)
    order = [*network.graph.inputs, *layers]
    read.sort(key=lambda found: -order.index(found.source.leaf))
    return Answer(chain, [_later(found, held) for found in read], form.bias)


def _together(parts: Sequence[Part]) -> Part | None:
    """What leaks alike as one that takes in all of it; None if it does not."""
    whole, *others = parts
    for part in others:
        if part.late != whole.late or not near(part.alpha, whole.alpha):
            return None
        whole = replace(whole, fed=whole.fed.plus(part.fed), start=whole.start + part.start)
    return whole


def _later(found: Synapses, steps: int) -> Synapses:
    source = found.source
    delays = tuple(delay + steps for delay in source.delays)
    return replace(found, source=replace(source, delays=delays))
