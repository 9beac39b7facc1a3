"""States that neurons keep beside their membrane, told by what drives them and what reads them.

A network with such a state breaks many rules at once: a current has no relu, a threshold moves, a
choice is not linear. Which of them is met first depends on the spelling. Looked at once recognition
has failed, this says what all of them follow from.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from dmpc.errors import CompileError, raise_all
from dmpc.ir.graph import Graph, State
from dmpc.ir.wires import Wires
from dmpc.passes.recognition.adaptation import find_pairs
from dmpc.passes.recognition.affine import Forms
from dmpc.passes.recognition.bends import cut_off, products
from dmpc.passes.recognition.lines import find_lines
from dmpc.passes.recognition.network import Network, NotRecognised
from dmpc.passes.recognition.neuron_rules import (
    ADAPTIVE_THRESHOLD,
    LEAKY_READOUT,
    REFRACTORY,
)
from dmpc.passes.recognition.neurons import find_comparison, find_firing, late_mix
from dmpc.passes.recognition.terms import Matrix, near
from dmpc.passes.recognition.truths import COMPARISONS
from dmpc.rules import Rule


def raise_causes(graph: Graph, error: CompileError) -> None:
    """Raise what the errors of a recognition follow from, then those that do not follow from it.

    Returns if there is nothing of the kind.
    """
    network = Network(graph, Forms(graph))
    network = Network(graph, network.forms, find_lines(network))
    found = list(_Wiring(network).causes())
    found = products(network, found or error.every) or found or cut_off(network)
    told = frozenset(name for one in found for name in one.causes)
    others = [
        one
        for one in error.every
        if found and isinstance(one, NotRecognised) and one.causes.isdisjoint(told)
    ]
    raise_all([*found, *others])


@dataclass
class _Wiring:
    """Which states reach which comparisons, and what drives them."""

    network: Network
    comparisons: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        self.comparisons = frozenset(self.network.comparisons())

    def causes(self) -> Iterator[NotRecognised]:
        """One error for each state that is one too many; of a readout, for its last alone."""
        adapted = find_pairs(self.network).keys()
        states = [s for s in self.network.graph.states if s.name not in self.network.lines.states]
        states = [s for s in states if not adapted or not self._readers(s) <= adapted]
        read = [state for state in states if self._is_output(state)]
        reset = any(self._readers(state) for state in read)
        found = [self._readout(read)] if reset else []
        for state in states:
            error = None if state in read else self._of(state)
            if error is not None:
                found.append(error)
        twice = any(map(self._several, states))
        yield from found or (() if twice else self._silenced())

    @cached_property
    def within(self) -> Wires[str | int]:
        """The wires of a timestep; equal comparisons are one."""
        return self.network.wires

    @cached_property
    def charges(self) -> Wires[str | int]:
        """The wires through time that end at comparisons."""
        wires = self.within.copy()
        for state in self.network.graph.states:
            wires.wire(state.next, state.name)
        for value, (leaf, _) in self.network.forms.shared.items():
            if leaf in self.comparisons:
                wires.cut(value)
        return wires

    def _compared(self, values: Iterable[object]) -> set[str]:
        """The comparisons among some values."""
        shared = self.network.forms.shared
        leaves = {shared[str(value)][0] for value in values if str(value) in shared}
        return leaves & self.comparisons

    def _readers(self, state: State) -> set[str]:
        """The comparisons that look at a state, through time."""
        return self._compared(self.charges.below(state.name))

    @cached_property
    def compared(self) -> dict[str, str]:
        """Charges that comparisons look at, with the membrane that each is the charge of."""
        found: dict[str, str] = {}
        for state in self.network.graph.states:
            comparison = self._fires(state)
            op = self.network.graph.producer(comparison) if comparison else None
            if op is not None:
                charges = (name for name in op.operands if self.network.graph.producer(name))
                found.update(dict.fromkeys(charges, state.name))
        return found

    def _drivers(self, state: State) -> tuple[set[str], set[str]]:
        """What the next value of a state is made of, inputs, comparisons and states, and what lies
        between; another state's next value stands for the state."""
        graph, lines = self.network.graph, self.network.lines.states
        nexts = {s.next: s.name for s in graph.states if s is not state and s.name not in lines}
        nexts |= {value: name for value, name in self.compared.items() if name != state.name}
        found: set[str] = set()
        stack = [state.next]
        seen = {state.next}
        while stack:
            value = stack.pop()
            leaf = self.network.forms.shared.get(value, ("", False))[0]
            op = graph.producer(value)
            if leaf in self.comparisons:
                found.add(leaf)
            elif value in nexts:
                found.add(nexts[value])
            elif op is None:
                found |= {value} - graph.constants.keys()
            else:
                stack += [name for name in op.operands if name not in seen]
                seen.update(op.operands)
        return found, seen

    def _sources(self, leaf: str) -> set[str]:
        """The events that a line holds; anything else stands for itself."""
        past = self.network.lines.values.get(leaf)
        if past is None:
            return {leaf}
        return {source for source in past.sources if source is not None}

    def _outside(self, state: State) -> set[str]:
        """The events among a state's drivers that are no spikes of neurons that it acts on."""
        own = self._readers(state) | self._compared(self.within.below(state.name))
        sources = set().union(*map(self._sources, self._drivers(state)[0]))
        return {one for one in sources - own if self.network.is_source(one)}

    def _is_output(self, state: State) -> bool:
        """True for a membrane that the network's output is made of."""
        below = self.charges.below(state.name)
        return not below.isdisjoint(self.network.graph.outputs) and self._is_membrane(state)

    def _is_membrane(self, state: State) -> bool:
        """True for a state whose elements do not mix, or that a comparison resets."""
        own = self.network.forms.form(state.next).terms.get(state.name)
        if own is None:
            return bool(self._readers(state))
        return _diagonal(own)

    def _membrane(self, readers: set[str], other: State) -> State | None:
        """What some comparisons look at beside a state, and what is charged from outside."""
        found = [
            state
            for state in self.network.graph.states
            if state is not other and state.name not in self.network.lines.states
            if self._readers(state) & readers
        ]
        sound = [state for state in found if self._fires(state)]
        return next(iter(sound or [state for state in found if self._outside(state)]), None)

    def _fires(self, state: State) -> str | None:
        """The comparison of a membrane that fires as the machine's neurons do; otherwise None."""
        try:
            comparison = find_comparison(self.network, state)
            if comparison is not None:
                find_firing(self.network, state, comparison)
            return comparison
        except CompileError:
            return None

    def _several(self, state: State) -> bool:
        """True for a membrane that several comparisons look at and reset."""
        looking = (leaf for leaf in self.comparisons if self.network.reaches(leaf, state.next))
        forms = self.network.forms
        return sum(state.name in forms.difference(leaf).terms for leaf in looking) > 1

    def _of(self, state: State) -> NotRecognised | None:
        """The error of a state that is none of the machine's."""
        network, readers = self.network, self._readers(state)
        if not readers or self._fires(state) or self._several(state):
            return None
        drivers, _ = self._drivers(state)
        drivers -= {state.name}
        if self._outside(state):
            return None
        membrane = self._membrane(readers, state)
        if membrane is not None and self._adapts(state, drivers, readers | {membrane.name}):
            name, moving = network.name(membrane.name), network.name(state.name)
            fires = next(iter(sorted(self._readers(membrane) & readers)))
            known = {fires, membrane.name, state.name}
            late = late_mix(network, state, fires)
            if late:
                late.causes |= known
                return late
            return self._failure(ADAPTIVE_THRESHOLD, state, fires, known, state=name, moving=moving)
        return None

    def _adapts(self, state: State, drivers: set[str], own: set[str]) -> bool:
        """True for a state that follows the neurons' own past alone, each for itself."""
        sources = set().union(*map(self._sources, drivers))
        own = own | self._compared(self.within.below(state.name))
        return bool(sources) and sources <= own and self._is_membrane(state)

    def _silenced(self) -> Iterator[NotRecognised]:
        """Neurons that their own past spikes shut off."""
        graph, told = self.network.graph, set()
        for gate in (op.results[0] for op in graph.ops if op.kind in COMPARISONS):
            above = self.within.above(gate)
            states = [s for s in graph.states if s.name in above]
            if not states or not above.isdisjoint(graph.inputs) or self._compared(above):
                continue
            below = self._compared(self.within.below(gate)) - {gate}
            for state in graph.states:
                if state in states or not self._readers(state) & below or not self._outside(state):
                    continue
                past = set().union(*(self._past(one) for one in states))
                if state.name in told or not past or not past <= below | {gate}:
                    continue
                told.add(state.name)
                name, by = self.network.name(state.name), self.network.names(s.name for s in states)
                known = {gate, state.name, *below, *(s.name for s in states)}
                yield self._failure(REFRACTORY, state, state.name, known, state=name, by=by)

    def _past(self, state: State) -> set[str]:
        """The comparisons that drive a state."""
        return set().union(*map(self._sources, self._drivers(state)[0])) & self.comparisons

    def _readout(self, read: list[State]) -> NotRecognised:
        last = read[-1]
        reset = bool(self._readers(last))
        how = "that spikes reset" if reset else "that never spikes"
        state = self.network.name(last.name)
        between = (self._drivers(state)[1] for state in read)
        known = {state.name for state in read}.union(self.network.graph.outputs, *between)
        return self._failure(LEAKY_READOUT, last, last.name, known, state=state, how=how)

    def _failure(
        self, rule: Rule, blamed: State, value: str, known: Iterable[str], **fields: object
    ) -> NotRecognised:
        error = self.network.failure(rule, value, culprits=[blamed.name], **fields)
        error.causes = error.causes | frozenset(known)
        return error


def _diagonal(matrix: Matrix) -> bool:
    square = matrix.shape[0] == matrix.shape[1]
    return square and near(matrix, np.diag(np.diag(matrix)))
