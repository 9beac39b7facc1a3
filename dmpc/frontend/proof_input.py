"""What a proof runs on: input that reaches what the network can reach.

Silence, everything at once, events of every density, single impulses, values of several sizes and
signs; more of it, and longer, the less a network costs.
"""

from collections.abc import Callable
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from dmpc.ir.graph import Graph
from dmpc.ir.interpret import since_in
from dmpc.ir.registry import Tensor

BUDGET = 1.5e8  # multiplications of all samples and timesteps: some tenths of a second
OVERHEAD = 1.5e4  # multiplications in whose time one op runs in one timestep, whatever its size
LEAST, MOST = 32, 256  # timesteps, of a model that takes sequences of any length
FEWEST = 8  # samples, whatever they cost

Make = Callable[[np.random.Generator, tuple[int, int]], NDArray[np.float64]]


def _events(density: float) -> Make:
    return lambda random, shape: (random.random(shape) < density).astype(np.float64)


def _values(size: float) -> Make:
    return lambda random, shape: np.asarray(random.normal(size=shape) * size)


def _signed(low: float, high: float) -> Make:
    return lambda random, shape: random.uniform(low, high, shape)


def _constant(random: np.random.Generator, shape: tuple[int, int]) -> Tensor:
    return np.broadcast_to(random.normal(size=shape[1]), shape)


def _impulse(random: np.random.Generator, shape: tuple[int, int]) -> Tensor:
    del random
    made = np.zeros(shape)
    made[0] = 1
    return made


def _bursts(random: np.random.Generator, shape: tuple[int, int]) -> Tensor:
    """Timesteps of silence, of everything, and of some events."""
    density = random.choice([0.0, 0.3, 1.0], shape[0])
    return (random.random(shape) < density[:, None]).astype(np.float64)


SAMPLES: tuple[Make, ...] = (
    _events(0.1), _values(1.0), _events(1.0), _values(4.0), _events(0.4), _events(0.0),
    _values(0.3), _bursts, _events(0.02), _signed(0.0, 2.0), _impulse, _signed(-2.0, 0.0),
    _events(0.75), _values(16.0), _events(0.2), _constant, _events(0.95), _values(2.0),
    _events(0.05), _values(0.05), _bursts, _values(1.0), _events(0.1), _constant,
)  # fmt: skip
"""In the order in which they are taken: what tells most comes first."""


def plan(layers: Graph, steps: int | None, batch: int | None) -> tuple[int, int]:
    """Numbers of samples and timesteps that a proof of layers can afford; `steps` if it is set.

    `batch` is the number of samples that run together, if the model insists on one.
    """
    overhead = OVERHEAD * len(layers.ops)
    matrices = (array for array in layers.constants.values() if array.ndim > 1)
    sample = float(max(1, sum(array.size for array in matrices)))
    if batch is not None:
        sample, overhead = sample + overhead / batch, 0.0
    if steps is None:
        steps = int(np.clip(BUDGET / (overhead + 2 * FEWEST * sample), LEAST, MOST))
        steps = max(steps, since_in(layers) + LEAST)
    afforded = (BUDGET / steps - overhead) / sample
    return int(np.clip(afforded, FEWEST, len(SAMPLES))), steps


def drawn(inputs: int, samples: int, steps: int, *, binary: bool = False) -> Tensor:
    """Samples [samples, timesteps, inputs], the same whenever; with `binary` 0 and 1 alone."""
    random = np.random.default_rng(0)
    made = np.stack([make(random, (steps, inputs)) for make in islice(SAMPLES, samples)])
    return (made > 0).astype(np.float64) if binary else made
