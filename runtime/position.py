"""Where a program stands between two instructions: the loop over timesteps, and what comes next."""

from collections.abc import Sequence
from dataclasses import dataclass

from isa.format import EVERY_ONE, Instruction
from isa.instructions import Loop


@dataclass(frozen=True)
class Position:
    """The next instruction, by program counter, and the iteration of the loop over timesteps.

    `timestep` is the one that the instruction works on, if any; it is skipped unless `runs`.
    """

    pc: int
    iteration: int | None = None
    timestep: int | None = None
    runs: bool = True


class Follower:
    """Follows a program counter through the loops over timesteps of a sample of `steps`."""

    def __init__(self, code: Sequence[Instruction], steps: int) -> None:
        self.code, self.steps = code, steps
        self._bodies = {
            pc + 1: pc + 1 + op.length
            for pc, op in enumerate(code)
            if isinstance(op, Loop) and op.counter == "steps"
        }
        self._body: tuple[int, int] | None = None
        self.position = Position(0)

    def go(self, pc: int) -> Position:
        """The program went on to `pc`."""
        before, iteration = self.position.pc, self.position.iteration
        if pc in self._bodies and before == pc - 1:
            self._body, iteration = (pc, self._bodies[pc]), 0
        elif self._body and not self._body[0] <= pc < self._body[1]:
            self._body, iteration = None, None
        elif self._body and pc == self._body[0] and iteration is not None:
            iteration += 1
        self.position = self._at(pc, iteration)
        return self.position

    def _at(self, pc: int, iteration: int | None) -> Position:
        if iteration is None or pc >= len(self.code):
            return Position(pc)
        op = self.code[pc]
        timestep = iteration - op.stage
        if not 0 <= timestep < self.steps:
            return Position(pc, iteration, None, runs=False)
        return Position(pc, iteration, timestep, runs=(op.timesteps or EVERY_ONE).has(timestep))
