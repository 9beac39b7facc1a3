"""Placement: every constant and state gets rows of a memory, every vector a register."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

from dmpc.backend.places import PARAMETRIC, bank_of, parameters_of, share_of
from dmpc.errors import CompileError, ErrorList
from dmpc.findings import NO_PIECE
from dmpc.ir.graph import Graph, Op, Place
from dmpc.ir.verify import origin
from dmpc.passes.base import Pass
from dmpc.rules import Rule, Stage, rule
from isa.sharing import rows_per_group
from isa.target import Target, load_target

MEMORY_FULL = rule(
    "memory-full",
    Stage.MACHINE,
    "{name} needs {count} rows of the {memory} memory; {free} of {size} are free on target "
    "{target}, and the network needs {total} in all",
    why="""All weights and parameters of a network lie in the core's own memories for the whole run;
    nothing is loaded in between.""",
    nearest="use a smaller layer, or a target with a larger memory",
)
REGISTER_WIDTH = rule(
    "register-width",
    Stage.MACHINE,
    "{name} has {elements} elements; {kind} registers of target {target} hold {width}",
    why="""A vector (the input, the spikes of a layer, a slow state) is in one register, whose width
    bounds the neurons of a layer and the number of inputs.""",
    nearest="use a smaller layer, pool the inputs, or a target with wider registers",
)
REGISTERS_TAKEN = rule(
    "registers-taken",
    Stage.MACHINE,
    "{name} needs a register; all {count} {kind} registers of target {target} are taken, and the "
    "network needs {total} in all",
    why="""The input and each layer's spikes take a register of events, each drive and slow state
    one of values; layers that overlap in time take copies.""",
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

SHORTAGES = (MEMORY_FULL, REGISTER_WIDTH, REGISTERS_TAKEN, LONG_DELAY)
"""What another target may be large enough for."""


@dataclass(frozen=True)
class PlaceInMemory(Pass):
    """Allocates memories and registers of `target` in the order of the graph's ops."""

    name: ClassVar[str] = "place"
    target: Target = field(default_factory=lambda: load_target("paper"))

    def run(self, graph: Graph) -> Graph:
        """The graph with `placement` filled; CompileError if something does not fit."""
        graph = graph.copy()
        graph.level = "placed"
        allocator = _Allocator(graph, self.target)
        for name in graph.inputs:
            allocator.register(name)
        for op in graph.ops:
            allocator.op(op)
        allocator.check()
        return graph


class _Allocator:
    def __init__(self, graph: Graph, target: Target) -> None:
        self.graph, self.target = graph, target
        self.used: Counter[str] = Counter()
        # By memory or kind of register: the first value without room, what it takes, what is free.
        self.homeless: dict[str, tuple[str, int, int]] = {}
        self.errors = ErrorList()

    def op(self, op: Op) -> None:
        """Place what an op reads and writes."""
        places: dict[str, Callable[[Op], None]] = {
            "matvec": self._product,
            "scalar_drive": self._drive,
            "state_update": self._update,
            "hold": self._state,
            "delay": self._delay,
            "lif_step": self._neurons,
            "leak": self._neurons,
            "integrate_events": self._membranes,
            "integrate_values": self._membranes,
            "fire": self._neurons,
            "accumulate_logits": self._logits,
            "total_logits": self._logits,
            "count": self._state,
            "tick": _nothing,
            "move": self._copy,
        }
        if op.kind not in places:
            raise CompileError(f"{op.kind} of {op.attrs['layer']} has no place in memory")
        places[op.kind](op)

    def _product(self, op: Op) -> None:
        neurons, inputs = self.graph.types[op.operands[1]].shape
        _, share = share_of(op)
        rows = _groups(neurons, self.target.lanes) * rows_per_group(inputs, share)
        self.rows(self.target.bank[bank_of(op, self.target)].name, (op.operands[1],), rows)

    def _drive(self, op: Op) -> None:
        self.rows("drive", (op.operands[1],), self.graph.types[op.operands[1]].shape[0])
        self.register(op.results[0])

    def _update(self, op: Op) -> None:
        size = self.graph.types[op.operands[0]].shape[0]
        blocks = _groups(size, self.target.update.lanes)
        self.rows("update", op.operands[2:4], blocks * (size + 1))
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
        """Spikes in a register, with those of the timestep before in its other page."""
        self.register(name)
        for state in self.graph.states:
            if state.next == name:
                self.graph.placement[state.name] = self.graph.placement[name]

    def _membranes(self, op: Op) -> None:
        """Membranes, which stay in their rows from op to op, and the neurons' parameters."""
        name, groups = op.operands[0], self._rows_of(op.operands[0])
        self.rows("neuron", (name,), groups)
        self.graph.placement[op.results[-1]] = self.graph.placement[name]
        self._parameters(op, groups)

    def _parameters(self, op: Op, groups: int) -> None:
        """The parameters of a layer lie side by side, whichever of its ops reads them."""
        every = [
            name
            for other in self.graph.ops
            if other.attrs["layer"] == op.attrs["layer"] and other.kind in PARAMETRIC
            for name in parameters_of(self.graph, other)
        ]
        self.rows("parameter", tuple(dict.fromkeys(every)), groups)

    def _logits(self, op: Op) -> None:
        groups = self._rows_of(op.results[0])
        self.rows("readout", op.results, groups)
        if op.kind == "accumulate_logits":
            self.graph.placement[op.operands[0]] = self.graph.placement[op.results[0]]
        self._parameters(op, groups)

    def _rows_of(self, name: str) -> int:
        return _groups(self.graph.types[name].shape[0], self.target.lanes)

    def rows(self, memory: str, names: tuple[str, ...], count: int) -> None:
        """The next `count` rows of a memory, shared by `names`; values placed before stay."""
        if all(name in self.graph.placement for name in names):
            return
        first = self.used[memory]
        if first + count > self._rows_in(memory):
            self.homeless.setdefault(memory, (names[0], count, self._rows_in(memory) - first))
        self.used[memory] += count
        for name in names:
            self.graph.placement[name] = Place(memory, first, count)

    def _rows_in(self, memory: str) -> int:
        return self.target.memories[memory].rows

    def register(self, name: str) -> None:
        """The next vector register of the kind that a value needs."""
        type_ = self.graph.types[name]
        kind = "events" if type_.dtype == "event" else "values"
        file = self.target.events if kind == "events" else self.target.values
        padded = _groups(type_.shape[0], self.target.lanes) * self.target.lanes
        if (padded if kind == "events" else type_.shape[0]) > file.width:
            fields = {"elements": type_.shape[0], "kind": kind, "width": file.width}
            self.errors.add(self._error(REGISTER_WIDTH, name, **fields))
        if self.used[kind] >= file.count:
            self.homeless.setdefault(kind, (name, 1, 0))
        self.graph.placement[name] = Place(kind, self.used[kind], 1)
        self.used[kind] += 1

    def check(self) -> None:
        """Raises CompileError with everything that found no room."""
        for kind, (name, count, free) in self.homeless.items():
            fields: dict[str, object] = {"total": self.used[kind]}
            if kind in self.target.memories:
                fields |= {"memory": kind, "count": count, "free": free}
                self.errors.add(self._error(MEMORY_FULL, name, size=self._rows_in(kind), **fields))
            else:
                file = self.target.events if kind == "events" else self.target.values
                fields |= {"kind": kind, "count": file.count}
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
