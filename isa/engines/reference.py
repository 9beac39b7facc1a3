"""The reference engine: instructions run one after the other on arrays, as they are written."""

from collections import Counter
from collections.abc import Callable

import numpy as np

from isa.arithmetic import Int
from isa.core import Core
from isa.engines.counts import Counts, Place, Run, Watched
from isa.engines.native import Timeline
from isa.engines.program import Prepared, Watch, gathered, watch
from isa.engines.session import By, Snapshot
from isa.engines.trace import Trace, traced
from isa.errors import IsaError, Trap
from isa.format import Instruction
from isa.image import Image
from isa.instructions import Halt, Sync
from isa.machine import StateMemory
from isa.native.records import MEMORIES
from isa.work import CONTROL, SKIPPED, Work

LOOKS = 8
"""Batches, at least, in which samples run while somebody looks on."""


class ReferenceEngine:
    """Runs an image on NumPy arrays: slow, and as plain as the instructions are.

    `batch` samples run in lockstep. Times come from the timing that all engines share; the cycle
    engine, written from docs/microarchitecture.md alone, is what holds it to account.
    """

    name = "reference"

    def __init__(self, image: Image, prepared: Prepared | None = None) -> None:
        self.prepared = prepared or Prepared(image)
        self.image = image

    def run(
        self,
        inputs: Int,
        *,
        batch: int = 256,
        watched: Watched = (),
        progress: Callable[[int], None] | None = None,
        limit: int | None = None,
        threads: int | None = None,
    ) -> Run:
        """Run `inputs`, int64 [samples, timesteps, inputs]; see `isa.engines.Engine`.

        It takes one thread, however many it may.
        """
        del threads
        check_inputs(inputs)
        counts = Counts()
        watches = [watch(self.prepared, place) for place in dict.fromkeys(watched)]
        batches = []
        if progress:  # it is slow: whoever looks on hears of it more than once
            batch = min(batch, -(-len(inputs) // LOOKS))
        for first in range(0, len(inputs), batch):
            together = inputs[first : first + batch]
            batches.append(Batch(self.prepared, together, counts, watches))
            try:
                batches[-1].run(limit)
            except Trap:
                self._trap_alone(together, limit)
                raise
            if progress:
                progress(batches[-1].core.batch)
        cycles = np.concatenate([b.cycles for b in batches])
        counts.cycles = int(cycles.sum())
        seen = {
            w.place: np.concatenate([gathered(w, b.seen[w.place], b.core.batch) for b in batches])
            for w in watches
        }
        return Run(np.concatenate([b.logits for b in batches]), cycles, counts, seen)

    def _trap_alone(self, inputs: Int, limit: int | None) -> None:
        """Raise the trap of the first sample that has one: others were in other cycles."""
        for number in range(len(inputs)) if len(inputs) > 1 else ():
            Batch(self.prepared, inputs[number : number + 1], Counts()).run(limit)

    def reset(self, sample: Int) -> "ReferenceSession":
        """The start of one sample [timesteps, inputs], to be stepped through."""
        check_inputs(sample[None])
        return ReferenceSession(self.prepared, sample)

    def trace(self, sample: Int) -> Trace:
        """The timing of one sample [timesteps, inputs] in every cycle."""
        check_inputs(sample[None])
        batch = Batch(self.prepared, sample[None], Counts(), trace=True)
        batch.run()
        return traced(self.prepared, *batch.timeline.log(), int(batch.cycles[0]))


class ReferenceSession:
    """A sample on the reference engine, between two instructions."""

    def __init__(self, prepared: Prepared, sample: Int) -> None:
        self._counts = Counts()
        self.batch = Batch(prepared, sample[None], self._counts)

    def step(self, by: By = "instruction", count: int = 1) -> bool:
        """Go on by so many instructions or timesteps; see `isa.engines.session.Session`."""
        if by == "cycle":
            raise IsaError(
                "the reference engine stops between instructions; the cycle engine in cycles"
            )
        core = self.batch.core
        until = core.timestep + count
        while not core.sequencer.halted:
            if by == "instruction" and count == 0:
                return True
            if by == "timestep" and core.timestep >= until:
                return True
            self.batch.step()
            count -= by == "instruction"
        return False

    def finish(self) -> None:
        """Go on to the end."""
        while self.step():
            pass

    def snapshot(self) -> Snapshot:
        """Where the sample stands."""
        core = self.batch.core
        issued, _ = self.batch.timeline.times()
        return snapshot(core, int(issued[0]) + 1, self.batch.logits[0])

    @property
    def cycles(self) -> int:
        """Cycles until every unit is idle, if nothing more were issued."""
        return int(self.batch.timeline.times()[1][0])

    @property
    def instructions(self) -> int:
        """How many it carried out or skipped."""
        return self.batch.executed

    @property
    def saturations(self) -> Counter[tuple[int, str]]:
        """Elements that did not fit their width."""
        return +self.batch.core.saturation.counts

    @property
    def counts(self) -> Counts:
        """What the sample did so far."""
        counts = Counts(cycles=self.cycles)
        counts.add(self._counts)
        self.batch.timeline.count(counts)
        self.batch.count_saturation(counts)
        return counts


def snapshot(core: Core, cycle: int, logits: Int) -> Snapshot:
    """Where a core of one sample stands."""
    registers = {
        f"{file.letter}{number}": data[0].copy()
        for file in (core.events, core.values)
        for number, data in file.written()
    }
    memories = {name: dict(core.written_rows(name)) for name in MEMORIES}
    sequencer = core.sequencer
    return Snapshot(
        sequencer.pc, cycle, core.timestep, sequencer.halted, logits, registers, memories
    )


class Batch:
    """Samples in lockstep, and how far they are."""

    def __init__(
        self,
        prepared: Prepared,
        inputs: Int,
        counts: Counts,
        watches: list[Watch] | None = None,
        *,
        trace: bool = False,
    ) -> None:
        self.prepared, self.counts = prepared, counts
        self.core = Core(prepared.code, prepared.loaded, np.asarray(inputs, np.int64))
        self.timeline = Timeline(prepared, self.core.batch, trace=trace)
        self.executed = 0
        self.cycles: Int = np.zeros(self.core.batch, np.int64)
        self._watches: dict[int, list[Watch]] = {}
        self.seen: dict[Place, list[Int]] = {}
        for item in watches or ():
            self._watches.setdefault(item.place[0], []).append(item)
            self.seen[item.place] = []

    @property
    def logits(self) -> Int:
        """What the program emitted so far: [samples, numbers]."""
        return np.concatenate(self.core.outputs or [self.core.zeros(0)], axis=1)

    def run(self, limit: int | None = None) -> None:
        """Run to the end; Trap also after `limit` instructions."""
        while not self.core.sequencer.halted:
            self.step(limit)
        self.timeline.count(self.counts)
        self.count_saturation(self.counts)

    def count_saturation(self, counts: Counts) -> None:
        """Count elements that had to fit a width, and those that did not."""
        for place, number in self.core.saturation.total.items():
            counts.saturable[place] += number
            if self.core.saturation.counts[place]:
                counts.saturations[place] += self.core.saturation.counts[place]

    def step(self, limit: int | None = None) -> None:
        """One instruction, or its slot if its stage does not run in this iteration."""
        core, sequencer = self.core, self.core.sequencer
        try:
            if self.executed == limit:
                core.trap(f"the program ran longer than {limit} instructions")
            self.executed += 1
            self.counts.instructions += core.batch
            op, pc = sequencer.fetch(), sequencer.pc
            enabled = sequencer.enabled(op)
            runs = enabled and sequencer.due(op)
            work = self.prepared.works[pc] if runs else SKIPPED
            demand = self._demand(pc, work)
            if runs:
                self.execute(op)
            if isinstance(op, Halt):
                _, self.cycles = self.timeline.times()
                return
            skipped = work.unit == CONTROL and not isinstance(op, Sync)
            if reason := self.timeline.issue(pc, demand, skipped=skipped):
                core.trap(f"deadlock: {reason}")
        except Trap as trap:
            issued, _ = self.timeline.times()
            raise Trap(trap.cause, pc=sequencer.pc, cycle=int(issued.max()) + 1) from None
        for item in self._watches.get(pc, ()) if enabled else ():
            self.seen[item.place].append(look(core, item))
        sequencer.advance()

    def execute(self, op: Instruction) -> None:
        """Carry out an instruction."""
        op.execute(self.core)

    def _demand(self, pc: int, work: Work) -> Int:
        """Rows by group, or cycles, [samples, PERIOD or 1]; they are counted."""
        core = self.core
        if work.unit == CONTROL:
            return core.zeros(1)
        active = core.active(work)
        if work.rows is None:
            self.counts.met(pc, work, core.batch, int(active.sum()))
            cycles: Int = np.maximum(work.cycles.fixed + work.cycles.active * active, work.at_least)
            return cycles[:, None]
        rows = core.bank_rows(work, work.rows)
        groups = np.arange(work.groups) % rows.shape[1]
        spills = core.batch * core.first_to_spill(work)
        self.counts.met(pc, work, core.batch, 0, int(rows[:, groups].sum()), spills)
        return rows


def look(core: Core, item: Watch) -> Int:
    """The vector that a watch names, as it is: [batch, elements]; none if it is unwritten."""
    memory: StateMemory = "readout" if item.kind == "readout" else "neuron"
    try:
        if item.kind == "events":
            return core.events.read(item.number).copy()
        if item.kind == "values":
            return core.values.read(item.number).copy()
        return core.read_state(memory, item.number, item.rows).copy()
    except Trap:
        return core.zeros(0)


def check_inputs(inputs: Int) -> None:
    """Raise IsaError unless inputs are [samples, timesteps, inputs], with samples and timesteps."""
    if inputs.ndim != 3 or 0 in inputs.shape[:2]:
        raise IsaError(f"inputs must be [samples, timesteps, inputs], not {list(inputs.shape)}")
