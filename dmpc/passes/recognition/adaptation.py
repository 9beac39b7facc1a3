"""Neurons that adapt: a second state of each, which its spikes and its membrane alone drive.

Membrane and adaptation are one linear system between spikes, so neither is matched by how it is
written. Both are evaluated as if no neuron fired and as if all did. What the comparison weighs
otherwise than the membrane does raises the threshold; what it weighs alike is a current. From these
coefficients follow those of the machine's neurons, which take in the state as the timestep before
left it, whenever the model lets it decay, jump and act.
"""

from dataclasses import dataclass, replace
from itertools import permutations

import numpy as np

from dmpc.ir.graph import State
from dmpc.ir.ops_layers import ADAPTATION
from dmpc.passes.recognition.affine import Forms
from dmpc.passes.recognition.currents import ROUNDING, without
from dmpc.passes.recognition.network import Kept, Kind, Network
from dmpc.passes.recognition.neurons import Firing, heeds_own_spikes
from dmpc.passes.recognition.terms import Affine, Matrix, Term, affine, divided, near, ratio


@dataclass(frozen=True)
class Adapted:
    """How neurons fire, and by what they adapt."""

    firing: Firing
    kind: Kind


class _OtherError(Exception):
    """Two states that are something else than neurons that adapt."""


def find_pairs(network: Network) -> dict[str, tuple[State, State]]:
    """Membrane and adaptation of neurons that adapt, by the comparison that makes them fire."""
    states = [one for one in network.graph.states if one.name not in network.lines.states]
    found: dict[str, tuple[State, State]] = {}
    for comparison in network.comparisons():
        seen = network.forms.difference(comparison).parts
        for pair in permutations([state for state in states if state.name in seen], 2):
            if comparison not in found and find_adapted(network, *pair, comparison):
                found[comparison] = pair
    return found


def find_adapted(network: Network, u: State, a: State, comparison: str) -> Adapted | None:
    """The neurons that two states and a comparison make; None where a is no adaptation of u."""
    graph, forms = network.graph, network.forms
    size = graph.types[u.name].size
    if not graph.types[a.name].size == size == forms.difference(comparison).size:
        return None
    past = [
        leaf
        for leaf, one in network.lines.values.items()
        if set(one.sources) == {comparison}
        and (one.age == 1).all()
        and np.array_equal(one.index, np.arange(size))
        and leaf in network.lines.states
    ]
    for leaf in (None, *past[:1]):
        for flipped in (False, True):
            try:
                system = _system(forms, u, a, comparison)
                system = system if leaf is None else _settled(forms, u, a, comparison, leaf)
                return (system.flip() if flipped else system).adapted(forms)
            except _OtherError:
                continue
    return None


@dataclass(frozen=True)
class _System:
    """What the comparison looks at, and what membrane and adaptation become without and with a
    spike."""

    u: str
    a: str
    compared: Affine
    silent: Affine
    fired: Affine
    kept: Affine
    raised: Affine
    flipped: bool = False

    def flip(self) -> "_System":
        """The same if the comparison is true without a spike."""
        return _System(
            self.u, self.a, self.compared.scaled(-np.ones(self.compared.size)),
            self.fired, self.silent, self.raised, self.kept, flipped=True,
        )  # fmt: skip

    def adapted(self, forms: Forms) -> Adapted:
        """The neurons."""
        every = (self.silent, self.fired, self.kept, self.raised)
        _need(not any(forms.opaque(leaf) for form in every for leaf in form.parts))
        charge, compared = _less(self.silent, self.a), _less(self.compared, self.a)
        _need(self.u in charge.parts and charge.parts.keys() == compared.parts.keys())
        factor = ratio(compared, charge, self.u)
        _need(bool((factor > 0).all()))
        unit = self.compared.scaled(1.0 / factor)
        _need(all(unit.parts[leaf].near(term) for leaf, term in charge.parts.items()))
        current, seen = _weight(self.silent, self.a), _weight(unit, self.a)
        threshold = charge.bias - unit.bias
        amount, more = self._reset(threshold)
        firing = Firing(charge, threshold, amount, bool(self.fired.parts), self.flipped)
        if near(current, seen):
            _need(not more.any())
            return self._current(forms, firing, current)
        _need(not current.any())
        return Adapted(firing, self._threshold(-seen, more))

    def _reset(self, threshold: Matrix) -> tuple[Matrix, Matrix]:
        """The value after a spike or what it takes off, and how much of the adaptation with it."""
        if not self.fired.parts:
            return self.fired.bias, np.zeros(self.fired.size)
        taken = without(self.silent, self.fired)
        _need(not _less(taken, self.a).parts)
        amount = threshold if near(taken.bias, threshold) else taken.bias
        return amount, _weight(taken, self.a)

    def _threshold(self, factor: Matrix, more: Matrix) -> Kind:
        """A state that times `factor` raises thresholds."""
        rho, jump = _weight(self.kept, self.a), without(self.raised, self.kept)
        rest = _less(self.kept, self.a)
        _need(not rest.parts and not jump.parts and _is_nothing(rest.bias, jump.bias))
        coupling = _over(more, factor)
        return self._kind("threshold", factor, rho, factor * jump.bias, coupling)

    def _kind(
        self, adapts: str, factor: Matrix, *numbers: Matrix, start: Matrix | None = None
    ) -> Kind:
        """Neurons that adapt by `factor` times a state, which starts from `start` besides."""
        state, *parameters = ADAPTATION
        behind: dict[str, Matrix | Kept] = {state: Kept(self.a, factor, start)}
        behind |= zip(parameters, numbers, strict=True)
        return Kind("alif", behind, {"adapts": adapts})

    def _current(self, forms: Forms, firing: Firing, factor: Matrix) -> Adapted:
        """A state that times `factor` is a current.

        With `share`, what it takes of the membrane's charge, and `more`, what it takes of the
        membrane besides, the current that a timestep leaves is `factor a + more u`.
        """
        charge, inputs = firing.charge, _less(firing.charge, self.u)
        own, kept, follows = (
            _weight(charge, self.u), _weight(self.kept, self.a), _weight(self.kept, self.u),
        )  # fmt: skip
        # What hears neither spikes nor membranes is a current of another kind, whatever its rate.
        heard = without(self.raised, self.kept)
        _need(bool(follows.any() or heard.parts or heard.bias.any()))
        taken, share = _less(_less(self.kept, self.a), self.u), np.zeros_like(own)
        if taken.parts:
            _need(taken.parts.keys() == inputs.parts.keys())
            share = ratio(taken, inputs, "")
        alone = np.ones(len(share), np.bool_)
        for term in inputs.parts.values():
            alone = alone & (term.at(term.peaks()) == 0)
        share = np.where(alone, _over(taken.bias, inputs.bias), share)  # no weight tells it
        rest = without(taken, inputs.scaled(share))
        _need(not rest.parts and _is_nothing(rest.bias, factor))
        rho, more = kept - factor * share, factor * (follows - own * share)
        rho = _without(rho, ROUNDING * np.abs(kept))  # a current, which the membrane tells
        more = _without(more, ROUNDING * np.abs(factor * follows))
        _need(not (more[rho == 0]).any())
        more = _over(more, rho)
        coupling = factor * share + more
        jump = heard
        amount = factor * (jump.bias + share * firing.reset)
        if not firing.subtract and share.any():  # it follows what a spike leaves
            jump = _less(self.raised, self.a)
            amount = factor * jump.bias - coupling * firing.reset
            _need(not more.any() and near(_weight(self.raised, self.a), rho))
        _need(not jump.parts and bool(amount.any() or coupling.any()))  # else it is always zero
        parts = {**charge.parts, self.u: Term(own - more)}
        begun = next(one.init for one in forms.graph.states if one.name == self.u)
        start = None
        if begun and more.any():
            start = more * forms.graph.constants[begun].astype(np.float64)
        made = self._kind("current", factor, rho, amount, coupling, start=start)
        return Adapted(replace(firing, charge=affine(charge.bias, parts)), made)


def _system(forms: Forms, u: State, a: State, comparison: str) -> _System:
    """Both states as they are written."""
    difference = forms.difference(comparison)
    if comparison in forms.flipped:
        difference = difference.scaled(-np.ones(difference.size))
    assumed = [forms.assuming(comparison, np.full(difference.size, v)) for v in (0.0, 1.0)]
    silent, fired, kept, raised = (one.form(s.next) for s in (u, a) for one in assumed)
    for state, ends in ((u, (silent, fired)), (a, (kept, raised))):
        _need(heeds_own_spikes(forms, comparison, state.next, ends))
    for late in resets(forms, u, a, comparison):  # at once, less what the leak makes of it
        factor = _over(_weight(silent, late.name), _weight(silent, u.name))
        _need(near(_weight(difference, u.name) * factor, _weight(difference, late.name)))
        fired = _less(fired, late.name).plus(assumed[1].form(late.next).scaled(factor))
        silent, difference = _less(silent, late.name), _less(difference, late.name)
    return _System(u.name, a.name, difference, silent, fired, kept, raised)


def resets(forms: Forms, u: State, a: State, comparison: str) -> list[State]:
    """States that hold what spikes of the timestep before take off a membrane, and nothing else."""
    size = forms.difference(comparison).size
    assumed = [forms.assuming(comparison, np.full(size, value)) for value in (0.0, 1.0)]
    charge = assumed[0].form(u.next)
    found = []
    for state in forms.graph.states:
        if state in (u, a) or state.init or state.name not in charge.parts:
            continue
        silent, fired = (one.form(state.next) for one in assumed)
        if not silent.parts and not silent.bias.any() and a.name in fired.parts:
            found.append(state)
    return found


def _settled(forms: Forms, u: State, a: State, comparison: str, past: str) -> _System:
    """Both states with what spikes do to them a timestep late at the spikes themselves.

    What the last spikes add to a state in a timestep it can have from the start, less what the leak
    makes of it. What of that is a product with the adaptation is the reset by a moving threshold.
    Whatever other weights the last spikes have are recurrence, and stay.
    """
    size = forms.graph.types[past].size
    written = _system(forms, u, a, comparison)
    none, every = (
        _system(forms.assuming(past, np.full(size, value)), u, a, comparison)
        for value in (0.0, 1.0)
    )
    own, other, back, kept = (
        _weight(form, leaf) for form in (none.silent, none.kept) for leaf in (u.name, a.name)
    )
    into, moving = _weight(written.kept, past), _weight(every.silent, a.name) - other
    weight = _matrix(written.silent, past)
    taken = every.silent.bias - none.silent.bias - weight.sum(1)
    if back.any():  # what follows the membrane sees a late reset
        taken = taken + np.diag(weight)
        least = own * kept - other * back
        _need(bool(least.all()))
        more_u, more_a = (kept * taken - other * into) / least, (own * into - back * taken) / least
    else:
        _need(bool(own.all() and kept.all()))
        more_u, more_a = taken / own, into / kept

    def stays(of: str) -> Affine:
        silent, fired, spelled = (getattr(one, of) for one in (none, every, written))
        weight = _matrix(spelled, past)
        left = np.diag(fired.bias - silent.bias - weight.sum(1)) + weight
        left -= np.diag(_weight(silent, u.name) * more_u + _weight(silent, a.name) * more_a)
        left = _without(left, ROUNDING**2 + ROUNDING * np.abs(np.diag(np.diag(weight))))
        return affine(np.zeros(size), {past: Term.of(left)})

    reset = none.raised.scaled(moving / own).plus(Affine(more_u, {}))
    fired = none.fired.plus(stays("silent")) if none.fired.parts else none.fired
    return replace(
        none,
        compared=none.compared.plus(stays("compared")),
        silent=none.silent.plus(stays("silent")),
        fired=fired.plus(reset),
        raised=none.raised.plus(Affine(more_a, {})),
    )


def _need(holds: bool) -> None:
    if not holds:
        raise _OtherError


def _less(form: Affine, leaf: str) -> Affine:
    """A form without a leaf."""
    return Affine(form.bias, {name: term for name, term in form.parts.items() if name != leaf})


def _weight(form: Affine, leaf: str) -> Matrix:
    """The factors [n] of a leaf in a form, zeros where it is not there."""
    factors = form.parts[leaf].diagonal() if leaf in form.parts else np.zeros(form.size)
    if factors is None:
        raise _OtherError
    return factors


def _matrix(form: Affine, leaf: str) -> Matrix:
    return form.parts[leaf].matrix if leaf in form.parts else np.zeros((form.size, form.size))


def _over(one: Matrix, other: Matrix) -> Matrix:
    """A quotient, zero where there is nothing to divide by."""
    return divided(one, other, other != 0, np.zeros_like(one))


def _without(numbers: Matrix, nothing: Matrix) -> Matrix:
    """Numbers, zero where they are no larger than others."""
    return np.where(np.abs(numbers) <= nothing, 0.0, numbers)


def _is_nothing(bias: Matrix, beside: Matrix) -> bool:
    return bool(np.abs(bias).max(initial=0) <= ROUNDING * np.abs(beside).max(initial=0))
