"""A program recorded as micro-operations, which the fast engine runs.

Each instruction's `execute` is called once, when an image is loaded, with a `Recorder` in the place
of the machine: operands and loaded memories are known by then, so what is recorded is a straight
line of vector operations on constants and on what flows through the machine. Every value carries
the bounds that follow from widths and weights. They choose 32 bits for it where those suffice, and
leave out saturations that cannot happen.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from isa.arithmetic import Int
from isa.core import Loaded
from isa.engines.joint import Joint, Part, joined
from isa.engines.nodes import Bounds, Node, bounds_of, narrow, signed, within
from isa.engines.tables import Table
from isa.errors import Trap
from isa.format import Instruction
from isa.kernel import Kernel, geometry
from isa.layout import Layout
from isa.machine import StateMemory
from isa.native.records import MEMORIES, OPS, SUMS
from isa.parameters import Parameters
from isa.target import Target

OP = {name: number for number, name in enumerate(OPS)}
SUMS_OF_ROWS = ("ADD_ROWS", "MULTIPLY_ROWS")


@dataclass(frozen=True)
class Saturable:
    """Where values are clipped: by which instruction, for what cause, how many a sample."""

    pc: int
    cause: str
    elements: int
    counter: int | None
    """Its number in the engine's counts; None where bounds show that nothing is ever clipped."""


class RegisterFile:
    """A vector register file as a recorder sees it."""

    def __init__(self, recorder: "Recorder", letter: str) -> None:
        self.recorder, self.letter = recorder, letter
        vectors = recorder.target.events if letter == "e" else recorder.target.values
        self.kind = "EVENTS" if letter == "e" else "VALUES"
        self.bounds = (0, 1) if letter == "e" else signed(vectors.bits)

    def read(self, number: int, size: int | None = None) -> Node:
        """The first `size` elements of a register."""
        assert size is not None, "an instruction says how much of a register it reads"
        node = self.recorder.node(f"READ_{self.kind}", size, self.bounds, fields={"x": number})
        self.recorder.reads.append(node)
        return node

    def write(self, number: int, data: Node | Int) -> None:
        """Replace a register, or a group of them."""
        self.append(number, 0, data)

    def append(self, number: int, offset: int, data: Node | Int) -> None:
        """Make a vector of `offset` elements longer; at 0, replace it."""
        assert within(bounds_of(data), self.bounds), "wider than a register's elements"
        n = data.n if isinstance(data, Node) else data.size
        widest = self.recorder.widest
        widest[self.letter] = max(widest[self.letter], offset + n)
        if isinstance(data, Node) and data.op == "INPUT":  # it goes where it is wanted
            events = int(self.letter == "e")
            self.recorder.emit_op("INPUT", n, x=number, y=events, **data.fields)
            return
        whole = self.letter == "e" and not offset
        if whole and isinstance(data, Node) and data.op == "READ_EVENTS":
            data.places[False] = -1  # it is read where it lies
            self.recorder.emit_op("COPY_EVENTS", n, x=number, y=data.fields["x"])
            return
        a = self.recorder.place(data, n, wide=False)
        self.recorder.emit_op(f"WRITE_{self.kind}", n, a=a, x=number, z=offset)


class Recorder:
    """`isa.machine.Machine` that records what a program's instructions do."""

    def __init__(self, loaded: Loaded, code: Sequence[Instruction]) -> None:
        self.target: Target = loaded.target
        self.loaded, self.code = loaded, code
        self.events, self.values = RegisterFile(self, "e"), RegisterFile(self, "v")
        self.micros: list[dict[str, int]] = []
        self.constants: list[NDArray[Any]] = []
        self._places: dict[tuple[str, bytes], int] = {}
        self.saturable: list[Saturable] = []
        self.counters = 0
        self.widest = {"e": 0, "v": 0}
        self._windows = any(op.mnemonic == "window" for op in code)
        self.temporaries = 0
        self.largest = 1
        self._sums: dict[tuple[int, str], int] = {}
        self.pc = 0
        self.reads: list[Node] = []
        self._used = 0
        works = [op.work(self.target) for op in code]
        self._measured: dict[int, list[tuple[int, str, Node]]] = {}
        self._measuring = True
        for pc, work in enumerate(works):
            if work.bank is not None:
                self.record(pc)
        self._measuring = False
        self._joint = joined(code, works, self._parts())
        of_kind = [
            sum(most for (_, k), most in self._sums.items() if k == kind)
            for kind in ("events", "values")
        ]
        self.wide = not narrow((0, max(of_kind)))

    def _parts(self) -> dict[int, Part]:
        """What the instructions on banks add to their bursts, of those that add rows."""
        parts = {}
        for pc, measured in self._measured.items():
            for _, kind, sums in measured if len(measured) == 1 else ():
                if sums.op in SUMS_OF_ROWS:
                    read, rows = sums.operands
                    assert isinstance(read, Node)
                    assert not isinstance(rows, Node)
                    register = f"{read.op[5].lower()}{read.fields['x']}"
                    parts[pc] = Part(kind, register, rows)
        return parts

    def record(self, pc: int) -> tuple[int, int] | None:
        """First micro-operation of an instruction and how many it has; None if it always traps."""
        first, marks = len(self.micros), (len(self.saturable), self.counters)
        self.pc, self.reads, self._used = pc, [], 0
        try:
            self.code[pc].execute(self)
        except Trap:
            del self.micros[first:], self.saturable[marks[0] :]
            self.counters = marks[1]
            return None
        if self._measuring:
            return None
        for read in self.reads:  # nobody needed its values, but that it was written
            if not read.places:
                events = int(read.op == "READ_EVENTS")
                self.emit_op("CHECK_REGISTER", read.n, x=read.fields["x"], y=events)
        self.temporaries = max(self.temporaries, _reuse(self.micros[first:]))
        return first, len(self.micros) - first

    # -- values -----------------------------------------------------------------------------------

    def node(
        self,
        op: str,
        n: int,
        bounds: Bounds,
        operands: tuple[Node | Int, ...] = (),
        fields: dict[str, int] | None = None,
        *,
        wide: bool = False,
    ) -> Node:
        """A value that is not worked out before something needs it."""
        wide = wide or not narrow(bounds, *(bounds_of(operand) for operand in operands))
        return Node(self, op, n, bounds, operands, fields or {}, wide)

    def operand(self, value: Any, n: int) -> Node | Int:
        """A value as an operand of n elements."""
        if isinstance(value, Node):
            if value.op == "STEPS" and value.n != n:
                return self.node("STEPS", n, value.bounds, fields=value.fields, wide=True)
            return value
        return np.broadcast_to(np.asarray(value, np.int64).reshape(-1), (n,))

    def place(self, value: Node | Int, n: int, *, wide: bool) -> int:
        """Where a value lies, a temporary or a constant, in the width asked for."""
        if not isinstance(value, Node):
            array = np.broadcast_to(value.reshape(-1), (n,))
            return self.constant(array.astype(np.int64 if wide else np.int32))
        if not value.places:
            value.places[value.wide] = self._work_out(value)
        if wide not in value.places:
            assert wide or narrow(value.bounds), "a value that does not fit 32 bits"
            number = self._temporary(value.n)
            op = "WIDEN" if wide else "NARROW"
            value.places[wide] = self.emit_op(op, value.n, dst=number, a=value.places[not wide])
        return value.places[wide]

    def _work_out(self, node: Node) -> int:
        if node.op in SUMS_OF_ROWS:
            rows = node.operands[1]
            assert not isinstance(rows, Node)
            return self._sum_rows(node, rows, bank=-1, wide=node.wide)
        if node.op == "CONVOLVE":
            return self._convolved(node, bank=-1, wide=node.wide)
        places = [self.place(operand, node.n, wide=node.wide) for operand in node.operands]
        operands = dict(zip("abc", places, strict=False))
        number = self._temporary(node.n)
        fields = {**node.fields}
        if node.operands:
            fields["x"] = int(node.wide)
        return self.emit_op(node.op, node.n, dst=number, **operands, **fields)

    def _sum_rows(self, node: Node, rows: Int, *, bank: int, wide: bool) -> int:
        """Add rows up: in a temporary, or for a bank (its number)."""
        read = node.operands[0]
        assert isinstance(read, Node)
        read.places[False] = -1  # it is read where it lies
        table = Table(rows, node.op == "ADD_ROWS", narrow(read.bounds, signed(16)))
        place = {"dst": self._temporary(node.n)} if bank < 0 else {}
        return self.emit_op(
            node.op,
            table.columns,
            **place,
            a=self._hold(table.array),
            x=read.fields["x"],
            y=read.n,
            z=wide,
            w=bank,
            low=table.together,
            high=node.n,
        )

    def _temporary(self, n: int) -> int:
        self._used += 1
        self.largest = max(self.largest, n)
        return self._used - 1

    def constant(self, array: NDArray[Any]) -> int:
        """The place of a constant: -1 - its number."""
        key = (array.dtype.str, array.tobytes())
        if key not in self._places:
            self._places[key] = self._hold(array)
        return self._places[key]

    def _hold(self, array: NDArray[Any]) -> int:
        self.constants.append(np.ascontiguousarray(array))
        return -len(self.constants)

    def emit_op(self, op: str, n: int, **fields: int) -> int:
        """Add a micro-operation; the place of what it makes."""
        self.micros.append({"op": OP[op], "n": n, **fields})
        return fields.get("dst", 0)

    # -- the machine ------------------------------------------------------------------------------

    def steps_from(self, since: int) -> Node:
        """How many timesteps the sample has from one on."""
        return self.node("STEPS", 1, (0, 1 << 40), fields={"low": since}, wide=True)

    def trap(self, cause: str) -> NoReturn:
        """The instruction always traps; what it says is the reference engine's to tell."""
        raise Trap(cause)

    def check(self, holds: object, cause: str) -> None:
        """Trap unless something holds."""
        if not holds:
            self.trap(cause)

    def saturate(self, x: Node, bits: int, cause: str) -> Node:
        """Clip to `bits`, counting changes."""
        low, high = signed(bits)
        fits = within(x.bounds, (low, high))
        counter = None if fits else self.counters
        self.saturable.append(Saturable(self.pc, cause, x.n, counter))
        if fits:
            return x
        self.counters += 1
        bounds = (min(max(x.bounds[0], low), high), max(min(x.bounds[1], high), low))
        fields = {"y": self.counters - 1, "low": low, "high": high}
        clipped = self.node("SATURATE", x.n, bounds, (x,), fields)
        self.place(clipped, x.n, wide=clipped.wide)  # it counts whether or not anybody needs it
        return clipped

    def zeros(self, size: int) -> Int:
        """Zeros."""
        return np.zeros(size, np.int64)

    def next_input(self, size: int, low: int, high: int) -> Node:
        """The next timestep of the input stream."""
        return self.node("INPUT", size, (low, high), fields={"low": low, "high": high})

    def emit(self, data: Node) -> None:
        """Send numbers to the host."""
        self.emit_op("EMIT", data.n, a=self.place(data, data.n, wide=True))

    def rows(self, memory: str, row: int, count: int) -> Int:
        """Rows of a loaded memory."""
        return self.loaded.rows(memory, row, count)

    def weights(self, bank: int, row: int, layout: Layout) -> Int:
        """Weights of a bank."""
        return self.loaded.weights(bank, row, layout)

    def parameters(self, row: int, groups: int) -> Parameters:
        """Parameters of neurons."""
        return self.loaded.parameters(row, groups)

    def add_rows(self, rows: Int, events: Node) -> Node:
        """Sum of the rows of active events."""
        low, high = np.minimum(rows, 0).sum(0), np.maximum(rows, 0).sum(0)
        bounds = (int(low.min(initial=0)), int(high.max(initial=0)))
        return self.node("ADD_ROWS", rows.shape[1], bounds, (events, rows))

    def product(self, values: Node, rows: Int) -> Node:
        """Sum of the rows times values."""
        most = max(abs(bound) for bound in values.bounds)
        high = int(np.abs(rows).sum(0).max(initial=0)) * most
        return self.node("MULTIPLY_ROWS", rows.shape[1], (-high, high), (values, rows))

    def convolve(self, rows: Int, data: Node, layout: Layout) -> Node:
        """Sums of a kernel's rows times events or values."""
        kernel = layout.kernel
        assert kernel
        pooled = kernel.y.pool * kernel.x.pool
        blocks = rows.reshape(kernel.blocks, -1, self.target.lanes)
        low, high = (end(blocks, 0).sum(1) * pooled for end in (np.minimum, np.maximum))
        bounds = (int(low.min(initial=0)), int(high.max(initial=0)))
        if data.op != "READ_EVENTS":
            most = max(abs(bound) for bound in data.bounds)
            largest = most * int((high - low).max(initial=0))
            bounds = -largest, largest
        places = {"a": self._kernel_rows(kernel, rows), "b": self.geometry(layout)}
        n = layout.groups * self.target.lanes
        return self.node("CONVOLVE", n, bounds, (data,), places)

    def geometry(self, layout: Layout) -> int:
        """The place of some groups of a kernel, as the compiled engine takes them."""
        assert layout.kernel
        return self.constant(geometry(layout.kernel, layout.start, layout.groups))

    def _kernel_rows(self, kernel: Kernel, rows: Int) -> int:
        """The place of a kernel's rows, by part, tap, channel: blocks of a part side by side."""
        parts = rows.reshape(kernel.parts, -1, kernel.per_block, self.target.lanes)
        return self.constant(parts.transpose(0, 2, 1, 3).astype(np.int32))

    def _convolved(self, node: Node, *, bank: int, wide: bool) -> int:
        """Convolve: in a temporary, or for a bank (its number)."""
        read = node.operands[0]
        assert isinstance(read, Node)
        read.places[False] = -1  # it is read where it lies
        place = {"dst": self._temporary(node.n)} if bank < 0 else {}
        where = {"x": read.fields["x"], "y": read.n, "low": int(read.op == "READ_EVENTS")}
        return self.emit_op("CONVOLVE", node.n, **place, **node.fields, **where, z=wide, w=bank)

    def read_state(self, memory: StateMemory, row: int, groups: int) -> Node:
        """Membranes or logits."""
        described = self.target.memories[memory]
        n = groups * described.lanes
        wide = memory == "readout"
        node = self.node(f"READ_{memory}", n, signed(described.bits), wide=wide)
        x = MEMORIES.index(memory)
        number = self._temporary(n)
        node.places[wide] = self.emit_op("READ_STATE", n, dst=number, x=x, y=row, z=groups)
        return node

    def write_state(self, memory: StateMemory, row: int, groups: int, data: Node | int) -> None:
        """Store membranes or logits."""
        described = self.target.memories[memory]
        n = groups * described.lanes
        holds = signed(described.bits) if memory != "ring" else (0, 1)
        assert within(bounds_of(data), holds), f"wider than what {memory} holds"
        where = {"x": MEMORIES.index(memory), "y": row, "z": groups}
        if isinstance(data, Node):
            a = self.place(data, n, wide=memory == "readout")
            self.emit_op("WRITE_STATE", n, a=a, **where)
        else:
            self.emit_op("FILL_STATE", n, low=data, **where)

    def delay(self, events: Node, delays: Int, row: int, rows: int, length: int) -> Node:
        """Events of the present timestep, from a ring."""
        events.places[False] = -1
        a = self.constant(delays.astype(np.int32))
        node = self.node("DELAY_EVENTS", events.n, (0, 1))
        where = {"x": events.fields["x"], "y": row, "z": length, "w": rows}
        number = self._temporary(events.n)
        node.places[False] = self.emit_op("DELAY_EVENTS", events.n, dst=number, a=a, **where)
        return node

    def accumulate(
        self, bank: int, kind: str, sums: Node, groups: int, join: bool, spill: bool = False
    ) -> None:
        """Add sums to the open burst of a bank, or begin one."""
        burst = self.target.sequencer.queue  # no burst is longer than the queue before its bank
        most = max(map(abs, sums.bounds)) * burst
        self._sums[bank, kind] = max(self._sums.get((bank, kind), 0), most)
        if self._measuring:
            self._measured.setdefault(self.pc, []).append((bank, kind, sums))
            return
        self.emit_op("ACCUMULATE", sums.n, x=bank, y=groups, z=int(join), w=int(spill))
        self.largest = max(self.largest, sums.n)
        if sums.op == "CONVOLVE":
            self._convolved(sums, bank=bank, wide=self.wide)
            return
        if sums.op not in SUMS_OF_ROWS or sums.places:
            a = self.place(sums, sums.n, wide=self.wide)
            self.emit_op("ADD_SUMS", sums.n, a=a, x=bank, y=int(kind == "values"))
            return
        rows = sums.operands[1]
        assert not isinstance(rows, Node)
        joint = self._joint.get(self.pc, Joint(bank, rows))
        if joint.rows is not None:
            self._sum_rows(sums, joint.rows, bank=joint.bank, wide=self.wide)

    def take(self, banks: Sequence[int], groups: int, bits: int) -> tuple[Node, Node]:
        """Sums over banks of events and of values."""
        n = groups * self.target.lanes
        taken = []
        for number, kind in enumerate(("events", "values")):
            most = sum(self._sums.get((bank, kind), 0) for bank in banks)
            node = self.node("TAKE", n, (-most, most), wide=self.wide)
            if banks:
                node.places[self.wide] = SUMS + 2 * min(banks) + number
            else:
                zeros = self.zeros(n)
                node.places = {wide: self.place(zeros, n, wide=wide) for wide in (False, True)}
            taken.append(node)
        self.emit_op("TAKE", n, x=sum(1 << bank for bank in banks), y=groups)
        return (
            self.saturate(taken[0], bits, "event sums"),
            self.saturate(taken[1], bits, "value sums"),
        )

    def set_aside(self, window: int, memory: str, at: int, rows: int) -> None:
        """Make rows of a memory a window."""
        self.loaded.check_window(memory, at, rows)
        self.emit_op("SET_ASIDE", 0, x=window, y=self._memory(memory), z=at, w=rows)

    def load(
        self,
        window: int,
        memory: str,
        row: int,
        rows: int,
        source: tuple[int, int] | None = None,
        *,
        page: bool = False,
    ) -> None:
        """Let a window hold external rows."""
        if row < self.target.memories[memory].rows:
            self.trap("they lie on the chip")
        self._window("LOAD", window, memory, row, rows, source, n=int(page))

    def near(
        self,
        window: int | None,
        memory: str,
        row: int,
        rows: int,
        source: tuple[int, int] | None = None,
    ) -> None:
        """Trap unless rows are on the chip."""
        if window is None and row + rows > self.target.memories[memory].rows:
            self.trap("they are not on the chip")
        if window is not None or (memory == "neuron" and self._windows):
            self._window("NEAR", -1 if window is None else window, memory, row, rows, source)

    def _window(
        self,
        op: str,
        window: int,
        memory: str,
        row: int,
        rows: int,
        source: tuple[int, int] | None,
        n: int = 0,
    ) -> None:
        register, inputs = source or (-1, 0)
        where = {"x": window, "y": self._memory(memory), "z": row, "w": rows}
        self.emit_op(op, n, **where, low=register, high=inputs)

    def _memory(self, name: str) -> int:
        """The number of a memory among windows: membranes and parameters go together."""
        return list(self.target.memories).index("neuron" if name == "parameter" else name)

    def enter_loop(self, length: int, counter: str, value: int, drain: int) -> None:
        """Loops are the engine's own."""

    def halt(self) -> None:
        """The end is the engine's own."""


def _reuse(micros: Sequence[dict[str, int]]) -> int:
    """Let temporaries lie where others lay that nothing needs any more; how many places they take.

    What lies in few places stays in the nearest cache.
    """
    used = [[name for name in "abc" if 0 <= micro.get(name, -1) < SUMS] for micro in micros]
    last = {micro[name]: at for at, micro in enumerate(micros) for name in used[at]}
    places: dict[int, int] = {}
    free: list[int] = []
    for at, micro in enumerate(micros):
        ending = {micro[name] for name in used[at] if last[micro[name]] == at}
        for name in used[at]:
            micro[name] = places[micro[name]]
        if "dst" in micro:  # operands lie there until it is done
            number = micro["dst"]
            places[number] = free.pop() if free else len(set(places.values()))
            micro["dst"] = places[number]
            ending |= {number} - last.keys()
        free.extend(sorted(places[number] for number in ending))
    return len(set(places.values()))
