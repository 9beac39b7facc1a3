"""Instructions of the delay unit: events that arrive timesteps later."""

from isa.format import Instruction, elements, event_register, instruction, row_number
from isa.machine import Machine
from isa.target import Target
from isa.work import ACTIVE, Active, Count, Work, registers


@instruction("delay.events", 20)
class DelayEvents(Instruction):
    """Delay events, each by its axon's timesteps.

    Events wait in a ring of `length` timesteps, each some rows of the ring memory. An event at
    input i sets bit i of the timestep `delay[i]` ahead, an event a cycle; then the present
    timestep's rows are read and cleared.
    """

    dest: int = event_register("the events that arrive in this timestep")
    source: int = event_register("the events that set out in this timestep")
    row: int = row_number("first row in the ring memory")
    axons: int = row_number("first row in the axon memory, one delay a row")
    inputs: int = elements("width of both")
    length: int = elements("timesteps in the ring: one more than the longest delay")

    def _rows(self, target: Target) -> int:
        """Rows of the ring memory that a timestep takes."""
        return -(-self.inputs // target.delay.lanes)

    def work(self, target: Target) -> Work:
        rows = self._rows(target)
        return Work(
            unit="delay",
            active=Active(f"e{self.source}", self.inputs),
            cycles=Count(1 + 2 * rows, active=1),
            reads=registers(target, "e", self.source, self.inputs),
            writes=registers(target, "e", self.dest, self.inputs),
            operations=ACTIVE,
            accesses={
                ("axon", "reads"): ACTIVE,
                ("ring", "writes"): Count(rows, active=1),
                ("ring", "reads"): Count(rows),
            },
        )

    def execute(self, core: Machine) -> None:
        delays = core.rows("axon", self.axons, self.inputs)[:, 0]
        fit = self.inputs and delays.min() >= 0 and delays.max() < self.length
        core.check(fit, f"delays outside 0 .. {self.length - 1}, the ring's timesteps")
        events = core.events.read(self.source, self.inputs)
        present = core.delay(events, delays, self.row, self._rows(core.target), self.length)
        core.events.write(self.dest, present)


@instruction("clear.delays", 21)
class ClearDelays(Instruction):
    """Let no event wait: before the first timestep. A row a cycle."""

    row: int = row_number("first row in the ring memory")
    rows: int = row_number("rows")

    def work(self, target: Target) -> Work:
        writes = {("ring", "writes"): Count(self.rows)}
        return Work(unit="delay", cycles=Count(self.rows), accesses=writes)

    def execute(self, core: Machine) -> None:
        core.write_state("ring", self.row, self.rows, 0)
