"""Instructions of the banks: products of events and of values."""

from dataclasses import dataclass

import numpy as np

from isa.arithmetic import Int, add_rows
from isa.core import Core
from isa.format import (
    Instruction,
    bank_number,
    event_register,
    flag,
    instruction,
    unsigned,
    value_register,
)
from isa.sharing import PERIOD, rows_read
from isa.work import Work


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
    row: int = unsigned(16, "first row of weights")
    inputs: int = unsigned(12, "width of the input")
    groups: int = unsigned(10, "groups of neurons")
    first: int = unsigned(4, "first phase of the bank's share of the rows", 0)
    share: int = unsigned(5, "sixteenths of the rows that lie in this bank", PERIOD)
    join: bool = flag("the next instruction on this bank adds to the same sums")
    scan: bool = flag("read the rows of inactive inputs, too, as an output-stationary path does")

    def work(self, core: Core) -> Work:
        rows = core.active_rows(self.source, self.inputs, self.first, self.share)
        if self.scan:
            rows = rows_read(np.ones((1, self.inputs), np.int64), self.first, self.share)
        return _bank_work(self, core, rows, f"e{self.source}", spill=False)

    def execute(self, core: Core) -> None:
        weights = core.weights(
            self.bank, self.row, self.inputs, self.groups, self.first, self.share
        )
        sums = add_rows(weights, core.events.read(self.source, self.inputs))
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
    row: int = unsigned(16, "first row of weights")
    inputs: int = unsigned(12, "elements of the register")
    groups: int = unsigned(10, "groups of neurons")
    first: int = unsigned(4, "first phase of the bank's share of the rows", 0)
    share: int = unsigned(5, "sixteenths of the rows that lie in this bank", PERIOD)
    join: bool = flag("the next instruction on this bank adds to the same sums")
    spill: bool = flag("keep partial sums in memory, as an input-stationary path does")

    def work(self, core: Core) -> Work:
        rows = rows_read(np.ones((1, self.inputs), np.int64), self.first, self.share)
        return _bank_work(self, core, rows, f"v{self.source}", spill=self.spill)

    def execute(self, core: Core) -> None:
        weights = core.weights(
            self.bank, self.row, self.inputs, self.groups, self.first, self.share
        )
        if not core.target.bank[self.bank].multiplies:
            core.trap(f"b{self.bank} ({core.target.bank[self.bank].name}) has no multipliers")
        if self.spill and self.groups > core.target.accumulators.spill_rows:
            core.trap(f"{self.groups} groups spill to {core.target.accumulators.spill_rows} rows")
        sums = core.values.read(self.source, self.inputs) @ weights
        core.accumulate(self.bank, "values", sums, self.groups, self.join, self.spill)


def _bank_work(
    op: AccumulateEvents | AccumulateValues, core: Core, rows: Int, source: str, *, spill: bool
) -> Work:
    """Demand on a bank that reads `rows` [batch or 1, period] rows for each group."""
    if op.bank >= len(core.target.bank):
        core.trap(f"b{op.bank}: the target has {len(core.target.bank)} banks")
    if not 1 <= op.share <= PERIOD:
        core.trap(f"a share of {op.share} sixteenths of the rows")
    name = core.target.bank[op.bank].name
    period = rows.shape[1]
    whole, rest = divmod(op.groups, period)
    total = np.broadcast_to(rows.sum(1) * whole + rows[:, :rest].sum(1), (core.batch,))
    spilled = total if spill else 0 * total
    brought_back = op.groups if spill and not core.spilled(op.bank) else 0  # once for the burst
    return Work(
        unit=name,
        cycles=np.broadcast_to(rows, (core.batch, period)),
        groups=op.groups,
        reads=(source,),
        bank=op.bank,
        join=op.join,
        spill=spill,
        operations=total * core.target.lanes,
        kind="add" if isinstance(op, AccumulateEvents) else "multiply_add",
        accesses={
            (name, "reads"): total,
            ("partial", "reads"): spilled + brought_back,
            ("partial", "writes"): spilled,
        },
    )
