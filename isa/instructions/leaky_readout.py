"""The leak of logits: a readout that forgets."""

from collections.abc import Mapping
from dataclasses import dataclass

from isa.arithmetic import leak
from isa.format import Instruction, group_count, instruction, row_number
from isa.machine import Machine
from isa.parameters import LEAK_BITS
from isa.target import Target
from isa.work import Count, Work


@instruction("leak.logits", 35)
@dataclass(frozen=True, kw_only=True)
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
        rows = Count(self.groups)
        return Work(
            unit="readout",
            groups=self.groups,
            paired=True,
            row=self.row,
            operations=Count(self.groups * target.lanes),
            kind="multiply_add",
            accesses={
                ("readout", "reads"): rows,
                ("readout", "writes"): rows,
                ("parameter", "reads"): rows,
            },
        )

    def execute(self, core: Machine) -> None:
        p = core.parameters(self.parameters, self.groups)
        logits = core.read_state("readout", self.row, self.groups)
        core.write_state("readout", self.row, self.groups, leak(logits, p.leak, LEAK_BITS))
