"""Instructions of the drive and update units: scalar drive, memory update, dilation."""

from typing import Any

from isa.arithmetic import larger, shift_round
from isa.format import (
    Instruction,
    Timesteps,
    elements,
    event_register,
    flag,
    instruction,
    optional_value_register,
    row_number,
    signed,
    timestep_number,
    unsigned,
    value_register,
    window,
    with_operands,
)
from isa.layout import coefficients
from isa.machine import Data, Machine
from isa.target import Target
from isa.work import ACTIVE, Active, Count, Work, in_window, lengthened, registers


@with_operands
class Drive(Instruction):
    """What both drives have: where the scalar goes, and what becomes of a sum on its way there."""

    dest: int = value_register("x; the scalar becomes its element `offset`")
    source: int
    row: int = row_number("first row of W_x in the drive memory, one weight a row")
    inputs: int = elements("width of the source")
    shift: int = signed(6, "right shift of the sum, rounded to nearest; negative shifts left")
    bias: int = signed(16, "b_x in steps of x")
    window: int | None = window("the window that holds W_x, if it is external")
    linear: bool = flag("leave out the relu")
    offset: int = elements("elements of x that were made before: they stay; 0 replaces x", 0)
    added: int | None = optional_value_register("one value that is added before the relu")


def _places(op: Drive, target: Target, letter: str) -> dict[str, Any]:
    """What a drive's work reads, the source in registers of a kind among it, and writes."""
    reads = (*registers(target, letter, op.source, op.inputs), *in_window(op.window))
    if op.added is not None:
        reads = (*reads, f"v{op.added}")
    writes, appends = lengthened(target, "v", op.dest, op.offset, 1)
    return {"reads": reads, "writes": writes, "appends": appends}


def _drive(op: Drive, core: Machine, sums: Data) -> None:
    """x = relu(sums / 2**shift + bias + added), saturated to a value's width: [B, 1]."""
    driven = shift_round(sums, op.shift) + op.bias
    if op.added is not None:
        driven = driven + core.values.read(op.added, 1)
    if not op.linear:
        driven = larger(driven, 0)
    driven = core.saturate(driven, core.target.values.bits, "drive")
    core.values.append(op.dest, op.offset, driven)


@instruction("drive.events", 8)
class DriveEvents(Drive):
    """Scalar drive by events: x = relu((W_x s >> shift) + b_x + added); an event a cycle."""

    source: int = event_register("s")

    def work(self, target: Target) -> Work:
        return Work(
            unit="drive",
            active=Active(f"e{self.source}", self.inputs),
            cycles=ACTIVE,
            at_least=1,
            operations=ACTIVE,
            kind="add",
            accesses={("drive", "reads"): ACTIVE},
            **_places(self, target, "e"),
        )

    def execute(self, core: Machine) -> None:
        spikes = core.events.read(self.source, self.inputs)
        core.near(self.window, "drive", self.row, self.inputs)
        _drive(self, core, core.add_rows(core.rows("drive", self.row, self.inputs), spikes))


@instruction("drive.values", 9)
class DriveValues(Drive):
    """Scalar drive by values: x = relu((W_x v >> shift) + b_x + added). One input a cycle."""

    source: int = value_register("v")

    def work(self, target: Target) -> Work:
        return Work(
            unit="drive",
            cycles=Count(max(self.inputs, 1)),
            operations=Count(self.inputs),
            kind="multiply_add",
            accesses={("drive", "reads"): Count(self.inputs)},
            **_places(self, target, "v"),
        )

    def execute(self, core: Machine) -> None:
        values = core.values.read(self.source, self.inputs)
        core.near(self.window, "drive", self.row, self.inputs)
        _drive(self, core, core.product(values, core.rows("drive", self.row, self.inputs)))


@instruction("update", 10)
class Update(Instruction):
    """Memory update: m = (Abar m + Bbar x) >> shift, rounded to nearest and saturated.

    Coefficients lie column by column: for each block of `lanes` states, one row for each column of
    Abar, then one for each of Bbar. A row a cycle.
    """

    state: int = value_register("m")
    drive: int = value_register("x")
    row: int = row_number("first row of coefficients in the update memory")
    size: int = elements("d, the number of memory states")
    shift: int = signed(6, "right shift of the sum, rounded to nearest")
    window: int | None = window("the window that holds the coefficients, if they are external")
    more: int = elements("elements of x beside the first", 0)

    def _rows(self, target: Target) -> int:
        return coefficients(self.size, target.update.lanes, 1 + self.more).rows

    def work(self, target: Target) -> Work:
        rows = self._rows(target)
        state = registers(target, "v", self.state, self.size)
        drive = registers(target, "v", self.drive, 1 + self.more)
        return Work(
            unit="update",
            cycles=Count(max(rows, 1)),
            reads=(*state, *drive, *in_window(self.window)),
            writes=state,
            operations=Count(self.size * (self.size + 1 + self.more)),
            kind="multiply_add",
            accesses={("update", "reads"): Count(rows)},
        )

    def execute(self, core: Machine) -> None:
        state = core.values.read(self.state, self.size)
        drive = core.values.read(self.drive, 1 + self.more)
        rows = self._rows(core.target)
        core.near(self.window, "update", self.row, rows)
        table = core.rows("update", self.row, rows)
        width = self.size + 1 + self.more
        blocks = table.reshape(-1, width, core.target.update.lanes)
        columns = blocks.transpose(1, 0, 2).reshape(width, -1)[:, : self.size]
        of_state, of_drive = columns[: self.size], columns[self.size :]
        sums = core.product(state, of_state) + core.product(drive, of_drive)
        sums = shift_round(sums, self.shift)
        core.values.write(self.state, core.saturate(sums, core.target.values.bits, "memory state"))


@instruction("clear.value", 11)
class ClearValue(Instruction):
    """Set a value register to zeros: a memory state at the start of a sample."""

    dest: int = value_register("the register")
    size: int = elements("elements")

    def work(self, target: Target) -> Work:
        return Work(unit="update", writes=registers(target, "v", self.dest, self.size))

    def execute(self, core: Machine) -> None:
        core.values.write(self.dest, core.zeros(self.size))


@instruction("hold.value", 12)
class HoldValue(Instruction):
    """Copy a value register in every `every`th timestep of a sample, from timestep `since` on.

    In other timesteps it takes its issue slot and nothing else: the copy stays as it is. This is
    the dilation of a slow current (Sun et al. 2026).
    """

    dest: int = value_register("the copy")
    source: int = value_register("the original")
    size: int = elements("elements")
    every: int = unsigned(16, "timesteps from one copy to the next, at least 1")
    since: int = timestep_number("the first timestep that copies", 0)

    @property
    def timesteps(self) -> Timesteps:
        return Timesteps(self.since, self.every)

    def work(self, target: Target) -> Work:
        return Work(
            unit="update",
            reads=registers(target, "v", self.source, self.size),
            writes=registers(target, "v", self.dest, self.size),
            operations=Count(self.size),
        )

    def execute(self, core: Machine) -> None:
        core.values.write(self.dest, core.values.read(self.source, self.size))
