"""One sample in progress: what debuggers, streams and explorers hold on to."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal, Protocol

from isa.arithmetic import Int
from isa.engines.counts import Counts

By = Literal["instruction", "timestep", "cycle"]


@dataclass(frozen=True)
class Snapshot:
    """Where a sample stands, between two instructions.

    `pc` is the next instruction's, `cycle` the one in which it could be issued at the earliest,
    `timestep` how many of the input have been taken. `registers` hold what was written to e0 ..
    and v0 .. in this sample, `memories` the written rows of neuron, readout and ring memory by
    number, `logits` what was emitted so far.
    """

    pc: int
    cycle: int
    timestep: int
    ended: bool
    logits: Int
    registers: dict[str, Int] = field(default_factory=dict)
    memories: dict[str, dict[int, Int]] = field(default_factory=dict)


class Session(Protocol):
    """A sample that can be stopped, looked at and continued."""

    def step(self, by: By = "instruction", count: int = 1) -> bool:
        """Go on by so many instructions, timesteps or cycles; False when the program has ended.

        Raises Trap, or IsaError if the engine cannot stop there.
        """

    def finish(self) -> None:
        """Go on to the end."""

    def snapshot(self) -> Snapshot:
        """Where the sample stands."""

    @property
    def cycles(self) -> int:
        """Cycles until every unit is idle, if nothing more were issued."""

    @property
    def instructions(self) -> int:
        """How many it carried out or skipped."""

    @property
    def saturations(self) -> Counter[tuple[int, str]]:
        """Elements so far that did not fit their width, by program counter and cause."""

    @property
    def counts(self) -> Counts:
        """What the sample did so far."""
