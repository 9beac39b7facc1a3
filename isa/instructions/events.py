"""Instructions of the event unit: the input, and copies of events."""

from isa.format import Instruction, elements, event_register, instruction, value_register
from isa.machine import Machine
from isa.target import Target
from isa.work import ACTIVE, INPUT, Active, Count, Work, registers


@instruction("input.events", 4)
class InputEvents(Instruction):
    """Take the address events of one timestep from the host into an event register.

    One event a cycle, and one cycle for the mark that ends the timestep.
    """

    dest: int = event_register("the input's spikes")
    inputs: int = elements("width of the input")

    def work(self, target: Target) -> Work:
        return Work(
            unit="event",
            active=Active(INPUT, self.inputs),
            cycles=Count(1, active=1),
            writes=registers(target, "e", self.dest, self.inputs),
            operations=ACTIVE,
        )

    def execute(self, core: Machine) -> None:
        core.events.write(self.dest, core.next_input(self.inputs, 0, 1))


@instruction("input.values", 5)
class InputValues(Instruction):
    """Take the values of one timestep from the host into a value register, one a cycle."""

    dest: int = value_register("the input's values")
    inputs: int = elements("width of the input")

    def work(self, target: Target) -> Work:
        return Work(
            unit="event",
            cycles=Count(self.inputs + 1),
            writes=registers(target, "v", self.dest, self.inputs),
            operations=Count(self.inputs),
        )

    def execute(self, core: Machine) -> None:
        half = 1 << (core.target.values.bits - 1)
        core.values.write(self.dest, core.next_input(self.inputs, -half, half - 1))


@instruction("clear.events", 3)
class ClearEvents(Instruction):
    """Set an event register to no events: a layer's own spikes before the first timestep."""

    dest: int = event_register("the register")
    size: int = elements("elements")

    def work(self, target: Target) -> Work:
        return Work(unit="event", writes=registers(target, "e", self.dest, self.size))

    def execute(self, core: Machine) -> None:
        core.events.write(self.dest, core.zeros(self.size))


@instruction("move.events", 7)
class MoveEvents(Instruction):
    """Copy an event register: spikes that a later stage needs when newer ones replace them."""

    dest: int = event_register("the copy")
    source: int = event_register("the original")
    size: int = elements("elements")

    def work(self, target: Target) -> Work:
        return Work(
            unit="event",
            reads=registers(target, "e", self.source, self.size),
            writes=registers(target, "e", self.dest, self.size),
        )

    def execute(self, core: Machine) -> None:
        core.events.write(self.dest, core.events.read(self.source, self.size))
