"""Instructions of the sequencer: loops, and the end of a program."""

from isa.format import Instruction, choice, instruction, unsigned
from isa.limits import STAGE_BITS
from isa.machine import Machine
from isa.target import Target
from isa.work import SKIPPED, Work


@instruction("halt", 0)
class Halt(Instruction):
    """End the program. Every burst must have been consumed."""

    def work(self, target: Target) -> Work:
        return SKIPPED

    def execute(self, core: Machine) -> None:
        core.halt()


@instruction("sync", 1)
class Sync(Instruction):
    """Issue nothing more until every unit is idle."""

    def work(self, target: Target) -> Work:
        return SKIPPED

    def execute(self, core: Machine) -> None:
        pass


@instruction("loop", 2)
class Loop(Instruction):
    """Run the next `length` words several times, or not at all if the count is 0 or less.

    A sample is one run of the program, from its first word to `halt`: all registers, membranes and
    logits are unwritten when it starts. So the loop over samples runs once in it; what it encloses
    is a sample's work, and its cycles are counted up to its end, or to `halt` if there is no such
    loop. In a loop over timesteps, an instruction of stage s is skipped until iteration s and then
    runs once a timestep: layers work on successive timesteps at the same time, and `drain` lets
    the last stage finish.
    """

    counter: str = choice(
        ("immediate", "steps", "samples"),
        "what to count: a number, the timesteps of a sample, or the samples of the run",
    )
    value: int = unsigned(16, "the number", 0)
    drain: int = unsigned(STAGE_BITS, "further iterations in which later stages finish", 0)
    length: int = unsigned(16, "words in the body")

    def work(self, target: Target) -> Work:
        return SKIPPED

    def execute(self, core: Machine) -> None:
        core.enter_loop(self.length, self.counter, self.value, self.drain)
