"""Instructions of the drive and update units: scalar drive, memory update, dilation."""

from isa.arithmetic import larger, shift_round
from isa.format import (
    Instruction,
    elements,
    event_register,
    instruction,
    row_number,
    signed,
    unsigned,
    value_register,
    window,
)
from isa.layout import coefficients
from isa.machine import Data, Machine
from isa.target import Target
from isa.work import ACTIVE, Active, Count, Work, in_window, registers


def _drive(core: Machine, sums: Data, shift: int, bias: int) -> Data:
    """x = relu(sums / 2**shift + bias), saturated to a value's width: [B, 1]."""
    driven = larger(shift_round(sums, shift) + bias, 0)
    return core.saturate(driven, core.target.values.bits, "drive")


@instruction("drive.events", 8)
class DriveEvents(Instruction):
    """Scalar drive of a spiking input: x = relu((W_x s >> shift) + b_x); an event a cycle."""

    dest: int = value_register("x, one value")
    source: int = event_register("s")
    row: int = row_number("first row of W_x in the drive memory, one weight a row")
    inputs: int = elements("width of s")
    shift: int = signed(6, "right shift of the sum, rounded to nearest; negative shifts left")
    bias: int = signed(16, "b_x in steps of x")
    window: int | None = window("the window that holds W_x, if it is external")

    def work(self, target: Target) -> Work:
        return Work(
            unit="drive",
            active=Active(f"e{self.source}", self.inputs),
            cycles=ACTIVE,
            at_least=1,
            reads=(*registers(target, "e", self.source, self.inputs), *in_window(self.window)),
            writes=(f"v{self.dest}",),
            operations=ACTIVE,
            kind="add",
            accesses={("drive", "reads"): ACTIVE},
        )

    def execute(self, core: Machine) -> None:
        spikes = core.events.read(self.source, self.inputs)
        core.near(self.window, "drive", self.row, self.inputs)
        sums = core.add_rows(core.rows("drive", self.row, self.inputs), spikes)
        core.values.write(self.dest, _drive(core, sums, self.shift, self.bias))


@instruction("drive.values", 9)
class DriveValues(Instruction):
    """Scalar drive of a graded input: x = relu((W_x v >> shift) + b_x). One input a cycle."""

    dest: int = value_register("x, one value")
    source: int = value_register("v")
    row: int = row_number("first row of W_x in the drive memory, one weight a row")
    inputs: int = elements("width of v")
    shift: int = signed(6, "right shift of the sum, rounded to nearest; negative shifts left")
    bias: int = signed(16, "b_x in steps of x")
    window: int | None = window("the window that holds W_x, if it is external")

    def work(self, target: Target) -> Work:
        return Work(
            unit="drive",
            cycles=Count(max(self.inputs, 1)),
            reads=(*registers(target, "v", self.source, self.inputs), *in_window(self.window)),
            writes=(f"v{self.dest}",),
            operations=Count(self.inputs),
            kind="multiply_add",
            accesses={("drive", "reads"): Count(self.inputs)},
        )

    def execute(self, core: Machine) -> None:
        values = core.values.read(self.source, self.inputs)
        core.near(self.window, "drive", self.row, self.inputs)
        sums = core.product(values, core.rows("drive", self.row, self.inputs))
        core.values.write(self.dest, _drive(core, sums, self.shift, self.bias))


@instruction("update", 10)
class Update(Instruction):
    """Memory update: m = (Abar m + Bbar x) >> shift, rounded to nearest and saturated.

    Coefficients lie column by column: for each block of `lanes` states, one row for each column of
    Abar, then one for Bbar. A row a cycle.
    """

    state: int = value_register("m")
    drive: int = value_register("x, one value")
    row: int = row_number("first row of coefficients in the update memory")
    size: int = elements("d, the number of memory states")
    shift: int = signed(6, "right shift of the sum, rounded to nearest")
    window: int | None = window("the window that holds the coefficients, if they are external")

    def _rows(self, target: Target) -> int:
        return coefficients(self.size, target.update.lanes).rows

    def work(self, target: Target) -> Work:
        rows = self._rows(target)
        state = registers(target, "v", self.state, self.size)
        return Work(
            unit="update",
            cycles=Count(max(rows, 1)),
            reads=(*state, f"v{self.drive}", *in_window(self.window)),
            writes=state,
            operations=Count(self.size * (self.size + 1)),
            kind="multiply_add",
            accesses={("update", "reads"): Count(rows)},
        )

    def execute(self, core: Machine) -> None:
        state = core.values.read(self.state, self.size)
        drive = core.values.read(self.drive, 1)
        rows = self._rows(core.target)
        core.near(self.window, "update", self.row, rows)
        table = core.rows("update", self.row, rows)
        blocks = table.reshape(-1, self.size + 1, core.target.update.lanes)
        columns = blocks.transpose(1, 0, 2).reshape(self.size + 1, -1)[:, : self.size]
        sums = core.product(state, columns[:-1]) + core.product(drive, columns[-1:])
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
    """Copy a value register in every `every`th timestep of a sample, the first included.

    In other timesteps it takes its issue slot and nothing else: the copy stays as it is. This is
    the dilation of a slow current (Sun et al. 2026).
    """

    dest: int = value_register("the copy")
    source: int = value_register("the original")
    size: int = elements("elements")
    every: int = unsigned(16, "timesteps from one copy to the next, at least 1")

    @property
    def every_timesteps(self) -> int:
        return self.every

    def work(self, target: Target) -> Work:
        return Work(
            unit="update",
            reads=registers(target, "v", self.source, self.size),
            writes=registers(target, "v", self.dest, self.size),
            operations=Count(self.size),
        )

    def execute(self, core: Machine) -> None:
        core.values.write(self.dest, core.values.read(self.source, self.size))
