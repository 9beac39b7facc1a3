"""Cycles of a program for given activity, without computing anything else.

What an instruction asks of its unit depends on the program, on axonal delays and on which events
are active, never on weights or membranes. Given the events, the timing of a run therefore follows:
this is how a schedule is read without running it.
"""

from collections import Counter
from collections.abc import Mapping

import numpy as np

from isa.arithmetic import Int
from isa.core import Core
from isa.errors import IsaError
from isa.image import Image, contents
from isa.instructions import (
    ClearDelays,
    ClearEvents,
    DelayEvents,
    Fire,
    Halt,
    InputEvents,
    InputValues,
    Lif,
    Loop,
    MoveEvents,
    Sync,
)
from isa.simulator import SKIPPED
from isa.timing import Timeline

CARRIED_OUT = (
    ClearDelays,
    ClearEvents,
    DelayEvents,
    Halt,
    InputEvents,
    InputValues,
    Loop,
    MoveEvents,
    Sync,
)


def predict_cycles(image: Image, inputs: Int, spikes: Mapping[int, Int]) -> Int:
    """Cycles of each sample: [samples].

    `inputs` [samples, timesteps, inputs] are the program's; of values only the shape matters.
    `spikes` maps the program counter of every `lif` and `fire` to the spikes that it writes,
    [samples, timesteps, size]. Raises IsaError if one is missing.
    """
    core = Core(image.target, contents(image), inputs)
    timeline = Timeline(image.target, core.batch)
    runs: Counter[int] = Counter()
    while not core.halted:
        op = image.code[core.pc]
        enabled = core.enabled(op.stage)
        timeline.issue(op.work(core) if enabled else SKIPPED, core.pc, sync=isinstance(op, Sync))
        if enabled and isinstance(op, CARRIED_OUT):
            op.execute(core)
        elif enabled and isinstance(op, Fire | Lif):
            _write(core, op, spikes, runs[core.pc])
            runs[core.pc] += 1
        if core.advance():
            return timeline.end
    raise IsaError("the program has no loop over samples")


def _write(core: Core, op: Fire | Lif, spikes: Mapping[int, Int], run: int) -> None:
    if core.pc not in spikes:
        raise IsaError(f"pc {core.pc}: no activity is given for {op.mnemonic}")
    width = core.target.lanes * op.groups
    padded = np.zeros((core.batch, width), np.int64)
    given = spikes[core.pc][:, run]
    padded[:, : given.shape[1]] = given
    core.events.write(op.dest, padded)
