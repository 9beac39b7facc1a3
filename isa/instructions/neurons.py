"""Instructions of the neuron unit: leak, integration, threshold and reset."""

from dataclasses import dataclass

from isa.arithmetic import fire, leak, shift_round
from isa.format import Instruction, bank_set, event_register, flag, instruction, signed, unsigned
from isa.machine import Machine
from isa.parameters import LEAK_BITS
from isa.target import Target
from isa.work import Count, Work


@instruction("clear.membranes", 24)
@dataclass(frozen=True, kw_only=True)
class ClearMembranes(Instruction):
    """Set membranes to zero, a row a cycle."""

    row: int = unsigned(12, "first row in the neuron memory")
    groups: int = unsigned(10, "rows")

    def work(self, target: Target) -> Work:
        rows = Count(self.groups)
        return Work(unit="neuron", cycles=rows, accesses={("neuron", "writes"): rows})

    def execute(self, core: Machine) -> None:
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
    subtract: bool = flag("a spike takes the reset value off instead of writing it")

    def work(self, target: Target) -> Work:
        writes = (f"e{self.dest}",)
        return _neuron_work(
            target, self.row, self.groups, parameters=True, consumes=self.banks, writes=writes
        )

    def execute(self, core: Machine) -> None:
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
        core.events.write(self.dest, spikes)


@instruction("leak", 26)
@dataclass(frozen=True, kw_only=True)
class Leak(Instruction):
    """The leak of `lif` alone: membranes are read, and written again."""

    row: int = unsigned(12, "first row of membranes in the neuron memory")
    parameters: int = unsigned(12, "first row in the parameter memory")
    groups: int = unsigned(10, "groups of neurons")

    def work(self, target: Target) -> Work:
        return _neuron_work(target, self.row, self.groups, parameters=True)

    def execute(self, core: Machine) -> None:
        p = core.parameters(self.parameters, self.groups)
        u = core.read_state("neuron", self.row, self.groups)
        u = leak(u, p.leak, LEAK_BITS)
        core.write_state("neuron", self.row, self.groups, u)


@instruction("integrate.events", 27)
@dataclass(frozen=True, kw_only=True)
class IntegrateEvents(Instruction):
    """The integration of event sums of `lif` alone: membranes are read, and written again."""

    row: int = unsigned(12, "first row of membranes in the neuron memory")
    groups: int = unsigned(10, "groups of neurons")
    banks: tuple[int, ...] = bank_set("banks whose event sums to integrate")
    shift: int = signed(6, "right shift of event sums; negative shifts left")

    def work(self, target: Target) -> Work:
        return _neuron_work(target, self.row, self.groups, consumes=self.banks)

    def execute(self, core: Machine) -> None:
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

    def work(self, target: Target) -> Work:
        return _neuron_work(target, self.row, self.groups, parameters=True, consumes=self.banks)

    def execute(self, core: Machine) -> None:
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
    subtract: bool = flag("a spike takes the reset value off instead of writing it")

    def work(self, target: Target) -> Work:
        return _neuron_work(
            target, self.row, self.groups, parameters=True, writes=(f"e{self.dest}",)
        )

    def execute(self, core: Machine) -> None:
        p = core.parameters(self.parameters, self.groups)
        u = core.read_state("neuron", self.row, self.groups)
        spikes, u = fire(u, p.threshold, p.reset, self.subtract)
        u = core.saturate(u, core.target.neuron.membrane_bits, "membrane")
        core.write_state("neuron", self.row, self.groups, u)
        core.events.write(self.dest, spikes)


def _neuron_work(
    target: Target,
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
        groups=groups,
        writes=writes,
        consumes=consumes,
        paired=True,
        row=row,
        operations=Count(groups * target.lanes),
        kind="neuron",
        accesses={
            ("neuron", "reads"): Count(groups),
            ("neuron", "writes"): Count(groups),
            ("parameter", "reads"): Count(groups if parameters else 0),
        },
    )
