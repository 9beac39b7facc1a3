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
    parts: list[Part] = []
    while True:
        rest, found = without_currents(network, output, form, decays)
        if not found:
            break
        part = _together(found)
        if rest.parts or part is None:
            kept = [leaf for leaf in form.parts if network.graph.state(leaf)] or form.parts
            raise network.failure(READOUT, output, culprits=kept, found=network.names(kept))
        parts.append(_raised(part, rest.bias))
        form = parts[-1].fed
    held = sum(part.late for part in parts)
    chain = _from_the_start(parts, form.bias, last=network.graph.attrs["readout"] == "last")
    terms = flattened(network, form)
    if not terms and layers and chain is not None:  # weights of zero: still the last layer's
        size = network.graph.types[layers[-1]].size
        source = Source(layers[-1], (0,) * size)
        silent = Synapses(source, np.zeros((form.size, size)), (layers[-1],))
        return Answer(chain, [silent], form.bias)
    strange = [leaf for leaf in terms if not network.holds_events(leaf)]
    read = [] if strange else find_synapses(network, terms)
    if chain is None or not any(found.source.leaf in layers for found in read):
        names = network.names(strange or terms)
        raise network.failure(READOUT, output, culprits=strange or terms, found=names)
    order = [*network.graph.inputs, *layers]
    read.sort(key=lambda found: -order.index(found.source.leaf))
    return Answer(chain, [_later(found, held) for found in read], form.bias)


def _raised(part: Part, by: Matrix) -> Part:
    """What is `by` more than a part at every moment: a bias behind a leak is one inside it, and a
    start. `y' = a y + f` becomes `y' + b = a (y + b) + f + (1 - a) b`."""
    fed = replace(part.fed, bias=part.fed.bias + (1.0 - part.alpha) * by)
    return replace(part, fed=fed, start=part.start + by)


def _from_the_start(parts: Sequence[Part], bias: Matrix, *, last: bool) -> list[Part] | None:
    """Parts, none of them late, that read old events to the same end; None where there are none.

    Events are late in place of what they feed, by `held` timesteps in all, before which all that is
    kept follows from starts and biases. So that a part is then what it would have been, it begins
    from that less what feeds it until then. What keeps nothing of itself is only late. Earlier
    timesteps of the answer must be right, too, unless it is the `last`.
    """
    held = late = sum(part.late for part in parts)
    meant = fed = [bias] * (held + 1)  # by timesteps, from that before the first one on
    made: list[Part] = []
    for part in reversed(parts):
        meant = _went_on(part, [part.start] * (late + 1), meant)
        begun = meant[-1]
        for taken in fed[:0:-1]:
            begun = _before(part, begun, taken)
        fed = _went_on(part, [begun], fed)
        if part.alpha.any() or not part.late:
            made.insert(0, replace(part, late=False, start=begun))
        late -= part.late
    return made if last or all(map(near, meant[1:], fed[1:])) else None


def _went_on(part: Part, values: list[Matrix], fed: Sequence[Matrix]) -> list[Matrix]:
    """What a part is by timesteps, of which the first `values` are known, and what feeds it."""
    values = [*values]
    for taken in fed[len(values) :]:
        values.append(part.alpha * values[-1] + taken)
    return values


def _before(part: Part, value: Matrix, fed: Matrix) -> Matrix:
    """What a part was before it took something in and became a value; 0 where it keeps nothing."""
    forgets = part.alpha == 0
    old: Matrix = np.where(forgets, 0.0, (value - fed) / np.where(forgets, 1.0, part.alpha))
    return old


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
