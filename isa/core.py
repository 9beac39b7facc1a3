"""The architectural state of the machine, and the checked accesses that instructions make to it.

All volatile state has a leading batch axis: one core per sample, in lockstep. That is faithful
because control never depends on data and nothing volatile survives from one sample to the next:
at the start of a sample every register and row is unwritten, and reading one traps.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from isa.arithmetic import Int, Saturation
from isa.errors import Trap
from isa.parameters import KEPT, Parameters
from isa.sharing import PERIOD, row_table, rows_per_group, rows_read
from isa.target import Target

Table = NDArray[np.signedinteger]


@dataclass(frozen=True)
class Contents:
    """What the loader brought into one weight memory: rows 0 .. len-1, written where `valid`."""

    rows: Table
    valid: NDArray[np.bool_]


@dataclass
class Loop:
    """A running hardware loop over words `start` .. `end` - 1."""

    start: int
    end: int
    iterations: int
    steps: int | None
    samples: bool
    iteration: int = 0


@dataclass
class Partial:
    """Sums of a burst that waits for its consumer: [batch, groups * lanes] each."""

    events: Int
    values: Int
    groups: int
    open: bool
    spilled: bool = False


class Vector:
    """A vector register file: `count` registers, each [batch, elements written]."""

    def __init__(
        self, letter: str, count: int, width: int, trap: Callable[[str], NoReturn]
    ) -> None:
        self.letter, self.count, self.width, self._trap = letter, count, width, trap
        self._data: dict[int, Int] = {}

    def clear(self) -> None:
        """Forget every register: the start of a sample."""
        self._data.clear()

    def read(self, number: int, size: int | None = None) -> Int:
        """The first `size` elements [batch, size], or all; traps if they were not all written."""
        data = self._data.get(number)
        if data is None:
            self._trap(f"{self.letter}{number} was read before it was written in this sample")
        if size is not None and size > data.shape[1]:
            self._trap(f"{self.letter}{number} holds {data.shape[1]} elements, {size} were read")
        return data[:, :size]

    def write(self, number: int, data: Int) -> None:
        """Replace a register by `data` [batch, size]; traps beyond its number or width."""
        if number >= self.count:
            self._trap(f"{self.letter}{number}: the target has {self.count} such registers")
        if data.shape[1] > self.width:
            self._trap(f"{self.letter}{number} is {self.width} wide, {data.shape[1]} were written")
        self._data[number] = data


class Core:
    """State of one program run over a batch of samples, each [timesteps, inputs]."""

    def __init__(self, target: Target, memories: Mapping[str, Contents], inputs: Int) -> None:
        self.target = target
        self.memories = memories
        self.inputs = inputs
        self.batch, self.steps, self.width = inputs.shape
        self.samples = 1
        self.pc = 0
        self.halted = False
        self.loops: list[Loop] = []
        self.saturation = Saturation()
        self.events = Vector("e", target.events.count, target.events.width, self.trap)
        self.values = Vector("v", target.values.count, target.values.width, self.trap)
        self.outputs: list[Int] = []
        self._weights: dict[tuple[int, ...], Int] = {}
        self._parameters: dict[tuple[int, int], Parameters] = {}
        self.begin_sample()

    def begin_sample(self) -> None:
        """Volatile state is unwritten, the input stream stands at its first timestep."""
        self.events.clear()
        self.values.clear()
        self.partial: dict[int, Partial] = {}
        self.timestep = 0
        self._state = {
            name: np.zeros((self.batch, memory.rows, memory.lanes), np.int64)
            for name, memory in self.target.memories.items()
            if name in ("neuron", "readout", "ring")
        }
        self._written = {name: np.zeros(s.shape[1], np.bool_) for name, s in self._state.items()}

    def trap(self, cause: str) -> NoReturn:
        """Stop the machine at the current instruction."""
        raise Trap(cause, pc=self.pc)

    def saturate(self, x: Int, bits: int, cause: str) -> Int:
        """Clip to `bits`, counting changes under the current instruction and `cause`."""
        return self.saturation(x, bits, f"{self.pc}:{cause}")

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

    def arriving(self) -> Int:
        """Events in the timestep that `next_input` will return: [batch]."""
        arriving: Int = self.inputs[:, min(self.timestep, self.steps - 1)].sum(1)
        return arriving

    def active(self, register: int, size: int) -> Int:
        """Events among the first `size` elements of an event register: [batch]."""
        active: Int = self.events.read(register, size).sum(1)
        return active

    def active_rows(self, register: int, size: int, first: int, share: int) -> Int:
        """Rows of active inputs that a bank with a share of the inputs reads: [batch, period]."""
        return rows_read(self.events.read(register, size), first, share)

    # -- weight memories --------------------------------------------------------------------------

    def rows(self, memory: str, row: int, count: int) -> Int:
        """Rows of a loaded memory, [count, lanes]; traps outside it or on rows nobody wrote."""
        limit = self.target.memories[memory].rows
        if row + count > limit:
            self.trap(f"{memory} rows {row} .. {row + count - 1} of {limit} were read")
        contents = self.memories[memory]
        if not (row + count <= len(contents.rows) and contents.valid[row : row + count].all()):
            self.trap(f"{memory} rows {row} .. {row + count - 1} were read, not all are loaded")
        return contents.rows[row : row + count].astype(np.int64)

    def weights(self, bank: int, row: int, inputs: int, groups: int, first: int, share: int) -> Int:
        """Weights [inputs, groups * lanes] of a bank, zero where it holds no row; see `sharing`."""
        key = (bank, row, inputs, groups, first, share)
        if key not in self._weights:
            if bank >= len(self.target.bank):
                self.trap(f"b{bank}: the target has {len(self.target.bank)} banks")
            if not 1 <= share <= PERIOD:
                self.trap(f"a share of {share} sixteenths of the rows")
            count = groups * rows_per_group(inputs, share)
            rows = self.rows(self.target.bank[bank].name, row, count)
            rows = np.concatenate([rows, np.zeros((1, self.target.lanes), np.int64)])
            table = rows[row_table(inputs, groups, first, share)]
            self._weights[key] = np.ascontiguousarray(
                table.transpose(1, 0, 2).reshape(inputs, groups * self.target.lanes)
            )
        return self._weights[key]

    def parameters(self, row: int, groups: int) -> Parameters:
        """Parameters of the neurons of `groups` groups, arrays [groups * lanes]."""
        key = (row, groups)
        if key not in self._parameters:
            found = Parameters.unpack(self.rows("parameter", row, groups).ravel())
            if (found.leak < 0).any():
                self.trap(f"a leak of {found.leak.min()} / {KEPT} would turn a membrane's sign")
            self._parameters[key] = found
        return self._parameters[key]

    # -- state memories ---------------------------------------------------------------------------

    def read_state(self, memory: str, row: int, groups: int) -> Int:
        """Membranes or logits [batch, groups * lanes]; traps on rows not written in this sample."""
        return self.state(memory, row, groups).reshape(self.batch, -1)

    def state(self, memory: str, row: int, rows: int) -> Int:
        """Rows of a state memory themselves, [batch, rows, lanes], to change in place."""
        self._check_state(memory, row, rows)
        if not self._written[memory][row : row + rows].all():
            self.trap(f"{memory} rows {row} .. {row + rows - 1} were read before they were written")
        return self._state[memory][:, row : row + rows]

    def write_state(self, memory: str, row: int, groups: int, data: Int | int) -> None:
        """Store membranes or logits [batch, groups * lanes] (or one number everywhere)."""
        self._check_state(memory, row, groups)
        if isinstance(data, np.ndarray):
            data = data.reshape(self.batch, groups, -1)
        self._state[memory][:, row : row + groups] = data
        self._written[memory][row : row + groups] = True

    def _check_state(self, memory: str, row: int, groups: int) -> None:
        limit = self.target.memories[memory].rows
        if groups == 0 or row + groups > limit:
            self.trap(f"{memory} rows {row} .. {row + groups - 1} of {limit} were addressed")

    # -- accumulators -----------------------------------------------------------------------------

    def spilled(self, bank: int) -> bool:
        """Whether the open burst of `bank` has partial sums in the spill memory."""
        partial = self.partial.get(bank)
        return partial is not None and partial.open and partial.spilled

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

    def take(self, banks: tuple[int, ...], groups: int, bits: int) -> tuple[Int, Int]:
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

    def enter_loop(self, length: int, iterations: int, counter: str) -> None:
        """Run the `length` words after the current one `iterations` times."""
        if length == 0:
            self.trap("a loop needs a body")
        if len(self.loops) >= self.target.sequencer.loops:
            self.trap(f"loops nest deeper than {self.target.sequencer.loops}")
        end = self.pc + 1 + length
        if self.loops and end > self.loops[-1].end:
            self.trap("a loop reaches beyond the loop around it")
        if counter == "samples" and self.loops:
            self.trap("the loop over samples must be outermost")
        if iterations <= 0:
            self.pc = end - 1
        else:
            steps = self.steps if counter == "steps" else None
            frame = Loop(self.pc + 1, end, iterations, steps, counter == "samples")
            self.loops.append(frame)

    def enabled(self, stage: int) -> bool:
        """Whether an instruction of a stage runs in this iteration of the loop over timesteps.

        Stage s runs from iteration s on, once for each timestep: iteration i is timestep i - s.
        """
        if not self.loops or self.loops[-1].steps is None:
            if stage:
                self.trap(f"stage {stage} outside a loop over timesteps")
            return True
        loop = self.loops[-1]
        return loop.steps is not None and stage <= loop.iteration < loop.steps + stage

    def timestep_of(self, stage: int) -> int:
        """The timestep, from 0, that a stage works on; traps outside a loop over timesteps."""
        if not self.loops or self.loops[-1].steps is None:
            self.trap("an instruction that counts timesteps stands outside their loop")
        return self.loops[-1].iteration - stage

    def advance(self) -> bool:
        """Go to the next instruction; True when that ends an iteration of the loop over samples."""
        self.pc += 1
        ended = False
        while self.loops and self.pc == self.loops[-1].end:
            loop = self.loops[-1]
            loop.iteration += 1
            ended = ended or loop.samples
            if loop.iteration < loop.iterations:
                self.pc = loop.start
                break
            self.loops.pop()
        return ended
