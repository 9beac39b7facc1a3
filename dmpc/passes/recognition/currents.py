"""Synaptic currents: states that decay, each element for itself, and charge neurons.

Currents and a membrane are one linear system between comparisons, so neither is matched by how it
is written: the membrane's charge is compared with what each current becomes in the timestep, and
with what it was before. Their ratio is part of the weights. Elements of a current may also be
mixed on their way to the neurons, as where a filter of spikes comes before the weights, or one
state holds all receptors of each neuron; what a neuron mixes that decays alike is a current of its.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from dmpc.ir.graph import State
from dmpc.ir.recorded import told
from dmpc.passes.recognition.network import Network
from dmpc.passes.recognition.neuron_rules import MIXED_DECAYS, SEVERAL_CURRENTS
from dmpc.passes.recognition.terms import NEGLIGIBLE, Affine, Matrix, Term, affine, ratio

ROUNDING = 1e-5  # of a coefficient: what is left of float32 after a division
MOST = 4  # currents of a neuron: each is a visit more to it


@dataclass(frozen=True)
class Decay:
    """A state whose next value is `alpha` [m] of itself and `driven`, which events feed; it begins
    from `start` [m]."""

    state: str
    next: str
    alpha: Matrix
    driven: Affine
    start: Matrix

    @property
    def whole(self) -> Affine:
        """The next value."""
        return affine(self.driven.bias, {**self.driven.parts, self.state: Term(self.alpha)})


def find_decay(network: Network, state: State) -> Decay | None:
    """The decay that a state is; None where its elements mix, or it is not linear."""
    form = network.forms.form(state.next)
    parts = dict(form.parts)
    own = parts.pop(state.name, None)
    alpha = np.zeros(form.size) if own is None else own.diagonal()
    if alpha is None or any(map(network.forms.opaque, parts)):
        return None
    graph = network.graph
    rectified = (op for op in map(graph.producer, parts) if op is not None and op.kind == "relu")
    if any(graph.types[op.results[0]].size > 1 for op in rectified):
        return None
    start = np.zeros(form.size)
    if state.init is not None:
        start = np.resize(graph.constants[state.init], form.size).astype(np.float64)
    return Decay(state.name, state.next, alpha, affine(form.bias, parts), start)


def is_bank(network: Network, decay: Decay) -> bool:
    """Whether neurons share the elements of a decay, and mix more of them than they have currents,
    each with a rate of its own."""
    for comparison in network.comparisons():
        kept = network.forms.difference(comparison).parts.get(decay.state)
        used = np.zeros((0, 0), bool) if kept is None else told(kept.matrix != 0)
        if used.sum(axis=0).max(initial=0) < 2:
            continue
        for row in used:
            alphas = np.sort(decay.alpha[row])
            if (
                1 + np.count_nonzero(np.diff(alphas) > NEGLIGIBLE * np.abs(decay.alpha).max())
                > MOST
            ):
                return True
    return False


@dataclass(frozen=True)
class Part:
    """A current in a charge, which takes in `fed`: see `network.Current`."""

    state: str
    alpha: Matrix
    late: bool
    fed: Affine
    start: Matrix


def without_currents(
    network: Network, comparison: str, charge: Affine, decays: Sequence[Decay]
) -> tuple[Affine, list[Part]]:
    """What a charge takes without its currents, and these.

    Of currents that feed each other it is the last, which the others feed. Raises CompileError
    where neurons have too many currents.
    """
    read = [one for one in decays if one.state in charge.parts]
    read = [one for one in read if not any(one.state in other.driven.parts for other in read)]
    ways = [list(_ways(network, comparison, charge, one)) for one in read]
    choices = [_without(charge, chosen) for chosen in product(*ways)]
    rest, found = min(choices, key=lambda one: len(one[0].parts))
    if len(found) > MOST:
        states = list(dict.fromkeys(one.state for one in found))
        fields = {"currents": network.names(states), "number": len(found), "most": MOST}
        raise network.failure(SEVERAL_CURRENTS, comparison, culprits=states, **fields)
    return rest, found


_Way = tuple[Affine, list[Part]]
"""What a charge takes of a decay, and the currents that this is."""


def _without(charge: Affine, ways: Sequence[_Way]) -> _Way:
    rest = charge
    for taken, _ in ways:
        rest = without(rest, taken)
    return rest, [part for _, parts in ways for part in parts]


def _ways(network: Network, comparison: str, charge: Affine, decay: Decay) -> Iterator[_Way]:
    """A charge takes a decay as it is after a timestep, or late: as it was before."""
    kept, whole, driven = charge.parts[decay.state], decay.whole, decay.driven
    diagonal = kept.diagonal()
    within = whole.parts.keys() <= charge.parts.keys()
    zero = np.zeros(charge.size)
    late = affine(zero, {decay.state: kept})
    if diagonal is not None:
        if decay.alpha.any() and within:
            gain = ratio(charge, whole, decay.state)
            begun = gain * decay.start
            now = Part(decay.state, decay.alpha, False, driven.scaled(gain), begun)
            yield whole.scaled(gain), [now]
        begun = diagonal * decay.start
        yield late, [Part(decay.state, decay.alpha, True, driven.scaled(diagonal), begun)]
        return
    mixes = list(_mixes(network, comparison, kept.matrix, decay))
    if all(alpha[mix.any(axis=1)].all() for mix, alpha in mixes):
        over = [mix / np.where(alpha == 0, 1, alpha)[:, None] for mix, alpha in mixes]
        parts = [
            Part(decay.state, alpha, False, driven.mapped(mix), mix @ decay.start)
            for mix, (_, alpha) in zip(over, mixes, strict=True)
        ]
        yield whole.mapped(np.sum(over, axis=0)), parts
    yield (
        late,
        [
            Part(decay.state, alpha, True, driven.mapped(mix), mix @ decay.start)
            for mix, alpha in mixes
        ],
    )


def _mixes(
    network: Network, comparison: str, mix: Matrix, decay: Decay
) -> Iterator[tuple[Matrix, Matrix]]:
    """A mix [n, m] of elements of a decay in parts of which each neuron adds up what decays alike,
    and how [n]."""
    weight, number = np.abs(mix), 0
    while weight.any():
        if number == MOST:
            current = network.name(decay.state)
            raise network.failure(MIXED_DECAYS, comparison, current=current, most=MOST)
        alpha: Matrix = decay.alpha[weight.argmax(axis=1)]
        apart = np.abs(alpha[:, None] - decay.alpha) > NEGLIGIBLE * np.abs(decay.alpha).max()
        own = (weight > 0) & ~apart
        yield mix * own, alpha
        weight[own], number = 0.0, number + 1


def without(form: Affine, other: Affine) -> Affine:
    """A form less another, without what rounding leaves."""
    left = form.plus(other, -1.0)
    bias = np.where(np.abs(left.bias) <= ROUNDING * np.abs(form.bias), 0.0, left.bias)
    parts = {
        leaf: term
        for leaf, term in left.parts.items()
        if leaf not in form.parts or _reach(term) > ROUNDING * _reach(form.parts[leaf])
    }
    return affine(bias, parts)


def _reach(term: Term) -> np.float64:
    reach: np.float64 = np.abs(term.at(term.peaks())).max(initial=0)
    return reach
