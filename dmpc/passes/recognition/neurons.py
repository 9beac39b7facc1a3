"""Neurons: membranes whose charge a comparison holds against a threshold, and what a spike does.

Nothing is matched by its spelling: the membrane's next value is evaluated as if no neuron fired
(that is the charge) and as if all did (that is the reset), and compared with what the comparison
compares.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dmpc.ir.graph import State
from dmpc.passes.recognition.affine import Affine, Matrix, near
from dmpc.passes.recognition.memories import weight_of_product
from dmpc.passes.recognition.network import Held, Memory, Network, Neurons, Slow
from dmpc.passes.recognition.synapses import find_synapses


@dataclass(frozen=True)
class Firing:
    """A membrane's charge, threshold and reset; `flipped`: the comparison is true without spike.

    A spike makes `reset` of the charge, or with `subtract` takes it off.
    """

    charge: Affine
    threshold: Matrix
    reset: Matrix
    subtract: bool
    flipped: bool


def find_comparison(network: Network, state: State) -> str | None:
    """The comparison that makes a membrane's neurons fire; None if the state is no membrane.

    It looks at the state, and the state's next value depends on it. Raises CompileError if there
    are several.
    """
    found = [
        leaf
        for leaf in network.comparisons()
        if state.name in network.forms.difference(leaf).terms and network.reaches(leaf, state.next)
    ]
    if len(found) > 1:
        raise network.error(
            state.name, f"several comparisons look at this state: {network.names(found)}"
        )
    held = network.forms.form(state.next).terms.keys()
    return None if not found or held == {found[0]} else found[0]


def find_firing(network: Network, state: State, comparison: str) -> Firing:
    """How a membrane's neurons fire. Raises CompileError where they are not LIF neurons."""
    size = network.graph.types[state.name].size
    forms, difference = network.forms, network.forms.difference(comparison)
    if comparison in forms.flipped:
        difference = difference.scaled(-np.ones(difference.size))
    if difference.size != size:
        raise network.error(
            comparison,
            f"compares {difference.size} elements for a membrane of {size} neurons",
        )
    none, every = (
        forms.assuming(comparison, np.full(size, value)).form(state.next) for value in (0.0, 1.0)
    )
    for flipped, charge, fired in ((False, none, every), (True, every, none)):
        signed = difference.scaled(-np.ones(size)) if flipped else difference
        threshold = _threshold(signed, charge, state.name)
        if threshold is None or any(forms.opaque(leaf) for leaf in charge.terms):
            continue
        reset = _reset(network, state, charge, fired, threshold)
        _check_own_spikes(network, state, comparison, (none, every))
        return Firing(charge, threshold, reset, bool(fired.terms), flipped)
    opaque = [leaf for form in (none, every) for leaf in form.terms if forms.opaque(leaf)]
    if opaque:
        raise network.error(
            state.name,
            f"the membrane's next value is not linear at {network.names(opaque)}, even once the "
            f"spikes of {network.name(comparison)} are given",
        )
    raise network.error(
        comparison,
        f"does not compare the charge of {network.name(state.name)} with a constant threshold: it "
        f"looks at {network.names(difference.terms)}, the charge is made of "
        f"{network.names(none.terms)}",
        "spikes are charge >= threshold; adaptive thresholds and resets that come a step late are "
        "not supported",
    )


def _threshold(difference: Affine, charge: Affine, state: str) -> Matrix | None:
    """theta where `difference = k (charge - theta)` with k > 0 per neuron; None where it is not."""
    if state not in difference.terms or state not in charge.terms:
        return None
    ours, theirs = np.diag(charge.terms[state]), np.diag(difference.terms[state])
    factor = np.divide(theirs, ours, out=np.ones_like(ours), where=ours != 0)
    if np.any(factor <= 0) or charge.terms.keys() != difference.terms.keys():
        return None
    unit = difference.scaled(1.0 / factor)
    if not all(near(matrix, charge.terms[leaf]) for leaf, matrix in unit.terms.items()):
        return None
    return charge.bias - unit.bias


def _reset(
    network: Network, state: State, charge: Affine, fired: Affine, threshold: Matrix
) -> Matrix:
    """The value after a spike where that has no terms, else what a spike subtracts."""
    if not fired.terms:
        return fired.bias
    if any(not near(m, fired.terms.get(leaf, 0 * m)) for leaf, m in charge.terms.items()):
        raise network.error(
            state.name,
            f"a spike leaves a mix of {network.names(fired.terms)}",
            "a spike sets the membrane to a constant, or subtracts one",
        )
    amount = charge.bias - fired.bias
    return threshold if near(amount, threshold) else amount


def _check_own_spikes(
    network: Network, state: State, comparison: str, forms: tuple[Affine, Affine]
) -> None:
    """Each neuron is reset by its own spike: seen with only some of the neurons firing."""
    size = forms[0].size
    pattern = np.random.default_rng(size).integers(0, 2, size).astype(np.float64)
    for some in (pattern, 1.0 - pattern):
        mixed = network.forms.assuming(comparison, some).form(state.next)
        if not mixed.close(forms[0].scaled(1.0 - some).plus(forms[1].scaled(some))):
            raise network.error(
                state.name,
                f"neurons are reset by the spikes of other neurons of {network.name(comparison)}",
                "lateral connections are not supported",
            )


def find_neurons(
    network: Network,
    state: State,
    comparison: str,
    memories: Sequence[Memory],
    held: Sequence[Held],
) -> Neurons:
    """The LIF neurons that a state and a comparison make. Raises CompileError if they are not."""
    firing = find_firing(network, state, comparison)
    charge = firing.charge
    beta = charge.terms[state.name]
    if not near(beta, np.diag(np.diag(beta))):
        raise network.error(
            state.name,
            "neurons leak into each other: the leak is a full matrix",
            "a leak is one factor per neuron",
        )
    inputs = {leaf: matrix for leaf, matrix in charge.terms.items() if leaf != state.name}
    events = {leaf: inputs.pop(leaf) for leaf in list(inputs) if network.holds_events(leaf)}
    synapses = find_synapses(network, comparison, events, own=comparison)
    sources = [found.source.leaf for found in synapses if not found.source.own]
    if len(sources) > 1:
        raise network.error(
            comparison,
            f"the neurons have {len(sources)} sources: {network.names(sources)}",
            "a layer reads one source, the input or the layer before, and its own last spikes",
        )
    producer = network.graph.producer(comparison)
    assert producer is not None
    bias = charge.bias + sum(
        inputs[one.hold.next] @ one.bias for one in held if one.hold.next in inputs
    )
    return Neurons(
        state=state.name,
        spikes=comparison,
        beta=np.diag(beta),
        threshold=firing.threshold,
        reset=firing.reset,
        subtract=firing.subtract,
        strict=(producer.kind == "gt") != (comparison in network.forms.flipped),
        bias=bias,
        synapses=tuple(sorted(synapses, key=lambda found: found.source.own)),
        slow=_slow(network, comparison, inputs, memories, held),
    )


def _slow(
    network: Network,
    comparison: str,
    inputs: dict[str, Matrix],
    memories: Sequence[Memory],
    held: Sequence[Held],
) -> Slow | None:
    """The slow current among what is left of a charge."""
    if not inputs:
        return None
    by_leaf = {leaf: memory for memory in memories for leaf in (memory.next, memory.state)}
    by_leaf |= {one.hold.next: one.memory for one in held}
    reading = [by_leaf[leaf] for leaf in inputs if leaf in by_leaf]
    drives = {reading[0].relu} if reading else set()
    strange = [leaf for leaf in inputs if leaf not in by_leaf and leaf not in drives]
    if strange or len({memory.state for memory in reading}) != 1:
        raise network.error(
            comparison,
            f"the charge depends on {network.names(strange or inputs)}",
            "a charge is made of the membrane, the layer's input and one slow state",
        )
    memory = reading[0]
    slow = _held_slow(held, inputs) or _one_slow(memory, inputs)
    if slow is None:
        raise network.error(
            comparison,
            f"the charge reads {network.name(memory.state)} in more than one way: "
            f"{network.names(inputs)}",
            "a slow current is W_m m of this timestep or of the previous one",
        )
    return slow


def _held_slow(held: Sequence[Held], inputs: dict[str, Matrix]) -> Slow | None:
    """A slow current that is a held memory's alone; a period of 1 holds nothing."""
    for one in held:
        if set(inputs) == {one.hold.next}:
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
    if given != {memory.state, memory.relu}:
        return None
    # Already written as P m[k-1] + nu x[k].
    weight = weight_of_product(memory, inputs[memory.state], inputs[memory.relu])
    return None if weight is None else Slow(memory, weight, late=False)
