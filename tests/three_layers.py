"""A network of three layers with recurrence, delays and memories, compiled once, and samples."""

from functools import lru_cache

import numpy as np

from dmpc import compile as compile_network
from runtime import Program
from tests.networks import Layer, Shape, network, samples

SHAPE = Shape(
    inputs=6,
    layers=(
        Layer(neurons=9, states=3, delays=4),
        Layer(neurons=5, recurrent=True, echo=3, hard=False),
        Layer(neurons=6, states=4, dilation=3),
    ),
    steps=7,
    seed=1,
)


@lru_cache
def three_layers() -> Program:
    """The program, on target `paper`."""
    return Program(compile_network(network(SHAPE)).image, "net.elf")


def inputs(number: int = 0) -> np.ndarray:
    """Integers of a sample [timesteps, inputs]."""
    return three_layers().encode(samples(SHAPE))[0][number]
