"""The fast engine: the program's microcode, run by compiled code."""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from isa.arithmetic import Int
from isa.engines.counts import Counts, Place, Run, Watched
from isa.engines.native import DONE, TRAPPED, UNBOUNDED, Inputs, Machine, as_input, logged
from isa.engines.program import Prepared, watch
from isa.engines.reference import Batch, ReferenceEngine, check_inputs
from isa.engines.session import By, Snapshot
from isa.engines.stream import Stream
from isa.engines.trace import Trace, traced
from isa.errors import IsaError
from isa.image import Image
from isa.limits import LOCKSTEP

FEW = 3
"""Up to so many samples run one by one: a lockstep of sixteen would cost more."""

Progress = Callable[[int], None]
"""Called with the number of samples that have just been finished."""


def usable_threads() -> int:
    """Threads that a run may take: the processors of this process, or DMPC_THREADS."""
    given = os.environ.get("DMPC_THREADS", "")
    if re.fullmatch("[1-9][0-9]{,3}", given):
        return int(given)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1


class FastEngine:
    """Runs an image in compiled code, sixteen samples in lockstep on each thread.

    Where the machine traps, the reference engine runs the block again and says what the trap was.
    """

    name = "fast"

    def __init__(self, image: Image, prepared: Prepared | None = None) -> None:
        self.prepared = prepared or Prepared(image)
        self.image = image

    def run(
        self,
        inputs: Inputs,
        *,
        batch: int = 256,
        watched: Watched = (),
        progress: Progress | None = None,
        limit: int | None = None,
        threads: int | None = None,
    ) -> Run:
        """Run `inputs`, integers [samples, timesteps, inputs]; see `isa.engines.Engine`."""
        check_inputs(inputs)
        places = tuple(dict.fromkeys(watched))
        given = as_input(inputs)
        together = min(batch, LOCKSTEP) if min(batch, len(inputs)) > FEW else 1
        pool = _Pool(self.prepared, places, together, threads or usable_threads(), limit)
        blocks = pool.run(given, progress)
        if (done := len(blocks) * together) < len(given):
            self._explain(inputs[done : done + together], limit)
        if pool.unseen:
            raise pool.unseen
        return _joined(blocks, places, pool.counts())

    def reset(self, sample: Inputs) -> "FastSession":
        """The start of one sample [timesteps, inputs], to be stepped through."""
        check_inputs(sample[None])
        return FastSession(self.prepared, as_input(sample[None]))

    def stream(self, inputs: int, watched: Watched = ()) -> Stream:
        """The start of one sample of so many inputs, whose timesteps will be fed as they come."""
        return Stream(self.prepared, inputs, watched)

    def trace(self, sample: Inputs) -> Trace:
        """The timing of one sample [timesteps, inputs] in every cycle."""
        check_inputs(sample[None])
        machine = Machine(self.prepared, 1)
        machine.begin(as_input(sample[None]), trace=True)
        if machine.run() != DONE:
            self._explain(sample[None], None)
        return traced(self.prepared, *logged(machine.view()), int(machine.cycles()[0]))

    def _explain(self, inputs: Inputs, limit: int | None) -> None:
        """Raise the trap that stopped the compiled code: of the first sample that has one."""
        reference = ReferenceEngine(self.image, self.prepared)
        reference.run(inputs.astype(np.int64), batch=1, limit=limit)
        raise IsaError("the compiled engine trapped where the reference engine does not: a bug")


class FastSession:
    """A sample on the compiled engine, between two instructions."""

    def __init__(self, prepared: Prepared, inputs: Inputs) -> None:
        self.prepared, self._inputs = prepared, inputs
        self.machine = Machine(prepared, 1)
        self.machine.begin(inputs)

    def step(self, by: By = "instruction", count: int = 1) -> bool:
        """Go on by so many instructions or timesteps; see `isa.engines.session.Session`."""
        if by == "cycle":
            raise IsaError("the fast engine stops between instructions; the cycle engine in cycles")
        if by == "instruction":
            return self._go(count)
        until = self.machine.view().timestep + count
        while self.machine.view().timestep < until:
            if not self._go(1):
                return False
        return True

    def finish(self) -> None:
        """Go on to the end."""
        self._go(UNBOUNDED)

    def _go(self, instructions: int) -> bool:
        status = self.machine.run(instructions)
        if status == TRAPPED:
            batch = Batch(self.prepared, self._inputs.astype(np.int64), Counts())
            batch.run()
            raise IsaError("the compiled engine trapped where the reference engine does not: a bug")
        return status != DONE

    def snapshot(self) -> Snapshot:
        """Where the sample stands."""
        return self.machine.snapshot()

    @property
    def cycles(self) -> int:
        """Cycles until every unit is idle, if nothing more were issued."""
        return int(self.machine.cycles()[0])

    @property
    def instructions(self) -> int:
        """How many it carried out or skipped."""
        return int(self.machine.view().instructions)

    @property
    def saturations(self) -> Counter[tuple[int, str]]:
        """Elements that did not fit their width."""
        return self.machine.counts(settled=False).saturations

    @property
    def counts(self) -> Counts:
        """What the sample did so far."""
        counts = self.machine.counts(settled=False)
        counts.cycles = self.cycles
        return counts


_Block = tuple[Int, Int, dict[Place, Int]]

_SHARE = 4096
"""Timesteps of samples that a thread takes at once: many, for to hand them out costs time, too."""


class _Pool:
    """Machines on threads, and what they counted."""

    def __init__(
        self,
        prepared: Prepared,
        places: tuple[Place, ...],
        together: int,
        threads: int,
        limit: int | None,
    ) -> None:
        self.prepared, self.together, self.threads, self.limit = prepared, together, threads, limit
        self.places = places
        self.watches = [watch(prepared, place) for place in places]
        self.unseen: IsaError | None = None
        self.machines: list[Machine] = []
        self.idle: list[Machine] = []

    def run(self, inputs: Inputs, progress: Progress | None = None) -> list[_Block]:
        """Run samples in blocks of `together`; those before the first that trapped."""
        starts = range(0, len(inputs), self.together)
        if self.threads == 1 or len(starts) == 1:
            return self._collected(self._some(inputs, starts), progress)
        share = max(1, _SHARE // (self.together * inputs.shape[1]))
        groups = [starts[n : n + share] for n in range(0, len(starts), share)]
        pool = ThreadPoolExecutor(self.threads)
        try:
            done = pool.map(lambda g: list(self._some(inputs, g)), groups)
            return self._collected((block for group in done for block in group), progress)
        finally:
            pool.shutdown(cancel_futures=True)

    @staticmethod
    def _collected(blocks: Iterable[_Block | None], progress: Progress | None) -> list[_Block]:
        """Blocks as they come, each told to `progress`, up to the first that is none."""
        found = []
        for block in blocks:
            if block is None:
                break
            found.append(block)
            if progress:
                progress(len(block[1]))
        return found

    def _some(self, inputs: Inputs, starts: range) -> Iterator[_Block | None]:
        for at in starts:
            yield self._block(inputs[at : at + self.together])

    def _block(self, inputs: Inputs) -> _Block | None:
        try:
            machine = self.idle.pop()
        except IndexError:
            machine = Machine(self.prepared, LOCKSTEP if self.together > 1 else 1, self.watches)
            self.machines.append(machine)
        machine.begin(inputs)
        budget = UNBOUNDED if self.limit is None else self.limit
        if machine.run(budget) != DONE:
            return None
        machine.settle()
        try:
            seen = {place: machine.kept(n) for n, place in enumerate(self.places)}
        except IsaError as error:  # of the program, so of every block; but a trap goes first
            self.unseen, seen = error, {}
        block = machine.outputs(), machine.cycles(), seen
        self.idle.append(machine)
        return block

    def counts(self) -> Counts:
        """What all machines counted."""
        counts = Counts()
        for machine in self.machines:
            counts.add(machine.counts())
        return counts


def _joined(blocks: list[_Block], places: tuple[Place, ...], counts: Counts) -> Run:
    logits = np.concatenate([logits for logits, _, _ in blocks])
    cycles = np.concatenate([cycles for _, cycles, _ in blocks])
    counts.cycles = int(cycles.sum())
    seen = {place: np.concatenate([kept[place] for _, _, kept in blocks]) for place in places}
    return Run(logits, cycles, counts, seen)
