"""A sample without an end on the compiled engine: its timesteps come as they come.

One machine takes timesteps and waits for more. The answer so far is what the program says of a
sample that ends here: a second machine becomes a copy of the first and runs to the end.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from isa.arithmetic import Int
from isa.engines.counts import Counts, Place, Watched
from isa.engines.native import DONE, TRAPPED, UNBOUNDED, Inputs, Machine, as_input
from isa.engines.program import Prepared, watch
from isa.engines.reference import Batch
from isa.errors import IsaError, Trap


class Stream:
    """A sample of `inputs` a timestep; what it tells equals a run of the timesteps so far."""

    def __init__(self, prepared: Prepared, inputs: int, watched: Watched = ()) -> None:
        self.prepared, self.timesteps = prepared, 0
        self.places: tuple[Place, ...] = tuple(dict.fromkeys(watched))
        self._watches = [watch(prepared, place) for place in self.places]
        self._ended = Machine(prepared, 1, self._watches)
        self._trap: Trap | None = None
        self._empty: Inputs = np.zeros((1, 0, inputs), np.int32)
        self.reset()

    def reset(self) -> None:
        """The start of another sample."""
        self._machine = Machine(self.prepared, 1, self._watches)  # its counts begin anew, too
        self._machine.begin(self._empty, steps=UNBOUNDED)
        self._waiting, self._trap, self.timesteps = self._empty, None, 0
        self._old, self._asked = [0] * len(self.places), False

    def feed(self, inputs: Inputs) -> None:
        """Take timesteps [timesteps, inputs]; raises Trap, and again at whatever follows."""
        if self._trap:
            raise self._trap
        width = self._empty.shape[2]
        if inputs.ndim != 2 or inputs.shape[1] != width:
            raise IsaError(f"{list(inputs.shape)} are no timesteps of {width} inputs")
        machine, given = self._machine, as_input(inputs[None]).astype(np.int32)
        if self._waiting.shape[1]:
            given = np.concatenate([self._waiting, given], axis=1)
        if self._asked:
            for number in range(len(self.places)):
                self._old[number] = self._ended.times(number) - machine.times(number)
            machine.forget()
        self._asked = False
        machine.feed(given, len(inputs))
        self.timesteps += len(inputs)
        halted = self._run(machine, given) == DONE
        left = 0 if halted else self.timesteps - machine.taken
        self._waiting = given[:, given.shape[1] - left :]

    @property
    def ended(self) -> Machine:
        """A machine on which the sample ended here; raises Trap."""
        if self._trap:
            raise self._trap
        if not self._asked:
            self._ended.stand_where(self._machine)
            self._ended.finish()
            self._run(self._ended, self._waiting)
            self._asked = True
        return self._ended

    @property
    def logits(self) -> Int:
        """What the program emits if the sample ends here."""
        logits: Int = self.ended.outputs()[0]
        return logits

    @property
    def cycles(self) -> int:
        """Of the sample, if it ends here."""
        return int(self.ended.cycles()[0])

    @property
    def counts(self) -> Counts:
        """Of the sample, if it ends here."""
        counts = self.ended.counts(settled=False)
        counts.cycles = self.cycles
        return counts

    def seen(self, place: Place) -> NDArray[Any]:
        """What a watched place held in the timesteps fed since it was last asked for anything.

        [times, elements].
        """
        number = self.places.index(place)
        return self.ended.kept_parts(number)[self._old[number] :, 0]

    def _run(self, machine: Machine, given: Inputs) -> int:
        """Run until it needs more; a trap's words are the reference engine's."""
        status = machine.run()
        if status != TRAPPED:
            return status
        view = machine.view()
        # What was taken before decides nothing but in which cycle the machine traps.
        gone = np.zeros((1, self.timesteps - given.shape[1], given.shape[2]), np.int64)
        try:
            Batch(self.prepared, np.concatenate([gone, given], axis=1), Counts()).run()
        except Trap as trap:
            self._trap = Trap(trap.cause, pc=view.pc, cycle=view.issued + 1)
            raise self._trap from None
        raise IsaError("the compiled engine trapped where the reference engine does not: a bug")
