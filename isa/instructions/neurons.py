"""Instructions of the neuron unit: leak, integration, threshold and reset."""

from dataclasses import dataclass

from isa.arithmetic import fire, leak, shift_round
from isa.format import (
    Instruction,
    bank_set,
    elements,
    event_register,
    flag,
    group_count,
    instruction,
    row_number,
    signed,
    window,
)
from isa.machine import Machine
from isa.parameters import LEAK_BITS
from isa.target import Target
from isa.work import NONE, Count, Work, in_window, registers


@instruction("clear.membranes", 24)
@dataclass(frozen=True, kw_only=True)
class ClearMembranes(Instruction):
    """Set membranes to zero, a row a cycle."""

    row: int = row_number("first row in the neuron memory")
    groups: int = group_count("rows")
    window: int | None = window("the window that holds them, if they are external")

    def work(self, target: Target) -> Work:
        rows = Count(self.groups)
        return Work(
            unit="neuron",
            cycles=rows,
            reads=in_window(self.window),
            accesses={("neuron", "writes"): rows},
        )

    def execute(self, core: Machine) -> None:
        core.near(self.window, "neuron", self.row, self.groups)
        core.write_state("neuron", self.row, self.groups, 0)


@instruction("lif", 25)
@dataclass(frozen=True, kw_only=True)
class Lif(Instruction):
    """Leak, integrate, fire and reset: one read and one write of each membrane.

    u = leak(u); u += event sums >> shift; u += (value sums >> parameter shift) + bias;
    spike where u >= threshold. Each addition saturates to the membrane's width.
    """

    dest: int = event_register("output spikes")
    row: int = row_number("first row of membranes in the neuron memory")
    parameters: int = row_number("first row in the parameter memory")
    groups: int = group_count("groups of neurons")
    banks: tuple[int, ...] = bank_set("banks whose sums to integrate")
    shift: int = signed(6, "right shift of event sums; negative shifts left")
    subtract: bool = flag("a spike takes the reset value off instead of writing it")
    window: int | None = window("the window that holds membranes and parameters, if external")
    offset: int = elements("elements of the register that lie before these, written already", 0)

    def work(self, target: Target) -> Work:
        return _neuron_work(target, self, parameters=True, consumes=self.banks, spikes=self)

    def execute(self, core: Machine) -> None:
        _near(core, self)
        neuron = core.target.neuron
        bits = neuron.membrane_bits
        p = core.parameters(self.parameters, self.groups)
        events, values = core.take(self.banks, self.groups, core.target.accumulators.bits)
        u = core.read_state("neuron", self.row, self.groups)
        u = leak(u, p.leak, LEAK_BITS)
        u = core.saturate(u + shift_round(events, self.shift), bits, "membrane")
        u = core.saturate(u + shift_round(values, p.shift) + p.bias, bits, "membrane")
        spikes, u = fire(u, p.threshold, p.reset, self.subtract)
        core.write_state("neuron", self.row, self.groups, core.saturate(u, bits, "membrane"))
        core.events.append(self.dest, self.offset, spikes)


@instruction("leak", 26)
@dataclass(frozen=True, kw_only=True)
class Leak(Instruction):
    """The leak of `lif` alone: membranes are read, and written again."""

    row: int = row_number("first row of membranes in the neuron memory")
    parameters: int = row_number("first row in the parameter memory")
    groups: int = group_count("groups of neurons")
    window: int | None = window("the window that holds membranes and parameters, if external")

    def work(self, target: Target) -> Work:
        return _neuron_work(target, self, parameters=True)

    def execute(self, core: Machine) -> None:
        _near(core, self)
        p = core.parameters(self.parameters, self.groups)
        u = core.read_state("neuron", self.row, self.groups)
        u = leak(u, p.leak, LEAK_BITS)
        core.write_state("neuron", self.row, self.groups, u)


@instruction("integrate.events", 27)
@dataclass(frozen=True, kw_only=True)
class IntegrateEvents(Instruction):
    """The integration of event sums of `lif` alone: membranes are read, and written again."""

    row: int = row_number("first row of membranes in the neuron memory")
    groups: int = group_count("groups of neurons")
    banks: tuple[int, ...] = bank_set("banks whose event sums to integrate")
    shift: int = signed(6, "right shift of event sums; negative shifts left")
    window: int | None = window("the window that holds membranes and parameters, if external")

    def work(self, target: Target) -> Work:
        return _neuron_work(target, self, consumes=self.banks)

    def execute(self, core: Machine) -> None:
        core.near(self.window, "neuron", self.row, self.groups)
        events, _ = core.take(self.banks, self.groups, core.target.accumulators.bits)
        u = core.read_state("neuron", self.row, self.groups) + shift_round(events, self.shift)
        u = core.saturate(u, core.target.neuron.membrane_bits, "membrane")
        core.write_state("neuron", self.row, self.groups, u)


@instruction("integrate.values", 28)
@dataclass(frozen=True, kw_only=True)
class IntegrateValues(Instruction):
    """The integration of value sums and bias of `lif` alone: membranes are read, written again."""

    row: int = row_number("first row of membranes in the neuron memory")
    parameters: int = row_number("first row in the parameter memory")
    groups: int = group_count("groups of neurons")
    banks: tuple[int, ...] = bank_set("banks whose value sums to integrate")
    window: int | None = window("the window that holds membranes and parameters, if external")

    def work(self, target: Target) -> Work:
        return _neuron_work(target, self, parameters=True, consumes=self.banks)

    def execute(self, core: Machine) -> None:
        _near(core, self)
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
    row: int = row_number("first row of membranes in the neuron memory")
    parameters: int = row_number("first row in the parameter memory")
    groups: int = group_count("groups of neurons")
    subtract: bool = flag("a spike takes the reset value off instead of writing it")
    window: int | None = window("the window that holds membranes and parameters, if external")
    offset: int = elements("elements of the register that lie before these, written already", 0)

    def work(self, target: Target) -> Work:
        return _neuron_work(target, self, parameters=True, spikes=self)

    def execute(self, core: Machine) -> None:
        _near(core, self)
        p = core.parameters(self.parameters, self.groups)
        u = core.read_state("neuron", self.row, self.groups)
        spikes, u = fire(u, p.threshold, p.reset, self.subtract)
        u = core.saturate(u, core.target.neuron.membrane_bits, "membrane")
        core.write_state("neuron", self.row, self.groups, u)
        core.events.append(self.dest, self.offset, spikes)


def _near(core: Machine, op: Lif | Leak | IntegrateValues | Fire) -> None:
    """Trap unless membranes and parameters are on the chip."""
    core.near(op.window, "neuron", op.row, op.groups)
    core.near(op.window, "parameter", op.parameters, op.groups)


def _neuron_work(
    target: Target,
    op: Lif | Leak | IntegrateEvents | IntegrateValues | Fire,
    *,
    parameters: bool = False,
    consumes: tuple[int, ...] = (),
    spikes: Lif | Fire | None = None,
) -> Work:
    """A pass over membranes: each row is read and written once."""
    writes: tuple[str, ...] = ()
    appends: tuple[str, ...] = ()
    if spikes:
        size = spikes.offset + op.groups * target.lanes
        writes = registers(target, "e", spikes.dest, size, spikes.offset)
        if spikes.offset % target.events.width:
            appends = (f"e{spikes.dest + spikes.offset // target.events.width}",)
    rows = Count(op.groups)
    return Work(
        unit="neuron",
        groups=op.groups,
        reads=in_window(op.window),
        writes=writes,
        appends=appends,
        consumes=consumes,
        paired=True,
        row=op.row,
        operations=Count(op.groups * target.lanes),
        kind="neuron",
        accesses={
            ("neuron", "reads"): rows,
            ("neuron", "writes"): rows,
            ("parameter", "reads"): rows if parameters else NONE,
        },
    )
