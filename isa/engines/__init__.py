"""Engines: three ways to run a program, equal in everything that they tell.

| engine | what it is |
|---|---|
| `fast` | compiled code runs the program's microcode; times burst by burst |
| `reference` | instructions as they are written, on NumPy arrays; the same times |
| `cycle` | the machine of docs/microarchitecture.md, one cycle after the other |
"""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

from numpy.typing import NDArray

from isa.engines.counts import Run, Watched
from isa.engines.session import Session
from isa.engines.stream import Stream
from isa.engines.trace import Trace
from isa.errors import IsaError
from isa.image import Image

ENGINES = ("fast", "reference", "cycle")


class Engine(Protocol):
    """A machine with an image loaded."""

    name: str

    def run(
        self,
        inputs: NDArray[Any],
        *,
        batch: int = ...,
        watched: Watched = ...,
        progress: Callable[[int], None] | None = ...,
        limit: int | None = ...,
        threads: int | None = ...,
    ) -> Run:
        """Run integers [samples, timesteps, inputs].

        `batch` samples run together; it changes the speed and nothing else. `watched` names places,
        an instruction's program counter and one of its operands: a register, or the `row` of its
        unit's state memory; what it leaves there each time is kept. `progress` is called with the
        number of samples that were just finished. Raises Trap, that of the first sample which has
        one, also when a sample takes more than `limit` instructions.
        """

    def reset(self, sample: NDArray[Any]) -> Session:
        """The start of one sample [timesteps, inputs], to be stepped through."""

    def trace(self, sample: NDArray[Any]) -> Trace:
        """The timing of one sample [timesteps, inputs] in every cycle."""


@runtime_checkable
class Streaming(Protocol):
    """An engine that takes timesteps as they come, too."""

    def stream(self, inputs: int, watched: Watched = ...) -> Stream:
        """The start of one sample of so many inputs."""


def engine(image: Image, name: str = "fast") -> Engine:
    """An engine by name, with an image loaded; IsaError if there is none."""
    if name == "fast":
        from isa.engines.fast import FastEngine

        return FastEngine(image)
    if name == "reference":
        from isa.engines.reference import ReferenceEngine

        return ReferenceEngine(image)
    if name == "cycle":
        from isa.engines.cycle import CycleEngine

        return CycleEngine(image)
    raise IsaError(f"engine {name!r}: none of {', '.join(ENGINES)}")
