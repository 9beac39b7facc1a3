"""The simulator: runs an image, bit-exact, and counts cycles, accesses and operations."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from isa.arithmetic import Int
from isa.core import Core
from isa.errors import IsaError, Trap
from isa.format import Instruction, layout
from isa.image import Image, contents
from isa.instructions import Fire, Halt, Lif, Loop, Readout, Sync
from isa.timing import Timeline
from isa.work import Work

SKIPPED = Work(unit="control")

Observer = Callable[[int, Instruction, Core], None]
"""Called after each instruction with its program counter, itself and the state it left."""


Progress = Callable[[int], None]
"""Called with the number of samples that have just been finished."""


@dataclass
class Counts:
    """What a run did, summed over its samples.

    `busy` and `stalls` are cycles by unit (and cause). By program counter: `accesses_at` rows by
    memory and direction, `operations_at` lane operations by unit and kind, `saturations` elements
    that did not fit their width by cause, `saturable` all elements that had to.
    """

    cycles: int = 0
    instructions: int = 0
    busy: Counter[str] = field(default_factory=Counter)
    stalls: Counter[tuple[str, str]] = field(default_factory=Counter)
    accesses_at: Counter[tuple[int, str, str]] = field(default_factory=Counter)
    operations_at: Counter[tuple[int, str, str]] = field(default_factory=Counter)
    saturations: Counter[tuple[int, str]] = field(default_factory=Counter)
    saturable: Counter[tuple[int, str]] = field(default_factory=Counter)

    @property
    def accesses(self) -> Counter[tuple[str, str]]:
        """Rows by memory and direction."""
        found: Counter[tuple[str, str]] = Counter()
        for (_, memory, direction), rows in self.accesses_at.items():
            found[memory, direction] += rows
        return found

    @property
    def operations(self) -> Counter[str]:
        """Lane operations by unit."""
        found: Counter[str] = Counter()
        for (_, unit, _), number in self.operations_at.items():
            found[unit] += number
        return found


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
        _check_shape(image)

    def run(
        self,
        inputs: Int,
        *,
        batch: int = 256,
        observe: Observer | None = None,
        progress: Progress | None = None,
        limit: int | None = None,
    ) -> Run:
        """Run the program over `inputs`, int64 [samples, timesteps, inputs].

        `batch` samples run in lockstep; it changes the speed and nothing else. Raises Trap, also
        when a sample takes more than `limit` instructions.
        """
        _check_inputs(inputs)
        counts = Counts()
        logits, cycles = [], []
        for first in range(0, len(inputs), batch):
            core = Core(self.target, self._contents, inputs[first : first + batch])
            taken = self._run_batch(core, counts, observe, limit)
            if progress:
                progress(core.batch)
            cycles.append(taken)
            logits.append(
                np.concatenate(core.outputs, axis=1)
                if core.outputs
                else np.zeros((core.batch, 0), np.int64)
            )
        counts.cycles = int(sum(c.sum() for c in cycles))
        return Run(np.concatenate(logits), np.concatenate(cycles), counts)

    def trace(self, sample: Int) -> Timeline:
        """The timing of one sample [timesteps, inputs]: when each instruction ran (`spans`, in
        order of completion), and what every unit did in every cycle (`intervals`).
        """
        _check_inputs(sample[None])
        core = Core(self.target, self._contents, sample[None])
        timeline = Timeline(self.target, 1, trace=True)
        ended = False
        while not ended:
            self._execute(core, timeline, None, None)
            ended = core.advance()
        return timeline

    def _run_batch(
        self, core: Core, counts: Counts, observe: Observer | None, limit: int | None
    ) -> Int:
        """One iteration of the loop over samples for each sample of the batch; its cycles."""
        timeline = Timeline(self.target, core.batch)
        taken = timeline.zero
        executed = 0
        while not core.halted:
            if executed == limit:
                cause = f"the program ran longer than {limit} instructions"
                raise Trap(cause, pc=core.pc, cycle=int(timeline.issued.max()) + 1)
            executed += 1
            self._execute(core, timeline, counts, observe)
            if core.advance():
                taken = timeline.end
                counts.busy += timeline.busy
                counts.stalls += timeline.stalls
        for cause, number in core.saturation.total.items():
            pc, name = cause.split(":", 1)
            counts.saturable[int(pc), name] += number
            if core.saturation.counts[cause]:
                counts.saturations[int(pc), name] += core.saturation.counts[cause]
        return taken

    def _execute(
        self, core: Core, timeline: Timeline, counts: Counts | None, observe: Observer | None
    ) -> None:
        """One instruction, or its slot if its stage does not run in this iteration."""
        try:
            op = self._fetch(core)
            enabled = core.enabled(op.stage)
            work = op.work(core) if enabled else SKIPPED
            if enabled:
                op.execute(core)
            timeline.issue(work, core.pc, sync=isinstance(op, Sync))
        except Trap as trap:
            raise Trap(trap.cause, pc=core.pc, cycle=int(timeline.issued.max()) + 1) from None
        if counts:
            _tally(core.pc, work, core.batch, counts)
        if observe and enabled:
            observe(core.pc, op, core)

    def _fetch(self, core: Core) -> Instruction:
        if core.pc >= len(self.image.code):
            raise Trap("the program ran past its end", pc=core.pc)
        return self.image.code[core.pc]


def left_behind(core: Core, op: Instruction, operand: str) -> Int:
    """The vector that an operand names, as the instruction left it: [batch, elements].

    `operand` is a register, or the `row` of a unit's own state memory.
    """
    value = getattr(op, operand)
    kinds = {placed.name: placed.field.kind for placed in layout(type(op))}
    if kinds[operand] == "event register":
        return core.events.read(value)
    if kinds[operand] == "value register":
        return core.values.read(value)
    assert isinstance(op, Fire | Lif | Readout)
    memory = "readout" if isinstance(op, Readout) else "neuron"
    return core.read_state(memory, op.row, op.groups).copy()


def _tally(pc: int, work: Work, batch: int, counts: Counts) -> None:
    """Add one instruction's accesses and operations, over the batch."""
    counts.instructions += batch
    counts.operations_at[pc, work.unit, work.kind] += _total(work.operations, batch)
    for (memory, direction), number in work.accesses.items():
        counts.accesses_at[pc, memory, direction] += _total(number, batch)


def _total(count: Int | int, batch: int) -> int:
    return count * batch if isinstance(count, int) else int(count.sum())


def _check_inputs(inputs: Int) -> None:
    if inputs.ndim != 3 or 0 in inputs.shape[:2]:
        raise IsaError(f"inputs must be [samples, timesteps, inputs], not {list(inputs.shape)}")


def _check_shape(image: Image) -> None:
    """A program is one loop over samples, whose body ends with `sync`, and `halt`.

    So samples never overlap, every cycle belongs to one, and they can be run in any order.
    """
    code = image.code
    if not (code and isinstance(code[0], Loop) and code[0].counter == "samples"):
        raise IsaError("pc 0: the program must begin with the loop over samples")
    if code[0].value or code[0].drain:
        raise IsaError("pc 0: the loop over samples runs once for each sample, and no more")
    if code[0].length != len(code) - 2 or not isinstance(code[-1], Halt):
        raise IsaError("pc 0: the loop over samples must reach up to the last word, halt")
    if len(code) < 3 or not isinstance(code[-2], Sync):
        raise IsaError(f"pc {len(code) - 2}: the loop over samples must end with sync")
    for pc, op in enumerate(code):
        if isinstance(op, Loop | Sync | Halt) and op.stage:
            raise IsaError(f"pc {pc}: {op.mnemonic} belongs to all stages; its stage must be 0")
        if isinstance(op, Halt) and pc != len(code) - 1:
            raise IsaError(f"pc {pc}: halt may only be the last word")
        if isinstance(op, Loop) and pc and pc + op.length >= len(code) - 2:
            raise IsaError(f"pc {pc}: the loop reaches the sync that ends a sample")
