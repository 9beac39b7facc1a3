"""Instructions of the delay unit: events that arrive timesteps later."""

from dataclasses import dataclass

import numpy as np

from isa.core import Core
from isa.format import Instruction, event_register, instruction, unsigned
from isa.work import Work


@instruction("delay.events", 20)
@dataclass(frozen=True, kw_only=True)
class DelayEvents(Instruction):
    """Delay events, each by its axon's timesteps.

    Events wait in a ring of `length` timesteps, each some rows of the ring memory. An event at
    input i sets bit i of the timestep `delay[i]` ahead, an event a cycle; then the present
    timestep's rows are read and cleared.
    """

    dest: int = event_register("the events that arrive in this timestep")
    source: int = event_register("the events that set out in this timestep")
    row: int = unsigned(12, "first row in the ring memory")
    axons: int = unsigned(12, "first row in the axon memory, one delay a row")
    inputs: int = unsigned(12, "width of both")
    length: int = unsigned(11, "timesteps in the ring: one more than the longest delay")

    def _rows(self, core: Core) -> int:
        """Rows of the ring memory that a timestep takes."""
        return -(-self.inputs // core.target.delay.lanes)

    def work(self, core: Core) -> Work:
        active, rows = core.active(self.source, self.inputs), self._rows(core)
        return Work(
            unit="delay",
            cycles=active + 1 + 2 * rows,
            reads=(f"e{self.source}",),
            writes=(f"e{self.dest}",),
            operations=active,
            accesses={
                ("axon", "reads"): active,
                ("ring", "writes"): active + rows,
                ("ring", "reads"): rows,
            },
        )

    def execute(self, core: Core) -> None:
        delays = core.rows("axon", self.axons, self.inputs)[:, 0]
        if self.inputs == 0 or not (delays.min() >= 0 and delays.max() < self.length):
            core.trap(f"delays outside 0 .. {self.length - 1}, the ring's timesteps")
        ring = core.state("ring", self.row, self.length * self._rows(core))
        ring = ring.reshape(core.batch, self.length, -1)
        timestep = core.timestep_of(self.stage)
        due, axon = (timestep + delays) % self.length, np.arange(self.inputs)
        ring[:, due, axon] |= core.events.read(self.source, self.inputs)
        present = ring[:, timestep % self.length]
        core.events.write(self.dest, present[:, : self.inputs].copy())
        present[:] = 0


@instruction("clear.delays", 21)
@dataclass(frozen=True, kw_only=True)
class ClearDelays(Instruction):
    """Let no event wait: before the first timestep. A row a cycle."""

    row: int = unsigned(12, "first row in the ring memory")
    rows: int = unsigned(12, "rows")

    def work(self, core: Core) -> Work:
        return Work(unit="delay", cycles=self.rows, accesses={("ring", "writes"): self.rows})

    def execute(self, core: Core) -> None:
        core.write_state("ring", self.row, self.rows, 0)
