"""The network under recognition: its forms, its nodes' names, and what was recognised in it."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import networkx as nx

from dmpc.errors import CompileError
from dmpc.ir.excerpt import depends_on, excerpt
from dmpc.ir.graph import Graph, Loc, Op
from dmpc.passes.recognition.affine import COMPARISONS, Forms, Matrix

LOC_LENGTH = 6


@dataclass(frozen=True)
class Memory:
    """A slow state: `m' = a [d, d] m + b [d] x`, `x = relu(drive [m] · source + drive_bias)`."""

    state: str
    next: str
    a: Matrix
    b: Matrix
    relu: str
    source: str
    drive: Matrix
    drive_bias: float


@dataclass(frozen=True)
class Hold:
    """A state that becomes `value` in every timestep that `period` divides, and stays in others.

    `next` is its next value, the choice between the two.
    """

    state: str
    next: str
    value: str
    period: int
    counter: str


@dataclass(frozen=True)
class Held:
    """What a hold repeats: `matrix [n, d] · m + bias [n]`; `late`: m before its update."""

    hold: Hold
    memory: Memory
    late: bool
    matrix: Matrix
    bias: Matrix


@dataclass(frozen=True)
class Slow:
    """A slow current `weight [n, d] · m`, of this timestep's memory or the previous one's.

    With `hold` it is that of the last timestep that the hold's period divides.
    """

    memory: Memory
    weight: Matrix
    late: bool
    hold: Hold | None = None


@dataclass(frozen=True)
class Neurons:
    """A vector of LIF neurons; `spikes` is the leaf of the comparison that makes them fire.

    The charge is `beta · u + fast [n, m] · source + bias + slow`; a spike makes `reset` of it, or
    subtracts `reset` from it. `strict`: a spike needs a charge above the threshold.
    """

    state: str
    spikes: str
    beta: Matrix
    threshold: Matrix
    reset: Matrix
    subtract: bool
    strict: bool
    bias: Matrix
    source: str | None
    fast: Matrix | None
    slow: Slow | None


@dataclass
class Network:
    """A model-level graph with its affine forms."""

    graph: Graph
    forms: Forms
    wires: "nx.MultiDiGraph[str | int]" = field(init=False)

    def __post_init__(self) -> None:
        self.wires = self.graph.to_networkx()

    def comparisons(self) -> list[str]:
        """Distinct comparisons, in execution order."""
        found = [op.results[0] for op in self.graph.ops if op.kind in COMPARISONS]
        return list(dict.fromkeys(self.forms.shared[value][0] for value in found))

    def reaches(self, leaf: str, value: str) -> bool:
        """True if a value depends on a comparison, or one equal to it, within the timestep."""
        above = nx.ancestors(self.wires, value) | {value}
        return any(self.forms.shared.get(str(name), ("", False))[0] == leaf for name in above)

    def name(self, value: str) -> str:
        """A value in the user's terms: the node that computes it, or the state or input itself."""
        producer = self.graph.producer(value)
        if producer is not None:
            return f"'{producer.loc[-1]}'" if producer.loc else f"%{value}"
        state = self.graph.state(value)
        loc = state.loc if state is not None else self.graph.locs.get(value, ())
        return f"{'state' if state is not None else 'input'} '{loc[0] if loc else value}'"

    def names(self, values: Iterable[str]) -> str:
        """Several values in the user's terms."""
        return ", ".join(self.name(value) for value in values) or "nothing"

    def error(self, value: str, message: str, hint: str = "") -> CompileError:
        """An error about a value."""
        where = f"{self.graph.name}: {self.name(value)}"
        piece = excerpt(self.graph, value, known=self.given(value))
        return CompileError(message, where=where, hint=hint, nodes=self.nodes(value), piece=piece)

    def nodes(self, value: str) -> tuple[str, ...]:
        """The user's names of what a value is: the node that computes it, the state or input."""
        producer, state = self.graph.producer(value), self.graph.state(value)
        if producer is not None:
            return producer.loc[-1:]
        return state.loc[:1] if state is not None else self.graph.locs.get(value, ())[:1]

    def given(self, value: str) -> frozenset[str]:
        """Comparisons that a value, or a state's next value, takes as given: other layers' spikes.

        A state's own comparisons, which look at it, are not among them.
        """
        own = nx.descendants(self.wires, value) if self.graph.state(value) else set()
        every = {op.results[0] for op in self.graph.ops if op.kind in COMPARISONS}
        return frozenset(every - own)

    def follows(self, value: str, broken: Iterable[str]) -> bool:
        """True if what is wrong with a value may follow from states that are broken."""
        return not depends_on(self.graph, value, self.given(value)).isdisjoint(broken)

    def is_source(self, leaf: str) -> bool:
        """True for what feeds a layer: the network's input, or spikes of this timestep."""
        return leaf in self.graph.inputs or leaf in self.comparisons()

    def between(self, source: str, target: str, without: Iterable[str] = ()) -> list[Op]:
        """Ops on the way from one value to another that does not pass through others."""
        cut = [name for name in without if name != target and name in self.wires]
        wires = self.wires.subgraph(self.wires.nodes - set(cut))
        same = [n for n, (leaf, _) in self.forms.shared.items() if leaf == source and n in wires]
        below = {node for name in {source, *same} for node in nx.descendants(wires, name)}
        nodes = below & nx.ancestors(wires, target)
        return [self.graph.ops[node] for node in sorted(n for n in nodes if isinstance(n, int))]

    def loc(self, ops: Iterable[Op]) -> Loc:
        """The user's names for some ops, without repetition, the last few if there are many."""
        return tuple(dict.fromkeys(name for op in ops for name in op.loc))[-LOC_LENGTH:]
