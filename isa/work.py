"""What an instruction asks of the machine: the input of timing and of the access counts.

A demand is data. It depends on an instruction's operands and on the target, never on what flows
through the machine; what a particular timestep adds to it is one number, how many events are active
(and for a bank, how many of its rows they touch), in which every count below is linear.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from isa.layout import Layout
from isa.target import Target

CONTROL, INPUT = "control", "input"
"""The unit of what takes an issue cycle only; the register of events that are still to arrive."""

Kind = Literal["add", "multiply_add", "neuron", "move"]
"""What a lane does in one operation; `isa.energy` prices it."""


class Count(NamedTuple):
    """A number that is linear in what an instruction meets.

    `active` times the events among its operand, `rows` times the rows that a bank reads, `spills`
    if it is the first of its burst that spills, and a `fixed` part.
    """

    fixed: int = 0
    active: int = 0
    rows: int = 0
    spills: int = 0

    def of(self, active: int, rows: int, spills: int, times: int = 1) -> int:
        """The count summed over `times` executions, given the sums of what they met."""
        return self.fixed * times + self.active * active + self.rows * rows + self.spills * spills


NONE = Count()
ONE = Count(1)
ACTIVE = Count(active=1)
ROWS = Count(rows=1)


class Active(NamedTuple):
    """Whose events an instruction's demand depends on: the first `size` of a register, or INPUT."""

    register: str
    size: int


@dataclass(frozen=True)
class BankRows:
    """Rows that a bank reads of a product's: of active inputs, or `every` one."""

    layout: Layout
    every: bool


@dataclass(frozen=True, kw_only=True)
class Work:
    """The demand of one instruction.

    A unit is busy for `cycles`, at least for `at_least`; or, `paired`, it reads and writes a row of
    its single-port memory for each of `groups` groups, the first at `row`, and as many for each of
    `states` of a group, which lie `apart`, the first `read_only` of them not written, the others
    `hold` cycles later than a single state; or it is a bank that reads `rows` for each group.
    `reads` and `writes` name vector registers and windows; what `appends` names keeps its value,
    which becomes longer. An instruction on a bank either joins the next one on that bank (`join`)
    or closes the burst; a burst is handed, group by group, to the instruction that `consumes` it.
    With `spill` partial sums lie in a memory of their own while rows are read.

    `operations` counts what lanes do, of one `kind`.
    """

    unit: str
    active: Active | None = None
    cycles: Count = ONE
    at_least: int = 0
    groups: int = 1
    rows: BankRows | None = None
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    appends: tuple[str, ...] = ()
    consumes: tuple[int, ...] = ()
    bank: int | None = None
    join: bool = False
    spill: bool = False
    paired: bool = False
    row: int = 0
    states: int = 1
    read_only: int = 0
    apart: int = 0
    hold: int = 0
    operations: Count = NONE
    kind: Kind = "move"
    accesses: Mapping[tuple[str, str], Count] = field(default_factory=dict)


SKIPPED = Work(unit=CONTROL)
"""What a skipped instruction asks for: its issue slot."""


def registers(
    target: Target, letter: str, first: int, size: int, start: int = 0
) -> tuple[str, ...]:
    """Names of the registers of kind `letter` that begin among elements `start` .. `size` - 1 of a
    vector whose first register is `first`."""
    file = target.events if letter == "e" else target.values
    begin = -(-start // file.width)
    return tuple(f"{letter}{first + n}" for n in range(begin, file.span(size)))


def lengthened(
    target: Target, letter: str, first: int, offset: int, size: int
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Registers that are written when `size` elements come behind the first `offset` of a vector,
    and the one that keeps its value, to which they are appended, if it is not full."""
    file = target.events if letter == "e" else target.values
    kept = (f"{letter}{first + offset // file.width}",) if offset % file.width else ()
    return registers(target, letter, first, offset + size, offset), kept


def in_window(window: int | None) -> tuple[str, ...]:
    """The name of the window through which an instruction reads, if it does."""
    return () if window is None else (f"w{window}",)


def bank_name(target: Target, bank: int) -> str:
    """The unit of a bank, or of one that the target does not have."""
    return target.bank[bank].name if bank < len(target.bank) else f"b{bank}"
