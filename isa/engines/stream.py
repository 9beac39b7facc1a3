"""A sample without an end on the compiled engine: its timesteps come as they come.

One machine takes timesteps and waits for more. The answer so far is what the program says of a
sample that ends here: a second machine becomes a copy of the first and runs to the end.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from isa.arithmetic import Int
from isa.engines.counts import Counts, Place, Watched
from isa.engines.native import (
    DONE,
    KEPT,
    TRAPPED,
    UNBOUNDED,
    Answer,
    Inputs,
    Machine,
    Seen,
    as_input,
    copied,
    emitted,
)
from isa.engines.program import Prepared, uneven, watch
from isa.engines.reference import Batch
from isa.errors import IsaError, Trap

ROOM = 64
"""Timesteps that a stream has room for; it takes more where the program takes them late."""


class Stream:
    """A sample of `inputs` a timestep; what it tells equals a run of the timesteps so far."""

    def __init__(self, prepared: Prepared, inputs: int, watched: Watched = ()) -> None:
        self.prepared, self.timesteps = prepared, 0
        self.places: tuple[Place, ...] = tuple(dict.fromkeys(watched))
        self._watches = [watch(prepared, place) for place in self.places]
        self._ended = Machine(prepared, 1, self._watches)
        self._answer, self._seen = Answer(), (Seen * len(self.places))()
        self._make_room(ROOM, inputs)
        self.reset()

    def reset(self) -> None:
        """The start of another sample."""
        self._machine = Machine(self.prepared, 1, self._watches)  # its counts begin anew, too
        self._machine.begin(self._buffer[None, :0], steps=UNBOUNDED)
        self._trap: Trap | None = None
        # Timesteps that came; those that are not needed any more; and which one lies first.
        self.timesteps = self._gone = self._first = 0
        self._old, self._asked = [0] * len(self.places), False

    def feed(self, inputs: Inputs) -> None:
        """Take timesteps [timesteps, inputs]; raises Trap, and again at whatever follows."""
        if self._trap:
            raise self._trap
        count, width = len(inputs), self._buffer.shape[1]
        if inputs.ndim != 2 or inputs.shape[1] != width:
            raise IsaError(f"{list(inputs.shape)} are no timesteps of {width} inputs")
        at = self._room(count)
        small = inputs.dtype.itemsize < 4 or inputs.dtype == np.int32
        self._buffer[at : at + count] = inputs if small else as_input(inputs)
        if self._asked:
            self._old, self._asked = [seen.ahead for seen in self._seen], False
        self.timesteps += count
        status, taken = self._machine.push(self._address, self._first, count)
        self._check(self._machine, status)
        self._gone = self.timesteps if status == DONE else taken

    def _room(self, count: int) -> int:
        """Where so many timesteps have room, behind those that wait."""
        waiting = self.timesteps - self._gone
        at = self.timesteps - self._first
        if not waiting or at + count > len(self._buffer):
            old, self._first = self._buffer[at - waiting : at], self._gone
            if waiting + count > len(self._buffer):
                self._make_room(2 * (waiting + count), old.shape[1])
            self._buffer[:waiting] = old
            at = waiting
        return at

    def _make_room(self, timesteps: int, inputs: int) -> None:
        self._buffer = np.zeros((timesteps, inputs), np.int32)
        self._address = self._buffer.ctypes.data

    def _end(self) -> Answer:
        """The answer of a machine on which the sample ended here; raises Trap."""
        if self._trap:
            raise self._trap
        if not self._asked:
            status = self._ended.answer(self._machine, self._answer, self._seen)
            self._check(self._ended, status)
            self._asked = True
        return self._answer

    @property
    def logits(self) -> Int:
        """What the program emits if the sample ends here."""
        answer = self._end()
        logits: Int = emitted(answer.outputs, answer.output_count, 1)[0]
        return logits

    @property
    def cycles(self) -> int:
        """Of the sample, if it ends here."""
        cycles: int = self._end().cycles
        return cycles

    @property
    def counts(self) -> Counts:
        """Of the sample, if it ends here."""
        cycles = self.cycles
        counts = self._ended.counts(settled=False)
        counts.cycles = cycles
        return counts

    def seen(self, place: Place) -> NDArray[Any]:
        """What a watched place held in the timesteps fed since it was last asked for anything.

        [times, elements].
        """
        self._end()
        number = self.places.index(place)
        seen, old, kind = self._seen[number], self._old[number], KEPT[self._watches[number].kind]
        if seen.width < 0:
            raise uneven(self._watches[number])
        past = old * seen.width * np.dtype(kind).itemsize
        return copied(seen.data and seen.data + past, (seen.times - old, seen.width), kind)

    def _check(self, machine: Machine, status: int) -> None:
        """Raise the trap that ended a machine's run, in the reference engine's words."""
        if status != TRAPPED:
            return
        view = machine.view()
        # What was taken before decides nothing but in which cycle the machine traps.
        given = np.zeros((1, self.timesteps, self._buffer.shape[1]), np.int64)
        kept = slice(self._gone - self._first, self.timesteps - self._first)
        given[0, self._gone :] = self._buffer[kept]
        try:
            Batch(self.prepared, given, Counts()).run()
        except Trap as trap:
            self._trap = Trap(trap.cause, pc=view.pc, cycle=view.issued + 1)
            raise self._trap from None
        raise IsaError("the compiled engine trapped where the reference engine does not: a bug")
