"""Cycles of a program for given activity, without computing anything else.

What an instruction asks of its unit depends on the program, on axonal delays and on which events
are active, never on weights or membranes. Given the events, the timing of a run therefore follows:
this is how a schedule is read without running it.
"""

from collections import Counter
from collections.abc import Mapping

import numpy as np

from isa.arithmetic import Int
from isa.engines.counts import Counts
from isa.engines.fast import FEW
from isa.engines.native import DONE, Machine, as_input
from isa.engines.playback import CARRIED_OUT, check_given, given, spiking
from isa.engines.program import Prepared
from isa.engines.reference import Batch
from isa.errors import IsaError
from isa.format import Instruction
from isa.image import Image
from isa.limits import LOCKSTEP


def predict_cycles(image: Image, inputs: Int, spikes: Mapping[int, Int]) -> Int:
    """Cycles of each sample: [samples].

    `inputs` [samples, timesteps, inputs] are the program's; of values only the shape matters.
    `spikes` maps the program counter of every instruction whose neurons spike to the vector that it
    writes, or writes a part of, [samples, timesteps, size]. Raises IsaError if one is missing.
    """
    prepared = Prepared(image)
    parts = []
    for first in range(0, len(inputs), LOCKSTEP):
        block = slice(first, first + LOCKSTEP)
        events = {pc: series[block] for pc, series in spikes.items()}
        parts.append(_compiled(prepared, inputs[block], events))
    return np.concatenate(parts)


def _compiled(prepared: Prepared, inputs: Int, spikes: Mapping[int, Int]) -> Int:
    """Cycles of up to sixteen samples on the compiled engine; the reference tells of traps."""
    lanes = LOCKSTEP if len(inputs) > FEW else 1
    if lanes == 1 < len(inputs):
        alone = ({pc: s[n : n + 1] for pc, s in spikes.items()} for n in range(len(inputs)))
        found = [_compiled(prepared, inputs[n : n + 1], one) for n, one in enumerate(alone)]
        return np.concatenate(found)
    machine = Machine(prepared, lanes, native=prepared.playback(spikes))
    machine.begin(as_input(inputs))
    if machine.run() == DONE:
        return machine.cycles()
    return by_reference(prepared, inputs, spikes)


def by_reference(prepared: Prepared, inputs: Int, spikes: Mapping[int, Int]) -> Int:
    """The same cycles, instruction by instruction on arrays."""
    batch = _GivenActivity(prepared, inputs, spikes)
    batch.run()
    return batch.cycles


class _GivenActivity(Batch):
    """A batch whose neurons spike as they are told."""

    def __init__(self, prepared: Prepared, inputs: Int, spikes: Mapping[int, Int]) -> None:
        super().__init__(prepared, inputs, Counts())
        self._spikes = spikes
        self._runs: Counter[int] = Counter()

    def execute(self, op: Instruction) -> None:
        """Carry out control and the movement of events alone."""
        pc = self.core.sequencer.pc
        work = self.prepared.works[pc]
        if work.unit in CARRIED_OUT:
            op.execute(self.core)
        elif place := spiking(op, work):
            check_given(op, pc, self._spikes)
            run, (register, offset) = self._runs[pc], place
            if run >= self._spikes[pc].shape[1]:
                raise IsaError(f"pc {pc}: activity is given for {run} runs of {op.mnemonic}")
            series = self._spikes[pc][:, run : run + 1]
            events = given(work, self.core.target.lanes, offset, series)[:, 0]
            self.core.events.append(register, offset, events.astype(np.int64))
            self._runs[pc] += 1
