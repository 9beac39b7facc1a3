"""Delay lines: states that hold events of earlier timesteps, and nothing else.

A value selects if each of its elements is an element of a source (the input, spikes), of a state,
or nothing. A state is a line if its next value selects, and every element that it holds was an
element of a source some timesteps ago. Recurrence is the line of length 1 that holds the layer's
own spikes. How a model spells its lines (shifts, concatenations, 0/1 matrices, one state for each
timestep or one for all) does not show: only which element of what an element is, and how old.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dmpc.ir.graph import Op, State
from dmpc.ir.ops_model import taken_indices
from dmpc.passes.recognition.network import Lines, Network, Numbers, Past
from dmpc.passes.recognition.state_rules import LINE_START

NOTHING = -1
LARGEST = 1 << 10  # elements up to which sums and choices are looked at in full


@dataclass(frozen=True)
class Selection:
    """Element i is element `index[i]` of `leaves[which[i]]`, `age[i]` timesteps ago.

    Where `which` is NOTHING it is zero. `leaves` are names with a flag: true for a comparison that
    is true where the element is not.
    """

    leaves: tuple[tuple[str, bool], ...]
    which: Numbers
    index: Numbers
    age: Numbers

    def taken(self, order: Numbers) -> "Selection":
        """Elements in another order."""
        return replace(self, which=self.which[order], index=self.index[order], age=self.age[order])

    def kept(self, mask: NDArray[np.bool_]) -> "Selection":
        """Zero where the mask is false."""
        return replace(self, which=np.where(mask, self.which, NOTHING))


def find_lines(network: Network) -> Lines:
    """The lines of a network and what reads them."""
    selecting = _Selecting(network)
    held = {
        state.name: selection
        for state in network.graph.states
        if (selection := selecting.of(state.next)) is not None
    }
    held = _followed({name: replace(s, age=s.age + 1) for name, s in held.items()}, network)
    reading = dict(selecting.reading(held))
    signs = tuple((*leaf, name) for name, s in reading.items() for leaf in s.leaves)
    return Lines(frozenset(held), {name: _past(s) for name, s in reading.items()}, signs)


def check_start(network: Network, state: State) -> None:
    """Raises CompileError for a line that holds events before the first timestep."""
    if state.init is not None and network.graph.constants[state.init].any():
        raise network.failure(LINE_START, state.name, culprits=())


def _past(selection: Selection) -> Past:
    names = [name for name, _ in selection.leaves]
    sources = tuple(None if i == NOTHING else names[i] for i in selection.which)
    return Past(sources, selection.index, selection.age)


def _followed(held: dict[str, Selection], network: Network) -> dict[str, Selection]:
    """The states that hold nothing but old elements of sources, each traced to its source."""
    pending = dict(held)
    done: dict[str, Selection] = {}
    while pending:
        ready = {}
        for name, selection in pending.items():
            read = {selection.leaves[i][0] for i in np.unique(selection.which) if i != NOTHING}
            own = read & {name}
            if all(leaf in done or leaf in own or network.is_source(leaf) for leaf in read):
                followed = _composed(_unrolled(name, selection) if own else selection, done)
                if followed is not None:
                    ready[name] = followed
        if not ready:
            return done
        done |= ready
        pending = {name: s for name, s in pending.items() if name not in done}
    return done


def _unrolled(name: str, selection: Selection) -> Selection | None:
    """A state that shifts its own elements, traced through itself; None if some never leave."""
    own = np.array([leaf == name for leaf, _ in selection.leaves])
    for _ in range(len(selection.which).bit_length() + 1):
        inside = (selection.which != NOTHING) & own[selection.which]
        if not inside.any():
            return selection
        hop = np.where(inside, selection.index, np.arange(len(inside)))
        selection = replace(
            selection,
            which=selection.which[hop],
            index=selection.index[hop],
            age=selection.age + np.where(inside, selection.age[hop], 0),
        )
    return None


def _composed(selection: Selection | None, lines: Mapping[str, Selection]) -> Selection | None:
    """A selection from lines as one from the lines' sources."""
    if selection is None:
        return None
    leaves: list[tuple[str, bool]] = []
    which = np.full_like(selection.which, NOTHING)
    index, age = selection.index.copy(), selection.age.copy()
    for number, leaf in enumerate(selection.leaves):
        mine = np.flatnonzero(selection.which == number)
        through = lines.get(leaf[0])
        first = len(leaves)
        if through is None:
            leaves.append(leaf)
            which[mine] = first
            continue
        leaves += through.leaves
        hop = selection.index[mine]
        which[mine] = np.where(through.which[hop] == NOTHING, NOTHING, through.which[hop] + first)
        index[mine] = through.index[hop]
        age[mine] += through.age[hop]
    return _merged(Selection(tuple(leaves), which, index, age))


def _merged(selection: Selection) -> Selection:
    """Each leaf once, and none that is not read."""
    used = [selection.leaves[i] for i in np.unique(selection.which) if i != NOTHING]
    leaves = tuple(dict.fromkeys(used))
    places = [leaves.index(leaf) if leaf in leaves else NOTHING for leaf in selection.leaves]
    return replace(selection, leaves=leaves, which=np.array([*places, NOTHING])[selection.which])


class _Selecting:
    """What each value of a network selects, of this timestep's sources and states."""

    def __init__(self, network: Network) -> None:
        self.network, self.graph, self.forms = network, network.graph, network.forms
        self.known: dict[str, Selection | None] = {}

    def of(self, value: str) -> Selection | None:
        """The selection that a value is; None if it is something else."""
        if value not in self.known:
            self.known[value] = self._of(value)
        return self.known[value]

    def reading(self, lines: Mapping[str, Selection]) -> Iterable[tuple[str, Selection]]:
        """Lines and the values that select from them, with what they select of the sources."""
        reached = set(lines)
        yield from lines.items()
        for op in self.graph.ops:
            selection = self.of(op.results[0]) if reached & set(op.operands) else None
            if selection is None:
                continue
            leaves = {selection.leaves[i][0] for i in np.unique(selection.which) if i != NOTHING}
            known = all(leaf in lines or self.network.is_source(leaf) for leaf in leaves)
            followed = _composed(selection, lines) if known else None
            if followed is not None and leaves & lines.keys():
                reached.add(op.results[0])
                yield op.results[0], followed

    def _of(self, value: str) -> Selection | None:
        if value in self.graph.constants:
            constant = self.graph.constants[value]
            return None if constant.ndim != 1 or constant.any() else _zeros(len(constant))
        op = self.forms.producers.get(value)
        if op is None or value in self.forms.stops:
            return self._leaf(value, opposite=False)
        rule = getattr(self, f"_{op.kind}", None)
        found: Selection | None = rule(op) if rule else None
        return found or self._by_form(op, value)

    def _leaf(self, name: str, *, opposite: bool) -> Selection:
        size = self.graph.types[name].size
        zero = np.zeros(size, np.int64)
        return Selection(((name, opposite),), zero, np.arange(size), zero)

    def _take(self, op: Op) -> Selection | None:
        whole = self.of(op.operands[0])
        return whole and whole.taken(np.array(taken_indices(op.attrs), np.int64))

    def _concat(self, op: Op) -> Selection | None:
        parts = [part for name in op.operands if (part := self.of(name)) is not None]
        return _joined(parts) if len(parts) == len(op.operands) else None

    def _cast(self, op: Op) -> Selection | None:
        producer = self.forms.producers.get(op.operands[0])
        if producer is None or op.operands[0] not in self.forms.shared:
            return None
        leaf, opposite = self.forms.shared[op.operands[0]]
        return self._leaf(leaf, opposite=opposite)

    def _matmul(self, op: Op) -> Selection | None:
        matrix = self.graph.constants[op.operands[1]]
        one = matrix == 1
        if np.count_nonzero(matrix) != np.count_nonzero(one) or (one.sum(axis=1) > 1).any():
            return None
        whole = self.of(op.operands[0])
        return whole and whole.taken(one.argmax(axis=1)).kept(one.any(axis=1))

    def _mul(self, op: Op) -> Selection | None:
        for mask, value in (op.operands, op.operands[::-1]):
            constant = self.graph.constants.get(mask)
            if constant is not None and np.isin(constant, (0, 1)).all():
                whole = self.of(value)
                fits = whole is not None and len(constant) in (1, len(whole.which))
                return whole.kept(constant == 1) if whole is not None and fits else None
        return None

    def _add(self, op: Op) -> Selection | None:
        a, b = (self.of(name) for name in op.operands)
        if a is None or b is None or a.which.shape != b.which.shape:
            return None
        if ((a.which != NOTHING) & (b.which != NOTHING)).any():
            return None
        size = len(a.which)
        order = np.arange(size) + np.where(a.which == NOTHING, size, 0)
        return _joined([a, b]).taken(order)

    def _by_form(self, op: Op, value: str) -> Selection | None:
        """Sums, choices and signs, where the value is small enough for a matrix."""
        if op.kind not in ("sub", "where", "neg", "mul", "div", "cast"):
            return None
        operands = [*op.operands, value]
        if any(self.graph.types[name].size > LARGEST for name in operands):
            return None
        form = self.forms.form(value)
        chosen = _zeros(form.size)
        rest = form.bias
        for leaf, matrix in form.terms.items():
            opposite = leaf in self.forms.shared and bool((matrix < 0).any())
            signed = -matrix if opposite else matrix
            one = signed == 1
            rows = one.any(axis=1)
            if np.count_nonzero(signed) != one.sum() or (one.sum(axis=1) > 1).any():
                return None
            rest = rest - rows if opposite else rest
            part = self._leaf(leaf, opposite=opposite).taken(one.argmax(axis=1)).kept(rows)
            if ((chosen.which != NOTHING) & rows).any():
                return None
            order = np.arange(form.size) + np.where(rows, form.size, 0)
            chosen = _joined([chosen, part]).taken(order)
        return None if rest.any() else chosen


def _zeros(size: int) -> Selection:
    nothing = np.full(size, NOTHING)
    return Selection((), nothing, np.zeros(size, np.int64), np.zeros(size, np.int64))


def _joined(parts: list[Selection]) -> Selection:
    """Selections one after the other."""
    leaves: list[tuple[str, bool]] = []
    which = []
    for part in parts:
        which.append(np.where(part.which == NOTHING, NOTHING, part.which + len(leaves)))
        leaves += part.leaves
    index = np.concatenate([part.index for part in parts])
    age = np.concatenate([part.age for part in parts])
    return _merged(Selection(tuple(leaves), np.concatenate(which), index, age))
