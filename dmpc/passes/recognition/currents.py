"""Synaptic currents: states that decay, each element for itself, and charge neurons.

A current and a membrane are one linear system between comparisons, so neither is matched by how it
is written: the membrane's charge is compared with what the current becomes in the timestep, and
with what it was before. Their ratio is part of the weights. Elements of a current may also be
mixed on their way to the neurons, as where a filter of spikes comes before the weights; the
neurons' own currents then follow where what is mixed decays alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dmpc.ir.graph import State
from dmpc.passes.recognition.network import Current, Network
from dmpc.passes.recognition.neuron_rules import MIXED_DECAYS, SEVERAL_CURRENTS
from dmpc.passes.recognition.terms import Affine, Matrix, Term, affine, near, ratio

ROUNDING = 1e-5  # of a coefficient: what is left of float32 after a division


@dataclass(frozen=True)
class Decay:
    """A state whose next value is `alpha` [m] of itself and `driven`, which events feed."""

    state: str
    next: str
    alpha: Matrix
    driven: Affine

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
    return Decay(state.name, state.next, alpha, affine(form.bias, parts))


def without_current(
    network: Network, comparison: str, charge: Affine, decays: Sequence[Decay]
) -> tuple[Affine, Current | None, Affine]:
    """What a charge takes without a current, its current, and what feeds that.

    Of currents that feed each other it is the last, which the others feed. Raises CompileError
    where a charge has several currents.
    """
    nothing = Affine(np.zeros(charge.size), {})
    read = [one for one in decays if one.state in charge.parts]
    if not read:
        return charge, None, nothing
    read = [one for one in read if not any(one.state in other.driven.parts for other in read)]
    if len(read) != 1:
        names = network.names(one.state for one in read)
        raise network.failure(
            SEVERAL_CURRENTS, comparison, culprits=[one.state for one in read], currents=names
        )
    ways = (False, True) if read[0].alpha.any() else (True,)
    found = [_taken(network, comparison, charge, read[0], late=late) for late in ways]
    return min((one for one in found if one), key=lambda one: len(one[0].parts))


def _taken(
    network: Network, comparison: str, charge: Affine, decay: Decay, *, late: bool
) -> tuple[Affine, Current, Affine] | None:
    """The same for one current, as it is after a timestep, or `late`: as it was before."""
    kept = charge.parts[decay.state]
    diagonal = kept.diagonal()
    if diagonal is not None:
        alpha = decay.alpha
        if not late and not decay.whole.parts.keys() <= charge.parts.keys():
            return None
        gain = diagonal if late else ratio(charge, decay.whole, decay.state)
        after, driven = decay.whole.scaled(gain), decay.driven.scaled(gain)
    else:
        alpha = _common(network, comparison, kept.matrix, decay)
        if not late and (alpha == 0).any():
            return None
        mix = kept.matrix if late else kept.matrix / alpha[:, None]
        after, driven = decay.whole.mapped(mix), decay.driven.mapped(mix)
    taken = affine(np.zeros(charge.size), {decay.state: kept}) if late else after
    rest = without(charge, taken)
    return rest, Current(decay.state, alpha, late, rest.bias), driven


def _common(network: Network, comparison: str, mix: Matrix, decay: Decay) -> Matrix:
    """The decay [n] that all elements have which a row of `mix` [n, m] adds up."""
    weight = np.abs(mix)
    alpha: Matrix = decay.alpha[weight.argmax(axis=1)]
    if not near((mix != 0) * alpha[:, None], (mix != 0) * decay.alpha):
        raise network.failure(MIXED_DECAYS, comparison, current=network.name(decay.state))
    return alpha


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


def _reach(term: Term) -> float:
    return float(np.abs(term.at(term.peaks())).max(initial=0))
