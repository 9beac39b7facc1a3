"""Programs recorded in part, for their timing: without computing anything, or with given events."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from isa.arithmetic import Int
from isa.core import Loaded
from isa.engines.microcode import Recorder
from isa.errors import IsaError
from isa.format import Instruction
from isa.work import CONTROL, Work

CARRIED_OUT = (CONTROL, "event", "delay")
"""Units whose instructions decide what runs next and where events are, and compute nothing."""


def spiking(op: Instruction, work: Work) -> tuple[int, int] | None:
    """The event register that an instruction of another unit writes, from which element on."""
    if work.unit in CARRIED_OUT or not any(n[0] == "e" for n in (*work.writes, *work.appends)):
        return None
    return vars(op)["dest"], vars(op).get("offset", 0)


def given(work: Work, lanes: int, offset: int, events: Int) -> NDArray[np.uint8]:
    """What an instruction writes of events [samples, times, size]: the elements of its groups."""
    padded = np.zeros((*events.shape[:2], lanes * work.groups), np.uint8)
    part = events[:, :, offset:][:, :, : padded.shape[2]]
    padded[:, :, : part.shape[2]] = part
    return padded


class Silent(Recorder):
    """Records nothing of a program."""

    def __init__(self, loaded: Loaded) -> None:
        super().__init__(loaded, ())

    def record(self, pc: int) -> tuple[int, int] | None:
        """No micro-operation."""
        del pc
        return 0, 0


class Playback(Recorder):
    """Records control and the movement of events; neurons spike as they are told.

    `spikes` are [samples, times, size], by the program counters of what writes them or a part.
    """

    def __init__(
        self,
        loaded: Loaded,
        code: tuple[Instruction, ...],
        works: list[Work],
        spikes: Mapping[int, Int],
    ) -> None:
        super().__init__(loaded, ())
        self.code, self._works, self._spikes = code, works, spikes

    def record(self, pc: int) -> tuple[int, int] | None:
        """First micro-operation of an instruction and how many it has."""
        op, work = self.code[pc], self._works[pc]
        if work.unit in CARRIED_OUT:
            return super().record(pc)
        first = len(self.micros)
        if place := spiking(op, work):
            check_given(op, pc, self._spikes)
            register, offset = place
            events = given(work, self.target.lanes, offset, self._spikes[pc])
            _, times, n = events.shape
            self.widest["e"] = max(self.widest["e"], offset + n)
            a = self._hold(events)
            self.emit_op("PLAY_EVENTS", n, a=a, x=register, z=offset, low=times)
        return first, len(self.micros) - first


def check_given(op: Instruction, pc: int, spikes: Mapping[int, Int]) -> None:
    """Raise IsaError unless the events of an instruction are given."""
    if pc not in spikes:
        raise IsaError(f"pc {pc}: no activity is given for {op.mnemonic}")
