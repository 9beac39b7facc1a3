"""Placement: every constant and state gets rows of a memory, every vector a register."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from dmpc.backend.order import lives
from dmpc.backend.places import (
    NO_STATE,
    REGISTERS,
    bank_of,
    layer_blocks,
    layout_of,
    records_of,
    side_by_side,
    starts_of,
)
from dmpc.errors import CompileError, ErrorList
from dmpc.findings import NO_PIECE
from dmpc.ir.chains import STAGES
from dmpc.ir.drives import split, whole_vector
from dmpc.ir.graph import Graph, Op, Place
from dmpc.ir.ops_neurons import MODEL_OF
from dmpc.ir.verify import origin
from dmpc.passes.base import Pass
from dmpc.passes.ranges import Real
from dmpc.passes.rooms import Wanted, at_once, rooms
from dmpc.passes.spill import Spill, Spiller, joined
from dmpc.rules import Rule, Stage, rule
from isa.layout import coefficients
from isa.target import EXTERNAL, Target, load_target

MEMORY_FULL = rule(
    "memory-full",
    Stage.MACHINE,
    "{name} needs {count} rows of the {memory} memory; {free} of {size} are free on target "
    "{target}, and the network needs {total} in all",
    why="""Weights and parameters that do not fit into the core's own memories stream from external
    memory, if the target has any, through a part of each memory that holds a few groups of neurons.
    Delays, waiting events and logits do not.""",
    nearest="use a smaller layer, or a target with a larger memory",
)
REGISTERS_TAKEN = rule(
    "registers-taken",
    Stage.MACHINE,
    "{name} of {elements} elements takes {number} {kind} registers of {width}; {free} of {count} "
    "are free on target {target}, and the network needs {total} at once",
    why="""The input and each layer's spikes take a register of events, each drive and slow state
    one of values, or as many as it takes elements for; layers that overlap in time take copies.
    What is needed for a part of a timestep alone gives its registers back.""",
    nearest="use fewer layers, or a target with more registers",
)
LONG_DELAY = rule(
    "long-delay",
    Stage.MACHINE,
    "{name}: delays of {layer} reach {longest} timesteps; the events of {axons} axons that wait so "
    "long need {count} rows of the ring memory, {free} of {size} are free on target {target}",
    why="""Events on their way wait in a memory with a row, or more for a wide layer, for every
    timestep up to the longest delay.""",
    nearest="delays of at most {fitting} timesteps fit; or a target with more rows in [delay]",
)

SHORTAGES = (MEMORY_FULL, REGISTERS_TAKEN, LONG_DELAY)
"""What another target may be large enough for."""


@dataclass(frozen=True)
class PlaceInMemory(Pass):
    """Allocates memories and registers of `target` in the order of the graph's ops.

    While there is room, everything has a place of its own: whoever writes where somebody else has
    read waits for it. Where there is none, what lives for a part of a timestep gives its place back
    for others. What does not fit on the chip lives outside it, if the target has external memory,
    and is worked on in pieces: see `spill`. `activity` are quantiles of the number of events in a
    timestep.
    """

    name: ClassVar[str] = "place"
    target: Target = field(default_factory=lambda: load_target("paper"))
    activity: Mapping[str, Real] = field(default_factory=dict)

    def run(self, graph: Graph) -> Graph:
        """The graph with `placement` filled; CompileError if something does not fit."""
        graph = graph.copy()
        graph.level = "placed"
        allocator = self._spilled(self._allocated(graph))
        allocator.check()
        return allocator.graph

    def _spilled(self, on_chip: "_Allocator") -> "_Allocator":
        """The same, but for what has to live outside the chip, if there is room for that.

        Pieces may be too small to be shared among banks: whole products are tried, too.
        """
        if not (self.target.external and on_chip.homeless):
            return on_chip
        graph, choices = on_chip.graph, list[tuple[Spill, Graph]]()
        whole = [joined(graph, self.target, events_alone=alone) for alone in (True, False)]
        for allocator in (on_chip, *map(self._allocated, whole)):
            used = allocator.used
            spill = Spiller(allocator.graph, self.target, self.activity, used).best()
            if spill:
                choices.append((spill, allocator.graph))
        if not choices:
            return on_chip
        spill, graph = min(choices, key=lambda choice: choice[0].cycles)
        for op in graph.ops:
            if op.results[-1] in spill.pieces:
                op.attrs["tile"] = spill.pieces[op.results[-1]]
        graph.placement.clear()
        return self._allocated(graph, spill)

    def _allocated(self, graph: Graph, spill: Spill | None = None) -> "_Allocator":
        """Places for all, shared by what lives at different times only where rows are short."""
        spill = spill or Spill()
        alone = _Allocator(graph, self.target, spill, {})
        alone.place()
        shared: dict[str, int] = {}
        for kind in alone.homeless:
            found = rooms(alone.wanted[kind], alone.size(kind)) if kind in REGISTERS else None
            shared |= found or {}
        if not shared:
            return alone
        graph.placement.clear()
        together = _Allocator(graph, self.target, spill, shared)
        together.place()
        return together


class _Allocator:
    """Gives places in the order of the graph's ops: the next rows, or those of `shared` by name."""

    def __init__(
        self, graph: Graph, target: Target, spill: Spill, shared: Mapping[str, int]
    ) -> None:
        self.graph, self.target, self.spill, self.shared = graph, target, spill, shared
        self.lives = lives(graph)
        self.wanted: dict[str, list[Wanted]] = defaultdict(list)
        self.used: Counter[str] = Counter()
        # By memory or kind of register: the first value without room, what it takes, what is free.
        self.homeless: dict[str, tuple[str, int, int]] = {}
        self.errors = ErrorList()

    def place(self) -> None:
        """Place everything."""
        for name in self.graph.inputs:
            self.register(name)
        for op in self.graph.ops:
            self.op(op)

    def op(self, op: Op) -> None:
        """Place what an op reads and writes."""
        places: dict[str, Callable[[Op], None]] = {
            "matvec": self._product,
            "convolve": self._product,
            "scalar_drive": self._drive,
            "state_update": self._update,
            "hold": self._state,
            "delay": self._delay,
            **dict.fromkeys((*MODEL_OF, *STAGES), self._neurons),
            "accumulate_logits": self._logits,
            "total_logits": self._logits,
            "leaky_logits": self._logits,
            "following_logits": self._logits,
            "collect_logits": self._logits,
            "count": self._state,
            "tick": _nothing,
            "move": self._copy,
        }
        if op.kind not in places:
            raise CompileError(f"{op.kind} of {op.attrs['layer']} has no place in memory")
        places[op.kind](op)

    def _product(self, op: Op) -> None:
        rows = layout_of(self.graph, op, self.target).rows
        self.rows(self.target.bank[bank_of(op, self.target)].name, (op.operands[1],), rows)

    def _drive(self, op: Op) -> None:
        self.rows("drive", (op.operands[1],), self.graph.types[op.operands[1]].shape[0])
        _, before = split(op.operands[2:], op.attrs)
        if before:
            self.graph.placement[op.results[0]] = self.graph.placement[before[0]]
        else:
            whole = whole_vector(self.graph, op.results[0])
            self.register(op.results[0], self.graph.types[whole].shape[0])

    def _update(self, op: Op) -> None:
        size, drives = (self.graph.types[name].shape[0] for name in op.operands[:2])
        rows = coefficients(size, self.target.update.lanes, drives).rows
        self.rows("update", op.operands[2:4], rows)
        self._state(op)

    def _state(self, op: Op) -> None:
        """A state in a register, which its op replaces in place."""
        self.register(op.operands[0])
        self.graph.placement[op.results[0]] = self.graph.placement[op.operands[0]]

    def _copy(self, op: Op) -> None:
        self.register(op.results[0])

    def _delay(self, op: Op) -> None:
        """Delays in the axon memory, waiting events in the ring, what arrives in a register."""
        waiting, _, delays = op.operands
        timesteps, size = self.graph.types[waiting].shape
        self.rows("axon", (delays,), size)
        rows = _groups(size, self.target.delay.lanes)
        free = self.target.delay.rows - self.used["ring"]
        if timesteps * rows > free:
            fields = {"layer": op.attrs["layer"], "longest": timesteps - 1, "axons": size}
            fields |= {"count": timesteps * rows, "free": free, "size": self.target.delay.rows}
            self.errors.add(
                self._error(LONG_DELAY, waiting, fitting=max(free // rows - 1, 0), **fields)
            )
        else:
            self.rows("ring", (waiting, op.results[1]), timesteps * rows)
        self.register(op.results[0])

    def _neurons(self, op: Op) -> None:
        self._membranes(op)
        if self.graph.types[op.results[0]].dtype == "event":
            self._spikes(op.results[0])

    def _spikes(self, name: str) -> None:
        """Spikes in a register, with those of the timestep before in its other page.

        Those of a layer that is worked on in pieces have a register of their own: its page turns
        with the first piece, and the others read them as well.
        """
        self.register(name)
        producer = self.graph.producer(name)
        for state in self.graph.states:
            if state.next == name and producer and "tile" in producer.attrs:
                self.register(state.name)
            elif state.next == name:
                self.graph.placement[state.name] = self.graph.placement[name]

    def _membranes(self, op: Op) -> None:
        """States, which stay in their rows from op to op, and the neurons' parameters."""
        groups, states = self._rows_of(op.operands[0]), side_by_side(self.graph, op)
        if op.attrs["layer"] in self.spill.layers:
            self._far_neurons(op, groups)
        self.blocks("neuron", [old for old, _ in states], groups)
        for old, new in states:
            self.graph.placement[new] = self.graph.placement[old]
        self._parameters(op, groups)
        self._starts(op, groups)

    def _far_neurons(self, op: Op, groups: int) -> None:
        """All that a layer's neurons keep outside the chip, in whole pages, with their parameters
        in the same rows."""
        blocks = layer_blocks(self.graph, op.attrs["layer"])
        if blocks[0][0][0] in self.graph.placement:
            return
        count = -(-groups // self.spill.pieces[op.results[-1]])
        row = self.target.neuron.rows + self.used[EXTERNAL + "neuron"]
        self.used[EXTERNAL + "neuron"] += count * self.spill.page
        for number, (state, record) in enumerate(blocks):
            at = row + number * groups
            for name in state if state != NO_STATE else ():
                self.graph.placement[name] = Place("neuron", at, groups)
            for name in record.values():
                self.graph.placement[name] = Place("parameter", at, groups)

    def _parameters(self, op: Op, groups: int) -> None:
        """The parameters of a state lie side by side, whichever of its ops reads them."""
        records = [tuple(record.values()) for record in records_of(self.graph, op)]
        if any(records):
            self.blocks("parameter", [names[0] for names in records], groups)
        for first, *others in filter(None, records):
            for name in others:
                self.graph.placement[name] = self.graph.placement[first]

    def _logits(self, op: Op) -> None:
        groups = self._rows_of(op.results[0])
        self.rows("readout", op.results, groups)
        if op.kind != "total_logits":
            self.graph.placement[op.operands[0]] = self.graph.placement[op.results[0]]
        self._parameters(op, groups)
        self._starts(op, groups)

    def _starts(self, op: Op, groups: int) -> None:
        """What states start from, as parameters of their own."""
        for init in starts_of(self.graph, op).values():
            self.rows("parameter", (init,), groups)

    def _rows_of(self, name: str) -> int:
        return _groups(self.graph.types[name].shape[0], self.target.lanes)

    def rows(self, memory: str, names: tuple[str, ...], count: int) -> None:
        """The next `count` rows of a memory, shared by `names`; values placed before stay."""
        if all(name in self.graph.placement for name in names):
            return
        if names[0] in self.spill.constants:
            first, section = self.size(memory), EXTERNAL + memory
            for name in names:
                self.graph.placement[name] = Place(memory, first + self.used[section], count)
            self.used[section] += count
            return
        place = self._next(memory, names[0], count, count)
        for name in names:
            self.graph.placement[name] = place

    def blocks(self, memory: str, names: list[str], groups: int) -> None:
        """Rows of a memory for several values, one after the other without a gap."""
        if names[0] in self.graph.placement:
            return
        self.rows(memory, tuple(names), groups * len(names))
        first = self.graph.placement[names[0]].row
        for number, name in enumerate(names):
            self.graph.placement[name] = Place(memory, first + number * groups, groups)

    def _next(self, kind: str, name: str, count: int, told: int) -> Place:
        """The place of so many rows or registers, of which errors tell what is `told`."""
        life = self.lives.get(name)
        self.wanted[kind].append(Wanted(name, count, life))
        first = self.shared.get(name, self.used[kind])
        if first + count > self.size(kind):
            self.homeless.setdefault(kind, (name, told, max(self.size(kind) - first, 0)))
        self.used[kind] = max(self.used[kind], first + count)
        return Place(kind, first, count, life.names if life else None)

    def size(self, kind: str) -> int:
        """Rows of a memory, or registers of a kind."""
        if kind in self.target.memories:
            return self.target.memories[kind].rows
        return (self.target.events if kind == "events" else self.target.values).count

    def register(self, name: str, size: int = 0) -> None:
        """The next vector registers of the kind that a value needs, side by side.

        It may become longer, up to a `size`.
        """
        type_ = self.graph.types[name]
        kind = "events" if type_.dtype == "event" else "values"
        size = max(size, type_.shape[0])
        self.graph.placement[name] = self._next(kind, name, self._span(kind, size), size)

    def _span(self, kind: str, size: int) -> int:
        """Registers that a vector takes; spikes come in whole groups."""
        if kind == "values":
            return self.target.values.span(size)
        return self.target.events.span(_groups(size, self.target.lanes) * self.target.lanes)

    def check(self) -> None:
        """Raises CompileError with everything that found no room."""
        for kind, (name, count, free) in self.homeless.items():
            fields: dict[str, object] = {"total": self.used[kind]}
            if kind in self.target.memories:
                fields |= {"memory": kind, "count": count, "free": free}
                self.errors.add(self._error(MEMORY_FULL, name, size=self.size(kind), **fields))
            else:
                file = self.target.events if kind == "events" else self.target.values
                fields |= {"kind": kind, "count": file.count, "width": file.width}
                fields["total"] = at_once(self.wanted[kind])
                fields |= {"elements": count, "number": self._span(kind, count), "free": free}
                self.errors.add(self._error(REGISTERS_TAKEN, name, **fields))
        self.errors.check()

    def _error(self, rule: Rule, name: str, **fields: object) -> CompileError:
        graph = self.graph
        user = next((op for op in graph.ops if name in (*op.operands, *op.results)), None)
        loc = graph.locs.get(name, ()) or (user.loc if user else ())
        where = (origin(loc).strip(" ()") or f"graph '{graph.name}'").removeprefix("from ")
        target = self.target.name
        return CompileError.of(
            rule, where=where, nodes=loc, piece=NO_PIECE, name=f"%{name}", target=target, **fields
        )


def _nothing(op: Op) -> None:
    """The sequencer's loop counter needs no place."""


def _groups(size: int, lanes: int) -> int:
    """Rows that `size` elements take at `lanes` a row."""
    return -(-size // lanes)
