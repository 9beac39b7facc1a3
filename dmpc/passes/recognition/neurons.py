"""Neurons: membranes whose charge a comparison holds against a threshold, and what a spike does.

Nothing is matched by its spelling: the membrane's next value is evaluated as if no neuron fired
(that is the charge) and as if all did (that is the reset), and compared with what the comparison
compares.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from dmpc.ir.graph import State
from dmpc.passes.recognition.affine import Forms
from dmpc.passes.recognition.convolutions import find_convolutions
from dmpc.passes.recognition.currents import Decay, Part, without_currents
from dmpc.passes.recognition.memories import weight_of_product
from dmpc.passes.recognition.network import (
    Charge,
    Current,
    Held,
    Memory,
    Network,
    Neurons,
    NotRecognised,
    Slow,
)
from dmpc.passes.recognition.neuron_rules import (
    ADAPTIVE_THRESHOLD,
    COUNTED_SPIKES,
    FREE_COMPARISON,
    FULL_LEAK,
    INPUT_NOT_LINEAR,
    LATE_CURRENT,
    LATERAL_RESET,
    MEMORY_READ_TWICE,
    NEURON_COUNT,
    NO_CHARGE,
    NONLINEAR_MEMBRANE,
    OTHER_WEIGHTS,
    RESET_MIX,
    SEVERAL_COMPARISONS,
    STRANGE_CHARGE,
)
from dmpc.passes.recognition.repeated import amount_of
from dmpc.passes.recognition.synapses import find_synapses
from dmpc.passes.recognition.terms import Affine, Matrix, Term, near, ratio


@dataclass(frozen=True)
class Firing:
    """A membrane's charge, threshold and reset; `flipped`: the comparison is true without spike.

    A spike makes `reset` of the charge, or with `subtract` takes it off, up to so many `times` in a
    timestep.
    """

    charge: Affine
    threshold: Matrix
    reset: Matrix
    subtract: bool
    flipped: bool
    times: int = 1


def find_comparison(network: Network, state: State) -> str | None:
    """The comparison that makes a membrane's neurons fire; None if the state is no membrane.

    It looks at the state, and the state's next value depends on it; where neurons keep nothing of
    their membranes, its leak of zero tells. A slow state that hears the neurons which it charges is
    none: they have a membrane. Raises CompileError if there are several.
    """
    resets = [leaf for leaf in network.comparisons() if network.reaches(leaf, state.next)]
    resets = [leaf for leaf in resets if not _hears_own(network, state, leaf)]
    found = [leaf for leaf in resets if state.name in network.forms.difference(leaf).terms]
    below = set() if found else network.wires.below(state.name)
    found = found or [leaf for leaf in resets if leaf in below]
    if len(found) > 1:
        names = network.names(found)
        raise network.failure(SEVERAL_COMPARISONS, state.name, culprits=found, comparisons=names)
    held = network.forms.form(state.next).terms.keys()
    return None if not found or held == {found[0]} else found[0]


def _hears_own(network: Network, state: State, comparison: str) -> bool:
    """Whether neurons mix a state, held or not, beside one of theirs that their spikes reset."""
    compared = network.forms.difference(comparison)
    parts, size = compared.parts, network.graph.types[state.name].size
    own = (one for one in network.graph.states if one.name in parts and one is not state)
    read = parts.get(state.name)
    mixed = size != compared.size if read is None else read.diagonal() is None
    return mixed and any(
        parts[one.name].diagonal() is not None and network.reaches(comparison, one.next)
        for one in own
    )


def find_firing(network: Network, state: State, comparison: str) -> Firing:
    """How a membrane's neurons fire. Raises CompileError where they are not LIF neurons."""
    size = network.graph.types[state.name].size
    forms, difference = network.forms, network.forms.difference(comparison)
    if comparison in forms.flipped:
        difference = difference.scaled(-np.ones(difference.size))
    if difference.size > size and comparison not in forms.flipped and not difference.size % size:
        return _find_several(network, state, comparison, difference)
    if difference.size != size:
        raise network.failure(NEURON_COUNT, comparison, compared=difference.size, neurons=size)
    none, every = (
        forms.assuming(comparison, np.full(size, value)).form(state.next) for value in (0.0, 1.0)
    )
    for flipped, charge, fired in ((False, none, every), (True, every, none)):
        signed = difference.scaled(-np.ones(size)) if flipped else difference
        threshold = threshold_of(signed, charge, state.name)
        if threshold is None or any(forms.opaque(leaf) for leaf in charge.terms):
            continue
        reset = _reset(network, state, charge, fired, threshold)
        _check_own_spikes(network, state, comparison, (none, every))
        return Firing(charge, threshold, reset, bool(fired.terms), flipped)
    opaque = [leaf for form in (none, every) for leaf in form.terms if forms.opaque(leaf)]
    if opaque:
        ops, fires = network.names(dict.fromkeys(opaque)), network.name(comparison)
        if network.of_input(opaque):
            raise network.failure(INPUT_NOT_LINEAR, opaque[0], culprits=opaque, ops=ops)
        raise network.failure(
            NONLINEAR_MEMBRANE, state.name, culprits=opaque, ops=ops, comparison=fires
        )
    raise _no_threshold(network, state, comparison, none)


def _find_several(network: Network, state: State, comparison: str, difference: Affine) -> Firing:
    """How neurons fire that may spike several times in a timestep."""
    size, forms = network.graph.types[state.name].size, network.forms
    none, every = (
        forms.assuming(comparison, np.full(difference.size, value)).form(state.next)
        for value in (0.0, 1.0)
    )
    threshold = threshold_of(difference.taken(np.arange(size)), none, state.name)
    if threshold is None or any(forms.opaque(leaf) for leaf in none.terms):
        name = network.name(state.name)
        raise network.failure(COUNTED_SPIKES, state.name, culprits=[comparison], state=name)
    amount = amount_of(network, state.name, state.next, comparison, (none, every))
    reset = threshold if near(amount, threshold) else amount
    return Firing(none, threshold, reset, True, False, difference.size // size)


def _no_threshold(network: Network, state: State, comparison: str, charge: Affine) -> NotRecognised:
    """Why a comparison is not that of a membrane's charge with a constant threshold."""
    difference = network.forms.difference(comparison)
    name = network.name(state.name)
    late = late_mix(network, state, comparison)
    if late:
        return late
    missing = [leaf for leaf in charge.terms if leaf not in difference.terms]
    moving = [leaf for leaf in difference.terms if leaf not in charge.terms]
    if moving and not missing:
        return network.failure(
            ADAPTIVE_THRESHOLD,
            comparison,
            culprits=moving,
            state=name,
            moving=network.names(moving),
        )
    if missing and not moving and state.name not in missing:
        return network.failure(
            LATE_CURRENT, comparison, culprits=missing, state=name, missing=network.names(missing)
        )
    if not missing and not moving:
        kept = charge.parts.get(state.name)
        if kept is not None and kept.diagonal() is None:
            return full_leak(network, state, kept.matrix)
        parts = network.names(charge.terms)
        return network.failure(OTHER_WEIGHTS, comparison, culprits=(), state=name, parts=parts)
    return network.failure(
        NO_CHARGE,
        comparison,
        state=name,
        compared=network.names(difference.terms),
        charge=network.names(charge.terms),
    )


def threshold_of(difference: Affine, charge: Affine, state: str) -> Matrix | None:
    """theta where `difference = k (charge - theta)` with k > 0 per neuron; None where it is not."""
    if charge.size != difference.size or charge.terms.keys() != difference.terms.keys():
        return None
    factor = ratio(difference, charge, state)
    if np.any(factor <= 0):
        return None
    unit = difference.scaled(1.0 / factor)
    if not all(term.near(charge.parts[leaf]) for leaf, term in unit.parts.items()):
        return None
    return charge.bias - unit.bias


def _reset(
    network: Network, state: State, charge: Affine, fired: Affine, threshold: Matrix
) -> Matrix:
    """The value after a spike where that has no terms, else what a spike subtracts."""
    if not fired.terms:
        return fired.bias
    if any(not term.near(fired.parts.get(leaf, term.zero)) for leaf, term in charge.parts.items()):
        raise _mixes(network, state, fired, "leaves")
    amount = charge.bias - fired.bias
    return threshold if near(amount, threshold) else amount


def _mixes(network: Network, state: State, fired: Affine, leaves: str) -> NotRecognised:
    """The error of spikes that do more to a membrane than a constant says."""
    left = network.names(fired.terms)
    return network.failure(RESET_MIX, state.name, culprits=fired.terms, left=left, leaves=leaves)


def late_mix(network: Network, state: State, comparison: str) -> NotRecognised | None:
    """The error of a state that is what spikes take off a membrane in the next timestep, where that
    is no constant; None for any other state."""
    size = network.graph.types[comparison].size
    silent, fired = (
        network.forms.assuming(comparison, np.full(size, value)).form(state.next)
        for value in (0.0, 1.0)
    )
    if silent.parts or silent.bias.any() or not fired.parts:
        return None
    return _mixes(network, state, fired, "takes off its membrane, a timestep late,")


def _check_own_spikes(
    network: Network, state: State, comparison: str, forms: tuple[Affine, Affine]
) -> None:
    """Each neuron is reset by its own spike."""
    if not heeds_own_spikes(network.forms, comparison, state.next, forms):
        raise network.failure(
            LATERAL_RESET,
            state.name,
            culprits=[comparison],
            comparison=network.name(comparison),
        )


def heeds_own_spikes(
    forms: Forms, comparison: str, value: str, ends: tuple[Affine, Affine]
) -> bool:
    """True if each element of a value depends on its own element of a comparison alone.

    `ends` are the value's forms where the whole comparison is 0, and where it is 1; it is looked
    at with only some of the elements 1.
    """
    size = ends[0].size
    pattern = np.random.default_rng(size).integers(0, 2, size).astype(np.float64)
    return all(
        forms.assuming(comparison, some)
        .form(value)
        .close(ends[0].scaled(1.0 - some).plus(ends[1].scaled(some)))
        for some in (pattern, 1.0 - pattern)
    )


def find_neurons(
    network: Network,
    state: State,
    comparison: str,
    memories: Sequence[Memory],
    held: Sequence[Held],
    decays: Sequence[Decay],
    firing: Firing | None = None,
) -> Neurons:
    """The LIF neurons that a state and a comparison make. Raises CompileError if they are not.

    Without `firing` it is found out how they fire.
    """
    firing = firing or find_firing(network, state, comparison)
    beta = firing.charge.parts.get(state.name)
    if beta is not None and beta.diagonal() is None:
        raise full_leak(network, state, beta.matrix)
    rest, parts = without_currents(network, comparison, firing.charge, decays)
    firing = _reset_by_own_past(network, state, comparison, replace(firing, charge=rest))
    return _neurons(network, state, comparison, firing, parts, memories, held)


def _reset_by_own_past(network: Network, state: State, comparison: str, firing: Firing) -> Firing:
    """Neurons that each take something off for their own last spike, which is a reset.

    `u' = beta u + I - r s[k-1]` are the spikes of neurons that lose `r / beta` with their spike.
    """
    if not firing.subtract or firing.reset.any():
        return firing
    parts, size = dict(firing.charge.parts), firing.charge.size
    beta = parts[state.name].diagonal() if state.name in parts else None
    for leaf in list(parts):
        past = network.lines.values.get(leaf)
        if past is None or set(past.sources) != {comparison} or (past.age != 1).any():
            continue
        own = network.lines.by_age(leaf, parts.pop(leaf).matrix, lambda _: size)[comparison, 1]
        amount = Term.of(own).diagonal()
        if beta is None or amount is None or (amount[beta == 0] != 0).any():
            return firing
        taken = -amount / np.where(beta == 0, 1, beta)
        charge = Affine(firing.charge.bias, parts)
        return replace(firing, charge=charge, reset=firing.reset + taken)
    return firing


def _neurons(
    network: Network,
    state: State | None,
    comparison: str,
    firing: Firing,
    parts: Sequence[Part],
    memories: Sequence[Memory],
    held: Sequence[Held],
) -> Neurons:
    """Neurons of a known charge; without a state, or a term of it, they leak all they have."""
    name = "" if state is None else state.name
    kept = firing.charge.parts.get(name, Term(np.zeros(firing.charge.size)))
    rest = {leaf: term for leaf, term in firing.charge.parts.items() if leaf != name}
    forms = [*(part.fed for part in parts), Affine(firing.charge.bias, rest)]
    *fed, charge = (_charge(network, comparison, form, memories, held) for form in forms)
    currents = []
    for part, one in zip(parts, fed, strict=True):
        if _of_own_spikes(one):  # which come a timestep late, as a current that keeps nothing
            charge = _a_step_later(network, part, one, charge)
        else:
            currents.append(Current(part.state, part.alpha, part.late, one, part.start))
    if firing.times > 1 and any(s.convolution for one in (*fed, charge) for s in one.synapses):
        of = network.name(comparison)
        raise network.failure(COUNTED_SPIKES, comparison, culprits=[], state=of)
    producer = network.graph.producer(comparison)
    assert producer is not None
    return Neurons(
        state=name or None,
        spikes=comparison,
        beta=kept.at(np.arange(len(kept.scale))),
        threshold=firing.threshold,
        reset=firing.reset,
        subtract=firing.subtract,
        strict=(producer.kind == "gt") != (comparison in network.forms.flipped),
        charge=charge,
        currents=tuple(currents),
        times=firing.times,
    )


def _of_own_spikes(charge: Charge) -> bool:
    """Whether a current takes in its neurons' spikes in the timestep in which they are made."""
    return any(min(one.source.delays, default=0) < 0 for one in charge.synapses)


def _a_step_later(network: Network, part: Part, fed: Charge, charge: Charge) -> Charge:
    """A charge with what a late current that keeps nothing takes in, a timestep after that."""
    state = network.graph.state(part.state)
    plain = part.late and not part.alpha.any() and not fed.slows and not fed.bias.any()
    if not plain or state is None or state.init is not None:
        name = network.name(part.state)
        raise network.failure(STRANGE_CHARGE, part.state, culprits=[], strange=name)
    later = tuple(
        replace(one, source=replace(one.source, delays=tuple(d + 1 for d in one.source.delays)))
        for one in fed.synapses
    )
    return replace(charge, synapses=(*charge.synapses, *later))


def _charge(
    network: Network,
    comparison: str,
    form: Affine,
    memories: Sequence[Memory],
    held: Sequence[Held],
) -> Charge:
    """What neurons or a current of theirs take in."""
    convolved, form = find_convolutions(network, form, own=comparison)
    inputs = {leaf: term.matrix for leaf, term in form.parts.items()}
    events = {leaf: inputs.pop(leaf) for leaf in list(inputs) if network.holds_events(leaf)}
    synapses = [*convolved, *find_synapses(network, events, own=comparison)]
    bias = form.bias + sum(
        inputs[one.hold.next] @ one.bias for one in held if one.hold.next in inputs
    )
    slows = _slows(network, comparison, _moving(inputs, held), memories, held)
    return Charge(bias, tuple(sorted(synapses, key=lambda found: found.source.past)), slows)


def _moving(inputs: dict[str, Matrix], held: Sequence[Held]) -> dict[str, Matrix]:
    """Inputs without holds that repeat a constant, which is part of the bias."""
    constant = {one.hold.next for one in held if one.memory is None}
    return {leaf: matrix for leaf, matrix in inputs.items() if leaf not in constant}


def find_unreset(
    network: Network,
    comparison: str,
    memories: Sequence[Memory],
    held: Sequence[Held],
    decays: Sequence[Decay],
) -> Neurons:
    """The neurons that a comparison makes which resets nothing.

    They keep nothing of a membrane, beside a current that charges them late; or what is compared
    decays, as a membrane does that goes on as if its neuron had not fired. Raises CompileError
    where it compares anything but what may charge neurons, or makes events of the input itself.
    """
    producer = network.graph.producer(comparison)
    assert producer is not None
    charge, limit = (network.forms.form(name) for name in producer.operands)
    if limit.terms:
        charge, limit = network.forms.difference(comparison), Affine(np.zeros(1), {})
    size = network.graph.types[comparison].size
    charge, limit = charge.spread(size), limit.spread(size)
    (source,) = network.graph.inputs
    binarised = size > 1 and list(charge.terms) == [source]
    binarised = binarised and charge.parts[source].diagonal() is not None
    beta = zero = np.zeros(size)
    rest, parts = without_currents(network, comparison, charge, decays)
    if len(parts) == 1 and not parts[0].late and not rest.parts:
        (part,), state = parts, network.graph.state(parts[0].state)
        if state is not None and state.init is None:
            beta, limit, parts = part.alpha, limit.plus(rest, -1.0), []
            rest = part.fed
    known = {leaf for one in memories for leaf in (one.state, one.next, *one.rectifiers)}
    known |= {one.hold.next for one in held}
    leaves = [leaf for form in (rest, *(part.fed for part in parts)) for leaf in form.parts]
    strange = [leaf for leaf in leaves if leaf not in known and not network.holds_events(leaf)]
    if binarised or strange:
        counted = _counted(network, comparison)
        if counted is not None:
            name = network.name(counted.name)
            raise network.failure(COUNTED_SPIKES, comparison, culprits=[counted.name], state=name)
        raise network.failure(FREE_COMPARISON, comparison)
    firing = Firing(rest, limit.bias, zero, subtract=bool(beta.any()), flipped=False)
    made = _neurons(network, None, comparison, firing, parts, memories, held)
    return replace(made, beta=beta)


def _counted(network: Network, comparison: str) -> State | None:
    """The membrane of which a comparison that resets nothing looks at the charge, as one does that
    resets it: neurons that spike several times, and are reset once."""
    mine = network.forms.difference(comparison)
    for state in network.graph.states:
        for other in network.comparisons():
            theirs = network.forms.difference(other)
            if other == comparison or state.name not in theirs.terms or not mine.terms:
                continue
            if network.reaches(other, state.next) and not mine.terms.keys() ^ theirs.terms.keys():
                return state if threshold_of(mine, theirs, state.name) is not None else None
    return None


def full_leak(network: Network, state: State, beta: Matrix) -> NotRecognised:
    """The error of a leak that is no diagonal matrix, with its largest coupling."""
    couplings = np.abs(beta - np.diag(np.diag(beta)))
    row, column = np.unravel_index(int(couplings.argmax()), beta.shape)
    return network.failure(
        FULL_LEAK,
        state.name,
        culprits=[state.name],
        row=row,
        column=column,
        factor=beta[row, column],
    )


def _slows(
    network: Network,
    comparison: str,
    inputs: dict[str, Matrix],
    memories: Sequence[Memory],
    held: Sequence[Held],
) -> tuple[Slow, ...]:
    """The slow currents among what is left of a charge: one of each memory."""
    by_leaf = {leaf: memory for memory in memories for leaf in (memory.next, memory.state)}
    by_leaf |= {one.hold.next: one.memory for one in held if one.memory is not None}
    reading = [by_leaf[leaf] for leaf in inputs if leaf in by_leaf]
    reading = reading or [one for one in memories if one.rectifiers & inputs.keys()]
    for memory in reading:
        by_leaf |= dict.fromkeys(memory.rectifiers & inputs.keys(), memory)
    strange = [leaf for leaf in inputs if leaf not in by_leaf]
    if strange:
        names = ", ".join(map(network.driven, strange))
        raise network.failure(STRANGE_CHARGE, comparison, culprits=strange, strange=names)
    found = []
    for memory in {one.state: one for one in reading}.values():
        own = {leaf: matrix for leaf, matrix in inputs.items() if by_leaf[leaf] is memory}
        slow = _held_slow(held, own) or _one_slow(memory, own)
        if slow is None:
            ways = {"memory": network.name(memory.state), "ways": network.names(own)}
            raise network.failure(MEMORY_READ_TWICE, comparison, culprits=own, **ways)
        found.append(slow)
    return tuple(found)


def _held_slow(held: Sequence[Held], inputs: dict[str, Matrix]) -> Slow | None:
    """A slow current that is a held memory's alone; a period of 1 holds nothing."""
    for one in held:
        if one.memory is not None and set(inputs) == {one.hold.next}:
            weight = inputs[one.hold.next] @ one.matrix
            hold = one.hold if one.hold.period > 1 else None
            return Slow(one.memory, weight, one.late, hold)
    return None


def _one_slow(memory: Memory, inputs: dict[str, Matrix]) -> Slow | None:
    given = set(inputs)
    if given == {memory.next}:
        return Slow(memory, inputs[memory.next], late=False)
    if given == {memory.state}:
        return Slow(memory, inputs[memory.state], late=True)
    if not given <= {memory.state, *memory.rectifiers}:
        return None
    # Already written as P m[k-1] + nu x[k]; of a memory that keeps nothing, P is zero.
    n = len(next(iter(inputs.values())))
    nu = np.zeros((n, len(memory.drives)))
    for column, drive in enumerate(memory.drives):
        if drive.at in inputs:
            nu[:, column] = inputs[drive.at][:, drive.element]
    product = inputs.get(memory.state, np.zeros((n, len(memory.b))))
    weight = weight_of_product(memory, product, nu)
    return None if weight is None else Slow(memory, weight, late=False)
