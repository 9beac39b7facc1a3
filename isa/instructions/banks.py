"""Instructions of the banks: products of events and of values."""

from dataclasses import dataclass

from isa.format import (
    Instruction,
    bank_number,
    elements,
    event_register,
    flag,
    group_count,
    instruction,
    row_number,
    unsigned,
    value_register,
    window,
)
from isa.layout import Layout
from isa.limits import PERIOD
from isa.machine import Machine
from isa.target import Target
from isa.work import ROWS, Active, BankRows, Count, Work, bank_name, in_window, registers


@instruction("acc.events", 16)
@dataclass(frozen=True, kw_only=True)
class AccumulateEvents(Instruction):
    """Add the weight row of every active input to each group's event sum.

    Row `row + g * inputs + j` belongs to group g and input j, unless the bank holds a share of the
    rows only. A row a cycle; a group for which a burst reads no row takes one cycle. With `scan`
    the rows of all inputs are read, active or not.
    """

    bank: int = bank_number("where the weights lie")
    source: int = event_register("the input's spikes")
    row: int = row_number("first row of weights")
    inputs: int = elements("width of the input")
    groups: int = group_count("groups of neurons")
    first: int = unsigned(4, "first phase of the bank's share of the rows", 0)
    share: int = unsigned(5, "sixteenths of the rows that lie in this bank", PERIOD)
    window: int | None = window("the window that holds the rows, if they are external")
    join: bool = flag("the next instruction on this bank adds to the same sums")
    scan: bool = flag("read the rows of inactive inputs, too, as an output-stationary path does")

    @property
    def layout(self) -> Layout:
        """Which rows the product has in the bank."""
        return Layout(self.inputs, self.groups, self.first, self.share)

    def work(self, target: Target) -> Work:
        return Work(
            unit=bank_name(target, self.bank),
            active=Active(f"e{self.source}", self.inputs),
            rows=BankRows(self.layout, every=self.scan),
            groups=self.groups,
            reads=(*registers(target, "e", self.source, self.inputs), *in_window(self.window)),
            bank=self.bank,
            join=self.join,
            operations=Count(rows=target.lanes),
            kind="add",
            accesses={(bank_name(target, self.bank), "reads"): ROWS},
        )

    def execute(self, core: Machine) -> None:
        weights = core.weights(self.bank, self.row, self.layout)
        source = None if self.scan else (self.source, self.inputs)
        name = bank_name(core.target, self.bank)
        core.near(self.window, name, self.row, self.layout.rows, source)
        sums = core.add_rows(weights, core.events.read(self.source, self.inputs))
        core.accumulate(self.bank, "events", sums, self.groups, self.join)


@instruction("acc.values", 17)
@dataclass(frozen=True, kw_only=True)
class AccumulateValues(Instruction):
    """Add weight row times value, for every element of a register, to each group's value sum.

    Rows lie as for `acc.events`. A row a cycle. The bank must have multipliers. With `spill` each
    element meets the weights of all groups before the next one does, so that every row reads and
    writes partial sums in a memory.
    """

    bank: int = bank_number("where the weights lie")
    source: int = value_register("memory state, scalar drive, graded input or counts")
    row: int = row_number("first row of weights")
    inputs: int = elements("elements of the register")
    groups: int = group_count("groups of neurons")
    first: int = unsigned(4, "first phase of the bank's share of the rows", 0)
    share: int = unsigned(5, "sixteenths of the rows that lie in this bank", PERIOD)
    window: int | None = window("the window that holds the rows, if they are external")
    join: bool = flag("the next instruction on this bank adds to the same sums")
    spill: bool = flag("keep partial sums in memory, as an input-stationary path does")

    @property
    def layout(self) -> Layout:
        """Which rows the product has in the bank."""
        return Layout(self.inputs, self.groups, self.first, self.share)

    def work(self, target: Target) -> Work:
        name = bank_name(target, self.bank)
        partial = {
            ("partial", "reads"): Count(rows=1, spills=self.groups),  # brought back once a burst
            ("partial", "writes"): ROWS,
        }
        return Work(
            unit=name,
            rows=BankRows(self.layout, every=True),
            groups=self.groups,
            reads=(*registers(target, "v", self.source, self.inputs), *in_window(self.window)),
            bank=self.bank,
            join=self.join,
            spill=self.spill,
            operations=Count(rows=target.lanes),
            kind="multiply_add",
            accesses={(name, "reads"): ROWS, **(partial if self.spill else {})},
        )

    def execute(self, core: Machine) -> None:
        weights = core.weights(self.bank, self.row, self.layout)
        bank = core.target.bank[self.bank]
        core.near(self.window, bank.name, self.row, self.layout.rows)
        core.check(bank.multiplies, f"b{self.bank} ({bank.name}) has no multipliers")
        rows = core.target.accumulators.spill_rows
        fits = not self.spill or self.groups <= rows
        core.check(fits, f"{self.groups} groups spill to {rows} rows")
        sums = core.product(core.values.read(self.source, self.inputs), weights)
        core.accumulate(self.bank, "values", sums, self.groups, self.join, self.spill)
