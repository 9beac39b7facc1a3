"""Floors and ceilings of membranes: found, taken out of the graph, and given to the neurons.

A limit is a rectifier on a membrane's way from one timestep to the next, `max(v, low) = low +
relu(v - low)`, however it is written. It may stand before the comparison, behind the reset, or at
the start of a timestep. With the limits taken out the rest is found as ever. Then every rectifier
is looked at as an unknown of its own: what the charge, or what a silent neuron keeps, is where it
is zero is the limit. The machine cuts charges off before they spike; limits of what a spike leaves
are brought there where that is the same.
"""

from collections.abc import Set
from dataclasses import dataclass, replace

import numpy as np

from dmpc.ir.graph import Graph, Op, State
from dmpc.ir.ops_layers import LIMITS, NO_LIMIT
from dmpc.ir.prune import prune
from dmpc.ir.types import f32
from dmpc.ir.wires import Wires
from dmpc.passes.recognition.affine import Forms
from dmpc.passes.recognition.network import Kept, Kind, Network, Neurons
from dmpc.passes.recognition.neuron_rules import (
    LIMIT_ELSEWHERE,
    LIMIT_OF_THE_REST,
    LIMITS_BESIDE,
)
from dmpc.passes.recognition.terms import Affine, Matrix, near
from dmpc.passes.recognition.truths import COMPARISONS

LIMITED = "clif"
"""The op of neurons with limits."""


def without_limits(graph: Graph) -> tuple[Graph, frozenset[str]]:
    """The graph without limits of membranes; the values that were cut off, which have their names.

    A choice between a value and a limit by their comparison is one, too.
    """
    graph = _rectified(graph)
    passed = _candidates(graph)
    cut = {
        name
        for name, states in passed.items()
        for forms in [Forms(_through(graph, passed.keys() - {name}))]
        if any(_limits_a_membrane(forms, name, state) for state in states)
    }
    return _unclipped(_through(graph, cut)), frozenset(cut)


def _through(graph: Graph, cut: Set[str]) -> Graph:
    """The graph with what some rectifiers cut off in their place."""
    if not cut:
        return graph
    graph = graph.copy()
    for op in graph.ops:
        if op.results[0] in cut:
            size = graph.types[op.results[0]].size
            zero = graph.add_constant(graph.fresh("limit"), np.zeros(size), f32(size))
            op.kind, op.operands = "add", (*op.operands, zero)
    return graph


def _unclipped(graph: Graph) -> Graph:
    """The graph whose comparisons of what is cut off, and charges nothing else, look at what it is
    cut off from: neurons that keep nothing of their membranes have such limits."""
    forms = Forms(graph)
    found = {
        op.results: made
        for op in graph.ops
        if op.kind in COMPARISONS and (made := _beneath(graph, forms, op)) is not None
    }
    if not found:
        return graph
    graph = graph.copy()
    for results, (value, gain, least) in found.items():
        op = next(one for one in graph.ops if one.results == results)
        over, by, limit = (graph.fresh(f"{results[0]}.{n}") for n in ("over", "by", "limit"))
        type_ = f32(len(gain))
        graph.add_constant(by, gain, type_)
        graph.add_constant(limit, least, type_)
        graph.add(Op("mul", (value, by), (over,), {}, op.loc), type_)
        op.operands = (over, limit)
    graph.ops = graph.toposort()
    return _unclipped(prune(graph))


def _beneath(graph: Graph, forms: Forms, op: Op) -> tuple[str, Matrix, Matrix] | None:
    """What a comparison of nothing but a rectifier's result says of its operand: that this, times
    some factors, is above a threshold. None of other comparisons."""
    over = forms.difference(op.results[0])
    (leaf, *others) = over.parts or ("",)
    cut = graph.producer(leaf)
    if others or cut is None or cut.kind != "relu":
        return None
    gain = over.parts[leaf].diagonal()
    if gain is None or not gain.all():
        return None
    at, rises = -over.bias / gain, gain > 0
    heard = (at > 0) | ((at == 0) & (rises == (op.kind == "gt")))
    if not heard.any():
        return None
    # Elsewhere it is always true, or never.
    least = np.where(heard, -over.bias, np.where(rises, -1.0, 1.0))
    return cut.operands[0], gain * heard, least


def _rectified(graph: Graph) -> Graph:
    """The graph with all limits `low + relu(v - low)` or `high - relu(high - v)`.

    They may be `v + relu(low - v)`, `v - relu(v - high)`, or a choice by a comparison.
    """
    forms = Forms(graph)
    found = {op.results: one for op in graph.ops if (one := _written(graph, forms, op))}
    if not found:
        return graph
    graph = graph.copy()
    for results, (value, limit, below) in found.items():
        (name,) = results
        op = next(one for one in graph.ops if one.results == results)
        over, kept = (graph.fresh(f"{name}.{part}") for part in ("over", "kept"))
        constant = graph.add_constant(graph.fresh(f"{name}.limit"), limit, f32(len(limit)))
        apart = (value, constant) if below else (constant, value)
        graph.ops[graph.ops.index(op) : graph.ops.index(op)] = [
            Op("sub", apart, (over,), {}, op.loc), Op("relu", (over,), (kept,), {}, op.loc)
        ]  # fmt: skip
        graph.types |= dict.fromkeys((over, kept), f32(len(limit)))
        op.kind, op.operands = "add" if below else "sub", (constant, kept)
    return prune(graph)


def _written(graph: Graph, forms: Forms, op: Op) -> tuple[str, Matrix, bool] | None:
    """The value that an op limits, by what, and whether from below; None if it does not."""
    if op.kind == "where":
        return _chosen(graph, forms, op)
    if op.kind not in ("add", "sub"):
        return None
    for value, other in (op.operands, op.operands[::-1]):
        cut = forms.producers.get(other)
        if cut is None or cut.kind != "relu" or (op.kind == "sub" and other != op.operands[1]):
            continue
        sign = 1.0 if op.kind == "add" else -1.0
        over = forms.form(cut.operands[0]).scaled(np.full(forms.form(other).size, sign))
        limit = _constant(over, forms.form(value).scaled(-np.ones(forms.form(value).size)))
        if limit is not None:
            return value, limit, op.kind == "add"
    return None


def _chosen(graph: Graph, forms: Forms, op: Op) -> tuple[str, Matrix, bool] | None:
    """The limit that a choice between a value and a constant by their comparison is."""
    compared = forms.producers.get(op.operands[0])
    if compared is None or compared.kind not in COMPARISONS or len(graph.users(op.operands[0])) > 1:
        return None  # of others, it makes spikes
    size = graph.types[op.results[0]].size
    one, other = (forms.form(name).spread(size) for name in op.operands[1:])
    if bool(one.parts) == bool(other.parts):
        return None
    difference = forms.difference(op.operands[0])
    value, limit = op.operands[1:] if one.parts else op.operands[:0:-1]
    for sign in (1.0, -1.0):
        chosen = one.plus(other, -1.0)
        if chosen.scaled(np.full(chosen.size, sign)).close(difference):
            return value, np.resize(forms.form(limit).bias, size), sign > 0
    return None


def _constant(one: Affine, other: Affine) -> Matrix | None:
    """By how much two forms differ, if it is a constant."""
    alike = one.size == other.size and one.parts and one.parts.keys() == other.parts.keys()
    if not alike or not all(term.near(other.parts[leaf]) for leaf, term in one.parts.items()):
        return None
    return one.bias - other.bias


def _candidates(graph: Graph) -> dict[str, list[State]]:
    """Rectifiers that states go through from one timestep to the next, with these states."""
    wires, found = graph.wires(), dict[str, list[State]]()
    for name in (op.results[0] for op in graph.ops if op.kind == "relu"):
        type_ = f32(graph.types[name].size)
        alike = [state for state in graph.states if graph.types[state.name] == type_]
        states = [state for state in alike if _passes(wires, name, state)]
        if states:
            found[name] = states
    return found


def _passes(wires: Wires[str | int], name: str, state: State) -> bool:
    """Whether a state goes through a value from one timestep to the next."""
    return state.name in wires.above(name) and state.next in {name, *wires.below(name)}


def _limits_a_membrane(forms: Forms, name: str, state: State) -> bool:
    """Whether a rectifier cuts off what a state becomes where a comparison that looks at it is
    given."""
    if name not in forms.shared:  # what it cuts off is a constant, or multiplied by zeros
        return False
    (argument,) = forms.producers[name].operands
    wires = forms.graph.wires()
    looking = {forms.shared[one][0] for one in forms.shared if state.name in wires.above(one)}
    compared = [one for one in looking if forms.producers[one].kind in COMPARISONS]
    here = forms.shared[name][0]
    if not compared:  # a readout's, or a current's, which has no place
        within, after = forms.form(argument), forms.form(state.next)
        own, cut = within.parts.get(state.name), after.parts.get(here)
        found = (term is not None and term.diagonal() is not None for term in (own, cut))
        return all(found) and state.name not in after.parts
    for leaf in compared:
        for value in (0.0, 1.0):
            assumed = forms.assuming(leaf, np.full(forms.graph.types[leaf].size, value))
            within, after = assumed.form(argument), assumed.form(state.next)
            own = within.parts.get(state.name)
            kept = after.parts.get(here)
            if own is not None and kept is not None and kept.diagonal() is not None:
                return own.diagonal() is not None
    return False


@dataclass(frozen=True)
class _Limit:
    """A limit [n] of charges, or `late` of what a timestep leaves."""

    value: Matrix
    below: bool
    late: bool


def limited(network: Network, layer: Neurons, state: State, cut: frozenset[str]) -> Neurons:
    """Neurons with the limits of their membranes among what was cut off.

    Raises CompileError for a limit that has no place among the machine's.
    """
    mine = [name for name in sorted(cut) if _passes(network.wires, name, state)]
    none = np.full(len(layer.beta), NO_LIMIT)
    for name in mine:
        limit = _limit(network, layer, state, name)
        if layer.kind is not None and layer.kind.op != LIMITED:
            of = network.name(state.name)
            raise network.failure(LIMITS_BESIDE, name, culprits=[], state=of)
        if limit is None:
            raise network.failure(
                LIMIT_ELSEWHERE, name, culprits=[], state=network.name(state.name)
            )
        if limit.late:
            layer, limit = _brought_forward(network, layer, state, limit)
        floor, ceiling = _limits_of(layer) or (-none, none)
        if limit.below:
            floor = np.maximum(floor, limit.value)
        else:
            ceiling = np.minimum(ceiling, limit.value)
        layer = replace(layer, kind=Kind(LIMITED, dict(zip(LIMITS, (floor, ceiling), strict=True))))
    limits = _limits_of(layer)
    if limits and all(np.all(np.abs(one) >= NO_LIMIT) for one in limits):
        return replace(layer, kind=None)
    return layer


def _limits_of(layer: Neurons) -> tuple[Matrix, Matrix] | None:
    """Floor and ceiling of neurons that have them."""
    if layer.kind is None or layer.kind.op != LIMITED:
        return None
    floor, ceiling = (layer.kind.behind[role] for role in LIMITS)
    assert not isinstance(floor, Kept)
    assert not isinstance(ceiling, Kept)
    return floor, ceiling


def _limit(network: Network, layer: Neurons, state: State, name: str) -> _Limit | None:
    """The limit that a rectifier is; None if it is something else."""
    given, spikes = network.forms, layer.spikes
    forms = Forms(network.graph, stops=given.stops | {name}, flipped=given.flipped, base=given)
    difference = forms.difference(spikes)
    silent = forms.assuming(spikes, np.zeros(difference.size)).form(state.next)
    difference = difference.taken(np.arange(len(layer.beta)))  # the first of several times
    if spikes in given.flipped:
        difference = difference.scaled(-np.ones(difference.size))
    own, kept = difference.parts.get(name), silent.parts.get(name)
    if kept is None or (gain := kept.diagonal()) is None or not gain.all():
        return None
    if len(silent.parts) > 1:  # what it limits is charged only then
        return _at_the_start(network, state, name, {*silent.parts, *difference.parts})
    below = gain > 0
    if below.any() != below.all():
        return None
    if own is not None:
        scale = own.diagonal()
        if scale is None or not (scale * gain > 0).all() or len(difference.parts) > 1:
            return None
        if not near(difference.bias * gain / scale, silent.bias - layer.threshold):
            return None
    return _Limit(silent.bias, bool(below.all()), late=own is None)


def _at_the_start(network: Network, state: State, name: str, beside: set[str]) -> _Limit | None:
    """The limit of a membrane that is cut off before anything charges it."""
    producer = network.graph.producer(name)
    assert producer is not None
    form = network.forms.form(producer.operands[0])
    gain = form.parts[state.name].diagonal() if set(form.parts) == {state.name} else None
    if gain is None or state.name in beside or not (np.all(gain > 0) or np.all(gain < 0)):
        return None
    value = -form.bias / gain
    start = np.zeros(form.size)
    if state.init is not None:
        start = np.resize(network.graph.constants[state.init], form.size).astype(np.float64)
    below = bool(gain[0] > 0)
    return None if np.any(start < value if below else start > value) else _Limit(value, below, True)


def _brought_forward(
    network: Network, layer: Neurons, state: State, limit: _Limit
) -> tuple[Neurons, _Limit]:
    """A limit of what a timestep leaves as one of charges, before they spike."""
    value, threshold, reset = limit.value, layer.threshold, layer.reset
    reached = value > threshold if layer.strict else value >= threshold
    clear = ~reached if limit.below else value >= threshold
    if not layer.subtract:
        cut = np.maximum if limit.below else np.minimum
        none = NO_LIMIT * np.where(limit.below, -1, 1)
        layer = replace(layer, reset=cut(reset, value))
        value = value if limit.below else np.broadcast_to(none, value.shape)
    elif limit.below:
        clear &= threshold - reset >= value
    else:
        value = value + reset
        clear &= (value >= threshold) & (layer.times == 1)
    if not clear.all():
        name = network.name(state.name)
        raise network.failure(LIMIT_OF_THE_REST, state.name, culprits=[], state=name)
    return layer, replace(limit, value=value, late=False)


def check_limits(network: Network, cut: frozenset[str], states: list[State]) -> None:
    """Raise CompileError for what was cut off and is on the way of none of these membranes."""
    for name in sorted(cut):
        if not any(_passes(network.wires, name, state) for state in states):
            passed = [s for s in network.graph.states if _passes(network.wires, name, s)]
            of = network.names(state.name for state in passed)
            raise network.failure(LIMIT_ELSEWHERE, name, culprits=[], state=of)
