"""The one graph type of the compiler: a timestep of a network, and the states it carries on."""

import copy
from collections.abc import Container, Iterator
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

import numpy as np

from dmpc.errors import CompileError
from dmpc.ir.types import TensorType
from dmpc.ir.wires import Ring, Wires

Attr = bool | int | float | str | tuple["Attr", ...]
Array = np.ndarray[Any, np.dtype[Any]]
Loc = tuple[str, ...]


@dataclass
class Op:
    """One operation of a timestep: `results = kind(operands) {attrs}`.

    `kind` is a key of the op registry; `loc` names the user's own nodes that it came from.
    """

    kind: str
    operands: tuple[str, ...]
    results: tuple[str, ...]
    attrs: dict[str, Attr] = field(default_factory=dict)
    loc: Loc = ()


@dataclass
class State:
    """A value carried from one timestep to the next.

    During a timestep `name` holds the value of the step before, and `next` is the value that the
    following step will see. `init` names the constant held before the first timestep; None: zeros.
    """

    name: str
    next: str
    init: str | None = None
    loc: Loc = ()


@dataclass(frozen=True)
class Place:
    """Where a value lies: `rows` rows of `memory`, or registers of a kind, from `row` on.

    `lives` are the values with which its time begins and ends, for what is needed during a part of
    a timestep alone. A constant is needed as long as the program runs, other things for a sample.
    """

    memory: str
    row: int
    rows: int
    lives: tuple[str, str] | None = None

    def overlaps(self, other: "Place") -> bool:
        """Whether some rows are those of another place."""
        apart = self.row + self.rows <= other.row or other.row + other.rows <= self.row
        return self.memory == other.memory and not apart


@dataclass(eq=False)
class Graph:
    """One timestep of a network, plus its states.

    Values (inputs, states, constants, results of ops) are known by name, each defined once; `types`
    has an entry for every one. `ops` stand in execution order. `outputs` are values per timestep;
    how they become the network's answer is the graph attribute `readout` (mean, sum, last or max
    over the timesteps); an attribute `since` says from which timestep on a mean or a sum counts
    them; an attribute `events` names a node of the user's for which the input must be 0 or 1.
    `level` says which facts hold: see `dmpc.ir.levels`. `placement` is filled by the placement
    pass, `listing` (assembly lines) by the schedule.
    """

    name: str
    level: str
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    states: list[State] = field(default_factory=list)
    constants: dict[str, Array] = field(default_factory=dict)
    ops: list[Op] = field(default_factory=list)
    types: dict[str, TensorType] = field(default_factory=dict)
    attrs: dict[str, Attr] = field(default_factory=dict)
    locs: dict[str, Loc] = field(default_factory=dict)
    placement: dict[str, Place] = field(default_factory=dict)
    listing: list[str] = field(default_factory=list)

    def copy(self) -> "Graph":
        """A graph that shares nothing mutable with this one, except the constants' elements.

        Passes replace arrays and never write into them.
        """
        return replace(
            self,
            inputs=list(self.inputs),
            outputs=list(self.outputs),
            states=[replace(state) for state in self.states],
            constants=dict(self.constants),
            ops=[replace(op, attrs=dict(op.attrs)) for op in self.ops],
            types=dict(self.types),
            attrs=copy.deepcopy(self.attrs),
            locs=dict(self.locs),
            placement=dict(self.placement),
            listing=list(self.listing),
        )

    def __eq__(self, other: object) -> bool:
        """Equality of everything that the text form holds; constants are compared by bytes."""
        if not isinstance(other, Graph):
            return NotImplemented
        mine, theirs = self.constants, other.constants
        return (
            {**self.__dict__, "constants": ()} == {**other.__dict__, "constants": ()}
            and mine.keys() == theirs.keys()
            and all(_same_bytes(mine[name], theirs[name]) for name in mine)
        )

    def producer(self, name: str) -> Op | None:
        """The op that defines a value; None for inputs, states and constants."""
        return next((op for op in self.ops if name in op.results), None)

    def users(self, name: str) -> list[Op]:
        """The ops that read a value, in execution order."""
        return [op for op in self.ops if name in op.operands]

    def state(self, name: str) -> State | None:
        """The state that a value name stands for; None if the value is not a state."""
        return next((state for state in self.states if state.name == name), None)

    def sources(self) -> Iterator[str]:
        """Values that exist before the first op: inputs, states, constants."""
        yield from self.inputs
        yield from (state.name for state in self.states)
        yield from self.constants

    def add(self, op: Op, *types: TensorType) -> Op:
        """Append an op with the types of its results."""
        self.ops.append(op)
        self.types.update(zip(op.results, types, strict=True))
        return op

    def add_constant(self, name: str, value: Array, type_: TensorType, loc: Loc = ()) -> str:
        """Add a constant; returns its name."""
        self.constants[name] = value
        self.types[name] = type_
        if loc:
            self.locs[name] = loc
        return name

    def fresh(self, name: str) -> str:
        """`name`, or the first of `name_1`, `name_2`, ... that no value bears."""
        return fresh(name, self.types)

    def wires(self, *, carried: bool = False) -> Wires[str | int]:
        """The graph as nodes and wires: values by name (str), ops by their index (int).

        Wires run from operand to op and from op to result. With `carried`, they also run from each
        state's next value to the state, so that cycles through time become visible.
        """
        wires = Wires[str | int](self.sources())
        for index, op in enumerate(self.ops):
            wires.add(index)
            for operand in op.operands:
                wires.wire(operand, index)
            for result in op.results:
                wires.wire(index, result)
        for state in self.states if carried else ():
            wires.wire(state.next, state.name)
        return wires

    def toposort(self) -> list[Op]:
        """The ops so that every value is defined before use, otherwise in their present order.

        Raises CompileError if ops depend on each other within a timestep.
        """
        wires = self.wires()
        rank = {node: index for index, node in enumerate(wires)}
        try:
            order = wires.ordered(lambda node: node if isinstance(node, int) else -1 - rank[node])
        except Ring as found:
            ring = [node for node in found.nodes if isinstance(node, str)]
            raise CompileError(
                "values depend on each other within one timestep: "
                + " -> ".join(f"%{name}" for name in [*ring, ring[0]]),
                where=self.name,
                hint="break the ring with a state",
            ) from None
        return [self.ops[node] for node in order if isinstance(node, int)]


def fresh(name: str, taken: Container[str]) -> str:
    """`name`, or the first of `name_1`, `name_2`, ... that is not taken."""
    if name not in taken:
        return name
    return next(made for at in count(1) if (made := f"{name}_{at}") not in taken)


def _same_bytes(a: Array, b: Array) -> bool:
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    one, other = (np.ascontiguousarray(x).reshape(-1).view(np.uint8) for x in (a, b))
    return a is b or np.array_equal(one, other)
