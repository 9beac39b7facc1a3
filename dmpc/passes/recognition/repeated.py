"""Neurons that spike several times in a timestep: comparisons of one charge, one vector together.

`floor(v / theta)` spikes are as many comparisons of v, with theta, 2 theta and so on. They become
one comparison whose vector holds those of the lowest threshold first; whatever read one of them
takes its part of the vector. Of a count without end, the first two stand for all.
"""

from collections.abc import Mapping, Set
from dataclasses import dataclass

import numpy as np

from dmpc.errors import CompileError
from dmpc.ir.graph import Graph, Op, State
from dmpc.ir.types import boolean, f32
from dmpc.passes.recognition.affine import Forms
from dmpc.passes.recognition.network import Network
from dmpc.passes.recognition.neuron_rules import COUNTED_SPIKES, ENDLESS_COUNT
from dmpc.passes.recognition.terms import Affine, Matrix, near, ratio
from dmpc.passes.recognition.truths import COMPARISONS


@dataclass(frozen=True)
class _Threshold:
    """A comparison of a charge, in its unit, with a number [n]."""

    leaf: str
    charge: Affine
    value: Matrix


FIRST = 2
"""How many comparisons stand for a count without end: all but the first are read alike."""


def without_counts(graph: Graph) -> tuple[Graph, Mapping[str, Op]]:
    """The graph with comparisons in place of counts; those of each, with the count."""
    counts = [op for op in graph.ops if op.kind == "reached"]
    if not counts:
        return graph, {}
    graph, found = graph.copy(), dict[str, Op]()
    for old in counts:
        (op,) = (op for op in graph.ops if op.results == old.results)
        (height,), (result,) = op.operands, op.results
        size, kind, parts = graph.types[height].size, "gt" if op.attrs["strict"] else "ge", []
        for number in range(1, FIRST + 1):
            at, over, part = (
                graph.fresh(f"{result}.{name}{number}") for name in ("at", "over", "part")
            )
            graph.add_constant(at, np.full(size, float(number)), f32(size))
            graph.add(Op(kind, (height, at), (over,), {}, op.loc), boolean(size))
            graph.add(Op("cast", (over,), (part,), {}, op.loc), f32(size))
            found[over] = old
            parts.append(part)
        op.kind, op.operands, op.attrs = "add", tuple(parts), {}
    graph.ops = graph.toposort()
    return graph, found


def holds(graph: Graph, counts: Mapping[str, Op]) -> bool:
    """Whether comparisons that stand for counts are left."""
    return any(op.results[0] in counts and op.kind in COMPARISONS for op in graph.ops)


def joined(
    graph: Graph, counts: Mapping[str, Op]
) -> tuple[Graph, frozenset[str], CompileError | None]:
    """The graph with comparisons that reset one membrane, evenly apart, as parts of one; those
    among these that stand for a count without end; the error of such a count of anything else."""
    forms = Forms(graph)
    families: list[list[_Threshold]] = []
    for leaf in dict.fromkeys(leaf for leaf, _ in forms.shared.values()):
        if forms.producers[leaf].kind in COMPARISONS:
            _sort_in(families, forms, leaf)
    several = [family for family in families if len(family) > 1 and _reset_one(graph, family)]
    endless = {forms.shared[name][0]: op for name, op in counts.items() if name in forms.shared}
    found, made = set[str](), set[str]()
    for family in several:
        leaves = {one.leaf for one in family}
        counting = endless.keys() & leaves
        if counting and counting != leaves:
            continue
        graph, every = _as_one(graph, forms, sorted(family, key=lambda one: one.value.sum()))
        made.add(every)
        found |= {every} if counting else set()
        endless = {leaf: op for leaf, op in endless.items() if leaf not in leaves}
    errors = (
        CompileError.of(ENDLESS_COUNT, where=f"{graph.name}: {op.loc[0]}", nodes=op.loc)
        for op in endless.values()
    )
    return _holding_events(graph, made), frozenset(found), next(errors, None)


def _holding_events(graph: Graph, comparisons: Set[str]) -> Graph:
    """The graph whose states hold spikes of comparisons where they held a linear map of them."""
    forms, held = Forms(graph), list[tuple[State, str, Matrix]]()
    for state in graph.states if comparisons else ():
        form = forms.form(state.next)
        if state.init is None and not form.bias.any() and len(form.parts) == 1:
            ((leaf, term),) = form.parts.items()
            held += [(state, leaf, term.matrix)] if leaf in comparisons else []
    if not held:
        return graph
    graph = graph.copy()
    for state, leaf, matrix in held:
        names = (graph.fresh(f"{state.name}.{part}") for part in ("spikes", "held", "weight"))
        spikes, before, weight = names
        size = f32(graph.types[leaf].size)
        graph.add(Op("cast", (leaf,), (spikes,), {}, state.loc), size)
        graph.types[before] = size
        graph.states = [one for one in graph.states if one.name != state.name]
        graph.states.append(State(before, spikes, None, state.loc))
        graph.add_constant(weight, matrix, f32(*matrix.shape))
        graph.ops.append(Op("matmul", (before, weight), (state.name,), {}, state.loc))
    graph.ops = graph.toposort()
    return graph


def _sort_in(families: list[list[_Threshold]], forms: Forms, leaf: str) -> None:
    """Put a comparison beside those of the same charge."""
    difference = forms.difference(leaf)
    for family in families:
        (first, *_) = family
        alike = forms.producers[first.leaf].kind == forms.producers[leaf].kind
        if not alike or first.charge.parts.keys() != difference.parts.keys():
            continue
        if first.charge.size != difference.size or not difference.parts:
            continue
        factor = ratio(difference, first.charge, "")
        if not (factor > 0).all():
            continue
        unit = difference.scaled(1.0 / factor)
        if all(term.near(first.charge.parts[name]) for name, term in unit.parts.items()):
            family.append(_Threshold(leaf, unit, -unit.bias))
            return
    families.append([_Threshold(leaf, difference, -difference.bias)])


def _reset_one(graph: Graph, family: list[_Threshold]) -> bool:
    """Whether comparisons look at a state, and all of them change it."""
    wires, (first, *_) = graph.wires(), family
    return any(
        state.name in first.charge.parts
        and all(state.next in wires.below(one.leaf) for one in family)
        for state in graph.states
    )


def _as_one(graph: Graph, forms: Forms, family: list[_Threshold]) -> tuple[Graph, str]:
    """The graph with one comparison in the place of several, and that."""
    graph = graph.copy()
    size, number = graph.types[family[0].leaf].size, len(family)
    old = {one.leaf: graph.producer(one.leaf) for one in family}
    parts, loc = [], tuple(dict.fromkeys(n for op in old.values() if op for n in op.loc))
    for op in filter(None, old.values()):
        parts.append(graph.fresh(f"{op.results[0]}.over"))
        graph.add(Op("sub", op.operands, (parts[-1],), {}, op.loc), f32(size))
    over, zero, every = (
        graph.fresh(f"{family[0].leaf}.{name}") for name in ("all", "zero", "each")
    )
    graph.add(Op("concat", tuple(parts), (over,), {}, loc), f32(size * number))
    graph.add_constant(zero, np.zeros(size * number), f32(size * number))
    kind = forms.producers[family[0].leaf].kind
    graph.add(Op(kind, (over, zero), (every,), {}, loc), boolean(size * number))
    place = {one.leaf: at for at, one in enumerate(family)}
    for op in graph.ops:
        leaf, opposite = forms.shared.get(op.results[0], ("", True))
        if leaf in place and not opposite and op.results[0] != every:
            first = place[leaf] * size
            op.kind, op.operands = "take", (every,)
            op.attrs = {"indices": tuple(range(first, first + size))}
    graph.ops = graph.toposort()
    return graph, every


def amount_of(
    network: Network, state: str, after: str, comparison: str, ends: tuple[Affine, Affine]
) -> Matrix:
    """What each of several spikes takes off a membrane, whose next values are `ends` without spikes
    and with all of them. Raises CompileError unless it is what the thresholds are apart."""
    forms, (none, every) = network.forms, ends
    difference = forms.difference(comparison)
    number = difference.size // none.size
    blocks = [difference.taken(np.arange(none.size) + at * none.size) for at in range(number)]
    same = every.parts.keys() == none.parts.keys()
    same = same and all(term.near(every.parts[leaf]) for leaf, term in none.parts.items())
    amount: Matrix = (none.bias - every.bias) / number
    if same:
        same = all(
            near(blocks[0].bias - one.bias, at * _in_unit(blocks[0], none, amount))
            for at, one in enumerate(blocks)
        )
    pattern = np.random.default_rng(none.size).integers(0, 2, difference.size).astype(np.float64)
    found = forms.assuming(comparison, pattern).form(after)
    taken = Affine(amount * pattern.reshape(number, -1).sum(axis=0), {})
    if not same or not found.close(none.plus(taken, -1.0)):
        raise network.failure(
            COUNTED_SPIKES, state, culprits=[comparison], state=network.name(state)
        )
    return amount


def _in_unit(block: Affine, charge: Affine, amount: Matrix) -> Matrix:
    """An amount of a charge in the unit of what is compared."""
    return amount * ratio(block, charge, "")
