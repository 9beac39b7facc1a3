"""The simulator: runs an image, bit-exact, and counts cycles, accesses and operations."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from isa.arithmetic import Int
from isa.core import Core
from isa.errors import IsaError, Trap
from isa.format import Instruction
from isa.image import Image, contents
from isa.instructions import Sync
from isa.timing import Timeline
from isa.work import Work

Observer = Callable[[int, Instruction, Core], None]
"""Called after each instruction with its program counter, itself and the state it left."""


@dataclass
class Counts:
    """What a run did, summed over its samples.

    `busy` and `stalls` are cycles by unit (and cause), `accesses` rows by memory and direction,
    `operations` lane operations by unit, `saturations` elements by program counter and cause.
    """

    cycles: int = 0
    instructions: int = 0
    busy: Counter[str] = field(default_factory=Counter)
    stalls: Counter[tuple[str, str]] = field(default_factory=Counter)
    accesses: Counter[tuple[str, str]] = field(default_factory=Counter)
    operations: Counter[str] = field(default_factory=Counter)
    saturations: Counter[tuple[int, str]] = field(default_factory=Counter)


@dataclass(frozen=True)
class Run:
    """Result of a run: `logits` int64 [samples, outputs], `cycles` int64 [samples], and counts."""

    logits: Int
    cycles: Int
    counts: Counts


class Simulator:
    """A machine with an image loaded."""

    def __init__(self, image: Image) -> None:
        self.image = image
        self.target = image.target
        self._contents = contents(image)
        _check_samples_loop(image)

    def run(self, inputs: Int, *, batch: int = 256, observe: Observer | None = None) -> Run:
        """Run the program over `inputs`, int64 [samples, timesteps, inputs].

        `batch` samples run in lockstep; it changes the speed and nothing else. Raises Trap.
        """
        if inputs.ndim != 3 or 0 in inputs.shape[:2]:
            raise IsaError(f"inputs must be [samples, timesteps, inputs], not {list(inputs.shape)}")
        counts = Counts()
        logits, cycles = [], []
        for first in range(0, len(inputs), batch):
            core = Core(self.target, self._contents, inputs[first : first + batch])
            taken = self._run_batch(core, counts, observe)
            cycles.append(taken)
            logits.append(
                np.concatenate(core.outputs, axis=1)
                if core.outputs
                else np.zeros((core.batch, 0), np.int64)
            )
        counts.cycles = int(sum(c.sum() for c in cycles))
        return Run(np.concatenate(logits), np.concatenate(cycles), counts)

    def _run_batch(self, core: Core, counts: Counts, observe: Observer | None) -> Int:
        """One iteration of the loop over samples for each sample of the batch; its cycles."""
        timeline = Timeline(self.target, core.batch)
        taken = timeline.zero
        while not core.halted:
            op = self._fetch(core)
            work = op.work(core)
            _tally(work, core.batch, counts)
            timeline.issue(work, sync=isinstance(op, Sync))
            op.execute(core)
            if observe:
                observe(core.pc, op, core)
            if core.advance():
                taken = taken + timeline.end
                counts.busy += timeline.busy
                counts.stalls += timeline.stalls
                timeline = Timeline(self.target, core.batch)
        for cause, number in core.saturation.counts.items():
            pc, name = cause.split(":", 1)
            counts.saturations[int(pc), name] += number
        return taken

    def _fetch(self, core: Core) -> Instruction:
        if core.pc >= len(self.image.code):
            raise Trap("the program ran past its end", pc=core.pc)
        return self.image.code[core.pc]


def _tally(work: Work, batch: int, counts: Counts) -> None:
    """Add one instruction's accesses and operations, over the batch."""
    counts.instructions += batch
    counts.operations[work.unit] += _total(work.operations, batch)
    for key, number in work.accesses.items():
        counts.accesses[key] += _total(number, batch)


def _total(count: Int | int, batch: int) -> int:
    return count * batch if isinstance(count, int) else int(count.sum())


def _check_samples_loop(image: Image) -> None:
    """The loop over samples ends with `sync`, so that samples never overlap."""
    for pc, op in enumerate(image.code):
        if getattr(op, "counter", None) == "samples":
            last = pc + getattr(op, "length", 0)
            if last >= len(image.code) or not isinstance(image.code[last], Sync):
                raise IsaError(f"pc {pc}: the loop over samples must end with sync")
