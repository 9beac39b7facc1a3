"""Instructions of the sequencer: loops, and the end of a program."""

from dataclasses import dataclass

from isa.core import Core
from isa.format import Instruction, choice, instruction, unsigned
from isa.work import Work


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
