"""Small programs on small machines, for tests of instructions, traps and timing."""

import numpy as np

from isa.engines import engine
from isa.engines.counts import Run
from isa.errors import Trap
from isa.format import Instruction
from isa.image import Image
from isa.instructions import Halt, InputEvents, InputValues, Sync
from isa.instructions import Loop as LoopInstruction
from isa.parameters import Parameters
from isa.target import parse_target, target_text

PAPER = target_text("paper")
TARGET = parse_target(PAPER, "paper")
LANES = TARGET.lanes


def program(*body: Instruction, **memories: np.ndarray) -> Image:
    """An image that runs `body` once a sample; memories by name, with _ in names as they are."""
    tables = {
        name: np.asarray(table).astype(TARGET.memories[name].dtype)
        for name, table in memories.items()
    }
    start = LoopInstruction(counter="samples", length=len(body) + 1)
    return Image(PAPER, (start, *body, Sync(), Halt()), tables)


def each_timestep(*body: Instruction) -> tuple[Instruction, ...]:
    """`body` once for every timestep."""
    return (LoopInstruction(counter="steps", length=len(body)), *body)


def parameters(count: int, **columns: object) -> np.ndarray:
    """Packed parameter rows of `count` neurons; what is not given is 0."""
    fields = {}
    for name in ("threshold", "bias", "reset", "leak", "shift"):
        fields[name] = np.broadcast_to(np.asarray(columns.get(name, 0), np.int64), (count,))
    return Parameters(**fields).pack().reshape(-1, LANES)


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
        first = [outcome(image, "reference", x[:1], watched, options)]
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
