"""Cycles of a program for given activity, without computing anything else.

What an instruction asks of its unit depends on the program, on axonal delays and on which events
are active, never on weights or membranes. Given the events, the timing of a run therefore follows:
this is how a schedule is read without running it.
"""

from collections import Counter
from collections.abc import Mapping

from isa.arithmetic import Int
from isa.engines.counts import Counts
from isa.engines.program import Prepared
from isa.engines.reference import Batch
from isa.errors import IsaError
from isa.format import Instruction
from isa.image import Image
from isa.work import CONTROL

CARRIED_OUT = (CONTROL, "event", "delay")
"""Units whose instructions decide what runs next and where events are, and compute nothing."""


def predict_cycles(image: Image, inputs: Int, spikes: Mapping[int, Int]) -> Int:
    """Cycles of each sample: [samples].

    `inputs` [samples, timesteps, inputs] are the program's; of values only the shape matters.
    `spikes` maps the program counter of every instruction whose neurons spike to the vector that it
    writes, or writes a part of, [samples, timesteps, size]. Raises IsaError if one is missing.
    """
    batch = _GivenActivity(Prepared(image), inputs, spikes)
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
        spiking = [name for name in (*work.writes, *work.appends) if name[0] == "e"]
        if work.unit in CARRIED_OUT:
            op.execute(self.core)
        elif spiking:
            if pc not in self._spikes:
                raise IsaError(f"pc {pc}: no activity is given for {op.mnemonic}")
            dest, offset = vars(op)["dest"], vars(op).get("offset", 0)
            padded = self.core.zeros(self.core.target.lanes * work.groups)
            given = self._spikes[pc][:, self._runs[pc], offset:][:, : padded.shape[1]]
            padded[:, : given.shape[1]] = given
            self.core.events.append(dest, offset, padded)
            self._runs[pc] += 1
