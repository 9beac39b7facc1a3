"""Resets brought to the timestep of their spike.

Libraries differ in when a reset comes. snnTorch's default looks at the membrane of the timestep
before (Eshraghian et al., 2023), `v = beta v + I - theta [v > theta]`, and it can be left out. With
`u`, the membrane as it is once the reset has come, the first is

    v' = beta u + I,    u' = v' - theta / beta    where v' > theta

the same spikes from neurons that are reset at once, by another amount; the second is an amount of
zero. This rewrites such states of a graph, whatever their spelling, and leaves all others alone.
"""

from dataclasses import dataclass

import numpy as np

from dmpc.ir.graph import Graph, Op, State
from dmpc.ir.types import boolean, f32
from dmpc.passes.recognition.affine import Forms
from dmpc.passes.recognition.neurons import heeds_own_spikes, threshold_of
from dmpc.passes.recognition.terms import Affine, Matrix, near
from dmpc.passes.recognition.truths import COMPARISONS


@dataclass(frozen=True)
class Reset:
    """A membrane's spikes are `charge > threshold` (`>=` unless `strict`), `charge` its next value.

    They take `amount` off, or where that is None make `value` of the membrane. `looks` are the
    comparisons that told of them a timestep late, with their value where no neuron spiked; `told`
    is one that tells of them in time, perhaps in another unit.
    """

    state: State
    threshold: Matrix
    strict: bool
    amount: Matrix | None
    value: Matrix
    looks: dict[str, bool]
    told: str | None = None


def settled(graph: Graph) -> Graph:
    """The graph with every late or missing reset in the timestep of its spike; same outputs."""
    graph, forms = _without_vain(graph, Forms(graph))
    found = [reset for state in graph.states if (reset := _find(graph, forms, state)) is not None]
    if not found:
        return graph
    graph = graph.copy()
    for reset in found:
        _settle(graph, reset)
    return graph


def _find(graph: Graph, forms: Forms, state: State) -> Reset | None:
    leaves = dict.fromkeys(
        leaf for leaf, _ in forms.shared.values() if forms.producers[leaf].kind in COMPARISONS
    )
    looking = [leaf for leaf in leaves if set(forms.difference(leaf).terms) == {state.name}]
    if looking:  # at the old value, and not at the next one that constants alone feed
        above = graph.wires().above
        looking = [leaf for leaf in looking if state.next not in above(leaf)]
    if len(looking) == 1:
        return _late(graph, forms, state, looking[0])
    return None if looking else _missing(graph, forms, state, list(leaves))


# -- vain ------------------------------------------------------------------------------------------


def _without_vain(graph: Graph, forms: Forms) -> tuple[Graph, Forms]:
    """The graph without comparisons of old membranes that are never true: what a spike leaves, and
    what leaves no spike, lies below the threshold. snnTorch's neurons look twice."""
    found = {
        leaf: name
        for leaf in dict.fromkeys(leaf for leaf, _ in forms.shared.values())
        if forms.producers[leaf].kind in COMPARISONS
        for name in forms.difference(leaf).terms
        if (state := graph.state(name)) and _vain(graph, forms, state, leaf)
    }
    if not found:
        return graph, forms
    graph = graph.copy()
    for value, (leaf, opposite) in forms.shared.items():
        if leaf in found:
            size = graph.types[value].size
            graph.ops.remove(next(op for op in graph.ops if value in op.results))
            graph.add_constant(value, np.full(size, opposite), boolean(size))
    return graph, Forms(graph)


def _vain(graph: Graph, forms: Forms, state: State, leaf: str) -> bool:
    """Whether a comparison of a state's old value is never true, if it was not before."""
    difference = forms.difference(leaf)
    slope = _leak(difference, state.name)
    if slope is None or len(difference.terms) > 1 or not np.all(slope > 0):
        return False
    limit, silent = -difference.bias / slope, forms.assuming(leaf, np.zeros(difference.size))
    start = np.zeros(1) if state.init is None else graph.constants[state.init].astype(np.float64)
    strict = forms.producers[leaf].kind == "gt"
    if not np.all(start <= limit if strict else start < limit):
        return False
    for other in dict.fromkeys(one for one, _ in forms.shared.values() if one != leaf):
        if forms.producers[other].kind not in COMPARISONS:
            continue
        none, every = (
            silent.assuming(other, np.full(graph.types[other].size, spike)).form(state.next)
            for spike in (0.0, 1.0)
        )
        threshold = threshold_of(silent.difference(other), none, state.name)
        if threshold is None or every.parts or every.size != limit.size:
            continue
        if near(np.maximum(threshold, limit), limit) and np.all(every.bias < limit):
            return strict or forms.producers[other].kind == "ge"
    return False


# -- late ------------------------------------------------------------------------------------------


def _late(graph: Graph, forms: Forms, state: State, leaf: str) -> Reset | None:
    """The reset of a state that a comparison of the state's old value brings."""
    difference = forms.difference(leaf)
    slope = _leak(difference, state.name)
    if slope is None or not (np.all(slope > 0) or np.all(slope < 0)):
        return None
    above = bool(slope[0] > 0)
    false, true = (
        forms.assuming(leaf, np.full(difference.size, value)).form(state.next)
        for value in (0.0, 1.0)
    )
    none, every = (false, true) if above else (true, false)
    beta = _leak(none, state.name)
    if beta is None or not beta.all() or not _only_through(graph, state):
        return None
    if not heeds_own_spikes(forms, leaf, state.next, (false, true)):
        return None
    threshold = -difference.bias / slope
    strict = (forms.producers[leaf].kind == "gt") == above
    looks = {
        value: opposite == above for value, (name, opposite) in forms.shared.items() if name == leaf
    }
    return _reset(state, none, every, beta, threshold, strict, looks)


def _reset(
    state: State,
    none: Affine,
    every: Affine,
    beta: Matrix,
    threshold: Matrix,
    strict: bool,
    looks: dict[str, bool],
) -> Reset | None:
    """What a spike does to the membrane before the leak, from the charges without and with it."""
    rest = {leaf: term for leaf, term in none.parts.items() if leaf != state.name}
    drop = none.bias - every.bias
    kept = dict(every.parts)
    own = kept.pop(state.name, None)
    if not Affine(none.bias, rest).close(Affine(none.bias, kept)):
        return None
    if own is None:
        return Reset(state, threshold, strict, None, -drop / beta, looks)
    if not own.near(none.parts[state.name]):
        return None
    return Reset(state, threshold, strict, drop / beta, np.zeros_like(beta), looks)


def _only_through(graph: Graph, state: State) -> bool:
    """True if the state's old value acts through its next value alone."""
    wires = graph.wires()
    wires.cut(state.next)
    below = wires.below(state.name)
    ends = {*graph.outputs, *(other.next for other in graph.states)} - {state.next}
    return state.next in below and not (below | {state.name}) & ends


# -- missing ---------------------------------------------------------------------------------------


def _missing(graph: Graph, forms: Forms, state: State, leaves: list[str]) -> Reset | None:
    """No reset at all: a comparison holds the membrane's next value against a threshold."""
    charge = forms.form(state.next)
    if _leak(charge, state.name) is None:
        return None
    above = graph.wires().above(state.next)
    zero = np.zeros(charge.size)
    for leaf in leaves:
        if any(value in above for value, (name, _) in forms.shared.items() if name == leaf):
            continue
        for sign in (1.0, -1.0):
            signed = forms.difference(leaf)
            signed = signed.scaled(np.full(signed.size, sign))
            threshold = threshold_of(signed, charge, state.name)
            if threshold is not None:
                strict = (forms.producers[leaf].kind == "gt") == (sign > 0)
                told = leaf if sign > 0 else None
                return Reset(state, threshold, strict, zero, zero, {}, told)
    return None


# -- the graph -------------------------------------------------------------------------------------


def _settle(graph: Graph, reset: Reset) -> None:
    """Put a reset behind its charge, and say no to whoever asked for the spikes of the past."""
    size = graph.types[reset.state.name].size
    for look, value in reset.looks.items():
        graph.ops.remove(next(op for op in graph.ops if look in op.results))
        graph.add_constant(look, np.full(size, value), boolean(size))
    state = next(state for state in graph.states if state.name == reset.state.name)
    charge = state.next
    producer = graph.producer(charge)
    loc = producer.loc if producer is not None else ()

    def constant(name: str, value: Matrix) -> str:
        return graph.add_constant(graph.fresh(f"{state.name}.{name}"), value, f32(size))

    def emit(kind: str, name: str, *operands: str) -> str:
        result = graph.fresh(f"{state.name}.{name}")
        compares = kind in COMPARISONS
        graph.add(Op(kind, operands, (result,), {}, loc), boolean(size) if compares else f32(size))
        return result

    fired = reset.told
    if fired is None:
        threshold = constant("threshold", reset.threshold)
        fired = emit("gt" if reset.strict else "ge", "fired", charge, threshold)
    if reset.amount is None:
        after = constant("reset", reset.value)
    else:
        after = emit("sub", "subtracted", charge, constant("amount", reset.amount))
    state.next = emit("where", "settled", fired, after, charge)
    _start(graph, state, reset)


def _start(graph: Graph, state: State, reset: Reset) -> None:
    """The initial membrane with the reset that it would have brought."""
    size = graph.types[state.name].size
    old = np.zeros(size) if state.init is None else graph.constants[state.init].astype(np.float64)
    spike = old > reset.threshold if reset.strict else old >= reset.threshold
    if not (reset.looks and spike.any()):
        return
    after = reset.value if reset.amount is None else old - reset.amount
    start = np.where(spike, after, old)
    state.init = graph.add_constant(graph.fresh(f"{state.name}.start"), start, f32(size))


def _leak(form: Affine, state: str) -> Matrix | None:
    """The factor [n] of a state in a form; None where it is none, or a full matrix."""
    return form.parts[state].diagonal() if state in form.parts else None
