"""States that hold linear maps of earlier events, as maps of states that hold the events.

Neurons that look at their last inputs, such as sliding parallel spiking neurons, keep values: what
charged them in the timesteps before. The machine delays events, one bit each, and weights behind a
delay are delays of synapses. A bias that sets in late is the weight of a neuron that always fires.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from dmpc.ir.graph import Graph, Loc, Op, State
from dmpc.ir.prune import prune
from dmpc.ir.types import boolean, f32
from dmpc.passes.recognition.affine import Forms
from dmpc.passes.recognition.truths import COMPARISONS

MOVES = ("cast", "concat", "take")
SUMS = ("add", "sub")
LINEAR = (*MOVES, *SUMS, "conv", "matmul", "neg")
SCALED = ("div", "mul")  # linear where the other operand is a constant
PARTS = ("weights", "charge", "threshold", "fires", "event")  # of a neuron that always fires


def in_front(graph: Graph) -> Graph | None:
    """The graph with delays in front of linear maps that stood behind them.

    None if no state holds such a map, or one with a bias.
    """
    weighed = _weighed(graph)
    states = {state.name: state for state in graph.states if state.name in weighed}
    moving = _Moving(graph, weighed, states)
    made = moving.run() if states else None
    return None if moving.biased else made


def own_windows(graph: Graph) -> Graph | None:
    """The same, biases included, of neurons that look at several earlier charges of their own each.

    A slow state of these would be as wide as the layer, and driven by as many scalars. None if
    there are no such neurons.
    """
    weighed = _weighed(graph)
    states = {state.name: state for state in graph.states if state.name in weighed}
    if len(states) < 2:
        return None
    forms = Forms(graph)
    for leaf in {leaf for leaf, _ in forms.shared.values()}:
        if forms.producers[leaf].kind in COMPARISONS:
            parts = forms.difference(leaf).parts
            own = [n for n in parts if n in states and parts[n].diagonal() is not None]
            if len(own) > 1:
                return _Moving(graph, weighed, states).run()
    return None


def _weighed(graph: Graph) -> set[str]:
    """What is a map, and no mere choice, of events and earlier events: linear, or with a bias."""
    known, found = {*graph.inputs}, set[str]()
    while True:
        for op in graph.ops:
            (result,), moving = op.results, [n for n in op.operands if n not in graph.constants]
            scaled = op.kind in SCALED and moving == [op.operands[0]]
            scaled = scaled or (op.kind == "mul" and len(moving) == 1)
            if op.kind == "cast" and graph.types[moving[0]].dtype == "bool":
                known.add(result)
            elif moving and known.issuperset(moving) and (op.kind in LINEAR or scaled):
                known.add(result)
                if op.kind not in MOVES or not found.isdisjoint(moving):
                    found.add(result)
        more = [s for s in graph.states if s.init is None and s.next in known - {s.name}]
        more = [state for state in more if state.name not in known]
        if not more:
            return found
        known |= {one.name for one in more}
        found |= {one.name for one in more if one.next in found}


@dataclass
class _Moving:
    """A graph whose `states` hold values, linear maps of events, which are `weighed`."""

    graph: Graph
    weighed: set[str]
    states: dict[str, State]
    known: dict[tuple[str, int], str] = field(default_factory=dict)

    @property
    def biased(self) -> bool:
        """Whether a neuron was added that always fires."""
        return ("", 0) in self.known

    def run(self) -> Graph:
        """The graph with states of events in their place."""
        self.made = made = self.graph.copy()
        self.producers = {op.results[0]: op for op in self.graph.ops}
        made.states = [one for one in made.states if one.name not in self.states]
        for one in [*made.states]:
            made.states[made.states.index(one)] = replace(one, next=self._at(one.next, 0))
        for op in [*made.ops]:
            op.operands = tuple(self._at(name, 0) for name in op.operands)
        made.outputs = [self._at(name, 0) for name in made.outputs]
        made.ops = made.toposort()
        return prune(made)

    def _at(self, value: str, age: int) -> str:
        """A value as it was some timesteps ago, made of events of that time."""
        while value in self.states:
            value, age = self.states[value].next, age + 1
        if age == 0 or value in self.graph.constants:
            return value
        op = self.producers.get(value)
        if op is None or value not in self.weighed:
            return self._held(value, age, self.graph.locs.get(value, ()) if op is None else op.loc)
        if (value, age) not in self.known:
            self.known[value, age] = name = self.made.fresh(f"{value}.{age}.ago")
            read = self._from if op.kind in SUMS else self._operand
            operands = tuple(read(op, operand, age) for operand in op.operands)
            again = replace(op, operands=operands, results=(name,))
            self.made.add(again, self.graph.types[value])
        return self.known[value, age]

    def _held(self, value: str, age: int, loc: Loc) -> str:
        """An event some timesteps ago, in a state for each of them."""
        name = value
        for late in range(1, age + 1):
            if (value, late) not in self.known:
                self.known[value, late] = self.made.fresh(f"{value}.{late}.ago")
                self.made.types[self.known[value, late]] = self.made.types[value]
                self.made.states.append(State(self.known[value, late], name, None, loc))
            name = self.known[value, late]
        return name

    def _operand(self, op: Op, value: str, age: int) -> str:
        del op
        return self._at(value, age)

    def _from(self, op: Op, value: str, age: int) -> str:
        """An addend some timesteps ago; a constant one sets in with the first of them."""
        if value not in self.graph.constants:
            return self._at(value, age)
        size, name = self.graph.types[op.results[0]].size, self.made.fresh(f"{value}.{age}.ago")
        column = np.resize(self.graph.constants[value], (size, 1))
        weight = self.made.add_constant(self.made.fresh(f"{value}.of"), column, f32(size, 1))
        self.made.add(Op("matmul", (self._on(op, age), weight), (name,), {}, op.loc), f32(size))
        return name

    def _on(self, op: Op, age: int) -> str:
        """What an event that is always there was some timesteps ago: nothing, before the first."""
        if not self.biased:
            (source,), made = self.graph.inputs, self.made
            of, charge, least, fires, on = (made.fresh(f"on.{part}") for part in PARTS)
            size = made.types[source].size
            made.add_constant(of, np.zeros((1, size)), f32(1, size))
            made.add_constant(least, np.full(1, -1.0), f32(1))
            made.add(Op("matmul", (source, of), (charge,), {}, op.loc), f32(1))
            made.add(Op("ge", (charge, least), (fires,), {}, op.loc), boolean(1))
            made.add(Op("cast", (fires,), (on,), {}, op.loc), f32(1))
            self.known["", 0] = on
        return self._held(self.known["", 0], age, op.loc)
