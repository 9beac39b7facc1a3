"""Placement: every constant and state gets rows of a memory, every vector a register."""

from collections import Counter
from dataclasses import dataclass, field
from typing import ClassVar

from dmpc.errors import CompileError
from dmpc.ir.graph import Graph, Op, Place
from dmpc.ir.verify import origin
from dmpc.passes.base import Pass
from isa.target import Target, load_target

REGISTERS = ("events", "values")


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
        return graph


class _Allocator:
    def __init__(self, graph: Graph, target: Target) -> None:
        self.graph, self.target = graph, target
        self.used: Counter[str] = Counter()

    def op(self, op: Op) -> None:
        """Place what an op reads and writes."""
        lanes = self.target.lanes
        layer = str(op.attrs["layer"])
        if op.kind == "matvec":
            neurons, inputs = self.graph.types[op.operands[1]].shape
            bank = self.target.bank[self.target.bank_for(str(op.attrs["path"]))].name
            self.rows(bank, (op.operands[1],), _groups(neurons, lanes) * inputs)
        elif op.kind == "scalar_drive":
            self.rows("drive", (op.operands[1],), self.graph.types[op.operands[1]].shape[0])
            self.register(op.results[0])
        elif op.kind == "state_update":
            size = self.graph.types[op.operands[0]].shape[0]
            blocks = _groups(size, self.target.update.lanes)
            self.rows("update", op.operands[2:4], blocks * (size + 1))
            self.register(op.operands[0])
            self.graph.placement[op.results[0]] = self.graph.placement[op.operands[0]]
        elif op.kind in ("lif_step", "accumulate_logits"):
            memory = "neuron" if op.kind == "lif_step" else "readout"
            groups = _groups(self.graph.types[op.operands[0]].shape[0], lanes)
            self.rows(memory, op.operands[:1], groups)
            self.rows(
                "parameter", tuple(n for n in op.operands if n in self.graph.constants), groups
            )
            if op.kind == "lif_step":
                self.register(op.results[0])
        else:
            raise CompileError(f"{op.kind} of {layer} has no place in memory")

    def rows(self, memory: str, names: tuple[str, ...], count: int) -> None:
        """The next `count` rows of a memory, shared by `names`; values placed before stay."""
        if all(name in self.graph.placement for name in names):
            return
        size = self.target.memories[memory].rows
        first = self.used[memory]
        if first + count > size:
            raise CompileError(
                f"%{names[0]} needs {count} rows of the {memory} memory; {size - first} of {size} "
                f"are free on target {self.target.name}",
                where=self._where(names[0]),
                hint="use a smaller layer, or a target with a larger memory",
            )
        self.used[memory] += count
        for name in names:
            self.graph.placement[name] = Place(memory, first, count)

    def register(self, name: str) -> None:
        """The next vector register of the kind that a value needs."""
        type_ = self.graph.types[name]
        kind = "events" if type_.dtype == "event" else "values"
        file = self.target.events if kind == "events" else self.target.values
        padded = _groups(type_.shape[0], self.target.lanes) * self.target.lanes
        if (padded if kind == "events" else type_.shape[0]) > file.width:
            raise CompileError(
                f"%{name} has {type_.shape[0]} elements; {kind} registers of target "
                f"{self.target.name} hold {file.width}",
                where=self._where(name),
                hint="use a smaller layer, or a target with wider registers",
            )
        if self.used[kind] >= file.count:
            raise CompileError(
                f"%{name} needs a register; all {file.count} {kind} registers of target "
                f"{self.target.name} are taken",
                where=self._where(name),
                hint="use fewer layers, or a target with more registers",
            )
        self.graph.placement[name] = Place(kind, self.used[kind], 1)
        self.used[kind] += 1

    def _where(self, name: str) -> str:
        graph = self.graph
        user = next((op for op in graph.ops if name in (*op.operands, *op.results)), None)
        loc = graph.locs.get(name, ()) or (user.loc if user else ())
        return (origin(loc).strip(" ()") or f"graph '{graph.name}'").removeprefix("from ")


def _groups(size: int, lanes: int) -> int:
    """Rows that `size` elements take at `lanes` a row."""
    return -(-size // lanes)
