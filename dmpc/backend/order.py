"""In which order the ops of a placed timestep run, and from which to which of them a vector lives.

Constants live as long as the program, and what a timestep leaves to the next one as long as a
sample. Everything else lives from the op that makes it to the last one that reads it: inputs,
drives, events that arrive late, copies for a later stage, spikes that the next timestep does not
read. Where such things lie in one place, the order keeps them apart.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations

from dmpc.backend.pieces import stage_of
from dmpc.errors import CompileError
from dmpc.ir.chains import STAGES, begins, fires
from dmpc.ir.drives import lengthens
from dmpc.ir.graph import Graph, Op
from dmpc.ir.ops_convolution import PRODUCTS
from dmpc.ir.wires import Ring, Wires

INPUT = -1
"""Taking the network's input, among ops by their number in a graph."""
MAKING = ("scalar_drive", "delay", "move")
"""Ops whose first result is a vector in a register of its own, beside those that make spikes."""


@dataclass(frozen=True)
class Life:
    """The positions in a timestep between which a value is needed; `first` makes it.

    `names` are the values that are made at both ends.
    """

    first: int
    last: int
    names: tuple[str, str]

    def meets(self, other: "Life") -> bool:
        """Whether there is a moment at which both live."""
        return self.first <= other.last and other.first <= self.last


def execution_order(graph: Graph) -> list[Op | None]:
    """The ops but for products, in an order that keeps states and copies in place.

    None stands for taking the input, which comes first: it comes while layers still work on the
    timestep before. A state's register or rows hold its old value until the op that replaces it, so
    whatever reads the old value comes first; and a copy for a later stage is made before the
    original changes, as early as that allows. Products run with the op that consumes their sums.
    """
    timestep = Timestep(graph)
    order = timestep.order()
    for one, other in timestep.sharing():
        for user in timestep.users(one):
            order.wire(user, timestep.at[other])
    ranked = timestep.sorted(order)
    early = [i for i in ranked if timestep.copies(i) and all(map(timestep.copies, order.above(i)))]
    before = order.above(INPUT)  # copies of the last one
    first = [INPUT, *early] if not before else [*early, INPUT] if before <= {*early} else early
    rest = [i for i in ranked if i not in first]
    return [None if i == INPUT else graph.ops[i] for i in (*first, *rest)]


def lives(graph: Graph) -> dict[str, Life]:
    """What lives for a part of a timestep alone, if copies are made as late as can be."""
    return Timestep(graph).lives


class Timestep:
    """What of a timestep depends on what, by numbers of ops."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.at = {name: i for i, op in enumerate(graph.ops) for name in op.results}
        self.at |= dict.fromkeys(graph.inputs, INPUT)
        self.next = {state.name: state.next for state in graph.states}
        self.changes = {name: self._change(new) for name, new in self.next.items()}
        self.ops = [i for i, op in enumerate(graph.ops) if op.kind not in PRODUCTS]
        self.readers: dict[str, list[int]] = {}
        for i in self.ops:
            for name in self.reads(graph.ops[i]):
                self.readers.setdefault(name, []).append(i)

    def _change(self, name: str) -> str:
        """What the first op that writes where a state lies makes of it: of several stages, the
        first."""
        op = self.graph.producer(name)
        while op is not None and op.kind in STAGES and name == op.results[-1]:
            if begins(self.graph, op):
                break
            name = op.operands[0]
            op = self.graph.producer(name)
        return name

    def reads(self, op: Op) -> Iterator[str]:
        """Vectors that an op reads, directly or through its products."""
        for name in op.operands:
            made = self.at.get(name, INPUT)
            of_product = made != INPUT and self.graph.ops[made].kind in PRODUCTS
            yield self.graph.ops[made].operands[0] if of_product else name

    def order(self) -> Wires[int]:
        """What must come before what."""
        order = Wires([INPUT, *self.ops])
        for name, readers in self.readers.items():
            for i in readers:
                if name in self.at and self.graph.ops[i].kind == "move":
                    order.wire(i, self.at[name])
                elif name in self.at:
                    order.wire(self.at[name], i)
                elif name in self.changes and self.at[self.changes[name]] != i:
                    order.wire(i, self.at[self.changes[name]])
        return order

    def copies(self, i: int) -> bool:
        """Whether an op makes a copy for a later stage."""
        return i != INPUT and self.graph.ops[i].kind == "move"

    def sorted(self, order: Wires[int], *, late: bool = False) -> list[int]:
        """An order: the input first, then by stages; copies too, or `late`; last what runs once."""
        ops = self.graph.ops
        rank = {i: (i != INPUT, late and self.copies(i), stage_of(ops[i]), i) for i in order}
        try:
            found = order.ordered(rank.__getitem__)
        except Ring as ring:
            raise CompileError(
                "a state is read both before and after its update by ops that depend on each "
                "other: " + ", ".join(f"%{ops[i].results[0]}" for i in ring.nodes if i != INPUT),
                where=self.graph.name,
            ) from None
        return sorted(found, key=lambda i: i != INPUT and ops[i].attrs.get("when") == "end")

    # -- lives ------------------------------------------------------------------------------------

    @cached_property
    def lives(self) -> dict[str, Life]:
        """What lives for a part of a timestep alone."""
        order = self.sorted(self.order(), late=True)
        position = {i: n for n, i in enumerate(order)}
        found = {}
        for name in self._mortal():
            users = [position[i] for i in self.users(name)]
            first, last = position[self.at[name]], max(users)
            if min(users) == first and not self._at_the_end(order[last]):
                names = [name if order[n] == INPUT else self._name(order[n]) for n in (first, last)]
                found[name] = Life(first, last, (names[0], names[1]))
        return found

    def _mortal(self) -> Iterator[str]:
        """Values that no timestep reads of the one before, unless through a copy."""
        kept = {name for pair in self.next.items() for name in pair}
        made = [op.results[0] for op in self.graph.ops if op.kind in MAKING or fires(op)]
        yield from (name for name in (*self.graph.inputs, *made) if name not in kept)

    def users(self, name: str) -> list[int]:
        """The ops that need what lies in a vector's registers, with the one that makes it; of
        drives that become a longer vector, those of that one, too."""
        readers = self.readers.get(name, [])
        longer = [self.graph.ops[i] for i in readers if lengthens(self.graph.ops[i], name)]
        return [self.at[name], *readers, *(i for op in longer for i in self.users(op.results[0]))]

    def _at_the_end(self, i: int) -> bool:
        return i != INPUT and self.graph.ops[i].attrs.get("when") == "end"

    def _name(self, i: int) -> str:
        return self.graph.ops[i].results[0]

    def sharing(self) -> Iterator[tuple[str, str]]:
        """Pairs of values that share a place, the one that lives first before the other one."""
        places = [item for item in self.graph.placement.items() if item[1].lives]
        for (one, a), (other, b) in permutations(places, 2):
            if a.overlaps(b) and self.lives[one].last < self.lives[other].first:
                yield one, other
