"""The sequencer: which instruction comes next, and whether it runs.

Loops are hardware loops: nothing is spent on jumping back. Control depends on the program and on
the number of timesteps of a sample, so far never on data.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

from isa.format import Instruction


@dataclass
class Frame:
    """A running hardware loop over words `start` .. `end` - 1; `steps` if it counts timesteps."""

    start: int
    end: int
    iterations: int
    steps: int | None
    iteration: int = 0


class Sequencer:
    """Program counter and loops of one run of a program, which is one sample."""

    def __init__(
        self,
        code: Sequence[Instruction],
        depth: int,
        steps: int,
        trap: Callable[[str], NoReturn],
    ) -> None:
        self.code, self.depth, self.steps, self._trap = code, depth, steps, trap
        self.pc = 0
        self.halted = False
        self.frames: list[Frame] = []

    def fetch(self) -> Instruction:
        """The current instruction; traps past the program's end."""
        if self.pc >= len(self.code):
            self._trap("the program ran past its end")
        return self.code[self.pc]

    def enter_loop(self, length: int, counter: str, value: int, drain: int) -> None:
        """Run the `length` words after the current one as often as a counter says."""
        if length == 0:
            self._trap("a loop needs a body")
        if len(self.frames) >= self.depth:
            self._trap(f"loops nest deeper than {self.depth}")
        end = self.pc + 1 + length
        if self.frames and end > self.frames[-1].end:
            self._trap("a loop reaches beyond the loop around it")
        if counter == "samples":
            if self.frames:
                self._trap("the loop over samples must be outermost")
            if value or drain:
                self._trap("the loop over samples runs once for each sample, and no more")
        iterations = {"immediate": value, "steps": self.steps, "samples": 1}[counter] + drain
        if iterations <= 0:
            self.pc = end - 1
        else:
            steps = self.steps if counter == "steps" else None
            self.frames.append(Frame(self.pc + 1, end, iterations, steps))

    def enabled(self, op: Instruction) -> bool:
        """Whether an instruction runs in this iteration of the loop over timesteps.

        Stage s runs from iteration s on, once for each timestep: iteration i is timestep i - s.
        """
        inside = bool(self.frames) and self.frames[-1].steps is not None
        if not inside and op.stage:
            self._trap(f"stage {op.stage} outside a loop over timesteps")
        return not inside or op.stage <= self.frames[-1].iteration < self.steps + op.stage

    def due(self, op: Instruction) -> bool:
        """Whether an enabled instruction runs in this timestep: some do in some timesteps alone."""
        only = op.timesteps
        if only is None:
            return True
        if only.every == 0:
            self._trap(f"{op.mnemonic} every 0 timesteps")
        return only.has(self.timestep_of(op.stage))

    @property
    def iteration(self) -> int | None:
        """Of the innermost loop over timesteps that runs; None outside of one."""
        return next((f.iteration for f in reversed(self.frames) if f.steps is not None), None)

    def timestep_of(self, stage: int) -> int:
        """The timestep, from 0, that a stage works on; traps outside a loop over timesteps."""
        if not self.frames or self.frames[-1].steps is None:
            self._trap("an instruction that counts timesteps stands outside their loop")
        return self.frames[-1].iteration - stage

    def advance(self) -> None:
        """Go to the next instruction."""
        self.pc += 1
        while self.frames and self.pc == self.frames[-1].end:
            frame = self.frames[-1]
            frame.iteration += 1
            if frame.iteration < frame.iterations:
                self.pc = frame.start
                break
            self.frames.pop()
