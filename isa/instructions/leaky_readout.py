"""Readouts that forget: the leak of logits, and what is made of leaky ones over time."""

from collections.abc import Mapping

from isa.arithmetic import larger, leak
from isa.format import (
    Instruction,
    Timesteps,
    choice,
    from_timestep,
    group_count,
    instruction,
    row_number,
    timestep_number,
)
from isa.instructions.readout import logits_work
from isa.machine import Machine
from isa.parameters import LEAK_BITS
from isa.target import Target
from isa.work import Work


@instruction("leak.logits", 35)
class LeakLogits(Instruction):
    """Leak logits as `leak` does membranes, by the `leak` of their parameters.

    Before a `readout` with `sum` in each timestep it makes a leaky integrator of it, whose logits
    speak of the recent past: a sample without an end needs one, where a mean over all timesteps
    says less and less, and counts overflow.
    """

    row: int = row_number("first row of logits in the readout memory")
    parameters: int = row_number("first row in the parameter memory")
    groups: int = group_count("rows of logits")

    @property
    def left(self) -> Mapping[str, int]:
        """Logits."""
        return {"row": self.row}

    def work(self, target: Target) -> Work:
        return logits_work(target, self.row, self.groups, "multiply_add")

    def execute(self, core: Machine) -> None:
        p = core.parameters(self.parameters, self.groups)
        logits = core.read_state("readout", self.row, self.groups)
        core.write_state("readout", self.row, self.groups, leak(logits, p.leak, LEAK_BITS))


@instruction("collect.logits", 38)
class CollectLogits(Instruction):
    """Combine other rows of the readout memory into logits: leaky ones, timestep by timestep.

    A row is visited as a neuron's state is: first the other row, which is only read. In timesteps
    before `since` it takes its issue slot and nothing else: the logits stay as they are.
    """

    row: int = row_number("first row of logits in the readout memory")
    source: int = row_number("first row of what is collected in the readout memory")
    groups: int = group_count("rows of logits")
    mode: str = choice(("sum", "max"), "add to the logits, or keep the larger")
    since: int = timestep_number("the first timestep that counts", 0)

    @property
    def timesteps(self) -> Timesteps | None:
        return from_timestep(self.since)

    @property
    def left(self) -> Mapping[str, int]:
        """Logits."""
        return {"row": self.row}

    def work(self, target: Target) -> Work:
        return logits_work(target, self.row, self.groups, "add", source=self.source)

    def execute(self, core: Machine) -> None:
        bits = core.target.readout.bits
        now = core.read_state("readout", self.source, self.groups)
        before = core.read_state("readout", self.row, self.groups)
        after = before + now if self.mode == "sum" else larger(before, now)
        core.write_state("readout", self.row, self.groups, core.saturate(after, bits, "logit"))
