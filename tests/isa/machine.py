"""Small programs on small machines, for tests of instructions, traps and timing."""

import numpy as np

from benchmarks.random_programs import (
    LANES,
    PAPER,
    TARGET,
    each_timestep,
    parameters,
    program,
)
from isa.engines import engine
from isa.engines.counts import Run
from isa.errors import Trap
from isa.format import Instruction
from isa.image import Image
from isa.instructions import InputEvents, InputValues

__all__ = [
    "LANES",
    "PAPER",
    "TARGET",
    "Seen",
    "each_timestep",
    "events",
    "outcome",
    "parameters",
    "program",
    "run",
    "told",
    "values",
]


class Seen:
    """What chosen places, program counter and operand, hold each time."""

    def __init__(self, **watched: tuple[int, str]) -> None:
        self.watched = watched
        self.run: Run | None = None

    def __getitem__(self, name: str) -> np.ndarray:
        """[samples, times, elements]"""
        assert self.run is not None
        return self.run.seen[self.watched[name]]


def told(run: Run) -> dict[str, object]:
    """Everything that a run tells, to compare."""
    seen = {place: values.tolist() for place, values in run.seen.items()}
    return {**vars(run.counts), "l": run.logits.tolist(), "c": run.cycles.tolist(), "seen": seen}


def run(image: Image, x: np.ndarray, *, seen: Seen | None = None, **options: object) -> Run:
    """Run integers [samples, timesteps, inputs] on all engines, which must agree in everything."""
    x = np.asarray(x, np.int64)
    watched = tuple(seen.watched.values()) if seen else ()
    found = [outcome(image, name, x, watched, options) for name in ("fast", "reference")]
    if x.size < 40:  # it is slow
        found.append(outcome(image, "cycle", x[:1], watched, options))
        one = outcome(image, "reference", x[:1], watched, options) if len(x) > 1 else found[1]
        first = [one]
    else:
        first = found[2:]
    for one, other in ((found[0], found[1]), *zip(first, found[2:], strict=True)):
        if isinstance(one, Trap) or isinstance(other, Trap):
            assert str(one) == str(other)
        else:
            assert told(one) == told(other)
    if isinstance(found[0], Trap):
        raise found[0]
    if seen:
        seen.run = found[0]
    return found[0]


def outcome(
    image: Image, name: str, x: np.ndarray, watched: tuple, options: dict[str, object]
) -> Run | Trap:
    """What an engine makes of a program: its run, or the trap that stopped it."""
    try:
        return engine(image, name).run(x, watched=watched, **options)
    except Trap as trap:
        return trap


def events(dest: int, inputs: int) -> Instruction:
    return InputEvents(dest=dest, inputs=inputs)


def values(dest: int, inputs: int) -> Instruction:
    return InputValues(dest=dest, inputs=inputs)
