"""The architectural state of the machine, and the checked accesses that instructions make to it.

All volatile state has a leading batch axis: one core per sample, in lockstep. That is faithful
because control never depends on data and nothing volatile survives from one sample to the next:
at the start of a sample every register and row is unwritten, and reading one traps.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from isa.arithmetic import Int, Saturation, add_rows
from isa.errors import Trap
from isa.format import Instruction
from isa.layout import Layout
from isa.limits import PERIOD
from isa.machine import StateMemory
from isa.parameters import KEPT, Parameters
from isa.sequencer import Sequencer
from isa.target import Target, Vectors
from isa.work import INPUT, BankRows, Work

Table = NDArray[np.signedinteger]


@dataclass(frozen=True)
class Contents:
    """What was brought into one weight memory before the run: rows 0 .. len-1, written where
    `valid`; and its rows in external memory, whose numbers follow those on the chip."""

    rows: Table
    valid: NDArray[np.bool_]
    external: Table


class Loaded:
    """The memories that the loader filled, as instructions read them: tables that never change."""

    def __init__(self, target: Target, memories: Mapping[str, Contents]) -> None:
        self.target, self.memories = target, memories
        self._weights: dict[tuple[int, int, Layout], Int] = {}
        self._parameters: dict[tuple[int, int], Parameters] = {}

    def rows(self, memory: str, row: int, count: int) -> Int:
        """Rows of a memory, [count, lanes]; Trap outside it or on rows nobody wrote."""
        limit, contents = self.target.memories[memory].rows, self.memories[memory]
        far = self.all_rows(memory)
        if row + count > far:
            raise Trap(f"{memory} rows {row} .. {row + count - 1} of {far} were read")
        if row >= limit:
            return contents.external[row - limit : row - limit + count].astype(np.int64)
        if not (row + count <= len(contents.rows) and contents.valid[row : row + count].all()):
            raise Trap(f"{memory} rows {row} .. {row + count - 1} were read, not all are loaded")
        return contents.rows[row : row + count].astype(np.int64)

    def weights(self, bank: int, row: int, layout: Layout) -> Int:
        """Weights [inputs, groups * lanes] of a bank, zero where it holds no row.

        Of a kernel, its rows [rows, lanes].
        """
        if layout.kernel:
            layout = replace(layout, groups=0, start=0)  # the same for all of its groups
        key = (bank, row, layout)
        if key not in self._weights:
            groups, share = layout.groups, layout.share
            if bank >= len(self.target.bank):
                raise Trap(f"b{bank}: the target has {len(self.target.bank)} banks")
            if layout.kernel:
                self._weights[key] = self.rows(self.target.bank[bank].name, row, layout.rows)
                return self._weights[key]
            if not 1 <= share <= PERIOD:
                raise Trap(f"a share of {share} sixteenths of the rows")
            rows = self.rows(self.target.bank[bank].name, row, layout.rows)
            rows = np.concatenate([rows, np.zeros((1, self.target.lanes), np.int64)])
            table = rows[layout.table()]
            self._weights[key] = np.ascontiguousarray(
                table.transpose(1, 0, 2).reshape(layout.inputs, groups * self.target.lanes)
            )
        return self._weights[key]

    def all_rows(self, memory: str) -> int:
        """Rows of a memory with external ones; membranes have as many as their parameters."""
        far = len(self.memories["parameter" if memory == "neuron" else memory].external)
        return self.target.memories[memory].rows + far

    def check_window(self, memory: str, at: int, rows: int) -> None:
        """Trap unless two pages lie on the chip, on rows that nothing was loaded into."""
        if self.target.external is None:
            raise Trap("a window: the target has no external memory")
        if memory not in self.memories:
            raise Trap(f"a window in {memory}: the target has no such memory")
        limit = self.target.memories[memory].rows
        if not 0 < rows <= (limit - at) // 2:
            raise Trap(f"a window of two pages of {rows} rows at row {at} of {limit} of {memory}")
        taken = "parameter" if memory == "neuron" else memory
        if at < len(self.memories[taken].rows):
            raise Trap(f"a window at row {at} of {memory}, where something was loaded")

    def parameters(self, row: int, groups: int) -> Parameters:
        """Parameters of the neurons of `groups` groups, arrays [groups * lanes]."""
        key = (row, groups)
        if key not in self._parameters:
            found = Parameters.unpack(self.rows("parameter", row, groups).ravel())
            if (found.leak < 0).any():
                raise Trap(f"a leak of {found.leak.min()} / {KEPT} would turn a membrane's sign")
            self._parameters[key] = found
        return self._parameters[key]


@dataclass(frozen=True)
class Held:
    """External rows that a window holds: all of them, or of a version of a `source` of events."""

    memory: str
    row: int
    rows: int
    source: tuple[int, int] | None
    version: int


@dataclass
class Partial:
    """Sums of a burst that waits for its consumer: [batch, groups * lanes] each."""

    events: Int
    values: Int
    groups: int
    open: bool
    spilled: bool = False


class Vector:
    """A vector register file: vectors [batch, elements written] by their first register.

    `versions` counts how often each was written.
    """

    def __init__(self, letter: str, file: Vectors, trap: Callable[[str], NoReturn]) -> None:
        self.letter, self.file, self._trap = letter, file, trap
        self._data: dict[int, Int] = {}
        self.versions: Counter[int] = Counter()

    def read(self, number: int, size: int | None = None) -> Int:
        """The first `size` elements [batch, size], or all; traps if they were not all written."""
        data = self._data.get(number)
        if data is None:
            self._trap(f"{self.letter}{number} was read before it was written in this sample")
        if size is not None and size > data.shape[1]:
            self._trap(f"{self.letter}{number} holds {data.shape[1]} elements, {size} were read")
        return data[:, :size]

    def written(self) -> list[tuple[int, Int]]:
        """The registers that were written in this sample, by number."""
        return sorted(self._data.items())

    def write(self, number: int, data: Int) -> None:
        """Replace a register, or a group, by `data` [batch, size]; traps beyond the last one."""
        end = number + self.file.span(data.shape[1])
        if end > self.file.count:
            self._trap(f"{self.letter}{end - 1}: the target has {self.file.count} such registers")
        for other, held in list(self._data.items()):
            if other < end and other + self.file.span(held.shape[1]) > number:
                del self._data[other]  # it lay in the same registers
        self._data[number] = data
        self.versions[number] += 1

    def append(self, number: int, offset: int, data: Int) -> None:
        """Make a vector of `offset` elements longer; at 0, replace it."""
        if offset:
            held = self.read(number)
            if held.shape[1] != offset:
                name = f"{self.letter}{number}"
                self._trap(f"{name} holds {held.shape[1]} elements, {offset} lie before the next")
            data = np.concatenate([held, data], axis=1)
        self.write(number, data)


class Core:
    """State of one run of a program over a batch of samples, each [timesteps, inputs].

    It is `isa.machine.Machine` on arrays.
    """

    def __init__(self, code: Sequence[Instruction], loaded: Loaded, inputs: Int) -> None:
        self.target = target = loaded.target
        self.loaded = loaded
        self.inputs = inputs
        self.batch, self.steps, self.width = inputs.shape
        self.sequencer = Sequencer(code, target.sequencer.loops, self.steps, self.trap)
        self.saturation: Saturation[tuple[int, str]] = Saturation()
        self.events = Vector("e", target.events, self.trap)
        self.values = Vector("v", target.values, self.trap)
        self._windows: dict[int, tuple[str, int, int]] = {}
        self._held: dict[int, Held] = {}
        self.outputs: list[Int] = []
        self.partial: dict[int, Partial] = {}
        self.timestep = 0
        self._state = {
            name: np.zeros((self.batch, loaded.all_rows(name), memory.lanes), np.int64)
            for name, memory in self.target.memories.items()
            if name in ("neuron", "readout", "ring")
        }
        self._written = {name: np.zeros(s.shape[1], np.bool_) for name, s in self._state.items()}

    def trap(self, cause: str) -> NoReturn:
        """Stop the machine at the current instruction."""
        raise Trap(cause, pc=self.sequencer.pc)

    def check(self, holds: object, cause: str) -> None:
        """Trap unless something holds, which must follow from operands and loaded memories."""
        if not holds:
            self.trap(cause)

    def saturate(self, x: Int, bits: int, cause: str) -> Int:
        """Clip to `bits`, counting changes under the current instruction and `cause`."""
        return self.saturation(x, bits, (self.sequencer.pc, cause))

    def zeros(self, size: int) -> Int:
        """Zeros, [batch, size]."""
        return np.zeros((self.batch, size), np.int64)

    def steps_from(self, since: int) -> int:
        """How many timesteps the sample has from one on."""
        left: int = max(self.steps - since, 0)
        return left

    # -- input and output -------------------------------------------------------------------------

    def next_input(self, size: int, low: int, high: int) -> Int:
        """The next timestep of the input stream, [batch, size], elements within low .. high."""
        if self.timestep >= self.steps:
            self.trap(f"the input stream ended after {self.steps} timesteps")
        if size != self.width:
            self.trap(f"the program takes {size} inputs, the stream has {self.width}")
        data = self.inputs[:, self.timestep]
        if data.size and (data.min() < low or data.max() > high):
            self.trap(f"input outside {low} .. {high} in timestep {self.timestep}")
        self.timestep += 1
        return data

    def emit(self, data: Int) -> None:
        """Send numbers to the host."""
        self.outputs.append(data.copy())

    def active(self, work: Work) -> Int:
        """Events that a demand depends on: [batch]."""
        if work.active is None:
            return np.zeros(self.batch, np.int64)
        register, size = work.active
        if register == INPUT:
            data = self.inputs[:, min(self.timestep, self.steps - 1)]
        else:
            data = self.events.read(int(register[1:]), size)
        active: Int = data.sum(1)
        return active

    def bank_rows(self, work: Work, rows: BankRows) -> Int:
        """Rows that a bank reads by group modulo the period: [batch, PERIOD], or with a kernel
        [batch, groups]."""
        if rows.every or work.active is None:
            read = np.ones((1, rows.layout.inputs), np.int64)
        else:
            read = self.events.read(int(work.active.register[1:]), rows.layout.inputs)
        found = rows.layout.read(read)
        period = found.shape[1] if rows.layout.kernel else PERIOD
        return np.broadcast_to(found, (self.batch, period))

    # -- loaded memories --------------------------------------------------------------------------

    def rows(self, memory: str, row: int, count: int) -> Int:
        """Rows of a loaded memory, [count, lanes]; traps outside it or on rows nobody wrote."""
        return self.loaded.rows(memory, row, count)

    def weights(self, bank: int, row: int, layout: Layout) -> Int:
        """Weights [inputs, groups * lanes] of a bank, or a kernel's rows [rows, lanes]."""
        return self.loaded.weights(bank, row, layout)

    def parameters(self, row: int, groups: int) -> Parameters:
        """Parameters of the neurons of `groups` groups, arrays [groups * lanes]."""
        return self.loaded.parameters(row, groups)

    def add_rows(self, rows: Int, events: Int) -> Int:
        """Sum of the rows [inputs, n] of active events [batch, inputs]: [batch, n]."""
        return add_rows(rows, events)

    def product(self, values: Int, rows: Int) -> Int:
        """Sum of the rows [inputs, n] times values [batch, inputs]: [batch, n]."""
        sums: Int = values @ rows
        return sums

    def convolve(self, rows: Int, data: Int, layout: Layout) -> Int:
        """Sums [batch, groups * lanes] of a kernel's rows times inputs [batch, inputs]."""
        assert layout.kernel
        return layout.kernel.sums(rows, data, layout.start, layout.groups)

    # -- state memories ---------------------------------------------------------------------------

    def read_state(self, memory: StateMemory, row: int, groups: int) -> Int:
        """Membranes or logits [batch, groups * lanes]; traps on rows not written in this sample."""
        return self._rows_of(memory, row, groups).reshape(self.batch, -1)

    def write_state(self, memory: StateMemory, row: int, groups: int, data: Int | int) -> None:
        """Store membranes or logits [batch, groups * lanes] (or one number everywhere)."""
        self._check_state(memory, row, groups)
        if isinstance(data, np.ndarray):
            data = data.reshape(self.batch, groups, -1)
        self._state[memory][:, row : row + groups] = data
        self._written[memory][row : row + groups] = True

    def delay(self, events: Int, delays: Int, row: int, rows: int, length: int) -> Int:
        """Set events in the ring of `length` timesteps of `rows` rows, each `delays` ahead; the
        present timestep's, which are cleared.
        """
        ring = self._rows_of("ring", row, length * rows).reshape(self.batch, length, -1)
        timestep = self.sequencer.timestep_of(self.sequencer.fetch().stage)
        due, axon = (timestep + delays) % length, np.arange(len(delays))
        ring[:, due, axon] |= events
        present = ring[:, timestep % length]
        arrived = present[:, : len(delays)].copy()
        present[:] = 0
        return arrived

    def written_rows(self, memory: str) -> list[tuple[int, Int]]:
        """Rows of a state memory that were written in this sample, the first core's, by number."""
        rows = np.flatnonzero(self._written[memory])
        return [(int(row), self._state[memory][0, row].copy()) for row in rows]

    def _rows_of(self, memory: StateMemory, row: int, rows: int) -> Int:
        """Rows of a state memory themselves, [batch, rows, lanes], to change in place."""
        self._check_state(memory, row, rows)
        if not self._written[memory][row : row + rows].all():
            self.trap(f"{memory} rows {row} .. {row + rows - 1} were read before they were written")
        return self._state[memory][:, row : row + rows]

    def _check_state(self, memory: StateMemory, row: int, groups: int) -> None:
        limit = self.loaded.all_rows(memory)
        if groups == 0 or row + groups > limit:
            self.trap(f"{memory} rows {row} .. {row + groups - 1} of {limit} were addressed")

    # -- windows ----------------------------------------------------------------------------------

    def set_aside(self, window: int, memory: str, at: int, rows: int) -> None:
        """Make rows of a memory a window: two pages of `rows` rows from `at` on."""
        self.loaded.check_window(memory, at, rows)
        if window in self._windows:
            self.trap(f"w{window} was set aside before in this sample")
        if self._in_window(memory, at, 2 * rows):
            self.trap(f"w{window}: another window lies in rows {at} .. {at + 2 * rows - 1}")
        self._windows[window] = memory, at, rows

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
        """Let a window hold external rows; of `source`, an event register and how many of its
        inputs, those of active ones alone. With `page` they must be as many as it has.
        """
        where, _, most = self._windows.get(window, ("nothing", 0, 0))
        if where != memory:
            self.trap(f"w{window} was set aside for {where}, not for rows of {memory}")
        if rows > most or (page and rows < most):
            self.trap(f"{rows} rows are loaded into w{window}, whose pages have {most}")
        if row < self.target.memories[memory].rows:
            self.trap(f"{memory} row {row} lies on the chip, it cannot be loaded into w{window}")
        version = self.events.versions[source[0]] if source else 0
        self._held[window] = Held(memory, row, rows, source, version)

    def near(
        self,
        window: int | None,
        memory: str,
        row: int,
        rows: int,
        source: tuple[int, int] | None = None,
    ) -> None:
        """Trap unless rows, at least those of active inputs of `source`, are on the chip."""
        memory = "neuron" if memory == "parameter" else memory  # they go together
        last = row + rows - 1
        if window is None:
            if self.target.memories[memory].rows <= last < self.loaded.all_rows(memory):
                self.trap(f"{memory} row {last} is not on the chip; no window is named")
            if memory == "neuron" and self._in_window(memory, row, rows):
                self.trap(f"neuron rows {row} .. {last} were set aside for a window")
            return
        held = self._held.get(window)
        if held is None or held.memory != memory or row < held.row or last >= held.row + held.rows:
            self.trap(f"{memory} rows {row} .. {last} are not those that w{window} holds")
        if held.source is not None:
            same = (source, row, rows) == (held.source, held.row, held.rows)
            if not same or self.events.versions[held.source[0]] != held.version:
                self.trap(f"w{window} holds the rows of other events than these")

    def _in_window(self, memory: str, row: int, rows: int) -> bool:
        """Whether a window lies among some rows."""
        return any(
            where == memory and row < at + 2 * size and at < row + rows
            for where, at, size in self._windows.values()
        )

    # -- accumulators -----------------------------------------------------------------------------

    def first_to_spill(self, work: Work) -> bool:
        """Whether an instruction is the first of its burst whose partial sums lie in memory."""
        if not work.spill or work.bank is None:
            return False
        partial = self.partial.get(work.bank)
        return partial is None or not (partial.open and partial.spilled)

    def accumulate(
        self, bank: int, kind: str, sums: Int, groups: int, join: bool, spill: bool = False
    ) -> None:
        """Add `sums` [batch, groups * lanes] to the open burst of `bank`, or begin one."""
        partial = self.partial.get(bank)
        if partial is None:
            zero = np.zeros_like(sums)
            partial = self.partial[bank] = Partial(zero, zero, groups, open=True)
        elif not partial.open:
            self.trap(f"b{bank} began a burst while its last one waits for a consumer")
        elif partial.groups != groups:
            self.trap(f"b{bank} joined bursts of {partial.groups} and {groups} groups")
        setattr(partial, kind, getattr(partial, kind) + sums)
        partial.open = join
        partial.spilled = partial.spilled or spill

    def take(self, banks: Sequence[int], groups: int, bits: int) -> tuple[Int, Int]:
        """Sums over `banks` of events and of values, each saturated to `bits`."""
        taken = []
        for bank in banks:
            partial = self.partial.pop(bank, None)
            if partial is None or partial.open:
                self.trap(f"b{bank} has no finished burst to consume")
            if partial.groups != groups:
                self.trap(f"b{bank} holds {partial.groups} groups, {groups} were consumed")
            taken.append(partial)
        zero = np.zeros((self.batch, groups * self.target.lanes), np.int64)
        events = sum((p.events for p in taken), zero)
        values = sum((p.values for p in taken), zero)
        return (
            self.saturate(events, bits, "event sums"),
            self.saturate(values, bits, "value sums"),
        )

    # -- control ----------------------------------------------------------------------------------

    def enter_loop(self, length: int, counter: str, value: int, drain: int) -> None:
        """Run the `length` words after the current one as often as a counter says."""
        self.sequencer.enter_loop(length, counter, value, drain)

    def halt(self) -> None:
        """End the program; traps while a burst waits for its consumer."""
        if self.partial:
            self.trap(f"the program ends while b{min(self.partial)} waits for a consumer")
        self.sequencer.halted = True
