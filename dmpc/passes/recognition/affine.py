"""Affine normal form of a graph's values: every algebraic spelling of a sum collapses into one.

A value is `bias + sum over leaves of matrix · leaf`, in float64. Leaves are inputs, states, results
of `relu` and of comparisons, and values at which the caller asks to stop. What is not affine (a
product of two computed values, a choice) is a leaf of its own, called opaque. Any function of one
0/1 number is affine in it: a spike that is compared, rectified or multiplied again stays a spike.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from dmpc.ir.graph import Graph, Op
from dmpc.ir.ops_convolution import Convolution
from dmpc.ir.ops_model import taken_indices
from dmpc.ir.registry import EvalContext, op_def
from dmpc.passes.recognition.planes import MOST, by_channel, standing
from dmpc.passes.recognition.terms import Affine, Indices, Matrix, Term, affine, pattern
from dmpc.passes.recognition.truths import COMPARISONS, held_truths, is_neuron

TIMING = ("eq", "mod", "fmod", "floor", "reached")  # affine in 0/1 numbers alone


class Forms:
    """Affine forms of a graph's values.

    `stops` are values that are leaves although they could be expanded. `assumed` gives spikes a
    value, by leaf. `flipped` are comparisons that are true where there is no spike: their leaf is
    taken to be the spike. Equal comparisons and equal rectifiers share one leaf; those that look at
    nothing but 0/1 numbers are none, but for `firm` ones: neurons whose weights and leak are zero,
    which would be gone with all that they feed.
    """

    def __init__(
        self,
        graph: Graph,
        *,
        stops: frozenset[str] = frozenset(),
        flipped: frozenset[str] = frozenset(),
        base: "Forms | None" = None,
    ) -> None:
        self.graph = graph
        self.stops = stops
        self.flipped = flipped
        self.producers = {op.results[0]: op for op in graph.ops}
        # result of a comparison or relu -> its leaf, and whether it is the leaf's opposite
        self.shared: dict[str, tuple[str, bool]] = base.shared if base else {}
        self.firm: set[str] = base.firm if base else set()
        self.assumed: Mapping[str, Matrix] = {}
        self.known: dict[str, Affine] = {}
        self._below: dict[str, frozenset[str]] = base._below if base else {}
        self.truths: frozenset[str] = base.truths if base else held_truths(graph)
        if base is None:
            self._share()

    def assuming(self, leaf: str, value: Matrix) -> "Forms":
        """The forms where a spike vector, or a state that holds one, has a given value [n]."""
        other = Forms(self.graph, stops=self.stops, flipped=self.flipped, base=self)
        other.assumed = {**self.assumed, leaf: value}
        other.known = {
            name: form for name, form in self.known.items() if name not in self._told_by(leaf)
        }
        return other

    def _told_by(self, leaf: str) -> frozenset[str]:
        """Everything that a spike has a part in within its timestep, and it itself."""
        if leaf not in self._below:
            values = {leaf, *(name for name, (own, _) in self.shared.items() if own == leaf)}
            for op in self.graph.ops:
                if not values.isdisjoint(op.operands):
                    values.update(op.results)
            self._below[leaf] = frozenset(values)
        return self._below[leaf]

    def form(self, value: str) -> Affine:
        """The affine form of a value."""
        if value not in self.known:
            self.known[value] = self._form(value)
        return self.known[value]

    def difference(self, comparison: str) -> Affine:
        """Left less right side of a comparison."""
        left, right = self.producers[comparison].operands
        return self.form(left).plus(self.form(right), -1.0)

    def leaf(self, name: str) -> Affine:
        """A leaf's own form."""
        size = self.graph.types[name].size
        return Affine(np.zeros(size), {name: Term(np.ones(size))})

    def opaque(self, leaf: str) -> bool:
        """True for a leaf that is there because its value is not affine."""
        kind = self.producers[leaf].kind if leaf in self.producers else ""
        return kind not in ("", "conv", "relu", *COMPARISONS) and leaf not in self.stops

    def _form(self, value: str) -> Affine:
        if value in self.graph.constants:
            return Affine(self.graph.constants[value].astype(np.float64), {})
        if value in self.stops or value not in self.producers:
            return Affine(self.assumed[value], {}) if value in self.assumed else self.leaf(value)
        return self._result(self.producers[value], value)

    def _result(self, op: Op, value: str) -> Affine:
        if op.kind in COMPARISONS or op.kind == "relu":
            return self._kinked(op, value)
        if op.kind in TIMING:
            return self._of_truth(op) or self.leaf(value)
        if op.kind == "conv":
            return self._convolved(op, value)
        if op.kind == "take":
            return self._taken(op.operands[0], np.array(taken_indices(op.attrs), np.int64))
        if op.kind == "matmul":
            return self._mapped(op.operands[0], self._constant(op.operands[1]))
        forms = [self.form(operand) for operand in op.operands]
        if op.kind in ("add", "sub"):
            return forms[0].plus(forms[1], 1.0 if op.kind == "add" else -1.0)
        if op.kind == "neg":
            return forms[0].scaled(-np.ones(forms[0].size))
        if op.kind == "cast":
            return forms[0]
        if op.kind == "concat":
            return self._concat(forms)
        size = self.graph.types[value].size
        forms = [form.spread(size) for form in forms]
        found = self._where(*forms) if op.kind == "where" else self._product(op.kind, *forms)
        return found or self._of_truth(op) or self.leaf(value)

    def _convolved(self, op: Op, value: str) -> Affine:
        """A convolution: a leaf of its own, unless what it reads is itself a linear map, or a sum,
        as where it is padded by what lies at its edges; then multiplied out, if that is small."""
        form, weight = self.form(op.operands[0]), self._constant(op.operands[1])
        made = Convolution.of(op.attrs, weight.shape)
        small = made.inputs * made.places * made.outputs <= MOST
        if not form.parts or not small or any(map(self.opaque, form.parts)):
            return self.leaf(value)
        if self._stands(form, made):
            return self.leaf(value)
        return form.mapped(made.apply(np.eye(made.inputs), weight).T)

    def _stands(self, form: Affine, made: Convolution) -> bool:
        """Whether a convolution reads planes as they are: of a leaf, or of sums of one's."""
        (leaf, term), *others = form.parts.items()
        found = None if others or form.bias.any() else standing(made, term)
        if found is None or by_channel(*found) is None:
            return False
        op = self.producers.get(leaf)
        if op is None or op.kind != "conv":
            return True
        return Convolution.of(op.attrs, self._constant(op.operands[1]).shape).sums_for(found[0])

    def _constant(self, name: str) -> Matrix:
        return self.graph.constants[name].astype(np.float64, copy=False)

    def _kinked(self, op: Op, value: str) -> Affine:
        """A comparison or rectifier: its leaf, or what it is where its argument is given."""
        leaf, opposite = self.shared.get(value, ("", False))
        if leaf not in self.assumed and leaf not in self.firm:
            known = self._of_truth(op)
            if known is not None or not leaf:
                return known or self.leaf(value)
        form = Affine(self.assumed[leaf], {}) if leaf in self.assumed else self.leaf(leaf)
        if opposite != (leaf in self.flipped):
            return Affine(np.ones(form.size), {}).plus(form, -1.0)
        return form

    def _of_truth(self, op: Op) -> Affine | None:
        """An op each of whose elements depends on one 0/1 number, or on none; None for others."""
        size = self.graph.types[op.results[0]].size
        forms = [self.form(operand) for operand in op.operands]
        leaves = dict.fromkeys(leaf for form in forms for leaf in form.parts)
        if not all(self._is_truth(leaf) for leaf in leaves):
            return None
        forms = [form.spread(size) for form in forms]
        read = {
            leaf: pattern([form.parts[leaf] for form in forms if leaf in form.parts])
            for leaf in leaves
        }
        if np.any(sum(term.sums() for term in read.values()) > 1):
            return None
        false = [form.bias for form in forms]
        true = [form.bias + sum(term.sums() for term in form.parts.values()) for form in forms]
        with np.errstate(all="ignore"):
            ends = [
                op_def(op.kind).evaluate(EvalContext(), op.attrs, *arrays)[0].astype(np.float64)
                for arrays in (as_typed(op, false), as_typed(op, true))
            ]
        if not all(np.isfinite(end).all() for end in ends):
            return None
        rise = ends[1] - ends[0]
        return affine(ends[0], {leaf: term.scaled(rise) for leaf, term in read.items()})

    def _is_truth(self, leaf: str) -> bool:
        """True for a leaf that is 0 or 1 in every timestep."""
        return leaf in self.truths or self.graph.types[leaf].dtype == "bool"

    def _mapped(self, value: str, matrix: Matrix) -> Affine:
        """`matrix · value`; joined vectors part by part, and a leaf without its own wide form."""
        op = self.producers.get(value)
        if value in self.assumed and op is None:
            return Affine(matrix @ self.assumed[value], {})
        if value in self.stops or (op is None and value not in self.graph.constants):
            return affine(np.zeros(len(matrix)), {value: Term.of(matrix)})
        if op is None or op.kind != "concat":
            return self.form(value).mapped(matrix)
        result, offset = Affine(np.zeros(len(matrix)), {}), 0
        for part in op.operands:
            columns = matrix[:, offset : offset + self.graph.types[part].size]
            if columns.any():
                result = result.plus(self._mapped(part, columns))
            offset += columns.shape[1]
        return result

    def _taken(self, value: str, indices: Indices) -> Affine:
        """Some elements of a value; of joined vectors only the parts that they come from."""
        op = self.producers.get(value)
        if op is None or op.kind != "concat" or value in self.stops:
            return self.form(value).taken(indices)
        result, offset = Affine(np.zeros(len(indices)), {}), 0
        for part in op.operands:
            size = self.graph.types[part].size
            (mine,) = np.nonzero((indices >= offset) & (indices < offset + size))
            if mine.size:
                taken = self._taken(part, indices[mine] - offset)
                result = result.plus(taken.placed(mine, len(indices)))
            offset += size
        return result

    def _concat(self, forms: list[Affine]) -> Affine:
        total = sum(form.size for form in forms)
        result, offset = Affine(np.zeros(total), {}), 0
        for form in forms:
            rows = np.arange(offset, offset + form.size)
            result, offset = result.plus(form.placed(rows, total)), offset + form.size
        return result

    def _product(self, kind: str, a: Affine, b: Affine) -> Affine | None:
        if kind == "div":
            return None if b.parts or not b.bias.all() else a.scaled(1.0 / b.bias)
        if not b.parts:
            return a.scaled(b.bias)
        return None if a.parts else b.scaled(a.bias)

    def _where(self, condition: Affine, a: Affine, b: Affine) -> Affine | None:
        if not condition.parts:
            return a.scaled(condition.bias).plus(b.scaled(1.0 - condition.bias))
        difference = a.plus(b, -1.0)
        return None if difference.parts else b.plus(condition.scaled(difference.bias))

    def _share(self) -> None:
        """Find comparisons and rectifiers that are equal, or each other's opposite."""
        leaves: list[tuple[str, bool, Affine]] = []
        for op in self.graph.ops:
            value = op.results[0]
            if op.kind not in ("relu", *COMPARISONS):
                continue
            known = self._of_truth(op)
            if known is not None:
                same = all(known.close(self.leaf(name)) for name in known.parts)
                if op.kind == "relu" or not is_neuron(self.graph, value, known.parts, same=same):
                    continue
                self.firm.add(value)
            relu, strict = op.kind == "relu", op.kind == "gt"
            argument = self.form(op.operands[0]) if relu else self.difference(value)
            negated = argument.scaled(-np.ones(argument.size))
            for leaf, leaf_strict, leaf_argument in leaves:
                if (self.producers[leaf].kind == "relu") != relu:
                    continue
                if leaf_strict == strict and leaf_argument.close(argument):
                    self.shared[value] = (leaf, False)
                elif leaf_strict != strict and argument.parts and leaf_argument.close(negated):
                    self.shared[value] = (leaf, True)
            if value not in self.shared:
                self.shared[value] = (value, False)
                leaves.append((value, strict, argument))


def as_typed(op: Op, arrays: list[Matrix]) -> list[Matrix | npt.NDArray[np.bool_]]:
    """Operands of an op, the condition of a choice as the truth value that it is."""
    choice = op.kind == "where"
    return [array != 0 if choice and n == 0 else array for n, array in enumerate(arrays)]
