"""Products, choices and rectified differences of two spikes: spikes again, without a memory.

`a b`, `a (1 - b)`, the larger and the smaller of two spikes are 1 for one, or for three, of the
four pairs of values. So a sum of both, weighted by 1 or -1, tells where: a comparison of it makes
neurons that forget, a layer as any other. These are AND, IAND and OR of residual networks (Fang et
al. 2021, SEW-ResNet, table 1).
"""

from collections.abc import Iterator

import numpy as np

from dmpc.ir.graph import Graph, Op
from dmpc.ir.registry import EvalContext, op_def
from dmpc.ir.types import boolean, f32
from dmpc.passes.recognition.affine import Forms, as_typed
from dmpc.passes.recognition.terms import Matrix, Term, pattern
from dmpc.passes.recognition.truths import COMPARISONS

GATES = ("mul", "where", "relu")
BETWEEN = ("cast", "take", "concat", "add", "sub", "neg", *GATES)  # a comparison and a gate
PAIRS = ((0, 0), (0, 1), (1, 0), (1, 1))


def with_gates(graph: Graph) -> Graph:
    """The graph whose products of two comparisons, and the like, are comparisons themselves."""
    while gates := list(_gates(graph)):
        forms = Forms(graph)
        made = {op.results[0]: found for op in gates if (found := _linear(forms, op))}
        if not made:
            break
        graph = _rewritten(graph, made)
    return graph


def _gates(graph: Graph) -> Iterator[Op]:
    """Ops that may be gates: of two comparisons or more, and of nothing else that is computed."""
    of: dict[str, frozenset[str]] = dict.fromkeys(graph.constants, frozenset())
    for op in graph.ops:
        if op.kind in COMPARISONS:
            of[op.results[0]] = frozenset(op.results)
        elif op.kind in BETWEEN and all(name in of for name in op.operands):
            of[op.results[0]] = frozenset().union(*(of[name] for name in op.operands))
            if op.kind in GATES and len(of[op.results[0]]) > 1:
                yield op


_Sum = tuple[dict[str, Term], Matrix]
"""Weights of two spike vectors and a bias: their sum is above a half where a gate gives 1."""


def _linear(forms: Forms, op: Op) -> _Sum | None:
    """A gate as a weighted sum; None if it is none, or none that a weighted sum tells."""
    size = forms.graph.types[op.results[0]].size
    operands = [forms.form(name).spread(size) for name in op.operands]
    leaves = list(dict.fromkeys(leaf for form in operands for leaf in form.parts))
    if len(leaves) != 2 or any(_kind(forms, leaf) not in COMPARISONS for leaf in leaves):
        return None
    terms = [[form.parts[leaf] for form in operands if leaf in form.parts] for leaf in leaves]
    read = [pattern(each) for each in terms]
    if any(np.any(term.sums() > 1) for term in read):
        return None
    given = []
    for pair in PAIRS:
        on = [leaf for leaf, one in zip(leaves, pair, strict=True) if one]
        arrays = [
            form.bias + sum(form.parts[leaf].sums() for leaf in on if leaf in form.parts)
            for form in operands
        ]
        given.append(op_def(op.kind).evaluate(EvalContext(), op.attrs, *as_typed(op, arrays))[0])
    found = _told(np.array(given, dtype=np.float64))
    if found is None:
        return None
    weights, bias = found
    each = zip(leaves, read, weights, strict=True)
    return {leaf: term.scaled(weight) for leaf, term, weight in each}, bias


def _kind(forms: Forms, leaf: str) -> str:
    return forms.producers[leaf].kind if leaf in forms.producers else ""


def _told(given: Matrix) -> tuple[Matrix, Matrix] | None:
    """Weights [2, n] and biases [n] that tell where `given` [4, n] is 1 for the pairs of spikes."""
    if not np.isin(given, (0, 1)).all():
        return None
    ones = given.sum(axis=0)
    rise = given[[2, 1]] - given[0]  # of each spike alone
    even = ones % 2 == 0
    if np.any(given[3, even] != (given[0] + rise.sum(axis=0))[even]):
        return None  # one or the other
    # One pair in four that differs from the others names the value of each spike.
    odd = np.array(PAIRS, dtype=np.float64)[np.where(ones == 1, given, 1 - given).argmax(axis=0)].T
    weights = np.where(ones == 1, 2 * odd - 1, 1 - 2 * odd)
    bias = np.where(ones == 1, (1 - odd).sum(axis=0) - 1, odd.sum(axis=0))
    return np.where(even, rise, weights), np.where(even, given[0], bias)


def _rewritten(graph: Graph, gates: dict[str, _Sum]) -> Graph:
    """The graph with a comparison in the place of each gate."""
    graph, ops = graph.copy(), graph.ops
    graph.ops = []
    for op in ops:
        if op.results[0] in gates:
            _compare(graph, op, *gates[op.results[0]])
        else:
            graph.ops.append(op)
    return graph


def _compare(graph: Graph, op: Op, terms: dict[str, Term], bias: Matrix) -> None:
    """Add a comparison with a half, of spikes as they are weighted, as what the gate gives."""
    (value,), type_ = op.results, f32(len(bias))
    half = graph.add_constant(graph.fresh(f"{value}.half"), np.array([0.5]), f32(1))
    total = graph.add_constant(graph.fresh(f"{value}.bias"), bias, type_)
    for leaf, term in terms.items():
        spikes, part, added = (graph.fresh(f"{value}.{n}") for n in ("spikes", "part", "sum"))
        matrix, size = term.matrix, graph.types[leaf].size
        weight = graph.fresh(f"{value}.weight")
        graph.add_constant(weight, matrix, f32(*matrix.shape))
        graph.add(Op("cast", (leaf,), (spikes,), {}, op.loc), f32(size))
        graph.add(Op("matmul", (spikes, weight), (part,), {}, op.loc), type_)
        graph.add(Op("add", (total, part), (added,), {}, op.loc), type_)
        total = added
    fires = graph.fresh(f"{value}.fires")
    graph.add(Op("gt", (total, half), (fires,), {}, op.loc), boolean(len(bias)))
    graph.ops.append(Op("cast", (fires,), (value,), {}, op.loc))
