"""A sample that is still going on: timesteps are fed as a sensor gives them."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from isa.engines import Streaming
from isa.engines.counts import Run
from isa.errors import named
from isa.interface import Numbers
from runtime.errors import RuntimeFailure
from runtime.samples import check_numbers

if TYPE_CHECKING:
    from runtime.program import Program, Result


@dataclass(frozen=True)
class Answer:
    """What the device says if the sample ends after `timesteps`.

    `logits` float64 [classes], `prediction` the largest one's class, `cycles` those of the sample.
    `spikes` are of the timesteps since the last answer, bool [timesteps, neurons] by name; neurons
    end with a whole group of the machine's, and those that only fill it never spike.
    """

    timesteps: int
    logits: NDArray[np.float64]
    prediction: int
    cycles: int
    spikes: dict[str, NDArray[np.bool_]] = field(default_factory=dict)


class Stream:
    """One sample of a program, fed by timesteps; close it, or use it in a `with` statement.

    Every answer equals, bit for bit, what `program.run` says of a sample of the timesteps so far.
    """

    def __init__(self, program: "Program") -> None:
        self._program, self._clipped = program, 0
        self._spikes, self._events = program.spikes, program.takes_events
        if not isinstance(program.engine, Streaming):
            raise RuntimeFailure(
                f"{program.origin}: this engine takes whole samples; the fast engine streams, too"
            )
        self._stream = program.engine.stream(program.inputs, self._spikes.values())
        self._open = True

    @property
    def timesteps(self) -> int:
        """How many were fed."""
        return self._stream.timesteps

    def feed(self, x: Numbers) -> Answer:
        """Take one timestep [inputs], or several [timesteps, inputs]; what the device says then."""
        self.push(x)
        return self.answer()

    def push(self, x: Numbers) -> None:
        """Take timesteps as `feed` does, without an answer: it would cost another timestep's time.

        Raises RuntimeFailure if they do not fit, and the stream is what it was; a Trap of the
        machine names the image, and ends the sample.
        """
        inputs, clipped = self._encoded(np.asarray(x))
        with named(self._program.origin):
            self._stream.feed(inputs)
        self._clipped += clipped

    def answer(self) -> Answer:
        """What the device says by now."""
        self._check_fed()
        program, stream = self._program, self._stream
        with named(program.origin):
            integers = program.integers(stream.logits)
        spikes = {name: stream.seen(at).view(np.bool_) for name, at in self._spikes.items()}
        logits = integers.astype(np.float64) * program.scale(self.timesteps)
        return Answer(self.timesteps, logits, int(integers.argmax()), stream.cycles, spikes)

    def result(self) -> "Result":
        """All that `program.run` says of the timesteps so far: counts and energy as well."""
        self._check_fed()
        stream = self._stream
        with named(self._program.origin):
            run = Run(stream.logits[None], np.array([stream.cycles]), stream.counts)
        return self._program.result(run, np.array([self.timesteps]), self._clipped)

    def reset(self) -> None:
        """End the sample; another one begins."""
        self._check_open()
        self._stream.reset()
        self._clipped = 0

    def close(self) -> None:
        """Nothing more will be fed."""
        self._open = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check_open(self) -> None:
        if not self._open:
            raise RuntimeFailure("the stream is closed; program.stream() opens another one")

    def _check_fed(self) -> None:
        self._check_open()
        if not self.timesteps:
            raise RuntimeFailure("nothing was fed to the stream yet")

    def _encoded(self, x: Numbers) -> tuple[Numbers, int]:
        self._check_open()
        if x.ndim not in (1, 2) or 0 in x.shape:
            raise RuntimeFailure(
                f"x has shape {list(x.shape)}; a stream takes one timestep [inputs], or several "
                "[timesteps, inputs]"
            )
        clipped = 0
        if not (self._events and x.dtype == np.bool_ and x.shape[-1] == self._program.inputs):
            # As they are, events need no checks, which would take longer than the timestep.
            x, clipped = self._program.encode_timesteps(check_numbers(x))
        return (x if x.ndim == 2 else x[None]), clipped
