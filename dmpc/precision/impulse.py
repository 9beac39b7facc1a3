"""Impulse responses of slow memories, before and after quantization."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from dmpc.ir.drives import columns
from dmpc.ir.graph import Array, Graph, Op
from dmpc.passes.quantize import Quantized
from dmpc.passes.ranges import Real
from isa.arithmetic import shift_round

MOST_STEPS = 2000  # of a memory whose window nobody knows
GONE = 1e-3  # of its largest value: where such a memory's response is taken to end


@dataclass(frozen=True)
class Impulse:
    """The memory states [timesteps, d] after a drive of one timestep, as large as `drive`; of
    several drives, all of them.

    `real` with real coefficients, `rounded` with the machine's coefficients in exact arithmetic,
    `machine` in the machine's integers, in real units. `radius` and `radius_after` are the largest
    eigenvalues, `bits` the width of the coefficients.
    """

    layer: str
    bits: int
    drive: float
    real: Real
    rounded: Real
    machine: Real
    radius: float
    radius_after: float

    def error(self, what: Real) -> float:
        """The largest deviation of a response, in parts of the largest real value."""
        return float(np.abs(what - self.real).max() / max(np.abs(self.real).max(), 1e-300))


def impulses(layers: Graph, made: Quantized) -> Iterator[Impulse]:
    """The response of every memory over its window, to a drive of half its width."""
    for op in (op for op in layers.ops if op.kind == "memory"):
        integer = made.graph.producer(op.results[0])
        assert integer is not None
        yield _impulse(layers, op, integer, made)


def _impulse(layers: Graph, op: Op, integer: Op, made: Quantized) -> Impulse:
    drive, a, b = op.operands[1:4]
    real_a, real_b = layers.constants[a].astype(np.float64), _total(layers.constants[b])
    type_ = made.graph.types[drive]
    size = (1 << (type_.bits - 2)) - 1
    step = made.steps[drive]
    whole = float(np.max(size * step))
    real = _response(real_a, real_b * whole, _window(op))
    rounded = _response(made.meant[a], _total(made.meant[b]) * whole, len(real))
    a_int, b_int = made.graph.constants[a].astype(np.int64), _total(made.graph.constants[b])
    b_int = b_int.astype(np.int64)
    shift = integer.attrs["shift"]
    assert isinstance(shift, int)
    state, states = np.zeros(len(b_int), np.int64), []
    for k in range(len(real)):
        state = shift_round(a_int @ state + b_int * (size if k == 0 else 0), shift)
        states.append(state)
    return Impulse(
        str(op.attrs["layer"]),
        made.graph.types[a].bits,
        whole,
        real,
        rounded,
        (np.array(states) * made.steps[op.results[0]]).astype(np.float64),
        _radius(real_a),
        _radius(made.meant[a]),
    )


def _total(b: Array) -> Real:
    """What a timestep of ones adds to a memory."""
    total: Real = columns(b.astype(np.float64)).sum(axis=1)
    return total


def _window(op: Op) -> int | None:
    window = op.attrs.get("window")
    return int(np.ceil(window)) + 1 if isinstance(window, float) else None


def _response(a: Real, first: Real, steps: int | None) -> Real:
    """States from `first` on, `steps` of them, or until they are gone."""
    states = [first]
    most = float(np.abs(first).max())
    while len(states) < (steps or MOST_STEPS):
        states.append(a @ states[-1])
        size = float(np.abs(states[-1]).max())
        most = max(most, size)
        if steps is None and size < GONE * most:
            break
    return np.array(states)


def _radius(a: Real) -> float:
    return float(np.abs(np.linalg.eigvals(a)).max())
