"""The network under recognition: its forms, its nodes' names, and what was recognised in it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from dmpc.errors import CompileError
from dmpc.ir.excerpt import depends_on, excerpt
from dmpc.ir.graph import Graph, Loc, Op
from dmpc.ir.ops_convolution import Convolution
from dmpc.ir.recorded import recorded, told
from dmpc.ir.wires import Wires, reached
from dmpc.passes.recognition.affine import Forms
from dmpc.passes.recognition.terms import Matrix
from dmpc.passes.recognition.truths import COMPARISONS
from dmpc.rules import Rule

LOC_LENGTH = 6
Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Past:
    """Element i of a value is element `index[i]` of `sources[i]`, `age[i]` timesteps ago.

    A source that is None stands for an element that is always zero.
    """

    sources: tuple[str | None, ...]
    index: Numbers
    age: Numbers


@dataclass(frozen=True)
class Lines:
    """The states of a network that are lines, and the values that select from them.

    `signs` are the comparisons that values hold: leaf, whether the value is true where the
    comparison is not, value.
    """

    states: frozenset[str]
    values: Mapping[str, Past]
    signs: tuple[tuple[str, bool, str], ...]

    def by_age(
        self, leaf: str, matrix: Matrix, sizes: Callable[[str], int]
    ) -> dict[tuple[str, int], Matrix]:
        """`matrix [n, m] · leaf` as a sum over sources and ages of `matrix [n, size] · source`."""
        past = self.values.get(leaf)
        if past is None:
            return {(leaf, 0): matrix}
        found: dict[tuple[str, int], list[int]] = {}
        used = told(matrix.any(axis=0))
        for column, source in enumerate(past.sources):
            if source is not None and used[column]:
                found.setdefault((source, int(past.age[column])), []).append(column)
        return {
            key: _added(matrix, columns, past.index[columns], sizes(key[0]))
            for key, columns in found.items()
        }


@recorded
def _added(matrix: Matrix, columns: list[int], places: Numbers, size: int) -> Matrix:
    """Columns of a matrix at new places among `size`, added up."""
    whole = np.zeros((len(matrix), size))
    for column, place in zip(columns, places, strict=True):
        whole[:, place] += matrix[:, column]
    return whole


NO_LINES = Lines(frozenset(), {}, ())


@dataclass(frozen=True)
class Source:
    """Events that a layer reads: those of `leaf`, element i `delays[i]` timesteps late.

    `past`: they count from the timestep before, as spikes of the layer itself or a later one do.
    """

    leaf: str
    delays: tuple[int, ...]
    past: bool = False


@dataclass(frozen=True)
class Synapses:
    """A product `weight [n, m] · source [m]`; `via` are the leaves of the forms that it came by.

    With a `convolution` the weight is its kernel.
    """

    source: Source
    weight: Matrix
    via: tuple[str, ...]
    convolution: Convolution | None = None


@dataclass(frozen=True)
class Drive:
    """A scalar that drives a memory: the sum of `parts`, whose weights are [1, m], and `bias`.

    It is rectified unless `linear`. `at` is the value of the model that has it as an `element`: a
    rectifier, or else the memory's next value.
    """

    at: str
    element: int
    parts: tuple[Synapses, ...]
    bias: float
    linear: bool = False

    def scaled(self, factor: float) -> "Drive":
        """So many times it."""
        parts = tuple(replace(part, weight=part.weight * factor) for part in self.parts)
        return replace(self, parts=parts, bias=self.bias * factor)


@dataclass(frozen=True)
class Memory:
    """A slow state: `m' = a [d, d] m + b [d, q] x`, x the `drives`."""

    state: str
    next: str
    a: Matrix
    b: Matrix
    drives: tuple[Drive, ...]

    @property
    def rectifiers(self) -> set[str]:
        """The rectifiers that drive it."""
        return {drive.at for drive in self.drives} - {self.next}

    @property
    def linear(self) -> bool:
        """Whether nothing that drives it is rectified."""
        return all(drive.linear for drive in self.drives)

    @property
    def synapses(self) -> list[Synapses]:
        """All products of events in its drives."""
        return [part for drive in self.drives for part in drive.parts]

    def through(self, change: Callable[[Synapses], Synapses]) -> "Memory":
        """The memory with other products of events in its drives."""
        return replace(
            self, drives=tuple(replace(d, parts=tuple(map(change, d.parts))) for d in self.drives)
        )


@dataclass(frozen=True)
class Hold:
    """A state that becomes `value` in every `period`th timestep from `since` on, and stays else.

    `next` is its next value, the choice between the two; before it is `start` [n].
    """

    state: str
    next: str
    value: str
    period: int
    counter: str
    since: int
    start: Matrix


@dataclass(frozen=True)
class Held:
    """What a hold repeats: `matrix [n, d] · m + bias [n]`; `late`: m before its update.

    Without a memory it repeats the bias alone.
    """

    hold: Hold
    memory: Memory | None
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
class Charge:
    """What neurons, or a current of theirs, take in: synapses, `bias` and `slows` together."""

    bias: Matrix
    synapses: tuple[Synapses, ...]
    slows: tuple[Slow, ...]


@dataclass(frozen=True)
class Current:
    """A synaptic current of each neuron, and what it takes in.

    It keeps `alpha` [n] of itself, and charges the membrane with what it is after a timestep, or
    `late` with what it was before. It begins from `start` [n], which is made of the `state`'s.
    """

    state: str
    alpha: Matrix
    late: bool
    fed: Charge
    start: Matrix


@dataclass(frozen=True)
class Neurons:
    """A vector of LIF neurons; `spikes` is the leaf of the comparison that makes them fire.

    `state` is None where a comparison of inputs alone makes them fire: `beta` is then zero.
    What they compare is `beta · u`, their `charge` and all `currents` together; a spike makes
    `reset` of it, or subtracts `reset` from it. `strict`: a spike needs more than the threshold.
    `kind` is what sets them apart from plain ones. They may spike so many `times` in a timestep;
    then the comparison is that of each time, joined. `endless`: as often as they can, of which the
    comparison shows the first times.
    """

    state: str | None
    spikes: str
    beta: Matrix
    threshold: Matrix
    reset: Matrix
    subtract: bool
    strict: bool
    charge: Charge
    currents: tuple[Current, ...] = ()
    kind: "Kind | None" = None
    times: int = 1
    endless: bool = False

    @property
    def charges(self) -> tuple[Charge, ...]:
        """All that neurons and their currents take in."""
        return (*(current.fed for current in self.currents), self.charge)

    @property
    def synapses(self) -> list[Synapses]:
        """All products of events."""
        return [found for charge in self.charges for found in charge.synapses]

    @property
    def memories(self) -> list[Memory]:
        """The memories whose slow currents they take in."""
        return list({slow.memory.state: slow.memory for slow in self.slows}.values())

    @property
    def slows(self) -> list[Slow]:
        """All slow currents."""
        return [slow for charge in self.charges for slow in charge.slows]


@dataclass(frozen=True)
class Kept:
    """A state that neurons keep beside their membrane: it starts as `factor` times a state of the
    model, if it is one, and from `start` besides; without either from zero."""

    state: str = ""
    factor: Matrix | float = 1.0
    start: Matrix | None = None


@dataclass(frozen=True)
class Kind:
    """What sets neurons apart from plain ones: the op that they are at level layers, what it is
    told, and by their roles what lies behind the parameters that all neurons have."""

    op: str
    behind: Mapping[str, Matrix | Kept]
    attrs: Mapping[str, str] = field(default_factory=dict)


class NotRecognised(CompileError):
    """A value that is no part of a network as recognition knows it.

    `causes` are the values that it may follow from: if one of them is not recognised either, this
    error says nothing new.
    """

    causes: frozenset[str] = frozenset()


@dataclass
class Network:
    """A model-level graph with its affine forms."""

    graph: Graph
    forms: Forms
    lines: Lines = NO_LINES
    wires: Wires[str | int] = field(init=False)

    def __post_init__(self) -> None:
        self.wires = self.graph.wires()

    def comparisons(self) -> list[str]:
        """Distinct comparisons, in execution order."""
        return list(dict.fromkeys(self.forms.shared[value][0] for value in self._compared()))

    @cached_property
    def charging(self) -> set[str | int]:
        """What comparisons depend on, in the same timestep or a later one."""
        wires = self.wires.copy()
        for state in self.graph.states:
            wires.wire(state.next, state.name)
        return reached(wires.before, self.comparisons())

    def _compared(self) -> list[str]:
        """Every comparison that is more than a function of others, in execution order."""
        found = (op.results[0] for op in self.graph.ops if op.kind in COMPARISONS)
        return [value for value in found if value in self.forms.shared]

    def reaches(self, leaf: str, value: str) -> bool:
        """True if a value depends on a comparison, or one equal to it, within the timestep."""
        return leaf in self._leaves.get(value, ())

    @cached_property
    def _leaves(self) -> dict[str, frozenset[str]]:
        """The comparisons and rectifiers, by their leaves, that each value depends on."""
        found: dict[str, frozenset[str]] = {}
        for op in self.graph.ops:
            above = frozenset[str]().union(*(found.get(name, ()) for name in op.operands))
            for result in op.results:
                own = [self.forms.shared[result][0]] if result in self.forms.shared else []
                found[result] = above.union(own)
        return found

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

    def driven(self, value: str) -> str:
        """A value in the user's terms; of a state, with the inputs and states that drive it."""
        state, name = self.graph.state(value), self.name(value)
        if state is None:
            return name
        above = self.graph.wires().above(state.next) - {value}
        ends = (*self.graph.inputs, *(one.name for one in self.graph.states))
        parts = " and ".join(self.name(one) for one in ends if one in above)
        return f"{name}, which {parts} drive" if parts else name

    def failure(
        self, rule: Rule, value: str, *, culprits: Iterable[str] | None = None, **fields: object
    ) -> "NotRecognised":
        """The error of a value that breaks a rule.

        `culprits` are the values that are to blame; the default is all that the value depends on.
        """
        blamed = None if culprits is None else tuple(culprits)
        given = self.given(value)
        error = NotRecognised.of(
            rule,
            where=f"{self.graph.name}: {self.name(value)}",
            nodes=self.nodes(value),
            piece=excerpt(self.graph, value, known=given | self.forms.stops, culprits=blamed or ()),
            **fields,
        )
        known = {*given, *(state.name for state in self.graph.states)}
        behind = [value] if blamed is None else [name for name in blamed if name not in known]
        causes = (depends_on(self.graph, name, given) for name in behind)
        error.causes = frozenset({value, *(blamed or ())}).union(*causes)
        return error

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
        own = self.wires.below(value) if self.graph.state(value) else set()
        return frozenset(set(self._compared()) - own)

    def is_source(self, leaf: str) -> bool:
        """True for what feeds a layer: the network's input, or spikes of this timestep."""
        return leaf in self.graph.inputs or leaf in self.comparisons()

    def of_input(self, values: Iterable[str]) -> bool:
        """True if values are made of the network's input and constants alone."""
        above = set[str | int]().union(*(self.wires.above(value) for value in values))
        states = {state.name for state in self.graph.states}
        return not above.isdisjoint(self.graph.inputs) and above.isdisjoint(states)

    def holds_events(self, leaf: str) -> bool:
        """True for a source, for what selects events of earlier timesteps, and for convolutions."""
        return leaf in self.lines.values or self.is_source(leaf) or self.is_convolution(leaf)

    def is_convolution(self, leaf: str) -> bool:
        """True for the sums of a convolution."""
        producer = self.graph.producer(leaf)
        return producer is not None and producer.kind == "conv"

    def between(self, source: str, target: str, without: Iterable[str] = ()) -> list[Op]:
        """Ops on the way from one value to another that does not pass through others."""
        cut = {name for name in without if name != target}
        same = {n for n, (leaf, _) in self.forms.shared.items() if leaf == source} - cut
        after, before = self.wires.after, self.wires.before
        nodes = reached(after, {source, *same}, cut) & reached(before, {target}, cut)
        return [self.graph.ops[node] for node in sorted(n for n in nodes if isinstance(n, int))]

    def loc(self, ops: Iterable[Op]) -> Loc:
        """The user's names for some ops, without repetition, the last few if there are many."""
        return tuple(dict.fromkeys(name for op in ops for name in op.loc))[-LOC_LENGTH:]
