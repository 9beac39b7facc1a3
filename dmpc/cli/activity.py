"""Cycles of a compiled network on given or typical input, by running it."""

from dataclasses import dataclass

import numpy as np

from dmpc.compiler import Compiled
from dmpc.ir.registry import Tensor
from dmpc.passes.partition import DENSITY
from isa.arithmetic import Int
from runtime.program import Program
from runtime.saturation import Saturated

SAMPLES, STEPS, SEED = 4, 50, 0


@dataclass(frozen=True)
class Cycles:
    """Mean cycles per timestep, the input they were counted on, and saturations seen there.

    `measured`: that input was the user's own, and no guess at it.
    """

    per_timestep: float
    origin: str
    measured: bool
    saturated: tuple[Saturated, ...]


def count_cycles(
    compiled: Compiled, calibration: Tensor | None, lengths: Int | None = None
) -> Cycles:
    """Cycles per timestep on a few calibration samples, or on random input without them."""
    program = Program(compiled.image, compiled.graph.name)
    if calibration is not None:
        x = calibration[:SAMPLES]
        origin = f"{len(x)} calibration samples"
    else:
        x = typical_input(program)
        kind = f"events of density {DENSITY}" if program.takes_events else "values"
        origin = f"random {kind}"
    result = program.run(x, lengths=None if lengths is None else lengths[:SAMPLES])
    timesteps = int(result.lengths.sum())
    per_timestep = float(result.cycles.sum()) / timesteps
    return Cycles(per_timestep, origin, calibration is not None, result.saturated)


def typical_input(program: Program) -> Tensor:
    """Random input, the same every time: sparse events, or values over half their range."""
    random = np.random.default_rng(SEED)
    shape = (SAMPLES, STEPS, program.inputs)
    if program.takes_events:
        return random.random(shape) < DENSITY
    source = program.interface.input
    return random.random(shape) * source.scale * (1 << (source.bits - 2))
