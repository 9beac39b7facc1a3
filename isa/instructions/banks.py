"""Instructions of the banks: products of events and of values."""

from collections.abc import Mapping
from dataclasses import field, replace
from typing import Self

from isa.errors import IsaError
from isa.format import (
    Instruction,
    bank_number,
    elements,
    event_register,
    flag,
    group_count,
    instruction,
    kernel,
    row_number,
    unsigned,
    value_register,
    window,
    with_operands,
)
from isa.kernel import Kernel
from isa.layout import Layout
from isa.limits import GROUP_BITS, PERIOD
from isa.machine import Machine
from isa.target import Target
from isa.work import ROWS, Active, BankRows, Count, Work, bank_name, in_window, registers


@with_operands
class Accumulate(Instruction):
    """A product of one register, in a bank."""

    bank: int = bank_number("where the weights lie")
    source: int
    row: int = row_number("first row of weights")
    inputs: int = elements("elements of the register")
    groups: int = group_count("groups of neurons")
    first: int = unsigned(4, "first phase of the bank's share of the rows", 0)
    share: int = unsigned(5, "sixteenths of the rows that lie in this bank", PERIOD)
    kernel: int | None = kernel("the convolution whose rows they are, if they are of one")
    start: int = unsigned(GROUP_BITS, "the first of its groups among the kernel's", 0)
    window: int | None = window("the window that holds the rows, if they are external")
    join: bool = flag("the next instruction on this bank adds to the same sums")
    described: Kernel | None = field(default=None)

    @property
    def layout(self) -> Layout:
        """Which rows the product has in the bank."""
        return Layout(self.inputs, self.groups, self.first, self.share, self.described, self.start)

    def linked(self, kernels: Mapping[int, Kernel]) -> Self:
        """With the kernel that it names."""
        if self.kernel is None:
            if self.start:
                raise IsaError(f"start={self.start} counts the groups of a kernel, none is named")
            return self
        if self.kernel not in kernels:
            raise IsaError(f"k{self.kernel} is not described before")
        if self.share != PERIOD or self.first:
            raise IsaError("a bank that holds a share of a kernel's rows")
        found = kernels[self.kernel]
        fault = found.fault(self.inputs, self.start, self.groups)
        if fault:
            raise IsaError(fault)
        return replace(self, described=found)


@instruction("acc.events", 16)
class AccumulateEvents(Accumulate):
    """Add the weight row of every active input to each group's event sum.

    Row `row + g * inputs + j` belongs to group g and input j, unless the bank holds a share of the
    rows only. Of a kernel, group g reads the rows of the inputs that it sees; `row` is the first of
    all. A row a cycle; a group for which a burst reads no row takes one cycle. With `scan` the rows
    of all inputs are read, active or not.
    """

    source: int = event_register("the input's spikes")
    scan: bool = flag("read the rows of inactive inputs, too, as an output-stationary path does")

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
        source = None if self.scan or self.kernel is not None else (self.source, self.inputs)
        name = bank_name(core.target, self.bank)
        core.near(self.window, name, self.row, self.layout.rows, source)
        events = core.events.read(self.source, self.inputs)
        sums = (
            core.add_rows(weights, events)
            if self.described is None
            else (core.convolve(weights, events, self.layout))
        )
        core.accumulate(self.bank, "events", sums, self.groups, self.join)


@instruction("acc.values", 17)
class AccumulateValues(Accumulate):
    """Add weight row times value, for every element of a register, to each group's value sum.

    Rows lie as for `acc.events`. A row a cycle. The bank must have multipliers. With `spill` each
    element meets the weights of all groups before the next one does, so that every row reads and
    writes partial sums in a memory.
    """

    source: int = value_register("memory state, scalar drive, graded input or counts")
    spill: bool = flag("keep partial sums in memory, as an input-stationary path does")

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
        values = core.values.read(self.source, self.inputs)
        sums = (
            core.product(values, weights)
            if self.described is None
            else (core.convolve(weights, values, self.layout))
        )
        core.accumulate(self.bank, "values", sums, self.groups, self.join, self.spill)
