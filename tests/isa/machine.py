"""Small programs on small machines, for tests of instructions, traps and timing."""

import numpy as np

from isa.format import Instruction
from isa.image import Image
from isa.instructions import Halt, InputEvents, InputValues, Sync
from isa.instructions import Loop as LoopInstruction
from isa.parameters import Parameters
from isa.simulator import Run, Simulator, left_behind
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
    """An observer that keeps what chosen program counters left behind, [batch, elements] each."""

    def __init__(self, **watched: tuple[int, str]) -> None:
        self.watched = watched
        self.series: dict[str, list[np.ndarray]] = {name: [] for name in watched}

    def __call__(self, pc, op, core) -> None:
        for name, (where, operand) in self.watched.items():
            if where == pc:
                self.series[name].append(left_behind(core, op, operand))

    def __getitem__(self, name: str) -> np.ndarray:
        """[samples, times, elements]"""
        return np.stack(self.series[name], axis=1)


def run(image: Image, x: np.ndarray, **options: object) -> Run:
    """Run an image on integers [samples, timesteps, inputs]."""
    return Simulator(image).run(np.asarray(x, np.int64), **options)


def events(dest: int, inputs: int) -> Instruction:
    return InputEvents(dest=dest, inputs=inputs)


def values(dest: int, inputs: int) -> Instruction:
    return InputValues(dest=dest, inputs=inputs)
