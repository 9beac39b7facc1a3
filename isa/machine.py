"""The primitives in which instructions are written: the machine, as its readers see it.

`Instruction.execute` says what an instruction does in these and in the operations of
`isa.arithmetic`, without ever branching on data. So it can be read in more than one way: the
reference engine runs it on arrays, the fast engine records it once and runs the record.
"""

from collections.abc import Sequence
from typing import Any, Literal, NoReturn, Protocol

from isa.arithmetic import Int
from isa.layout import Layout
from isa.parameters import Parameters
from isa.target import Target

Data = Any
"""What flows through the machine: int64 [batch, elements] in one reader, its record in another."""

StateMemory = Literal["neuron", "readout", "ring"]


class Registers(Protocol):
    """A vector register file, read and written by number."""

    def read(self, number: int, size: int | None = None) -> Data:
        """The first `size` elements, or all; traps if they were not all written.

        A vector longer than a register lies in a group of neighbours, and is read by the first.
        """

    def write(self, number: int, data: Data) -> None:
        """Replace a register, or a group of them; traps beyond the last one."""

    def append(self, number: int, offset: int, data: Data) -> None:
        """Make a vector of `offset` elements longer; at 0, replace it."""


class Machine(Protocol):
    """One core, as an instruction sees it."""

    @property
    def target(self) -> Target:
        """The target it is."""

    @property
    def events(self) -> Registers:
        """Event registers."""

    @property
    def values(self) -> Registers:
        """Value registers."""

    def steps_from(self, since: int) -> Data:
        """How many timesteps the sample has from one on."""

    def trap(self, cause: str) -> NoReturn:
        """Stop the machine at the current instruction."""

    def check(self, holds: object, cause: str) -> None:
        """Trap unless something holds, which must follow from operands and loaded memories."""

    def saturate(self, x: Data, bits: int, cause: str) -> Data:
        """Clip to `bits`, counting changes under the current instruction and `cause`."""

    def zeros(self, size: int) -> Data:
        """Zeros, [batch, size]."""

    def next_input(self, size: int, low: int, high: int) -> Data:
        """The next timestep of the input stream, [batch, size], elements within low .. high."""

    def emit(self, data: Data) -> None:
        """Send numbers to the host."""

    def rows(self, memory: str, row: int, count: int) -> Int:
        """Rows of a loaded memory, [count, lanes]; traps outside it or on rows nobody wrote."""

    def weights(self, bank: int, row: int, layout: Layout) -> Int:
        """Weights [inputs, groups * lanes] of a bank, zero where it holds no row.

        Of a kernel, its rows [rows, lanes].
        """

    def parameters(self, row: int, groups: int) -> Parameters:
        """Parameters of the neurons of `groups` groups, arrays [groups * lanes]."""

    def add_rows(self, rows: Int, events: Data) -> Data:
        """Sum of the rows [inputs, n] of active events [batch, inputs]: [batch, n]."""

    def product(self, values: Data, rows: Int) -> Data:
        """Sum of the rows [inputs, n] times values [batch, inputs]: [batch, n]."""

    def convolve(self, rows: Int, data: Data, layout: Layout) -> Data:
        """Sums [batch, groups * lanes] of a kernel's rows times inputs [batch, inputs]."""

    def read_state(self, memory: StateMemory, row: int, groups: int) -> Data:
        """Membranes or logits [batch, groups * lanes]; traps on rows not written in this sample."""

    def write_state(self, memory: StateMemory, row: int, groups: int, data: Data) -> None:
        """Store membranes or logits [batch, groups * lanes] (or one number everywhere)."""

    def delay(self, events: Data, delays: Int, row: int, rows: int, length: int) -> Data:
        """Set events in the ring of `length` timesteps of `rows` rows, each `delays` ahead; the
        present timestep's, which are cleared.
        """

    def accumulate(
        self, bank: int, kind: str, sums: Data, groups: int, join: bool, spill: bool = False
    ) -> None:
        """Add `sums` [batch, groups * lanes] to the open burst of `bank`, or begin one."""

    def take(self, banks: Sequence[int], groups: int, bits: int) -> tuple[Data, Data]:
        """Sums over `banks` of events and of values, each saturated to `bits`."""

    def set_aside(self, window: int, memory: str, at: int, rows: int) -> None:
        """Make rows of a memory a window: two pages of `rows` rows from `at` on."""

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

    def near(
        self,
        window: int | None,
        memory: str,
        row: int,
        rows: int,
        source: tuple[int, int] | None = None,
    ) -> None:
        """Trap unless rows, at least those of active inputs of `source`, are on the chip: below
        the memory's size, or in a window.
        """

    def enter_loop(self, length: int, counter: str, value: int, drain: int) -> None:
        """Run the `length` words after the current one as often as a counter says."""

    def halt(self) -> None:
        """End the program; traps while a burst waits for its consumer."""
