"""Functions of a few spikes: spikes of neurons that forget, or sums of such.

What a value is where each of the spikes that it hangs on is 0 or 1 says which function it is,
however it is written. Where a weighted sum of the spikes tells 1 from 0, a comparison of it makes
neurons without a memory, a layer as any other: AND, IAND and OR of residual networks (Fang et al.
2021, SEW-ResNet, table 1). Any other function is a sum of the spikes and of what is 1 where
several of them are: one or the other is `a + b - 2 (a and b)`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np

from dmpc.ir.graph import Graph, Op
from dmpc.ir.ops_model import taken_indices
from dmpc.ir.registry import EvalContext, op_def
from dmpc.ir.types import boolean, f32
from dmpc.passes.recognition.affine import Forms, as_typed
from dmpc.passes.recognition.terms import Affine, Indices, Matrix
from dmpc.passes.recognition.truths import COMPARISONS

BENT = ("div", "eq", "floor", "fmod", "mod", "mul", "relu", "where")
STRAIGHT = ("add", "neg", "sub")
MOVES = ("concat", "take")
EACH = ("cast", *BENT, *STRAIGHT, *MOVES)
MOST = 4  # spikes that a value may hang on
LARGEST = 3  # weight of a sum that tells a function of so many


@dataclass(frozen=True)
class Spike:
    """A spike for each element of a vector: of `leaf`, at these `places` (int64, as bytes)."""

    leaf: str
    places: bytes

    @classmethod
    def at(cls, leaf: str, places: Indices) -> "Spike":
        """The spikes of a leaf at some places."""
        return cls(leaf, np.asarray(places, np.int64).tobytes())

    @property
    def indices(self) -> Indices:
        """The places."""
        return np.frombuffer(self.places, np.int64)


@dataclass(frozen=True)
class Table:
    """What a vector is for every value of its spikes.

    `rows` [2^k, n]: bit i of a row's number is the value of spike i.
    """

    spikes: tuple[Spike, ...]
    rows: Matrix

    @property
    def size(self) -> int:
        """Number of elements."""
        return len(self.rows[0])

    def taken(self, indices: Indices) -> "Table":
        """Some elements, in the order given."""
        spikes = (Spike.at(one.leaf, one.indices[indices]) for one in self.spikes)
        return Table(tuple(spikes), self.rows[:, indices])

    def over(self, spikes: Sequence[Spike]) -> Matrix:
        """The rows by the values of more spikes."""
        numbers = np.arange(1 << len(spikes))
        own = np.zeros_like(numbers)
        for place, one in enumerate(self.spikes):
            own |= ((numbers >> spikes.index(one)) & 1) << place
        rows: Matrix = self.rows[own]
        return rows

    def least(self) -> "Table":
        """The same without spikes on which no element hangs."""
        table = self
        for place in reversed(range(len(self.spikes))):
            numbers = np.arange(len(table.rows))
            low = numbers[(numbers >> place) & 1 == 0]
            if np.array_equal(table.rows[low], table.rows[low | 1 << place]):
                spikes = table.spikes[:place] + table.spikes[place + 1 :]
                table = Table(spikes, table.rows[low])
        return table


def with_gates(graph: Graph) -> Graph:
    """The graph in which functions of several comparisons are comparisons, or sums of such."""
    done = set[str]()
    while any(_gates(graph)):
        found = _Gates(graph)
        if found.made.keys() <= done:
            break
        done |= found.made.keys()
        graph = found.rewritten()
    return graph


def _gates(graph: Graph) -> Iterator[bool]:
    """Whether ops may be gates: of comparisons alone, in two places or more."""
    of: dict[str, frozenset[str]] = dict.fromkeys(graph.constants, frozenset())
    for op in graph.ops:
        if op.kind in COMPARISONS:
            of[op.results[0]] = frozenset(op.results)
        elif op.kind in EACH and all(name in of for name in op.operands):
            moved = op.results if op.kind == "take" else ()  # other spikes, if of the same neurons
            of[op.results[0]] = frozenset(moved).union(*(of[name] for name in op.operands))
            yield op.kind in BENT and len(of[op.results[0]]) > 1


class _Gates:
    """The functions of several spikes in a graph; `made` are those that are written anew."""

    def __init__(self, graph: Graph) -> None:
        self.graph, self.forms = graph, Forms(graph)
        self.tables: dict[str, Table] = {}
        self.made: dict[str, Table] = {}
        self.events = set(_events(graph))
        for op in graph.ops:
            table = self._table(op)
            if table is not None:
                self.tables[op.results[0]] = table.least()
        self._find()

    def _table(self, op: Op) -> Table | None:
        if op.kind in COMPARISONS:
            return _of_form(self.forms, self.forms.form(op.results[0]))
        if op.kind not in EACH:
            return None
        operands = [self._operand(name) for name in op.operands]
        known = [one for one in operands if one is not None]
        if len(known) < len(operands):
            return None
        if op.kind == "take":
            return known[0].taken(np.array(taken_indices(op.attrs), np.int64))
        return _joined(known) if op.kind == "concat" else _evaluated(op, known)

    def _operand(self, name: str) -> Table | None:
        if name in self.graph.constants:
            constant = self.graph.constants[name].astype(np.float64)
            return Table((), constant[None]) if constant.ndim == 1 else None
        return self.tables.get(name)

    def _find(self) -> None:
        """Enter what is read by anything else than another function of the same spikes."""
        roots = {*self.graph.outputs, *(state.next for state in self.graph.states)}
        for op in self.graph.ops:
            inner = op.results[0] in self.tables and op.kind not in COMPARISONS
            roots.update(() if inner else op.operands)
        left, seen = sorted(roots & self.tables.keys()), set[str]()
        while left:
            value = left.pop()
            if value in seen or not self._strange(value):
                continue
            seen.add(value)
            maker = self.forms.producers[value]
            parts = [name for name in maker.operands if name not in self.graph.constants]
            straight = maker.kind in (*STRAIGHT, *MOVES)
            straight |= maker.kind == "mul" and len(parts) == 1
            straight |= maker.kind == "div" and parts == [maker.operands[0]]
            table = self.tables[value]
            one_gate = len(table.spikes) == 2 and len(self._strange(value)) > 1
            if straight and not one_gate and told(table.rows) is None:
                left += parts
            else:
                self.made[value] = table

    def _strange(self, value: str) -> list[str]:
        """Leaves of a value that are no spikes: what is not seen to be a sum of such."""
        parts = self.forms.form(value).parts
        return [leaf for leaf in parts if _kind(self.forms, leaf) not in COMPARISONS]

    def rewritten(self) -> Graph:
        """The graph with comparisons, or sums of such, in the place of what is `made`."""
        graph, ops = self.graph.copy(), self.graph.ops
        graph.ops = []
        for op in ops:
            if op.results[0] in self.made:
                events = op.results[0] in self.events
                _Writer(graph, op).write(self.made[op.results[0]], events=events)
            else:
                graph.ops.append(op)
        return graph


def _events(graph: Graph) -> Iterator[str]:
    """What must be spikes if it is 0 and 1: what waits, and what convolutions read."""
    yield from (state.next for state in graph.states)
    producers = {op.results[0]: op for op in graph.ops}
    for op in graph.ops:
        source = op.operands[0] if op.kind == "conv" else ""
        while source:
            yield source
            maker = producers.get(source)
            source = maker.operands[0] if maker is not None and maker.kind == "take" else ""


def _kind(forms: Forms, leaf: str) -> str:
    return forms.producers[leaf].kind if leaf in forms.producers else ""


def _of_form(forms: Forms, form: Affine) -> Table | None:
    """The table of a sum of spikes, each element of which hangs on one of each leaf at most."""
    if len(form.parts) > MOST or any(_kind(forms, leaf) not in COMPARISONS for leaf in form.parts):
        return None
    spikes, rows = [], form.bias[None]
    for leaf, term in form.parts.items():
        places = term.peaks()
        weights = term.at(places)
        if not np.array_equal(weights, term.sums()):
            return None
        spikes.append(Spike.at(leaf, places))
        rows = np.concatenate([rows, rows + weights])
    return Table(tuple(spikes), rows)


def _evaluated(op: Op, operands: Sequence[Table]) -> Table | None:
    """What an op on each element makes of tables; None if it hangs on too much, or is infinite."""
    size = max(one.size for one in operands)
    wide = [one.taken(np.zeros(size, np.int64)) if one.size < size else one for one in operands]
    spikes = list(dict.fromkeys(spike for one in wide for spike in one.spikes))
    if len(spikes) > MOST:
        return None
    arrays = as_typed(op, [one.over(spikes) for one in wide])
    with np.errstate(all="ignore"):
        rows = op_def(op.kind).evaluate(EvalContext(), op.attrs, *arrays)[0].astype(np.float64)
    return Table(tuple(spikes), rows) if np.isfinite(rows).all() else None


def _joined(parts: Sequence[Table]) -> Table | None:
    """Tables one after the other; the spikes of a part are looked at nowhere else."""
    if sum(len(one.spikes) for one in parts) > MOST:
        return None
    spikes: list[Spike] = []
    columns = []
    for number, part in enumerate(parts):
        before, after = (
            sum(one.size for one in some) for some in (parts[:number], parts[number + 1 :])
        )
        numbers = np.arange(1 << sum(len(one.spikes) for one in parts))
        columns.append(part.rows[(numbers >> len(spikes)) & (len(part.rows) - 1)])
        for one in part.spikes:
            places = np.concatenate([np.zeros(before), one.indices, np.zeros(after)])
            spikes.append(Spike.at(one.leaf, places))
    return Table(tuple(spikes), np.concatenate(columns, axis=1))


def told(rows: Matrix) -> tuple[Matrix, Matrix] | None:
    """Weights [k, n] and biases [n] of sums that are 1 or more where `rows` [2^k, n] are 1.

    Where those are 0, the sums are 0 or less. None if they are other numbers, or no sum is that.
    """
    if not np.isin(rows, (0, 1)).all():
        return None
    functions, each = np.unique(rows.astype(np.bool_), axis=1, return_inverse=True)
    found = [_sum_of(one.tobytes()) for one in functions.T.copy()]
    known = [one for one in found if one is not None]
    if len(known) < len(found):
        return None
    weights = np.array([one for one, _ in known], np.float64).reshape(len(known), -1).T
    biases = np.array([bias for _, bias in known], np.float64)
    return weights[:, each.reshape(-1)], biases[each.reshape(-1)]


@cache
def _sum_of(function: bytes) -> tuple[tuple[int, ...], int] | None:
    """The least whole weights and the bias of a sum that tells where a function is true."""
    true = np.frombuffer(function, np.bool_)
    k = len(true).bit_length() - 1
    numbers = np.arange(len(true))
    every = sorted(
        product(range(-LARGEST, LARGEST + 1), repeat=k), key=lambda one: (sum(map(abs, one)), one)
    )
    sums = np.array(every).reshape(-1, k) @ np.array(
        [(numbers >> i) & 1 for i in range(k)]
    ).reshape(k, -1)
    if not true.any():
        return (0,) * k, 0
    least = sums[:, true].min(axis=1)
    (fit,) = np.nonzero(least > sums[:, ~true].max(axis=1, initial=-(1 << 30)))
    return (every[fit[0]], int(1 - least[fit[0]])) if fit.size else None


class _Writer:
    """Writes what an op gives in another way, in its place."""

    def __init__(self, graph: Graph, op: Op) -> None:
        self.graph, self.op, self.value = graph, op, op.results[0]
        self.casts: dict[str, str] = {}

    def write(self, table: Table, *, events: bool) -> None:
        """The value as a comparison, or as a sum; truth values, and spikes that are read as
        `events`, are always comparisons."""
        binary = np.isin(table.rows, (0, 1)).all()
        if (found := told(table.rows)) is not None:
            total = self._sum(dict(zip(table.spikes, found[0], strict=True)), found[1])
        else:
            total = self._polynomial(table)
        if found is not None or (binary and events) or self.graph.types[self.value].dtype == "bool":
            self._compare(total, table.size, self.value)
            return
        zero = self._constant("zero", np.zeros(1))
        self.graph.ops.append(Op("add", (total, zero), (self.value,), {}, self.op.loc))

    def _polynomial(self, table: Table) -> str:
        """The sum of spikes, and of what is 1 where several are, that a table is."""
        factors = table.rows.copy()
        for place in range(len(table.spikes)):
            numbers = np.arange(len(factors))
            high = numbers[(numbers >> place) & 1 == 1]
            factors[high] -= factors[high ^ 1 << place]
        weights: dict[Spike, Matrix] = {}
        for number in range(1, len(factors)):
            if not factors[number].any():
                continue
            spikes = [one for i, one in enumerate(table.spikes) if number >> i & 1]
            if len(spikes) > 1:
                ones = np.ones(table.size)
                total = self._sum(dict.fromkeys(spikes, ones), ones - len(spikes))
                all_ = self.graph.fresh(f"{self.value}.all")
                self._compare(total, table.size, all_)
                spikes = [Spike.at(all_, np.arange(table.size))]
            weights[spikes[0]] = factors[number]
        return self._sum(weights, factors[0])

    def _sum(self, weights: Mapping[Spike, Matrix], bias: Matrix) -> str:
        """A weighted sum of spikes."""
        size = len(bias)
        total = self._constant("bias", bias)
        for spike, factors in weights.items():
            places = spike.indices
            part = self._number(spike.leaf)
            if not np.array_equal(places, np.arange(self.graph.types[part].size)):
                attrs = {"indices": tuple(map(int, places))}
                part = self._add("take", (part,), size, "spikes", **attrs)
            part = self._add("mul", (part, self._constant("weight", factors)), size, "part")
            total = self._add("add", (total, part), size, "sum")
        return total

    def _compare(self, total: str, size: int, value: str) -> None:
        """Enter as `value` where a sum is more than a half."""
        half = self._constant("half", np.array([0.5]))
        fires = value
        truth = value in self.graph.types and self.graph.types[value].dtype == "bool"
        if not truth:
            fires = self.graph.fresh(f"{self.value}.fires")
        made = Op("gt", (total, half), (fires,), {}, self.op.loc)
        if truth:
            self.graph.ops.append(made)
            return
        self.graph.add(made, boolean(size))
        cast = Op("cast", (fires,), (value,), {}, self.op.loc)
        if value in self.graph.types:
            self.graph.ops.append(cast)
        else:
            self.graph.add(cast, f32(size))

    def _number(self, leaf: str) -> str:
        """A leaf as 0 and 1."""
        if self.graph.types[leaf].dtype != "bool":
            return leaf
        if leaf not in self.casts:
            self.casts[leaf] = self._add("cast", (leaf,), self.graph.types[leaf].size, "spikes")
        return self.casts[leaf]

    def _add(
        self, kind: str, operands: tuple[str, ...], size: int, part: str, **attrs: tuple[int, ...]
    ) -> str:
        name = self.graph.fresh(f"{self.value}.{part}")
        self.graph.add(Op(kind, operands, (name,), dict(attrs), self.op.loc), f32(size))
        return name

    def _constant(self, part: str, array: Matrix) -> str:
        name = self.graph.fresh(f"{self.value}.{part}")
        return self.graph.add_constant(name, array, f32(*array.shape))
