"""The instruction set. Each class is the one definition of its instruction.

Fields give the encoding and the syntax, `execute` the semantics, `work` the demand on the unit
that timing and access counts come from. Shapes: B is the batch, one core per sample.
"""

from dataclasses import dataclass

import numpy as np

from isa.arithmetic import Int, fire, leak, shift_round
from isa.core import Core
from isa.format import (
    Instruction,
    bank_number,
    bank_set,
    choice,
    event_register,
    flag,
    instruction,
    signed,
    unsigned,
    value_register,
)
from isa.sharing import PERIOD, rows_read
from isa.work import Work


def add_rows(weights: Int, spikes: Int) -> Int:
    """Sum of the weight rows of active inputs: [inputs, N], spikes [B, inputs] -> [B, N].

    Equal to `spikes @ weights`, at the cost of the active rows alone.
    """
    sample, row = np.nonzero(spikes)
    sums = np.zeros((len(spikes), weights.shape[1]), np.int64)
    if len(row):
        first = np.flatnonzero(np.diff(sample, prepend=-1))
        sums[sample[first]] = np.add.reduceat(weights[row], first, axis=0)
    return sums


# -- control --------------------------------------------------------------------------------------


@instruction("halt", 0)
@dataclass(frozen=True, kw_only=True)
class Halt(Instruction):
    """End the program. Every burst must have been consumed."""

    def work(self, core: Core) -> Work:
        return Work(unit="control")

    def execute(self, core: Core) -> None:
        if core.partial:
            core.trap(f"the program ends while b{min(core.partial)} waits for a consumer")
        core.halted = True


@instruction("sync", 1)
@dataclass(frozen=True, kw_only=True)
class Sync(Instruction):
    """Issue nothing more until every unit is idle."""

    def work(self, core: Core) -> Work:
        return Work(unit="control")

    def execute(self, core: Core) -> None:
        pass


@instruction("loop", 2)
@dataclass(frozen=True, kw_only=True)
class Loop(Instruction):
    """Run the next `length` words several times, or not at all if the count is 0 or less.

    A program begins with the loop over samples, whose body ends with `sync`; then comes `halt`. At
    the start of each sample all registers, membranes and logits are unwritten. In a loop over
    timesteps, an instruction of stage s is skipped until iteration s and then runs once a timestep:
    layers work on successive timesteps at the same time, and `drain` lets the last stage finish.
    """

    counter: str = choice(
        ("immediate", "steps", "samples"),
        "what to count: a number, the timesteps of a sample, or the samples of the run",
    )
    value: int = unsigned(16, "the number", 0)
    drain: int = unsigned(3, "further iterations in which later stages finish", 0)
    length: int = unsigned(16, "words in the body")

    def work(self, core: Core) -> Work:
        return Work(unit="control")

    def execute(self, core: Core) -> None:
        counts = {"immediate": self.value, "steps": core.steps, "samples": core.samples}
        core.enter_loop(self.length, counts[self.counter] + self.drain, self.counter)


# -- input and output -----------------------------------------------------------------------------


@instruction("input.events", 4)
@dataclass(frozen=True, kw_only=True)
class InputEvents(Instruction):
    """Take the address events of one timestep from the host into an event register.

    One event a cycle, and one cycle for the mark that ends the timestep.
    """

    dest: int = event_register("the input's spikes")
    inputs: int = unsigned(12, "width of the input")

    def work(self, core: Core) -> Work:
        events = core.arriving()
        return Work(unit="event", cycles=events + 1, writes=(f"e{self.dest}",), operations=events)

    def execute(self, core: Core) -> None:
        core.events.write(self.dest, core.next_input(self.inputs, 0, 1))


@instruction("input.values", 5)
@dataclass(frozen=True, kw_only=True)
class InputValues(Instruction):
    """Take the values of one timestep from the host into a value register, one a cycle."""

    dest: int = value_register("the input's values")
    inputs: int = unsigned(12, "width of the input")

    def work(self, core: Core) -> Work:
        return Work(
            unit="event",
            cycles=self.inputs + 1,
            writes=(f"v{self.dest}",),
            operations=self.inputs,
        )

    def execute(self, core: Core) -> None:
        half = 1 << (core.target.values.bits - 1)
        core.values.write(self.dest, core.next_input(self.inputs, -half, half - 1))


@instruction("move.events", 7)
@dataclass(frozen=True, kw_only=True)
class MoveEvents(Instruction):
    """Copy an event register: spikes that a later stage needs when newer ones replace them."""

    dest: int = event_register("the copy")
    source: int = event_register("the original")
    size: int = unsigned(12, "elements")

    def work(self, core: Core) -> Work:
        return Work(unit="event", reads=(f"e{self.source}",), writes=(f"e{self.dest}",))

    def execute(self, core: Core) -> None:
        core.events.write(self.dest, core.events.read(self.source, self.size))


@instruction("emit", 6)
@dataclass(frozen=True, kw_only=True)
class Emit(Instruction):
    """Send logits to the host, one a cycle."""

    row: int = unsigned(12, "first row of logits")
    groups: int = unsigned(10, "rows of logits")

    def work(self, core: Core) -> Work:
        words = self.groups * core.target.lanes
        reads = {("readout", "reads"): self.groups}
        return Work(unit="readout", cycles=words, operations=words, accesses=reads)

    def execute(self, core: Core) -> None:
        core.outputs.append(core.read_state("readout", self.row, self.groups).copy())


# -- slow state: scalar drive and memory update ---------------------------------------------------


def _drive(core: Core, sums: Int, shift: int, bias: int) -> Int:
    """x = relu(sums / 2**shift + bias), saturated to a value's width: [B, 1]."""
    driven = np.maximum(shift_round(sums, shift) + bias, 0)
    return core.saturate(driven, core.target.values.bits, "drive")


@instruction("drive.events", 8)
@dataclass(frozen=True, kw_only=True)
class DriveEvents(Instruction):
    """Scalar drive of a spiking input: x = relu((W_x s >> shift) + b_x); an event a cycle."""

    dest: int = value_register("x, one value")
    source: int = event_register("s")
    row: int = unsigned(12, "first row of W_x in the drive memory, one weight a row")
    inputs: int = unsigned(12, "width of s")
    shift: int = signed(6, "right shift of the sum, rounded to nearest; negative shifts left")
    bias: int = signed(16, "b_x in steps of x")

    def work(self, core: Core) -> Work:
        active = core.active(self.source, self.inputs)
        return Work(
            unit="drive",
            cycles=np.maximum(active, 1),
            reads=(f"e{self.source}",),
            writes=(f"v{self.dest}",),
            operations=active,
            kind="add",
            accesses={("drive", "reads"): active},
        )

    def execute(self, core: Core) -> None:
        spikes = core.events.read(self.source, self.inputs)
        sums = add_rows(core.rows("drive", self.row, self.inputs), spikes)
        core.values.write(self.dest, _drive(core, sums, self.shift, self.bias))


@instruction("drive.values", 9)
@dataclass(frozen=True, kw_only=True)
class DriveValues(Instruction):
    """Scalar drive of a graded input: x = relu((W_x v >> shift) + b_x). One input a cycle."""

    dest: int = value_register("x, one value")
    source: int = value_register("v")
    row: int = unsigned(12, "first row of W_x in the drive memory, one weight a row")
    inputs: int = unsigned(12, "width of v")
    shift: int = signed(6, "right shift of the sum, rounded to nearest; negative shifts left")
    bias: int = signed(16, "b_x in steps of x")

    def work(self, core: Core) -> Work:
        return Work(
            unit="drive",
            cycles=max(self.inputs, 1),
            reads=(f"v{self.source}",),
            writes=(f"v{self.dest}",),
            operations=self.inputs,
            kind="multiply_add",
            accesses={("drive", "reads"): self.inputs},
        )

    def execute(self, core: Core) -> None:
        values = core.values.read(self.source, self.inputs)
        sums = values @ core.rows("drive", self.row, self.inputs)
        core.values.write(self.dest, _drive(core, sums, self.shift, self.bias))


@instruction("update", 10)
@dataclass(frozen=True, kw_only=True)
class Update(Instruction):
    """Memory update: m = (Abar m + Bbar x) >> shift, rounded to nearest and saturated.

    Coefficients lie column by column: for each block of `lanes` states, one row for each column of
    Abar, then one for Bbar. A row a cycle.
    """

    state: int = value_register("m")
    drive: int = value_register("x, one value")
    row: int = unsigned(16, "first row of coefficients in the update memory")
    size: int = unsigned(9, "d, the number of memory states")
    shift: int = signed(6, "right shift of the sum, rounded to nearest")

    def _rows(self, core: Core) -> int:
        return -(-self.size // core.target.update.lanes) * (self.size + 1)

    def work(self, core: Core) -> Work:
        rows = self._rows(core)
        return Work(
            unit="update",
            cycles=max(rows, 1),
            reads=(f"v{self.state}", f"v{self.drive}"),
            writes=(f"v{self.state}",),
            operations=self.size * (self.size + 1),
            kind="state_multiply_add",
            accesses={("update", "reads"): rows},
        )

    def execute(self, core: Core) -> None:
        state = core.values.read(self.state, self.size)
        operand = np.concatenate([state, core.values.read(self.drive, 1)], axis=1)
        table = core.rows("update", self.row, self._rows(core))
        blocks = table.reshape(-1, self.size + 1, core.target.update.lanes)
        columns = blocks.transpose(1, 0, 2).reshape(self.size + 1, -1)[:, : self.size]
        sums = shift_round(operand @ columns, self.shift)
        core.values.write(self.state, core.saturate(sums, core.target.values.bits, "memory state"))


@instruction("clear.value", 11)
@dataclass(frozen=True, kw_only=True)
class ClearValue(Instruction):
    """Set a value register to zeros: a memory state at the start of a sample."""

    dest: int = value_register("the register")
    size: int = unsigned(12, "elements")

    def work(self, core: Core) -> Work:
        return Work(unit="update", writes=(f"v{self.dest}",))

    def execute(self, core: Core) -> None:
        core.values.write(self.dest, np.zeros((core.batch, self.size), np.int64))


@instruction("hold.value", 12)
@dataclass(frozen=True, kw_only=True)
class HoldValue(Instruction):
    """Copy a value register in every `every`th timestep of a sample, the first included.

    In other timesteps it takes its issue slot and nothing else: the copy stays as it is. This is
    the dilation of a slow current (Sun et al. 2026).
    """

    dest: int = value_register("the copy")
    source: int = value_register("the original")
    size: int = unsigned(12, "elements")
    every: int = unsigned(16, "timesteps from one copy to the next, at least 1")

    def _due(self, core: Core) -> bool:
        if self.every == 0:
            core.trap("a copy every 0 timesteps")
        return core.timestep_of(self.stage) % self.every == 0

    def work(self, core: Core) -> Work:
        if not self._due(core):
            return Work(unit="control")
        return Work(
            unit="update",
            reads=(f"v{self.source}",),
            writes=(f"v{self.dest}",),
            operations=self.size,
        )

    def execute(self, core: Core) -> None:
        if self._due(core):
            core.values.write(self.dest, core.values.read(self.source, self.size))


# -- integration on the banks ---------------------------------------------------------------------


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


# -- neurons --------------------------------------------------------------------------------------


@instruction("clear.membranes", 24)
@dataclass(frozen=True, kw_only=True)
class ClearMembranes(Instruction):
    """Set membranes to zero, a row a cycle."""

    row: int = unsigned(12, "first row in the neuron memory")
    groups: int = unsigned(10, "rows")

    def work(self, core: Core) -> Work:
        return Work(unit="neuron", cycles=self.groups, accesses={("neuron", "writes"): self.groups})

    def execute(self, core: Core) -> None:
        core.write_state("neuron", self.row, self.groups, 0)


@instruction("lif", 25)
@dataclass(frozen=True, kw_only=True)
class Lif(Instruction):
    """Leak, integrate, fire and reset: one read and one write of each membrane.

    u = leak(u); u += event sums >> shift; u += (value sums >> parameter shift) + bias;
    spike where u >= threshold. Each addition saturates to the membrane's width.
    """

    dest: int = event_register("output spikes")
    row: int = unsigned(12, "first row of membranes in the neuron memory")
    parameters: int = unsigned(12, "first row in the parameter memory")
    groups: int = unsigned(10, "groups of neurons")
    banks: tuple[int, ...] = bank_set("banks whose sums to integrate")
    shift: int = signed(6, "right shift of event sums; negative shifts left")
    subtract: bool = flag("reset takes the threshold off instead of writing the reset value")

    def work(self, core: Core) -> Work:
        writes = (f"e{self.dest}",)
        return _neuron_work(
            core, self.row, self.groups, parameters=True, consumes=self.banks, writes=writes
        )

    def execute(self, core: Core) -> None:
        neuron = core.target.neuron
        bits = neuron.membrane_bits
        p = core.parameters(self.parameters, self.groups)
        events, values = core.take(self.banks, self.groups, core.target.accumulators.bits)
        u = core.read_state("neuron", self.row, self.groups)
        u = leak(u, p.leak, neuron.leak_bits)
        u = core.saturate(u + shift_round(events, self.shift), bits, "membrane")
        u = core.saturate(u + shift_round(values, p.shift) + p.bias, bits, "membrane")
        spikes, u = fire(u, p.threshold, p.reset, self.subtract)
        core.write_state("neuron", self.row, self.groups, core.saturate(u, bits, "membrane"))
        core.events.write(self.dest, spikes)


@instruction("leak", 26)
@dataclass(frozen=True, kw_only=True)
class Leak(Instruction):
    """The leak of `lif` alone: membranes are read, and written again."""

    row: int = unsigned(12, "first row of membranes in the neuron memory")
    parameters: int = unsigned(12, "first row in the parameter memory")
    groups: int = unsigned(10, "groups of neurons")

    def work(self, core: Core) -> Work:
        return _neuron_work(core, self.row, self.groups, parameters=True)

    def execute(self, core: Core) -> None:
        p = core.parameters(self.parameters, self.groups)
        u = core.read_state("neuron", self.row, self.groups)
        u = leak(u, p.leak, core.target.neuron.leak_bits)
        core.write_state("neuron", self.row, self.groups, u)


@instruction("integrate.events", 27)
@dataclass(frozen=True, kw_only=True)
class IntegrateEvents(Instruction):
    """The integration of event sums of `lif` alone: membranes are read, and written again."""

    row: int = unsigned(12, "first row of membranes in the neuron memory")
    groups: int = unsigned(10, "groups of neurons")
    banks: tuple[int, ...] = bank_set("banks whose event sums to integrate")
    shift: int = signed(6, "right shift of event sums; negative shifts left")

    def work(self, core: Core) -> Work:
        return _neuron_work(core, self.row, self.groups, consumes=self.banks)

    def execute(self, core: Core) -> None:
        events, _ = core.take(self.banks, self.groups, core.target.accumulators.bits)
        u = core.read_state("neuron", self.row, self.groups) + shift_round(events, self.shift)
        u = core.saturate(u, core.target.neuron.membrane_bits, "membrane")
        core.write_state("neuron", self.row, self.groups, u)


@instruction("integrate.values", 28)
@dataclass(frozen=True, kw_only=True)
class IntegrateValues(Instruction):
    """The integration of value sums and bias of `lif` alone: membranes are read, written again."""

    row: int = unsigned(12, "first row of membranes in the neuron memory")
    parameters: int = unsigned(12, "first row in the parameter memory")
    groups: int = unsigned(10, "groups of neurons")
    banks: tuple[int, ...] = bank_set("banks whose value sums to integrate")

    def work(self, core: Core) -> Work:
        return _neuron_work(core, self.row, self.groups, parameters=True, consumes=self.banks)

    def execute(self, core: Core) -> None:
        p = core.parameters(self.parameters, self.groups)
        _, values = core.take(self.banks, self.groups, core.target.accumulators.bits)
        u = core.read_state("neuron", self.row, self.groups) + shift_round(values, p.shift) + p.bias
        u = core.saturate(u, core.target.neuron.membrane_bits, "membrane")
        core.write_state("neuron", self.row, self.groups, u)


@instruction("fire", 29)
@dataclass(frozen=True, kw_only=True)
class Fire(Instruction):
    """Threshold and reset of `lif` alone: membranes are read, and written again."""

    dest: int = event_register("output spikes")
    row: int = unsigned(12, "first row of membranes in the neuron memory")
    parameters: int = unsigned(12, "first row in the parameter memory")
    groups: int = unsigned(10, "groups of neurons")
    subtract: bool = flag("reset takes the threshold off instead of writing the reset value")

    def work(self, core: Core) -> Work:
        return _neuron_work(core, self.row, self.groups, parameters=True, writes=(f"e{self.dest}",))

    def execute(self, core: Core) -> None:
        p = core.parameters(self.parameters, self.groups)
        u = core.read_state("neuron", self.row, self.groups)
        spikes, u = fire(u, p.threshold, p.reset, self.subtract)
        u = core.saturate(u, core.target.neuron.membrane_bits, "membrane")
        core.write_state("neuron", self.row, self.groups, u)
        core.events.write(self.dest, spikes)


def _neuron_work(
    core: Core,
    row: int,
    groups: int,
    *,
    parameters: bool = False,
    consumes: tuple[int, ...] = (),
    writes: tuple[str, ...] = (),
) -> Work:
    """A pass over membranes: each row is read and written once."""
    return Work(
        unit="neuron",
        cycles=2,
        groups=groups,
        writes=writes,
        consumes=consumes,
        paired=True,
        row=row,
        operations=groups * core.target.lanes,
        kind="neuron",
        accesses={
            ("neuron", "reads"): groups,
            ("neuron", "writes"): groups,
            ("parameter", "reads"): groups if parameters else 0,
        },
    )


# -- readout --------------------------------------------------------------------------------------


@instruction("clear.logits", 32)
@dataclass(frozen=True, kw_only=True)
class ClearLogits(Instruction):
    """Set logits to the value from which a mode starts: 0, or the least number for `max`."""

    row: int = unsigned(12, "first row in the readout memory")
    groups: int = unsigned(10, "rows")
    mode: str = choice(("sum", "last", "max"), "as in `readout`")

    def work(self, core: Core) -> Work:
        return Work(
            unit="readout", cycles=self.groups, accesses={("readout", "writes"): self.groups}
        )

    def execute(self, core: Core) -> None:
        least = -(1 << (core.target.readout.bits - 1))
        core.write_state("readout", self.row, self.groups, least if self.mode == "max" else 0)


@instruction("readout", 33)
@dataclass(frozen=True, kw_only=True)
class Readout(Instruction):
    """Combine a readout, sums plus bias, into the logits.

    The bias of a class is its parameter's `bias`, moved right by its `shift` (negative: left). At
    the end of a sample, `steps` counts it once for every timestep. Sums come in their full width.
    """

    row: int = unsigned(12, "first row of logits in the readout memory")
    parameters: int = unsigned(12, "first row in the parameter memory")
    groups: int = unsigned(10, "rows of logits")
    banks: tuple[int, ...] = bank_set("banks whose sums to take")
    mode: str = choice(("sum", "last", "max"), "add to, replace, or keep the larger of the logits")
    steps: bool = flag("the bias counts once for every timestep")

    def work(self, core: Core) -> Work:
        rows = self.groups
        return Work(
            unit="readout",
            cycles=2,
            groups=rows,
            consumes=self.banks,
            paired=True,
            row=self.row,
            operations=rows * core.target.lanes,
            kind="add",
            accesses={
                ("readout", "reads"): rows,
                ("readout", "writes"): rows,
                ("parameter", "reads"): rows,
            },
        )

    def execute(self, core: Core) -> None:
        p = core.parameters(self.parameters, self.groups)
        wide = core.target.accumulators.bits + core.target.accumulators.guard
        events, values = core.take(self.banks, self.groups, wide)
        bias = shift_round(p.bias, p.shift) * (core.steps if self.steps else 1)
        now = events + values + bias
        before = core.read_state("readout", self.row, self.groups)
        after = {"sum": before + now, "last": now, "max": np.maximum(before, now)}[self.mode]
        bits = core.target.readout.bits
        core.write_state("readout", self.row, self.groups, core.saturate(after, bits, "logit"))


@instruction("count.events", 34)
@dataclass(frozen=True, kw_only=True)
class CountEvents(Instruction):
    """Add events to counts: how often each input was active so far. An event a cycle."""

    counts: int = value_register("the counts")
    source: int = event_register("events to count")
    size: int = unsigned(12, "elements")

    def work(self, core: Core) -> Work:
        active = core.active(self.source, self.size)
        return Work(
            unit="readout",
            cycles=np.maximum(active, 1),
            reads=(f"e{self.source}", f"v{self.counts}"),
            writes=(f"v{self.counts}",),
            operations=active,
            kind="add",
        )

    def execute(self, core: Core) -> None:
        counted = core.values.read(self.counts, self.size)
        counted = counted + core.events.read(self.source, self.size)
        core.values.write(self.counts, core.saturate(counted, core.target.values.bits, "count"))
